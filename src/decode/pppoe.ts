/** PPPoE session header, 6 bytes: version and type, code, session, length; PPP follows. Source: RFC 2516 section 4. */
import { LAYER_NONE, LAYER_PPP, LAYER_PPPOE, stopMalformed, stopShort } from './layer.ts';
import { narrow } from './narrow.ts';
import type { Packet } from './packet.ts';

const PPPOE_HEADER_LEN = 6;
const VERSION_1_TYPE_1 = 0x11;
const CODE_SESSION = 0;

export function decodePppoe(packet: Packet, view: DataView): number {
  const at = packet.cursor;
  if (packet.limit - at < PPPOE_HEADER_LEN) return stopShort(packet, LAYER_PPPOE, PPPOE_HEADER_LEN);
  if (view.getUint8(at) !== VERSION_1_TYPE_1) return stopMalformed(packet, LAYER_PPPOE);
  if (view.getUint8(at + 1) !== CODE_SESSION) return LAYER_NONE;
  packet.cursor = at + PPPOE_HEADER_LEN;
  narrow(packet, packet.cursor + view.getUint16(at + 4));
  return LAYER_PPP;
}
