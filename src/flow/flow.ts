/**
 * A flow as plain data, read from its slot (or, for a redirected connection, from its two): what annotators judge and records are made of.
 */
import { IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP, TCP_FIN, TCP_RST, TCP_SYN } from '../decode/packet.ts';
import { formatV4, formatV6 } from '../net/address.ts';
import type { FlowState } from '../record/record.ts';
import type { FlowTable } from './flow-table.ts';
import {
  D_BYTES_A,
  D_BYTES_B,
  D_FIRST,
  D_HANDSHAKE_ACK,
  D_LAST,
  D_PACKETS_A,
  D_PACKETS_B,
  D_SYN,
  D_SYN_ACK,
  M_IPV6,
  M_ISN_A,
  M_PAYLOAD_A,
  M_PAYLOAD_B,
  M_PROTOCOL,
  M_SYN_A,
  M_SYN_ACK_A,
  M_SYN_ACK_B,
  M_SYN_B,
  M_UNREACHABLE,
  SLOT_DOUBLES,
  SLOT_WORDS,
  W_ACK_A,
  W_ADDR_A,
  W_ADDR_B,
  W_INTERFACE,
  W_ISN_A,
  W_META,
  W_NEXT_A,
  W_OTHER_HALF,
  W_OUT_OF_ORDER,
  W_PORTS,
  W_RETRANSMISSIONS,
  W_TCP_FLAGS,
  W_ZERO_WINDOWS,
} from './slot.ts';

export interface FlowEnd {
  readonly ip: string;
  /** 0 for protocols without ports. */
  readonly port: number;
}

export interface TcpFacts {
  /** As bits (decode/packet.ts TCP_*). */
  readonly flagsToDestination: number;
  readonly flagsToSource: number;
  /** Initial sequence numbers, unsigned; absent when the SYN was not seen. */
  readonly isnToDestination?: number;
  readonly isnToSource?: number;
  /** Next sequence number and last acknowledgement of each side, unsigned; they tell two views of one connection apart when no SYN was seen. */
  readonly nextToDestination: number;
  readonly nextToSource: number;
  readonly ackToDestination: number;
  readonly ackToSource: number;
  /** Last SYN to SYN/ACK to ACK. */
  readonly rttMs?: number;
  /** First SYN to ACK. */
  readonly handshakeMs?: number;
  readonly retransmissions: number;
  readonly outOfOrder: number;
  readonly zeroWindows: number;
}

/** The source is the side that opened the flow. */
export interface Flow {
  readonly slot: number;
  /** The slot of the answers, where they were another flow on the wire. */
  readonly answerSlot?: number;
  readonly family: 4 | 6;
  readonly protocolNumber: number;
  readonly protocol: string;
  /** On the wire, as the opener's packets carry it. */
  readonly source: FlowEnd;
  readonly destination: FlowEnd;
  /** On the wire, as the answers carry it where that differs (a redirected connection): whom the opener asked, and the opener's own port. */
  readonly answered?: { readonly by: FlowEnd; readonly to: FlowEnd };
  readonly firstNs: number;
  readonly lastNs: number;
  readonly state: FlowState;
  readonly ended: boolean;
  readonly midstream: boolean;
  /** Did we see who opened it? Otherwise the smaller port is taken for the server's. */
  readonly openerSeen: boolean;
  readonly packetsToDestination: number;
  readonly packetsToSource: number;
  readonly bytesToDestination: number;
  readonly bytesToSource: number;
  readonly payloadToDestination: boolean;
  readonly payloadToSource: boolean;
  readonly synNs?: number;
  readonly synAckNs?: number;
  readonly tcp?: TcpFacts;
  /** Raw interface words (slot.ts W_INTERFACE) of the slots. */
  readonly interfaceIds: readonly number[];
}

const protocolNames = new Map<number, string>([
  [IPPROTO_ICMP, 'icmp'],
  [2, 'igmp'],
  [4, 'ipip'],
  [IPPROTO_TCP, 'tcp'],
  [IPPROTO_UDP, 'udp'],
  [41, 'ipv6'],
  [47, 'gre'],
  [50, 'esp'],
  [51, 'ah'],
  [IPPROTO_ICMPV6, 'icmpv6'],
  [59, 'ipv6-nonxt'],
  [89, 'ospf'],
  [103, 'pim'],
  [112, 'vrrp'],
  [IPPROTO_SCTP, 'sctp'],
]);

/** The name of an IP protocol, else `proto-N`. Source: IANA protocol numbers. */
export function protocolName(number: number): string {
  return protocolNames.get(number) ?? `proto-${number}`;
}

