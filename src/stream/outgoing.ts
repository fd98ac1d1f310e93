/** A message on its way to subscribers: encoded once as MessagePack, and once more as JSON when somebody wants that. */
import { Decoder } from '@msgpack/msgpack';
import { formatJson } from '../output/escape.ts';
import { MsgpackBytes } from '../output/msgpack-bytes.ts';
import type { Form, ServerMessage } from './protocol.ts';

const decoder = new Decoder();
const scratch = new MsgpackBytes(8 * 1024);

export class Outgoing {
  readonly msgpack: Buffer;
  /** How many records it carries. */
  readonly records: number;
  /** The numbers that it accounts for; 0 where it accounts for none. */
  readonly seq: number;
  readonly last: number;
  #json: Buffer | undefined;

  constructor(msgpack: Buffer, records = 0, seq = 0, last = 0) {
    this.msgpack = msgpack;
    this.records = records;
    this.seq = seq;
    this.last = last;
  }

  /** A message of which nothing is encoded yet. */
  static of(message: ServerMessage): Outgoing {
    scratch.position = 0;
    scratch.value(message);
    return new Outgoing(Buffer.from(scratch.view()));
  }

  bytes(form: Form): Buffer {
    if (form === 'msgpack') return this.msgpack;
    this.#json ??= Buffer.from(formatJson(decoder.decode(this.msgpack)), 'utf8');
    return this.#json;
  }
}
