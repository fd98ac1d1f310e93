import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  build,
  introduce,
  ip,
  makeNamespace,
  makePair,
  needsRoot,
  removeNamespace,
  removeNamespaces,
  sendDatagrams,
  startSender,
} from './namespaces.ts';
import { ProbeClient, startProbe, stopProbes } from './probe-client.ts';

const rounds = Number(process.env.SIDETRACE_PROBE_ROUNDS ?? 3);
let program: string;
let client: ProbeClient;

before(async () => {
  if (needsRoot.skip !== false) return;
  program = build('plain');
  client = await ProbeClient.connect(await startProbe(program));
});

after(async () => {
  if (needsRoot.skip !== false) return;
  removeNamespaces();
  client.close();
  await stopProbes();
});

/** Closes a capture and gives its last counters. */
async function close(id: number) {
  client.send({ type: 'close', id });
  assert.equal((await client.reply('end', id)).code, 'closed');
  const stats = client.of(id).findLast((reply) => reply.type === 'stats');
  assert.ok(stats?.type === 'stats');
  return stats;
}

test('a capture hands out every datagram sent over lo, once, with its length and number', needsRoot, async () => {
  const name = makeNamespace();
  const id = await client.capture(await client.cookie(name), { filter: 'udp dst port 9' });
  const seen: number[] = [];
  client.onFrame = (_id, bytes, wireLength) => {
    assert.equal(wireLength, 20 + 20 + 8 + 64);
    assert.equal(bytes[0], 0x08, 'the protocol of SLL2 is IPv4');
    seen.push(new DataView(bytes.buffer, bytes.byteOffset).getUint32(20 + 20 + 8 + 4));
  };
  await sendDatagrams(name, { address: '127.0.0.1', port: 9, count: 5000 });
  const stats = await close(id);
  client.onFrame = undefined;
  assert.deepEqual(stats, { type: 'stats', id, seen: 5000, dropped: 0, delivered: 5000, waiting: 0 });
  assert.deepEqual(seen, [...Array(5000).keys()]);
  removeNamespace(name);
});

test('a capture sees both sides of a pair, and counts each frame once there', needsRoot, async () => {
  const { near, far } = makePair();
  const sender = await client.capture(await client.cookie(near), { filter: 'udp dst port 9' });
  const receiver = await client.capture(await client.cookie(far), { filter: 'udp dst port 9' });
  await sendDatagrams(near, { address: '10.77.0.2', port: 9, count: 3000 });
  for (const id of [sender, receiver])
    assert.deepEqual(await close(id), { type: 'stats', id, seen: 3000, dropped: 0, delivered: 3000, waiting: 0 });
  removeNamespace(near);
  removeNamespace(far);
});

for (const [where, address] of [
  ['lo', '127.0.0.1'],
  ['a pair', '10.77.0.2'],
] as const) {
  test(
    `a flood on ${where} that overruns a small ring is lost in the kernel and counted exactly: sent = seen + lost`,
    needsRoot,
    async () => {
      const { near, far } = makePair();
      for (let round = 0; round < rounds; round++) {
        const id = await client.capture(await client.cookie(near), {
          filter: 'udp dst port 9',
          ringBytes: 512 * 1024,
          snapLength: 262_144,
        });
        // A reader that does not read: the socket congests, the probe leaves the frames in the ring.
        client.socket.pause();
        await sendDatagrams(near, { address, port: 9, count: 40_000, size: 1400 });
        client.socket.resume();
        const stats = await close(id);
        assert.equal(stats.seen, 40_000);
        assert.equal(stats.delivered + stats.dropped, 40_000);
        assert.equal(stats.waiting, 0);
        assert.equal(client.frames.get(id), stats.delivered);
        assert.ok(stats.dropped > 0, 'the flood was meant to overrun the ring');
      }
      removeNamespace(near);
      removeNamespace(far);
    },
  );
}

test('a capture opened under load balances from its first frame', needsRoot, async () => {
  const { near, far } = makePair();
  const sender = startSender(near, { address: '10.77.0.2', port: 9, count: 0 });
  await once(sender.stdout as NodeJS.ReadableStream, 'data');
  const cookie = await client.cookie(near);
  for (let round = 0; round < rounds; round++) {
    const numbers: number[] = [];
    client.onFrame = (_id, bytes) => numbers.push(new DataView(bytes.buffer, bytes.byteOffset).getUint32(20 + 20 + 8 + 4));
    const id = await client.capture(cookie, { filter: 'udp dst port 9', ringBytes: 16 * 1024 * 1024 });
    await sleep(100);
    // On a busy machine the sender may have rested all that time.
    for (let i = 0; i < 100 && numbers.length === 0; i++) await sleep(50);
    const stats = await close(id);
    client.onFrame = undefined;
    assert.ok(numbers.length > 0, 'the sender sends on');
    assert.equal(stats.seen, stats.delivered + stats.dropped);
    assert.equal(stats.delivered, numbers.length);
    const missing = (numbers.at(-1) as number) - (numbers[0] as number) + 1 - numbers.length;
    assert.ok(
      missing >= 0 && missing <= stats.dropped,
      `between the first and the last ${missing} numbers are missing, ${stats.dropped} were dropped`,
    );
  }
  sender.kill('SIGKILL');
  await once(sender, 'exit');
  removeNamespace(near);
  removeNamespace(far);
});

