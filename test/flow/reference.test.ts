/** Captures that others made to be difficult, read from the file to the exchange. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeFrame } from '../../src/decode/decode.ts';
import { IPPROTO_TCP, Packet } from '../../src/decode/packet.ts';
import { ConnectionTracker } from '../../src/flow/exchange.ts';
import { openCapture } from '../../src/source/open.ts';
import { needsReference, referencePath } from '../reference.ts';
import { lines } from './conversation.ts';

/** The exchanges of the connection of a capture that holds but one; the side that sends first is the client. */
function exchangesOf(name: string): { lines: string[]; tracker: ConnectionTracker } {
  const source = openCapture(referencePath('captures', 'zeek', name)!);
  const packet = new Packet();
  const tracker = new ConnectionTracker();
  let client = -1;
  for (let batch = source.next(); batch !== undefined; batch = source.next())
    for (let i = 0; i < batch.count; i++) {
      const { linkType } = source.interfaces[batch.interfaceId[i]!]!;
      decodeFrame(
        packet,
        linkType,
        batch.bytes,
        batch.view,
        batch.offset[i]!,
        batch.capturedLength[i]!,
        batch.wireLength[i]!,
        batch.timeNs[i]!,
      );
      if (packet.protocol !== IPPROTO_TCP) continue;
      if (client === -1) client = packet.srcPort;
      tracker.observe(packet.srcPort === client ? 0 : 1, packet);
    }
  source.close();
  tracker.close();
  return { lines: lines(tracker.exchanges), tracker };
}

const table: [name: string, expected: string[], missing: number][] = [
  ['http_interleaved-http-entity.pcap', ['POST / 10 > 200 3'], 0],
  ['http_entity_gap2.pcap', ['GET /download/CHANGES.bro-aux.txt 0 > 200 4705'], 0],
  ['http_get_nosyn.pcap', ['GET /download/CHANGES.bro-aux.txt 0 > 200 4705'], 0],
  ['tcp-http-with-padding.pcap', ['GET / 0 > 200 6'], 0],
  ['http_post.pcap', ['POST /post 11 > 200 366'], 0],
  ['http_multipart-form-data.pcap', ['POST / 767 > ?'], 0],
];

for (const [name, expected, missing] of table)
  test(`${name} tells the exchanges that are in it`, needsReference('captures', 'zeek', name), () => {
    const { lines: told, tracker } = exchangesOf(name);
    assert.deepEqual(told, expected);
    assert.equal(tracker.missingBytes, missing);
    assert.ok(tracker.exchanges.every((exchange) => exchange.done));
  });

test(
  'requests that were dropped by the capture leave their responses without a request',
  needsReference('captures', 'zeek', 'http_zero-length-bodies-with-drops.pcap'),
  () => {
    const { tracker } = exchangesOf('http_zero-length-bodies-with-drops.pcap');
    assert.deepEqual(
      tracker.exchanges.map(({ request, response }) => [request !== undefined, response?.status]),
      [
        [true, 302],
        [true, 200],
        [true, 302],
        [true, 200],
        [true, 200],
        [true, 200],
        [false, 200],
        [true, 200],
      ],
    );
    assert.ok(tracker.missingBytes > 0);
  },
);
