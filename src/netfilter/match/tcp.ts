/**
 * `-m tcp`, `-m udp`, `-m sctp`, `-m dccp`: ports; for TCP also flags (`--tcp-flags MASK SET`, `--syn`).
 * Source: iptables-extensions(8) "tcp", "udp"; Linux net/netfilter/xt_tcpudp.c.
 */
import { protocolName } from '../protocol-names.ts';
import type { IptablesMatch, Match, MatchType, Option, OptionContext } from './match.ts';
import { optionText } from './match.ts';
import { type PortsMatch, parsePorts } from './ports.ts';

export interface TcpFlagsMatch extends Match {
  readonly kind: 'tcp-flags';
  readonly negated: boolean;
  readonly mask: number;
  readonly set: number;
}

const flagBits: readonly (readonly [string, number])[] = [
  ['FIN', 1],
  ['SYN', 2],
  ['RST', 4],
  ['PSH', 8],
  ['ACK', 16],
  ['URG', 32],
];

/** `SYN,ACK`, `ALL`, `NONE`, or a number; case does not matter. */
export function parseTcpFlags(text: string): number | undefined {
  if (/^(?:0x[0-9a-fA-F]{1,2}|\d{1,3})$/.test(text)) return Number(text) & 0x3f;
  let bits = 0;
  for (const name of text.toUpperCase().split(',')) {
    if (name === 'ALL') bits |= 0x3f;
    else if (name !== 'NONE') {
      const flag = flagBits.find(([known]) => known === name);
      if (flag === undefined) return undefined;
      bits |= flag[1];
    }
  }
  return bits;
}

export const tcpFlags: MatchType<TcpFlagsMatch> = {
  kind: 'tcp-flags',
  test({ negated, mask, set }, packet) {
    packet.lookedAt.add('protocol');
    if (protocolName(packet.protocol) !== 'tcp') return false;
    packet.lookedAt.add('tcpFlags');
    const flags = packet.query.tcpFlags;
    if (flags === undefined) return packet.askTruth(`flags ${mask}/${set} ${negated}`, 'tcpFlags', 'match-unknown');
    return ((flags & mask) === set) !== negated;
  },
  words({ negated, mask, set }) {
    const names = (bits: number) =>
      flagBits
        .filter(([, bit]) => (bits & bit) !== 0)
        .map(([name]) => name)
        .join('+') || 'none';
    if (mask === 0x17 && set === 2) return negated ? 'that do not open a connection' : 'that open a connection (SYN)';
    return `whose flags ${names(mask)} are ${negated ? 'not ' : ''}exactly ${names(set)}`;
  },
};

function parse(names: readonly string[]) {
  return (options: readonly Option[], context: OptionContext): readonly Match[] | undefined => {
    const matches: (PortsMatch | TcpFlagsMatch)[] = [];
    const protocols = context.protocol !== undefined && names.includes(context.protocol) ? [context.protocol] : names;
    for (const option of options) {
      const text = optionText(option);
      const { negated, values } = option;
      if (option.name === '--syn') matches.push({ kind: 'tcp-flags', negated, mask: 0x17, set: 2, text });
      else if (option.name === '--tcp-flags') {
        const mask = parseTcpFlags(values[0] ?? '');
        const set = parseTcpFlags(values[1] ?? '');
        if (mask === undefined || set === undefined) return undefined;
        matches.push({ kind: 'tcp-flags', negated, mask, set, text });
      } else {
        const range = parsePorts(values[0] ?? '');
        if (range === undefined || values.length !== 1) return undefined;
        const side = option.name === '--dport' || option.name === '--destination-port' ? 'destination' : 'source';
        if (option.name === '--tcp-option') return undefined;
        matches.push({ kind: 'ports', side, negated, ranges: [range], protocols, text });
      }
    }
    return matches;
  };
}

const portOptions = ['--sport', '--source-port', '--dport', '--destination-port'];

export const tcp: IptablesMatch = {
  names: ['tcp'],
  options: [...portOptions, '--tcp-flags', '--syn', '--tcp-option'],
  parse: parse(['tcp']),
};
export const udp: IptablesMatch = { names: ['udp'], options: portOptions, parse: parse(['udp']) };
export const udplite: IptablesMatch = { names: ['udplite'], options: portOptions, parse: parse(['udplite']) };
export const sctp: IptablesMatch = {
  names: ['sctp'],
  options: [...portOptions, '--chunk-types'],
  parse: withoutOption('--chunk-types', parse(['sctp'])),
};
export const dccp: IptablesMatch = {
  names: ['dccp'],
  options: [...portOptions, '--dccp-types', '--dccp-option'],
  parse: withoutOption('--dccp-types', parse(['dccp'])),
};

function withoutOption(name: string, parseRest: IptablesMatch['parse']): IptablesMatch['parse'] {
  return (options, context) => (options.some((option) => option.name === name) ? undefined : parseRest(options, context));
}
