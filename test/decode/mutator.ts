/** Seeded damage to frames. The same seed and the same frames give the same mutants on every machine. */

/** Random 32-bit words: xorshift, good enough to choose bytes by. */
export class Random {
  #state: number;
  constructor(seed: number) {
    this.#state = seed | 1;
  }
  next(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return x >>> 0;
  }
  /** From 0 to n - 1. */
  below(n: number): number {
    return n <= 1 ? 0 : this.next() % n;
  }
}

const EDGES = [
  0, 1, 2, 3, 4, 6, 7, 8, 15, 16, 17, 41, 44, 47, 58, 59, 60, 0x3f, 0x40, 0x45, 0x4f, 0x60, 0x7f, 0x80, 0x81, 0xc0, 0xfe, 0xff,
];
/** Headers that lead from one layer into another: a VLAN tag after an EtherType, a Fragment header, a stack entry. */
const INSERTS = [
  [0x81, 0, 0, 5],
  [0x88, 0xa8, 0, 7],
  [0x88, 0x47, 0, 1, 1, 64],
  [44, 0, 0, 1, 0, 0, 0, 9],
  [0, 0, 1, 4, 0, 0, 0, 0],
  [8, 0, 0, 0, 0, 0, 42, 0],
  [0x20, 0, 0x65, 0x58, 0, 0, 0, 7],
  [0xc0, 0x0c],
];
export const MAX_FRAME = 4096;

/** Writes a mutant of `frame` into `out` (MAX_FRAME bytes) and returns its length. One to four changes, mostly within the first 128 bytes, where the headers are. */
export function mutate(frame: Uint8Array, other: Uint8Array, out: Uint8Array, random: Random): number {
  let length = Math.min(frame.length, 1600);
  out.set(frame.subarray(0, length));
  const changes = 1 + random.below(4);
  for (let i = 0; i < changes; i++) {
    const at = random.below(random.below(4) === 0 ? length : Math.min(length, 128));
    switch (random.below(9)) {
      case 0:
        out[at] = random.next() & 255;
        break;
      case 1:
        out[at]! ^= 1 << random.below(8);
        break;
      case 2:
        out[at] = EDGES[random.below(EDGES.length)]!;
        break;
      case 3:
        out[at] = random.next() & 255;
        if (at + 1 < length) out[at + 1] = random.next() & 255;
        break;
      case 4:
        length = at;
        break;
      case 5: {
        const insert = INSERTS[random.below(INSERTS.length)]!;
        out.copyWithin(at + insert.length, at, length);
        out.set(insert, at);
        length += insert.length;
        break;
      }
      case 6: {
        // Repeat a piece: a header within itself.
        const size = Math.min(1 + random.below(64), length - at);
        out.copyWithin(at + size, at, length);
        length += Math.max(0, size);
        break;
      }
      case 7: {
        const size = Math.min(random.below(64), length - at);
        out.copyWithin(at, at + size, length);
        length -= Math.max(0, size);
        break;
      }
      default: {
        const from = random.below(other.length);
        const piece = other.subarray(from, from + random.below(96));
        out.set(piece.subarray(0, Math.max(0, length - at)), at);
      }
    }
    if (length > 2000) length = 2000;
  }
  return length;
}
