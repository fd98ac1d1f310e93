/** Nodes' clocks: what is said of them holds the truth. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ClockOffsets } from '../../src/relay/clock-offset.ts';

interface Way {
  readonly atNs: number;
  /** Of the SYN, its answer, and the ACK. */
  readonly ways: readonly [number, number, number];
  readonly fromA: boolean;
}

/** A handshake between nodes whose clocks differ by `ahead` (b less a), by each one's clock. */
function shake(offsets: ClockOffsets, { atNs, ways, fromA }: Way, ahead: number): void {
  const [opener, acceptor] = fromA ? (['a', 'b'] as const) : (['b', 'a'] as const);
  const arrived = atNs + ways[0];
  const acked = arrived + ways[1];
  const clock = (node: 'a' | 'b', trueNs: number): number => (node === 'b' ? trueNs + ahead : trueNs);
  offsets.handshake(opener, { synNs: clock(opener, atNs), ackNs: clock(opener, acked) }, acceptor, {
    synNs: clock(acceptor, arrived),
    ackNs: clock(acceptor, acked + ways[2]),
  });
}

const way = fc.integer({ min: 10_000, max: 20_000_000 });
const arbitrary = fc.record({ atNs: fc.integer({ min: 0, max: 60_000_000_000 }), ways: fc.tuple(way, way, way), fromA: fc.boolean() });

test('the true offset lies within the error, whatever the ways took, and more handshakes never make it worse', () => {
  fc.assert(
    fc.property(
      fc.array(arbitrary, { minLength: 1, maxLength: 40 }),
      fc.integer({ min: -3_600_000_000_000, max: 3_600_000_000_000 }),
      (shakes, ahead) => {
        const offsets = new ClockOffsets();
        for (const one of shakes) {
          shake(offsets, one, ahead);
          const offset = offsets.between('a', 'b')!;
          assert.ok(Math.abs(offset.ns - ahead) <= offset.errorNs, `${ahead} is within ${JSON.stringify(offset)}`);
          assert.equal(offsets.between('b', 'a')!.ns, -offset.ns || 0);
        }
      },
    ),
    { seed: 7 },
  );
});

test('the error is no larger than the quickest handshake took', () => {
  const offsets = new ClockOffsets();
  for (const [i, took] of [9e6, 200e3, 5e6].entries())
    shake(offsets, { atNs: i * 1e9, ways: [took / 2, took / 2, took / 2], fromA: true }, 5e9);
  assert.ok(offsets.between('a', 'b')!.errorNs <= 100e3 + 200e3 + 4e3);
});

test('handshakes both ways leave less than handshakes one way', () => {
  const [one, both] = [new ClockOffsets(), new ClockOffsets()];
  for (let i = 0; i < 8; i++) {
    const ways = [100e3, 100e3, 100e3] as const;
    shake(one, { atNs: i * 1e6, ways, fromA: true }, 5e9);
    shake(both, { atNs: i * 1e6, ways, fromA: i % 2 === 0 }, 5e9);
  }
  assert.ok(both.between('a', 'b')!.errorNs <= one.between('a', 'b')!.errorNs);
});

test('a clock that is set anew is believed anew', () => {
  const offsets = new ClockOffsets();
  const ways = [100e3, 100e3, 100e3] as const;
  for (let i = 0; i < 100; i++) shake(offsets, { atNs: i * 1e9, ways, fromA: i % 2 === 0 }, i < 50 ? 0 : -7e9);
  assert.ok(Math.abs(offsets.between('a', 'b')!.ns + 7e9) < 1e6);
});

test('a clock that drifts by 20 ppm stays within the error', () => {
  const offsets = new ClockOffsets();
  for (let i = 0; i < 600; i++) {
    const ahead = i * 1e9 * 20e-6;
    shake(offsets, { atNs: i * 1e9, ways: [50e3 + (i % 7) * 20e3, 80e3, 60e3], fromA: i % 3 === 0 }, ahead);
    const offset = offsets.between('a', 'b')!;
    assert.ok(Math.abs(offset.ns - ahead) <= offset.errorNs, `second ${i}`);
  }
});

test('what nobody saw together tells nothing; by way of a third node it does, with both errors', () => {
  const offsets = new ClockOffsets();
  assert.equal(offsets.between('a', 'b'), undefined);
  assert.deepEqual(offsets.between('a', 'a'), { ns: 0, errorNs: 0 });
  offsets.nested('a', 0, 100, 'b', 1040, 1060);
  offsets.nested('b', 0, 100, 'c', 2040, 2060);
  const offset = offsets.between('a', 'c')!;
  assert.equal(offset.ns, 3000);
  assert.equal(offset.errorNs, offsets.between('a', 'b')!.errorNs + offsets.between('b', 'c')!.errorNs);
});

test('views that cannot be of one thing are not taken', () => {
  const offsets = new ClockOffsets();
  // The inner one took longer than the outer one.
  offsets.nested('a', 0, 100_000, 'b', 0, 900_000);
  offsets.nested('a', Number.NaN, 100, 'b', 0, 90);
  assert.equal(offsets.between('a', 'b'), undefined);
});
