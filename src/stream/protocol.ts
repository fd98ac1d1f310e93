/**
 * Version 1 of the stream: what goes over the WebSocket, in either form. docs/stream.md tells the same to people who write clients.
 *
 * Every message is one map (or JSON object) with the key `message`. The server speaks first (`hello`), the client answers once (`subscribe`), and from then on only the server speaks.
 * Records are numbered from 1 in the order in which the daemon published them; numbers begin anew with each `boot`.
 */
import * as v from 'valibot';
import { rowFields } from '../output/rows.ts';
import type { AnyRecord, LostRecord, TotalRecord } from '../record/record.ts';
import { recordTypes } from '../record/record-shape.ts';

/** Rises when a client of the version before would misread something. New keys, fields at the end of a row, and kinds of messages do not raise it. */
export const protocolVersion = 1;

export type Form = 'msgpack' | 'json';

/** WebSocket subprotocols. A client that offers none gets MessagePack. */
export const subprotocols: { readonly [form in Form]: string } = { msgpack: 'sidetrace.v1.msgpack', json: 'sidetrace.v1.json' };

/** Codes with which the server closes. */
export const closeCodes = {
  /** All that was asked for was sent. */
  done: 1000,
  /** The daemon goes down. */
  goingAway: 1001,
  /** The client broke the rules of WebSocket or of the connection (pings, more than one message). */
  policy: 1008,
  /** The client did not read for too long. */
  slow: 1013,
  /** `subscribe` cannot be understood; an `error` message before it says why. */
  badRequest: 4400,
  /** The token or certificate has expired, or is known no longer. */
  unauthenticated: 4401,
  /** What was allowed is allowed no longer. */
  forbidden: 4403,
  /** No `subscribe` came. */
  noSubscribe: 4408,
  /** The filters take more time than a node has for them. */
  tooExpensive: 4429,
} as const;

export interface HelloMessage {
  readonly message: 'hello';
  readonly version: number;
  /** Name and version of the program. */
  readonly software: string;
  readonly node: string;
  /** Another for each start of the daemon. */
  readonly boot: string;
  /** Number of the newest record, 0 when there is none. */
  readonly seq: number;
  /** Number of the oldest record that can still be had; `seq + 1` when there is none. */
  readonly oldest: number;
  /** The daemon's clock. */
  readonly time: string;
  /** Order of the values in rows, by record type. */
  readonly fields: { readonly [type: string]: readonly string[] };
  readonly capabilities: readonly string[];
}

/** Rows of one type. Every record from `seq` to `last` was looked at; `rows` are those of them that pass, in order. */
export interface RecordsMessage {
  readonly message: 'records';
  readonly seq: number;
  readonly last: number;
  readonly type: AnyRecord['type'];
  readonly rows: readonly (readonly unknown[])[];
}

/** Flows that do not pass themselves, or came before the subscription: the legs of paths in the records that follow. They have no numbers. */
export interface ContextMessage {
  readonly message: 'context';
  readonly type: 'flow';
  readonly rows: readonly (readonly unknown[])[];
}

/** The records from `seq` to `last` were not sent. `record.count` says how many of them would have passed; with `exact: false` that many were not looked at. */
export interface LostMessage {
  readonly message: 'lost';
  readonly seq: number;
  readonly last: number;
  readonly record: LostRecord;
}

/** Everything up to `seq` has been looked at. Comes when the past has been sent, and every ten seconds. */
export interface StatusMessage {
  readonly message: 'status';
  readonly seq: number;
  readonly time: string;
  readonly state: 'replay' | 'live';
  /** Records sent to this subscriber, and lost on the way to it. */
  readonly sent: number;
  readonly lost: number;
}

export interface ErrorMessage {
  readonly message: 'error';
  readonly code: string;
  readonly text: string;
}

export interface ByeMessage {
  readonly message: 'bye';
  /** `end`, `shutdown`, `slow`, `expired`, `revoked`, … */
  readonly reason: string;
  readonly sent: number;
  readonly lost: number;
  /** What the daemon saw in all, where it goes down. */
  readonly totals?: TotalRecord;
}

export type ServerMessage = HelloMessage | RecordsMessage | ContextMessage | LostMessage | StatusMessage | ErrorMessage | ByeMessage;

/** Bounds of what a client may ask. */
export const bounds = {
  /** Bytes of a message from the client. */
  message: 64 * 1024,
  filters: 64,
  /** Filters with a pattern: the only ones that cost more than a glance. */
  patterns: 4,
  /** Characters of all names and values of filters. */
  filterText: 4096,
  last: 100_000,
} as const;

/** How many, and numbers of records. */
export const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const shortText = v.pipe(v.string(), v.maxLength(64));

const filterSchema = v.strictObject({
  /** A flag of `observe` without its dashes. */
  name: shortText,
  value: v.exactOptional(v.pipe(v.string(), v.maxLength(bounds.filterText)), ''),
  negated: v.exactOptional(v.boolean(), false),
});

export const subscribeSchema = v.strictObject({
  message: v.literal('subscribe'),
  /** The same name several times: either; different names: all; negated: none. */
  filter: v.exactOptional(v.pipe(v.array(filterSchema), v.maxLength(bounds.filters))),
  /** Losses always come. */
  types: v.exactOptional(
    v.pipe(v.array(v.picklist(recordTypes as readonly AnyRecord['type'][])), v.minLength(1), v.maxLength(recordTypes.length)),
  ),
  /** The last so many of each type of what is kept. */
  last: v.exactOptional(v.pipe(count, v.maxValue(bounds.last))),
  /** A time, or how long before now by the daemon's clock: `5m`. */
  since: v.exactOptional(shortText),
  until: v.exactOptional(shortText),
  /** Go on with what comes (the default), or end with what is kept. */
  follow: v.exactOptional(v.boolean()),
  /** Send the flows of paths, even if they do not pass. */
  context: v.exactOptional(v.boolean()),
  /** Go on behind this record. */
  resume: v.exactOptional(v.strictObject({ boot: shortText, seq: count })),
});

/** What a client asks for, without the envelope. */
export type Subscription = Omit<v.InferInput<typeof subscribeSchema>, 'message'>;
export type SubscribeMessage = v.InferOutput<typeof subscribeSchema>;
export type FilterSpec = v.InferInput<typeof filterSchema>;

/** The fields as hello tells them. */
export const helloFields: { readonly [type: string]: readonly string[] } = rowFields;
