import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { encodeProbeRequest, ProbeProtocolError, type ProbeReply, ProbeReplyReader, walkFrames } from '../../src/source/probe-protocol.ts';

function reply(type: number, id: number, payload: Uint8Array | number[]): Buffer {
  const bytes = Buffer.alloc(12 + payload.length);
  bytes.writeUInt32LE(payload.length, 0);
  bytes.writeUInt16LE(type, 4);
  bytes.writeUInt32LE(id, 8);
  bytes.set(payload, 12);
  return bytes;
}

const end = [...[1, 0, 0, 0, 0, 0, 0, 0], ...[3, 0], ...Buffer.from('why')];
const gone = [7, 0, 0, 0, 0, 0, 0, 0x80];

test('a capture request is the bytes that docs/probe.md describes', () => {
  const bytes = encodeProbeRequest({
    type: 'capture',
    id: 5,
    cookie: 0x0102030405060708n,
    snapLength: 256,
    ringBytes: 1 << 20,
    filter: 'tcp',
  });
  assert.equal(
    Buffer.from(bytes).toString('hex'),
    '15000000040000000500000008070605040302010001000000001000030074 63 70'.replaceAll(' ', ''),
  );
});

test('replies come out whole and in order however the socket cuts them', () => {
  const stream = Buffer.concat([reply(0x84, 1, []), reply(0x83, 1, gone), reply(0x8b, 9, Buffer.alloc(5000, 1)), reply(0x8c, 1, end)]);
  const wanted: ProbeReply[] = [
    { type: 'ready', id: 1 },
    { type: 'gone', id: 1, cookie: 0x8000000000000007n },
    { type: 'data', id: 9, bytes: new Uint8Array(Buffer.alloc(5000, 1)) },
    { type: 'end', id: 1, code: 'closed', errno: 0, text: 'why' },
  ];
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: stream.length }), { maxLength: 20 }), (cuts) => {
      const reader = new ProbeReplyReader();
      const found: ProbeReply[] = [];
      let from = 0;
      for (const cut of [...cuts.sort((a, b) => a - b), stream.length]) {
        found.push(...reader.push(new Uint8Array(stream.subarray(from, cut))));
        from = cut;
      }
      assert.deepEqual(
        found.map((one) => (one.type === 'data' ? { ...one, bytes: new Uint8Array(one.bytes) } : one)),
        wanted,
      );
    }),
    { seed: 7, numRuns: 300 },
  );
});

for (const [what, bytes] of [
  ['a length beyond 1 MiB', Buffer.from('010010008c00000001000000', 'hex')],
  ['an unknown type', reply(0x99, 1, [])],
  ['a payload cut short', reply(0x83, 1, gone.slice(1))],
  ['a payload too long', reply(0x84, 1, [0])],
  ['text past the end', reply(0x8d, 0, [9, 0, 65])],
  ['an unknown end code', reply(0x8c, 1, [99, ...end.slice(1)])],
] as const) {
  test(`a reply with ${what} is a ProbeProtocolError`, () => {
    assert.throws(() => new ProbeReplyReader().push(bytes), ProbeProtocolError);
  });
}

test('any bytes give replies or a ProbeProtocolError, nothing else', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(0x81, 0x82, 0x83, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8b, 0x8c, 0x8d),
      fc.uint8Array({ maxLength: 80 }),
      (type, payload) => {
        try {
          for (const one of new ProbeReplyReader().push(reply(type, 1, payload)))
            if (one.type === 'frames') walkFrames(one.bytes, () => {});
        } catch (error) {
          assert.ok(error instanceof ProbeProtocolError);
        }
      },
    ),
    { seed: 8, numRuns: 2000 },
  );
});

test('frames are walked by their captured lengths; one that runs past the end is a ProbeProtocolError', () => {
  const frame = (captured: number, body: number) => {
    const bytes = Buffer.alloc(16 + body);
    for (const [at, value] of [1700000000, 5, captured, 1500].entries()) bytes.writeUInt32LE(value, at * 4);
    return bytes;
  };
  const seen: number[][] = [];
  walkFrames(Buffer.concat([frame(3, 3), frame(0, 0), frame(7, 7)]), (one) =>
    seen.push([one.seconds, one.nanoseconds, one.capturedLength, one.wireLength, one.offset]),
  );
  assert.deepEqual(seen, [
    [1700000000, 5, 3, 1500, 16],
    [1700000000, 5, 0, 1500, 35],
    [1700000000, 5, 7, 1500, 51],
  ]);
  assert.throws(() => walkFrames(frame(4, 3), () => {}), ProbeProtocolError);
  assert.throws(() => walkFrames(frame(0, 0).subarray(0, 15), () => {}), ProbeProtocolError);
});

test('what does not fit its field is a RangeError, not another request', () => {
  assert.throws(() => encodeProbeRequest({ type: 'tunnel', id: 1, cookie: 1n, port: 70_000 }), RangeError);
  assert.throws(() => encodeProbeRequest({ type: 'list', id: -1 }), RangeError);
  assert.throws(() => encodeProbeRequest({ type: 'data', id: 1, bytes: new Uint8Array(8193) }), RangeError);
  assert.throws(
    () => encodeProbeRequest({ type: 'capture', id: 1, cookie: 1n, snapLength: 256, ringBytes: 1 << 20, filter: 'port €' }),
    RangeError,
  );
});
