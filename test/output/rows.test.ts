import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeMulti } from '@msgpack/msgpack';
import fc from 'fast-check';
import { MsgpackBytes } from '../../src/output/msgpack-bytes.ts';
import { recordOf, rowFields, rowOf } from '../../src/output/rows.ts';
import type { AnyRecord } from '../../src/record/record.ts';
import { printed, written } from './sample-options.ts';
import { everything, flowOf, probe, requestFlows } from './samples.ts';

const full = flowOf({
  ...requestFlows[0]!,
  midstream: true,
  zone: 3,
  tunnel: { kind: 'vxlan', id: 7, outer: { source: '10.0.0.1', destination: '10.0.0.2' } },
  icmp: { type: 3, code: 1 },
  dns: { question: 'a.example', kind: 'A' },
  tls: { sni: 'a', evidence: 'observed' },
  pathCount: 17,
  findings: ['n1'],
});
const records: AnyRecord[] = [...everything, full];

test('a row and its fields give the record back', () => {
  for (const record of records) assert.deepEqual(recordOf(record.type, rowOf(record)), JSON.parse(JSON.stringify(record)));
});

test('the fields of a flow name every value that the record has', () => {
  const leaves = rowOf(full).filter((value) => value !== null).length;
  assert.equal(rowFields.flow.length, new Set(rowFields.flow).size);
  assert.ok(leaves > 45);
});

test('-o msgpack begins with a hello, keeps the order, and every reader gets the records back', () => {
  const [hello, ...batches] = [...decodeMulti(written('msgpack', records))] as [
    { type: string; version: number; fields: typeof rowFields },
    ...{ type: AnyRecord['type']; rows: unknown[][] }[],
  ];
  assert.equal(hello.type, 'hello');
  assert.deepEqual(hello.fields, rowFields);
  assert.deepEqual(
    batches.flatMap(({ type, rows }) => rows.map((row) => recordOf(type, row, hello.fields[type]))),
    JSON.parse(JSON.stringify(records)),
  );
});

test('-o msgpack ends a batch at 64 KiB', () => {
  const batches = [...decodeMulti(written('msgpack', new Array(5000).fill(probe)))] as { rows?: unknown[] }[];
  assert.ok(batches.length > 10);
  assert.equal(
    batches.reduce((sum, { rows }) => sum + (rows?.length ?? 0), 0),
    5000,
  );
});

test('the row of a flow as written fast is the row as written by the table', () => {
  for (const flow of [full, probe, ...requestFlows]) {
    const [, batch] = [...decodeMulti(written('msgpack', [flow]))] as [unknown, { rows: unknown[][] }];
    assert.deepEqual(batch.rows[0], JSON.parse(JSON.stringify(rowOf(flow))));
  }
});

test('MsgpackBytes writes what a MessagePack reader reads', () => {
  fc.assert(
    fc.property(
      fc.jsonValue({ stringUnit: 'grapheme' }),
      fc.double(),
      fc.maxSafeInteger(),
      fc.integer(),
      fc.string({ maxLength: 400 }),
      (json, double, large, small, text) => {
        // A reader refuses this key, since it reaches a prototype.
        fc.pre(!JSON.stringify(json).includes('__proto__'));
        const out = new MsgpackBytes(16);
        const values = [
          json,
          double,
          large,
          small,
          text,
          text.repeat(300),
          Number.MAX_SAFE_INTEGER,
          Number.MIN_SAFE_INTEGER,
          -0,
          255,
          256,
          65_535,
          65_536,
          4_294_967_295,
          4_294_967_296,
          -32,
          -33,
          -129,
          -32_769,
        ];
        for (const value of values) out.value(value);
        assert.deepEqual([...decodeMulti(out.view())], values);
      },
    ),
    { seed: 11, numRuns: 500 },
  );
});

test('recordOf() cannot be talked into touching a prototype', () => {
  const row = [1, 2, 3];
  recordOf('flow', row, ['__proto__.polluted', 'constructor.polluted', 'prototype.x']);
  assert.equal(({} as { polluted?: unknown }).polluted, undefined);
  assert.equal((Object as { polluted?: unknown }).polluted, undefined);
});

test('-o json writes each record on a line of its own, keys in the order of the record type', () => {
  const lines = printed('json', records).split('\n');
  assert.equal(lines.pop(), '');
  assert.deepEqual(
    lines.map((line) => JSON.parse(line)),
    JSON.parse(JSON.stringify(records)),
  );
  assert.deepEqual(Object.keys(JSON.parse(lines[0]!)).slice(0, 12), [
    'type',
    'id',
    'event',
    'state',
    'node',
    'netns',
    'pod',
    'protocol',
    'first',
    'last',
    'source',
    'destination',
  ]);
});

test('-o json writes numbers as JSON.stringify does', () => {
  fc.assert(
    fc.property(fc.oneof(fc.nat(), fc.maxSafeInteger(), fc.double(), fc.integer({ min: 0, max: 0xffffffff })), (bytes) => {
      const flow = flowOf({ counters: { toDestination: { packets: 1, bytes }, toSource: { packets: 0, bytes: 0 } } });
      assert.deepEqual(JSON.parse(printed('json', [flow])), JSON.parse(JSON.stringify(flow)));
    }),
    {
      seed: 3,
      numRuns: 1000,
      examples: [[0], [9], [10], [99_999], [100_000], [999_999_999], [1_000_000_000], [2_147_483_648], [4_294_967_295], [-0], [Number.NaN]],
    },
  );
});
