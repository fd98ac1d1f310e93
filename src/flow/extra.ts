/** What few flows have, kept beside the table: the tunnel they came in, ICMP's type, a DNS question and its answer. */
import type { DnsMessage } from '../decode/dns.ts';
import { type Packet, tunnelNames } from '../decode/packet.ts';
import { formatV4, formatV6 } from '../net/address.ts';
import type { FlowRecord } from '../record/record.ts';

export interface FlowExtra {
  tunnel?: NonNullable<FlowRecord['tunnel']>;
  icmp?: NonNullable<FlowRecord['icmp']>;
  dns?: NonNullable<FlowRecord['dns']>;
  /** The flow was quoted by an ICMP error of this type and code. */
  error?: { readonly type: number; readonly code: number };
}

/** The first question of a flow stays; its answer is added when it comes. */
export function addDns(extra: FlowExtra, message: DnsMessage): void {
  const { question, kind } = message;
  if (question === undefined || kind === undefined) return;
  if (extra.dns === undefined) extra.dns = { question, kind };
  if (!message.response || extra.dns.rcode !== undefined || extra.dns.question !== question || extra.dns.kind !== kind) return;
  if (message.rcode !== undefined) extra.dns.rcode = message.rcode;
  if (message.answers.length > 0) extra.dns.answers = [...message.answers];
}

function address(version: number, a: number, b: number, c: number, d: number): string {
  return version === 4 ? formatV4(d) : formatV6(a, b, c, d);
}

export function tunnelOf(packet: Packet): NonNullable<FlowRecord['tunnel']> {
  return {
    kind: tunnelNames[packet.tunnel] ?? 'unknown',
    ...(packet.tunnelId === -1 ? {} : { id: packet.tunnelId >>> 0 }),
    outer: {
      source: address(packet.outerVersion, packet.outerSrc0, packet.outerSrc1, packet.outerSrc2, packet.outerSrc3),
      destination: address(packet.outerVersion, packet.outerDst0, packet.outerDst1, packet.outerDst2, packet.outerDst3),
    },
  };
}
