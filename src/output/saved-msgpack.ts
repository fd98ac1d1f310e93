/** Reads back what msgpack.ts writes: the hello with the field names, then batches of rows. */
import { DecodeError } from '@msgpack/msgpack';
import type { AnyRecord } from '../record/record.ts';
import { recordMisfit, recordTypes } from '../record/record-shape.ts';
import { misfitText } from '../record/shape.ts';
import { recordDecoder } from './record-decoder.ts';
import { type RowReader, rowReader, rowVersion } from './rows.ts';

/** A hello that names more fields is none. */
const FIELDS_MAX = 1000;

export class MsgpackRecords {
  readonly #write: (record: AnyRecord) => void;
  readonly #problem: (what: string) => void;
  readonly #decoder = recordDecoder();
  readonly #readers = new Map<string, RowReader>();

  /** @param problem is told what cannot be used: a wish and a state, without the place */
  constructor(write: (record: AnyRecord) => void, problem: (what: string) => void) {
    this.#write = write;
    this.#problem = problem;
  }

  /** @param value the bytes of one value, whose end msgpack-extent.ts has found. @returns false when nothing behind it can be understood */
  take(value: Uint8Array): boolean {
    let decoded: unknown;
    try {
      decoded = this.#decoder.decode(value);
    } catch (error) {
      if (!(error instanceof DecodeError) && !(error instanceof RangeError)) throw error;
      this.#problem(`a MessagePack value is wanted, the reader says: ${error.message}`);
      return false;
    }
    const { type, version, fields, rows } = (isMap(decoded) ? decoded : {}) as { [key: string]: unknown };
    if (type === 'hello') return this.#hello(version, fields);
    if (typeof type !== 'string' || !Array.isArray(rows)) {
      this.#problem('a batch {type, rows} is wanted, it is something else');
      return this.#readers.size > 0;
    }
    const reader = this.#readers.get(type);
    if (reader === undefined) {
      const known = recordTypes.join(', ');
      this.#problem(
        this.#readers.size === 0
          ? 'a hello that names the fields is wanted first, there is none'
          : `rows of ${known} are wanted, they are of ${JSON.stringify(type.slice(0, 60))}`,
      );
      return this.#readers.size > 0;
    }
    for (const row of rows) this.#row(reader, row);
    return true;
  }

  #hello(version: unknown, fields: unknown): boolean {
    if (version !== rowVersion) {
      this.#problem(`rows of version ${rowVersion} are wanted, the hello says ${JSON.stringify(version)?.slice(0, 60)}`);
      return false;
    }
    this.#readers.clear();
    for (const type of recordTypes) {
      const names = isMap(fields) ? fields[type] : undefined;
      if (!Array.isArray(names) || names.length > FIELDS_MAX || !names.every((name) => typeof name === 'string')) {
        this.#problem(`a hello that names the fields of "${type}" is wanted, it does not`);
        return false;
      }
      this.#readers.set(type, rowReader(type, names));
    }
    return true;
  }

  #row(reader: RowReader, row: unknown): void {
    if (!Array.isArray(row)) {
      this.#problem('a row as a list is wanted, it is something else');
      return;
    }
    const record = reader(row);
    const misfit = recordMisfit(record);
    if (misfit === undefined) this.#write(record);
    else this.#problem(`a record is wanted: ${misfitText(misfit)}`);
  }
}

function isMap(value: unknown): value is { readonly [key: string]: unknown } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
