import assert from 'node:assert/strict';
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { KubeApi, type KubeApiTimes } from '../../../src/daemon/kube/api.ts';
import type { KubeCluster } from '../../../src/daemon/kube/kubeconfig.ts';
import { ListWatch } from '../../../src/daemon/kube/list-watch.ts';
import { KubeWatch } from '../../../src/daemon/kube/watch.ts';
import { makeAuthority } from './certificates.ts';
import { makePod, podsPath, SmallApiServer, send, servicesPath, slicesPath, until } from './small-api-server.ts';

const authority = makeAuthority();
const tls = authority.issue('server', '/CN=server', 'IP:127.0.0.1');
after(() => authority.remove());

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

const times: KubeApiTimes = { head: 500, idle: 500, whole: 3000, watchIdle: 1500 };
const quick = { firstMs: 20, mostMs: 100 };
const log = { info() {}, warn() {} };

async function startServer(withTls = false): Promise<SmallApiServer> {
  const server = new SmallApiServer(withTls ? tls : undefined);
  await server.start();
  ends.push(() => server.stop());
  return server;
}

function openApi(cluster: KubeCluster): KubeApi {
  const api = new KubeApi(cluster, times);
  ends.push(() => api.close());
  return api;
}

function follow(server: SmallApiServer, more: Partial<KubeCluster> = {}, pageSize?: number): ListWatch<string> {
  const list = new ListWatch<string>({
    api: openApi(server.cluster(more)),
    path: podsPath,
    read: (item) => (item as { status: { podIP: string } }).status.podIP,
    onChange: () => {},
    log,
    backOff: quick,
    ...(pageSize === undefined ? {} : { pageSize }),
  });
  ends.push(() => list.stop());
  list.start();
  return list;
}

test('objects come in pages, then by the watch: added, changed, deleted', async () => {
  const server = await startServer();
  for (let i = 0; i < 25; i++) server.put(podsPath, makePod(`p${i}`, `10.0.0.${i}`));
  const list = follow(server, {}, 10);
  await until('the watch', () => server.watchers === 1);
  assert.equal(list.objects.size, 25);
  assert.deepEqual(
    server.requests.map(({ query }) => query.get('continue') ?? query.get('watch')),
    [null, '10', '20', '1'],
  );
  server.put(podsPath, makePod('new', '10.0.1.1'));
  server.put(podsPath, makePod('p3', '10.0.1.3'));
  server.delete(podsPath, 'shop', 'p4');
  await until('the deletion', () => !list.objects.has('shop/p4'));
  assert.equal(list.objects.get('shop/new'), '10.0.1.1');
  assert.equal(list.objects.get('shop/p3'), '10.0.1.3');
  assert.equal(list.objects.size, 25);
});

test('a watch that ends is taken up where it was, without listing again; bookmarks move that place on', async () => {
  const server = await startServer();
  server.put(podsPath, makePod('a', '10.0.0.1'));
  const list = follow(server);
  await until('the watch', () => server.watchers === 1);
  server.put(servicesPath, { metadata: { namespace: 'n', name: 's' } });
  server.bookmark();
  await until('the bookmark', () => list.state.heardMs > 0);
  await new Promise((resolve) => setTimeout(resolve, 50));
  server.endWatches();
  await until('the second watch', () => server.watchers === 1 && list.state.watches === 2);
  assert.deepEqual(
    server.requests.map(({ query }) => query.get('resourceVersion')),
    [null, '2', '3'],
  );
  assert.equal(list.state.lists, 1);
  assert.equal(list.state.staleSinceMs, undefined);
});

test('a version that is gone: all is listed again, and what was deleted meanwhile is gone too', async () => {
  const server = await startServer();
  server.put(podsPath, makePod('a', '10.0.0.1'));
  server.put(podsPath, makePod('b', '10.0.0.2'));
  const list = follow(server);
  await until('the watch', () => server.watchers === 1);
  await server.stop();
  server.delete(podsPath, 'shop', 'a');
  server.put(podsPath, makePod('c', '10.0.0.3'));
  server.forget();
  await until('that it is told', () => list.state.staleSinceMs !== undefined);
  assert.deepEqual([...list.objects.keys()], ['shop/a', 'shop/b'], 'the last that was known stays');
  await server.start();
  await until('the new list', () => list.state.lists === 2 && list.state.staleSinceMs === undefined);
  assert.deepEqual([...list.objects.keys()], ['shop/b', 'shop/c']);
});

