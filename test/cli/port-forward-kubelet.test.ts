/** The way through a real API server to kubelet's own server and the CRI's own streaming server; test/cli/kubelet-portforward is what stands in for the node. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ExecSource } from '../../src/cli/exec-source.ts';
import { PortForward } from '../../src/cli/port-forward.ts';
import { type KubeCluster, readKubeconfig } from '../../src/daemon/kube/kubeconfig.ts';
import { RealApiServer } from '../daemon/kube/real-api-server.ts';
import { until } from '../daemon/kube/small-api-server.ts';
import { labProgram, needsLabPrograms } from '../lab-programs.ts';
import { numberedMany, running } from '../stream/live.ts';
import { type Ran, runAsync } from './run.ts';

const MIB = 1024 * 1024;
const needs = needsLabPrograms('kube-apiserver', 'etcd', 'kubectl', 'portforward-server');
const pod = { namespace: 'default', name: 'sidetrace-a' };
const server = new RealApiServer();
let kubelet: ChildProcess | undefined;

before(async () => {
  if (needs.skip !== false) return;
  await server.start();
  server.authority.issue('kubelet', '/CN=system:node:node-a', 'IP:127.0.0.1');
  const at = (name: string) => join(server.authority.folder, name);
  kubelet = spawn(labProgram('portforward-server'), [at('kubelet.crt'), at('kubelet.key'), `${pod.namespace}/${pod.name}`], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const [line] = await once(kubelet.stdout!, 'data');
  await server.must('POST', '/api/v1/nodes', { metadata: { name: 'node-a' } });
  await server.must('PATCH', '/api/v1/nodes/node-a/status', {
    status: { addresses: [{ type: 'InternalIP', address: '127.0.0.1' }], daemonEndpoints: { kubeletEndpoint: { Port: Number(line) } } },
  });
  await server.must('POST', `/api/v1/namespaces/${pod.namespace}/pods`, {
    metadata: { name: pod.name, labels: { 'app.kubernetes.io/name': 'sidetrace' } },
    spec: { nodeName: 'node-a', containers: [{ name: 'c', image: 'none' }] },
  });
  await server.must('PATCH', `/api/v1/namespaces/${pod.namespace}/pods/${pod.name}/status`, { status: { phase: 'Running' } });
});
after(async () => {
  kubelet?.kill('SIGKILL');
  await server.stop();
});

/** A server in the pod. @returns its port, and how often it was connected to */
async function inPod(t: TestContext, serve: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>();
  const inside = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    serve(socket);
  });
  inside.listen(0, '127.0.0.1');
  await once(inside, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    inside.close();
  });
  return (inside.address() as AddressInfo).port;
}

/** @returns a connection to a port of the pod, opened by who calls it */
async function wayTo(t: TestContext, port: number, cluster: KubeCluster = server.cluster()): Promise<() => Socket> {
  const forward = new PortForward(cluster, pod, port);
  const local = await forward.listen();
  t.after(() => forward.close());
  return () => {
    const socket = connect(local, '127.0.0.1');
    t.after(() => socket.destroy());
    return socket;
  };
}

const digest = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

async function allOf(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** The number when it has not changed for half a second. */
async function atRest(count: () => number): Promise<number> {
  for (;;) {
    const before = count();
    await sleep(500);
    if (before > 0 && count() === before) return before;
  }
}

test('bytes go both ways, several connections at once, each in its order', needs, async (t) => {
  const open = await wayTo(t, await inPod(t, (socket) => socket.pipe(socket)));
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      const socket = open();
      const sent = randomBytes(300_000);
      const back: Buffer[] = [];
      let length = 0;
      socket.on('data', (chunk) => {
        back.push(chunk);
        length += chunk.length;
      });
      for (let at = 0; at < sent.length; at += 7001) {
        socket.write(sent.subarray(at, at + 7001));
        if (at % 5 === 0) await sleep(1);
      }
      await until('the echo', () => length === sent.length, 30_000);
      assert.equal(digest(Buffer.concat(back)), digest(sent));
      socket.end();
    }),
  );
});

test('the pod speaks first, and what it said before it closed arrives whole', needs, async (t) => {
  const open = await wayTo(t, await inPod(t, (socket) => socket.end('a word and no more')));
  assert.equal(String(await allOf(open())), 'a word and no more');
});

