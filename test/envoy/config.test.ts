import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { addClusters, addServerInfo, EnvoyConfigError, parseConfigDump } from '../../src/envoy/config.ts';
import { decideConnection } from '../../src/envoy/connection.ts';
import { parseListeners } from '../../src/envoy/listener-status.ts';
import { decideRequest } from '../../src/envoy/request.ts';
import { settle } from '../../src/envoy/settle.ts';
import { chainRows, clusterRows, endpointRows, listenerRows, rejectedRows, routeRows } from '../../src/envoy/table.ts';
import { decideTcp } from '../../src/envoy/tcp.ts';
import { parseProxy } from '../../src/istio/proxy.ts';
import { needsReference, referencePath } from '../reference.ts';
import { address, listener, makeConfig } from './configs.ts';

const meta = { readAt: '2026-11-23T06:00:00Z' };

for (const [name, input, words] of [
  ['no JSON', 'Not Found', /JSON is wanted/],
  ['empty', '', /JSON is wanted/],
  ['cut off', '{"configs": [', /JSON is wanted/],
  ['a list', '[1]', /a list is there/],
  ['null', 'null', /null is there/],
  ['another object', '{"items": [], "kind": "List"}', /an object with "items", "kind" is there/],
  ['configs that are none', '{"configs": 5}', /list "configs" is wanted/],
  ['no parts', '{"configs": []}', /none are there/],
  ['parts of something else', '{"configs": [{"@type": "a/b.Pod"}, 7]}', /"Pod", "a number" is there/],
  ['nested too deep', `${'['.repeat(300)}`, /at most 200 levels are read/],
  ['a string without an end', '{"configs": "', /JSON is wanted/],
] as const)
  test(`parseConfigDump() says what is wrong: ${name}`, () => {
    assert.throws(
      () => parseConfigDump(input, meta),
      (error) => error instanceof EnvoyConfigError && /^Cannot read an Envoy config_dump/.test(error.message) && words.test(error.message),
    );
  });

const manyOf = (item: string, count: number): string => `[${`${item},`.repeat(count - 1)}${item}]`;
const dumpOf = (listeners: string): string => `{"configs":[{"@type":"x/ListenersConfigDump","dynamic_listeners":${listeners}}]}`;

for (const [name, text, words] of [
  ['many parts', `{"configs":${manyOf('{}', 100_001)}}`, /at most 100000 parts are read/],
  ['many resources', dumpOf(manyOf('{}', 250_001)), /at most 250000 resources are read/],
  ['many values in one resource', dumpOf(`[{"a":${manyOf('{}', 1_000_001)}}]`), /at most 1000000 values of one resource are read/],
  ['a resource that is too long', dumpOf(`[{"a":"${'a'.repeat(33 * 1024 * 1024)}"}]`), /at most 32 MiB of one resource are read/],
  [
    'a resource printed alone that is too long',
    `{"configs":[{"@type":"x/DynamicListener","a":${manyOf('0', 1_000_001)}}]}`,
    /at most 1000000 values of one resource/,
  ],
] as const)
  test(`parseConfigDump() refuses ${name} before it makes anything of it`, () => {
    assert.throws(
      () => parseConfigDump(text, meta),
      (error) => error instanceof EnvoyConfigError && words.test(error.message),
    );
  });

test('parseConfigDump() refuses a text that is too long', () => {
  const bytes = new Uint8Array(241 * 1024 * 1024);
  assert.throws(() => parseConfigDump(bytes, meta), /at most 240 MiB are read, it has 241/);
});

test('a resource that nobody asks for is not built, and one that is asked for twice is built once', () => {
  const config = parseConfigDump(dumpOf('[{"name":"a","active_state":{"listener":{"name":"a"}}}]'), meta);
  const [resource] = config.listeners;
  assert.equal(resource!.value, resource!.value);
  assert.deepEqual(resource!.pick(['name', 'address']), { name: 'a' });
});

