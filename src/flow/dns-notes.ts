/**
 * DNS messages over UDP as they were captured, kept until a record is made of them: to read one takes longer than everything else that is done with a packet, and most connections ask once
 * and are answered once. Of each flow one message is kept: its first question, then the answer to it, which repeats the question.
 *
 * What does not follow this simple course (several questions in a message, names that are cut or compressed, answers of which not all is sure) is not kept here: extra.ts reads it at once.
 */
import { type DnsMessage, decodeDns } from '../decode/dns.ts';

const CHUNK_BYTES = 256 * 1024;
const LONGEST = 4096;
const LONGEST_ON_WIRE = 0xffff;
/** Captured length and length on the wire, before each message. */
const NOTE_HEADER_LEN = 4;
const ALIGNMENT = 4;

const DNS_HEADER_LEN = 12;
const MAX_NAME_OCTETS = 255;
const TYPE_LEN = 2;
const TYPE_AND_CLASS_LEN = 4;
const RESPONSE = 0x80;
const NOERROR = 0;
const YXRRSET = 7;

export class DnsNotes {
  readonly #chunks: Uint8Array[] = [];
  #used = CHUNK_BYTES;

  /**
   * Can the message in [start, end) be kept as it is? Then reading it later gives its question, and of a response its code.
   *
   * @param wireLength of the message; more than was captured where it was cut
   */
  isSimple(bytes: Uint8Array, start: number, end: number, wireLength: number): boolean {
    if (end - start < DNS_HEADER_LEN || end - start > LONGEST || wireLength > LONGEST_ON_WIRE) return false;
    if (bytes[start + 4] !== 0 || bytes[start + 5] !== 1) return false;
    const name = endOfName(bytes, start + DNS_HEADER_LEN, end);
    if (name === -1 || name + TYPE_AND_CLASS_LEN > end) return false;
    if ((bytes[start + 2]! & RESPONSE) === 0) return true;
    // What rcodeName in decode/dns.ts may leave open: an extended code in an OPT record that was cut.
    const code = bytes[start + 3]! & 15;
    const answers = (bytes[start + 6]! << 8) | bytes[start + 7]!;
    const additional = (bytes[start + 10]! << 8) | bytes[start + 11]!;
    return additional === 0 || answers > 0 || (code !== NOERROR && code !== YXRRSET);
  }

  /** Keeps a simple message; returns its place, above 0. */
  keep(bytes: Uint8Array, start: number, end: number, wireLength: number): number {
    const length = end - start;
    const size = (NOTE_HEADER_LEN + length + ALIGNMENT - 1) & -ALIGNMENT;
    if (this.#used + size > CHUNK_BYTES) {
      this.#chunks.push(new Uint8Array(CHUNK_BYTES));
      this.#used = 0;
    }
    const chunk = this.#chunks.at(-1)!;
    let at = this.#used;
    const place = ((this.#chunks.length - 1) * CHUNK_BYTES + at) / ALIGNMENT + 1;
    chunk[at++] = length >>> 8;
    chunk[at++] = length & 0xff;
    chunk[at++] = wireLength >>> 8;
    chunk[at++] = wireLength & 0xff;
    for (let i = start; i < end; i++) chunk[at++] = bytes[i]!;
    this.#used += size;
    return place;
  }

  /** Keeps what another has at a place; returns the place here. */
  keepFrom(other: DnsNotes, place: number): number {
    const at = (place - 1) * ALIGNMENT;
    const chunk = other.#chunks[Math.floor(at / CHUNK_BYTES)]!;
    const note = at % CHUNK_BYTES;
    const start = note + NOTE_HEADER_LEN;
    const length = (chunk[note]! << 8) | chunk[note + 1]!;
    return this.keep(chunk, start, start + length, (chunk[note + 2]! << 8) | chunk[note + 3]!);
  }

  isResponse(place: number): boolean {
    const at = (place - 1) * ALIGNMENT;
    return (this.#chunks[Math.floor(at / CHUNK_BYTES)]![(at % CHUNK_BYTES) + NOTE_HEADER_LEN + 2]! & RESPONSE) !== 0;
  }

  /** Does the simple message at `start` ask the same as the one that is kept? */
  sameQuestion(place: number, bytes: Uint8Array, start: number, end: number): boolean {
    const at = (place - 1) * ALIGNMENT;
    const chunk = this.#chunks[Math.floor(at / CHUNK_BYTES)]!;
    const from = start + DNS_HEADER_LEN;
    const to = endOfName(bytes, from, end) + TYPE_LEN;
    const shift = (at % CHUNK_BYTES) + NOTE_HEADER_LEN - start;
    // Names end themselves: where one is longer, they differ before the shorter one's end.
    for (let i = from; i < to; i++) if (chunk[i + shift] !== bytes[i]) return false;
    return true;
  }

  read(place: number): DnsMessage | undefined {
    const at = (place - 1) * ALIGNMENT;
    const chunk = this.#chunks[Math.floor(at / CHUNK_BYTES)]!;
    const note = at % CHUNK_BYTES;
    const start = note + NOTE_HEADER_LEN;
    const length = (chunk[note]! << 8) | chunk[note + 1]!;
    const wireLength = (chunk[note + 2]! << 8) | chunk[note + 3]!;
    return decodeDns(chunk, start, start + length, start + wireLength);
  }
}

/** The offset after an uncompressed name that is wholly there, or -1. */
function endOfName(bytes: Uint8Array, from: number, end: number): number {
  let at = from;
  for (;;) {
    if (at >= end) return -1;
    const length = bytes[at]!;
    if (length > 63) return -1;
    at += length + 1;
    if (length === 0) return at - from <= MAX_NAME_OCTETS ? at : -1;
  }
}
