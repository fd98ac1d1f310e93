/**
 * Entering a tunnel. It happens when a sound inner IP header has been found, so that a tunnel whose inside cannot be read (ARP, a cut header)
 * leaves the outer packet as the flow.
 */
import { LAYER_NONE } from './layer.ts';
import type { Packet } from './packet.ts';

export const TUNNEL_GRE = 1;
export const TUNNEL_IPIP = 2;
export const TUNNEL_VXLAN = 3;
export const TUNNEL_GENEVE = 4;
export const TUNNEL_IP6IP = 5;

/** Remembers a tunnel header; returns the layer inside. The outermost one counts. */
export function announceTunnel(packet: Packet, kind: number, id: number, next: number): number {
  if (next === LAYER_NONE) return LAYER_NONE;
  packet.pendingTunnel = kind;
  packet.pendingTunnelId = id;
  return next;
}

/** An inner IP header was found: the addresses become the outer ones (of the outermost tunnel), and what the outer transport said is cleared. */
export function enterTunnel(packet: Packet): void {
  if (packet.tunnel === 0) {
    packet.tunnel = packet.pendingTunnel;
    packet.tunnelId = packet.pendingTunnelId;
    packet.outerVersion = packet.ipVersion;
    packet.outerSrc0 = packet.src0;
    packet.outerSrc1 = packet.src1;
    packet.outerSrc2 = packet.src2;
    packet.outerSrc3 = packet.src3;
    packet.outerDst0 = packet.dst0;
    packet.outerDst1 = packet.dst1;
    packet.outerDst2 = packet.dst2;
    packet.outerDst3 = packet.dst3;
  }
  packet.src0 = packet.src1 = packet.src2 = 0;
  packet.dst0 = packet.dst1 = packet.dst2 = 0;
  packet.hasPorts = false;
  packet.srcPort = 0;
  packet.dstPort = 0;
  packet.payloadOffset = 0;
  packet.payloadCaptured = 0;
  packet.payloadLength = 0;
}
