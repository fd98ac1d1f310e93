import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type WebSocket, WebSocketServer } from 'ws';
import { MsgpackBytes } from '../../src/output/msgpack-bytes.ts';
import { rowFields, rowOf } from '../../src/output/rows.ts';
import { MessageReader, ProtocolError, type ReadMessage } from '../../src/stream/message-reader.ts';
import { heldBytes } from '../held-bytes.ts';
import { everything } from '../output/samples.ts';
import { folder, gather } from './live.ts';
import { random } from './world.ts';

function packed(value: unknown): Buffer {
  const out = new MsgpackBytes(1024);
  out.value(value);
  return Buffer.from(out.view());
}

const hello = {
  message: 'hello',
  version: 1,
  software: 'sidetrace test',
  node: 'node-a',
  boot: 'b',
  seq: 0,
  oldest: 1,
  time: '2026-11-23T06:22:46.000000000Z',
  fields: rowFields,
  capabilities: [],
};
const batches = everything.map((record, i) => ({ message: 'records', seq: i + 1, last: i + 1, type: record.type, rows: [rowOf(record)] }));
const lost = { message: 'lost', seq: 1, last: 3, record: everything.find(({ type }) => type === 'lost') };
const status = { message: 'status', seq: 9, time: hello.time, state: 'live', sent: 1, lost: 0 };
const bye = { message: 'bye', reason: 'shutdown', sent: 1, lost: 0, totals: everything.find(({ type }) => type === 'total') };
const context = { message: 'context', type: 'flow', rows: [rowOf(everything[0]!)] };
const messages = [hello, ...batches, lost, status, bye, context];

/** Never an exception of another kind. */
function read(reader: MessageReader, bytes: Buffer, isBinary: boolean): ReadMessage | undefined {
  try {
    return reader.read(bytes, isBinary);
  } catch (error) {
    assert.ok(error instanceof ProtocolError, `${String(error)} of ${bytes.subarray(0, 200).toString('hex')}`);
    assert.match(error.message, /^[\x20-\x7e\u0080-\uffff]*$/);
    return undefined;
  }
}

test('100,000 mutated frames of a hostile daemon give messages or a protocol error, within bounds of time and memory', () => {
  const next = random(99);
  const frames = messages.flatMap((message) => [
    { bytes: packed(message), isBinary: true },
    { bytes: Buffer.from(JSON.stringify(message)), isBinary: false },
  ]);
  const greeted = (): MessageReader => {
    const reader = new MessageReader();
    assert.ok(reader.read(packed(hello), true));
    return reader;
  };
  const before = heldBytes();
  let understood = 0;
  let slowest = 0;
  let reader = greeted();
  for (let i = 0; i < 100_000; i++) {
    const { bytes: whole, isBinary } = frames[Math.floor(next() * frames.length)]!;
    const bytes = Buffer.from(next() < 0.2 ? whole.subarray(0, Math.floor(next() * whole.length)) : whole);
    for (let edits = 1 + Math.floor(next() * 4); edits > 0 && bytes.length > 0; edits--)
      bytes[Math.floor(next() * Math.min(bytes.length, next() < 0.5 ? 60 : bytes.length))] = Math.floor(next() * 256);
    if (i % 100 === 0) reader = next() < 0.1 ? new MessageReader() : greeted();
    const begun = performance.now();
    if (read(reader, bytes, isBinary) !== undefined) understood++;
    if (i > 2000) slowest = Math.max(slowest, performance.now() - begun);
  }
  assert.ok(understood > 1000 && understood < 90_000, `${understood} were understood`);
  assert.ok(slowest < 200, `the slowest took ${slowest} ms`);
  // How much V8 lets lie about before it collects differs from version to version: what is still held does not.
  const grown = (heldBytes() - before) / 1024 / 1024;
  assert.ok(grown < 32, `${grown.toFixed(1)} MiB are held afterwards`);
  assert.equal(Object.keys(Object.prototype).length, 0);
});

const lies: [what: string, bytes: Buffer | string, says: RegExp][] = [
  ['a list of 4 G elements', Buffer.from([0xdd, 0xff, 0xff, 0xff, 0xff]), /elements are wanted/],
  ['text of 4 G bytes', Buffer.from([0x81, 0xa7, ...Buffer.from('message'), 0xdb, 0xff, 0xff, 0xff, 0xff]), /at most 4194304 bytes/],
  ['a million levels', Buffer.alloc(1_000_000, 0x91), /at most 40 levels/],
  ['a million levels of JSON', '['.repeat(1_000_000), /JSON object is wanted/],
  ['20 kB of levels that are whole', `${'['.repeat(10_000)}${']'.repeat(10_000)}`, /"message" is wanted/],
  ['two values in one message', Buffer.concat([packed(hello), packed(hello)]), /one whole MessagePack value/],
  ['half a value', packed(hello).subarray(0, 50), /one whole MessagePack value/],
  [
    'another version',
    packed({ ...hello, version: 2 }),
    /version 1 of the stream is wanted, the daemon \("sidetrace test"\) speaks version 2/,
  ],
  ['records before a hello', packed(batches[0]), /a hello is wanted first/],
  ['no fields', packed({ ...hello, fields: {} }), /fields of "flow"/],
  ['a seq beyond what is exact', packed({ ...hello, seq: 2 ** 60 }), /"seq" must be/],
  ['a negative seq', packed({ ...hello, seq: -1 }), /"seq" must be/],
];

