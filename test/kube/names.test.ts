import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KubeNames, nameOf } from '../../src/kube/names.ts';
import { parseKubeObjects } from '../../src/kube/objects.ts';
import { openInput } from '../../src/source/input.ts';
import { needsReference, referencePath } from '../reference.ts';

interface PodGiven {
  name: string;
  ip: string;
  namespace?: string;
  uid?: string;
  phase?: string;
  hostNetwork?: boolean;
  labels?: object;
  owner?: { kind: string; name: string };
  ports?: object[];
  node?: string;
}

const pod = ({
  name,
  ip,
  namespace = 'shop',
  uid = name,
  phase = 'Running',
  hostNetwork = false,
  labels = {},
  owner,
  ports = [],
  node = 'node-a',
}: PodGiven) => ({
  kind: 'Pod',
  metadata: { name, namespace, uid, labels, ...(owner === undefined ? {} : { ownerReferences: [{ ...owner, controller: true }] }) },
  spec: { nodeName: node, hostNetwork, containers: [{ ports }] },
  status: { phase, podIP: ip, hostIP: '192.168.0.1' },
});
const service = (name: string, spec: object, namespace = 'shop') => ({ kind: 'Service', metadata: { name, namespace }, spec });
const slice = (of: string, endpoints: object[], ports: object[], namespace = 'shop') => ({
  kind: 'EndpointSlice',
  metadata: { name: `${of}-${ports.length}`, namespace, labels: { 'kubernetes.io/service-name': of } },
  endpoints,
  ports,
});
const names = (...items: object[]) => new KubeNames(parseKubeObjects(JSON.stringify({ apiVersion: 'v1', kind: 'List', items }), 'test'));
const served = (found: readonly { namespace: string; name: string }[]) => found.map(nameOf);

test('an address names a pod only where one live pod has it for itself', () => {
  const known = names(
    pod({ name: 'one', ip: '10.0.0.1' }),
    pod({ name: 'first', ip: '10.0.0.2' }),
    pod({ name: 'second', ip: '10.0.0.2' }),
    pod({ name: 'proxy', ip: '192.168.0.1', hostNetwork: true }),
    pod({ name: 'job', ip: '10.0.0.3', phase: 'Succeeded' }),
    pod({ name: 'heir', ip: '10.0.0.3' }),
    pod({ name: 'six', ip: 'fd00::7' }),
  );
  assert.deepEqual(
    ['10.0.0.1', '10.0.0.2', '192.168.0.1', '10.0.0.3', 'FD00:0::7', '10.9.9.9'].map((ip) => known.podByIp(ip)?.name),
    ['one', undefined, undefined, 'heir', 'six', undefined],
  );
  assert.equal(known.podByUid('job')?.name, 'job');
  assert.equal(known.podByName('shop', 'proxy')?.hostNetwork, true);
});

test('the address of a node is told by the pods that run there, unless they contradict each other', () => {
  assert.equal(names(pod({ name: 'a', ip: '10.0.0.1' }), pod({ name: 'b', ip: '10.0.0.2' })).nodeByIp('192.168.0.1'), 'node-a');
  assert.equal(
    names(pod({ name: 'a', ip: '10.0.0.1' }), pod({ name: 'b', ip: '10.0.0.2', node: 'node-b' })).nodeByIp('192.168.0.1'),
    undefined,
  );
});

// owner, labels, and the workload behind it
const owners: [string, PodGiven['owner'], object, string | undefined][] = [
  [
    'a ReplicaSet with the hash of its template is a Deployment',
    { kind: 'ReplicaSet', name: 'web-v1-7bbc4c5497' },
    { 'pod-template-hash': '7bbc4c5497' },
    'Deployment web-v1',
  ],
  ['a ReplicaSet without the hash stays one', { kind: 'ReplicaSet', name: 'web-7bbc4c5497' }, {}, 'ReplicaSet web-7bbc4c5497'],
  ['a ReplicaSet of another hash stays one', { kind: 'ReplicaSet', name: 'web-1' }, { 'pod-template-hash': '2' }, 'ReplicaSet web-1'],
  [
    'a ReplicaSet that is called only after its hash stays one',
    { kind: 'ReplicaSet', name: '-1' },
    { 'pod-template-hash': '1' },
    'ReplicaSet -1',
  ],
  ['a StatefulSet', { kind: 'StatefulSet', name: 'db' }, {}, 'StatefulSet db'],
  ['a DaemonSet', { kind: 'DaemonSet', name: 'cni' }, {}, 'DaemonSet cni'],
  ['a Job', { kind: 'Job', name: 'nightly-123' }, {}, 'Job nightly-123'],
  ['nobody', undefined, {}, undefined],
];
for (const [name, owner, labels, expected] of owners)
  test(`the workload of a pod: ${name}`, () => {
    const known = names(pod({ name: 'p', ip: '10.0.0.1', labels, ...(owner === undefined ? {} : { owner }) }));
    const workload = known.workloadOf(known.podByIp('10.0.0.1')!);
    assert.equal(workload === undefined ? undefined : `${workload.kind} ${workload.name}`, expected);
  });

