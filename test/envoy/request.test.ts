import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decideConnection } from '../../src/envoy/connection.ts';
import { EnvoyHistory } from '../../src/envoy/history.ts';
import { parseHttpFilter } from '../../src/envoy/http-filter.ts';
import { decideRequest, decideUnread, type RequestFacts } from '../../src/envoy/request.ts';
import { type Observed, settle } from '../../src/envoy/settle.ts';
import { httpFilter, httpManager, listener, type Message, makeConfig, ms, type Parts } from './configs.ts';

const eds = (name: string, more: Message = {}) => ({
  name,
  type: 'EDS',
  eds_cluster_config: { service_name: name },
  common_lb_config: { healthy_panic_threshold: {} },
  ...more,
});
const mutual = (sni: string) => ({
  transport_socket_matches: [
    {
      name: 'tlsMode-istio',
      match: { tlsMode: 'istio' },
      transport_socket: {
        name: 'envoy.transport_sockets.tls',
        typed_config: { '@type': 'x/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext', sni },
      },
    },
  ],
});
const to = (cluster: string) => ({ route: { cluster } });
const prefix = (text: string) => ({ match: { prefix: text } });
const abort = (numerator: number, status = 555) => ({
  '@type': 'x/envoy.extensions.filters.http.fault.v3.HTTPFault',
  abort: { percentage: { numerator }, http_status: status },
});
const deny = (principal: Message, path = '/secret') => ({
  rules: { action: 'DENY', policies: { p: { permissions: [{ url_path: { path: { prefix: path } } }], principals: [principal] } } },
});

const routes: Message[] = [
  {
    name: 'split',
    ...prefix('/split'),
    route: { weighted_clusters: { clusters: [{ name: 'v1', weight: 80 }, { name: 'v2', weight: 20 }, { name: 'v3' }] } },
  },
  {
    name: 'one-weight',
    ...prefix('/all'),
    route: {
      weighted_clusters: {
        clusters: [
          { name: 'v1', weight: 100 },
          { name: 'v2', weight: 0 },
        ],
      },
    },
  },
  { name: 'jason', match: { prefix: '/who', headers: [{ name: 'end-user', string_match: { exact: 'jason' } }] }, ...to('v2') },
  { name: 'others', ...prefix('/who'), ...to('v1') },
  { name: 'moved', ...prefix('/old'), redirect: { path_redirect: '/new' } },
  { name: 'answered', ...prefix('/version'), direct_response: { status: 218 } },
  { name: 'by-header', ...prefix('/named'), route: { cluster_header: 'X-Cluster' } },
  { name: 'aborted', ...prefix('/abort'), ...to('v1'), typed_per_filter_config: { 'envoy.filters.http.fault': abort(100) } },
  { name: 'half', ...prefix('/half'), ...to('v1'), typed_per_filter_config: { 'envoy.filters.http.fault': abort(50, 503) } },
  {
    name: 'shadowed',
    ...prefix('/mirror'),
    route: { cluster: 'v1', request_mirror_policies: [{ cluster: 'v2' }, { cluster: 'v3', runtime_fraction: { default_value: {} } }] },
  },
  { name: 'missing', ...prefix('/missing'), ...to('nowhere') },
  { name: 'empty', ...prefix('/empty'), ...to('empty') },
  { name: 'sick', ...prefix('/sick'), ...to('sick') },
  { name: 'panicking', ...prefix('/panic'), ...to('panic') },
  { name: 'two-levels', ...prefix('/levels'), ...to('levels') },
  { name: 'passed', ...prefix('/pass'), ...to('PassthroughCluster') },
  { name: 'hole', ...prefix('/hole'), ...to('BlackHoleCluster') },
  { name: 'both', ...prefix('/both'), ...to('aggregate') },
  { name: 'named', ...prefix('/dns'), ...to('dns') },
  { name: 'plugin', ...prefix('/plugin'), route: { cluster_specifier_plugin: 'x' } },
  { name: 'secret', ...prefix('/secret'), ...to('v1') },
  { name: 'members', ...prefix('/members'), ...to('v1') },
];

