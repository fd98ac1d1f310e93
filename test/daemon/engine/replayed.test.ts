/**
 * The daemon's pipeline against replay's: the recordings of captures/ are played to the engine tick by tick, and what it told in the end must be what replay says of the whole. The engine knows less at each
 * moment and forgets what was told, so this holds its windows against the full view.
 */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { replay } from '../../../src/pipeline.ts';
import type { AnyRecord } from '../../../src/record/record.ts';
import { watch } from './watched-recording.ts';

const situations = readdirSync('captures', { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));

/** The last record of each id. */
function last(records: readonly AnyRecord[], type: 'flow' | 'path' | 'finding'): Map<string, AnyRecord> {
  const found = new Map<string, AnyRecord>();
  for (const record of records) if (record.type === type) found.set(record.id, record);
  return found;
}

function replayed(path: string): AnyRecord[] {
  const records: AnyRecord[] = [];
  const run = replay({ captures: [path], files: [], redact: true }, (record) => records.push(structuredClone(record)));
  while (run.next().done !== true);
  return records;
}

/** Without what the engine cannot know when it tells a flow: findings that are made later; and with lists whose order is that of telling in an order of their own. */
function comparable(record: AnyRecord | undefined): unknown {
  if (record === undefined || !('event' in record)) return record;
  const { event: _event, ...rest } = record;
  if (rest.type === 'flow') {
    const { findings: _findings, paths, ...flow } = rest;
    return { ...flow, ...(paths === undefined ? {} : { paths: [...paths].sort() }) };
  }
  return rest;
}

// A node with much to judge looks less often (daemon/pace.ts).
for (const [name, tickMs] of situations.flatMap((name) => [250, 2000].map((tickMs) => [name, tickMs] as const)))
  test(`${name}: what is told while it happens, each ${tickMs} ms, is what replay says of the whole`, () => {
    const path = join('captures', name);
    const live = watch(path, { tickMs });
    const whole = replayed(path);
    for (const type of ['flow', 'finding'] as const)
      assert.deepEqual([...last(live, type).keys()].sort(), [...last(whole, type).keys()].sort(), `${type}s`);
    const paths = last(live, 'path');
    // A pooled connection on which earlier requests lay is not taken for one that carried a single request only.
    const exempt = name === 'configuration-change';
    if (!exempt) assert.deepEqual([...paths.keys()].sort(), [...last(whole, 'path').keys()].sort(), 'paths');
    for (const [id, record] of last(whole, 'path')) if (!exempt) assert.deepEqual(comparable(paths.get(id)), comparable(record));
    const flows = last(live, 'flow');
    for (const [id, record] of last(whole, 'flow')) {
      const told = comparable(flows.get(id)) as Record<string, unknown>;
      const wanted = comparable(record) as Record<string, unknown>;
      for (const field of ['source', 'destination', 'roles', 'rule', 'translated', 'halves', 'owner', 'tls', 'counters', 'tcp', 'state'])
        assert.deepEqual(told[field], wanted[field], `${field} of flow ${id}`);
      if (!exempt) assert.deepEqual(told.envoy, wanted.envoy, `envoy of flow ${id}`);
    }
    const [total, wanted] = [live.at(-1), whole.at(-1)];
    assert.ok(total?.type === 'total' && wanted?.type === 'total');
    assert.equal(total.packets, wanted.packets);
    assert.equal(total.bytes, wanted.bytes);
  });

test('a record of an id is told as open, then changed, then closed once, and never after', () => {
  for (const name of ['bookinfo', 'failures', 'server-first']) {
    const closed = new Set<string>();
    const known = new Set<string>();
    for (const record of watch(join('captures', name), { linger: 20 })) {
      if (record.type !== 'flow' && record.type !== 'path') continue;
      // A request of an application is told once more when what it was asked for is known.
      if (record.type === 'path' && record.parent !== undefined) continue;
      assert.ok(!closed.has(record.id), `${record.type} ${record.id} of ${name} came again after its close`);
      if (record.event === 'open') assert.ok(!known.has(record.id), `${record.type} ${record.id} of ${name} was opened twice`);
      known.add(record.id);
      if (record.event === 'close') closed.add(record.id);
    }
  }
});

test('the same frames and ticks give the same records', () => {
  assert.deepEqual(watch('captures/weighted-routes'), watch('captures/weighted-routes'));
});

test('requests that wait for a proxy to be asked for its configuration are joined with all that was there when they were made', () => {
  for (const name of ['bookinfo', 'weighted-routes', 'h2c-grpc']) {
    const paths = (records: readonly AnyRecord[]) => [...last(records, 'path')].map(([id, record]) => [id, comparable(record)]).sort();
    assert.deepEqual(paths(watch(join('captures', name), { polls: 8 })), paths(watch(join('captures', name))));
  }
});
