import type { Packet } from './packet.ts';

/** A length field says that the packet ends at offset `end`: what follows it in the frame (padding, a trailer) is not read. It never widens. */
export function narrow(packet: Packet, end: number): void {
  if (end < packet.wireEnd) packet.wireEnd = end;
  if (end < packet.limit) packet.limit = end;
}

/** The payload is the rest of the innermost packet, from offset `at`. */
export function setPayload(packet: Packet, at: number): void {
  const captured = packet.limit - at;
  const length = packet.wireEnd - at;
  packet.payloadOffset = captured < 0 ? packet.limit : at;
  packet.payloadCaptured = captured < 0 ? 0 : captured;
  packet.payloadLength = length < 0 ? 0 : length;
}