const parts: Parts = {
  listeners: [
    listener('http', '0.0.0.0:80', {
      filter_chains: [
        {
          name: 'web',
          filters: [httpManager({ rds: '80' }, {}, [httpFilter('rbac', 'RBAC', deny({ any: true })), httpFilter('fault', 'HTTPFault')])],
        },
      ],
    }),
  ],
  routes: [
    {
      config: {
        name: '80',
        virtual_hosts: [
          { name: 'app', domains: ['app'], routes },
          { name: 'tls', domains: ['tls'], require_tls: 'ALL', routes: [{ name: 'x', ...prefix('/'), ...to('v1') }] },
        ],
      },
    },
  ],
  clusters: [
    eds('v1', mutual('outbound_.80_.v1_.app')),
    eds('v2', mutual('outbound_.80_.v2_.app')),
    eds('v3'),
    eds('empty'),
    eds('sick'),
    eds('panic', { common_lb_config: {} }),
    eds('levels'),
    { name: 'PassthroughCluster', type: 'ORIGINAL_DST' },
    { name: 'BlackHoleCluster', type: 'STATIC' },
    {
      name: 'aggregate',
      cluster_type: {
        name: 'envoy.clusters.aggregate',
        typed_config: { '@type': 'x/envoy.extensions.clusters.aggregate.v3.ClusterConfig', clusters: ['v1', 'v3'] },
      },
    },
    {
      name: 'dns',
      type: 'STRICT_DNS',
      load_assignment: {
        endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: 'db.example', port_value: 5432 } } } }] }],
      },
    },
  ],
  endpoints: {
    v1: ['10.1.0.1:80'],
    v2: ['10.1.0.2:80', '10.1.0.9:80'],
    v3: ['10.1.0.3:80', '10.1.0.9:80'],
    empty: [],
    sick: ['-10.1.0.4:80'],
    panic: ['-10.1.0.4:80', '-10.1.0.5:80'],
    levels: ['0/10.1.0.6:80', '0/-10.1.0.7:80', '1/10.1.0.8:80', '2/10.1.0.10:80'],
  },
};
const config = makeConfig(parts);

function decide(asked: Partial<RequestFacts>, observed?: Observed, of = config) {
  const connection = decideConnection(of, {
    atMs: ms('06:05:00'),
    listener: { port: 80 },
    destination: { ip: '10.2.0.1', port: 80 },
    source: { ip: '10.1.0.99', port: 5000 },
    transport: 'raw_buffer',
    http: 'http/1.1',
  });
  const routed = decideRequest(connection, { atMs: ms('06:05:00'), method: 'GET', authority: 'app', path: '/', headers: [], ...asked });
  return observed === undefined ? routed : settle(routed, observed);
}

const upstream = (text: string) => ({ ip: text.split(':')[0]!, port: Number(text.split(':')[1]) });

