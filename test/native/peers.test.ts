import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { encodeProbeRequest } from '../../src/source/probe-protocol.ts';
import { build, makeNamespace, needsRoot, removeNamespace, removeNamespaces, sendDatagrams } from './namespaces.ts';
import { ProbeClient, probeEnvironment, startProbe, stopProbes } from './probe-client.ts';

/** `SIDETRACE_PROBE_FUZZ=1000000` for the long run; above 20,000 it is done on the build with sanitizers. */
const messages = Number(process.env.SIDETRACE_PROBE_FUZZ ?? 20_000);

after(async () => {
  removeNamespaces();
  await stopProbes();
});

/** mulberry32: the same numbers for the same seed. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

test('nonsense cuts the peer off with the reason, and nobody else', needsRoot, async () => {
  const probe = await startProbe(build('plain'));
  const bystander = await ProbeClient.connect(probe);
  const hello = encodeProbeRequest({ type: 'hello' });
  const message = (length: number, type: number, zero: number, id: number, payload: number[] = []) => {
    const bytes = Buffer.alloc(12 + payload.length);
    bytes.writeUInt32LE(length, 0);
    bytes.writeUInt16LE(type, 4);
    bytes.writeUInt16LE(zero, 6);
    bytes.writeUInt32LE(id, 8);
    bytes.set(payload, 12);
    return bytes;
  };
  const wrongVersion = Buffer.from(hello);
  wrongVersion.writeUInt16LE(2, 20);
  for (const [what, bytes] of [
    ['no hello', encodeProbeRequest({ type: 'list', id: 1 })],
    ['another version', wrongVersion],
    ['hello twice', Buffer.concat([hello, hello])],
    ['an unknown type', Buffer.concat([hello, message(0, 99, 0, 1)])],
    ['a huge length', Buffer.concat([hello, message(0xffffffff, 2, 0, 1)])],
    ['a header field that must be 0', Buffer.concat([hello, message(0, 2, 1, 1)])],
    ['id 0', Buffer.concat([hello, message(0, 2, 0, 0)])],
    ['an id that is in use', Buffer.concat([hello, message(0, 3, 0, 7), message(0, 3, 0, 7)])],
    ['a payload that is short', Buffer.concat([hello, message(3, 4, 0, 1, [1, 2, 3])])],
    ['a payload that is long', Buffer.concat([hello, message(1, 2, 0, 1, [0])])],
    [
      'a tool that is not there',
      Buffer.concat([hello, encodeProbeRequest({ type: 'tool', id: 1, cookie: 1n, tool: 'ip-rule' }).fill(200, 20)]),
    ],
    [
      'a snapshot length of 0',
      Buffer.concat([hello, encodeProbeRequest({ type: 'capture', id: 1, cookie: 1n, snapLength: 0, ringBytes: 1 << 20, filter: '' })]),
    ],
    [
      'a filter with a control character',
      Buffer.concat([
        hello,
        encodeProbeRequest({ type: 'capture', id: 1, cookie: 1n, snapLength: 256, ringBytes: 1 << 20, filter: 'udp\n' }),
      ]),
    ],
  ] as const) {
    const peer = await ProbeClient.connect(probe, false);
    peer.socket.write(bytes);
    const bye = await peer.reply('bye', 0);
    assert.ok(bye.text.length > 0, what);
    await peer.ended();
  }
  const id = bystander.newId();
  bystander.send({ type: 'list', id });
  assert.equal((await bystander.reply('end', id)).code, 'done');
  bystander.close();
  assert.equal(await probe.stop(), 0);
});

test('a peer that never says hello is cut off after 5 s', needsRoot, async () => {
  const probe = await startProbe(build('plain'));
  const peer = await ProbeClient.connect(probe, false);
  const begun = performance.now();
  await peer.reply('bye', 0);
  assert.ok(performance.now() - begun > 4000);
  peer.close();
  await probe.stop();
});

test('a user who is not allowed is refused before a byte is read; one who is named may ask', needsRoot, async () => {
  const script = `const s = require('node:net').connect(process.argv[1]); s.on('error', () => {}); s.write(Buffer.from(process.argv[2], 'hex')); let n = 0; s.on('data', (d) => { n += d.length; s.end(); }); s.on('close', () => { console.log(n); });`;
  const asUser = (socketPath: string) =>
    spawnSync(process.execPath, ['-e', script, socketPath, Buffer.from(encodeProbeRequest({ type: 'hello' })).toString('hex')], {
      uid: 65534,
      encoding: 'utf8',
      timeout: 5000,
    });
  for (const [options, answered] of [
    [[], false],
    [['--peer-uid', '65534'], true],
  ] as const) {
    const probe = await startProbe(build('plain'), ...options);
    spawnSync('chmod', ['755', probe.socketPath.replace(/\/[^/]*$/, '')]);
    spawnSync('chmod', ['666', probe.socketPath]);
    const { stdout, stderr } = asUser(probe.socketPath);
    assert.equal(Number(stdout) > 0, answered, stderr);
    if (!answered) await sleep(100);
    assert.equal(/refused process \d+ of user 65534/.test(probe.errors()), !answered);
    await probe.stop();
  }
});

test('two peers capture the same namespace, each with a ring and counters of its own', needsRoot, async () => {
  const probe = await startProbe(build('plain'));
  const peers = [await ProbeClient.connect(probe), await ProbeClient.connect(probe)];
  const name = makeNamespace();
  const ids: number[] = [];
  for (const peer of peers) ids.push(await peer.capture(await peer.cookie(name), { filter: 'udp dst port 9' }));
  await sendDatagrams(name, { address: '127.0.0.1', port: 9, count: 1000 });
  for (const [i, peer] of peers.entries()) {
    peer.send({ type: 'close', id: ids[i] as number });
    await peer.reply('end', ids[i] as number);
    assert.equal(peer.frames.get(ids[i] as number), 1000);
    peer.close();
  }
  removeNamespace(name);
  await probe.stop();
});

test('a stalled peer loses frames in its own ring, counted; the other loses none and waits for nobody', needsRoot, async () => {
  const probe = await startProbe(build('plain'));
  const [stalled, healthy] = [await ProbeClient.connect(probe), await ProbeClient.connect(probe)];
  const name = makeNamespace();
  const slow = await stalled.capture(await stalled.cookie(name), { filter: 'udp dst port 9', snapLength: 2048, ringBytes: 1024 * 1024 });
  const fast = await healthy.capture(await healthy.cookie(name), {
    filter: 'udp dst port 9',
    snapLength: 2048,
    ringBytes: 16 * 1024 * 1024,
  });
  stalled.socket.pause();
  await sendDatagrams(name, { address: '127.0.0.1', port: 9, count: 30_000, size: 1400, pause: 0.00001 });
  healthy.send({ type: 'close', id: fast });
  await healthy.reply('end', fast);
  assert.equal(healthy.frames.get(fast), 30_000);
  const memory = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${probe.process.pid}/status`, 'utf8'))?.[1]);
  assert.ok(memory < 64 * 1024, `the probe takes ${memory} KiB`);
  stalled.socket.resume();
  stalled.send({ type: 'close', id: slow });
  await stalled.reply('end', slow);
  const stats = stalled.of(slow).findLast((reply) => reply.type === 'stats');
  assert.ok(stats?.type === 'stats' && stats.dropped > 0);
  assert.equal(stats.delivered + stats.dropped, 30_000);
  assert.equal(stalled.frames.get(slow), stats.delivered);
  for (const peer of [stalled, healthy]) peer.close();
  removeNamespace(name);
  await probe.stop();
});

test('a probe that was given a connected socket serves it, and ends with it', needsRoot, async () => {
  // The near end of a connection of our own, handed over as descriptor 3.
  const path = `/tmp/stn-inherited-${process.pid}.sock`;
  const server = createServer().listen(path);
  await once(server, 'listening');
  const near = connect(path);
  const [far] = (await once(server, 'connection')) as [import('node:net').Socket];
  server.close();
  const child = spawn(build('plain'), ['--fd', '3'], { stdio: ['ignore', 'inherit', 'inherit', far], env: probeEnvironment });
  const exited = once(child, 'exit');
  far.destroy();
  near.write(encodeProbeRequest({ type: 'hello' }));
  await Promise.race([once(near, 'data'), exited]);
  near.destroy();
  assert.deepEqual(await exited, [0, null]);
});

test('rights: three capabilities, no new ones, a system call filter on every thread', needsRoot, async () => {
  const probe = await startProbe(build('plain'));
  const [admin, raw, system] = [1n << 12n, 1n << 13n, 1n << 21n];
  const list = () => readdirSync(`/proc/${probe.process.pid}/task`);
  // It listens a moment before its second thread runs.
  for (let wait = 0; wait < 100 && list().length < 2; wait++) await sleep(20);
  const threads = list();
  assert.equal(threads.length, 2, 'the loop, and the one that enters namespaces');
  for (const thread of threads) {
    const status = readFileSync(`/proc/${probe.process.pid}/task/${thread}/status`, 'utf8');
    for (const set of ['CapEff', 'CapPrm'])
      assert.equal(BigInt(`0x${new RegExp(`${set}:\\s+(\\S+)`).exec(status)?.[1]}`), admin | raw | system);
    assert.equal(BigInt(`0x${/CapBnd:\s+(\S+)/.exec(status)?.[1]}`), admin | raw, 'what a tool can get');
    assert.match(status, /NoNewPrivs:\s+1/);
    assert.match(status, /Seccomp:\s+2/);
  }
  await probe.stop();
});

/** Connections at the same time. */
const SENDERS = 4;

