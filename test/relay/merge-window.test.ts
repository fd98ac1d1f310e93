/** Records of several servers in order of time, whatever any of them does. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MergeWindow } from '../../src/relay/merge-window.ts';

test('each server keeps its order, nothing is lost or told twice, and what comes within the window is in order of time', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ server: fc.integer({ min: 0, max: 3 }), lateMs: fc.integer({ min: 0, max: 999 }) }), { maxLength: 200 }),
      (given) => {
        const merge = new MergeWindow<{ readonly server: number; readonly timeNs: number; readonly n: number }>(1000);
        for (let server = 0; server < 4; server++) merge.join(String(server));
        // Something happens every 10 ms; it arrives late by less than the window, in each server's order.
        const last = [0, 0, 0, 0];
        const arrivals = given.map(({ server, lateMs }, n) => {
          const atMs = Math.max(n * 10 + lateMs, last[server]!);
          last[server] = atMs;
          return { server, n, timeNs: n * 10e6, atMs };
        });
        const out = [];
        for (const { server, n, timeNs, atMs } of [...arrivals].sort((a, b) => a.atMs - b.atMs || a.n - b.n)) {
          out.push(...merge.take(atMs));
          merge.push(String(server), timeNs, { server, timeNs, n }, atMs);
        }
        out.push(...merge.rest());
        assert.deepEqual(
          out.map(({ n }) => n),
          given.map((_, n) => n),
        );
        assert.equal(merge.size, 0);
      },
    ),
    { seed: 3 },
  );
});

test('a server that says nothing delays the others by the window, and no more', () => {
  const merge = new MergeWindow<string>(1000);
  merge.join('a');
  merge.join('dead');
  merge.push('a', 1e9, 'one', 0);
  assert.deepEqual(merge.take(999), []);
  assert.deepEqual(merge.take(1000), ['one']);
});

test('a server that is known to be gone delays nobody', () => {
  const merge = new MergeWindow<string>(1000);
  merge.join('a');
  merge.join('b');
  merge.leave('b');
  merge.push('a', 1e9, 'one', 0);
  assert.deepEqual(merge.take(0), ['one']);
});

test('when every server has given something later, nothing waits', () => {
  const merge = new MergeWindow<string>(1000);
  merge.push('a', 1e9, 'a1', 0);
  merge.push('b', 2e9, 'b1', 0);
  assert.deepEqual(merge.take(0), ['a1']);
  merge.push('a', 3e9, 'a2', 1);
  assert.deepEqual(merge.take(1), ['b1']);
});

test('a record without a time stays behind the one before it', () => {
  const merge = new MergeWindow<string>(1000);
  merge.push('a', 5e9, 'late', 0);
  merge.push('a', undefined, 'with it', 0);
  merge.push('b', 1e9, 'early', 0);
  assert.deepEqual(merge.rest(), ['early', 'late', 'with it']);
});

test('a hundred thousand records that nobody waits for do not pile up', () => {
  const merge = new MergeWindow<number>(1000);
  merge.join('silent');
  let out = 0;
  for (let i = 0; i < 200_000; i++) {
    merge.push('a', i, i, 0);
    out += merge.take(0).length;
  }
  assert.ok(merge.size <= 65_536);
  assert.equal(out + merge.size, 200_000);
});