/** Path, then what is wanted: outcome, route, cluster, endpoint; a `?` behind it means ambiguous, a list its candidates. */
const predictions: [string, Partial<RequestFacts>, string[]][] = [
  [
    'a weighted route leaves the clusters open',
    { path: '/split' },
    ['forwarded', 'split', '?v1,v2', '?10.1.0.1:80,10.1.0.2:80,10.1.0.9:80', 'weighted'],
  ],
  ['a single cluster with weight is no choice', { path: '/all' }, ['forwarded', 'one-weight', 'v1', '10.1.0.1:80', '']],
  [
    'a header that is there',
    { path: '/who', headers: [['End-User', 'jason']] },
    ['forwarded', 'jason', 'v2', '?10.1.0.2:80,10.1.0.9:80', 'load-balanced'],
  ],
  ['a header that is not there', { path: '/who' }, ['forwarded', 'others', 'v1', '10.1.0.1:80', '']],
  [
    'a header that was not seen',
    { path: '/who', headersComplete: false },
    ['forwarded', '?jason,others', '?v2,v1', '?10.1.0.2:80,10.1.0.9:80,10.1.0.1:80', 'header-unknown'],
  ],
  ['a redirect has a route and no cluster', { path: '/old' }, ['redirect', 'moved', '', '', '']],
  ['a direct response has a route and no cluster', { path: '/version' }, ['direct-response', 'answered', '', '', '']],
  ['a header names the cluster', { path: '/named', headers: [['x-cluster', 'v1']] }, ['forwarded', 'by-header', 'v1', '10.1.0.1:80', '']],
  [
    'a header that should name the cluster was not seen',
    { path: '/named', headersComplete: false },
    ['unknown', 'by-header?', '', '', 'cluster-from-header'],
  ],
  ['a fault for every request', { path: '/abort' }, ['fault', 'aborted', 'v1', '', '']],
  ['a fault for some requests', { path: '/half' }, ['unknown', 'half', 'v1', '10.1.0.1:80', 'runtime-fraction']],
  ['a cluster that does not exist', { path: '/missing' }, ['no-cluster', 'missing', 'nowhere', '', '']],
  ['a cluster without endpoints', { path: '/empty' }, ['no-endpoint', 'empty', 'empty', '', '']],
  ['a cluster without healthy endpoints and no panic', { path: '/sick' }, ['no-endpoint', 'sick', 'sick', '', '']],
  [
    'a cluster in panic uses them all',
    { path: '/panic' },
    ['forwarded', 'panicking', 'panic', '?10.1.0.4:80,10.1.0.5:80', 'load-balanced'],
  ],
  [
    'half of the first priority is not enough, the second is',
    { path: '/levels' },
    ['forwarded', 'two-levels', 'levels', '?10.1.0.6:80,10.1.0.8:80', 'load-balanced'],
  ],
  ['the original destination', { path: '/pass' }, ['forwarded', 'passed', 'PassthroughCluster', '10.2.0.1:80', '']],
  ['the black hole', { path: '/hole' }, ['black-hole', 'hole', 'BlackHoleCluster', '', '']],
  ['an aggregate', { path: '/both' }, ['forwarded', 'both', 'aggregate', '?10.1.0.1:80,10.1.0.3:80,10.1.0.9:80', 'load-balanced']],
  ['names still to be resolved', { path: '/dns' }, ['forwarded', 'named', 'dns', '', '']],
  ['a plugin', { path: '/plugin' }, ['unknown', 'plugin?', '', '', 'route-unknown-matcher']],
  ['a policy denies it', { path: '/secret/x' }, ['denied', 'secret', 'v1', '', '']],
  ['no route', { path: '/none' }, ['no-route', '', '', '', '']],
  ['no virtual host', { authority: 'other' }, ['no-route', '', '', '', '']],
  ['plain HTTP where TLS is asked for', { authority: 'tls' }, ['redirect', '', '', '', '']],
  ['a whole URL in the request line', { authority: 'other', path: 'http://app/version?x' }, ['direct-response', 'answered', '', '', '']],
];

function shown(routed: ReturnType<typeof decide>): string[] {
  const { decision } = routed;
  const field = (name: 'route' | 'cluster' | 'endpoint') => {
    const value = decision[name];
    if (value === undefined) return decision.evidence[name] === 'ambiguous' ? `?${decision.candidates?.[name]?.join(',') ?? ''}` : '';
    return decision.evidence[name] === 'ambiguous' ? `${value}?` : value;
  };
  return [decision.outcome, field('route'), field('cluster'), field('endpoint'), decision.reason ?? ''];
}

for (const [name, asked, expect] of predictions)
  test(`request: ${name}`, () => {
    assert.deepEqual(shown(decide(asked)), expect);
  });

