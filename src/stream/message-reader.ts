/**
 * Reads what a daemon sends, and believes none of it: sizes, depth, numbers and shapes are checked before anything is made of them.
 * What is no message of the protocol is a {@link ProtocolError}; a row that is no record is left out and told.
 */
import * as v from 'valibot';
import { escapeText } from '../output/escape.ts';
import { ELEMENTS_MAX, ExtentError, VALUE_BYTES_MAX, valueEnd } from '../output/msgpack-extent.ts';
import { recordDecoder } from '../output/record-decoder.ts';
import { type RowReader, rowReader } from '../output/rows.ts';
import type { AnyRecord, FlowRecord, LostRecord, TotalRecord } from '../record/record.ts';
import { recordMisfit, recordTypes } from '../record/record-shape.ts';
import { misfitText } from '../record/shape.ts';
import {
  type ByeMessage,
  type ContextMessage,
  count,
  type ErrorMessage,
  type HelloMessage,
  type LostMessage,
  protocolVersion,
  type RecordsMessage,
  type StatusMessage,
} from './protocol.ts';

/** What the daemon sent is not the protocol: nothing behind it can be trusted. The message is safe to print. */
export class ProtocolError extends Error {
  constructor(message: string) {
    super(escapeText(message));
  }
}

/** Bytes of one message. */
export const MESSAGE_BYTES_MAX = VALUE_BYTES_MAX;

const TEXT_MAX = 4096;
const FIELDS_MAX = 1000;
const text = v.pipe(v.string(), v.maxLength(TEXT_MAX));

const helloSchema = v.looseObject({
  message: v.literal('hello'),
  version: count,
  software: text,
  node: text,
  boot: v.pipe(v.string(), v.minLength(1), v.maxLength(64)),
  seq: count,
  oldest: count,
  time: text,
  fields: v.record(text, v.pipe(v.array(text), v.maxLength(FIELDS_MAX))),
  capabilities: v.pipe(v.array(text), v.maxLength(FIELDS_MAX)),
});
const rowsSchema = v.pipe(v.array(v.array(v.unknown())), v.maxLength(ELEMENTS_MAX));
const recordsSchema = v.looseObject({ message: v.literal('records'), seq: count, last: count, type: text, rows: rowsSchema });
const contextSchema = v.looseObject({ message: v.literal('context'), type: text, rows: rowsSchema });
const lostSchema = v.looseObject({ message: v.literal('lost'), seq: count, last: count, record: v.unknown() });
const statusSchema = v.looseObject({
  message: v.literal('status'),
  seq: count,
  time: text,
  state: v.picklist(['replay', 'live']),
  sent: count,
  lost: count,
});
const errorSchema = v.looseObject({ message: v.literal('error'), code: text, text });
const byeSchema = v.looseObject({ message: v.literal('bye'), reason: text, sent: count, lost: count, totals: v.optional(v.unknown()) });

/** What a daemon says of itself; the order of the fields stays with the reader. */
export type Hello = Omit<HelloMessage, 'message' | 'fields'>;

interface ReadRecords extends Pick<RecordsMessage, 'message' | 'seq' | 'last'> {
  readonly records: readonly AnyRecord[];
  readonly problems: readonly string[];
}

interface ReadContext extends Pick<ContextMessage, 'message'> {
  readonly records: readonly FlowRecord[];
  readonly problems: readonly string[];
}

interface ReadBye extends Omit<ByeMessage, 'totals'> {
  readonly totals: TotalRecord | undefined;
}

/** What a message says. `problems`: rows that are no records. */
export type ReadMessage =
  | { readonly message: 'hello'; readonly hello: Hello }
  | ReadRecords
  | ReadContext
  | LostMessage
  | StatusMessage
  | ErrorMessage
  | ReadBye;

/** Problems that are told of one message. */
const PROBLEMS_MAX = 5;

export class MessageReader {
  readonly #decoder = recordDecoder();
  #readers: Map<string, RowReader> | undefined;