test(`${messages} messages of nonsense, half-sense and sense leave the probe alive and serving`, {
  ...needsRoot,
  timeout: 1_800_000,
}, async () => {
  const probe = await startProbe(build(messages > 20_000 ? 'sanitized' : 'plain'));
  const name = makeNamespace();
  const bystander = await ProbeClient.connect(probe);
  const cookie = await bystander.cookie(name);
  const descriptors = () => readdirSync(`/proc/${probe.process.pid}/fd`).length;
  const before = descriptors();
  let sent = 0;
  const send = async (seed: number) => {
    const next = random(seed);
    const below = (n: number) => Math.floor(next() * n);
    for (let own = 0; own < messages / SENDERS; ) own += await sendSome(next, below);
  };
  const sendSome = async (next: () => number, below: (n: number) => number): Promise<number> => {
    const socket = connect(probe.socketPath);
    socket.on('error', () => {});
    socket.on('data', () => {});
    const closed = new Promise<void>((done) => socket.once('close', () => done()));
    if (next() < 0.95) socket.write(encodeProbeRequest({ type: 'hello' }));
    const many = 1 + below(80);
    const batch: Uint8Array[] = [];
    for (let i = 0; i < many; i++) batch.push(fuzzed(below, next, cookie, i + 1));
    sent += many;
    socket.write(Buffer.concat(batch));
    // Some stay until what they asked for is there.
    if (next() < 0.1) await sleep(below(20));
    socket.end();
    await Promise.race([closed, sleep(2000, undefined, { ref: false })]);
    socket.destroy();
    if (probe.process.exitCode !== null || probe.process.signalCode !== null)
      assert.fail(`the probe ended after ${sent} messages: ${probe.errors()}`);
    return many;
  };
  await Promise.all([...Array(SENDERS).keys()].map((i) => send(20261123 + i)));
  const id = bystander.newId();
  bystander.send({ type: 'list', id });
  assert.equal((await bystander.reply('end', id, 30_000)).code, 'done');
  for (let wait = 0; wait < 100 && descriptors() > before; wait++) await sleep(50);
  assert.equal(descriptors(), before, 'no descriptor is left behind');
  bystander.close();
  assert.equal(await probe.stop(), 0, probe.errors());
  removeNamespace(name);
});

