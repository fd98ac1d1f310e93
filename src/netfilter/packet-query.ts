/**
 * A packet as a question to the rules: what is known of it when it reaches a hook.
 */
import type { IpRule } from './ip-rule.ts';
import type { Hook } from './rule-set.ts';

export type ConnectionState = 'NEW' | 'ESTABLISHED' | 'RELATED' | 'INVALID' | 'UNTRACKED';

export const connectionStates: readonly ConnectionState[] = ['NEW', 'ESTABLISHED', 'RELATED', 'INVALID', 'UNTRACKED'];

export interface PacketQuery {
  hook: Hook;
  /** In lower case: `tcp`, `udp`, `icmp`, `icmpv6`, `sctp`, or the number of a protocol without a common name. */
  protocol: string;
  source: { ip: string; port?: number };
  destination: { ip: string; port?: number };
  /** Interface names; absent is unknown. At OUTPUT `out` is the interface of the route before any redirect. */
  in?: string;
  out?: string;
  /**
   * Of the sending socket. Absent is unknown, as is an absent field. `none`: there is no socket (a forwarded packet). `kernel`: a socket of the kernel's own, which belongs to nobody
   * (TCP resets, ICMP errors).
   */
  owner?: { uid?: number; gid?: number } | 'none' | 'kernel';
  /** Absent is 0. */
  mark?: number | 'unknown';
  /** Absent is 0 for a NEW connection, else unknown. */
  connmark?: number | 'unknown';
  /** Absent is NEW. Asked is always the first packet that conntrack calls so: a retransmitted one does not see nat again. */
  state?: ConnectionState | 'unknown';
  /** The flag bits of the TCP header (FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32); absent is unknown. */
  tcpFlags?: number;
  icmp?: { type: number; code: number };
  /** Of conntrack, set before netfilter saw the packet. */
  zone?: number;
  /** The primary address of the incoming interface: where REDIRECT sends what comes in. */
  localAddress?: string;
  /**
   * Is there a listening socket with IP_TRANSPARENT where TPROXY sends to? Without one iptables' TPROXY drops the packet, while nft's `tproxy` does not match.
   * Absent is unknown, which matters to nft alone: iptables' target is taken by its word.
   */
  transparentListener?: boolean | 'unknown';
  /** The policy routing rules: which table a mark selects. */
  routing?: readonly IpRule[];
}