  /**
   * @returns `undefined` for a kind of message that a newer daemon may send
   * @throws {ProtocolError}
   */
  read(bytes: Buffer, isBinary: boolean): ReadMessage | undefined {
    if (bytes.length > MESSAGE_BYTES_MAX)
      throw new ProtocolError(`a message of at most ${MESSAGE_BYTES_MAX} bytes is wanted, it has ${bytes.length}`);
    const value = isBinary ? this.#msgpack(bytes) : json(bytes);
    const kind =
      typeof value === 'object' && value !== null && Object.hasOwn(value, 'message') ? (value as { message: unknown }).message : undefined;
    if (typeof kind !== 'string') throw new ProtocolError('a map with the key "message" is wanted, it is something else');
    if (kind !== 'hello' && this.#readers === undefined)
      throw new ProtocolError(`a hello is wanted first, it is ${JSON.stringify(kind.slice(0, 60))}`);
    switch (kind) {
      case 'hello':
        return this.#hello(checked(helloSchema, value));
      case 'records':
        return this.#records(checked(recordsSchema, value));
      case 'context': {
        const { type, rows } = checked(contextSchema, value);
        const { records, problems } = this.#rows(type, rows);
        return { message: 'context', records: records.filter((record) => record.type === 'flow'), problems };
      }
      case 'lost': {
        const { seq, last, record } = checked(lostSchema, value);
        return { message: 'lost', seq, last, record: recordOfType(record, 'lost') as LostRecord };
      }
      case 'status': {
        const { seq, time, state, sent, lost } = checked(statusSchema, value);
        return { message: 'status', seq, time, state, sent, lost };
      }
      case 'error': {
        const { code, text: said } = checked(errorSchema, value);
        return { message: 'error', code, text: said };
      }
      case 'bye': {
        const { reason, sent, lost, totals } = checked(byeSchema, value);
        return {
          message: 'bye',
          reason,
          sent,
          lost,
          totals: totals === undefined || totals === null ? undefined : (recordOfType(totals, 'total') as TotalRecord),
        };
      }
      default:
        return undefined;
    }
  }

  #msgpack(bytes: Buffer): unknown {
    try {
      if (valueEnd(bytes, 0, bytes.length) === bytes.length) return this.#decoder.decode(bytes);
    } catch (error) {
      if (error instanceof ExtentError) throw new ProtocolError(error.message);
      throw new ProtocolError(`a MessagePack value is wanted, the reader says: ${(error as Error).message.slice(0, 200)}`);
    }
    throw new ProtocolError('one whole MessagePack value is wanted');
  }

  #hello(hello: v.InferOutput<typeof helloSchema>): ReadMessage {
    if (this.#readers !== undefined) throw new ProtocolError('one hello is wanted, there is a second');
    if (hello.version !== protocolVersion)
      throw new ProtocolError(
        `version ${protocolVersion} of the stream is wanted, the daemon (${JSON.stringify(hello.software.slice(0, 60))}) speaks version ${hello.version}: use the program of the same version`,
      );
    const readers = new Map<string, RowReader>();
    for (const type of recordTypes) {
      const fields = Object.hasOwn(hello.fields, type) ? hello.fields[type] : undefined;
      if (fields === undefined) throw new ProtocolError(`a hello that names the fields of "${type}" is wanted, it does not`);
      readers.set(type, rowReader(type, fields));
    }
    this.#readers = readers;
    const { version, software, node, boot, seq, oldest, time, capabilities } = hello;
    return { message: 'hello', hello: { version, software, node, boot, seq, oldest, time, capabilities } };
  }

  #records({ seq, last, type, rows }: v.InferOutput<typeof recordsSchema>): ReadMessage {
    if (last < seq || rows.length > last - seq + 1)
      throw new ProtocolError(`rows for the records ${seq} to ${last} are wanted, there are ${rows.length}`);
    return { message: 'records', seq, last, ...this.#rows(type, rows) };
  }

  #rows(type: string, rows: readonly (readonly unknown[])[]): { records: AnyRecord[]; problems: string[] } {
    const reader = this.#readers!.get(type);
    const problems: string[] = [];
    // A newer daemon may know more types.
    if (reader === undefined)
      return { records: [], problems: [`rows of ${recordTypes.join(', ')} are wanted, they are of ${JSON.stringify(type.slice(0, 60))}`] };
    const records: AnyRecord[] = [];
    for (const row of rows) {
      const record = reader(row);
      const misfit = recordMisfit(record);
      if (misfit === undefined) records.push(record);
      else if (problems.length < PROBLEMS_MAX) problems.push(`a record is wanted: ${misfitText(misfit)}`);
    }
    return { records, problems };
  }
}

function json(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw new ProtocolError(`a JSON object is wanted, it says: ${(error as Error).message.slice(0, 200)}`);
  }
}

function checked<const S extends v.GenericSchema>(schema: S, value: unknown): v.InferOutput<S> {
  const parsed = v.safeParse(schema, value);
  if (parsed.success) return parsed.output;
  const [issue] = parsed.issues;
  throw new ProtocolError(
    `"${v.getDotPath(issue)?.slice(0, 100) ?? 'it'}" must be ${issue.expected ?? 'something else'}, it is ${issue.received.slice(0, 100)}`,
  );
}

function recordOfType(value: unknown, type: AnyRecord['type']): AnyRecord {
  const misfit = recordMisfit(value);
  if (misfit !== undefined) throw new ProtocolError(`a record is wanted: ${misfitText(misfit)}`);
  const record = value as AnyRecord;
  if (record.type !== type) throw new ProtocolError(`a record of type "${type}" is wanted, it is of type "${record.type}"`);
  return record;
}