const observations: [string, Partial<RequestFacts>, Observed, string[], string?][] = [
  [
    'an endpoint that one cluster has tells the cluster',
    { path: '/split' },
    { upstream: upstream('10.1.0.2:80') },
    ['forwarded', 'split', 'v2', '10.1.0.2:80', ''],
    'derived',
  ],
  [
    'the SNI tells the cluster',
    { path: '/split' },
    { upstream: upstream('10.1.0.9:80'), upstreamSni: 'outbound_.80_.v2_.app' },
    ['forwarded', 'split', 'v2', '10.1.0.9:80', ''],
    'observed',
  ],
  [
    'the endpoint tells the route',
    { path: '/who', headersComplete: false },
    { upstream: upstream('10.1.0.2:80') },
    ['forwarded', 'jason', 'v2', '10.1.0.2:80', ''],
    'derived',
  ],
  [
    'an endpoint of nobody contradicts',
    { path: '/all' },
    { upstream: upstream('192.0.2.1:80') },
    ['forwarded', 'one-weight', 'v1?', '192.0.2.1:80', 'upstream-not-an-endpoint'],
    'ambiguous',
  ],
  [
    'an endpoint that the balancer would pass over is still one of the cluster',
    { path: '/levels' },
    { upstream: upstream('10.1.0.7:80') },
    ['forwarded', 'two-levels', 'levels', '10.1.0.7:80', ''],
    'derived',
  ],
  [
    'an upstream connection settles a fault of chance',
    { path: '/half' },
    { upstream: upstream('10.1.0.1:80') },
    ['forwarded', 'half', 'v1', '10.1.0.1:80', ''],
    'derived',
  ],
  [
    'none, and the status of the fault',
    { path: '/half' },
    { noUpstream: true, responseStatus: 503 },
    ['fault', 'half', 'v1', '', ''],
    'derived',
  ],
  [
    'an upstream connection although a policy denies: the policy came later',
    { path: '/secret' },
    { upstream: upstream('10.1.0.1:80') },
    ['forwarded', 'secret', 'v1', '10.1.0.1:80', ''],
    'derived',
  ],
  [
    'names resolve to anything',
    { path: '/dns' },
    { upstream: upstream('192.0.2.7:5432') },
    ['forwarded', 'named', 'dns', '192.0.2.7:5432', ''],
    'derived',
  ],
  ['nothing upstream leaves a prediction as it is', { path: '/all' }, {}, ['forwarded', 'one-weight', 'v1', '10.1.0.1:80', ''], 'derived'],
  [
    'the passthrough',
    { path: '/pass' },
    { upstream: upstream('10.2.0.1:80') },
    ['forwarded', 'passed', 'PassthroughCluster', '10.2.0.1:80', ''],
    'derived',
  ],
];

for (const [name, asked, observed, expect, grade] of observations)
  test(`settle: ${name}`, () => {
    const settled = decide(asked, observed);
    assert.deepEqual(shown(settled), expect);
    assert.equal(settled.decision.evidence.cluster, grade);
    if (observed.upstream !== undefined) assert.equal(settled.decision.evidence.endpoint, 'observed');
  });

test('settle: an endpoint of two clusters leaves both', () => {
  const { decision } = decide({ path: '/split' }, { upstream: upstream('10.1.0.9:80') });
  // v3 has no weight, so v2 alone is left; with weight it would not be.
  assert.equal(decision.cluster, 'v2');
  const both = makeConfig({
    ...parts,
    routes: [
      {
        config: {
          name: '80',
          virtual_hosts: [
            {
              name: 'app',
              domains: ['*'],
              routes: [
                {
                  name: 'r',
                  ...prefix('/'),
                  route: {
                    weighted_clusters: {
                      clusters: [
                        { name: 'v2', weight: 1 },
                        { name: 'v3', weight: 1 },
                      ],
                    },
                  },
                },
              ],
            },
          ],
        },
      },
    ],
  });
  const open = decide({}, { upstream: upstream('10.1.0.9:80') }, both).decision;
  assert.deepEqual(
    [open.cluster, open.candidates?.cluster, open.reason, open.endpoint],
    [undefined, ['v2', 'v3'], 'weighted', '10.1.0.9:80'],
  );
});

