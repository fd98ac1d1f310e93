/** This is about the access log as evidence: with it, joins are observed. What compares records with the log never gives it to them. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { PathRecord } from '../../src/record/record.ts';
import { snapshotsOf } from '../../src/source/bundle.ts';
import { bundlesOf, replayed } from '../truth/replayed.ts';

const RECORDING = 'captures/bookinfo';
const folder = mkdtempSync(join(tmpdir(), 'sidetrace-test-'));
after(() => rmSync(folder, { recursive: true }));

/** Joins within a proxy: both legs, the request, and how it was found. */
function joinsOf(paths: readonly PathRecord[]): Map<string, { by: string; evidence: string }> {
  const joins = new Map<string, { by: string; evidence: string }>();
  for (const path of paths)
    for (const { from, to, by, evidence } of path.joins)
      if (by !== 'tuple' && from !== to)
        joins.set(`${path.legs[from]!.flow} ${path.legs[to]!.flow} ${path.request?.method} ${path.request?.path} ${path.first}`, {
          by,
          evidence,
        });
  return joins;
}

const logs = readdirSync(join(RECORDING, 'truth'))
  .filter((name) => name.startsWith('access-log.'))
  .map((name) => ({ kind: 'access-log', path: join(RECORDING, 'truth', name) }));

test('with the logs of all proxies every join that they tell is observed, and none differs from what was derived without them', () => {
  const without = replayed([RECORDING]);
  const beside = replayed([RECORDING], logs);
  assert.equal(beside.end.malformed, false);
  const derived = joinsOf(without.paths);
  const observed = joinsOf(beside.paths);
  let told = 0;
  for (const [join, { evidence }] of derived)
    if (evidence === 'derived' || evidence === 'observed') assert.ok(observed.has(join), `${join} is no longer joined`);
  for (const [join, { by, evidence }] of observed)
    if (by === 'access-log') {
      told++;
      assert.equal(evidence, 'observed');
      const before = derived.get(join);
      assert.ok(before !== undefined, `${join} was joined otherwise`);
    }
  assert.ok(told >= 60 && told >= observed.size * 0.95, `${told} of ${observed.size} joins`);
  assert.equal(beside.paths.length, without.paths.length);
});

test("one pod's packets with its rules and its log: what came in is joined with what went on", () => {
  const bundles = bundlesOf(RECORDING);
  const pod = 'productpage-v1-574c45789d-zzcz7';
  const files: { kind: string; path: string }[] = [];
  let capture = '';
  for (const bundle of bundles)
    for (const entry of bundle.manifest.namespaces) {
      if (entry.pod?.name !== pod) continue;
      for (const { kind, path } of snapshotsOf(entry)) {
        if (path === undefined || !['packets', 'iptables-save', 'sockets'].includes(kind)) continue;
        const copy = join(folder, path.replace('/', '_'));
        writeFileSync(copy, bundle.readBytes(path)!);
        if (kind === 'packets') capture = copy;
        else files.push({ kind, path: copy });
      }
    }
  for (const bundle of bundles) bundle.close();
  const log = { kind: 'access-log', path: join(RECORDING, 'truth', `access-log.${pod}.jsonl`) };
  const without = joinsOf(replayed([capture], files).paths);
  const beside = joinsOf(replayed([capture], [...files, log]).paths);
  const observed = [...beside.values()].filter(({ by, evidence }) => by === 'access-log' && evidence === 'observed').length;
  assert.ok(observed >= 20, `${observed} joins are observed`);
  for (const [join, { evidence }] of without) if (evidence !== 'ambiguous') assert.ok(beside.has(join), `${join} is no longer joined`);
});
