/** Daemons found and reached through an API server: one of the test's own, which lists pods and misbehaves as a real one would not (for that see port-forward-kubelet.test.ts). */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, connect, createServer as createNetServer } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { WebSocketServer } from 'ws';
import { PortForward, runningPods } from '../../src/cli/port-forward.ts';
import { readKubeconfig } from '../../src/daemon/kube/kubeconfig.ts';
import { until } from '../daemon/kube/small-api-server.ts';
import { folder, numberedMany, running } from '../stream/live.ts';
import { type Ran, runAsync } from './run.ts';

interface Fake {
  readonly kubeconfig: string;
  readonly asked: string[];
  /** Connections to pods. */
  open(): number;
}

/** @param ports of 127.0.0.1, by pod @param manner how it misbehaves */
async function apiServer(
  t: TestContext,
  ports: { readonly [pod: string]: number },
  manner: 'well' | 'refuses' | 'other-port' | 'error' = 'well',
): Promise<Fake> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(`${request.headers.authorization} ${request.url}`);
    const items = Object.keys(ports).map((name) => ({ metadata: { namespace: 'sidetrace', name }, status: { phase: 'Running' } }));
    items.push({ metadata: { namespace: 'sidetrace', name: 'pending' }, status: { phase: 'Pending' } });
    response.setHeader('content-type', 'application/json').end(JSON.stringify({ kind: 'PodList', items }));
  });
  const sockets = new WebSocketServer({
    noServer: true,
    handleProtocols: (offered) => (offered.has('v4.channel.k8s.io') ? 'v4.channel.k8s.io' : false),
  });
  server.on('upgrade', (request, socket, head) => {
    asked.push(`${request.headers.authorization} ${request.url}`);
    const [, pod, port] = /^\/api\/v1\/namespaces\/sidetrace\/pods\/([^/]+)\/portforward\?ports=(\d+)$/.exec(request.url ?? '') ?? [];
    if (manner === 'refuses' || pod === undefined || ports[pod] === undefined) {
      socket.end('HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n');
      return;
    }
    sockets.handleUpgrade(request, socket, head, (remote) => {
      for (const channel of [0, 1]) {
        const first = Buffer.alloc(3);
        first[0] = channel;
        first.writeUInt16LE(manner === 'other-port' ? 1 : Number(port), 1);
        remote.send(first);
      }
      if (manner === 'error') {
        remote.send(Buffer.concat([Buffer.of(1), Buffer.from('error forwarding port 4280: connection refused')]));
        return;
      }
      const inside = connect(ports[pod]!, '127.0.0.1');
      inside.on('data', (bytes) => {
        // As a kubelet cuts it, and smaller.
        for (let at = 0; at < bytes.length; at += 1000) remote.send(Buffer.concat([Buffer.of(0), bytes.subarray(at, at + 1000)]));
      });
      inside.on('close', () => remote.close());
      inside.on('error', () => remote.close());
      remote.on('message', (data) => {
        const bytes = data as Buffer;
        if (bytes[0] === 0) inside.write(bytes.subarray(1));
      });
      remote.on('close', () => inside.destroy());
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
    for (const client of sockets.clients) client.terminate();
  });
  const kubeconfig = join(folder(t), 'config');
  const name = 'lab';
  writeFileSync(
    kubeconfig,
    JSON.stringify({
      'current-context': name,
      contexts: [{ name, context: { cluster: name, user: name } }],
      clusters: [{ name, cluster: { server: `http://127.0.0.1:${(server.address() as AddressInfo).port}` } }],
      users: [{ name, user: { token: 'me' } }],
    }),
  );
  return { kubeconfig, asked, open: () => sockets.clients.size };
}

function ran(t: TestContext, args: readonly string[]): Promise<Ran> {
  return runAsync(args, { signal: t.signal, env: { NO_COLOR: '1', SIDETRACE_TOKEN: '', SIDETRACE_SERVER: '' } });
}

test('the daemons of two pods are found and read through the API server', async (t) => {
  const [a, b] = [await running(t, { node: 'node-a' }), await running(t, { node: 'node-b' })];
  a.server.publish(numberedMany(500));
  b.server.publish(numberedMany(700));
  const { kubeconfig, asked } = await apiServer(t, { 'sidetrace-a': a.port, 'sidetrace-b': b.port });
  const args = ['observe', '-P', '--kubeconfig', kubeconfig, '--kube-namespace', 'sidetrace', '-o', 'json', '--last', '5000'];
  const { code, out, err } = await ran(t, args);
  assert.equal(out.trim().split('\n').length, 1200);
  assert.equal(code, 0);
  assert.match(err, /node-a: connected \(sidetrace\/sidetrace-a\)/);
  assert.deepEqual(asked.sort(), [
    'Bearer me /api/v1/namespaces/sidetrace/pods/sidetrace-a/portforward?ports=4280',
    'Bearer me /api/v1/namespaces/sidetrace/pods/sidetrace-b/portforward?ports=4280',
    'Bearer me /api/v1/namespaces/sidetrace/pods?labelSelector=app.kubernetes.io%2Fname%3Dsidetrace&limit=256',
  ]);
});

test('many small messages for a reader that rests, who then goes away: nothing is left over', async (t) => {
  const pod = createNetServer((socket) => {
    socket.on('error', () => {});
    socket.write(Buffer.alloc(32 * 1024 * 1024));
  });
  await new Promise<void>((resolve) => pod.listen(0, '127.0.0.1', resolve));
  t.after(() => pod.close());
  const { kubeconfig, open } = await apiServer(t, { 'sidetrace-a': (pod.address() as AddressInfo).port });
  const warnings: string[] = [];
  const warn = (warning: Error) => warnings.push(warning.message);
  process.on('warning', warn);
  t.after(() => process.off('warning', warn));
  const forward = new PortForward(readKubeconfig([kubeconfig]), { namespace: 'sidetrace', name: 'sidetrace-a' }, 4280);
  t.after(() => forward.close());
  const near = connect(await forward.listen(), '127.0.0.1');
  let received = 0;
  near.on('data', (chunk) => {
    received += chunk.length;
    near.pause();
    setTimeout(() => near.resume(), 10);
  });
  await until('some of it', () => received > 1024 * 1024);
  assert.equal(open(), 1);
  near.pause();
  await new Promise((resolve) => setTimeout(resolve, 500));
  near.destroy();
  await until('the end at the API server', () => open() === 0, 5000);
  assert.deepEqual(warnings, []);
});

test('what the API server or the kubelet says against it is told', async (t) => {
  const { port } = await running(t);
  for (const [manner, wanted] of [
    ['refuses', /Cannot reach port 4280 of pod sidetrace\/sidetrace-a through .*: the API server answers 403/],
    ['other-port', /the port 4280 is wanted at the beginning of channel 0/],
    ['error', /error forwarding port 4280: connection refused/],
  ] as const) {
    const { kubeconfig } = await apiServer(t, { 'sidetrace-a': port }, manner);
    const { code, err } = await ran(t, ['observe', '-P', '--kubeconfig', kubeconfig]);
    assert.match(err, wanted);
    assert.equal(code, 3, manner);
  }
});

test('no daemon, no kubeconfig, and flags that do not go together', async (t) => {
  const { kubeconfig } = await apiServer(t, {});
  const nobody = await ran(t, ['status', '-P', '--kubeconfig', kubeconfig]);
  assert.match(nobody.err, /a running pod labelled app.kubernetes.io\/name=sidetrace is wanted, there is none/);
  for (const [args, wanted] of [
    [['-P', '--server', 'a:1'], /Cannot give --server and --port-forward together/],
    [['--kubeconfig', 'x'], /--port-forward is wanted with it/],
    [['-P', '--kubeconfig', kubeconfig, '--port-forward-port', '0'], /a port is wanted/],
    [['-P', '--kubeconfig', `${kubeconfig}-absent`], /Cannot use the kubeconfig/],
  ] as const)
    assert.match((await ran(t, ['status', ...args])).err, wanted);
});

test('only pods that run are daemons', () => {
  const pod = (name: string, more: object = {}, phase = 'Running') => ({ metadata: { namespace: 'n', name, ...more }, status: { phase } });
  assert.deepEqual(runningPods({ items: [pod('a'), pod('b', {}, 'Failed'), pod('c', { deletionTimestamp: 'x' }), {}, null, 3] }), [
    { namespace: 'n', name: 'a' },
  ]);
  assert.deepEqual(runningPods(null), []);
});
