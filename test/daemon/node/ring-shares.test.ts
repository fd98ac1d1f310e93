import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LARGEST_FIRST_RING, LARGEST_RING, LEAST_RING, RingShares } from '../../../src/daemon/node/ring-shares.ts';

const MIB = 1024 * 1024;

test('namespaces that are there together take at most half of the budget, as much as that allows', () => {
  for (const [count, bytes] of [
    [1, 2 * MIB],
    [16, 2 * MIB],
    [17, MIB],
    [64, MIB / 2],
    [110, MIB / 4],
    [250, MIB / 8],
  ] as const) {
    const shares = new RingShares(64 * MIB);
    shares.limit(64 * MIB, count);
    for (let i = 0; i < count; i++) assert.equal(shares.first(), bytes);
    assert.ok(shares.taken <= 32 * MIB);
  }
});

test('namespaces that come one after the other fit as well, 250 of them', () => {
  const shares = new RingShares(64 * MIB);
  const rings = Array.from({ length: 250 }, () => shares.first());
  assert.equal(rings[0], LARGEST_FIRST_RING);
  assert.equal(rings.at(-1), LEAST_RING);
  assert.ok(shares.taken <= 64 * MIB, `${shares.taken / MIB} MiB`);
  for (const bytes of rings) shares.release(bytes);
  assert.equal(shares.taken, 0);
  assert.equal(shares.first(), LARGEST_FIRST_RING);
});

test('where three quarters are taken, a large ring may become a quarter of its size', () => {
  const shares = new RingShares(MIB);
  shares.limit(MIB, 1);
  const first = shares.first();
  assert.equal(first, MIB / 2);
  assert.equal(shares.smaller(first), undefined);
  const late = [shares.first(), shares.first()];
  assert.deepEqual(late, [LEAST_RING, LEAST_RING]);
  assert.equal(shares.smaller(LEAST_RING), undefined);
  assert.equal(shares.smaller(first), MIB / 8);
});

test('a ring grows fourfold, then no further than the limit, and leaves an eighth of the budget', () => {
  const shares = new RingShares(64 * MIB);
  let bytes = shares.first();
  const grown: number[] = [];
  for (let next = shares.larger(bytes); next !== undefined; next = shares.larger(bytes)) {
    shares.release(bytes);
    bytes = next;
    grown.push(next);
  }
  assert.deepEqual(grown, [8 * MIB, LARGEST_RING]);
  const others = Array.from({ length: 20 }, () => shares.first());
  for (const own of others) shares.larger(own);
  assert.ok(shares.taken <= 56 * MIB, `${shares.taken / MIB} MiB`);
});
