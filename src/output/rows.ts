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

/** Makes a record of a row. Values are not looked at: record-shape.ts does that. */
export type RowReader = (row: readonly unknown[]) => AnyRecord;

/** A reader of rows whose fields come in this order, as the hello named them. Fields that a newer writer added keep their names. */
export function rowReader(type: AnyRecord['type'], fields: readonly string[] = rowFields[type]): RowReader {
  // Field names come from whoever wrote the stream: nothing of Object.prototype may be reached by them.
  const paths = fields.map((field) => (FIELD.test(field) ? field.split('.') : undefined));
  return (row) => {
    const record: { [key: string]: unknown } = { type };
    const length = Math.min(row.length, paths.length);
    for (let i = 0; i < length; i++) {
      const value = row[i];
      const path = paths[i];
      if (value === null || value === undefined || path === undefined) continue;
      const deepest = path.length - 1;
      let at = record;
      for (let k = 0; k < deepest; k++) {
        const key = path[k]!;
        const inner = Object.hasOwn(at, key) ? at[key] : undefined;
        if (typeof inner === 'object' && inner !== null) at = inner as { [key: string]: unknown };
        else {
          const made: { [key: string]: unknown } = {};
          at[key] = made;
          at = made;
        }
      }
      at[path[deepest]!] = value;
    }
    return record as unknown as AnyRecord;
  };
}

/** The record that a row stands for; see {@link rowReader}. */
export function recordOf(type: AnyRecord['type'], row: readonly unknown[], fields: readonly string[] = rowFields[type]): AnyRecord {
  return rowReader(type, fields)(row);
}
