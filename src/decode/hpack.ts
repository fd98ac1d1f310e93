/**
 * HPACK decoder for one direction of an HTTP/2 connection.
 *
 * What was not seen is never guessed: a decoder that joins late, or that lost a header block, knows the entries added since then (the newest have the lowest indices);
 * an index beyond them refers to something unknown, and the field comes without its value, or not at all.
 * Source: RFC 7541.
 */
import { type HeaderField, latin1, MAX_FIELDS } from './header-field.ts';
import { staticTable } from './hpack-tables.ts';
import { decodeHuffman } from './huffman.ts';

const DEFAULT_TABLE_SIZE = 4096;
/** A table larger than this is not kept whole; what falls out is unknown. */
const MAX_TABLE_SIZE = 65_536;
const ENTRY_OVERHEAD = 32;
const MAX_INTEGER = 1 << 28;
/** Text kept of one block, over all of its fields. */
const MAX_TEXT = 65_536;

/** A name of `undefined` stands for an entry that refers to an unknown one. */
interface Entry {
  readonly name: string | undefined;
  readonly value: string | undefined;
  readonly size: number;
}

export interface HeaderBlock {
  /** At most 64, in order. */
  readonly fields: readonly HeaderField[];
  /** False when a field could not be given by name: unknown, too many, cut, or the block is malformed. */
  readonly complete: boolean;
}

export class HpackDecoder {
  /** Newest first. */
  #entries: Entry[] = [];
  #size = 0;
  #limit = DEFAULT_TABLE_SIZE;
  #historyUnknown: boolean;
  #bytes: Uint8Array = new Uint8Array(0);
  #at = 0;
  #end = 0;

  /** @param midstream the connection began before: what the table holds is not known */
  constructor(midstream = false) {
    this.#historyUnknown = midstream;
    if (midstream) this.#limit = MAX_TABLE_SIZE;
  }

  /** Something was lost: the table is unknown from here on. */
  forget(): void {
    this.#entries = [];
    this.#size = 0;
    this.#limit = MAX_TABLE_SIZE;
    this.#historyUnknown = true;
  }

  /** Are all entries of the table known? */
  get certain(): boolean {
    return !this.#historyUnknown;
  }

  /**
   * Decodes a whole header block. A malformed or cut one gives the fields before the fault, and the table is unknown afterwards.
   *
   * @param cut the block ends early: what follows was not seen
   */
  decode(bytes: Uint8Array, start: number, end: number, cut = false): HeaderBlock {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
    const fields: HeaderField[] = [];
    let complete = !cut;
    let text = 0;
    while (this.#at < this.#end) {
      const field = this.#field();
      if (field === 'size-update') continue;
      if (field === 'malformed') {
        complete = false;
        this.forget();
        break;
      }
      text += (field.name?.length ?? 0) + (field.value?.length ?? 0);
      if (field.name === undefined || field.value === undefined || fields.length >= MAX_FIELDS || text > MAX_TEXT) complete = false;
      else fields.push({ name: field.name, value: field.value });
    }
    if (cut) this.forget();
    this.#bytes = new Uint8Array(0);
    return { fields, complete };
  }

  #field(): { name: string | undefined; value: string | undefined } | 'size-update' | 'malformed' {
    const first = this.#bytes[this.#at]!;
    if (first >= 0x80) {
      const index = this.#integer(7);
      return index === undefined ? 'malformed' : this.#lookUp(index);
    }
    if (first >= 0x20 && first < 0x40) {
      const size = this.#integer(5);
      if (size === undefined) return 'malformed';
      this.#resize(size);
      return 'size-update';
    }
    const indexed = first >= 0x40;
    const index = this.#integer(indexed ? 6 : 4);
    if (index === undefined) return 'malformed';
    const named = index === 0 ? undefined : this.#lookUp(index);
    if (named === 'malformed') return 'malformed';
    const name = index === 0 ? this.#string() : named!.name;
    if (index === 0 && name === undefined) return 'malformed';
    const value = this.#string();
    if (value === undefined) return 'malformed';
    const field = { name, value };
    if (indexed) this.#add(field.name, field.value);
    return field;
  }

  #lookUp(index: number): { name: string | undefined; value: string | undefined } | 'malformed' {
    if (index === 0) return 'malformed';
    if (index <= staticTable.length) return staticTable[index - 1]!;
    const entry = this.#entries[index - staticTable.length - 1];
    if (entry !== undefined) return entry;
    return this.#historyUnknown ? UNKNOWN : 'malformed';
  }

  #add(name: string | undefined, value: string | undefined): void {
    // of an unknown name the length is unknown, too: 0 keeps the entries at least as long as the sender does
    const size = (name?.length ?? 0) + (value?.length ?? 0) + ENTRY_OVERHEAD;
    this.#entries.unshift({ name, value, size });
    this.#size += size;
    this.#evict();
  }

  #resize(size: number): void {
    this.#limit = Math.min(size, MAX_TABLE_SIZE);
    if (size > MAX_TABLE_SIZE) this.#historyUnknown = true;
    this.#evict();
  }

  #evict(): void {
    while (this.#size > this.#limit && this.#entries.length > 0) this.#size -= this.#entries.pop()!.size;
  }

  /** Source: RFC 7541 section 5.1. */
  #integer(prefix: number): number | undefined {
    const mask = (1 << prefix) - 1;
    let value = this.#bytes[this.#at++]! & mask;
    if (value < mask) return value;
    for (let shift = 0; shift <= 28; shift += 7) {
      if (this.#at >= this.#end) return undefined;
      const byte = this.#bytes[this.#at++]!;
      value += (byte & 0x7f) * 2 ** shift;
      if (value > MAX_INTEGER) return undefined;
      if (byte < 0x80) return value;
    }
    return undefined;
  }

  /** Source: RFC 7541 section 5.2. */
  #string(): string | undefined {
    if (this.#at >= this.#end) return undefined;
    const huffman = this.#bytes[this.#at]! >= 0x80;
    const length = this.#integer(7);
    if (length === undefined || this.#at + length > this.#end) return undefined;
    const start = this.#at;
    this.#at += length;
    return huffman ? decodeHuffman(this.#bytes, start, this.#at) : latin1(this.#bytes, start, this.#at);
  }
}

const UNKNOWN = { name: undefined, value: undefined } as const;
