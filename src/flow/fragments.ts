/**
 * Counts later fragments to the flow of their first one, which alone carries the ports. Bounded: a flood of fragments pushes out the oldest.
 * Source: RFC 791 section 3.2 (source, destination, protocol and identification tell datagrams apart); RFC 8200 section 4.5.
 */
import type { Packet } from '../decode/packet.ts';

const KEPT_MAX = 4096;

interface Ports {
  readonly protocol: number;
  readonly srcPort: number;
  readonly dstPort: number;
}

function keyOf(packet: Packet): string {
  return `${packet.src0},${packet.src1},${packet.src2},${packet.src3},${packet.dst0},${packet.dst1},${packet.dst2},${packet.dst3},${packet.fragmentId},${packet.ipVersion === 4 ? packet.protocol : ''}`;
}

export class Fragments {
  readonly #first = new Map<string, Ports>();

  /** Keeps the ports of a first fragment, or what stands for them (ICMP's identifier). */
  remember(packet: Packet): void {
    if (!packet.hasPorts && packet.icmpId === 0) return;
    if (this.#first.size >= KEPT_MAX)
      for (const oldest of this.#first.keys()) {
        this.#first.delete(oldest);
        break;
      }
    this.#first.set(keyOf(packet), { protocol: packet.protocol, srcPort: packet.srcPort, dstPort: packet.dstPort });
  }

  /** Gives a later fragment the ports of its first one, without a transport header; false when that was not seen (the fragment then counts to a flow without ports). */
  restore(packet: Packet): boolean {
    const ports = this.#first.get(keyOf(packet));
    packet.hasPorts = false;
    packet.hasTcp = false;
    packet.tcpFlags = 0;
    packet.payloadLength = 0;
    packet.payloadCaptured = 0;
    if (ports === undefined) return false;
    packet.protocol = ports.protocol;
    packet.srcPort = ports.srcPort;
    packet.dstPort = ports.dstPort;
    return true;
  }
}
