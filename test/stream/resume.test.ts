import assert from 'node:assert/strict';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import type { FlowRecord } from '../../src/record/record.ts';
import type { Subscription } from '../../src/stream/protocol.ts';
import { flowOf } from '../output/samples.ts';
import { gather, isLive, running } from './live.ts';
import { random } from './world.ts';

/** Passes bytes to the daemon, and cuts each connection after a random time, in the middle of whatever it is in. */
async function cutter(t: TestContext, to: string, next: () => number): Promise<{ port: number; calm(): void; cuts(): number }> {
  const open = new Set<Socket>();
  let cuts = 0;
  let isCalm = false;
  const server = createServer((socket) => {
    const daemon = connect({ path: to });
    for (const one of [socket, daemon]) {
      open.add(one);
      one.on('error', () => {});
      one.on('close', () => {
        socket.destroy();
        daemon.destroy();
        open.delete(one);
      });
    }
    socket.pipe(daemon);
    daemon.pipe(socket);
    if (!isCalm)
      setTimeout(
        () => {
          if (isCalm) return;
          cuts++;
          socket.destroy();
          daemon.destroy();
        },
        2 + next() * 40,
      );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.close();
    for (const one of open) one.destroy();
  });
  const calm = (): void => {
    isCalm = true;
  };
  return { port: (server.address() as AddressInfo).port, calm, cuts: () => cuts };
}

const numberOf = (record: FlowRecord): number => record.source.port! * 60_000 + record.destination.port!;
const recordOf = (n: number): FlowRecord =>
  flowOf({
    id: n.toString(16).padStart(16, '0'),
    source: { ip: '10.0.0.1', port: Math.floor(n / 60_000) },
    destination: { ip: '192.0.2.9', port: n % 60_000 },
  });

const ways: [what: string, ringBytes: number, subscription: Subscription, passes: (n: number) => boolean][] = [
  ['nothing is lost while the ring holds it', 64 * 1024 * 1024, {}, () => true],
  [
    'with a filter nothing is lost while the ring holds it',
    64 * 1024 * 1024,
    { filter: [{ name: 'to-port', value: '0-20000' }] },
    (n) => n % 60_000 <= 20_000,
  ],
  [
    'with a filter that waits nothing is lost, either',
    64 * 1024 * 1024,
    {
      filter: [
        { name: 'to-port', value: '0-20000' },
        { name: 'http-status', value: '200', negated: true },
      ],
    },
    (n) => n % 60_000 <= 20_000,
  ],
  ['what the ring let go is counted to the record', 256 * 1024, {}, () => true],
];

for (const [what, ringBytes, subscription, passes] of ways)
  for (const seed of [1, 2])
    test(`a connection that breaks again and again: ${what} (${seed})`, async (t) => {
      const next = random(seed);
      const { server, path } = await running(t, { ringBytes, holdMs: 50 });
      const way = await cutter(t, path, next);
      const got = gather(t, way.port, subscription, { backOffMs: [1, ringBytes < 1e6 ? 80 : 20], persistent: true });
      await got.until(({ client }) => client.position !== undefined);
      const count = 20_000;
      for (let n = 0; n < count; ) {
        const piece = Math.min(count - n, 1 + Math.floor(next() * 150));
        server.publish(Array.from({ length: piece }, (_, i) => recordOf(n + i)));
        n += piece;
        if (next() < 0.5) await new Promise((resolve) => setTimeout(resolve, next() * 12));
      }
      way.calm();
      await got.until(({ client }) => client.position!.seq === count, 'the last record');
      await got.until(isLive);
      const numbers = got.records.map((record) => numberOf(record as FlowRecord));
      assert.deepEqual(
        numbers,
        [...new Set(numbers)].sort((a, b) => a - b),
        'each once, in order',
      );
      assert.ok(numbers.every(passes));
      const lost = got.lost.reduce((sum, record) => sum + record.count, 0);
      assert.ok(
        got.lost.every(({ source, exact }) => source === 'gap' && exact),
        JSON.stringify(got.lost.slice(0, 3)),
      );
      const wanted = Array.from({ length: count }, (_, n) => n).filter(passes).length;
      assert.equal(numbers.length + lost, wanted);
      if (ringBytes > 1e6) assert.equal(lost, 0);
      else assert.ok(lost > 0, 'the ring was meant to be too small');
      assert.ok(way.cuts() > 10, `${way.cuts()} cuts`);
    });

test('a daemon that was started anew: the gap is told, and that its size is not known', async (t) => {
  const first = await running(t, { boot: 'first' });
  const second = await running(t, { boot: 'second' });
  let to = first.path;
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    const daemon = connect({ path: to });
    socket.pipe(daemon).on('error', () => {});
    daemon.pipe(socket).on('error', () => {});
    socket.on('close', () => daemon.destroy());
    open.add(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const got = gather(t, (server.address() as AddressInfo).port, {}, { backOffMs: [1, 10] });
  await got.until(isLive);
  first.server.publish([1, 2, 3].map(recordOf));
  await got.until(({ records }) => records.length === 3);
  second.server.publish([4, 5].map(recordOf));
  to = second.path;
  for (const socket of open) socket.destroy();
  await got.until(({ records }) => records.length === 5);
  assert.deepEqual(
    got.lost.map(({ source, exact, count }) => [source, exact, count]),
    [['gap', false, 0]],
  );
  assert.deepEqual(got.client.position, { boot: 'second', seq: 2 });
});