test('a service is found by its address; of several that share one, by the port', () => {
  const known = names(
    service('web', { clusterIP: '10.96.0.1', clusterIPs: ['10.96.0.1', 'fd00::1'], ports: [{ port: 80 }] }),
    service('a', { clusterIP: '10.96.0.2', externalIPs: ['1.1.1.1'], ports: [{ port: 80 }, { port: 53, protocol: 'UDP' }] }),
    service('b', { clusterIP: '10.96.0.3', externalIPs: ['1.1.1.1'], ports: [{ port: 443 }, { port: 53, protocol: 'TCP' }] }),
    service('headless', { clusterIP: 'None', ports: [{ port: 80 }] }),
  );
  assert.deepEqual(
    [
      known.serviceByIp('10.96.0.1', 9999),
      known.serviceByIp('fd00:0:0::1'),
      known.serviceByIp('1.1.1.1', 443),
      known.serviceByIp('1.1.1.1', 53, 'udp'),
      known.serviceByIp('1.1.1.1', 53),
      known.serviceByIp('1.1.1.1'),
      known.serviceByIp('10.96.0.9', 80),
    ].map((s) => s?.name),
    ['web', 'web', 'b', 'a', undefined, undefined, undefined],
  );
  assert.equal(known.serviceByName('shop', 'headless')?.clusterIps.length, 0);
});

test('the services of a pod come from endpoint slices, by port', () => {
  const endpoint = (name: string, ip: string) => ({ addresses: [ip], targetRef: { kind: 'Pod', name, namespace: 'shop', uid: name } });
  const known = names(
    pod({ name: 'web-1', ip: '10.0.0.1', labels: { app: 'web' } }),
    service('web', { clusterIP: '10.96.0.1', selector: { app: 'web' }, ports: [{ port: 80, targetPort: 8080 }] }),
    slice('web', [endpoint('web-1', '10.0.0.1')], [{ port: 8080, protocol: 'TCP' }]),
    slice('admin', [endpoint('web-1', '10.0.0.1')], [{ port: 9090 }, { port: 9091 }]),
    slice('all', [endpoint('web-1', '10.0.0.1')], [{ port: null }, {}, {}]),
    slice('former', [endpoint('gone', '10.0.0.1')], [{ port: 8080 }, {}, {}, {}]),
    slice('outside', [{ addresses: ['10.7.7.7'] }], [{ port: 5432 }]),
  );
  assert.deepEqual(served(known.servicesOfPod('10.0.0.1', 8080)), ['shop/all', 'shop/web']);
  assert.deepEqual(served(known.servicesOfPod('10.0.0.1', 9091, 'tcp')), ['shop/admin', 'shop/all']);
  assert.deepEqual(served(known.servicesOfPod('10.0.0.1', 9091, 'udp')), []);
  assert.deepEqual(served(known.servicesOfPod(known.podByIp('10.0.0.1')!)), ['shop/admin', 'shop/all', 'shop/web']);
  assert.deepEqual(served(known.servicesOfPod('10.7.7.7', 5432)), ['shop/outside']);
});

test('a service without slices is judged by its selector and its target port', () => {
  const known = names(
    pod({ name: 'web-1', ip: '10.0.0.1', labels: { app: 'web', tier: 'front' }, ports: [{ containerPort: 8080, name: 'http' }] }),
    service('number', { selector: { app: 'web' }, ports: [{ port: 80, targetPort: 8080 }] }),
    service('named', { selector: { app: 'web', tier: 'front' }, ports: [{ port: 80, targetPort: 'http' }] }),
    service('same', { selector: { app: 'web' }, ports: [{ port: 8080 }] }),
    service('other-label', { selector: { app: 'web', tier: 'back' }, ports: [{ port: 8080 }] }),
    service('other-port', { selector: { app: 'web' }, ports: [{ port: 8080, targetPort: 9090 }] }),
    service('no-selector', { ports: [{ port: 8080 }] }),
    service('elsewhere', { selector: { app: 'web' }, ports: [{ port: 8080 }] }, 'other'),
  );
  assert.deepEqual(served(known.servicesOfPod('10.0.0.1', 8080)), ['shop/named', 'shop/number', 'shop/same']);
});

test('every pod of the reference bundles has its address, its workload and its service', needsReference('bundles'), () => {
  const input = openInput(referencePath('bundles', 'bookinfo', 'node-a.tar.gz')!);
  assert.ok(input.kind === 'bundle');
  const known = new KubeNames(
    ...['pods.json', 'services.json', 'endpointslices.json'].map((file) => parseKubeObjects(input.bundle.readText(file)!, file)),
  );
  input.bundle.close();
  assert.equal(known.pods.length, 12);
  for (const given of known.pods) assert.equal(known.podByIp(given.ips[0]!), given);
  const reviews = known.pods.find((p) => p.name.startsWith('reviews-v2'))!;
  assert.deepEqual(known.workloadOf(reviews), { kind: 'Deployment', namespace: 'default', name: 'reviews-v2' });
  assert.deepEqual(served(known.servicesOfPod(reviews, 9080)), ['default/reviews']);
  assert.deepEqual(served(known.servicesOfPod(reviews, 9081)), []);
});

test('an address that a flow had before the pod that has it now was taken on names nobody', () => {
  const startedMs = Date.UTC(2026, 0, 1);
  const status = { podIP: '10.0.0.1', startTime: '2026-01-01T00:00:00Z' };
  const { pods } = parseKubeObjects(
    JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'a', namespace: 'n' }, status }),
    'x',
  );
  const names = new KubeNames({ pods, services: [], endpointSlices: [] });
  assert.equal(names.podByIp('10.0.0.1', startedMs - 1), undefined);
  assert.equal(names.podByIp('10.0.0.1', startedMs)?.name, 'a');
  assert.equal(names.podByIp('10.0.0.1')?.name, 'a');
});
