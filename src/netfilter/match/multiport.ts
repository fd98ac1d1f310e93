/**
 * `-m multiport`: up to fifteen ports and ranges, `--sports`, `--dports`, or `--ports` for either end.
 * Source: iptables-extensions(8) "multiport"; Linux net/netfilter/xt_multiport.c.
 */
import type { NumberRange } from '../number-range.ts';
import type { IptablesMatch } from './match.ts';
import { optionText } from './match.ts';
import { impliedProtocols, type PortsMatch, parsePorts } from './ports.ts';

const sides: { readonly [option: string]: PortsMatch['side'] } = {
  '--sports': 'source',
  '--source-ports': 'source',
  '--dports': 'destination',
  '--destination-ports': 'destination',
  '--ports': 'either',
};

export const multiport: IptablesMatch = {
  names: ['multiport'],
  options: Object.keys(sides),
  parse(options, { protocol }) {
    const matches: PortsMatch[] = [];
    for (const option of options) {
      const ranges: NumberRange[] = [];
      for (const part of (option.values[0] ?? '').split(',')) {
        const range = parsePorts(part);
        if (range === undefined) return undefined;
        ranges.push(range);
      }
      const { negated } = option;
      matches.push({
        kind: 'ports',
        side: sides[option.name]!,
        negated,
        ranges,
        protocols: impliedProtocols(protocol),
        text: optionText(option),
      });
    }
    return matches;
  },
};
