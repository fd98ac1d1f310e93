/**
 * Texts of resources that several configurations have in common, kept once: most sidecars of a node have most of their clusters, routes and endpoints in common, and most
 * versions of a configuration differ in a few. A text is gone when nothing uses it any more.
 *
 * Equal means byte by byte: a hash only says where to look, so that no pod can put its text in another one's place.
 */
import { randomBytes } from 'node:crypto';
import { JsonPart, readJson } from '../../envoy/json-part.ts';
import type { MessageField } from '../../envoy/resource.ts';

type Field = MessageField | 'host_statuses';

/** Texts lie side by side in rooms of this size, the long ones alone: a buffer of its own for each would cost more than most texts. */
const ROOM = 64 * 1024;
const LONG = ROOM / 4;
const MAX_SCRATCH = 1024 * 1024;
/** Of one hash so many are looked at; more are kept without being shared. */
const MAX_ALIKE = 8;

const options = { what: 'an Envoy config_dump', unitDepth: 1, checked: true } as const;
const seeds: { readonly [field in Field]: number } = {
  listener: randomBytes(4).readInt32LE(),
  cluster: randomBytes(4).readInt32LE(),
  route_config: randomBytes(4).readInt32LE(),
  endpoint_config: randomBytes(4).readInt32LE(),
  host_statuses: randomBytes(4).readInt32LE(),
};

/** Two FNV-1a of 32 bits that begin differently, as one number of 53 bits. */
function hashOf(bytes: Uint8Array, seed: number): number {
  let one = 0x811c9dc5 ^ seed;
  let other = 0x9747b28c ^ ~seed;
  for (let i = 0; i < bytes.length; i++) {
    const c = bytes[i]!;
    one = Math.imul(one ^ c, 0x01000193);
    other = Math.imul(other ^ c, 0x5bd1e995);
  }
  return (one >>> 0) * 0x20_0000 + ((other ^ (other >>> 15)) & 0x1f_ffff);
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** Copies JSON without the space between its parts: Envoy indents, and a third of what it prints is space. @returns how long it is */
function copyTight(from: Uint8Array, into: Uint8Array): number {
  const { length } = from;
  let at = 0;
  for (let i = 0; i < length; i++) {
    const c = from[i]!;
    if (c === 0x20 || c === 0x0a || c === 0x0d || c === 0x09) continue;
    into[at++] = c;
    if (c !== QUOTE) continue;
    for (i++; i < length; i++) {
      const d = from[i]!;
      into[at++] = d;
      if (d === QUOTE) break;
      if (d === BACKSLASH) into[at++] = from[++i]!;
    }
  }
  return at;
}

interface Kept {
  readonly field: Field;
  readonly part: WeakRef<JsonPart>;
}

export class SharedParts {
  readonly #parts = new Map<number, Kept[]>();
  readonly #gone = new FinalizationRegistry<number>((hash) => this.#forget(hash));
  #room = new Uint8Array(0);
  #used = 0;
  #scratch = new Uint8Array(0);
  #size = 0;

  /** Texts that are kept. */
  get size(): number {
    return this.#size;
  }

  /**
   * The part that stands for all of this text in this field; it holds nothing of the text around it.
   *
   * @param added told how many bytes it takes, where it is new
   */
  keep(part: JsonPart, field: Field, added?: (bytes: number) => void): JsonPart {
    const bytes = this.#tight(part.bytes);
    const hash = hashOf(bytes, seeds[field]);
    const alike = this.#parts.get(hash);
    for (const kept of alike ?? []) {
      const known = kept.field === field ? kept.part.deref() : undefined;
      if (known !== undefined && Buffer.compare(known.bytes, bytes) === 0) return known;
    }
    added?.(bytes.length);
    const own = new JsonPart(readJson(this.#copy(bytes), options), 0);
    if (alike !== undefined && alike.length >= MAX_ALIKE) return own;
    const kept = { field, part: new WeakRef(own) };
    if (alike === undefined) this.#parts.set(hash, [kept]);
    else alike.push(kept);
    this.#size++;
    this.#gone.register(own, hash);
    return own;
  }

  /** Valid until the next. */
  #tight(bytes: Uint8Array): Uint8Array {
    if (bytes.length > this.#scratch.length) this.#scratch = new Uint8Array(Math.max(bytes.length, ROOM));
    const tight = this.#scratch.subarray(0, copyTight(bytes, this.#scratch));
    if (this.#scratch.length > MAX_SCRATCH) this.#scratch = new Uint8Array(0);
    return tight;
  }

  #copy(bytes: Uint8Array): Uint8Array {
    if (bytes.length > LONG) return new Uint8Array(bytes);
    if (this.#used + bytes.length > this.#room.length) {
      this.#room = new Uint8Array(ROOM);
      this.#used = 0;
    }
    const own = this.#room.subarray(this.#used, this.#used + bytes.length);
    own.set(bytes);
    this.#used += bytes.length;
    return own;
  }

  #forget(hash: number): void {
    const alike = this.#parts.get(hash);
    if (alike === undefined) return;
    const left = alike.filter(({ part }) => part.deref() !== undefined);
    this.#size -= alike.length - left.length;
    if (left.length === 0) this.#parts.delete(hash);
    else this.#parts.set(hash, left);
  }
}

/** Those of this process. */
export const nodeParts = new SharedParts();
