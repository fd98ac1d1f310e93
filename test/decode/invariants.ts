import assert from 'node:assert/strict';
import { layerNames, type Packet, stopCauseNames, tunnelNames } from '../../src/decode/packet.ts';
import { fields } from './summary.ts';

/** What holds of every packet, whatever the bytes. */
export function checkInvariants(p: Packet): void {
  const inFrame = (offset: number) => offset >= p.start && offset <= p.end;
  assert.ok(p.ipLength >= 0 && p.ipLength <= Math.max(p.wireLength, p.end - p.start), 'the IP packet is no longer than the frame');
  assert.ok(p.payloadCaptured >= 0 && p.payloadCaptured <= p.payloadLength, 'no more was captured than there was');
  assert.ok(p.payloadLength <= p.ipLength || p.ipVersion === 0, 'the payload is within the IP packet');
  if (p.payloadOffset !== 0)
    assert.ok(inFrame(p.payloadOffset) && inFrame(p.payloadOffset + p.payloadCaptured), 'the payload lies in the frame');
  if (p.quoteOffset !== 0) assert.ok(inFrame(p.quoteOffset), 'the quote lies in the frame');
  assert.ok(p.limit <= p.wireEnd && p.limit <= p.end, 'limit ends before wireEnd and end');
  assert.ok(p.ipVersion === 0 || p.ipVersion === 4 || p.ipVersion === 6);
  if (p.ipVersion === 4) assert.ok((p.src0 | p.src1 | p.src2 | p.dst0 | p.dst1 | p.dst2) === 0, 'an IPv4 address is one word');
  if (p.outerVersion === 4)
    assert.ok(
      (p.outerSrc0 | p.outerSrc1 | p.outerSrc2 | p.outerDst0 | p.outerDst1 | p.outerDst2) === 0,
      'an outer IPv4 address is one word',
    );
  assert.ok(p.hasPorts || (p.srcPort === 0 && p.dstPort === 0), 'ports only where there are some');
  assert.ok(!p.hasTcp || (p.hasPorts && p.protocol === 6), 'a TCP header has ports');
  assert.ok(!(p.hasPorts && p.fragmentOffset !== 0), 'a later fragment has no ports');
  assert.ok(p.fragment || (p.fragmentId === 0 && p.fragmentOffset === 0 && !p.moreFragments));
  assert.ok((p.tunnel === 0) === (p.outerVersion === 0), 'a tunnel has an outer packet');
  assert.ok(p.ipVersion !== 0 || p.tunnel === 0, 'a tunnel has an inner packet');
  assert.ok((p.stopLayer === 0) === (p.stopCause === 0), 'a stop has a cause');
  assert.ok(layerNames[p.stopLayer] !== undefined && stopCauseNames[p.stopCause] !== undefined && tunnelNames[p.tunnel] !== undefined);
  for (const [name, value] of Object.entries(fields(p)))
    assert.ok(typeof value === 'boolean' || Number.isFinite(value), `${name} is a number`);
}