test('a list that is cut in its middle changes nothing, and is asked for again', async () => {
  const server = await startServer();
  for (let i = 0; i < 4; i++) server.put(podsPath, makePod(`p${i}`, `10.0.0.${i}`));
  let cuts = 0;
  server.fault = (_request, response, url) => {
    if (url.searchParams.get('continue') !== '2' || cuts >= 3) return false;
    cuts++;
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' });
    response.write('{"kind":"PodList","metadata":{"resourceVersion":"9"},"items":[{"metadata":{"na');
    setTimeout(() => response.destroy(), 10);
    return true;
  };
  const list = follow(server, {}, 2);
  await until('the reason', () => list.state.reason?.includes('it was cut') === true || cuts === 3);
  assert.equal(list.state.synced, false);
  assert.equal(list.objects.size, 0);
  await until('the whole list', () => list.state.synced);
  assert.equal(list.objects.size, 4);
  assert.equal(cuts, 3);
});

for (const [what, fault, says] of [
  ['429 with Retry-After', (response) => send(response, 429, { message: 'slow down' }, { 'retry-after': '0' }), /429, slow down/],
  ['500 with HTML', (response) => send(response, 500, '<html>', {}), /500/],
  ['403', (response) => send(response, 403, { kind: 'Status', message: 'pods is forbidden' }), /403, pods is forbidden/],
  ['a redirect', (response) => send(response, 302, {}, { location: 'http://169.254.169.254/' }), /redirects are not followed/],
  ['half a JSON that claims to be whole', (response) => response.writeHead(200).end('{"items":[{"meta'), /JSON is wanted/],
  ['a JSON of another kind', (response) => send(response, 200, { hello: 1 }), /a list with "items"/],
  ['a packed answer', (response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync('{}')), /must not be packed/],
  ['a head that does not come', () => {}, /an answer is wanted within 500 ms/],
  ['a body that stops', (response) => response.writeHead(200).write('{'), /more of it is wanted within 500 ms/],
  ['a head of 100 KiB', (response) => response.writeHead(200, { x: 'y'.repeat(100_000) }).end('{}'), /Header|overflow/i],
] as [string, (response: import('node:http').ServerResponse) => void, RegExp][])
  test(`${what}: told, stale, and right again after`, async () => {
    const server = await startServer();
    server.put(podsPath, makePod('a', '10.0.0.1'));
    server.fault = (_request, response) => {
      fault(response);
      return true;
    };
    const list = follow(server);
    await until('the reason', () => list.state.reason !== undefined);
    assert.match(list.state.reason!, says);
    assert.ok(list.state.staleSinceMs !== undefined);
    assert.equal(list.state.synced, false);
    server.fault = undefined;
    if (what === '403') return;
    await until('the list', () => list.state.synced && list.state.reason === undefined);
    assert.deepEqual([...list.objects.values()], ['10.0.0.1']);
  });

test('no more requests than the back-off allows while the server refuses, and jitter between them', async () => {
  const server = await startServer();
  server.fault = (_request, response) => {
    send(response, 500, {});
    return true;
  };
  follow(server);
  await new Promise((resolve) => setTimeout(resolve, 1000));
  assert.ok(server.requests.length >= 8 && server.requests.length <= 30, `${server.requests.length} requests in a second`);
});

test('a watch in which nothing comes, not even bookmarks, is cut and taken up again', async () => {
  const server = await startServer();
  const list = follow(server);
  await until('the second watch', () => list.state.watches >= 2, 5000);
  assert.equal(list.state.lists, 1);
});

test('events that are no JSON end the watch, and it goes on after them', async () => {
  const server = await startServer();
  let bad = 2;
  server.fault = (_request, response, url) => {
    if (url.searchParams.get('watch') === null || bad-- <= 0) return false;
    response.writeHead(200).write('{"type":"ADDED","object"\n');
    return true;
  };
  const list = follow(server);
  await until('a good watch', () => server.watchers === 1);
  server.put(podsPath, makePod('a', '10.0.0.1'));
  await until('the pod', () => list.objects.size === 1);
});