function end(table: FlowTable, slot: number, b: boolean): FlowEnd {
  const { words } = table;
  const w = slot * SLOT_WORDS;
  const a = w + (b ? W_ADDR_B : W_ADDR_A);
  const ip =
    (words[w + W_META]! & M_IPV6) !== 0 ? formatV6(words[a]!, words[a + 1]!, words[a + 2]!, words[a + 3]!) : formatV4(words[a + 3]!);
  const ports = words[w + W_PORTS]!;
  return { ip, port: b ? ports & 0xffff : ports >>> 16 };
}

/** Did B open the flow? `undefined` when nobody's SYN was seen. */
function openerIsB(table: FlowTable, slot: number): boolean | undefined {
  const meta = table.words[slot * SLOT_WORDS + W_META]!;
  const protocol = meta & M_PROTOCOL;
  if (protocol !== IPPROTO_TCP) return false;
  if ((meta & M_SYN_A) !== 0) return false;
  if ((meta & M_SYN_B) !== 0) return true;
  if ((meta & M_SYN_ACK_A) !== 0) return true;
  if ((meta & M_SYN_ACK_B) !== 0) return false;
  return undefined;
}

function tcpState(flags: number, answers: number, synAck: boolean, unreachable: boolean, answered: boolean, syn: boolean): FlowState {
  const reset = ((flags | answers) & TCP_RST) !== 0;
  if (reset && syn && !synAck && (answers & TCP_RST) !== 0) return 'refused';
  if (reset) return 'reset';
  if ((flags & TCP_FIN) !== 0 && (answers & TCP_FIN) !== 0) return 'closed';
  if (unreachable && !answered) return 'unreachable';
  if (syn && !answered) return 'unanswered';
  return 'open';
}

/** Is this slot the answers' half of a connection whose questions are elsewhere? Such a slot is read with its other half. */
export function isAnswerHalf(table: FlowTable, slot: number): boolean {
  const other = table.words[slot * SLOT_WORDS + W_OTHER_HALF]!;
  return other !== -1 && !isQuestion(table, slot);
}

/** Does it go to loopback, as the question half of a redirected connection does? */
export function isQuestion(table: FlowTable, slot: number): boolean {
  const { words } = table;
  const w = slot * SLOT_WORDS + W_ADDR_B;
  if ((words[slot * SLOT_WORDS + W_META]! & M_IPV6) === 0) return words[w + 3]! >>> 24 === 127;
  return words[w] === 0 && words[w + 1] === 0 && words[w + 2] === 0 && words[w + 3] === 1;
}

/** Built field by field: an object that is spread into another costs more than everything else that is read here. */
type Draft<T> = { -readonly [key in keyof T]: T[key] };

/** The two directions of a slot: the index of the side that opened the flow (0 for A, 1 for B). */
export function openerOf(table: FlowTable, slot: number): 0 | 1 {
  const opener = openerIsB(table, slot);
  if (opener !== undefined) return opener ? 1 : 0;
  // Nobody's SYN was seen: servers have the smaller port; the first packet decides between equals.
  const ports = table.words[slot * SLOT_WORDS + W_PORTS]!;
  return ports >>> 16 < (ports & 0xffff) ? 1 : 0;
}

/** State of a TCP slot whose opener is side `to`. */
export function tcpStateOf(table: FlowTable, slot: number, to: 0 | 1): FlowState {
  const { words, doubles } = table;
  const w = slot * SLOT_WORDS;
  const from = to ^ 1;
  const meta = words[w + W_META]!;
  const seen = words[w + W_TCP_FLAGS]!;
  return tcpState(
    (seen >>> (to << 3)) & 0xff,
    (seen >>> (from << 3)) & 0xff,
    (meta & (M_SYN_ACK_A << from)) !== 0,
    (meta & M_UNREACHABLE) !== 0,
    doubles[slot * SLOT_DOUBLES + D_PACKETS_A + from]! > 0,
    (meta & (M_SYN_A << to)) !== 0,
  );
}

export function isOver(state: FlowState): boolean {
  return state === 'closed' || state === 'reset' || state === 'refused';
}

