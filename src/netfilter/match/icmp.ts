/**
 * `-m icmp --icmp-type`, `-m icmp6 --icmpv6-type`: the type, and the code where it is given.
 * Source: iptables-extensions(8) "icmp"; Linux net/ipv4/netfilter/ip_tables.c icmp_match(); IANA ICMP parameters.
 */
import { protocolName } from '../protocol-names.ts';
import type { IptablesMatch, Match, MatchType } from './match.ts';
import { optionText } from './match.ts';

export interface IcmpMatch extends Match {
  readonly kind: 'icmp';
  readonly protocol: 'icmp' | 'icmpv6';
  readonly negated: boolean;
  /** Absent: any. */
  readonly type?: number;
  readonly code?: number;
}

const typeNames: { readonly [protocol in IcmpMatch['protocol']]: { readonly [name: string]: number } } = {
  icmp: {
    'echo-reply': 0,
    pong: 0,
    'destination-unreachable': 3,
    'source-quench': 4,
    redirect: 5,
    'echo-request': 8,
    ping: 8,
    'router-advertisement': 9,
    'router-solicitation': 10,
    'time-exceeded': 11,
    'parameter-problem': 12,
  },
  icmpv6: {
    'destination-unreachable': 1,
    'packet-too-big': 2,
    'time-exceeded': 3,
    'parameter-problem': 4,
    'echo-request': 128,
    'echo-reply': 129,
    'router-solicitation': 133,
    'nd-router-solicit': 133,
    'router-advertisement': 134,
    'nd-router-advert': 134,
    'neighbour-solicitation': 135,
    'neighbor-solicitation': 135,
    'nd-neighbor-solicit': 135,
    'neighbour-advertisement': 136,
    'neighbor-advertisement': 136,
    'nd-neighbor-advert': 136,
    redirect: 137,
  },
};

/** A type by number or name; `undefined` when it is none. */
export function icmpType(protocol: IcmpMatch['protocol'], text: string): number | undefined {
  if (/^\d{1,3}$/.test(text)) return Number(text) <= 255 ? Number(text) : undefined;
  const known = typeNames[protocol];
  return Object.hasOwn(known, text) ? known[text] : undefined;
}

export const icmp: MatchType<IcmpMatch> = {
  kind: 'icmp',
  test({ protocol, negated, type, code, text }, packet) {
    packet.lookedAt.add('protocol');
    if (protocolName(packet.protocol) !== protocol) return false;
    if (type === undefined) return !negated;
    packet.lookedAt.add('icmp');
    const seen = packet.query.icmp;
    if (seen === undefined) return packet.askTruth(text, 'icmp', 'truncated');
    return (seen.type === type && (code === undefined || seen.code === code)) !== negated;
  },
  words({ negated, type, code }) {
    if (type === undefined) return negated ? 'of no ICMP type' : 'of any ICMP type';
    return `${negated ? 'not ' : ''}of ICMP type ${type}${code === undefined ? '' : ` code ${code}`}`;
  },
};

function parser(names: readonly string[], option: string, protocol: IcmpMatch['protocol']): IptablesMatch {
  return {
    names,
    options: [option],
    parse(options) {
      const matches: IcmpMatch[] = [];
      for (const one of options) {
        const [name, codeText] = (one.values[0] ?? '').split('/');
        const text = optionText(one);
        const { negated } = one;
        if (name === 'any') {
          matches.push({ kind: 'icmp', protocol, negated, text });
          continue;
        }
        const type = icmpType(protocol, name ?? '');
        if (type === undefined) return undefined;
        matches.push({ kind: 'icmp', protocol, negated, type, text, ...(codeText === undefined ? {} : { code: Number(codeText) }) });
      }
      return matches;
    },
  };
}

export const icmpOptions: IptablesMatch = parser(['icmp'], '--icmp-type', 'icmp');
export const icmp6Options: IptablesMatch = parser(['icmp6', 'icmpv6', 'ipv6-icmp'], '--icmpv6-type', 'icmpv6');
