/**
 * What `GET /v1/status` answers: how a daemon is, what it follows, what it could not read and what it lost. `sidetrace status` prints it.
 *
 * Times are RFC 3339, UTC, nanoseconds, by the daemon's clock. The schema lets fields through that it does not name, so that a daemon may be newer than who asks it.
 */
import * as v from 'valibot';

/** At most so many entries of a list are read; a node holds a few hundred pods. */
const ENTRIES_MAX = 65_536;
const TEXT_MAX = 4_096;

const text = v.pipe(v.string(), v.maxLength(TEXT_MAX));
const time = v.pipe(v.string(), v.regex(/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{9}Z$/));
const count = v.pipe(v.number(), v.integer(), v.minValue(0));
function list<const S extends v.GenericSchema>(element: S) {
  return v.pipe(v.array(element), v.maxLength(ENTRIES_MAX));
}

const namespace = v.looseObject({
  /** Name in /run/netns, else `cookie:N`. */
  netns: text,
  /** SO_NETNS_COOKIE as decimal digits (64 bits). */
  cookie: v.pipe(v.string(), v.regex(/^\d{1,20}$/)),
  pod: v.exactOptional(v.looseObject({ namespace: text, name: text, uid: text })),
  state: v.picklist(['opening', 'capturing', 'failed', 'gone']),
  /** Since when it is in this state. */
  since: time,
  /** Why it is in this state, where that is no matter of course. */
  reason: v.exactOptional(text),
  packets: count,
  /** On the wire. */
  bytes: count,
  /** Packets. */
  lost: count,
  /** In the flow table now. */
  flows: count,
  /** What could not be read, and why; `since` where it is known. */
  unavailable: list(v.looseObject({ part: text, reason: text, since: v.exactOptional(time) })),
  /** Absent where there is no Envoy. */
  envoy: v.exactOptional(v.looseObject({ version: text, readAt: time, staleSince: v.exactOptional(time) })),
  /** How often the rules changed since the daemon began to watch, and when they were read last. */
  rules: v.exactOptional(v.looseObject({ generation: count, readAt: time })),
});

const subscriber = v.looseObject({
  /** As `lost` records name it. */
  id: text,
  /** Who it is, as far as authentication tells. */
  principal: v.exactOptional(text),
  since: time,
  /** Records given to it, and records lost on the way. */
  sent: count,
  lost: count,
  /** Bytes that wait for it. */
  queued: count,
});

export const statusSchema = v.looseObject({
  node: text,
  version: text,
  boot: text,
  /** When the daemon began, and its clock now: the difference is its uptime. */
  began: time,
  now: time,
  namespaces: list(namespace),
  /** Totals per source, as in `lost` records, over all scopes. */
  lost: list(v.looseObject({ source: text, count, exact: v.exactOptional(v.boolean()) })),
  subscribers: list(subscriber),
  /** Last sequence number given, bytes in the ring, and the time of the oldest record in it (absent while it is empty). */
  stream: v.looseObject({ seq: count, ringBytes: count, oldest: v.exactOptional(time) }),
  /** `ringBytes`: of all capture rings together. */
  probe: v.looseObject({ connected: v.boolean(), restarts: count, ringBytes: count, reason: v.exactOptional(text) }),
  /** `source`: where names come from: `cluster`, `kubeconfig`, `file`, `none`. */
  kubernetes: v.looseObject({ source: text, synced: v.boolean(), staleSince: v.exactOptional(time) }),
});

export type DaemonStatus = v.InferOutput<typeof statusSchema>;
export type NamespaceStatus = DaemonStatus['namespaces'][number];
export type SubscriberStatus = DaemonStatus['subscribers'][number];

/** @returns the status, or what of the value is no status: where, and what was wanted there */
export function readStatus(value: unknown): DaemonStatus | string {
  const read = v.safeParse(statusSchema, value);
  if (read.success) return read.output;
  const issue = read.issues[0];
  const at = issue.path?.map(({ key }) => String(key)).join('.') ?? '';
  return `${at === '' ? 'it' : JSON.stringify(at)} must be ${issue.expected ?? 'as the schema says'}, it is ${issue.received}`;
}
