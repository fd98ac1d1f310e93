/** From a slot to a PlainFlow: the numbers of a flow that has nothing beside its slot but, perhaps, a DNS message or ICMP's type. The same as readFlow and makeFlowRecord say, without objects. */
import { IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP } from '../decode/packet.ts';
import type { PlainFlow } from '../record/plain-flow.ts';
import { handshakeMs, isOver, openerOf, protocolName, roundTripMs, tcpFlagNames, tcpStateOf } from './flow.ts';
import { roundMs } from './flow-record.ts';
import type { NamespaceFlows } from './namespace-flows.ts';
import {
  D_BYTES_A,
  D_FIRST,
  D_HANDSHAKE_ACK,
  D_LAST,
  D_PACKETS_A,
  D_SYN,
  D_SYN_ACK,
  M_IPV6,
  M_ISN_A,
  M_PROTOCOL,
  M_SYN_A,
  M_SYN_ACK_A,
  M_UNREACHABLE,
  SLOT_DOUBLES,
  SLOT_WORDS,
  W_ADDR_A,
  W_ADDR_B,
  W_EXTRA,
  W_FOLLOWER,
  W_ISN_A,
  W_META,
  W_OTHER_HALF,
  W_OUT_OF_ORDER,
  W_PORTS,
  W_RETRANSMISSIONS,
  W_TCP_FLAGS,
  W_ZERO_WINDOWS,
} from './slot.ts';

const FLAG_NAMES: readonly string[] = Array.from({ length: 256 }, (_, flags) => tcpFlagNames(flags));

/** Reads a slot into `flow`, except what annotators say (`interfaces`, `roles`, `rule`). @returns false, with `flow` undefined, where the slot has more to say than a PlainFlow can hold */
export function readPlain(flows: NamespaceFlows, slot: number, flow: PlainFlow): boolean {
  const { table } = flows;
  const { words, doubles } = table;
  const w = slot * SLOT_WORDS;
  const d = slot * SLOT_DOUBLES;
  if (words[w + W_OTHER_HALF] !== -1 || words[w + W_FOLLOWER] !== 0 || words[w + W_EXTRA]! > 0) return false;
  const meta = words[w + W_META]!;
  const protocolNumber = meta & M_PROTOCOL;
  const isTcp = protocolNumber === IPPROTO_TCP;
  const to = openerOf(table, slot);
  const from = to ^ 1;
  const ports = words[w + W_PORTS]!;
  const { addresses } = flow;
  const source = w + (to === 0 ? W_ADDR_A : W_ADDR_B);
  const destination = w + (to === 0 ? W_ADDR_B : W_ADDR_A);
  for (let i = 0; i < 4; i++) {
    addresses[i] = words[source + i]!;
    addresses[4 + i] = words[destination + i]!;
  }
  flow.ipv6 = (meta & M_IPV6) !== 0;
  flow.sourcePort = to === 0 ? ports >>> 16 : ports & 0xffff;
  flow.destinationPort = to === 0 ? ports & 0xffff : ports >>> 16;
  if (flow.protocolNumber !== protocolNumber) {
    flow.protocolNumber = protocolNumber;
    flow.protocol = protocolName(protocolNumber);
    flow.hasPorts = isTcp || protocolNumber === IPPROTO_UDP || protocolNumber === IPPROTO_SCTP;
  }
  const first = doubles[d + D_FIRST]!;
  flow.firstNs = first;
  flow.lastNs = doubles[d + D_LAST]!;
  const answers = doubles[d + D_PACKETS_A + from]!;
  flow.packetsToDestination = doubles[d + D_PACKETS_A + to]!;
  flow.packetsToSource = answers;
  flow.bytesToDestination = doubles[d + D_BYTES_A + to]!;
  flow.bytesToSource = doubles[d + D_BYTES_A + from]!;
  flow.id.hash(0, protocolNumber, flow.ipv6, addresses, to === 0 ? ports : (ports << 16) | (ports >>> 16), first);
  flow.isTcp = isTcp;
  flow.icmp = undefined;
  flow.dns = undefined;
  if (!isTcp) {
    flow.state = (meta & M_UNREACHABLE) !== 0 && answers === 0 ? 'unreachable' : 'open';
    flow.over = false;
    flow.midstream = false;
    if (words[w + W_EXTRA] !== 0 || protocolNumber === IPPROTO_ICMP || protocolNumber === IPPROTO_ICMPV6) {
      const extra = flows.extraOf(slot);
      flow.icmp = extra?.icmp;
      flow.dns = extra?.dns;
    }
    return true;
  }
  flow.state = tcpStateOf(table, slot, to);
  flow.over = isOver(flow.state);
  const synSeen = (meta & (M_SYN_A << to)) !== 0;
  flow.midstream = !synSeen;
  const flags = words[w + W_TCP_FLAGS]!;
  const flagsToDestination = (flags >>> (to << 3)) & 0xff;
  const flagsToSource = (flags >>> (from << 3)) & 0xff;
  flow.flagsToDestination = flagsToDestination;
  flow.flagsToSource = flagsToSource;
  flow.flagNamesToDestination = FLAG_NAMES[flagsToDestination]!;
  flow.flagNamesToSource = FLAG_NAMES[flagsToSource]!;
  flow.retransmissions = words[w + W_RETRANSMISSIONS]!;
  flow.outOfOrder = words[w + W_OUT_OF_ORDER]!;
  flow.zeroWindows = words[w + W_ZERO_WINDOWS]!;
  flow.hasIsnToDestination = (meta & (M_ISN_A << to)) !== 0;
  flow.hasIsnToSource = (meta & (M_ISN_A << from)) !== 0;
  flow.isnToDestination = words[w + W_ISN_A + to]!;
  flow.isnToSource = words[w + W_ISN_A + from]!;
  flow.rttMs = -1;
  flow.handshakeMs = -1;
  if (synSeen && (meta & (M_SYN_ACK_A << from)) !== 0) {
    const synAck = doubles[d + D_SYN_ACK]!;
    const ack = doubles[d + D_HANDSHAKE_ACK]!;
    const whole = handshakeMs(first, synAck, ack);
    if (whole >= 0) {
      flow.handshakeMs = roundMs(whole);
      const roundTrip = roundTripMs(doubles[d + D_SYN]!, synAck, ack);
      if (roundTrip >= 0) flow.rttMs = roundMs(roundTrip);
    }
  }
  return true;
}
