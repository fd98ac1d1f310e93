import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { rowFields } from '../../src/output/rows.ts';
import { readSubscribe } from '../../src/stream/client-message.ts';
import { MessageReader } from '../../src/stream/message-reader.ts';
import { Outgoing } from '../../src/stream/outgoing.ts';
import type { ServerMessage } from '../../src/stream/protocol.ts';

/** Frames as version 0.1 of the program wrote them, kept for ever: whatever speaks version 1 of the stream must read them so. */
interface Golden {
  readonly name: string;
  /** Of the MessagePack form, hexadecimal. */
  readonly msgpack: string;
  readonly json: string;
  /** What a client must make of it. */
  readonly reads: unknown;
}

const golden = JSON.parse(readFileSync('test/stream/golden/v1.json', 'utf8')) as {
  readonly server: readonly Golden[];
  readonly client: readonly Golden[];
};
const asJson = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

for (const form of ['msgpack', 'json'] as const)
  test(`frames of version 1 are read as they were meant: ${form}`, () => {
    const reader = new MessageReader();
    for (const { name, msgpack, json, reads } of golden.server) {
      const read = form === 'msgpack' ? reader.read(Buffer.from(msgpack, 'hex'), true) : reader.read(Buffer.from(json), false);
      assert.deepEqual(asJson(read), reads, name);
    }
    for (const { name, msgpack, json, reads } of golden.client)
      assert.deepEqual(
        asJson(form === 'msgpack' ? readSubscribe(Buffer.from(msgpack, 'hex'), true) : readSubscribe(Buffer.from(json), false)),
        reads,
        name,
      );
  });

test('frames of version 1 are still written byte for byte, where nothing was added since', () => {
  for (const { name, msgpack, json } of golden.server) {
    if (name === 'hello') continue;
    const out = Outgoing.of(JSON.parse(json) as ServerMessage);
    // Rows are put together from pieces, with a count of four bytes: read and write them again to compare.
    const again = Outgoing.of(JSON.parse(new Outgoing(Buffer.from(msgpack, 'hex')).bytes('json').toString()) as ServerMessage);
    assert.deepEqual(out.bytes('msgpack'), again.bytes('msgpack'), name);
    assert.equal(new Outgoing(Buffer.from(msgpack, 'hex')).bytes('json').toString(), json, name);
  }
});

test('fields of rows keep their places: new ones come behind', () => {
  const hello = JSON.parse(golden.server.find(({ name }) => name === 'hello')!.json) as { fields: { [type: string]: string[] } };
  for (const [type, fields] of Object.entries(hello.fields))
    assert.deepEqual((rowFields as { [type: string]: readonly string[] })[type]!.slice(0, fields.length), fields, type);
});
