import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { after, afterEach, before, test } from 'node:test';
import { KubeAccess } from '../../../src/daemon/kube/access.ts';
import { KubeApi } from '../../../src/daemon/kube/api.ts';
import { KubeWatch } from '../../../src/daemon/kube/watch.ts';
import { needsApiServer, RealApiServer } from './real-api-server.ts';
import { until } from './small-api-server.ts';

const COUNT = Number(process.env.SIDETRACE_KUBE_PODS ?? 1000);
const server = new RealApiServer();
const log = { info() {}, warn() {} };

before(async () => {
  if (needsApiServer().skip === false) await server.start();
});
const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});
after(() => server.stop());

const podOf = (name: string, node: string) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace: 'default', labels: { app: 'x' } },
  spec: { nodeName: node, containers: [{ name: 'c', image: 'none', ports: [{ containerPort: 80 }] }], terminationGracePeriodSeconds: 30 },
});
const ipOf = (i: number) => `10.${20 + Math.floor(i / 65_536)}.${Math.floor(i / 256) % 256}.${i % 256}`;

async function makePods(from: number, to: number): Promise<void> {
  for (let i = from; i < to; i += 20)
    await Promise.all(
      Array.from({ length: Math.min(20, to - i) }, async (_, k) => {
        const name = `p${i + k}`;
        await server.must('POST', '/api/v1/namespaces/default/pods', podOf(name, i % 40 === 0 ? 'node-a' : 'node-b'));
        const status = { phase: 'Running', podIP: ipOf(i + k), podIPs: [{ ip: ipOf(i + k) }], startTime: new Date().toISOString() };
        await server.must('PATCH', `/api/v1/namespaces/default/pods/${name}/status`, { status });
      }),
    );
}

/** What the server says, by name and address. */
async function truth(): Promise<Map<string, string>> {
  const { items } = (await server.must('GET', '/api/v1/pods')) as { items: { metadata: { name: string }; status: { podIP?: string } }[] };
  return new Map(items.map((pod) => [pod.metadata.name, pod.status.podIP ?? '']));
}

test(
  `a real API server: ${COUNT} pods in pages, changes, its restart, a forgotten version; names are never wrong`,
  needsApiServer(),
  async () => {
    await makePods(0, COUNT);
    const api = new KubeApi(server.cluster());
    const watch = new KubeWatch({
      api,
      node: 'node-a',
      allPods: true,
      log,
      pageSize: Math.ceil(COUNT / 10),
      backOff: { firstMs: 100, mostMs: 1000 },
    });
    ends.push(() => watch.stop());
    const { view } = watch;
    let wrong = 0;
    let builds = 0;
    watch.onChange(() => {
      builds++;
      for (const pod of view.names.pods)
        for (const ip of pod.ips) if (ip !== ipOf(Number(pod.name.slice(1))) && ip !== '10.99.0.1') wrong++;
    });
    const lag = monitorEventLoopDelay({ resolution: 5 });
    lag.enable();
    watch.start();
    await until('all pods', () => view.synced && view.names.pods.length === COUNT, 30_000);
    lag.disable();
    assert.ok(lag.max / 1e6 < 100, `the loop rested for ${lag.max / 1e6} ms`);
    assert.equal(view.names.podByIp(ipOf(17))?.name, 'p17');
    assert.equal(view.podByAddress(ipOf(0))?.name, 'p0');
    assert.equal(view.podByAddress(ipOf(20)), undefined, 'of another node');
    assert.equal(
      view.names.serviceByName('default', 'kubernetes') === undefined || view.names.serviceByIp('10.96.0.1') !== undefined,
      true,
    );

    await server.must('PATCH', '/api/v1/namespaces/default/pods/p3', { metadata: { labels: { app: 'y' } } });
    await server.must('DELETE', '/api/v1/namespaces/default/pods/p4?gracePeriodSeconds=0');
    await until('the change', () => view.names.podByName('default', 'p3')?.labels.get('app') === 'y');
    await until('the deletion', () => view.names.podByName('default', 'p4') === undefined);
    await server.must('DELETE', '/api/v1/namespaces/default/pods/p0');
    await until('that it is to go', () => view.names.podByName('default', 'p0')?.deletedMs !== undefined);
    assert.equal(view.podByAddress(ipOf(0), Date.now() + 1000), undefined, 'no namespace from now on is its own');
    assert.equal(view.staleSince, undefined);

    const beforeMs = Date.now();
    await server.stopServer();
    await until('that it is stale', () => view.staleSince !== undefined);
    assert.ok(Date.parse(view.staleSince!) <= Date.now() && Date.parse(view.staleSince!) > beforeMs - 600_000);
    assert.equal(view.names.pods.length, COUNT - 1, 'what was known stays');
    assert.equal(view.podByAddress(ipOf(40), Date.now()), undefined, 'a namespace that came since may be anybody');
    await server.startServer();
    await makePods(COUNT, COUNT + 20);
    await until(
      'the new ones',
      () => view.staleSince === undefined && view.names.pods.filter(({ ips }) => ips.length > 0).length === COUNT + 19,
      30_000,
    );
    const lists = view.parts.map((part) => part.lists);
    assert.deepEqual(new Map(view.names.pods.map((pod) => [pod.name, pod.ips[0] ?? ''])), await truth());
    assert.equal(wrong, 0);
    process.stdout.write(
      `# ${COUNT} pods: names made ${builds} times, lists ${lists.join(' ')}, longest rest of the loop ${(lag.max / 1e6).toFixed(0)} ms\n`,
    );
    await watch.stop();
    api.close();
  },
);

