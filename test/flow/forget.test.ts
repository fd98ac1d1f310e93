/** Flows can be forgotten while others go on: those that stay must not notice. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { decodeFrame } from '../../src/decode/decode.ts';
import { LINKTYPE_LINUX_SLL2 } from '../../src/decode/link-type.ts';
import { Packet } from '../../src/decode/packet.ts';
import { type Flow, readFlow } from '../../src/flow/flow.ts';
import { LoopMemory } from '../../src/flow/loop-memory.ts';
import { NamespaceFlows } from '../../src/flow/namespace-flows.ts';
import { SLOT_WORDS, W_OTHER_HALF } from '../../src/flow/slot.ts';
import { type Frame, makeFrames, random } from './random-capture.ts';

const packet = new Packet();

function observe(flows: NamespaceFlows, frames: readonly Frame[], from: number): void {
  frames.forEach(({ bytes, wire }, i) => {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    decodeFrame(packet, LINKTYPE_LINUX_SLL2, bytes, view, 0, bytes.length, wire, (from + i) * 1000);
    flows.observe(packet, 0);
  });
}

function make(): NamespaceFlows {
  return new NamespaceFlows({ follow: 'all', memory: new LoopMemory(true), seed: 7 });
}

function withoutSlot({ slot: _slot, answerSlot: _answer, ...flow }: Flow): Omit<Flow, 'slot' | 'answerSlot'> {
  return flow;
}

test('to forget nothing changes nothing, however often', () => {
  for (let seed = 1; seed <= 20; seed++) {
    const frames = makeFrames(LINKTYPE_LINUX_SLL2, 3000, random(seed));
    const plain = make();
    const forgetting = make();
    for (let from = 0; from < frames.length; from += 500) {
      const some = frames.slice(from, from + 500);
      observe(plain, some, from);
      observe(forgetting, some, from);
      const moved = forgetting.forget(new Uint8Array(forgetting.table.count).fill(1));
      assert.deepEqual([...moved], [...moved.keys()]);
    }
    assert.equal(forgetting.table.count, plain.table.count);
    for (let slot = 0; slot < plain.table.count; slot++) {
      assert.deepEqual(readFlow(forgetting.table, slot), readFlow(plain.table, slot));
      assert.deepEqual(forgetting.extraOf(slot), plain.extraOf(slot));
      assert.deepEqual(forgetting.trackerOf(slot)?.exchanges, plain.trackerOf(slot)?.exchanges);
    }
  }
});

test('flows that stay are what they were, and are found again by their packets', () => {
  for (let seed = 100; seed < 140; seed++) {
    const next = random(seed);
    const flows = make();
    const frames = makeFrames(LINKTYPE_LINUX_SLL2, 2000, next);
    observe(flows, frames, 0);
    const { table } = flows;
    const keep = new Uint8Array(table.count).map(() => next(2));
    for (let slot = 0; slot < table.count; slot++) {
      const other = table.words[slot * SLOT_WORDS + W_OTHER_HALF]!;
      if (other !== -1) keep[other] = keep[slot]!;
    }
    const before = Array.from(keep, (_, slot) => ({
      flow: readFlow(table, slot),
      extra: flows.extraOf(slot),
      tracker: flows.trackerOf(slot),
    }));
    const moved = flows.forget(keep);
    assert.equal(
      table.count,
      keep.reduce((sum, one) => sum + one, 0),
    );
    before.forEach(({ flow, extra, tracker }, slot) => {
      const to = moved[slot]!;
      assert.equal(to !== -1, keep[slot] === 1);
      if (to === -1) return;
      assert.deepEqual(withoutSlot(readFlow(table, to)), withoutSlot(flow));
      assert.deepEqual(flows.extraOf(to), extra);
      assert.equal(flows.trackerOf(to), tracker);
    });
    const packets = () => {
      let sum = 0;
      for (let slot = 0; slot < table.count; slot++) {
        const other = table.words[slot * SLOT_WORDS + W_OTHER_HALF]!;
        if (other !== -1 && other < slot) continue;
        const flow = readFlow(table, slot);
        sum += flow.packetsToDestination + flow.packetsToSource;
      }
      return sum;
    };
    const held = packets();
    const without = flows.framesWithoutIp;
    observe(flows, frames, 2000);
    // ICMP errors count to nobody; everything else to somebody, once.
    assert.ok(packets() - held <= frames.length - (flows.framesWithoutIp - without));
    assert.ok(packets() > held);
  }
});

test('what was forgotten begins anew', () => {
  const next = random(5);
  const frames = makeFrames(LINKTYPE_LINUX_SLL2, 1000, next);
  const flows = make();
  observe(flows, frames, 0);
  flows.forget(new Uint8Array(flows.table.count));
  assert.equal(flows.table.count, 0);
  const fresh = make();
  observe(flows, frames, 1000);
  observe(fresh, frames, 1000);
  assert.equal(flows.table.count, fresh.table.count);
  for (let slot = 0; slot < fresh.table.count; slot++) assert.deepEqual(readFlow(flows.table, slot), readFlow(fresh.table, slot));
});
