/**
 * Records as rows: arrays in the order of {@link rowFields}, for the compact forms (msgpack and the stream). A nested object with a fixed shape is taken apart into dotted fields (`source.ip`);
 * everything else (`pod`, `envoy`, `legs`, …) stays the value that it is in the record. Absent is nil, and nils at the end of a row are left out.
 * A dotted object comes back when one of its fields is there. docs/records.md names the meaning of each.
 */
import type { AnyRecord } from '../record/record.ts';

/** Fields of each record type, in the order of a row. `type` itself is said once, by the batch. New fields are added at the end, and the version of the hello rises when one changes its meaning. */
export const rowFields = {
  flow: [
    'id',
    'event',
    'state',
    'node',
    'netns',
    'protocol',
    'first',
    'last',
    'source.ip',
    'source.port',
    'destination.ip',
    'destination.port',
    'interfaces',
    'roles',
    'counters.toDestination.packets',
    'counters.toDestination.bytes',
    'counters.toSource.packets',
    'counters.toSource.bytes',
    'tcp.flags.toDestination',
    'tcp.flags.toSource',
    'tcp.retransmissions',
    'tcp.outOfOrder',
    'tcp.zeroWindows',
    'tcp.isn.toDestination',
    'tcp.isn.toSource',
    'tcp.rttMs',
    'tcp.handshakeMs',
    'midstream',
    'rule.verdict',
    'rule.evidence',
    'rule.steps',
    'rule.port',
    'rule.reason',
    'pod',
    'source.pod',
    'source.service',
    'source.workload',
    'destination.pod',
    'destination.service',
    'destination.workload',
    'envoy',
    'translated',
    'halves',
    'owner',
    'paths',
    'pathCount',
    'tls',
    'findings',
    'icmp',
    'dns',
    'zone',
    'tunnel',
  ],
  path: ['id', 'event', 'of', 'first', 'last', 'complete', 'parent', 'legs', 'joins', 'request', 'decisions', 'latency'],
  finding: ['id', 'rule', 'severity', 'title', 'proof', 'fix', 'flows', 'paths'],
  lost: ['source', 'scope', 'count', 'exact', 'total', 'first', 'last', 'detail'],
  total: ['packets', 'bytes', 'flows', 'paths', 'findings', 'lost', 'unknown'],
} as const satisfies { readonly [type in AnyRecord['type']]: readonly string[] };

/** Version of the row form: the `hello` of a file or stream names it. */
export const rowVersion = 1;

/** The values of a record in the order of its fields; nils at the end are left out. */
export function rowOf(record: AnyRecord): unknown[] {
  const row: unknown[] = [];
  let length = 0;
  for (const field of rowFields[record.type]) {
    let value: unknown = record;
    for (const key of field.split('.')) value = value === undefined ? undefined : (value as { [key: string]: unknown })[key];
    row.push(value ?? null);
    if (value !== undefined) length = row.length;
  }
  row.length = length;
  return row;
}

const FIELD = /^[A-Za-z]+(\.[A-Za-z]+)*$/;

/** The record that a row stands for; `fields` as the hello named them. Fields that a newer writer added keep their names. */
export function recordOf(type: AnyRecord['type'], row: readonly unknown[], fields: readonly string[] = rowFields[type]): AnyRecord {
  const record: { [key: string]: unknown } = { type };
  for (let i = 0; i < row.length && i < fields.length; i++) {
    const value = row[i];
    if (value === null || value === undefined) continue;
    // Field names come from whoever wrote the stream: nothing of Object.prototype may be reached by them.
    if (!FIELD.test(fields[i]!)) continue;
    const keys = fields[i]!.split('.');
    let at = record;
    for (const key of keys.slice(0, -1)) {
      if (!Object.hasOwn(at, key) || typeof at[key] !== 'object') at[key] = {};
      at = at[key] as { [key: string]: unknown };
    }
    at[keys.at(-1)!] = value;
  }
  return record as unknown as AnyRecord;
}
