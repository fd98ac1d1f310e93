/**
 * Gathers records for a few milliseconds and makes batches of them: flows, then paths, then findings of the same moment, so that a thousand records do not become a thousand messages.
 * Records of one type keep their order, and a loss or a total keeps its place among all others.
 */
import { MsgpackBytes } from '../output/msgpack-bytes.ts';
import { MsgpackRows } from '../output/msgpack-rows.ts';
import type { AnyRecord } from '../record/record.ts';
import { Batch, rowsHead } from './batch.ts';

const BATCH_BYTES = 64 * 1024;
const BATCH_ROWS = 2000;
/** A row that is longer is not sent: no record that means something comes near. */
export const ROW_BYTES_MAX = 1024 * 1024;

class Rows {
  readonly out = new MsgpackBytes(2 * BATCH_BYTES);
  readonly writer: MsgpackRows;
  records: AnyRecord[] = [];
  starts: number[] = [];

  constructor(other?: Rows) {
    this.writer = new MsgpackRows(this.out, other?.writer);
  }
}

export class BatchEncoder {
  readonly #gathered: { readonly [type in AnyRecord['type']]: Rows };
  readonly #emit: (batch: Batch) => void;
  readonly #tooLong: (record: AnyRecord, bytes: number) => void;
  readonly #clock: () => number;
  #seq: number;
  #waiting = 0;

  /** @param tooLong a record whose row nobody would take; it has no number. @param clock milliseconds */
  constructor(emit: (batch: Batch) => void, tooLong: (record: AnyRecord, bytes: number) => void, clock: () => number, seq = 0) {
    const flow = new Rows();
    this.#gathered = { flow, path: new Rows(flow), finding: new Rows(flow), lost: new Rows(flow), total: new Rows(flow) };
    this.#emit = emit;
    this.#tooLong = tooLong;
    this.#clock = clock;
    this.#seq = seq;
  }

  /** Number of the last record that is in a batch. */
  get seq(): number {
    return this.#seq;
  }

  /** Records that wait for {@link seal}. */
  get waiting(): number {
    return this.#waiting;
  }

  add(record: AnyRecord): void {
    const { type } = record;
    const isBarrier = type === 'lost' || type === 'total';
    if (isBarrier) this.seal();
    const rows = this.#gathered[type];
    const start = rows.out.position;
    rows.writer.write(record);
    const bytes = rows.out.position - start;
    if (bytes > ROW_BYTES_MAX) {
      rows.out.position = start;
      this.#tooLong(record, bytes);
      return;
    }
    rows.starts.push(start);
    rows.records.push(record);
    this.#waiting++;
    if (isBarrier || rows.out.position >= BATCH_BYTES || rows.records.length >= BATCH_ROWS) this.seal();
  }

  /** Everything that was gathered leaves. */
  seal(): void {
    if (this.#waiting === 0) return;
    this.#waiting = 0;
    for (const rows of Object.values(this.#gathered)) if (rows.records.length > 0) this.#sealRows(rows);
  }

  #sealRows(rows: Rows): void {
    const { out, records, starts } = rows;
    const seq = this.#seq + 1;
    this.#seq += records.length;
    const head = rowsHead({ message: 'records', seq, last: this.#seq, type: records[0]!.type }, records.length);
    const message = Buffer.allocUnsafeSlow(head.length + out.position);
    message.set(head);
    message.set(out.view(), head.length);
    const offsets = new Uint32Array(starts.length + 1);
    for (let i = 0; i < starts.length; i++) offsets[i] = starts[i]! + head.length;
    offsets[starts.length] = message.length;
    rows.records = [];
    rows.starts = [];
    out.position = 0;
    this.#emit(new Batch(records, seq, this.#clock(), { message, offsets }));
  }
}
