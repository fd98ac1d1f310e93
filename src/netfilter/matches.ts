/**
 * Every kind of match, and how iptables spells it. To add one: write its file in match/, add a line here.
 */
import { address } from './match/address.ts';
import { addrtype, addrtypeOptions } from './match/addrtype.ts';
import { comment, commentOptions } from './match/comment.ts';
import { conntrack, conntrackOptions, stateOptions } from './match/conntrack.ts';
import { family } from './match/family.ts';
import { fragment } from './match/fragment.ts';
import { icmp, icmp6Options, icmpOptions } from './match/icmp.ts';
import { networkInterface } from './match/interface.ts';
import { iprange } from './match/iprange.ts';
import { connmarkOptions, mark, markOptions } from './match/mark.ts';
import type { IptablesMatch, Match, MatchType } from './match/match.ts';
import { multiport } from './match/multiport.ts';
import { opaque } from './match/opaque.ts';
import { owner, ownerOptions } from './match/owner.ts';
import { ports } from './match/ports.ts';
import { protocol } from './match/protocol.ts';
import { dccp, sctp, tcp, tcpFlags, udp, udplite } from './match/tcp.ts';
import type { PacketState } from './packet-state.ts';
import type { Truth } from './truth.ts';

const matchTypes: readonly MatchType[] = [
  protocol,
  family,
  address,
  networkInterface,
  ports,
  tcpFlags,
  icmp,
  owner,
  mark,
  conntrack,
  addrtype,
  fragment,
  comment,
  opaque,
];

export const iptablesMatches: readonly IptablesMatch[] = [
  tcp,
  udp,
  udplite,
  sctp,
  dccp,
  multiport,
  icmpOptions,
  icmp6Options,
  ownerOptions,
  markOptions,
  connmarkOptions,
  conntrackOptions,
  stateOptions,
  addrtypeOptions,
  iprange,
  commentOptions,
];

const byKind = new Map(matchTypes.map((type) => [type.kind, type]));

function typeOf(match: Match): MatchType {
  const type = byKind.get(match.kind);
  if (type === undefined)
    throw new TypeError(`Cannot judge the match "${match.text}": its kind must be a known one, it is "${match.kind}"`);
  return type;
}

export function testMatch(match: Match, packet: PacketState): Truth {
  return typeOf(match).test(match, packet);
}

/** For a newcomer, to follow "packets"; empty where there is nothing to say. */
export function matchWords(match: Match): string {
  return typeOf(match).words(match);
}
