/** EtherTypes, and the layer that each announces. Source: IEEE 802 Numbers (IANA). */
import { LAYER_ETHERNET, LAYER_IPV4, LAYER_IPV6, LAYER_LLC, LAYER_MPLS, LAYER_NONE, LAYER_PPP, LAYER_PPPOE, LAYER_VLAN } from './layer.ts';

export const ETHERTYPE_IPV4 = 0x0800;
export const ETHERTYPE_TEB = 0x6558;
export const ETHERTYPE_VLAN = 0x8100;
export const ETHERTYPE_IPV6 = 0x86dd;
export const ETHERTYPE_PPP = 0x880b;
export const ETHERTYPE_MPLS = 0x8847;
export const ETHERTYPE_MPLS_MULTICAST = 0x8848;
export const ETHERTYPE_PPPOE_SESSION = 0x8864;
export const ETHERTYPE_QINQ = 0x88a8;
const ETHERTYPE_QINQ_OLD_1 = 0x9100;
const ETHERTYPE_QINQ_OLD_2 = 0x9200;

/** Values up to this one are an IEEE 802.3 length, and LLC follows. */
const MAX_LENGTH = 1500;

/** The layer after an EtherType field; `LAYER_NONE` for those that carry no IP (ARP, LLDP, PPPoE discovery, …). */
export function layerOfEtherType(etherType: number): number {
  if (etherType === ETHERTYPE_IPV4) return LAYER_IPV4;
  if (etherType === ETHERTYPE_IPV6) return LAYER_IPV6;
  if (etherType <= MAX_LENGTH) return LAYER_LLC;
  switch (etherType) {
    case ETHERTYPE_VLAN:
    case ETHERTYPE_QINQ:
    case ETHERTYPE_QINQ_OLD_1:
    case ETHERTYPE_QINQ_OLD_2:
      return LAYER_VLAN;
    case ETHERTYPE_MPLS:
    case ETHERTYPE_MPLS_MULTICAST:
      return LAYER_MPLS;
    case ETHERTYPE_PPPOE_SESSION:
      return LAYER_PPPOE;
    default:
      return LAYER_NONE;
  }
}

/** The layer after the protocol type of GRE or Geneve: an EtherType, or a bridged Ethernet frame, or PPP. Never LLC: these have no length field there. */
export function layerOfTunnelType(protocolType: number): number {
  if (protocolType === ETHERTYPE_TEB) return LAYER_ETHERNET;
  if (protocolType === ETHERTYPE_PPP) return LAYER_PPP;
  return protocolType <= MAX_LENGTH ? LAYER_NONE : layerOfEtherType(protocolType);
}