test('request: mirrors are named, those for no request are not', () => {
  assert.deepEqual(decide({ path: '/mirror' }).mirrors, ['v2']);
  assert.deepEqual(decide({ path: '/all' }).mirrors, []);
});

test('request: a policy on who asks is unknown until the client is known', () => {
  const of = makeConfig({
    ...parts,
    listeners: [
      listener('http', '0.0.0.0:80', {
        filter_chains: [
          {
            name: 'web',
            filters: [
              httpManager({ rds: '80' }, {}, [
                httpFilter('rbac', 'RBAC', deny({ authenticated: { principal_name: { exact: 'spiffe://a/ns/b/sa/c' } } }, '/members')),
              ]),
            ],
          },
        ],
      }),
    ],
  });
  const ask = (peer?: string) => {
    const connection = decideConnection(of, {
      atMs: ms('06:05:00'),
      listener: { port: 80 },
      destination: { ip: '10.2.0.1', port: 80 },
      source: { ip: '10.1.0.99', port: 5000 },
      transport: 'raw_buffer',
      http: 'http/1.1',
      ...(peer === undefined ? {} : { peer }),
    });
    return decideRequest(connection, { atMs: ms('06:05:00'), method: 'GET', authority: 'app', path: '/members', headers: [] });
  };
  assert.equal(ask('spiffe://a/ns/b/sa/c').decision.outcome, 'denied');
  assert.equal(ask('spiffe://a/ns/b/sa/d').decision.outcome, 'forwarded');
  assert.equal(ask('').decision.outcome, 'forwarded');
  const open = ask();
  assert.deepEqual([open.decision.outcome, open.decision.evidence.outcome, open.decision.cluster], ['unknown', 'ambiguous', 'v1']);
  assert.equal(settle(open, { noUpstream: true, responseStatus: 403 }).decision.outcome, 'denied');
  assert.equal(settle(open, { upstream: upstream('10.1.0.1:80') }).decision.outcome, 'forwarded');
});

test('request: a filter that may choose the route again makes it doubtful; one that may answer only the outcome', () => {
  const withFilter = (filter: Message) =>
    makeConfig({
      ...parts,
      listeners: [
        listener('http', '0.0.0.0:80', { filter_chains: [{ name: 'web', filters: [httpManager({ rds: '80' }, {}, [filter])] }] }),
      ],
    });
  const lua = decide({ path: '/all' }, undefined, withFilter(httpFilter('lua', 'Lua'))).decision;
  assert.deepEqual(
    [lua.route, lua.evidence.route, lua.evidence.cluster, lua.reason],
    ['one-weight', 'ambiguous', 'ambiguous', 'filter-unknown'],
  );
  const limit = decide({ path: '/all' }, undefined, withFilter(httpFilter('local_ratelimit', 'LocalRateLimit'))).decision;
  assert.deepEqual([limit.evidence.route, limit.evidence.cluster, limit.evidence.outcome], ['derived', 'derived', 'ambiguous']);
});

