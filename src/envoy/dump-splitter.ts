/**
 * Takes a /config_dump apart while it comes: each entry of its lists on its own, and each section without them.
 *
 * Nothing is kept but the entry and the section at hand. Only the frame is checked here (brackets, strings, what stands between entries); what an entry holds
 * is for its reader to check.
 * Source: RFC 8259; envoy/admin/v3/config_dump.proto: `{"configs": [{"@type": …, "dynamic_active_clusters": [ENTRY, …]}, …]}`.
 */
import { EnvoyConfigError } from './json.ts';

export interface SplitterHandlers {
  /** An object in a list of a section, under the name of that list. Its bytes are valid until it returns. */
  entry(list: string, bytes: Uint8Array): void;
  /** A section whose entries were handed out: its lists of objects are empty. Its bytes are valid until it returns. */
  section(bytes: Uint8Array): void;
}

const MEBIBYTE = 1024 * 1024;
const MAX_DEPTH = 200;
const MAX_PIECE = 32 * MEBIBYTE;
const MAX_ENTRIES = 250_000;
const MAX_SECTIONS = 100_000;
const MAX_NAME = 256;
/** Bytes that are neither: space, commas, what else the outermost object holds. In all, and for each entry or section. */
const MAX_GAPS = MEBIBYTE;
const MAX_GAP = 1024;

const QUOTE = 0x22;
const COMMA = 0x2c;
const OPEN_LIST = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/** Depths: the outermost object, the list "configs", a section, a list in it, an entry. */
const ROOT = 1;
const CONFIGS = 2;
const SECTION = 3;
const LIST = 4;
const ENTRY = 5;

const OBJECT = 1;
const ARRAY = 2;

type Capture = 'nothing' | 'section' | 'entry';

export class DumpSplitter {
  readonly #handlers: SplitterHandlers;
  #depth = 0;
  readonly #kinds = new Uint8Array(MAX_DEPTH + 2);
  #inString = false;
  #escaped = false;
  /** The outermost value is over. */
  #over = false;
  /** Was there a list "configs"? */
  #found = false;
  /** In the list "configs" of the outermost object. */
  #inConfigs = false;
  /** The last string of the outermost object or of a section, as it stands in the text; before a list it is its name. */
  #name = '';
  #naming = false;
  /** How the list of a section is read: its first item decides. */
  #list: 'undecided' | 'entries' | 'plain' = 'undecided';
  #listName = '';
  #capture: Capture = 'nothing';
  #section: Uint8Array[] = [];
  #sectionLength = 0;
  #entry: Uint8Array[] = [];
  #entryLength = 0;
  #entries = 0;
  /** Bytes of sections and entries so far. */
  #kept = 0;
  #sections = 0;
  /** Bytes before the chunk at hand. */
  #offset = 0;
  readonly #head: number[] = [];

  constructor(handlers: SplitterHandlers) {
    this.#handlers = handlers;
  }

