/**
 * The DaemonSet of deploy/ in the lab, applied as a user would: its pods run on both nodes with exactly the rights that the manifest gives, and `observe` through its Service
 * shows Bookinfo. `npm run -s system -- deploy`
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { Lab, type LabPod, run, until } from './lab.ts';
import { mountsOf, namespaceOf, rightsOf, rightsWanted, type SecurityContext } from './rights.ts';

const NAMESPACE = 'sidetrace';
const SERVICE = 'https://sidetrace.sidetrace.svc.cluster.local:4280';
const CONTAINERS = ['probe', 'daemon'] as const;
const program = resolve('dist/src/cli/main.js');

interface PodObject {
  readonly metadata: { readonly name: string; readonly uid: string };
  readonly status: { readonly podIP: string };
  readonly spec: {
    readonly nodeName: string;
    readonly hostPID?: boolean;
    readonly securityContext?: SecurityContext;
    readonly containers: readonly {
      readonly name: string;
      readonly securityContext?: SecurityContext;
      readonly volumeMounts?: readonly { readonly mountPath: string; readonly readOnly?: boolean; readonly mountPropagation?: string }[];
    }[];
  };
}

let lab: Lab;
const folder = mkdtempSync(join(tmpdir(), 'sidetrace-deploy-'));
const caFile = join(folder, 'authority/ca.crt');

const kubectl = (...words: string[]) => lab.kubectl('-n', NAMESPACE, ...words);
const daemons = (): PodObject[] =>
  (JSON.parse(kubectl('get', 'pods', '-l', 'app.kubernetes.io/name=sidetrace', '-o', 'json')) as { items: PodObject[] }).items;
/** The process of a container, as the machine numbers it. */
const processOf = (pod: PodObject, container: string) =>
  Number(
    readFileSync(
      join(lab.folder, 'kubelet', pod.spec.nodeName.slice('node-'.length), 'pods', pod.metadata.uid, `${container}.pid`),
      'utf8',
    ),
  );
const logOf = (pod: PodObject, container: string) =>
  readFileSync(join(lab.folder, 'kubelet', pod.spec.nodeName.slice('node-'.length), 'pods', pod.metadata.uid, `${container}.log`), 'utf8');

function applied(objects: string): void {
  run([resolve('test/mesh/mesh'), 'kubectl', 'apply', '-f', '-'], objects);
}

/** New pods, all of them ready: the daemon's readiness is a capture that is open. */
async function rolledOut(): Promise<PodObject[]> {
  try {
    kubectl('rollout', 'status', 'daemonset/sidetrace', '--timeout=120s');
  } catch (error) {
    for (const pod of daemons())
      for (const container of CONTAINERS)
        process.stderr.write(`${pod.metadata.name} ${container}: ${logOf(pod, container).slice(-1500)}\n`);
    throw error;
  }
  return daemons();
}

function token(account: string, audience = 'sidetrace'): string {
  const file = join(folder, `token-${account}-${encodeURIComponent(audience)}`);
  writeFileSync(file, kubectl('create', 'token', account, '--audience', audience), { mode: 0o644 });
  return file;
}

/** The command line in the network of a pod without a sidecar: an ordinary client in the cluster. */
function client(pod: LabPod, words: readonly string[], seconds = 30): { code: number | null; out: string; error: string } {
  const [command, ...rest] = lab.inPod(pod, [process.execPath, program, ...words], 'app');
  const done = spawnSync(command!, rest, { encoding: 'utf8', timeout: seconds * 1000, killSignal: 'SIGINT', maxBuffer: 256 * 1024 * 1024 });
  return { code: done.status, out: done.stdout, error: done.stderr };
}

interface Line {
  readonly type: string;
  readonly node?: string;
  readonly netns?: string;
  readonly request?: { readonly path?: string; readonly status?: number; readonly authority?: string };
  readonly decisions?: readonly {
    readonly decision: { readonly outcome: string; readonly cluster?: string; readonly endpoint?: string };
  }[];
  readonly legs?: readonly { readonly node: string; readonly netns: string; readonly roles: readonly string[] }[];
}

before(() => {
  lab = Lab.bringUp('redirect');
  applied(readFileSync('deploy/manifests/00-namespace.yaml', 'utf8'));
  applied(run([resolve('deploy/make-certificate'), join(folder, 'authority')]));
  lab.kubectl('apply', '-f', resolve('deploy/manifests'));
  for (const account of ['reader', 'stranger'])
    applied(`{apiVersion: v1, kind: ServiceAccount, metadata: {name: ${account}, namespace: ${NAMESPACE}}}`);
  applied(
    `{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: sidetrace-reader}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: sidetrace-observe}, subjects: [{kind: ServiceAccount, name: reader, namespace: ${NAMESPACE}}]}`,
  );
  spawnSync('chmod', ['-R', 'a+rX', folder]);
});

