/** Every frame, cut at every length: no exception, what is read is what the whole frame says, and the next good frame decodes as ever. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeFrame, decodeQuoted } from '../../src/decode/decode.ts';
import { layerNames, Packet, stopCauseNames } from '../../src/decode/packet.ts';
import { needsReference } from '../reference.ts';
import type { TestFrame } from './capture-reader.ts';
import { captureFrames, capturePaths } from './captures.ts';
import { decode, ETHERTYPE, ethernet, ipv4, tcp } from './frames.ts';
import { destination, fields, outerDestination, outerSource, source, summary } from './summary.ts';

const good = Uint8Array.from(ethernet(ETHERTYPE.ipv4, ipv4({ protocol: 6 }, tcp({ flags: 0x18 }, [1, 2, 3]))));
const goodView = new DataView(good.buffer);
const goodSummary = summary(decode([...good]));

/** Fields that a cut frame may lack, and must not have otherwise. */
const KEPT = [
  'ipLength',
  'fragmentId',
  'fragmentOffset',
  'srcPort',
  'dstPort',
  'seq',
  'ack',
  'tcpFlags',
  'window',
  'mss',
  'icmpType',
  'icmpCode',
  'icmpId',
  'payloadLength',
] as const;

function whole(frame: TestFrame, packet: Packet): Packet {
  const view = new DataView(frame.bytes.buffer, frame.bytes.byteOffset, frame.bytes.length);
  decodeFrame(packet, frame.linkType, frame.bytes, view, 0, frame.bytes.length, frame.wireLength, 0);
  return packet;
}

/** Judges what was read of the first `length` bytes against what was read of the whole frame. */
function judge(cut: Packet, full: Packet, label: string): void {
  if (cut.ipVersion !== 0) {
    const inner = source(cut) === source(full) && destination(cut) === destination(full);
    const outer = full.tunnel !== 0 && cut.tunnel === 0 && source(cut) === outerSource(full) && destination(cut) === outerDestination(full);
    assert.ok(inner || outer, `${label}: addresses of "${summary(cut)}" are those of "${summary(full)}"`);
    if (cut.tunnel === full.tunnel)
      for (const field of KEPT)
        assert.ok(cut[field] === 0 || cut[field] === full[field], `${label}: ${field} of "${summary(cut)}" is that of "${summary(full)}"`);
  }
  assert.ok(cut.vlan === -1 || cut.vlan === full.vlan, `${label}: vlan`);
  assert.ok(cut.payloadOffset + cut.payloadCaptured <= cut.end, `${label}: the payload ends within the frame`);
  if (cut.stopLayer !== 0 && full.stopLayer === 0)
    assert.equal(stopCauseNames[cut.stopCause], 'snapshot', `${label}: ${layerNames[cut.stopLayer]}`);
}

test('decodeFrame() reads a prefix of every frame of every capture, cut at every length', needsReference('captures'), () => {
  const packet = new Packet();
  const fresh = new Packet();
  const full = new Packet();
  const quoted = new Packet();
  let cuts = 0;
  captureFrames().forEach((frame, number) => {
    whole(frame, full);
    const view = new DataView(frame.bytes.buffer, frame.bytes.byteOffset, frame.bytes.length);
    // Behind the headers every length gives the same but for the payload; a few of those are enough.
    const deep = Math.min(frame.bytes.length, 300);
    for (let length = 0; length <= deep; length++, cuts++) {
      decodeFrame(packet, frame.linkType, frame.bytes, view, 0, length, frame.wireLength, 0);
      judge(packet, full, `frame ${number} cut to ${length}`);
      decodeQuoted(packet, quoted);
      // The bytes behind the cut are as good as absent.
      const alone = frame.bytes.slice(0, length);
      decodeFrame(fresh, frame.linkType, alone, new DataView(alone.buffer), 0, length, frame.wireLength, 0);
      if (length % 8 === 0) assert.deepEqual(fields(packet), fields(fresh));
    }
    decodeFrame(packet, 1, good, goodView, 0, good.length, good.length, 0);
    assert.equal(summary(packet), goodSummary);
  });
  assert.ok(cuts > 100_000, `${cuts} cuts over ${capturePaths().length} captures`);
});