  /** @throws {EnvoyConfigError} when it cannot be a dump; nothing is to be added then */
  add(chunk: Uint8Array): void {
    for (let i = 0; this.#head.length < 40 && i < chunk.length; i++) this.#head.push(chunk[i]!);
    /** Where what is captured of this chunk begins. */
    let from = 0;
    for (let i = 0; i < chunk.length; i++) {
      if (this.#inString) {
        i = this.#stringRest(chunk, i);
        continue;
      }
      if (this.#depth > LIST) {
        i = this.#deep(chunk, i);
        if (i === chunk.length) break;
      }
      const c = chunk[i]!;
      if (c === QUOTE) this.#openString(i);
      else if (c === OPEN_OBJECT || c === OPEN_LIST) {
        if (c === OPEN_OBJECT && this.#depth === LIST && this.#inConfigs) {
          if (this.#list === 'undecided') {
            this.#list = 'entries';
            this.#keep(chunk, from, i);
          }
          if (this.#list === 'entries') {
            this.#capture = 'entry';
            from = i;
          }
        }
        this.#open(c === OPEN_OBJECT ? OBJECT : ARRAY, i);
        if (this.#depth === SECTION && this.#inConfigs) {
          this.#capture = 'section';
          from = i;
        }
      } else if (c === CLOSE_OBJECT || c === CLOSE_LIST) {
        this.#close(c === CLOSE_OBJECT ? OBJECT : ARRAY, i);
        if (!this.#inConfigs) continue;
        if (this.#depth === LIST && this.#capture === 'entry') {
          this.#keep(chunk, from, i + 1);
          this.#capture = 'nothing';
          this.#giveEntry();
        } else if (this.#depth === SECTION && c === CLOSE_LIST && this.#list === 'entries') {
          this.#list = 'undecided';
          this.#capture = 'section';
          from = i;
        } else if (this.#depth === CONFIGS && c === CLOSE_OBJECT) {
          this.#keep(chunk, from, i + 1);
          this.#capture = 'nothing';
          this.#giveSection();
        } else if (this.#depth === ROOT) this.#inConfigs = false;
      } else if (c > 0x20 && this.#depth <= LIST) this.#other(c, i);
    }
    this.#keep(chunk, from, chunk.length);
    this.#offset += chunk.length;
    if (this.#offset - this.#kept > MAX_GAPS + MAX_GAP * (this.#entries + this.#sections))
      throw this.#fault(this.#offset, `at most ${MAX_GAPS} bytes beside sections and entries are wanted, there are more`);
  }

  /** @throws {EnvoyConfigError} when it is not over, or was no dump */
  end(): void {
    if (!this.#over) throw this.#fault(this.#offset, 'its end is wanted, it ends there');
    if (!this.#found) throw this.#fault(0, 'an object with a list "configs" is wanted');
  }

  /**
   * Goes on in what is deeper than the lists of a section: almost all of a dump is.
   *
   * @returns the bracket that ends it, or the end of the chunk, or the last byte of the chunk where a string goes on behind it
   */
  #deep(chunk: Uint8Array, from: number): number {
    const kinds = this.#kinds;
    const { length } = chunk;
    let depth = this.#depth;
    let i = from;
    for (; i < length; i++) {
      const c = chunk[i]!;
      if (c === QUOTE) {
        for (i++; ; ) {
          if (i >= length) {
            this.#depth = depth;
            this.#inString = true;
            this.#naming = false;
            this.#escaped = i > length;
            return length;
          }
          const d = chunk[i]!;
          if (d === QUOTE) break;
          i += d === BACKSLASH ? 2 : 1;
        }
      } else if (c === OPEN_OBJECT || c === OPEN_LIST) {
        if (++depth > MAX_DEPTH) throw this.#fault(this.#offset + i, `at most ${MAX_DEPTH} levels are wanted, there are more`);
        kinds[depth] = c === OPEN_OBJECT ? OBJECT : ARRAY;
      } else if (c === CLOSE_OBJECT || c === CLOSE_LIST) {
        if (depth === ENTRY) break;
        if (kinds[depth] !== (c === CLOSE_OBJECT ? OBJECT : ARRAY))
          throw this.#fault(this.#offset + i, 'another bracket is wanted than the one that is there');
        depth--;
      }
    }
    this.#depth = depth;
    return i;
  }

  #fault(at: number, state: string): EnvoyConfigError {
    const head = new TextDecoder().decode(new Uint8Array(this.#head));
    return new EnvoyConfigError(`Cannot read an Envoy config_dump: at byte ${at} ${state}; it begins with ${JSON.stringify(head)}`);
  }

  #openString(at: number): void {
    // Between sections and between entries there are none; before the outermost object neither.
    if (this.#depth === 0) throw this.#fault(this.#offset + at, 'an object is wanted');
    if (this.#depth === CONFIGS && this.#inConfigs) throw this.#fault(this.#offset + at, 'a section is wanted, an object');
    if (this.#depth === LIST && this.#inConfigs) {
      if (this.#list === 'entries') throw this.#fault(this.#offset + at, `objects only are wanted in "${this.#listName}"`);
      this.#list = 'plain';
    }
    this.#inString = true;
    this.#naming = this.#depth === ROOT || this.#depth === SECTION;
    if (this.#naming) this.#name = '';
  }

  /** @returns the last byte of the string, or of the chunk */
  #stringRest(chunk: Uint8Array, begin: number): number {
    let i = begin;
    if (this.#escaped) {
      this.#escaped = false;
      i++;
    }
    const { length } = chunk;
    for (; i < length; i++) {
      const c = chunk[i]!;
      if (c === BACKSLASH) {
        if (i + 1 === length) this.#escaped = true;
        i++;
      } else if (c === QUOTE) {
        this.#inString = false;
        break;
      }
    }
    const end = Math.min(i, length);
    if (this.#naming && this.#name.length <= MAX_NAME)
      this.#name += String.fromCharCode(...chunk.subarray(begin, Math.min(end, begin + MAX_NAME + 1)));
    return Math.min(i, length - 1);
  }

  #open(kind: number, at: number): void {
    if (this.#over) throw this.#fault(this.#offset + at, 'nothing more is wanted');
    const depth = ++this.#depth;
    if (depth > MAX_DEPTH) throw this.#fault(this.#offset + at, `at most ${MAX_DEPTH} levels are wanted, there are more`);
    this.#kinds[depth] = kind;
    if (depth === ROOT && kind !== OBJECT) throw this.#fault(this.#offset + at, 'an object is wanted');
    if (depth === CONFIGS && kind === ARRAY && this.#name === 'configs') {
      this.#found = true;
      this.#inConfigs = true;
    }
    if (!this.#inConfigs) return;
    if (depth === SECTION && kind !== OBJECT) throw this.#fault(this.#offset + at, 'a section is wanted, an object');
    if (depth === LIST) {
      this.#list = kind === ARRAY ? 'undecided' : 'plain';
      this.#listName = this.#name;
    } else if (depth === ENTRY && this.#kinds[LIST] === ARRAY && kind === ARRAY && this.#list !== 'plain') {
      if (this.#list === 'entries') throw this.#fault(this.#offset + at, `objects only are wanted in "${this.#listName}"`);
      this.#list = 'plain';
    }
  }

  #close(kind: number, at: number): void {
    if (this.#depth === 0 || this.#kinds[this.#depth] !== kind)
      throw this.#fault(this.#offset + at, 'another bracket is wanted than the one that is there');
    if (--this.#depth === 0) this.#over = true;
  }

  /** Whatever is neither a string nor a bracket nor space. */
  #other(c: number, at: number): void {
    if (this.#depth === 0) throw this.#fault(this.#offset + at, this.#over ? 'nothing more is wanted' : 'an object is wanted');
    if (!this.#inConfigs || c === COMMA) return;
    if (this.#depth === CONFIGS) throw this.#fault(this.#offset + at, 'a section is wanted, an object');
    if (this.#depth !== LIST) return;
    if (this.#list === 'entries') throw this.#fault(this.#offset + at, `objects only are wanted in "${this.#listName}"`);
    this.#list = 'plain';
  }

  #keep(chunk: Uint8Array, from: number, to: number): void {
    if (to <= from || this.#capture === 'nothing') return;
    const part = chunk.subarray(from, to);
    this.#kept += part.length;
    const isEntry = this.#capture === 'entry';
    if (isEntry) this.#entryLength += part.length;
    else this.#sectionLength += part.length;
    if ((isEntry ? this.#entryLength : this.#sectionLength) > MAX_PIECE)
      throw this.#fault(this.#offset + from, `at most ${MAX_PIECE / MEBIBYTE} MiB of one ${this.#capture} are wanted, there are more`);
    (isEntry ? this.#entry : this.#section).push(part);
  }

  #giveEntry(): void {
    if (++this.#entries > MAX_ENTRIES) throw this.#fault(this.#offset, `at most ${MAX_ENTRIES} resources are wanted, there are more`);
    const bytes = join(this.#entry, this.#entryLength);
    this.#entry = [];
    this.#entryLength = 0;
    this.#handlers.entry(this.#listName, bytes);
  }

  #giveSection(): void {
    if (++this.#sections > MAX_SECTIONS) throw this.#fault(this.#offset, `at most ${MAX_SECTIONS} parts are wanted, there are more`);
    const bytes = join(this.#section, this.#sectionLength);
    this.#section = [];
    this.#sectionLength = 0;
    this.#handlers.section(bytes);
  }
}

function join(parts: readonly Uint8Array[], length: number): Uint8Array {
  return parts.length === 1 ? parts[0]! : Buffer.concat(parts, length);
}
