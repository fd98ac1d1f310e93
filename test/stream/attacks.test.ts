import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { TokenFileAuthenticator } from '../../src/stream/token-file.ts';
import { folder, gather, isLive, numberedMany, running } from './live.ts';

const UPGRADE =
  'GET /v1/stream HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';

/** A frame as a client must send it. */
function frame(opcode: number, payload: Buffer, fin = true): Buffer {
  const mask = Buffer.from([7, 3, 9, 1]);
  const body = Buffer.from(payload.map((byte, i) => byte ^ mask[i % 4]!));
  const length = body.length < 126 ? Buffer.from([0x80 | body.length]) : Buffer.from([0xfe, body.length >> 8, body.length & 255]);
  return Buffer.concat([Buffer.from([(fin ? 0x80 : 0) | opcode]), length, mask, body]);
}

interface Wire {
  readonly socket: Socket;
  readonly text: () => string;
  /** Close code that the server sent, if any, once the connection has gone. */
  readonly closed: Promise<number | undefined>;
}

function wire(t: TestContext, path: string): Wire {
  const socket = connect({ path });
  t.after(() => socket.destroy());
  const chunks: Buffer[] = [];
  socket.on('error', () => {});
  socket.on('data', (data: Buffer) => chunks.push(data));
  const all = (): Buffer => Buffer.concat(chunks);
  const closed = new Promise<number | undefined>((resolve) => {
    socket.on('close', () => {
      // The close frame is the last thing: 0x88, its length, the code.
      const bytes = all();
      for (let at = bytes.length - 4; at >= 0 && at > bytes.length - 130; at--)
        if (bytes[at] === 0x88 && bytes[at + 1] === bytes.length - at - 2) return resolve(bytes.readUInt16BE(at + 2));
      resolve(undefined);
    });
  });
  return { socket, text: () => all().toString('latin1'), closed };
}

/** Writes again and again until the other end has had enough. */
function again(socket: Socket, ms: number, make: () => Buffer): void {
  const timer = setInterval(() => {
    if (socket.writable && socket.writableLength < 1e6) socket.write(make());
  }, ms);
  socket.on('close', () => clearInterval(timer));
}

const opened = async ({ socket, text }: Wire): Promise<void> => {
  socket.write(UPGRADE);
  while (!text().includes('hello')) await new Promise((resolve) => setTimeout(resolve, 2));
};

/** The other end sees the end of a connection a moment later. */
async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 200 && !condition(); i++) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.ok(condition());
}

const attacks: [what: string, act: (wire: Wire) => void, codes: readonly (number | undefined)[]][] = [
  [
    'fragments of one byte',
    ({ socket }) => {
      socket.write(frame(1, Buffer.from('{'), false));
      again(socket, 1, () => frame(0, Buffer.from(' '), false));
    },
    [1008],
  ],
  [
    'endless empty fragments',
    ({ socket }) => {
      socket.write(frame(1, Buffer.alloc(0), false));
      again(socket, 1, () => Buffer.concat(Array.from({ length: 1000 }, () => frame(0, Buffer.alloc(0), false))));
    },
    [1008],
  ],
  [
    'a frame that claims 100 MiB',
    ({ socket }) => void socket.write(Buffer.from([0x82, 0xff, 0, 0, 0, 0, 0x06, 0x40, 0, 0, 1, 2, 3, 4])),
    [1009],
  ],
  [
    'a frame that claims 2^63 bytes',
    ({ socket }) => void socket.write(Buffer.from([0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4])),
    [1009],
  ],
  ['a frame without a mask', ({ socket }) => void socket.write(Buffer.from([0x81, 2, 0x7b, 0x7d])), [1002]],
  [
    'reserved bits: a compressed frame that nobody agreed on',
    ({ socket }) => void socket.write(Buffer.from([0xc1, 0x82, 0, 0, 0, 0, 0x7b, 0x7d])),
    [1002],
  ],
  ['an opcode that is none', ({ socket }) => void socket.write(frame(5, Buffer.alloc(2))), [1002]],
  ['text that is no UTF-8', ({ socket }) => void socket.write(frame(1, Buffer.from([0xff, 0xfe]))), [1007]],
  [
    'ten thousand pings a second',
    ({ socket }) => again(socket, 1, () => Buffer.concat(Array.from({ length: 10 }, () => frame(9, Buffer.alloc(100))))),
    [1008],
  ],
  [
    'ten thousand pongs a second',
    ({ socket }) => again(socket, 1, () => Buffer.concat(Array.from({ length: 10 }, () => frame(10, Buffer.alloc(100))))),
    [1008],
  ],
  [
    'pings that are never read',
    ({ socket }) => {
      socket.pause();
      again(socket, 1, () => frame(9, Buffer.alloc(125)));
      setTimeout(() => socket.resume(), 700);
    },
    [1008],
  ],
  [
    'a byte every now and then',
    ({ socket }) => {
      const bytes = frame(1, Buffer.from('{"message":"subscribe","types":["flow"]}'.padEnd(120)));
      let at = 0;
      again(socket, 20, () => bytes.subarray(at, ++at));
    },
    [4408, 1008],
  ],
  ['no subscribe at all', () => {}, [4408]],
  ['a subscribe of rubbish', ({ socket }) => void socket.write(frame(2, Buffer.from([0xc1]))), [4400]],
  [
    'a subscribe and another',
    ({ socket }) =>
      void socket.write(
        Buffer.concat([frame(1, Buffer.from('{"message":"subscribe"}')), frame(1, Buffer.from('{"message":"subscribe"}'))]),
      ),
    [1008],
  ],
  [
    'resume and last at once',
    ({ socket }) => void socket.write(frame(1, Buffer.from('{"message":"subscribe","last":1,"resume":{"boot":"x","seq":0}}'))),
    [4400],
  ],
  ['a close with a code that is none', ({ socket }) => void socket.write(frame(8, Buffer.from([0, 5]))), [1002]],
];

