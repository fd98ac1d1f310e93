/**
 * ICMP and ICMPv6: type, code, checksum, four bytes by type, then the message; errors quote the packet that caused them. Source: RFC 792, RFC 4443, RFC 4620.
 */
import { LAYER_ICMP, LAYER_ICMPV6, LAYER_NONE, stopShort } from './layer.ts';
import { setPayload } from './narrow.ts';
import type { Packet } from './packet.ts';

const ICMP_HEADER_LEN = 8;

export function decodeIcmp(packet: Packet, view: DataView): number {
  return decodeMessage(packet, view, LAYER_ICMP);
}

export function decodeIcmpv6(packet: Packet, view: DataView): number {
  return decodeMessage(packet, view, LAYER_ICMPV6);
}

function decodeMessage(packet: Packet, view: DataView, layer: number): number {
  const at = packet.cursor;
  const have = packet.limit - at;
  if (have >= 2) {
    packet.icmpType = view.getUint8(at);
    packet.icmpCode = view.getUint8(at + 1);
  }
  if (have < ICMP_HEADER_LEN) return stopShort(packet, layer, ICMP_HEADER_LEN);
  const type = packet.icmpType;
  packet.cursor = at + ICMP_HEADER_LEN;
  setPayload(packet, packet.cursor);
  if (layer === LAYER_ICMP ? isQuery(type) : isQuery6(type)) packet.icmpId = view.getUint16(at + 4);
  else if ((layer === LAYER_ICMP ? isError(type) : isError6(type)) && packet.payloadCaptured > 0) packet.quoteOffset = packet.cursor;
  return LAYER_NONE;
}

/** Unreachable, source quench, redirect, time exceeded, parameter problem. */
function isError(type: number): boolean {
  return type === 3 || type === 4 || type === 5 || type === 11 || type === 12;
}

/** Unreachable, packet too big, time exceeded, parameter problem: RFC 4443 section 2.1 reserves types below 128 for errors, and only these are defined. */
function isError6(type: number): boolean {
  return type >= 1 && type <= 4;
}

/** Echo, timestamp, information, address mask, and their replies. */
function isQuery(type: number): boolean {
  return type === 0 || type === 8 || (type >= 13 && type <= 18);
}

/** Echo and its reply. Node information has a type and flags there instead. */
function isQuery6(type: number): boolean {
  return type === 128 || type === 129;
}