/** Reads a slot, together with its other half where it has one. */
export function readFlow(table: FlowTable, slot: number): Flow {
  const { words, doubles } = table;
  const w = slot * SLOT_WORDS;
  const d = slot * SLOT_DOUBLES;
  const meta = words[w + W_META]!;
  const other = words[w + W_OTHER_HALF]!;
  if (other !== -1) return readHalves(table, slot, other);
  const protocolNumber = meta & M_PROTOCOL;
  const isTcp = protocolNumber === IPPROTO_TCP;
  const to = openerOf(table, slot);
  const from = (to ^ 1) as 0 | 1;
  const state = isTcp
    ? tcpStateOf(table, slot, to)
    : (meta & M_UNREACHABLE) !== 0 && doubles[d + D_PACKETS_A + from] === 0
      ? 'unreachable'
      : 'open';
  const synSeen = isTcp && (meta & (M_SYN_A << to)) !== 0;
  const flow: Draft<Flow> = {
    slot,
    family: (meta & M_IPV6) !== 0 ? 6 : 4,
    protocolNumber,
    protocol: protocolName(protocolNumber),
    source: end(table, slot, to === 1),
    destination: end(table, slot, to === 0),
    firstNs: doubles[d + D_FIRST]!,
    lastNs: doubles[d + D_LAST]!,
    openerSeen: openerIsB(table, slot) !== undefined,
    packetsToDestination: doubles[d + D_PACKETS_A + to]!,
    packetsToSource: doubles[d + D_PACKETS_A + from]!,
    bytesToDestination: doubles[d + D_BYTES_A + to]!,
    bytesToSource: doubles[d + D_BYTES_A + from]!,
    payloadToDestination: (meta & (M_PAYLOAD_A << to)) !== 0,
    payloadToSource: (meta & (M_PAYLOAD_A << from)) !== 0,
    interfaceIds: [words[w + W_INTERFACE]!],
    state,
    ended: isTcp && isOver(state),
    midstream: isTcp && !synSeen,
  };
  if (!isTcp) return flow;
  const synAckSeen = (meta & (M_SYN_ACK_A << from)) !== 0;
  if (synSeen) flow.synNs = doubles[d + D_SYN]!;
  if (synAckSeen) flow.synAckNs = doubles[d + D_SYN_ACK]!;
  const tcp: Draft<TcpFacts> = {
    flagsToDestination: (words[w + W_TCP_FLAGS]! >>> (to << 3)) & 0xff,
    flagsToSource: (words[w + W_TCP_FLAGS]! >>> (from << 3)) & 0xff,
    nextToDestination: words[w + W_NEXT_A + to]! >>> 0,
    nextToSource: words[w + W_NEXT_A + from]! >>> 0,
    ackToDestination: words[w + W_ACK_A + to]! >>> 0,
    ackToSource: words[w + W_ACK_A + from]! >>> 0,
    retransmissions: words[w + W_RETRANSMISSIONS]!,
    outOfOrder: words[w + W_OUT_OF_ORDER]!,
    zeroWindows: words[w + W_ZERO_WINDOWS]!,
  };
  if ((meta & (M_ISN_A << to)) !== 0) tcp.isnToDestination = words[w + W_ISN_A + to]! >>> 0;
  if ((meta & (M_ISN_A << from)) !== 0) tcp.isnToSource = words[w + W_ISN_A + from]! >>> 0;
  if (synSeen && synAckSeen) addHandshake(tcp, flow.firstNs, doubles[d + D_SYN]!, doubles[d + D_SYN_ACK]!, doubles[d + D_HANDSHAKE_ACK]!);
  flow.tcp = tcp;
  return flow;
}

/** Milliseconds from the first SYN to the ACK that ended the handshake; -1 when that was not seen, or before the SYN/ACK. */
export function handshakeMs(first: number, synAck: number, ack: number): number {
  return ack === 0 || ack < synAck ? -1 : (ack - first) / 1e6;
}

/** Milliseconds from the last SYN to that ACK; -1 as above, and where a SYN was sent again after its answer was on the way: it tells nothing about the round trip. */
export function roundTripMs(syn: number, synAck: number, ack: number): number {
  return ack === 0 || ack < synAck || syn > synAck ? -1 : (ack - syn) / 1e6;
}

function addHandshake(tcp: Draft<TcpFacts>, first: number, syn: number, synAck: number, ack: number): void {
  const whole = handshakeMs(first, synAck, ack);
  if (whole < 0) return;
  const roundTrip = roundTripMs(syn, synAck, ack);
  if (roundTrip >= 0) tcp.rttMs = roundTrip;
  tcp.handshakeMs = whole;
}