for (const [way, whole] of [
  ['from the pod', 256 * MIB],
  ['to the pod', 256 * MIB],
] as const)
  test(`${whole / MIB} MiB ${way}: whole, and the sender waits for a reader that rests`, needs, async (t) => {
    const block = randomBytes(MIB);
    let sent = 0;
    /** Asks for more only when what was given has gone. */
    const send = async (socket: Socket): Promise<void> => {
      while (sent < whole) {
        sent += block.length;
        if (!socket.write(block)) await once(socket, 'drain');
      }
      socket.end();
    };
    const hash = createHash('sha256');
    let received = 0;
    let reader: Socket | undefined;
    const read = (socket: Socket): void => {
      reader = socket.pause();
      socket.on('data', (chunk) => {
        received += chunk.length;
        hash.update(chunk);
      });
      socket.pause();
    };
    const open = await wayTo(t, await inPod(t, way === 'from the pod' ? send : read));
    const near = open();
    if (way === 'from the pod') read(near);
    else void send(near);
    const ahead = await atRest(() => sent);
    assert.ok(ahead < whole / 2, `${ahead / MIB} MiB were taken while nobody read`);
    const begun = performance.now();
    reader!.resume();
    await until('all of it', () => received === whole, 120_000);
    const expected = createHash('sha256');
    for (let at = 0; at < whole; at += MIB) expected.update(block);
    assert.equal(hash.digest('hex'), expected.digest('hex'));
    const seconds = (performance.now() - begun) / 1000;
    process.stdout.write(`# ${way}: ${ahead / MIB} MiB ahead of a reader that rests, then ${(whole / MIB / seconds).toFixed(0)} MiB/s\n`);
  });

test('a side that goes away is told to the other', needs, async (t) => {
  const ends: string[] = [];
  const port = await inPod(t, (socket) => {
    socket.write('here');
    socket.on('close', () => ends.push('in the pod'));
  });
  const open = await wayTo(t, port);
  const near = open();
  await once(near, 'data');
  near.destroy();
  await until('the end in the pod', () => ends.length === 1);
  // One that is full of what nobody read ends as well.
  const full = await wayTo(
    t,
    await inPod(t, (socket) => {
      const block = Buffer.alloc(MIB);
      for (let i = 0; i < 64; i++) socket.write(block);
      socket.on('close', () => ends.push('full'));
    }),
  );
  const unread = full().pause();
  await once(unread, 'connect');
  await sleep(1000);
  unread.destroy();
  await until('the end of the full one', () => ends.length === 2);
});

/** The kubeconfig of who has a token. */
function kubeconfig(token: string): string {
  const path = join(server.authority.folder, `config-${token}`);
  const { server: url } = server.cluster();
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'lab',
    contexts: [{ name: 'lab', context: { cluster: 'lab', user: 'me' } }],
    clusters: [{ name: 'lab', cluster: { server: url, 'certificate-authority': 'ca.crt' } }],
    users: [{ name: 'me', user: { token } }],
  };
  writeFileSync(path, JSON.stringify(config));
  return path;
}

function ran(t: TestContext, args: readonly string[]): Promise<Ran> {
  return runAsync(args, { signal: t.signal, env: { NO_COLOR: '1', SIDETRACE_TOKEN: '', SIDETRACE_SERVER: '' } });
}

test('observe -P reads a daemon, with no more rights than the documentation says', needs, async (t) => {
  const daemon = await running(t, { node: 'node-a' });
  daemon.server.publish(numberedMany(3000));
  const args = ['observe', '-P', '--kubeconfig', kubeconfig('plain-token'), '--port-forward-port', String(daemon.port), '-o', 'json'];
  const nothing = await ran(t, args);
  assert.match(nothing.err, /403, pods is forbidden: User "plain" cannot list resource "pods"/);
  assert.equal(nothing.code, 3);

  const rbac = '/apis/rbac.authorization.k8s.io/v1';
  const role = (rules: object[]) => ({ metadata: { name: 'reader' }, rules });
  const list = { apiGroups: [''], resources: ['pods'], verbs: ['list'] };
  await server.must('POST', `${rbac}/clusterroles`, role([list]));
  await server.must('POST', `${rbac}/clusterrolebindings`, {
    metadata: { name: 'reader' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'reader' },
    subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'plain' }],
  });
  await sleep(500);
  const half = await ran(t, args);
  assert.match(
    half.err,
    /Cannot reach port \d+ of pod default\/sidetrace-a through .*: the API server answers 403, pods "sidetrace-a" is forbidden: User "plain" cannot get resource "pods\/portforward"/,
  );
  assert.equal(half.code, 3);

  const { minor } = (await server.must('GET', '/version')) as { minor: string };
  const forward = { ...list, resources: ['pods/portforward'], verbs: Number(minor) < 35 ? ['get'] : ['get', 'create'] };
  await server.must('PUT', `${rbac}/clusterroles/reader`, role([list, forward]));
  await sleep(500);
  const all = await ran(t, [...args, '--last', '5000']);
  assert.equal(all.out.trim().split('\n').length, 3000, all.err);
  assert.equal(all.code, 0);
});