test('__proto__ in objects and names that are none change nothing', async () => {
  const server = await startServer();
  server.fault = (_request, response, url) => {
    if (url.searchParams.get('watch') !== null) return false;
    const item = '{"metadata":{"namespace":"n","name":"a"},"__proto__":{"polluted":1},"status":{"podIP":"10.0.0.1"}}';
    response.end(
      `{"metadata":{"resourceVersion":"5"},"items":[${item},null,7,{"metadata":{"name":5}},{"metadata":{"name":"__proto__"},"status":{"podIP":"x"}}]}`,
    );
    return true;
  };
  const list = follow(server);
  await until('the list', () => list.state.synced);
  assert.deepEqual([...list.objects.keys()], ['n/a', '/__proto__']);
  assert.equal(({} as { polluted?: number }).polluted, undefined);
});

test('over TLS: the CA is asked for, a wrong one is refused, a new one is taken up from its file', async () => {
  const server = await startServer(true);
  server.put(podsPath, makePod('a', '10.0.0.1'));
  const other = makeAuthority('another-ca');
  ends.push(() => other.remove());
  const file = join(authority.folder, 'used.crt');
  writeFileSync(file, other.ca);
  const list = follow(server, { ca: { file } });
  await until('the refusal', () => list.state.reason !== undefined);
  assert.match(list.state.reason!, /unable to verify|self.signed|certificate/i);
  assert.equal(server.requests.length, 0, 'nothing is sent to a server that is not known, least of all a token');
  writeFileSync(file, authority.ca);
  await until('the list', () => list.state.synced);
  assert.equal(list.objects.size, 1);
});

test('a server whose certificate is for another name is refused', async () => {
  const server = new SmallApiServer(authority.issue('elsewhere', '/CN=elsewhere', 'DNS:elsewhere.example'));
  await server.start();
  ends.push(() => server.stop());
  const wrong = follow(server, { ca: { text: authority.ca } });
  await until('the refusal', () => wrong.state.reason !== undefined);
  assert.match(wrong.state.reason!, /altnames|Hostname/i);
  const named = follow(server, { ca: { text: authority.ca }, serverName: 'elsewhere.example' });
  await until('the list', () => named.state.synced);
});

test('a token that is renewed in its file while it is used: no call fails', async () => {
  const server = await startServer(true);
  const file = join(authority.folder, 'token');
  let number = 0;
  const renew = () => {
    server.tokens.clear();
    server.tokens.add(`token-${++number}`);
    writeFileSync(`${file}.new`, `token-${number}\n`);
    renameSync(`${file}.new`, file);
  };
  renew();
  const api = openApi(server.cluster({ ca: { text: authority.ca }, token: { file } }));
  const timer = setInterval(renew, 150);
  ends.push(() => clearInterval(timer));
  let calls = 0;
  for (; number < 20 || calls < 100; calls++) await api.get(podsPath);
});

test('a kept connection that the server has closed costs nobody a failure', async () => {
  const server = await startServer();
  const api = openApi(server.cluster());
  await api.get(podsPath);
  await server.stop();
  await server.start();
  await api.get(podsPath);
});

