import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clientOfAlpn, isMeshProtocol } from '../../src/istio/alpn.ts';
import {
  formatClusterName,
  formatServerName,
  parseClusterName,
  parseServerName,
  serviceOfHost,
  specialCluster,
} from '../../src/istio/cluster-name.ts';
import { judgeMutual, type TlsFacts } from '../../src/istio/mutual-tls.ts';
import { roleOfPort } from '../../src/istio/port-role.ts';
import { parseProxy } from '../../src/istio/proxy.ts';

const names: [string, string][] = [
  ['outbound|9080||reviews.default.svc.cluster.local', 'outbound_.9080_._.reviews.default.svc.cluster.local'],
  ['outbound|80|one|cart.shop.svc.cluster.local', 'outbound_.80_.one_.cart.shop.svc.cluster.local'],
  ['outbound|443|a-b|under_score.example', 'outbound_.443_.a-b_.under_score.example'],
  ['inbound|9080||', 'inbound_.9080_._.'],
  ['inbound-vip|8080|http|echo.default.svc.cluster.local', 'inbound-vip_.8080_.http_.echo.default.svc.cluster.local'],
];

for (const [cluster, serverName] of names)
  test(`${cluster} is ${serverName}, both ways`, () => {
    const name = parseClusterName(cluster)!;
    assert.equal(formatClusterName(name), cluster);
    assert.equal(formatServerName(name), serverName);
    assert.deepEqual(parseServerName(serverName), name);
  });

test('names of another form are none', () => {
  for (const text of [
    'PassthroughCluster',
    'xds-grpc',
    '',
    'outbound|x||h',
    'outbound|80|h',
    'sideways|80||h',
    'outbound|99999||h',
    'outbound|80||h|x',
  ])
    assert.equal(parseClusterName(text), undefined);
  for (const text of ['www.example.com', '', 'outbound_.80_.h', 'outbound_.x_._.h', 'a_.80_._.h'])
    assert.equal(parseServerName(text), undefined);
});

test('an inbound cluster of old holds the name of the port and the host', () => {
  assert.deepEqual(parseClusterName('inbound|9080|http|details.default.svc.cluster.local'), {
    direction: 'inbound',
    port: 9080,
    subset: 'http',
    host: 'details.default.svc.cluster.local',
  });
});

test('clusters with a meaning of their own', () => {
  assert.equal(specialCluster('InboundPassthroughClusterIpv4'), 'inbound-passthrough');
  assert.equal(specialCluster('BlackHoleCluster'), 'black-hole');
  assert.equal(specialCluster('toString'), undefined);
});

test('the service of a host', () => {
  assert.equal(serviceOfHost('reviews.default.svc.cluster.local'), 'default/reviews');
  assert.equal(serviceOfHost('reviews.default.svc'), 'default/reviews');
  assert.equal(serviceOfHost('api.example'), undefined);
  assert.equal(serviceOfHost('a.b.c.svc.cluster.local'), undefined);
});

test('ALPN names of the mesh', () => {
  assert.equal(clientOfAlpn(['istio-http/1.1', 'istio', 'http/1.1']), 'mesh-http');
  assert.equal(clientOfAlpn(['istio-peer-exchange', 'istio']), 'mesh-tcp');
  assert.equal(clientOfAlpn(['h2', 'http/1.1']), 'foreign');
  assert.equal(clientOfAlpn([]), 'foreign');
  assert.equal(isMeshProtocol('istiod'), false);
});

const verdicts: [string, TlsFacts, boolean | undefined, string | undefined][] = [
  ['plain text', { transport: 'raw_buffer', chain: 'mutual' }, false, 'plaintext'],
  ['a chain that asks for a certificate', { transport: 'tls', alpn: ['h2'], chain: 'mutual' }, true, 'chain'],
  ['a chain with TLS of the server only', { transport: 'tls', alpn: ['istio'], chain: 'tls' }, false, 'server-only'],
  ["the mesh's own ALPN", { transport: 'tls', alpn: ['istio', 'http/1.1'] }, true, 'alpn'],
  ['what the server picked', { transport: 'tls', negotiated: 'istio' }, true, 'alpn'],
  ["the mesh's own server name", { transport: 'tls', serverName: 'outbound_.80_._.a.b.svc.cluster.local' }, true, 'server-name'],
  ['a certificate that was seen', { transport: 'tls', clientCertificate: true }, true, 'client-certificate'],
  ['TLS of the application', { transport: 'tls', serverName: 'www.example.com', alpn: ['h2'], chain: 'plaintext' }, undefined, undefined],
  ['nothing seen', { transport: 'unknown' }, undefined, undefined],
  ['nothing seen, but only a chain for mutual TLS takes it', { transport: 'unknown', chain: 'mutual' }, true, 'chain'],
];

for (const [name, facts, mutual, by] of verdicts)
  test(`mutual TLS: ${name}`, () => {
    const verdict = judgeMutual(facts);
    assert.deepEqual([verdict?.mutual, verdict?.by], [mutual, by]);
  });

test('roles of ports', () => {
  assert.equal(roleOfPort(15_006)?.name, 'inbound');
  assert.equal(roleOfPort(15_053, 'udp')?.name, 'dns');
  assert.equal(roleOfPort(15_001, 'udp'), undefined);
  assert.equal(roleOfPort(80), undefined);
});

test('a proxy by its node', () => {
  const proxy = parseProxy({
    id: 'sidecar~10.1.0.5~a-pod.shop~shop.svc.cluster.local',
    metadata: {
      ISTIO_VERSION: '1.24.2',
      INTERCEPTION_MODE: 'TPROXY',
      INSTANCE_IPS: '10.1.0.5,fd00::5',
      DNS_CAPTURE: 'true',
      PROXY_CONFIG: { proxyAdminPort: 15_000 },
      ENVOY_STATUS_PORT: '15021',
      LABELS: { app: 'a', bad: 5 },
    },
  });
  assert.deepEqual(
    [
      proxy.type,
      proxy.name,
      proxy.namespace,
      proxy.istioVersion,
      proxy.interceptionMode,
      proxy.addresses,
      proxy.dnsCapture,
      proxy.adminPort,
      proxy.statusPort,
      proxy.labels,
    ],
    ['sidecar', 'a-pod', 'shop', '1.24.2', 'TPROXY', ['10.1.0.5', 'fd00::5'], true, 15_000, 15_021, { app: 'a' }],
  );
  const plain = parseProxy({ id: 'edge-1', metadata: {} });
  assert.deepEqual([plain.type, plain.istioVersion, plain.interceptionMode], ['unknown', '', undefined]);
});
