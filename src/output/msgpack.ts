/**
 * `-o msgpack`: MessagePack values one behind the other. The first is `{type: 'hello', version, fields}`; then come batches `{type, rows}`: rows of one record type, each an array in the order
 * of `fields[type]` (rows.ts). Batches keep the order of arrival and end at 64 KiB or where the record type changes.
 */
import type { PlainFlow } from '../record/plain-flow.ts';
import type { AnyRecord } from '../record/record.ts';
import { MsgpackBytes } from './msgpack-bytes.ts';
import { MsgpackPlain } from './msgpack-plain.ts';
import { MsgpackRows } from './msgpack-rows.ts';
import { rowFields, rowVersion } from './rows.ts';
import type { Sink, SinkFormat } from './sink.ts';
import type { Writer } from './writer.ts';

const BATCH_BYTES = 64 * 1024;

export const msgpack: SinkFormat = {
  name: 'msgpack',
  summary: 'MessagePack: field names once, then batches of rows; the fastest to write and read',
  create: (writer) => new MsgpackSink(writer),
};

export class MsgpackSink implements Sink {
  readonly #writer: Writer;
  readonly #out = new MsgpackBytes();
  readonly #rowWriter = new MsgpackRows(this.#out);
  #type: AnyRecord['type'] | undefined;
  #rowsAt = 0;
  #rows = 0;
  #plainOf: PlainFlow | undefined;
  #plain: MsgpackPlain | undefined;

  constructor(writer: Writer) {
    this.#writer = writer;
    this.#out.value({ type: 'hello', version: rowVersion, fields: rowFields });
  }

  write(record: AnyRecord): void {
    if (record.type !== this.#type) this.#beginBatch(record.type);
    this.#rowWriter.write(record);
    this.#rows++;
    if (this.#out.position >= BATCH_BYTES) this.#drain();
  }

  writePlain(flow: PlainFlow): void {
    if (this.#type !== 'flow') this.#beginBatch('flow');
    if (this.#plainOf !== flow) {
      this.#plain = new MsgpackPlain(flow);
      this.#plainOf = flow;
    }
    this.#plain!.write(this.#out, flow);
    this.#rows++;
    if (this.#out.position >= BATCH_BYTES) this.#drain();
  }

  end(): void {
    this.flush();
  }

  #beginBatch(type: AnyRecord['type']): void {
    this.#endBatch();
    this.#out.map(2);
    this.#out.text('type');
    this.#out.text(type);
    this.#out.text('rows');
    this.#rowsAt = this.#out.beginArray32();
    this.#type = type;
  }

  #endBatch(): void {
    if (this.#type !== undefined) this.#out.endArray32(this.#rowsAt, this.#rows);
    this.#type = undefined;
    this.#rows = 0;
  }

  flush(): void {
    this.#drain();
    this.#writer.flush();
  }

  #drain(): void {
    this.#endBatch();
    this.#writer.bytes(this.#out.view());
    this.#out.position = 0;
  }
}
