/** Rows of one type with consecutive numbers, encoded once: the whole message as it goes to those who want everything, and where each row lies in it for the others. */
import { Decoder } from '@msgpack/msgpack';
import { MsgpackBytes } from '../output/msgpack-bytes.ts';
import { type RowReader, rowReader } from '../output/rows.ts';
import type { AnyRecord } from '../record/record.ts';
import { recordTypes } from '../record/record-shape.ts';
import { Outgoing } from './outgoing.ts';

/** What an object of this class costs beside its bytes, about. */
const OVERHEAD_BYTES = 400;

const decoder = new Decoder();
const readers = new Map<string, RowReader>(recordTypes.map((type) => [type, rowReader(type)]));

/** The earliest and latest times of a batch's records; records without times leave them open. */
export interface BatchTimes {
  readonly firstMin: string;
  readonly firstMax: string;
  readonly lastMin: string;
  readonly lastMax: string;
}

export class Batch {
  readonly type: AnyRecord['type'];
  /** Number of the first row's record. */
  readonly seq: number;
  /** When it was published: milliseconds of a clock that never goes back. */
  readonly at: number;
  readonly times: BatchTimes;
  /** The records themselves, as long as they are fresh. */
  records: readonly AnyRecord[] | undefined;
  readonly #message: Buffer;
  /** Where each row begins, and where the last one ends. */
  readonly #offsets: Uint32Array;
  #outgoing: WeakRef<Outgoing> | undefined;

  constructor(
    records: readonly AnyRecord[],
    seq: number,
    at: number,
    encoded: { readonly message: Buffer; readonly offsets: Uint32Array },
  ) {
    this.type = records[0]!.type;
    this.seq = seq;
    this.at = at;
    this.times = timesOf(records);
    this.records = records;
    this.#message = encoded.message;
    this.#offsets = encoded.offsets;
  }

  get length(): number {
    return this.#offsets.length - 1;
  }

  /** Number of the last row's record. */
  get last(): number {
    return this.seq + this.length - 1;
  }

  /** What it takes of the ring, in bytes. */
  get size(): number {
    return this.#message.length + this.#offsets.byteLength + OVERHEAD_BYTES;
  }

  /** The whole of it; one object for all who send it at about the same time, so that JSON is made once. */
  outgoing(): Outgoing {
    const known = this.#outgoing?.deref();
    if (known !== undefined) return known;
    const made = new Outgoing(this.#message, this.length, this.seq, this.last);
    this.#outgoing = new WeakRef(made);
    return made;
  }

  /** The bytes of one row, shared with the message. */
  row(index: number): Buffer {
    return this.#message.subarray(this.#offsets[index]!, this.#offsets[index + 1]!);
  }

  /** The record of one row, decoded when it is not fresh any more. */
  record(index: number): AnyRecord {
    return this.records?.[index] ?? readers.get(this.type)!(decoder.decode(this.row(index)) as unknown[]);
  }

  /** Some of its rows as a message that accounts for everything from `seq` to `last`. */
  select(rows: readonly number[], seq: number, last: number): Outgoing {
    return new Outgoing(
      rowsMessage(
        { message: 'records', seq, last, type: this.type },
        rows.map((row) => this.row(row)),
      ),
      rows.length,
      seq,
      last,
    );
  }
}

const head = new MsgpackBytes(1024);

/** A message with these keys, and with `rows` behind them. */
export function rowsMessage(keys: { readonly [key: string]: string | number }, rows: readonly Buffer[]): Buffer {
  writeHead(keys, rows.length);
  return Buffer.concat([head.view(), ...rows]);
}

/** The beginning of a message of rows that are encoded already: what stands in front of the first one. Valid until the next call. */
export function rowsHead(keys: { readonly [key: string]: string | number }, count: number): Buffer {
  writeHead(keys, count);
  return head.view();
}

function writeHead(keys: { readonly [key: string]: string | number }, count: number): void {
  const entries = Object.entries(keys);
  head.position = 0;
  head.map(entries.length + 1);
  for (const [key, value] of entries) {
    head.text(key);
    head.value(value);
  }
  head.text('rows');
  head.endArray32(head.beginArray32(), count);
}

function timesOf(records: readonly AnyRecord[]): BatchTimes {
  let [firstMin, firstMax, lastMin, lastMax] = ['\uffff', '', '\uffff', ''];
  for (const record of records) {
    if (record.type !== 'flow' && record.type !== 'path') continue;
    if (record.first < firstMin) firstMin = record.first;
    if (record.first > firstMax) firstMax = record.first;
    if (record.last < lastMin) lastMin = record.last;
    if (record.last > lastMax) lastMax = record.last;
  }
  return { firstMin, firstMax, lastMin, lastMax };
}
