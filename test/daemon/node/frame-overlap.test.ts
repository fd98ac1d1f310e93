import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FrameOverlap } from '../../../src/daemon/node/frame-overlap.ts';
import { walkFrames } from '../../../src/source/probe-protocol.ts';

/** A payload of frames that hold their number; stamps in nanoseconds after one second. */
function payload(frames: readonly { stamp: number; number: number }[]): Uint8Array {
  const bytes = Buffer.alloc(frames.length * 20);
  frames.forEach(({ stamp, number }, i) => {
    for (const [at, value] of [1 + Math.floor(stamp / 1e9), stamp % 1e9, 4, 60, number].entries())
      bytes.writeUInt32LE(value, i * 20 + at * 4);
  });
  return bytes;
}

function numbers(bytes: Uint8Array): number[] {
  const found: number[] = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  walkFrames(bytes, ({ offset }) => found.push(view.getUint32(offset, true)));
  return found;
}

const frame = (number: number) => ({ stamp: number * 10, number });
const range = (from: number, to: number) => [...Array(to - from).keys()].map((i) => frame(from + i));

test('what the first ring handed out is left out of the second, however both are cut', () => {
  fc.assert(
    fc.property(fc.nat(20), fc.nat(20), fc.array(fc.nat(40), { maxLength: 5 }), (begins, more, cuts) => {
      const overlap = new FrameOverlap();
      overlap.add(payload(range(0, 20)));
      const second = range(begins, 20 + more);
      const seen: number[] = [];
      let from = 0;
      for (const cut of [...cuts.filter((at) => at < second.length).sort((a, b) => a - b), second.length]) {
        seen.push(...numbers(overlap.rest(payload(second.slice(from, cut)))));
        from = cut;
      }
      assert.deepEqual(
        seen,
        range(20, 20 + more).map(({ number }) => number),
      );
      assert.equal(overlap.late, 0);
      assert.equal(overlap.left, begins);
    }),
    { seed: 21, numRuns: 500 },
  );
});

test('frames that are alike in all but their bytes count as often as they were handed out', () => {
  const overlap = new FrameOverlap();
  const twin = { stamp: 5, number: 1 };
  overlap.add(payload([twin, twin]));
  assert.deepEqual(numbers(overlap.rest(payload([twin, twin, twin]))), [1]);
});

test('what the first ring had no room for, before its last frame, does not come late: it was counted', () => {
  const overlap = new FrameOverlap();
  overlap.add(payload([...range(0, 3), ...range(6, 9)]));
  assert.deepEqual(numbers(overlap.rest(payload(range(0, 12)))), [9, 10, 11]);
  assert.equal(overlap.late, 3);
  assert.equal(overlap.left, 0);
});
