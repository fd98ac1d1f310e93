import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { KubeSyntaxError, parseKubeObjects, readKubeObject } from '../../src/kube/objects.ts';

const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'a', namespace: 'shop' }, status: { podIP: '10.0.0.1' } };

test('a single object, a List of several kinds, and a typed list of the API are read', () => {
  const service = { apiVersion: 'v1', kind: 'Service', metadata: { name: 's', namespace: 'shop' }, spec: { clusterIP: '10.96.0.1' } };
  const { kind: _kind, apiVersion: _version, ...bare } = pod;
  assert.equal(parseKubeObjects(JSON.stringify(pod), 'pod').pods[0]?.ips[0], '10.0.0.1');
  const mixed = parseKubeObjects(
    JSON.stringify({ apiVersion: 'v1', kind: 'List', items: [pod, service, { kind: 'Secret', metadata: { name: 'x' } }] }),
    'all',
  );
  assert.deepEqual([mixed.pods.length, mixed.services.length, mixed.endpointSlices.length], [1, 1, 0]);
  assert.equal(parseKubeObjects(JSON.stringify({ apiVersion: 'v1', kind: 'PodList', items: [bare] }), 'api').pods[0]?.name, 'a');
  assert.deepEqual(parseKubeObjects('{"apiVersion":"v1","kind":"List","items":[]}', 'empty'), {
    pods: [],
    services: [],
    endpointSlices: [],
  });
});

test('fields of a pod, a service and an endpoint slice are read; addresses are canonical, what does not fit is absent', () => {
  const { pods, services, endpointSlices } = parseKubeObjects(
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'List',
      items: [
        {
          kind: 'Pod',
          metadata: {
            name: 'p',
            uid: 'u',
            labels: { app: 'x', bad: 7 },
            ownerReferences: [
              { kind: 'Node', name: 'n' },
              { kind: 'Job', name: 'j', controller: true },
            ],
          },
          spec: {
            nodeName: 'node-a',
            hostNetwork: true,
            containers: [{ ports: [{ containerPort: 80, name: 'http' }, { containerPort: 'no' }] }],
            initContainers: [{ ports: [{ containerPort: 53, protocol: 'UDP' }] }],
          },
          status: {
            phase: 'Running',
            podIP: '10.0.0.1',
            podIPs: [{ ip: '10.0.0.1' }, { ip: 'FD00:0::1' }, { ip: 'nonsense' }],
            hostIP: '10.1.0.1',
          },
        },
        {
          kind: 'Service',
          metadata: { name: 's', namespace: 'n' },
          spec: {
            type: 'LoadBalancer',
            clusterIP: 'None',
            clusterIPs: ['None', 'fd00::5'],
            externalIPs: ['1.2.3.4'],
            selector: { app: 'x' },
            ports: [
              { port: 80, targetPort: 'http', nodePort: 30_080 },
              { port: 53, protocol: 'UDP' },
            ],
          },
          status: { loadBalancer: { ingress: [{ ip: '5.6.7.8' }, { hostname: 'lb' }] } },
        },
        {
          kind: 'EndpointSlice',
          metadata: { name: 's-1', namespace: 'n', labels: { 'kubernetes.io/service-name': 's' } },
          endpoints: [
            {
              addresses: ['10.0.0.1'],
              conditions: { ready: false },
              targetRef: { kind: 'Pod', name: 'p', namespace: 'default', uid: 'u' },
            },
          ],
          ports: [{ port: 80, name: 'http' }, { port: null }],
        },
      ],
    }),
    'all',
  );
  assert.deepEqual(pods[0], {
    namespace: 'default',
    name: 'p',
    uid: 'u',
    node: 'node-a',
    phase: 'Running',
    ips: ['10.0.0.1', 'fd00::1'],
    hostIps: ['10.1.0.1'],
    hostNetwork: true,
    labels: new Map([['app', 'x']]),
    annotations: new Map(),
    owner: { kind: 'Job', name: 'j' },
    ports: [
      { port: 80, protocol: 'TCP', name: 'http' },
      { port: 53, protocol: 'UDP' },
    ],
  });
  assert.deepEqual(services[0], {
    namespace: 'n',
    name: 's',
    type: 'LoadBalancer',
    clusterIps: ['fd00::5'],
    externalIps: ['1.2.3.4', '5.6.7.8'],
    selector: new Map([['app', 'x']]),
    ports: [
      { port: 80, protocol: 'TCP', targetPort: 'http', nodePort: 30_080 },
      { port: 53, protocol: 'UDP', targetPort: 53 },
    ],
  });
  assert.deepEqual(endpointSlices[0], {
    namespace: 'n',
    name: 's-1',
    service: 's',
    endpoints: [{ addresses: ['10.0.0.1'], ready: false, pod: { namespace: 'default', name: 'p', uid: 'u' } }],
    ports: [{ port: 80, protocol: 'TCP', name: 'http' }, { protocol: 'TCP' }],
  });
});

for (const [name, text, message] of [
  ['no JSON', 'NAME READY', /^Cannot read "pods.json" as the output of kubectl get -o json: JSON is wanted, at byte 0 /],
  ['other JSON', '{"configs":[]}', /an object with "kind" and "apiVersion" is wanted, it has none$/],
  ['a list of JSON', '[1]', /is wanted, it has none$/],
] as const)
  test(`${name} is refused`, () => {
    assert.throws(
      () => parseKubeObjects(text, 'pods.json'),
      (error) => error instanceof KubeSyntaxError && error.path === 'pods.json' && message.test(error.message),
    );
  });

test('property: any JSON in place of any field gives objects or is passed over', () => {
  const list = (items: unknown) => JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
  fc.assert(
    fc.property(fc.constantFrom('Pod', 'Service', 'EndpointSlice'), fc.jsonValue(), fc.jsonValue(), fc.jsonValue(), (kind, a, b, c) => {
      const { pods, services, endpointSlices } = parseKubeObjects(
        list([
          { kind, metadata: { name: 'x', labels: a, ownerReferences: b }, spec: c, status: a, endpoints: b, ports: c },
          { kind, metadata: a },
          {
            kind,
            metadata: { name: 'x' },
            spec: { containers: [{ ports: a }], ports: [b], selector: c, clusterIPs: a },
            status: { podIPs: b, loadBalancer: { ingress: c } },
            endpoints: [a],
            ports: [b],
          },
          a,
        ]),
        'any',
      );
      assert.ok(pods.length + services.length + endpointSlices.length >= 2);
    }),
    { seed: 20270, numRuns: 1000 },
  );
});

test('when a pod was taken on, and when its deletion was asked for: the end of its grace period less that period', () => {
  const read = (metadata: object, status: object) => readKubeObject('Pod', { metadata: { name: 'p', ...metadata }, status });
  const day = Date.UTC(2026, 0, 1);
  const pod = read({ deletionTimestamp: '2026-01-01T00:01:00Z', deletionGracePeriodSeconds: 30 }, { startTime: '2026-01-01T00:00:00Z' });
  assert.deepEqual([pod?.startedMs, pod?.deletedMs], [day, day + 30_000]);
  assert.equal(read({ deletionTimestamp: '2026-01-01T00:01:00Z' }, {})?.deletedMs, day + 60_000);
  assert.equal(read({ deletionTimestamp: 7 }, { startTime: 'soon' })?.startedMs, undefined);
});