test('attacks after the handshake: each is closed with its code, a subscriber beside them loses nothing, memory stays', async (t) => {
  const { server, path } = await running(t, { subscribeMs: 1500, limits: { perUser: 100 } }, false);
  const healthy = gather(t, path);
  await healthy.until(isLive);
  const before = process.memoryUsage.rss();
  let published = 0;
  const publishing = setInterval(() => {
    server.publish(numberedMany(20));
    published += 20;
  }, 10);
  t.after(() => clearInterval(publishing));
  const outcomes = await Promise.all(
    attacks.map(async ([what, act, codes]) => {
      const one = wire(t, path);
      await opened(one);
      act(one);
      const code = await Promise.race([one.closed, new Promise<'open'>((resolve) => setTimeout(() => resolve('open'), 8000))]);
      return { what, code, codes };
    }),
  );
  clearInterval(publishing);
  for (const { what, code, codes } of outcomes)
    assert.ok((codes as unknown[]).includes(code), `${what}: closed with ${code}, wanted ${codes}`);
  await healthy.until(({ records }) => records.length === published);
  assert.deepEqual(healthy.lost, []);
  const grown = (process.memoryUsage.rss() - before) / 1024 / 1024;
  assert.ok(grown < 128, `RSS grew by ${grown} MiB`);
});

test('slow and half requests are answered with 408 and cut off, and no more of them wait than may', async (t) => {
  const { path, server } = await running(t, { handshakeMs: 600, limits: { unauthenticated: 8 } }, false);
  const slow = wire(t, path);
  let at = 0;
  again(slow.socket, 15, () => Buffer.from(UPGRADE).subarray(at, ++at % 60));
  const silent = wire(t, path);
  const half = wire(t, path);
  half.socket.write('GET /v1/stream HTTP/1.1\r\nHost: localhost\r\n');
  const begun = performance.now();
  await Promise.all([slow.closed, silent.closed, half.closed]);
  assert.ok(performance.now() - begun < 3000);
  assert.match(slow.text(), /^HTTP\/1.1 408 .*"slow-request"/s);
  assert.match(half.text(), /^HTTP\/1.1 408 /);
  // A flood: the oldest are turned away, and who asks properly is served all the time.
  const flood = Array.from({ length: 200 }, () => wire(t, path));
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.ok(server.state.unauthenticated <= 32);
  const got = gather(t, path);
  await got.until(isLive);
  await Promise.all(flood.map(({ closed }) => closed));
  assert.match(flood[0]!.text(), /^HTTP\/1.1 503 [\s\S]*retry-after: 1[\s\S]*too-many-waiting/);
  await until(() => server.state.unauthenticated === 0);
});

test('one user has so many connections and no more, all together so many and no more', async (t) => {
  const tokens = join(folder(t), 'tokens');
  const [one, two] = ['first-token-of-the-test-0123456789', 'second-token-of-the-test-012345678'];
  writeFileSync(tokens, `one ${one}\ntwo ${two}\n`);
  const { server, port, path } = await running(t, {
    limits: { perUser: 3, connections: 5 },
    authenticators: [new TokenFileAuthenticator(tokens)],
  });
  const all = [1, 2, 3].map(() => gather(t, port, {}, { token: one }));
  await Promise.all(all.map((got) => got.until(isLive)));
  await assert.rejects(gather(t, port, {}, { token: one }).end, /429 Cannot let "one" in once more/);
  await gather(t, port, {}, { token: two }).until(isLive);
  await gather(t, path).until(isLive);
  await assert.rejects(gather(t, path).end, /503 Cannot let more in/);
  await assert.rejects(gather(t, port, {}, { token: two }).end, /503 Cannot let more in/);
  assert.equal(server.state.connections, 5);
  all[0]!.client.close();
  await all[0]!.end;
  await until(() => server.state.connections === 4);
  // Nobody knows how many people are behind a Unix socket.
  await gather(t, path).until(isLive);
});

test('a peer that is dead is let go after two pings that it does not answer', async (t) => {
  const { path, server } = await running(t, { pingMs: 60 }, false);
  const dead = wire(t, path);
  await opened(dead);
  dead.socket.write(frame(1, Buffer.from('{"message":"subscribe"}')));
  // Pings come, no pong goes back: this is no WebSocket client.
  assert.equal(await dead.closed, undefined);
  await until(() => server.state.connections === 0);
  const alive = gather(t, path);
  await alive.until(isLive);
  await new Promise((resolve) => setTimeout(resolve, 400));
  assert.equal(server.state.subscribers, 1);
});

test('deflate is never agreed on', async (t) => {
  const { path } = await running(t, {}, false);
  const one = wire(t, path);
  one.socket.write(UPGRADE.replace('\r\n\r\n', '\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n'));
  while (!one.text().includes('hello')) await new Promise((resolve) => setTimeout(resolve, 2));
  assert.doesNotMatch(one.text().split('\r\n\r\n')[0]!, /extensions/i);
  one.socket.destroy();
});
