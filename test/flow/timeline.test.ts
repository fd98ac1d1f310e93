import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Burst, Timeline } from '../../src/flow/timeline.ts';

const record = (direction: 0 | 1, startNs: number, plainBytes = 10): Burst => ({
  direction,
  startNs,
  endNs: startNs,
  bytes: 32,
  records: 1,
  plainBytes,
  handshake: false,
});

test('bytes of one side without a pause are one burst', () => {
  const timeline = new Timeline();
  for (const [direction, timeNs, bytes] of [
    [0, 0, 5],
    [0, 100_000, 6],
    [0, 200_001, 7],
    [1, 200_002, 8],
    [0, 200_003, 9],
  ] as const)
    timeline.add(direction, timeNs, bytes);
  assert.deepEqual(
    timeline.bursts.map(({ direction, startNs, endNs, bytes }) => [direction, startNs, endNs, bytes]),
    [
      [0, 0, 100_000, 11],
      [0, 200_001, 200_001, 7],
      [1, 200_002, 200_002, 8],
      [0, 200_003, 200_003, 9],
    ],
  );
  assert.deepEqual(timeline.total, [27, 8]);
});

test('records add up, and one of unknown content makes the sum unknown', () => {
  const timeline = new Timeline();
  timeline.addRecord(record(0, 0));
  timeline.addRecord(record(0, 1, 20));
  assert.deepEqual(timeline.bursts, [{ ...record(0, 0), endNs: 1, bytes: 64, records: 2, plainBytes: 30 }]);
  timeline.addRecord(record(0, 2, -1));
  assert.equal(timeline.bursts[0]!.plainBytes, -1);
});

test('records and bytes that could not be read are not mixed, and split() begins a new burst', () => {
  const timeline = new Timeline();
  timeline.addRecord(record(0, 0));
  timeline.add(0, 1, 5);
  timeline.addRecord(record(0, 2));
  timeline.split();
  timeline.addRecord(record(0, 3));
  assert.deepEqual(
    timeline.bursts.map(({ records }) => records),
    [1, -1, 1, 1],
  );
});

test('at most 4096 bursts are kept until they are taken; the totals count all', () => {
  const timeline = new Timeline();
  for (let i = 0; i < 5000; i++) timeline.add((i % 2) as 0 | 1, i, 1);
  assert.deepEqual([timeline.bursts.length, timeline.overflow, timeline.total], [4096, 904, [2500, 2500]]);
  assert.equal(timeline.take().length, 4096);
  timeline.add(1, 5000, 1);
  assert.equal(timeline.bursts.length, 1);
});