test('a port that nobody listens on, and a pod that the kubelet does not know', needs, async (t) => {
  const port = await inPod(t, () => {});
  const free = port === 1 ? 2 : 1;
  const args = ['status', '-P', '--kubeconfig', kubeconfig(server.adminToken), '--port-forward-port', String(free)];
  const closed = await ran(t, args);
  assert.match(
    closed.err,
    /Cannot reach port 1 of pod default\/sidetrace-a .*: error forwarding port 1 to pod default\/sidetrace-a, .*connection refused/,
  );
  assert.equal(closed.code, 3);
  await server.must('POST', '/api/v1/namespaces/kube-system/pods', {
    metadata: { name: 'sidetrace-b', labels: { 'app.kubernetes.io/name': 'sidetrace' } },
    spec: { nodeName: 'node-a', containers: [{ name: 'c', image: 'none' }] },
  });
  await server.must('PATCH', '/api/v1/namespaces/kube-system/pods/sidetrace-b/status', { status: { phase: 'Running' } });
  t.after(() => server.must('DELETE', '/api/v1/namespaces/kube-system/pods/sidetrace-b?gracePeriodSeconds=0'));
  const unknown = await ran(t, [...args, '--kube-namespace', 'kube-system']);
  assert.match(unknown.err, /of pod kube-system\/sidetrace-b .*: the API server answers 404, .*pod does not exist/);
});

test('a token of a plugin that the API server does not know any more is made anew for a connection', needs, async (t) => {
  const folder = server.authority.folder;
  const status = '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"%s"}}';
  const plugin = join(folder, 'plugin');
  writeFileSync(plugin, `#!/bin/sh\ncd "$(dirname "$0")"\nprintf '${status}' "$(cat token)"\necho run >>runs\n`);
  chmodSync(plugin, 0o755);
  const path = kubeconfig('by-a-plugin');
  const config = JSON.parse(readFileSync(path, 'utf8'));
  const exec = { apiVersion: 'client.authentication.k8s.io/v1', command: './plugin', interactiveMode: 'Never' };
  writeFileSync(path, JSON.stringify({ ...config, users: [{ name: 'me', user: { exec } }] }));
  const cluster = readKubeconfig([path], undefined, (given) => new ExecSource(given));
  writeFileSync(join(folder, 'token'), 'gone');
  await cluster.source!.get();
  writeFileSync(join(folder, 'token'), server.adminToken);
  const open = await wayTo(t, await inPod(t, (socket) => socket.end('here')), cluster);
  assert.deepEqual(await Promise.all([allOf(open()), allOf(open())]), [Buffer.from('here'), Buffer.from('here')]);
  assert.equal(readFileSync(join(folder, 'runs'), 'utf8').trim().split('\n').length, 2);
});

test("kubectl's own port-forward takes the same way: the stand-in for the node is one", needs, async (t) => {
  const port = await inPod(t, (socket) => socket.end('here'));
  const env = { PATH: process.env.PATH ?? '', HOME: server.authority.folder };
  const args = ['--kubeconfig', kubeconfig(server.adminToken), 'port-forward', pod.name, `:${port}`];
  const kubectl = spawn(labProgram('kubectl'), args, { env, stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => kubectl.kill('SIGKILL'));
  const [line] = await once(kubectl.stdout, 'data');
  const local = Number(/127\.0\.0\.1:(\d+) ->/.exec(String(line))?.[1]);
  assert.equal(String(await allOf(connect(local, '127.0.0.1'))), 'here');
});

test('an API server that goes away ends the connections', needs, async (t) => {
  const open = await wayTo(t, await inPod(t, (socket) => socket.write('here')));
  const near = open();
  await once(near, 'data');
  const closed = once(near, 'close');
  await server.stopServer();
  await closed;
});
