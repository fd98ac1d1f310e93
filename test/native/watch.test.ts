import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { build, makeNamespace, makePair, needsRoot, removeNamespace, removeNamespaces } from './namespaces.ts';
import { ProbeClient, type RunningProbe, startProbe, stopProbes } from './probe-client.ts';

let program: string;
let probe: RunningProbe;
let client: ProbeClient;

before(async () => {
  if (needsRoot.skip !== false) return;
  program = build('plain');
  probe = await startProbe(program);
  client = await ProbeClient.connect(probe);
});

after(async () => {
  if (needsRoot.skip !== false) return;
  removeNamespaces();
  client.close();
  await stopProbes();
});

test('the list names each namespace with its inode and a cookie of its own', needsRoot, async () => {
  const names = [makeNamespace(), makeNamespace()];
  const id = client.newId();
  client.send({ type: 'list', id });
  await client.reply('end', id);
  const listed = client.of(id).flatMap((reply) => (reply.type === 'namespace' && names.includes(reply.name) ? [reply] : []));
  assert.deepEqual(listed.map((reply) => reply.name).sort(), names.sort());
  assert.equal(new Set(listed.map((reply) => reply.cookie)).size, 2);
  for (const reply of listed) {
    assert.equal(reply.inode, BigInt(statSync(`/run/netns/${reply.name}`).ino));
    assert.equal(reply.process, 0);
  }
  for (const name of names) removeNamespace(name);
});

test('a watch tells of a namespace within 100 ms of its making and of its end', needsRoot, async () => {
  const id = client.newId();
  client.send({ type: 'watch', id });
  await client.reply('ready', id);
  const name = makeNamespace();
  const begun = performance.now();
  const found = await client.find((reply) => reply.type === 'namespace' && reply.id === id && reply.name === name, `namespace ${name}`);
  assert.ok(performance.now() - begun < 100);
  assert.ok(found.type === 'namespace');
  removeNamespace(name);
  await client.find((reply) => reply.type === 'gone' && reply.id === id && reply.cookie === found.cookie, `gone ${name}`, 1000);
  client.send({ type: 'close', id });
  assert.equal((await client.reply('end', id)).code, 'closed');
});

test(
  'a namespace of the same name, whose inode the kernel reuses, is another one: what was asked of the first says gone',
  needsRoot,
  async () => {
    const folder = makeNamespace();
    const cookies = new Set<bigint>();
    for (let round = 0; round < 20; round++) {
      const name = `${folder}-again`;
      execFileSync('ip', ['netns', 'add', name]);
      const cookie = await client.cookie(name);
      assert.ok(!cookies.has(cookie));
      cookies.add(cookie);
      execFileSync('ip', ['netns', 'del', name]);
    }
    for (const cookie of cookies) {
      const id = client.newId();
      client.send({ type: 'dump', id, cookie, kind: 'links', family: 0, protocol: 0 });
      const end = await client.reply('end', id);
      assert.equal(end.code, 'gone', end.text);
    }
    removeNamespace(folder);
  },
);

test('where no folder holds namespaces those of processes are listed', needsRoot, async () => {
  const own = await startProbe(program, '--netns', '/nonexistent', '--processes');
  const peer = await ProbeClient.connect(own);
  const id = peer.newId();
  peer.send({ type: 'list', id });
  await peer.reply('end', id);
  const processes = peer.of(id).flatMap((reply) => (reply.type === 'namespace' ? [reply] : []));
  assert.ok(processes.some((reply) => reply.inode === BigInt(statSync('/proc/self/ns/net').ino) && reply.process > 0));
  peer.close();
  await own.stop();
});

test('200 namespaces that come and go under captures leave no descriptor behind', needsRoot, async () => {
  const own = await startProbe(program);
  const peer = await ProbeClient.connect(own);
  const descriptors = () => readdirSync(`/proc/${own.process.pid}/fd`).length;
  const before = descriptors();
  for (let round = 0; round < 100; round++) {
    const { near, far } = makePair();
    const ids = [
      await peer.capture(await peer.cookie(near), { ringBytes: 512 * 1024 }),
      await peer.capture(await peer.cookie(far), { ringBytes: 512 * 1024 }),
    ];
    removeNamespace(near);
    removeNamespace(far);
    for (const id of ids) assert.equal((await peer.reply('end', id)).code, 'gone');
  }
  // Handles are closed when nothing else is to be done.
  for (let wait = 0; wait < 100 && descriptors() > before; wait++) await sleep(50);
  assert.equal(descriptors(), before);
  peer.close();
  assert.equal(await own.stop(), 0);
});

test('a namespace that goes away the moment it is asked for ends the request, never the probe', needsRoot, async () => {
  for (let round = 0; round < 50; round++) {
    const name = makeNamespace();
    const cookie = await client.cookie(name);
    const ids = ['links', 'addresses', 'rules'].map((kind) => {
      const id = client.newId();
      client.send({ type: 'dump', id, cookie, kind: kind as 'links', family: 0, protocol: 0 });
      return id;
    });
    const id = client.newId();
    client.send({ type: 'capture', id, cookie, snapLength: 256, ringBytes: 512 * 1024, filter: '' });
    removeNamespace(name);
    const end = await client.reply('end', id);
    assert.equal(end.code, 'gone', end.text);
    for (const dump of ids) assert.match((await client.reply('end', dump)).code, /^(done|gone)$/);
  }
  assert.equal(probe.process.exitCode, null);
});
