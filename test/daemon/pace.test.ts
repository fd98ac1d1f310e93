import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pauseAfter } from '../../src/daemon/pace.ts';

const cases: [tookMs: number, pauseMs: number][] = [
  [0, 250],
  [10, 240],
  [80, 170],
  [100, 200],
  [300, 600],
  [5000, 2000],
];
for (const [tookMs, pauseMs] of cases)
  test(`after looking for ${tookMs} ms the engine rests for ${pauseMs} ms`, () => assert.equal(pauseAfter(tookMs), pauseMs));
