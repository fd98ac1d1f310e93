/**
 * Linux "cooked" headers, as captures on `any` have them. They name the direction, and version 2 the interface index.
 * Source: https://www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL.html and …_SLL2.html.
 */
import { layerOfEtherType } from './ether-type.ts';
import { LAYER_LLC, LAYER_NONE, LAYER_SLL, LAYER_SLL2, stopShort } from './layer.ts';
import type { Packet } from './packet.ts';

const SLL_HEADER_LEN = 16;
const SLL2_HEADER_LEN = 20;
/** Protocol values below the EtherTypes: Novell raw 802.3 frames, and LLC. */
const SLL_P_802_2 = 4;
/** Hardware types whose protocol field is no EtherType: netlink, and IEEE 802.11 in three forms. */
const ARPHRD_NETLINK = 824;
const ARPHRD_IEEE80211 = 801;
const ARPHRD_IEEE80211_RADIOTAP = 803;

export function decodeSll(packet: Packet, view: DataView): number {
  const at = packet.cursor;
  if (packet.limit - at < SLL_HEADER_LEN) return stopShort(packet, LAYER_SLL, SLL_HEADER_LEN);
  packet.packetType = view.getUint16(at);
  packet.cursor = at + SLL_HEADER_LEN;
  return layerOfCooked(view.getUint16(at + 14), view.getUint16(at + 2));
}

export function decodeSll2(packet: Packet, view: DataView): number {
  const at = packet.cursor;
  if (packet.limit - at < SLL2_HEADER_LEN) return stopShort(packet, LAYER_SLL2, SLL2_HEADER_LEN);
  packet.ifindex = view.getInt32(at + 4);
  packet.packetType = view.getUint8(at + 10);
  packet.cursor = at + SLL2_HEADER_LEN;
  return layerOfCooked(view.getUint16(at), view.getUint16(at + 8));
}

function layerOfCooked(protocol: number, hardwareType: number): number {
  if (hardwareType === ARPHRD_NETLINK) return LAYER_NONE;
  if (hardwareType >= ARPHRD_IEEE80211 && hardwareType <= ARPHRD_IEEE80211_RADIOTAP) return LAYER_NONE;
  const next = layerOfEtherType(protocol);
  return next === LAYER_LLC && protocol !== SLL_P_802_2 ? LAYER_NONE : next;
}