function fuzzed(below: (n: number) => number, next: () => number, cookie: bigint, fresh: number): Uint8Array {
  const old = 1 + below(fresh);
  const id = next() < 0.99 ? fresh : below(50);
  const known = next() < 0.7 ? cookie : BigInt(below(1000));
  const requests = [
    () => encodeProbeRequest({ type: 'list', id }),
    () => encodeProbeRequest({ type: 'watch', id }),
    () => encodeProbeRequest({ type: 'stats', id: old }),
    () => encodeProbeRequest({ type: 'close', id: old }),
    () => encodeProbeRequest({ type: 'close', id: old }),
    () => encodeProbeRequest({ type: 'credit', id: old, bytes: below(0xffffffff) }),
    () => encodeProbeRequest({ type: 'data', id: old, bytes: new Uint8Array(below(8000)) }),
    () => encodeProbeRequest({ type: 'dump', id, cookie: known, kind: 'links', family: below(12), protocol: below(256) }),
    () => encodeProbeRequest({ type: 'dump', id, cookie: known, kind: 'sockets', family: below(12), protocol: below(256) }),
    () => encodeProbeRequest({ type: 'events', id, cookie: known, kind: 'conntrack', receiveBuffer: 65536 + below(100_000) }),
    () => encodeProbeRequest({ type: 'tunnel', id, cookie: known, port: [15000, 15020, below(65536)][below(3)] as number }),
    ...(next() < 0.02
      ? [
          () => encodeProbeRequest({ type: 'tool', id, cookie: known, tool: 'ip-rule' }),
          () =>
            encodeProbeRequest({
              type: 'capture',
              id,
              cookie: known,
              snapLength: 64 + below(70_000),
              ringBytes: 262_144 + below(1 << 20),
              filter: ['', 'tcp', 'udp port 53 or (', 'not ip'][below(4)] as string,
            }),
        ]
      : []),
  ];
  const bytes = (requests[below(requests.length)] as () => Uint8Array)();
  // Most messages make sense, so that those after them are read at all.
  if (next() < 0.02) for (let flips = 1 + below(4); flips > 0; flips--) bytes[below(bytes.length)] = below(256);
  return next() < 0.005 ? bytes.subarray(0, below(bytes.length)) : bytes;
}
