import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { IntervalIndex } from '../../src/path/interval-index.ts';

test('IntervalIndex finds what looking at every interval finds', () => {
  const moment = fc.oneof(fc.integer({ min: 0, max: 30 }), fc.constantFrom(Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY));
  const interval = fc.tuple(moment, moment).map(([a, b]) => ({ fromNs: Math.min(a, b), toNs: Math.max(a, b) }));
  fc.assert(
    fc.property(fc.array(fc.option(interval, { nil: undefined }), { maxLength: 20 }), interval, (intervals, { fromNs, toNs }) => {
      const wanted = [...intervals.keys()].filter((i) => intervals[i] !== undefined && intervals[i]!.fromNs <= toNs && intervals[i]!.toNs >= fromNs);
      assert.deepEqual(new IntervalIndex(intervals).overlapping(fromNs, toNs), wanted);
    }),
    { seed: 4711, numRuns: 2000 },
  );
});

test('IntervalIndex of nothing finds nothing', () => {
  assert.deepEqual(new IntervalIndex([]).overlapping(0, 1), []);
});
