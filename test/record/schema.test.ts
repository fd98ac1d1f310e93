import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import * as v from 'valibot';
import { recordJsonSchema } from '../../src/record/json-schema.ts';
import { reasons } from '../../src/record/reason.ts';
import type { AnyRecord } from '../../src/record/record.ts';
import { recordSchema, recordSchemas } from '../../src/record/schema.ts';
import { recordsOf, situations } from '../findings/replayed.ts';
import { needsReference, referencePath } from '../reference.ts';
import { faultsOf } from './json-schema-check.ts';

const written = JSON.parse(readFileSync('docs/records.schema.json', 'utf8'));
const page = readFileSync('docs/records.md', 'utf8');

/** What the schemas say against records, at most five sentences. */
function faults(records: readonly AnyRecord[]): string[] {
  const found: string[] = [];
  for (const record of records) {
    const parsed = v.safeParse(recordSchema, record);
    const issues = parsed.success ? [] : parsed.issues.map((issue) => `${v.getDotPath(issue)}: ${issue.message}`);
    for (const fault of [...issues, ...faultsOf(written, record)]) if (found.length < 5) found.push(`${record.type}: ${fault}`);
  }
  return found;
}

test('docs/records.schema.json is the JSON Schema of the contract (node scripts/records-schema.mjs writes it)', () => {
  assert.deepEqual(written, recordJsonSchema());
});

for (const name of situations) {
  test(`every record of captures/${name} fits the contract`, () => {
    const records = recordsOf(`captures/${name}`);
    assert.equal(records.at(-1)?.type, 'total');
    assert.ok(records.length > 1);
    assert.deepEqual(faults(records), []);
  });
}

for (const name of ['bookinfo', 'failures', 'routing'])
  test(`every record of the reference bundle ${name} fits the contract`, needsReference('bundles', name), () => {
    assert.deepEqual(faults(recordsOf(referencePath('bundles', name)!)), []);
  });

test('every type of record but lost is among the recordings', () => {
  const seen = new Set(situations.flatMap((name) => recordsOf(`captures/${name}`).map(({ type }) => type)));
  assert.deepEqual([...seen].sort(), ['finding', 'flow', 'path', 'total']);
});

test('a record of a file that breaks off says what was lost, and fits the contract', () => {
  const lost = {
    type: 'lost',
    source: 'truncated',
    scope: { node: 'a', netns: 'b' },
    count: 1,
    exact: false,
    total: 1,
    first: '2026-11-23T09:44:10.868096001Z',
    last: '2026-11-23T09:44:10.868096001Z',
    detail: 'Cannot read "x"',
  } as const;
  assert.deepEqual(faults([lost]), []);
});

test('what is not in the contract is found by both checks', () => {
  const flow = recordsOf('captures/self-call').find((record) => record.type === 'flow')!;
  const wrong: [string, object][] = [
    ['a field that nobody knows', { ...flow, colour: 'red' }],
    ['a field that is missing', { ...flow, netns: undefined }],
    ['a role that nobody plays', { ...flow, roles: ['proxy-to-moon'] }],
    ['a flow without a role', { ...flow, roles: [] }],
    ['a time with six digits', { ...flow, first: '2026-11-23T09:44:10.868096Z' }],
    ['a reason outside of the list', { ...flow, rule: { verdict: 'unknown', evidence: 'unavailable', reason: 'because', steps: [] } }],
    ['a port that does not exist', { ...flow, source: { ip: '10.0.0.1', port: 65_536 } }],
    ['half a packet', { ...flow, counters: { toDestination: { packets: 0.5, bytes: 1 }, toSource: { packets: 0, bytes: 0 } } }],
    ['an id that is none', { ...flow, id: 'xyz' }],
    ['another type', { ...flow, type: 'stream' }],
  ];
  for (const [what, record] of wrong) {
    const value = JSON.parse(JSON.stringify(record));
    assert.equal(v.safeParse(recordSchema, value).success, false, what);
    assert.notDeepEqual(faultsOf(written, value), [], what);
  }
});

test('docs/records.md names every field, role, outcome, state and reason of the contract', () => {
  const words = new Set<string>();
  const walk = (schema: unknown): void => {
    if (typeof schema !== 'object' || schema === null) return;
    for (const [key, value] of Object.entries(schema)) {
      if (key === 'properties') for (const field of Object.keys(value as object)) words.add(field);
      if (key === 'enum') for (const word of value as unknown[]) words.add(String(word));
      walk(value);
    }
  };
  walk(written.$defs);
  for (const type of Object.keys(recordSchemas)) words.add(type);
  assert.ok(words.size > 150);
  const missing = [...words].filter((word) => !page.includes(`\`${word}\``));
  assert.deepEqual(missing, []);
});

test('docs/records.md has a line for each reason, and for no other', () => {
  const section = page.slice(page.indexOf('## Reasons'));
  const listed = [...section.slice(0, section.indexOf('\n## ', 5)).matchAll(/^\| `([a-z-]+)` \|/gm)].map(([, reason]) => reason!);
  assert.deepEqual(listed.sort(), Object.keys(reasons).sort());
});