after(() => {
  lab.kubectl('delete', '--ignore-not-found', 'clusterrolebinding', 'sidetrace-reader');
  lab.kubectl('delete', '--ignore-not-found', '-f', resolve('deploy/manifests'));
  rmSync(folder, { recursive: true });
});

/** Every thread of both programs on both nodes against what the API server says that their pods were given. */
function assertRights(pods: readonly PodObject[]): void {
  assert.deepEqual(pods.map(({ spec }) => spec.nodeName).sort(), ['node-a', 'node-b']);
  for (const pod of pods) {
    for (const { name, securityContext = {}, volumeMounts = [] } of pod.spec.containers) {
      const pid = processOf(pod, name);
      const wanted = rightsWanted(pod.spec.securityContext ?? {}, securityContext);
      const threads = rightsOf(pid);
      for (const rights of threads) assert.deepEqual(rights, wanted, `${pod.spec.nodeName} ${name}`);
      assert.ok(name === 'probe' || threads.length > 4, 'the threads of Node.js are among them');
      for (const kind of ['pid', 'mnt', 'net', 'ipc', 'uts'] as const)
        assert.notEqual(namespaceOf(pid, kind), namespaceOf('self', kind), `${name}: ${kind}`);
      const mounts = mountsOf(pid);
      assert.equal(mounts.find(({ at }) => at === '/')?.readOnly, true, `${name}: its root`);
      for (const { mountPath, readOnly = false, mountPropagation } of volumeMounts) {
        const mount = mounts.find(({ at }) => at === mountPath) ?? assert.fail(`${name}: ${mountPath} must be mounted`);
        assert.deepEqual([mount.readOnly, mount.follows], [readOnly, mountPropagation === 'HostToContainer'], `${name}: ${mountPath}`);
      }
      assert.equal(
        mounts.some(({ at }) => at.startsWith('/run/netns')),
        name === 'probe',
        `${name}: the namespaces of pods`,
      );
    }
  }
}

test('its pods run on both nodes with exactly the rights that the manifest gives, every thread', { timeout: 180_000 }, async () => {
  const pods = await rolledOut();
  assertRights(pods);
  for (const pod of pods)
    for (const { securityContext } of pod.spec.containers) assert.deepEqual(securityContext?.capabilities?.drop, ['ALL']);
});

test('the daemon opens no inspector on SIGUSR1', { timeout: 30_000 }, async () => {
  const [pod] = daemons();
  const pid = processOf(pod!, 'daemon');
  process.kill(pid, 'SIGUSR1');
  await new Promise((done) => setTimeout(done, 1000));
  // Port 9229 in hexadecimal, in the pod's network.
  assert.doesNotMatch(readFileSync(`/proc/${pid}/net/tcp`, 'utf8'), /:240D /);
});

test("the daemon's account may read names and ask who a caller is; no secrets, no pods to enter, no nodes", {
  timeout: 60_000,
}, () => {
  const may = (verb: string, resource: string, subresource = '') =>
    spawnSync(
      resolve('test/mesh/mesh'),
      [
        'kubectl',
        'auth',
        'can-i',
        verb,
        resource,
        `--subresource=${subresource}`,
        '-A',
        `--as=system:serviceaccount:${NAMESPACE}:sidetrace`,
      ],
      { encoding: 'utf8' },
    ).stdout.trim();
  for (const [verb, resource] of [
    ['list', 'pods'],
    ['watch', 'endpointslices.discovery.k8s.io'],
    ['create', 'tokenreviews.authentication.k8s.io'],
  ])
    assert.equal(may(verb!, resource!), 'yes', `${verb} ${resource}`);
  for (const [verb, resource, subresource] of [
    ['get', 'secrets'],
    ['list', 'configmaps'],
    ['create', 'pods'],
    ['create', 'pods', 'exec'],
    ['get', 'pods', 'log'],
    ['get', 'nodes'],
    ['get', 'nodes', 'proxy'],
    ['delete', 'pods'],
    ['observe', 'flows.sidetrace.dev'],
  ])
    assert.equal(may(verb!, resource!, subresource), 'no', `${verb} ${resource} ${subresource ?? ''}`);
});