test('parts that are no objects, and fields of other shapes, read as absent', () => {
  const dump = {
    configs: [
      {
        '@type': 'x/envoy.admin.v3.ListenersConfigDump',
        dynamic_listeners: [
          null,
          5,
          { name: 'a', active_state: { listener: { name: 7, address: [], filter_chains: {}, listener_filters: [1] } } },
        ],
        static_listeners: 'none',
      },
      {
        '@type': 'x/envoy.admin.v3.ClustersConfigDump',
        dynamic_active_clusters: [{ cluster: { name: 'c', type: 'LATER', load_assignment: [] } }],
      },
    ],
  };
  const config = parseConfigDump(dump, meta);
  assert.deepEqual(
    config.listeners.map((resource) => [resource.name, resource.value.filterChains.length, resource.value.bindToPort]),
    [['a', 0, true]],
  );
  assert.equal(config.clusters.get('c')?.[0]?.value.type, 'OTHER');
});

test('static, active, warming and draining listeners are kept apart, and refused ones are named', () => {
  const config = parseConfigDump(
    {
      configs: [
        {
          '@type': 'x/envoy.admin.v3.ListenersConfigDump',
          version_info: 'v7',
          static_listeners: [{ listener: listener('', '0.0.0.0:15090'), last_updated: meta.readAt }],
          dynamic_listeners: [
            {
              name: 'a',
              active_state: { version_info: '1', listener: listener('a', '0.0.0.0:1') },
              warming_state: { listener: listener('a', '0.0.0.0:2') },
              draining_state: { listener: listener('a', '0.0.0.0:3') },
            },
            {
              name: 'b',
              error_state: { failed_configuration: { name: 'b' }, last_update_attempt: meta.readAt, details: 'no such filter' },
            },
          ],
        },
      ],
    },
    meta,
  );
  assert.deepEqual(
    config.listeners.map(({ name, state, version }) => [name, state, version]),
    [
      ['', 'static', ''],
      ['a', 'active', '1'],
      ['a', 'warming', ''],
      ['a', 'draining', ''],
    ],
  );
  assert.deepEqual(rejectedRows(config), [{ kind: 'listener', name: 'b', details: 'no such filter', at: '2026-11-23T06:00:00.000Z' }]);
  assert.equal(config.versionOf('listeners'), 'v7');
});

test('names in lowerCamelCase are read too, and lists of single resources', () => {
  const camel = parseConfigDump(
    {
      configs: [
        {
          '@type': 'x/envoy.admin.v3.ClustersConfigDump',
          dynamicActiveClusters: [
            { cluster: { name: 'c', type: 'EDS', edsClusterConfig: { serviceName: 'e' } }, lastUpdated: meta.readAt },
          ],
        },
      ],
    },
    meta,
  );
  assert.equal(camel.clusters.get('c')?.[0]?.value.edsName, 'e');
  const single = parseConfigDump(
    { configs: [{ '@type': 'x/envoy.admin.v3.ClustersConfigDump.DynamicCluster', cluster: { name: 'c' }, last_updated: meta.readAt }] },
    meta,
  );
  assert.equal(single.clusters.get('c')?.[0]?.state, 'active');
  assert.equal(single.has('listeners'), false);
});

test('endpoints come from EDS, else from /clusters, else from the cluster', () => {
  const base = makeConfig({
    listeners: [],
    clusters: [
      { name: 'e', type: 'EDS' },
      { name: 's', type: 'STATIC', load_assignment: { endpoints: [{ lb_endpoints: [{ endpoint: { address: address('10.0.0.9:1') } }] }] } },
    ],
  });
  const of = (config: typeof base, name: string) =>
    config.endpointsOf(config.clusters.get(name)![0]!.value)?.map((endpoint) => `${endpoint.target} ${endpoint.health}`);
  assert.equal(of(base, 'e'), undefined);
  assert.deepEqual(of(base, 's'), ['10.0.0.9:1 UNKNOWN']);
  const statuses = {
    cluster_statuses: [
      {
        name: 'e',
        host_statuses: [
          {
            address: address('10.0.0.1:1'),
            health_status: { eds_health_status: 'HEALTHY', failed_outlier_check: true },
            stats: [{ name: 'cx_total', value: '12' }],
          },
          { address: address('10.0.0.2:1'), health_status: { eds_health_status: 'HEALTHY' } },
        ],
      },
    ],
  };
  const told = addClusters(base, JSON.stringify(statuses));
  assert.deepEqual(of(told, 'e'), ['10.0.0.1:1 UNHEALTHY', '10.0.0.2:1 HEALTHY']);
  assert.equal(told.hostStatuses('e')[0]?.counters.cx_total, 12);
  const both = addClusters(
    makeConfig({ clusters: [{ name: 'e', type: 'EDS' }], endpoints: { e: ['10.0.0.1:1', '10.0.0.3:1'] } }),
    statuses,
  );
  assert.deepEqual(of(both, 'e'), ['10.0.0.1:1 UNHEALTHY', '10.0.0.3:1 HEALTHY']);
});

