/**
 * `-m iprange`: addresses from one to another, both included. Source: iptables-extensions(8) "iprange".
 */
import { parseAddressRange } from '../address-block.ts';
import type { AddressMatch } from './address.ts';
import type { IptablesMatch } from './match.ts';
import { optionText } from './match.ts';

export const iprange: IptablesMatch = {
  names: ['iprange'],
  options: ['--src-range', '--dst-range'],
  parse(options) {
    const matches: AddressMatch[] = [];
    for (const option of options) {
      const block = parseAddressRange(option.values[0] ?? '');
      if (block === undefined) return undefined;
      const side = option.name === '--src-range' ? 'source' : 'destination';
      matches.push({ kind: 'address', side, negated: option.negated, blocks: [block], text: optionText(option) });
    }
    return matches;
  },
};
