/** What Envoy wrote into its access logs, which the recordings do not hold, and what was told from rules, packets and configuration alone. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { needsReference, referencePath } from '../reference.ts';
import { type Comparison, compareWithAccessLog } from './access-log.ts';
import { replayed, withoutConntrack } from './replayed.ts';

const share = (part: number, whole: number) => (whole === 0 ? 1 : part / whole);
const percent = (part: number, whole: number) => `${(100 * share(part, whole)).toFixed(1)} %`;

function tell(t: TestContext, found: Comparison): void {
  const fields = Object.entries(found.fields).map(
    ([name, { right, wrong, unknown }]) => `${name} ${right} right ${wrong} wrong ${unknown} unknown`,
  );
  t.diagnostic(
    `${found.entries} entries, ${found.missed} missed; ${fields.join('; ')}; joined ${found.joined} of ${found.joinable} (${percent(found.joined, found.joinable)}), ` +
      `with candidates ${percent(found.candidate, found.joinable)}; ${found.claimedRight} of ${found.claimed} claimed joins confirmed, ${found.claimedWrong} wrong; ${found.byRequest} judged by request id`,
  );
}

/**
 * Share of `part` in `whole`, at least. In a recording of a few requests one that is left open is more than any share allows: without conntrack, where marks are not seen, one may be.
 */
function reaches(part: number, whole: number, least: number, mayMiss: number): boolean {
  return share(part, whole) >= least || whole - part <= mayMiss;
}

/** @param joinedAtLeast share of the joinable pairs */
function holds(found: Comparison, joinedAtLeast: number, mayMiss: number): void {
  assert.deepEqual(found.wrong, []);
  assert.ok(found.entries > 0, 'the log has no entries');
  assert.ok(found.missed <= 2, `${found.missed} connections of the log are no flows`);
  const { right, wrong, unknown } = found.fields.cluster;
  assert.ok(reaches(right, right + wrong + unknown, 0.98, 0), `only ${percent(right, right + wrong + unknown)} of the clusters are named`);
  assert.ok(reaches(found.joined, found.joinable, joinedAtLeast, mayMiss), `only ${percent(found.joined, found.joinable)} are joined`);
  assert.ok(
    reaches(found.candidate, found.joinable, 0.999, mayMiss),
    `the right one is joined or among the candidates in ${percent(found.candidate, found.joinable)} only`,
  );
}

function compare(recording: string, skip: { skip: string | false }): void {
  test(`${recording}: no chain, route, cluster, endpoint or join is wrong`, skip, (t) => {
    const found = compareWithAccessLog(recording, replayed([recording]));
    tell(t, found);
    holds(found, 0.97, 0);
  });
  test(`${recording}: nothing is wrong without conntrack either`, skip, (t) => {
    const found = withoutConntrack(recording, (paths) => compareWithAccessLog(recording, replayed(paths)));
    tell(t, found);
    holds(found, 0.9, 1);
  });
}

for (const name of readdirSync('captures').sort()) {
  const truth = join('captures', name, 'truth');
  // A proxy that is dead logs nothing.
  if (existsSync(truth) && readdirSync(truth).some((file) => file.startsWith('access-log.') && statSync(join(truth, file)).size > 0))
    compare(join('captures', name), { skip: false });
}

for (const name of ['bookinfo', 'failures', 'routing']) {
  const parts = ['bundles', name];
  compare(referencePath(...parts) ?? join(...parts), needsReference(...parts));
}
