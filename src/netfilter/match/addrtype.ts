/**
 * `-m addrtype`, nft's `fib daddr type`: what the routing table calls an address (LOCAL, UNICAST, MULTICAST, …).
 *
 * Judged without a routing table where the address says it by itself: loopback and the incoming interface's own address are LOCAL, 224.0.0.0/4 and ff00::/8 MULTICAST. Else unknown.
 * Source: iptables-extensions(8) "addrtype"; Linux net/netfilter/xt_addrtype.c.
 */
import { formatIp, type Ip, isLoopback } from '../../net/address.ts';
import type { PacketState, Side } from '../packet-state.ts';
import type { Truth } from '../truth.ts';
import type { IptablesMatch, Match, MatchType } from './match.ts';
import { optionText } from './match.ts';

export interface AddressTypeMatch extends Match {
  readonly kind: 'addrtype';
  readonly side: Side;
  readonly negated: boolean;
  readonly types: readonly string[];
}

function typeOf(ip: Ip, packet: PacketState): string | undefined {
  const text = formatIp(ip);
  if (isLoopback(text) || text === packet.query.localAddress) return 'LOCAL';
  if (ip.family === 4 && ip.words[3] >>> 28 === 0xe) return 'MULTICAST';
  if (ip.family === 6 && ip.words[0] >>> 24 === 0xff) return 'MULTICAST';
  if (text === '255.255.255.255') return 'BROADCAST';
  return undefined;
}

export const addrtype: MatchType<AddressTypeMatch> = {
  kind: 'addrtype',
  test({ side, negated, types }, packet): Truth {
    const ip = packet.address(side);
    const type = ip === undefined ? undefined : typeOf(ip, packet);
    if (type !== undefined) return types.includes(type) !== negated;
    const truth = packet.askTruth(`${side} type ${types.join(',')}`, 'other', 'match-needs-state');
    return typeof truth === 'boolean' ? truth !== negated : truth;
  },
  words({ side, negated, types }) {
    const what = types.map((type) => (type === 'LOCAL' ? "one of this host's own" : type.toLowerCase())).join(' or ');
    return `whose ${side} address is ${negated ? 'not ' : ''}${what}`;
  },
};

export const addrtypeOptions: IptablesMatch = {
  names: ['addrtype'],
  options: ['--src-type', '--dst-type', '--limit-iface-in', '--limit-iface-out'],
  parse(options) {
    const matches: AddressTypeMatch[] = [];
    for (const option of options) {
      if (option.name.startsWith('--limit')) return undefined;
      const types = (option.values[0] ?? '').toUpperCase().split(',');
      const side = option.name === '--src-type' ? 'source' : 'destination';
      matches.push({ kind: 'addrtype', side, negated: option.negated, types, text: optionText(option) });
    }
    return matches.length === 0 ? undefined : matches;
  },
};
