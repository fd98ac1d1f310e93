/** Reads what a client sends: text is JSON, bytes are MessagePack, whichever subprotocol was agreed on. */
import { Decoder } from '@msgpack/msgpack';
import * as v from 'valibot';
import { ExtentError, valueEnd } from '../output/msgpack-extent.ts';
import { bounds, type SubscribeMessage, subscribeSchema } from './protocol.ts';
import { SubscribeError } from './selection.ts';

const decoder = new Decoder({
  maxStrLength: bounds.message,
  maxArrayLength: 1024,
  maxMapLength: 1024,
  maxBinLength: 0,
  maxExtLength: 0,
});

/** @throws {SubscribeError} when it is no `subscribe` */
export function readSubscribe(bytes: Buffer, isBinary: boolean): SubscribeMessage {
  const parsed = v.safeParse(subscribeSchema, isBinary ? readMsgpack(bytes) : readJson(bytes));
  if (parsed.success) return parsed.output;
  const [issue] = parsed.issues;
  const path = v.getDotPath(issue);
  const where = path === null ? 'it' : `"${path.slice(0, 100)}"`;
  throw new SubscribeError(
    `Cannot understand the message: ${where} must be ${issue.expected ?? 'something else'}, it is ${issue.received.slice(0, 100)}`,
  );
}

function readMsgpack(bytes: Buffer): unknown {
  try {
    const end = valueEnd(bytes, 0, bytes.length);
    if (end === bytes.length) return decoder.decode(bytes);
  } catch (error) {
    if (!(error instanceof ExtentError) && !(error instanceof RangeError) && !isDecodeError(error)) throw error;
    throw new SubscribeError(`Cannot understand the message: one MessagePack value is wanted (${(error as Error).message.slice(0, 200)})`);
  }
  throw new SubscribeError('Cannot understand the message: one whole MessagePack value is wanted, and nothing behind it');
}

function isDecodeError(error: unknown): boolean {
  return error instanceof Error && error.constructor.name === 'DecodeError';
}

function readJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw new SubscribeError(`Cannot understand the message: a JSON object is wanted (${(error as Error).message.slice(0, 200)})`);
  }
}