test('names follow: pods of the node by address, peers and services by name, at most four times a second', async () => {
  const server = await startServer();
  server.put(podsPath, makePod('own', '10.0.0.1'));
  server.put(podsPath, makePod('peer', '10.0.1.1', { node: 'node-b' }));
  server.put(podsPath, makePod('host', '10.1.0.1', { hostNetwork: true }));
  server.put(servicesPath, { metadata: { namespace: 'shop', name: 'cart' }, spec: { clusterIP: '10.96.0.1', ports: [{ port: 80 }] } });
  server.put(slicesPath, {
    metadata: { namespace: 'shop', name: 'cart-1', labels: { 'kubernetes.io/service-name': 'cart' } },
    endpoints: [{ addresses: ['10.0.1.1'], targetRef: { kind: 'Pod', name: 'peer', namespace: 'shop', uid: 'uid-peer' } }],
    ports: [{ port: 8080, protocol: 'TCP' }],
  });
  const watch = new KubeWatch({ api: openApi(server.cluster()), node: 'node-a', allPods: true, log, backOff: quick });
  ends.push(() => watch.stop());
  let told = 0;
  watch.onChange(() => told++);
  watch.start();
  const { view } = watch;
  await until('names', () => view.synced && view.names.pods.length === 3 && view.names.services.length === 1);
  assert.equal(view.podByAddress('10.0.0.1')?.name, 'own');
  assert.equal(view.podByAddress('10.0.1.1'), undefined, 'of another node');
  assert.equal(view.podByAddress('10.1.0.1'), undefined, 'in the network of the node');
  assert.equal(view.names.podByIp('10.0.1.1')?.name, 'peer');
  assert.deepEqual(
    view.names.servicesOfPod('10.0.1.1', 8080),
    [{ namespace: 'shop', name: 'cart' }].map((id) => ({ ...view.names.serviceByName(id.namespace, id.name) })),
  );
  assert.equal(view.staleSince, undefined);
  told = 0;
  for (let i = 0; i < 100; i++) {
    server.put(podsPath, makePod(`p${i}`, `10.0.2.${i}`));
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  await until('all of them', () => view.names.pods.length === 103);
  assert.ok(told <= 7, `told ${told} times in about a second`);
});

test('one resource that is forbidden takes nothing from the others', async () => {
  const server = await startServer();
  server.put(podsPath, makePod('own', '10.0.0.1'));
  server.fault = (_request, response, url) => {
    if (url.pathname !== slicesPath) return false;
    send(response, 403, { message: 'no' });
    return true;
  };
  const watch = new KubeWatch({ api: openApi(server.cluster()), node: 'node-a', allPods: false, log, backOff: quick });
  ends.push(() => watch.stop());
  watch.start();
  await until('the pod', () => watch.view.names.podByIp('10.0.0.1') !== undefined);
  assert.equal(watch.view.synced, false);
  assert.match(watch.view.parts[2]?.reason ?? '', /403/);
  assert.equal(server.requests.filter(({ path }) => path === slicesPath).length, 1);
  assert.ok(server.requests.some(({ query }) => query.get('fieldSelector') === 'spec.nodeName=node-a'));
});

test('1,000 pods that get the same address one after the other: a namespace never gets the name of a former one', async () => {
  const server = await startServer();
  const watch = new KubeWatch({ api: openApi(server.cluster()), node: 'node-a', allPods: true, log, backOff: quick });
  ends.push(() => watch.stop());
  watch.start();
  await until('the watches', () => server.watchers === 3);
  let wrong = 0;
  let right = 0;
  const namespaces: { bornMs: number; pod: string }[] = [];
  const check = () => {
    for (const { bornMs, pod } of namespaces.slice(-1)) {
      const found = watch.view.podByAddress('10.0.0.1', bornMs);
      if (found?.name === pod) right++;
      else if (found !== undefined) wrong++;
    }
  };
  watch.onChange(check);
  for (let i = 0; i < 1000; i++) {
    const startTime = `${new Date().toISOString().slice(0, 19)}Z`;
    server.put(podsPath, { ...makePod(`p${i}`, '10.0.0.1', { startTime }), status: { phase: 'Pending', startTime } });
    namespaces.push({ bornMs: Date.now(), pod: `p${i}` });
    check();
    await new Promise((resolve) => setTimeout(resolve, 3));
    check();
    server.put(podsPath, makePod(`p${i}`, '10.0.0.1', { startTime }));
    await new Promise((resolve) => setTimeout(resolve, 4));
    check();
    const deletionTimestamp = `${new Date(Date.now() + 30_000).toISOString().slice(0, 19)}Z`;
    server.put(podsPath, makePod(`p${i}`, '10.0.0.1', { startTime, deletionTimestamp }));
    if (i % 2 === 0) server.delete(podsPath, 'shop', `p${i}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
    if (i > 2) server.delete(podsPath, 'shop', `p${i - 2}`);
    check();
  }
  assert.equal(wrong, 0);
  assert.ok(right > 100, `${right} times right`);
});
