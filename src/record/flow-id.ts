/**
 * Ids of flows: a hash of node, network namespace, zone, protocol, original tuple and first stamp, so that the same input gives the same id. 64 bits, not secret, not cryptographic.
 *
 * Method: two accumulators over 32-bit words, each multiplied, rotated and at the end mixed as MurmurHash3 does; numbers rather than text, since there may be millions of flows.
 */
import { parseIp } from '../net/address.ts';
import type { TimeBase } from '../net/time.ts';

const NS = 1_000_000_000;
const HEX = '0123456789abcdef';

export class FlowIdHash {
  /** The id's two halves, unsigned when read as such. */
  high = 0;
  low = 0;
  readonly #high: number;
  readonly #low: number;
  readonly #epochSeconds: number;

  constructor(node: string, netns: string, base: TimeBase) {
    this.#epochSeconds = base.epochSeconds;
    this.high = 0x3c6ef372;
    this.low = 0x510e527f;
    for (const text of [node, netns]) {
      for (let i = 0; i < text.length; i++) this.#add(text.charCodeAt(i));
      this.#add(-1 - text.length);
    }
    this.#high = this.high;
    this.#low = this.low;
  }

  /**
   * Sets `high` and `low`.
   *
   * @param addresses source and destination, four words each; of IPv4 only the last of the four counts
   * @param ports source port << 16 | destination port; 0 where the protocol has none
   * @param zone of conntrack, 0 where it is not known
   */
  hash(zone: number, protocolNumber: number, ipv6: boolean, addresses: Int32Array, ports: number, firstNs: number): void {
    this.high = this.#high;
    this.low = this.#low;
    this.#add(protocolNumber | (ipv6 ? 0x100 : 0) | (zone << 9));
    if (ipv6) {
      for (let i = 0; i < 8; i++) this.#add(addresses[i]!);
    } else {
      this.#add(addresses[3]!);
      this.#add(addresses[7]!);
    }
    this.#add(ports);
    const whole = Math.round(firstNs);
    const seconds = Math.floor(whole / NS);
    this.#add(whole - seconds * NS);
    this.#add((seconds + this.#epochSeconds) | 0);
    this.high = finish(this.high);
    this.low = finish(this.low);
  }

  /** `high` and `low` as 16 hexadecimal digits. */
  get text(): string {
    let text = '';
    for (let shift = 28; shift >= 0; shift -= 4) text += HEX[(this.high >>> shift) & 15];
    for (let shift = 28; shift >= 0; shift -= 4) text += HEX[(this.low >>> shift) & 15];
    return text;
  }

  #add(word: number): void {
    let a = Math.imul(this.high ^ word, 0xcc9e2d51);
    a = (a << 15) | (a >>> 17);
    this.high = Math.imul(a, 0x1b873593);
    let b = Math.imul(this.low + word, 0x9e3779b1);
    b ^= b >>> 15;
    this.low = Math.imul(b, 0x85ebca77);
  }
}

function finish(h: number): number {
  let x = h;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return x ^ (x >>> 16);
}

const addresses = new Int32Array(8);
let kept: { readonly node: string; readonly netns: string; readonly epochSeconds: number; readonly hash: FlowIdHash } | undefined;

/** The id of a flow whose addresses are text; ports are 0 where the protocol has none. */
export function flowId(
  scope: { readonly node: string; readonly netns: string; readonly base: TimeBase },
  zone: number,
  protocolNumber: number,
  source: { readonly ip: string; readonly port: number },
  destination: { readonly ip: string; readonly port: number },
  firstNs: number,
): string {
  const { node, netns, base } = scope;
  // Flows come namespace by namespace.
  if (kept?.node !== node || kept.netns !== netns || kept.epochSeconds !== base.epochSeconds)
    kept = { node, netns, epochSeconds: base.epochSeconds, hash: new FlowIdHash(node, netns, base) };
  const from = parseIp(source.ip);
  const to = parseIp(destination.ip);
  for (let i = 0; i < 4; i++) {
    addresses[i] = from?.words[i] ?? 0;
    addresses[4 + i] = to?.words[i] ?? 0;
  }
  kept.hash.hash(zone, protocolNumber, from?.family === 6, addresses, (source.port << 16) | destination.port, firstNs);
  return kept.hash.text;
}