test('/clusters, /server_info and /listeners say what they want', () => {
  const base = makeConfig({ listeners: [] });
  assert.throws(() => addClusters(base, 'version_info::static'), /\/clusters: JSON is wanted/);
  assert.throws(() => addClusters(base, '{}'), /list "cluster_statuses" is wanted/);
  assert.throws(() => addServerInfo(base, '{}'), /an object with "version" is wanted/);
  assert.throws(() => parseListeners('0.0.0.0_1::0.0.0.0:1'), /\/listeners: JSON is wanted/);
  assert.throws(() => parseListeners({}), /list "listener_statuses" is wanted/);
  const told = addServerInfo(base, {
    version: 'abc/1.40.0/Clean/RELEASE/BoringSSL',
    state: 'LIVE',
    uptime_all_epochs: '98s',
    command_line_options: { drain_time: '45s', concurrency: 2 },
    node: { id: 'x' },
  });
  assert.deepEqual([told.serverInfo?.version, told.drainMs, told.serverInfo?.uptimeMs], ['1.40.0', 45_000, 98_000]);
  assert.deepEqual(parseListeners({ listener_statuses: [{ name: 'a', local_address: address('0.0.0.0:1') }] })[0]?.name, 'a');
});

test('a dump of Istio 1.6 with its untyped filters is read', needsReference('config_dump', 'productpage-istio-1.6.0.json'), () => {
  const config = parseConfigDump(readFileSync(referencePath('config_dump', 'productpage-istio-1.6.0.json')!, 'utf8'), meta);
  const facts = {
    atMs: Date.parse(meta.readAt),
    listener: { port: 15001 },
    source: { ip: '10.52.2.21', port: 4000 },
    transport: 'raw_buffer',
    http: 'http/1.1',
    serverName: '',
    alpn: [],
  } as const;
  const reviews = decideConnection(config, { ...facts, destination: { ip: '10.0.0.1', port: 9080 } });
  assert.deepEqual([reviews.decision.listener, reviews.network, reviews.routeConfigName], ['0.0.0.0_9080', 'http', '9080']);
  const routed = decideRequest(reviews, { atMs: facts.atMs, method: 'GET', authority: 'reviews:9080', path: '/reviews/0', headers: [] });
  assert.deepEqual([routed.decision.outcome, routed.decision.cluster], ['forwarded', 'outbound|9080||reviews.default.svc.cluster.local']);
  const own = decideConnection(config, { ...facts, destination: { ip: '10.52.2.21', port: 9080 } });
  assert.equal(own.decision.listener, '10.52.2.21_9080');
  assert.equal(
    decideTcp(decideConnection(config, { ...facts, destination: { ip: '192.0.2.1', port: 1 }, http: 'none' })).decision.cluster,
    'PassthroughCluster',
  );
  assert.equal(parseProxy(config.bootstrap.node).type, 'sidecar');
});