test('a namespace deleted right after its traffic still gives every datagram, then says that it is gone', needsRoot, async () => {
  for (let round = 0; round < rounds; round++) {
    const { near, far } = makePair();
    const id = await client.capture(await client.cookie(near), { filter: 'udp dst port 9' });
    await sendDatagrams(near, { address: '10.77.0.2', port: 9, count: 500 });
    ip('-n', near, 'link', 'del', 'eth0');
    removeNamespace(near);
    const end = await client.reply('end', id);
    assert.equal(end.code, 'gone');
    assert.equal(client.frames.get(id), 500);
    removeNamespace(far);
  }
});

test('an interface that goes down and up again, and one that comes later, are captured', needsRoot, async () => {
  const { near, far } = makePair();
  const id = await client.capture(await client.cookie(near), { filter: 'udp dst port 9' });
  await sendDatagrams(near, { address: '10.77.0.2', port: 9, count: 100 });
  ip('-n', near, 'link', 'set', 'eth0', 'down');
  ip('-n', near, 'link', 'set', 'eth0', 'up');
  introduce(near, far);
  await sendDatagrams(near, { address: '10.77.0.2', port: 9, count: 100 });
  ip('-n', near, 'link', 'add', 'later', 'type', 'veth', 'peer', 'name', 'beyond');
  ip('-n', near, 'link', 'set', 'beyond', 'up');
  ip('-n', near, 'address', 'add', '10.78.0.1/24', 'dev', 'later');
  ip('-n', near, 'link', 'set', 'later', 'up');
  ip('-n', near, 'neighbour', 'replace', '10.78.0.2', 'lladdr', '02:00:00:00:00:02', 'dev', 'later');
  await sendDatagrams(near, { address: '10.78.0.2', port: 9, count: 100 });
  assert.equal((await close(id)).delivered, 400, 'the last hundred are seen at both ends of their pair');
  removeNamespace(near);
  removeNamespace(far);
});

test('SIGTERM under load hands out all that the kernel had taken, with balanced counters, and ends within 5 s', needsRoot, async () => {
  for (let round = 0; round < rounds; round++) {
    const own = await startProbe(program);
    const reader = await ProbeClient.connect(own);
    const name = makeNamespace();
    const id = await reader.capture(await reader.cookie(name), { filter: 'udp dst port 9', ringBytes: 8 * 1024 * 1024 });
    const numbers: number[] = [];
    reader.onFrame = (_id, bytes) => numbers.push(new DataView(bytes.buffer, bytes.byteOffset).getUint32(20 + 20 + 8 + 4));
    const sender = startSender(name, { address: '127.0.0.1', port: 9, count: 0 });
    let reported = 0;
    createInterface(sender.stdout as NodeJS.ReadableStream).on('line', (line) => {
      reported = Number(line);
    });
    while (reported < 2000 * (round + 1)) await sleep(1);
    const sentAtSignal = reported;
    const begun = Date.now();
    own.process.kill('SIGTERM');
    const end = await reader.reply('end', id);
    assert.equal(end.code, 'shutdown');
    await reader.reply('bye', 0);
    assert.equal(await own.stop(), 0);
    assert.ok(Date.now() - begun < 5000);
    const stats = reader.of(id).findLast((reply) => reply.type === 'stats');
    assert.ok(stats?.type === 'stats');
    assert.equal(stats.seen, stats.delivered + stats.dropped);
    assert.equal(stats.delivered, numbers.length);
    assert.ok(stats.seen >= sentAtSignal, `${sentAtSignal} were sent before the signal, ${stats.seen} seen`);
    if (stats.dropped === 0) assert.equal((numbers.at(-1) as number) + 1, stats.seen);
    sender.kill('SIGKILL');
    await once(sender, 'exit');
    reader.close();
    removeNamespace(name);
  }
});

test('a filter that does not compile, or would ask a name server, is refused with the reason', needsRoot, async () => {
  const name = makeNamespace();
  const cookie = await client.cookie(name);
  for (const [filter, reason] of [
    ['udp and and', /syntax error/],
    ['host no-such-name.example', /cannot compile the filter/],
  ] as const) {
    const id = client.newId();
    client.send({ type: 'capture', id, cookie, snapLength: 256, ringBytes: 1024 * 1024, filter });
    const end = await client.reply('end', id);
    assert.equal(end.code, 'refused');
    assert.match(end.text, reason);
  }
  removeNamespace(name);
});

test('rings beyond the budget are refused, and closing one gives its share back', needsRoot, async () => {
  const own = await startProbe(program, '--ring-budget', '4');
  const peer = await ProbeClient.connect(own);
  const name = makeNamespace();
  const cookie = await peer.cookie(name);
  const first = await peer.capture(cookie, { ringBytes: 3 * 1024 * 1024 });
  const second = peer.newId();
  peer.send({ type: 'capture', id: second, cookie, snapLength: 256, ringBytes: 2 * 1024 * 1024, filter: '' });
  const refused = await peer.reply('end', second);
  assert.equal(refused.code, 'refused');
  assert.match(refused.text, /at most 4194304/);
  peer.send({ type: 'close', id: first });
  await peer.reply('end', first);
  await peer.capture(cookie, { ringBytes: 2 * 1024 * 1024 });
  peer.close();
  await own.stop();
  removeNamespace(name);
});
