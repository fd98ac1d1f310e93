/** Live records against what the lab's own witnesses say of the same minutes, as figures and as what a test asserts. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { FlowRecord, PathRecord } from '../../src/record/record.ts';
import { type Comparison, compareWithLogs, type Entry } from '../truth/access-log.ts';
import type { Done } from './traffic.ts';
import { compareTranslations, type Testimony } from './witness.ts';

export interface Judged {
  readonly all: Comparison;
  readonly phases: ReadonlyMap<string, Comparison>;
  readonly translations: ReturnType<typeof compareTranslations>;
}

const percent = (part: number, whole: number) => (whole === 0 ? '-' : `${((100 * part) / whole).toFixed(2)} %`);

/** The same logs, but only what began while a phase's traffic ran. */
function during(logs: ReadonlyMap<string, readonly Entry[]>, did: readonly Done[]): Map<string, Entry[]> {
  const begins = did.map(({ at }) => Date.parse(at));
  const first = Math.min(...begins);
  const last = Math.max(...did.map(({ at, ms }) => Date.parse(at) + ms));
  return new Map(
    [...logs].map(([netns, entries]) => [netns, entries.filter(({ at }) => Date.parse(at) >= first && Date.parse(at) <= last)]),
  );
}

export function judge(
  records: { readonly flows: readonly FlowRecord[]; readonly paths: readonly PathRecord[] },
  { logs, translations }: Testimony,
  did: ReadonlyMap<string, readonly Done[]>,
  hasGaps = false,
): Judged {
  return {
    all: compareWithLogs(logs, records, hasGaps),
    phases: new Map([...did].map(([phase, done]) => [phase, compareWithLogs(during(logs, done), records)])),
    translations: compareTranslations(records.flows, translations),
  };
}

export function tell(t: TestContext, { all, phases, translations }: Judged): void {
  const fields = Object.entries(all.fields).map(
    ([name, { right, wrong, unknown }]) => `${name} ${right} right ${wrong} wrong ${unknown} unknown`,
  );
  t.diagnostic(`access logs: ${all.entries} entries, ${all.missed} missed; ${fields.join('; ')}`);
  t.diagnostic(
    `joins: ${all.joined} of ${all.joinable} (${percent(all.joined, all.joinable)}), with candidates ${percent(all.candidate, all.joinable)}; ` +
      `${all.claimedRight} of ${all.claimed} claimed confirmed, ${all.claimedWrong} wrong; ${all.byRequest} judged by request id`,
  );
  for (const [phase, found] of phases)
    t.diagnostic(
      `${phase} at once: ${found.joined} of ${found.joinable} joined (${percent(found.joined, found.joinable)}), with candidates ${percent(found.candidate, found.joinable)}`,
    );
  t.diagnostic(
    `conntrack: ${translations.connections} connections, ${translations.right} right, ${translations.unknown} unknown, ${translations.missed} missed, ${translations.wrong.length} wrong`,
  );
  for (const sentence of [...all.wrong, ...translations.wrong].slice(0, 20)) t.diagnostic(`wrong: ${sentence}`);
}

/** Nothing is wrong, and the right pair is joined or among the candidates nearly always: in this share at least. */
export function holds(
  { all, translations }: Judged,
  { entriesAtLeast, named = 0.999 }: { readonly entriesAtLeast: number; readonly named?: number },
): void {
  assert.deepEqual(all.wrong, []);
  assert.deepEqual(translations.wrong, []);
  assert.ok(all.entries >= entriesAtLeast, `only ${all.entries} entries are in the access logs, at least ${entriesAtLeast} are wanted`);
  assert.ok(all.missed <= all.entries * 0.001, `${all.missed} of ${all.entries} entries of the logs are no flows`);
  assert.ok(
    translations.missed <= translations.connections * 0.001,
    `${translations.missed} of ${translations.connections} of conntrack's connections are no flows`,
  );
  assert.ok(
    all.candidate >= all.joinable * named,
    `the right pair is joined or among the candidates in ${percent(all.candidate, all.joinable)} only`,
  );
}
