/**
 * Conditions that a packet alone does not answer: chance, rates, sets that change, the kernel's tables, and whatever is not known here. Their answer is always a question.
 * Source: iptables-extensions(8), nft(8).
 */
import type { Reason } from '../../record/reason.ts';
import type { Input } from '../truth.ts';
import type { Match, MatchType } from './match.ts';

export interface OpaqueMatch extends Match {
  readonly kind: 'opaque';
  /** As iptables or nft calls it. */
  readonly name: string;
  readonly reason: Reason;
  readonly input: Input;
}

/** Matches of iptables that are understood, but that no packet answers. */
const known: { readonly [name: string]: { readonly reason: Reason; readonly words: string } } = {
  statistic: { reason: 'match-random', words: 'picked by chance' },
  limit: { reason: 'match-needs-state', words: 'as long as a rate is not exceeded' },
  hashlimit: { reason: 'match-needs-state', words: 'as long as a rate per address is not exceeded' },
  connlimit: { reason: 'match-needs-state', words: 'by the number of connections that are open' },
  connbytes: { reason: 'match-needs-state', words: 'by the bytes that the connection has carried' },
  quota: { reason: 'match-needs-state', words: 'until a quota is used up' },
  rateest: { reason: 'match-needs-state', words: 'by a measured rate' },
  recent: { reason: 'match-needs-state', words: 'by a list of addresses seen lately' },
  set: { reason: 'match-needs-state', words: 'by an ipset' },
  socket: { reason: 'match-needs-state', words: 'for which a socket is open here' },
  rpfilter: { reason: 'match-needs-state', words: 'by the way back to the source' },
  physdev: { reason: 'match-needs-state', words: 'by the port of the bridge' },
  time: { reason: 'match-needs-state', words: 'by the time of day' },
  cgroup: { reason: 'match-needs-state', words: "by the sending process's control group" },
  connlabel: { reason: 'match-needs-state', words: 'by a label of the connection' },
  helper: { reason: 'match-needs-state', words: 'by the conntrack helper' },
  ipvs: { reason: 'match-needs-state', words: 'by IPVS' },
  policy: { reason: 'match-needs-state', words: 'by IPsec' },
  realm: { reason: 'match-needs-state', words: 'by the routing realm' },
  devgroup: { reason: 'match-needs-state', words: 'by the group of the interface' },
  cpu: { reason: 'match-needs-state', words: 'by the processor that handles it' },
  nfacct: { reason: 'match-needs-state', words: 'counted by nfacct' },
  pkttype: { reason: 'match-needs-state', words: 'by how the link layer addressed it' },
  bpf: { reason: 'match-unknown', words: 'by a BPF program' },
  u32: { reason: 'match-unknown', words: 'by bytes at an offset' },
  string: { reason: 'match-unknown', words: 'by a string in the packet' },
};

export function opaqueMatch(name: string, text: string): OpaqueMatch {
  const reason = Object.hasOwn(known, name) ? known[name]!.reason : 'match-unknown';
  return { kind: 'opaque', name, text, reason, input: 'other' };
}

/** A condition that the source may be hiding: a listing without -v does not show interfaces. */
export function hiddenMatch(what: string): OpaqueMatch {
  return { kind: 'opaque', name: what, text: `(${what} not shown)`, reason: 'rules-lossy', input: 'other' };
}

export const opaque: MatchType<OpaqueMatch> = {
  kind: 'opaque',
  test(match, packet) {
    return packet.askHere(match.text, match.input, match.reason);
  },
  words({ name, text, reason }) {
    if (reason === 'rules-lossy') return `perhaps by ${name}, which the listing does not show`;
    const understood = Object.hasOwn(known, name) ? known[name]!.words : 'by a condition that sidetrace does not know';
    return `${understood} (${text})`;
  },
};