for (const [what, bytes, says] of lies)
  test(`${what}: a protocol error that says so`, () => {
    const reader = new MessageReader();
    assert.throws(
      () => reader.read(Buffer.from(bytes as string), typeof bytes !== 'string'),
      (error) => error instanceof ProtocolError && says.test(error.message),
    );
  });

const liesOfRows: [what: string, message: object, says: RegExp][] = [
  [
    'more rows than numbers',
    { ...batches[0], rows: [rowOf(everything[0]!), rowOf(everything[0]!)] },
    /rows for the records 1 to 1 are wanted, there are 2/,
  ],
  ['numbers that go back', { ...batches[0], seq: 5, last: 4 }, /rows for the records 5 to 4/],
  ['a loss that is none', { ...lost, record: { type: 'lost' } }, /a record is wanted/],
  ['a loss that is a flow', { ...lost, record: everything[0] }, /of type "lost" is wanted/],
  ['a second hello', hello, /there is a second/],
];

for (const [what, message, says] of liesOfRows)
  test(`${what}: a protocol error that says so`, () => {
    const reader = new MessageReader();
    reader.read(packed(hello), true);
    assert.throws(
      () => reader.read(packed(message), true),
      (error) => error instanceof ProtocolError && says.test(error.message),
    );
  });

test('rows that are no records are left out and told, kinds of messages that are not known are skipped, a prototype stays what it is', () => {
  const reader = new MessageReader();
  const fields = { ...rowFields, flow: [...rowFields.flow, '__proto__.polluted', 'constructor.prototype.polluted'] };
  reader.read(packed({ ...hello, fields }), true);
  const long = [...rowOf(everything[0]!)];
  while (long.length < rowFields.flow.length) long.push(null);
  long.push('yes', 'yes');
  const given = reader.read(
    packed({ message: 'records', seq: 1, last: 3, type: 'flow', rows: [rowOf(everything[0]!), [1, 2], long] }),
    true,
  );
  assert.ok(given?.message === 'records');
  assert.equal(given.problems.length, 1);
  assert.equal(given.records.length, 2);
  assert.equal(({} as { polluted?: string }).polluted, undefined);
  assert.equal(reader.read(packed({ message: 'weather', rain: true }), true), undefined);
  const strange = reader.read(packed({ message: 'records', seq: 1, last: 1, type: 'packet', rows: [[1]] }), true);
  assert.ok(strange?.message === 'records' && strange.records.length === 0 && strange.problems.length === 1);
});

/** A daemon that does what a function says. */
async function daemon(t: TestContext, act: (socket: WebSocket) => void): Promise<string> {
  const path = join(folder(t), 'daemon.sock');
  const http = createServer();
  const server = new WebSocketServer({ server: http, perMessageDeflate: false });
  server.on('connection', (socket) => {
    socket.on('error', () => {});
    act(socket);
  });
  await new Promise<void>((resolve) => http.listen(path, resolve));
  t.after(() => {
    for (const socket of server.clients) socket.terminate();
    http.close();
  });
  return path;
}

const acts: [what: string, act: (socket: WebSocket) => void, says: RegExp][] = [
  ['sends a message of 64 MiB', (socket) => socket.send(Buffer.alloc(64 * 1024 * 1024)), /Cannot understand|has ended/],
  ['sends nonsense', (socket) => socket.send(Buffer.from([0xc1])), /Cannot understand what unix:.* sends/],
  ['closes with nonsense', (socket) => socket.close(4400, 'no'), /has ended: no/],
  ['says that it may not', (socket) => socket.close(4403, 'revoked'), /has ended: revoked/],
];

for (const [what, act, says] of acts)
  test(`a daemon that ${what}: the client says so and goes on with nothing`, async (t) => {
    const path = await daemon(t, act);
    const before = process.memoryUsage.rss();
    const got = gather(t, path, {}, { reconnect: false });
    await assert.rejects(got.end, says);
    assert.ok(process.memoryUsage.rss() - before < 160 * 1024 * 1024);
  });

test('a daemon that says nothing any more: the connection is given up and opened again', async (t) => {
  let connections = 0;
  const path = await daemon(t, (socket) => {
    connections++;
    socket.send(packed(hello));
  });
  const got = gather(t, path, {}, { silenceMs: 100, backOffMs: [1, 5] });
  await got.until(() => connections >= 3, 'the third connection');
});

test('a daemon whose numbers jump: the client counts what nobody accounts for', async (t) => {
  const path = await daemon(t, (socket) => {
    socket.send(packed(hello));
    socket.once('message', () => {
      socket.send(packed({ ...batches[0], seq: 1, last: 1 }));
      socket.send(packed({ ...batches[0], seq: 1, last: 1 }));
      socket.send(packed({ ...batches[0], seq: 6, last: 6 }));
    });
  });
  const got = gather(t, path, {});
  await got.until(({ records }) => records.length === 2);
  assert.deepEqual(
    got.lost.map(({ source, count, exact }) => [source, count, exact]),
    [['gap', 4, true]],
  );
});