test('observe through the Service shows Bookinfo, on both nodes', { timeout: 180_000 }, async () => {
  const from = lab.pod('outsider');
  const reader = token('reader');
  const observe = ['observe', '--server', SERVICE, '--token-file', reader, '--tls-ca-cert-files', caFile, '-o', 'json', '--last', '5000'];
  const wanted = ['app-to-proxy', 'proxy-to-upstream', 'client-to-proxy', 'proxy-to-app'];
  const rolesOf = (record: Line) => record.legs?.flatMap((leg) => leg.roles) ?? [];
  let closest: readonly string[] = [];
  const asked = await until(`a request for /productpage in the stream, on both nodes, with the legs ${wanted.join(', ')}`, 60, () => {
    for (let i = 0; i < 5; i += 1)
      run(lab.inPod(lab.pod('client'), ['curl', '-sf', '-o', '/dev/null', 'http://productpage:9080/productpage'], 'app'));
    const seen = client(from, observe);
    assert.equal(seen.code, 0, seen.error);
    const records = seen.out
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Line);
    if (new Set(records.map((record) => record.node).filter(Boolean)).size !== 2) return undefined;
    const found = records.filter(
      (record) => record.type === 'path' && record.request?.path === '/productpage' && record.request.status === 200,
    );
    // One node may not have told its part of the latest yet.
    for (const record of found) if (rolesOf(record).length > closest.length) closest = rolesOf(record);
    return found.find((record) => wanted.every((role) => rolesOf(record).includes(role)));
  }).catch((error: Error) => assert.fail(`${error.message}; the most legs that a path had were ${closest.join(', ') || 'none'}`));
  const forwarded = asked.decisions?.map(({ decision }) => decision).filter(({ outcome }) => outcome === 'forwarded') ?? [];
  const productpage = lab.pod('productpage');
  assert.ok(
    forwarded.some(
      ({ cluster, endpoint }) =>
        cluster === 'outbound|9080||productpage.default.svc.cluster.local' && endpoint === `${productpage.ip}:9080`,
    ),
    `the cluster and endpoint of productpage are wanted, the decisions are ${JSON.stringify(forwarded)}`,
  );
});

test('a probe that is killed is started again, and the daemon goes on', { timeout: 120_000 }, async () => {
  const [pod] = daemons();
  const daemon = processOf(pod!, 'daemon');
  const before = processOf(pod!, 'probe');
  process.kill(before, 'SIGKILL');
  await until('another probe', 30, () => processOf(pod!, 'probe') !== before);
  const from = lab.pod('outsider');
  const metrics = () => run(lab.inPod(from, ['curl', '-sf', `http://${pod!.status.podIP}:4281/metrics`], 'app'));
  const text = await until('the probe connected again', 30, () => {
    const told = metrics();
    return /^sidetrace_probe_up 1$/m.test(told) && /^sidetrace_probe_restarts_total 1$/m.test(told) && told;
  });
  assert.match(text, /^sidetrace_lost_total\{stage="gap"\} [1-9]/m);
  await until('the captures open again', 30, () => /^sidetrace_namespaces\{state="capturing"\} [1-9]/m.test(metrics()));
  assert.equal(processOf(pod!, 'daemon'), daemon);
  assertRights(daemons());
});

test('without a token, with one for somebody else and with one that may not, nothing is shown', { timeout: 60_000 }, () => {
  const from = lab.pod('outsider');
  const refused = (...words: string[]) =>
    client(from, ['observe', '--server', SERVICE, '--tls-ca-cert-files', caFile, '--last', '1', ...words]);
  for (const answer of [
    refused(),
    refused('--token-file', token('reader', 'https://kubernetes.default.svc')),
    refused('--token-file', token('stranger')),
  ]) {
    assert.equal(answer.code, 3, answer.error);
    assert.equal(answer.out, '');
  }
});

test('with the seccomp profiles of the chart it runs and captures as well', { timeout: 240_000 }, async () => {
  for (const node of ['a', 'b']) {
    const target = join(lab.folder, 'kubelet', node, 'seccomp/sidetrace');
    mkdirSync(target, { recursive: true });
    cpSync('deploy/chart/seccomp', target, { recursive: true });
  }
  const containers = CONTAINERS.map((name) => ({
    name,
    securityContext: { seccompProfile: { type: 'Localhost', localhostProfile: `sidetrace/${name}.json` } },
  }));
  kubectl(
    'patch',
    'daemonset',
    'sidetrace',
    '-p',
    JSON.stringify({ spec: { updateStrategy: { rollingUpdate: { maxUnavailable: 2 } }, template: { spec: { containers } } } }),
  );
  const pods = await rolledOut();
  assertRights(pods);
  for (const pod of pods)
    for (const { securityContext } of pod.spec.containers) assert.equal(securityContext?.seccompProfile?.type, 'Localhost');
});