test('a real API server: tokens, audiences and what they may do', needsApiServer(), async () => {
  const rights = { group: 'sidetrace.dev', resource: 'flows', namespace: 'default' };
  await server.must('POST', '/api/v1/namespaces/default/serviceaccounts', { metadata: { name: 'viewer' } });
  await server.must('POST', '/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles', {
    metadata: { name: 'flows' },
    rules: [{ apiGroups: ['sidetrace.dev'], resources: ['flows'], verbs: ['watch'] }],
  });
  await server.must('POST', '/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings', {
    metadata: { name: 'flows' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'flows' },
    subjects: [{ kind: 'ServiceAccount', name: 'viewer', namespace: 'default' }],
  });
  const tokenFor = async (audiences: string[]) =>
    (
      (await server.must('POST', '/api/v1/namespaces/default/serviceaccounts/viewer/token', {
        spec: { audiences, expirationSeconds: 600 },
      })) as {
        status: { token: string };
      }
    ).status.token;
  const api = new KubeApi(server.cluster());
  ends.push(() => api.close());
  const access = new KubeAccess(api);
  const good = await tokenFor(['sidetrace']);
  assert.equal((await access.review(good, ['sidetrace']))?.user, 'system:serviceaccount:default:viewer');
  assert.equal(await access.review(good, ['https://kubernetes.default.svc']), undefined, 'meant for us only');
  assert.equal(await access.review(good), undefined);
  const own = await tokenFor(['https://kubernetes.default.svc']);
  const user = await access.review(own, ['https://kubernetes.default.svc']);
  assert.equal(user?.user, 'system:serviceaccount:default:viewer');
  assert.ok(user.groups.includes('system:serviceaccounts'));
  assert.equal(await access.allowed(user, 'watch', rights), true);
  assert.equal(await access.allowed(user, 'get', rights), false);
  assert.equal(await access.allowed(user, 'watch', { ...rights, namespace: 'kube-system' }), false);
  assert.equal(await access.review(`${own.slice(0, -4)}AAAA`, ['https://kubernetes.default.svc']), undefined);
  assert.equal(await access.review(own, ['elsewhere']), undefined);
  assert.equal((await access.review('plain-token'))?.user, 'plain');
  await server.must('DELETE', '/api/v1/namespaces/default/serviceaccounts/viewer');
  await server.stopServer();
  await assert.rejects(access.review('another', []), /Cannot POST/);
  await server.startServer();
  assert.equal(await new KubeAccess(api).review(own, ['https://kubernetes.default.svc']), undefined, 'its account is gone');
});

test('a real API server: a client certificate, and a service account as a pod has it, renewed', needsApiServer(), async () => {
  const at = (name: string) => join(server.authority.folder, name);
  const { token: _token, ...bare } = server.cluster();
  const certified = new KubeApi({ ...bare, certificate: { chain: { file: at('node.crt') }, key: { file: at('node.key') } } });
  assert.ok((await certified.get('/api/v1/pods?limit=1')).length > 0);
  certified.close();
  const nobody = new KubeApi(bare);
  await assert.rejects(nobody.get('/api/v1/pods?limit=1'), /401|403/);
  nobody.close();
  writeFileSync(at('token'), 'wrong');
  const renewed = new KubeApi({ ...bare, token: { file: at('token') } });
  await assert.rejects(renewed.get('/api/v1/pods?limit=1'), /401/);
  writeFileSync(at('token'), server.adminToken);
  assert.ok((await renewed.get('/api/v1/pods?limit=1')).length > 0);
  renewed.close();
});
