/**
 * MPLS label stack, 4 bytes an entry, to the bottom of the stack. What follows has no type field: the first nibble decides, 4 and 6 being IP
 * and 0 the control word before a bridged Ethernet frame. Anything else is not guessed at.
 * Source: RFC 3032 section 2.1; RFC 4385 section 3; RFC 4928 section 3.
 */
import { LAYER_ETHERNET, LAYER_IPV4, LAYER_IPV6, LAYER_MPLS, LAYER_NONE, STOP_DEPTH, stop, stopShort } from './layer.ts';
import type { Packet } from './packet.ts';

const LABEL_LEN = 4;
const CONTROL_WORD_LEN = 4;
const BOTTOM_OF_STACK = 0x100;
const MAX_LABELS = 16;

export function decodeMpls(packet: Packet, view: DataView): number {
  for (let labels = 0; labels < MAX_LABELS; labels++) {
    const at = packet.cursor;
    if (packet.limit - at < LABEL_LEN) return stopShort(packet, LAYER_MPLS, LABEL_LEN);
    packet.cursor = at + LABEL_LEN;
    if ((view.getInt32(at) & BOTTOM_OF_STACK) !== 0) return layerAfterLabels(packet, view);
  }
  return stop(packet, LAYER_MPLS, STOP_DEPTH, 0);
}

function layerAfterLabels(packet: Packet, view: DataView): number {
  const at = packet.cursor;
  if (at >= packet.limit) return stopShort(packet, LAYER_MPLS, 1);
  const nibble = view.getUint8(at) >> 4;
  if (nibble === 4) return LAYER_IPV4;
  if (nibble === 6) return LAYER_IPV6;
  if (nibble !== 0) return LAYER_NONE;
  if (packet.limit - at < CONTROL_WORD_LEN) return stopShort(packet, LAYER_MPLS, CONTROL_WORD_LEN);
  packet.cursor = at + CONTROL_WORD_LEN;
  return LAYER_ETHERNET;
}