test('request: routes are those of its own time, the chain that of the accept time', () => {
  const to1 = {
    config: { name: '80', virtual_hosts: [{ name: 'app', domains: ['*'], routes: [{ name: 'before', ...prefix('/'), ...to('v1') }] }] },
  };
  const to3 = {
    config: { name: '80', virtual_hosts: [{ name: 'app', domains: ['*'], routes: [{ name: 'after', ...prefix('/'), ...to('v3') }] }] },
    lastUpdated: '06:02:00',
  };
  const history = new EnvoyHistory([
    makeConfig({ ...parts, routes: [to1] }, '06:01:00'),
    makeConfig({ ...parts, routes: [to3] }, '06:10:00'),
  ]);
  const connection = decideConnection(history, {
    atMs: ms('06:00:30'),
    listener: { port: 80 },
    destination: { ip: '10.2.0.1', port: 80 },
    source: { ip: '10.1.0.99', port: 5000 },
    transport: 'raw_buffer',
    http: 'http/1.1',
  });
  const routeAt = (time: string) =>
    decideRequest(connection, { atMs: ms(time), method: 'GET', authority: 'app', path: '/', headers: [] }).decision.route;
  assert.deepEqual([routeAt('06:00:40'), routeAt('06:01:50'), routeAt('06:02:30')], ['before', 'before', 'after']);
});

test('request: routes that are newer than the request are doubted', () => {
  const later = makeConfig({
    ...parts,
    routes: [
      {
        config: { name: '80', virtual_hosts: [{ name: 'app', domains: ['*'], routes: [{ name: 'after', ...prefix('/'), ...to('v1') }] }] },
        lastUpdated: '06:06:00',
      },
    ],
  });
  const { decision } = decide({}, undefined, later);
  assert.deepEqual([decision.route, decision.evidence.route, decision.reason], ['after', 'ambiguous', 'config-newer-than-connection']);
  const seen = decide({}, { upstream: upstream('10.1.0.1:80') }, later).decision;
  assert.deepEqual([seen.cluster, seen.evidence.cluster, seen.evidence.route], ['v1', 'derived', 'ambiguous']);
});

test('request: without routes, clusters or endpoints in the dump nothing is made up', () => {
  const only = makeConfig({ listeners: parts.listeners! });
  const noRoutes = decide({}, undefined, only).decision;
  assert.deepEqual([noRoutes.outcome, noRoutes.route, noRoutes.reason], ['unknown', undefined, 'no-config-dump']);
  const noClusters = decide({ path: '/all' }, undefined, makeConfig({ listeners: parts.listeners!, routes: parts.routes! })).decision;
  assert.deepEqual([noClusters.outcome, noClusters.cluster, noClusters.evidence.endpoint], ['forwarded', 'v1', 'unavailable']);
  const noEndpoints = decide(
    { path: '/all' },
    { upstream: upstream('10.1.0.1:80') },
    makeConfig({ listeners: parts.listeners!, routes: parts.routes!, clusters: parts.clusters! }),
  ).decision;
  assert.deepEqual([noEndpoints.cluster, noEndpoints.endpoint, noEndpoints.evidence.cluster], ['v1', '10.1.0.1:80', 'derived']);
});

test('request: a head that was not read leaves every route open, and what is seen upstream settles the cluster', () => {
  const connection = decideConnection(config, {
    atMs: ms('06:05:00'),
    listener: { port: 80 },
    destination: { ip: '10.2.0.1', port: 80 },
    source: { ip: '10.1.0.99', port: 5000 },
    transport: 'raw_buffer',
    http: 'http/1.1',
  });
  const open = decideUnread(connection, ms('06:05:00'));
  assert.deepEqual(
    [open.decision.chain, open.decision.route, open.decision.cluster, open.decision.reason],
    ['web', undefined, undefined, 'no-request-seen'],
  );
  const settled = settle(open, { upstream: upstream('10.1.0.6:80') }).decision;
  assert.ok(settled.cluster === undefined || settled.cluster === 'levels');
});

