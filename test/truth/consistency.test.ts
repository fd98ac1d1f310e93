/** What holds for the records of any recording, whatever is in it. */
import assert from 'node:assert/strict';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { reasons } from '../../src/record/reason.ts';
import type { Evidence } from '../../src/record/record.ts';
import { needsReference, referencePath } from '../reference.ts';
import { type Replayed, replayed } from './replayed.ts';

const EVIDENCE: ReadonlySet<Evidence> = new Set(['observed', 'derived', 'ambiguous', 'unavailable']);

function isKnownReason(reason: string | undefined): boolean {
  return reason === undefined || Object.hasOwn(reasons, reason);
}

function judge({ records, flows, paths, lost, total }: Replayed): void {
  assert.equal(new Set([...flows, ...paths].map(({ id }) => id)).size, flows.length + paths.length, 'an id is used twice');
  assert.deepEqual(
    { flows: total.flows, paths: total.paths, lost: total.lost },
    { flows: flows.length, paths: paths.length, lost: lost.reduce((sum, { count }) => sum + count, 0) },
  );
  const things = records.filter((record) => record.type === 'flow' || record.type === 'path');
  for (const [i, record] of things.entries()) {
    if (i > 0) assert.ok(things[i - 1]!.first <= record.first, `${record.type} ${record.id} comes too late`);
    assert.ok(record.first <= record.last, `${record.type} ${record.id} ends before it begins`);
  }
  assert.equal(records.at(-1), total);

  const byId = new Map(flows.map((flow) => [flow.id, flow]));
  const named = new Map<string, Set<string>>();
  for (const path of paths) {
    assert.ok(path.legs.length > 0, `path ${path.id} has no legs`);
    assert.equal(new Set(path.legs.map((leg) => leg.flow)).size, path.legs.length, `path ${path.id} has a leg twice`);
    for (const leg of path.legs) {
      const flow = byId.get(leg.flow);
      assert.ok(flow !== undefined, `path ${path.id} has a leg that is no flow`);
      assert.deepEqual([leg.node, leg.netns, leg.roles], [flow.node, flow.netns, flow.roles]);
      named.set(leg.flow, (named.get(leg.flow) ?? new Set()).add(path.id));
    }
    for (const { from, to, evidence, candidates, reason } of path.joins) {
      assert.ok(from >= 0 && from < path.legs.length && to >= from && to < path.legs.length, `path ${path.id} joins legs that it has not`);
      assert.ok(EVIDENCE.has(evidence) && isKnownReason(reason));
      for (const candidate of candidates ?? []) assert.ok(byId.has(candidate), `path ${path.id} names a candidate that is no flow`);
      if (from === to) assert.equal(evidence, 'ambiguous', `path ${path.id} joins a leg with itself`);
    }
    if (path.complete) assert.ok(!path.joins.some(({ evidence }) => evidence === 'ambiguous' || evidence === 'unavailable'));
    if (path.parent !== undefined)
      assert.ok(paths.some(({ id }) => id === path.parent) && path.parent !== path.id, `path ${path.id} has no such parent`);
    for (const { leg, ms } of path.latency ?? []) assert.ok(leg < path.legs.length && ms >= 0);
    for (const { decision } of path.decisions ?? []) {
      assert.ok(isKnownReason(decision.reason));
      for (const { because } of decision.rejected ?? []) assert.ok(isKnownReason(because));
    }
  }
  for (const flow of flows) {
    const count = named.get(flow.id)?.size ?? 0;
    assert.ok(count > 0, `flow ${flow.id} is on no path`);
    assert.equal(flow.pathCount ?? flow.paths?.length, count, `flow ${flow.id} counts its paths wrongly`);
    for (const id of flow.paths ?? []) assert.ok(named.get(flow.id)!.has(id));
    assert.ok(flow.roles.length > 0);
    assert.ok(EVIDENCE.has(flow.rule!.evidence) && isKnownReason(flow.rule!.reason));
    if (flow.rule!.verdict === 'unknown') assert.ok(flow.rule!.reason !== undefined, `flow ${flow.id}: unknown, and nobody knows why`);
    const { toDestination, toSource } = flow.counters;
    assert.ok(toDestination.packets + toSource.packets > 0);
  }
}

function checked(recording: string, skip: { skip: string | false }): void {
  test(`${recording}: records refer to each other, come in order, and are the same again`, skip, () => {
    const once = replayed([recording]);
    judge(once);
    const again = replayed([recording]);
    assert.equal(
      again.records.map((record) => JSON.stringify(record)).join('\n'),
      once.records.map((record) => JSON.stringify(record)).join('\n'),
    );
  });
}

for (const name of readdirSync('captures').sort())
  if (statSync(join('captures', name)).isDirectory()) checked(join('captures', name), { skip: false });
for (const name of ['bookinfo', 'failures', 'routing']) {
  const parts = ['bundles', name];
  checked(referencePath(...parts) ?? join(...parts), needsReference(...parts));
}