/** Both halves hold their packets as A: the question's to loopback, the answer's back. */
function readHalves(table: FlowTable, slot: number, other: number): Flow {
  const question = isQuestion(table, slot) ? slot : other;
  const answer = question === slot ? other : slot;
  const { words, doubles } = table;
  const qw = question * SLOT_WORDS;
  const qd = question * SLOT_DOUBLES;
  const aw = answer * SLOT_WORDS;
  const ad = answer * SLOT_DOUBLES;
  const meta = words[qw + W_META]!;
  const answerMeta = words[aw + W_META]!;
  const protocolNumber = meta & M_PROTOCOL;
  const unreachable = ((meta | answerMeta) & M_UNREACHABLE) !== 0;
  const base = {
    slot: question,
    answerSlot: answer,
    family: (meta & M_IPV6) !== 0 ? (6 as const) : (4 as const),
    protocolNumber,
    protocol: protocolName(protocolNumber),
    source: end(table, question, false),
    destination: end(table, question, true),
    answered: { by: end(table, answer, false), to: end(table, answer, true) },
    firstNs: Math.min(doubles[qd + D_FIRST]!, doubles[ad + D_FIRST]!),
    lastNs: Math.max(doubles[qd + D_LAST]!, doubles[ad + D_LAST]!),
    openerSeen: true,
    packetsToDestination: doubles[qd + D_PACKETS_A]! + doubles[ad + D_PACKETS_B]!,
    packetsToSource: doubles[ad + D_PACKETS_A]! + doubles[qd + D_PACKETS_B]!,
    bytesToDestination: doubles[qd + D_BYTES_A]! + doubles[ad + D_BYTES_B]!,
    bytesToSource: doubles[ad + D_BYTES_A]! + doubles[qd + D_BYTES_B]!,
    payloadToDestination: (meta & M_PAYLOAD_A) !== 0 || (answerMeta & M_PAYLOAD_B) !== 0,
    payloadToSource: (answerMeta & M_PAYLOAD_A) !== 0 || (meta & M_PAYLOAD_B) !== 0,
    interfaceIds:
      words[qw + W_INTERFACE] === words[aw + W_INTERFACE]
        ? [words[qw + W_INTERFACE]!]
        : [words[qw + W_INTERFACE]!, words[aw + W_INTERFACE]!],
  };
  if (protocolNumber !== IPPROTO_TCP) return { ...base, state: 'open', ended: false, midstream: false };
  const flags = words[qw + W_TCP_FLAGS]! & 0xff;
  const answers = words[aw + W_TCP_FLAGS]! & 0xff;
  const synSeen = (meta & M_SYN_A) !== 0;
  const synAckSeen = (answerMeta & M_SYN_ACK_A) !== 0;
  const state = tcpState(flags, answers, synAckSeen, unreachable, base.packetsToSource > 0, synSeen);
  const tcp: Draft<TcpFacts> = {
    flagsToDestination: flags,
    flagsToSource: answers,
    nextToDestination: words[qw + W_NEXT_A]! >>> 0,
    nextToSource: words[aw + W_NEXT_A]! >>> 0,
    ackToDestination: words[qw + W_ACK_A]! >>> 0,
    ackToSource: words[aw + W_ACK_A]! >>> 0,
    retransmissions: words[qw + W_RETRANSMISSIONS]! + words[aw + W_RETRANSMISSIONS]!,
    outOfOrder: words[qw + W_OUT_OF_ORDER]! + words[aw + W_OUT_OF_ORDER]!,
    zeroWindows: words[qw + W_ZERO_WINDOWS]! + words[aw + W_ZERO_WINDOWS]!,
  };
  if ((meta & M_ISN_A) !== 0) tcp.isnToDestination = words[qw + W_ISN_A]! >>> 0;
  if ((answerMeta & M_ISN_A) !== 0) tcp.isnToSource = words[aw + W_ISN_A]! >>> 0;
  if (synSeen && synAckSeen)
    addHandshake(tcp, doubles[qd + D_FIRST]!, doubles[qd + D_SYN]!, doubles[ad + D_SYN_ACK]!, doubles[qd + D_HANDSHAKE_ACK]!);
  return {
    ...base,
    state,
    ended: isOver(state),
    midstream: !synSeen,
    ...(synSeen ? { synNs: doubles[qd + D_SYN]! } : {}),
    ...(synAckSeen ? { synAckNs: doubles[ad + D_SYN_ACK]! } : {}),
    tcp,
  };
}

/** `SYN,ACK` as Hubble and tcpdump readers expect, from bits. */
export function tcpFlagNames(flags: number): string {
  const names: string[] = [];
  if (flags & TCP_FIN) names.push('FIN');
  if (flags & TCP_SYN) names.push('SYN');
  if (flags & TCP_RST) names.push('RST');
  if (flags & 0x08) names.push('PSH');
  if (flags & 0x10) names.push('ACK');
  if (flags & 0x20) names.push('URG');
  if (flags & 0x40) names.push('ECE');
  if (flags & 0x80) names.push('CWR');
  return names.join(',');
}
