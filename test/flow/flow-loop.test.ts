/** The compiled loop counts as the flow table does in TypeScript: the same frames give the same slots, bit by bit, and the same facts beside them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LINKTYPE_ETHERNET, LINKTYPE_LINUX_SLL, LINKTYPE_LINUX_SLL2 } from '../../src/decode/link-type.ts';
import { LoopMemory } from '../../src/flow/loop-memory.ts';
import { type Follow, NamespaceFlows } from '../../src/flow/namespace-flows.ts';
import { SLOT_WORDS } from '../../src/flow/slot.ts';
import { BytesFeed } from '../../src/source/byte-feed.ts';
import { PcapSource } from '../../src/source/pcap.ts';
import { ETHERTYPE, ethernet, ipv4, PROTOCOL, tcp } from '../decode/frames.ts';
import { capture, type Frame, makeFrames, random } from './random-capture.ts';

function read(file: Uint8Array, follow: Follow, memory: LoopMemory): NamespaceFlows {
  const flows = new NamespaceFlows({ follow, memory });
  const source = new PcapSource(new BytesFeed(file, 'frames'));
  if (flows.frameMemory !== undefined) source.useMemory(flows.frameMemory);
  const linkTypes = Int32Array.from(source.interfaces, (one) => one.linkType);
  for (let batch = source.next(); batch !== undefined; batch = source.next()) flows.observeBlock(batch, batch.count, linkTypes);
  flows.finish();
  return flows;
}

for (const [name, linkType] of [
  ['Ethernet', LINKTYPE_ETHERNET],
  ['Linux cooked', LINKTYPE_LINUX_SLL],
  ['Linux cooked, version 2', LINKTYPE_LINUX_SLL2],
] as const)
  for (const follow of ['hello', 'all'] as const)
    test(`${name}, following ${follow}: the loop and the table agree on 30,000 frames`, () => {
      const next = random(0x1234567 + linkType);
      const file = capture(linkType, makeFrames(linkType, 30_000, next), next);
      const memory = new LoopMemory();
      assert.ok(memory.loop !== undefined, 'there is room for the loop here');
      const looped = read(file, follow, memory);
      const plain = read(file, follow, new LoopMemory(true));
      assert.ok(plain.table.count > 2000);
      for (const count of ['frames', 'bytes', 'framesWithoutIp', 'strayFragments', 'unfollowed'] as const)
        assert.equal(looped[count], plain[count], count);
      assert.equal(looped.table.count, plain.table.count);
      for (let slot = 0; slot < plain.table.count; slot++) {
        const words = plain.table.words.subarray(slot * SLOT_WORDS, (slot + 1) * SLOT_WORDS);
        const at = words.findIndex((word, i) => word !== looped.table.words[slot * SLOT_WORDS + i]);
        assert.equal(at, -1, `slot ${slot} differs in word ${at}`);
        assert.deepEqual(looped.extraOf(slot), plain.extraOf(slot));
        assert.equal(looped.trackerOf(slot)?.protocol, plain.trackerOf(slot)?.protocol);
      }
    });

test('the memory grows while flows come: a hundred thousand connections keep their numbers', () => {
  const frames = Array.from({ length: 100_000 }, (_, i): Frame => {
    const bytes = Uint8Array.from(
      ethernet(
        ETHERTYPE.ipv4,
        ipv4(
          { protocol: PROTOCOL.tcp, src: `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`, dst: '10.9.9.9' },
          tcp({ src: 40_000, dst: 80, flags: 2, seq: i }, []),
        ),
      ),
    );
    return { bytes, wire: bytes.length };
  });
  const file = capture(LINKTYPE_ETHERNET, [...frames, ...frames], random(7));
  for (const memory of [new LoopMemory(), new LoopMemory(true)]) {
    const { table } = read(file, 'hello', memory);
    assert.equal(table.count, 100_000);
    for (let slot = 0; slot < 100_000; slot += 997) assert.equal(table.words[slot * SLOT_WORDS + 3]! & 0xffffff, slot & 0xffffff);
  }
});