test('request: where every request takes the same route it need not be read', () => {
  const inline = {
    name: 'inbound|80||',
    virtual_hosts: [{ name: 'inbound|http|80', domains: ['*'], routes: [{ name: 'default', ...prefix('/'), ...to('inbound|80||') }] }],
  };
  const of = makeConfig({
    listeners: [listener('in', '0.0.0.0:80', { filter_chains: [{ name: '0.0.0.0_80', filters: [httpManager({ inline })] }] })],
    clusters: [{ name: 'inbound|80||', type: 'ORIGINAL_DST' }],
  });
  const connection = decideConnection(of, {
    atMs: ms('06:05:00'),
    listener: { port: 80 },
    destination: { ip: '10.2.0.1', port: 80 },
    source: { ip: '10.1.0.99', port: 5000 },
    transport: 'tls',
    serverName: 'x',
    alpn: ['istio'],
  });
  const { decision } = decideUnread(connection, ms('06:05:00'));
  assert.deepEqual(
    [decision.outcome, decision.route, decision.cluster, decision.endpoint, decision.evidence.cluster, decision.reason],
    ['forwarded', 'default', 'inbound|80||', '10.2.0.1:80', 'derived', undefined],
  );
});

test('request: a cluster that is newer than the request keeps its name; its end is in doubt', () => {
  const late = makeConfig({ ...parts, clusterUpdated: '06:06:00' });
  const { decision } = decide({ path: '/all' }, undefined, late);
  assert.deepEqual(
    [decision.cluster, decision.evidence.cluster, decision.evidence.endpoint, decision.evidence.outcome, decision.reason],
    ['v1', 'derived', 'ambiguous', 'ambiguous', 'config-newer-than-connection'],
  );
  const seen = decide({ path: '/all' }, { upstream: upstream('10.1.0.1:80') }, late).decision;
  assert.deepEqual([seen.evidence.cluster, seen.evidence.endpoint, seen.reason], ['derived', 'observed', undefined]);
});

const kinds: [string, Message, string][] = [
  ['Istio statistics', { name: 'istio.stats', typed_config: { '@type': 'type.googleapis.com/stats.PluginConfig' } }, 'passive'],
  [
    'metadata exchange in the null virtual machine',
    {
      name: 'istio.metadata_exchange',
      typed_config: {
        '@type': 'x/udpa.type.v1.TypedStruct',
        type_url: 'x/envoy.extensions.filters.http.wasm.v3.Wasm',
        value: { config: { vm_config: { runtime: 'envoy.wasm.runtime.null' } } },
      },
    },
    'passive',
  ],
  [
    'a Wasm plugin',
    {
      name: 'mine',
      typed_config: {
        '@type': 'x/envoy.extensions.filters.http.wasm.v3.Wasm',
        config: { vm_config: { runtime: 'envoy.wasm.runtime.v8' } },
      },
    },
    'may-reroute',
  ],
  ['a plugin still to be discovered', { name: 'extenstions.istio.io/wasmplugin/a.b', config_discovery: {} }, 'may-reroute'],
  [
    'types that are called Config say who they are by their package',
    { name: 'x', typed_config: { '@type': 'x/envoy.extensions.filters.http.golang.v3alpha.Config' } },
    'may-reroute',
  ],
  ['peer metadata', { name: 'waypoint', typed_config: { '@type': 'x/io.istio.http.peer_metadata.Config' } }, 'passive'],
  [
    'external authorization',
    { name: 'x', typed_config: { '@type': 'x/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz' } },
    'may-answer',
  ],
  [
    'external authorization that clears the route',
    { name: 'x', typed_config: { '@type': 'x/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz', clear_route_cache: true } },
    'may-reroute',
  ],
  [
    'tokens',
    { name: 'x', typed_config: { '@type': 'x/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication', providers: { a: {} } } },
    'may-answer',
  ],
  [
    'tokens whose claims choose the route',
    {
      name: 'x',
      typed_config: {
        '@type': 'x/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication',
        providers: { a: { clear_route_cache: true } },
      },
    },
    'may-reroute',
  ],
  ['the router of API v2', { name: 'envoy.router' }, 'router'],
  ['a filter of nobody', { name: 'company.filter', typed_config: { '@type': 'x/company.Filter' } }, 'may-reroute'],
];

for (const [name, message, kind] of kinds)
  test(`HTTP filter: ${name}`, () => {
    assert.equal(parseHttpFilter(message).kind, kind);
  });
