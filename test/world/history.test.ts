import assert from 'node:assert/strict';
import { test } from 'node:test';
import { History } from '../../src/world/history.ts';

const snapshot = (atNs: number) => ({ atNs, readAt: `at ${atNs}`, value: atNs });

test('a moment is judged by the newest reading before it; before the first, by the first, which is then later', () => {
  const history = new History([20, 10, 30].map(snapshot));
  const table: [atNs: number, value: number, later: boolean][] = [
    [5, 10, true],
    [10, 10, false],
    [19, 10, false],
    [20, 20, false],
    [1e12, 30, false],
  ];
  for (const [atNs, value, later] of table) {
    const held = history.at(atNs);
    assert.deepEqual([held?.snapshot.value, held?.later], [value, later], `${atNs}`);
  }
});

test('what was never read is not there; what was read nobody knows when holds always', () => {
  assert.equal(new History([]).at(5), undefined);
  assert.deepEqual(new History([snapshot(Number.NEGATIVE_INFINITY)]).at(-1e18), {
    snapshot: snapshot(Number.NEGATIVE_INFINITY),
    later: false,
  });
});