test('a dump of Istio 1.9 is read: inbound goes to 127.0.0.1', needsReference('config_dump', 'productpage-istio-1.9.1.json'), () => {
  const config = parseConfigDump(readFileSync(referencePath('config_dump', 'productpage-istio-1.9.1.json')!, 'utf8'), meta);
  assert.equal(parseProxy(config.bootstrap.node).istioVersion, '1.9.1');
  const connection = decideConnection(config, {
    atMs: Date.parse(meta.readAt),
    listener: { port: 15006 },
    destination: { ip: '10.244.2.66', port: 9080 },
    source: { ip: '10.244.1.1', port: 4000 },
    transport: 'tls',
    serverName: 'outbound_.9080_._.productpage.default.svc.cluster.local',
    alpn: ['istio-http/1.1', 'istio', 'http/1.1'],
  });
  assert.deepEqual(
    [connection.decision.listener, connection.decision.chain, connection.tls, connection.network],
    ['virtualInbound', '0.0.0.0_9080', 'mutual', 'http'],
  );
  const { decision } = settle(
    decideRequest(connection, { atMs: Date.parse(meta.readAt), method: 'GET', authority: 'productpage', path: '/', headers: [] }),
    { upstream: { ip: '127.0.0.1', port: 9080 } },
  );
  assert.deepEqual(
    [decision.route, decision.cluster, decision.endpoint, decision.evidence.cluster],
    ['default', 'inbound|9080||', '127.0.0.1:9080', 'derived'],
  );
});

for (const name of ['productpage-istio-1.6.0.json', 'productpage-istio-1.9.1.json', 'listeners-permissive.json', 'endpoints.json'])
  test(`every table can be made of ${name}`, needsReference('config_dump', name), () => {
    const config = parseConfigDump(readFileSync(referencePath('config_dump', name)!, 'utf8'), { readAt: '' });
    const rows = [
      ...listenerRows(config),
      ...chainRows(config),
      ...routeRows(config),
      ...clusterRows(config),
      ...endpointRows(config),
      ...rejectedRows(config),
    ];
    assert.ok(rows.length > 0 || name === 'endpoints.json');
    for (const row of rows) for (const value of Object.values(row)) assert.notEqual(typeof value, 'object');
  });

test('any JSON in the shape of a dump ends in a value or an EnvoyConfigError, and decisions on it are made', () => {
  const names = fc.constantFrom(
    'name',
    'listener',
    'active_state',
    'address',
    'socket_address',
    'port_value',
    'filter_chains',
    'filters',
    'typed_config',
    '@type',
    'filter_chain_match',
    'server_names',
    'route_config',
    'virtual_hosts',
    'domains',
    'routes',
    'match',
    'prefix',
    'route',
    'cluster',
    'http_filters',
    'last_updated',
    'bind_to_port',
    'listener_filters',
    'filter_disabled',
  );
  const leaf = fc.oneof(
    fc.constant('0.0.0.0'),
    fc.constant('x/HttpConnectionManager'),
    fc.constant('x/TcpProxy'),
    fc.constant('/'),
    fc.constant('*'),
    fc.constant(80),
    fc.constant(null),
    fc.boolean(),
    fc.double(),
    fc.string({ maxLength: 5 }),
  );
  const tree = fc.letrec<{ node: unknown }>((tie) => ({
    node: fc.oneof(
      { maxDepth: 9, depthSize: 'medium', withCrossShrink: true },
      leaf,
      fc.array(tie('node'), { maxLength: 3 }),
      fc.dictionary(names, tie('node'), { maxKeys: 5 }),
    ),
  })).node;
  const section = fc.constantFrom(
    'ListenersConfigDump',
    'RoutesConfigDump',
    'ClustersConfigDump',
    'EndpointsConfigDump',
    'BootstrapConfigDump',
    'SecretsConfigDump',
  );
  const list = fc.constantFrom(
    'dynamic_listeners',
    'static_listeners',
    'dynamic_route_configs',
    'dynamic_active_clusters',
    'dynamic_endpoint_configs',
    'bootstrap',
    'static_secrets',
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(section, list, fc.array(tree, { maxLength: 3 })), { minLength: 1, maxLength: 4 }), (parts) => {
      const config = parseConfigDump({ configs: parts.map(([type, name, value]) => ({ '@type': `x/${type}`, [name]: value })) }, meta);
      listenerRows(config);
      chainRows(config);
      routeRows(config);
      endpointRows(config);
      const connection = decideConnection(config, {
        atMs: 0,
        listener: { port: 80 },
        destination: { ip: '0.0.0.0', port: 80 },
        source: { ip: '10.0.0.1', port: 1 },
        transport: 'unknown',
      });
      decideTcp(connection);
      decideRequest(connection, { atMs: 0, method: 'GET', authority: 'a', path: '/', headers: [] });
    }),
    { seed: 3, numRuns: 1500 },
  );
});
