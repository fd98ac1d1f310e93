/** TCP header, 20 to 60 bytes. Of the options only a SYN's MSS is kept. Source: RFC 9293 section 3.1 and 3.2. */
import { LAYER_NONE, LAYER_TCP, STOP_LENGTH, stop, stopMalformed, stopShort } from './layer.ts';
import { type Packet, TCP_SYN } from './packet.ts';

const TCP_HEADER_LEN = 20;
const OPTION_END = 0;
const OPTION_NOP = 1;
const OPTION_MSS = 2;

export function decodeTcp(packet: Packet, view: DataView): number {
  const at = packet.cursor;
  const limit = packet.limit;
  if (limit - at < TCP_HEADER_LEN) return decodeCutTcp(packet, view);
  packet.hasPorts = true;
  const ports = view.getInt32(at);
  packet.srcPort = ports >>> 16;
  packet.dstPort = ports & 0xffff;
  packet.seq = view.getInt32(at + 4);
  const fourth = view.getInt32(at + 12); // data offset, flags, window
  const headerLength = (fourth >>> 28) << 2;
  if (headerLength < TCP_HEADER_LEN) return stopMalformed(packet, LAYER_TCP);
  const payload = at + headerLength;
  const payloadLength = packet.wireEnd - payload;
  if (payloadLength < 0) return stop(packet, LAYER_TCP, STOP_LENGTH, headerLength);
  packet.hasTcp = true;
  packet.ack = view.getInt32(at + 8);
  packet.tcpFlags = (fourth >> 16) & 0x1ff;
  packet.window = fourth & 0xffff;
  if ((packet.tcpFlags & TCP_SYN) !== 0 && headerLength > TCP_HEADER_LEN)
    packet.mss = findMss(view, at + TCP_HEADER_LEN, Math.min(payload, limit));
  packet.payloadLength = payloadLength;
  if (payload <= limit) {
    packet.payloadOffset = payload;
    packet.payloadCaptured = limit - payload;
  } else {
    packet.payloadOffset = limit;
    packet.payloadCaptured = 0;
    return stopShort(packet, LAYER_TCP, headerLength);
  }
  return LAYER_NONE;
}

/** The ports are in the first 4 bytes and the sequence number in the next 4; an ICMP error need not quote more (RFC 792). */
function decodeCutTcp(packet: Packet, view: DataView): number {
  const at = packet.cursor;
  const have = packet.limit - at;
  if (have >= 4) {
    packet.hasPorts = true;
    packet.srcPort = view.getUint16(at);
    packet.dstPort = view.getUint16(at + 2);
  }
  if (have >= 8) packet.seq = view.getInt32(at + 4);
  return stopShort(packet, LAYER_TCP, TCP_HEADER_LEN);
}

/** Maximum segment size among the options in [at, end), 0 when there is none before the first option that is broken or cut. */
function findMss(view: DataView, at: number, end: number): number {
  while (at < end) {
    const kind = view.getUint8(at);
    if (kind === OPTION_END) return 0;
    if (kind === OPTION_NOP) {
      at++;
      continue;
    }
    if (at + 1 >= end) return 0;
    const length = view.getUint8(at + 1);
    if (length < 2 || at + length > end) return 0;
    if (kind === OPTION_MSS && length === 4) return view.getUint16(at + 2);
    at += length;
  }
  return 0;
}
