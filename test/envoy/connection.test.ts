import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseConfigDump } from '../../src/envoy/config.ts';
import { type ConnectionFacts, decideConnection } from '../../src/envoy/connection.ts';
import { EnvoyHistory } from '../../src/envoy/history.ts';
import { decideTcp } from '../../src/envoy/tcp.ts';
import { httpManager, inspector, listener, type Message, makeConfig, ms, tcpProxy } from './configs.ts';

const chain = (name: string, match: Message, filter: Message = tcpProxy('x')): Message => ({
  name,
  filter_chain_match: match,
  filters: [filter],
});
const catchAll = { filter_chains: [chain('blackhole', { destination_port: 15001 }), chain('catchall', {})] };
const detour = { bind_to_port: false };

const sidecar = makeConfig({
  listeners: [
    listener('virtualOutbound', '0.0.0.0:15001', { use_original_dst: true, traffic_direction: 'OUTBOUND', ...catchAll }),
    listener('10.96.0.1_443', '10.96.0.1:443', detour),
    listener('0.0.0.0_443', '0.0.0.0:443', detour),
    listener('0.0.0.0_80', '0.0.0.0:80', {
      ...detour,
      listener_filters: [inspector('http')],
      listener_filters_timeout: '0s',
      filter_chains: [
        chain('http', { transport_protocol: 'raw_buffer', application_protocols: ['http/1.1', 'h2c'] }, httpManager({ rds: '80' })),
      ],
      default_filter_chain: { name: 'PassthroughFilterChain', filters: [tcpProxy('PassthroughCluster')] },
    }),
    listener('dual', '10.96.0.7:7000', {
      ...detour,
      additional_addresses: [{ address: { socket_address: { address: 'fd00::7', port_value: 7000 } } }],
    }),
    listener('[::]_9000', '[::]:9000', detour),
    listener('quic', '10.96.0.9:443', {
      ...detour,
      address: { socket_address: { protocol: 'UDP', address: '10.96.0.9', port_value: 443 } },
    }),
    listener('metrics', '0.0.0.0:15090', { filter_chains: [chain('', {}, httpManager({ inline: { name: 'metrics' } }))] }),
    listener('virtualInbound', '0.0.0.0:15006', {
      traffic_direction: 'INBOUND',
      listener_filters: [
        { name: 'envoy.filters.listener.original_dst' },
        inspector('tls', { filter_disabled: { destination_port_range: { start: 3306, end: 3307 } } }),
        inspector('http', {
          filter_disabled: {
            or_match: {
              rules: [{ destination_port_range: { start: 3306, end: 3307 } }, { destination_port_range: { start: 9080, end: 9081 } }],
            },
          },
        }),
      ],
      listener_filters_timeout: '0s',
      filter_chains: [
        chain('catchall-http', { transport_protocol: 'raw_buffer', application_protocols: ['http/1.1'] }),
        chain('catchall-raw', { transport_protocol: 'raw_buffer' }),
        chain('9080-raw', { destination_port: 9080, transport_protocol: 'raw_buffer' }),
        {
          ...chain('9080-tls', { destination_port: 9080, transport_protocol: 'tls', application_protocols: ['istio'] }),
          transport_socket: {
            name: 'envoy.transport_sockets.tls',
            typed_config: { '@type': 'x/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext', require_client_certificate: true },
          },
        },
        chain('mysql', { destination_port: 3306 }),
      ],
    }),
  ],
});

function facts(port: number, destination: string, more: Partial<ConnectionFacts> = {}): ConnectionFacts {
  const colon = destination.lastIndexOf(':');
  return {
    atMs: ms('06:05:00'),
    listener: { port },
    destination: { ip: destination.slice(0, colon), port: Number(destination.slice(colon + 1)) },
    source: { ip: '10.1.0.5', port: 40_000 },
    transport: 'raw_buffer',
    http: 'none',
    ...more,
  };
}

const situations: [string, ConnectionFacts, string, string][] = [
  ['a service address is handed over to its own listener', facts(15001, '10.96.0.1:443'), '10.96.0.1_443', ''],
  ['another address takes the listener of the port', facts(15001, '10.96.0.2:443'), '0.0.0.0_443', ''],
  ['an address that nobody listens for stays with the catch-all', facts(15001, '198.51.100.1:8080'), 'virtualOutbound', 'catchall'],
  ['a connection to the outbound port itself falls into the black hole', facts(15001, '10.1.0.5:15001'), 'virtualOutbound', 'blackhole'],
  ['an additional address counts', facts(15001, 'fd00::7:7000'), 'dual', ''],
  ['an IPv6 wildcard takes IPv6', facts(15001, 'fd00::8:9000'), '[::]_9000', ''],
  ['an IPv6 wildcard does not take IPv4', facts(15001, '10.96.0.8:9000'), 'virtualOutbound', 'catchall'],
  ['a UDP listener takes no TCP', facts(15001, '10.96.0.9:443'), '0.0.0.0_443', ''],
  ['a port that Envoy itself listens on takes connections meant for others', facts(15001, '198.51.100.1:15090'), 'metrics', ''],
  ['HTTP is seen by the inspector', facts(15001, '10.96.0.3:80', { http: 'http/1.1' }), '0.0.0.0_80', 'http'],
  ['other bytes take the default chain', facts(15001, '10.96.0.3:80', { http: 'none' }), '0.0.0.0_80', 'PassthroughFilterChain'],
  [
    'TLS that no tls_inspector looks at is other bytes',
    facts(15001, '10.96.0.3:80', { transport: 'tls', serverName: 'a', alpn: ['h2'] }),
    '0.0.0.0_80',
    'PassthroughFilterChain',
  ],
  [
    'inbound: the original destination chooses the chain',
    facts(15006, '10.1.0.5:9080', { http: 'http/1.1' }),
    'virtualInbound',
    '9080-raw',
  ],
  [
    'inbound: mutual TLS',
    facts(15006, '10.1.0.5:9080', { transport: 'tls', serverName: 'x', alpn: ['istio-http/1.1', 'istio'] }),
    'virtualInbound',
    '9080-tls',
  ],
  ['inbound: HTTP to a port that no chain names', facts(15006, '10.1.0.5:8080', { http: 'http/1.1' }), 'virtualInbound', 'catchall-http'],
  [
    'inbound: a port that no inspector looks at, silent client',
    facts(15006, '10.1.0.5:3306', { http: 'no-bytes' }),
    'virtualInbound',
    'mysql',
  ],
  [
    'a listener of its own is reached directly',
    facts(15090, '10.1.0.5:15090', { listener: { ip: '10.1.0.5', port: 15_090 } }),
    'metrics',
    '',
  ],
];

for (const [name, given, wantListener, wantChain] of situations)
  test(`connection: ${name}`, () => {
    const { decision } = decideConnection(sidecar, given);
    assert.deepEqual([decision.listener, decision.chain], [wantListener, wantChain]);
    assert.deepEqual([decision.evidence.listener, decision.evidence.chain], ['derived', 'derived']);
  });

test('connection: nobody listens there', () => {
  const { decision } = decideConnection(sidecar, facts(15_999, '10.1.0.5:15999'));
  assert.equal(decision.outcome, 'no-listener');
  assert.equal(decideTcp(decideConnection(sidecar, facts(15_999, '10.1.0.5:15999'))).decision.outcome, 'no-listener');
});

test('connection: no chain fits, and the rejected ones say why', () => {
  const { decision } = decideConnection(sidecar, facts(15006, '10.1.0.5:9080', { transport: 'tls', serverName: 'x', alpn: ['h2'] }));
  assert.equal(decision.outcome, 'no-chain');
  assert.equal(decision.chain, undefined);
  assert.deepEqual(
    decision.rejected?.find(({ candidate }) => candidate === '9080-tls[3]'),
    { candidate: '9080-tls[3]', because: 'application-protocol-mismatch' },
  );
});

test('connection: a client that sends nothing waits where an inspector waits for ever', () => {
  const { decision, ways } = decideConnection(sidecar, facts(15001, '10.96.0.3:80', { http: 'no-bytes' }));
  assert.equal(ways[0]?.outcome, 'waiting');
  assert.deepEqual(
    [decision.outcome, decision.listener, decision.chain, decision.reason],
    ['unknown', '0.0.0.0_80', undefined, 'no-request-seen'],
  );
});

for (const [continues, expect] of [
  [true, 'PassthroughFilterChain'],
  [false, undefined],
] as const)
  test(`connection: a silent client, a time-out, ${continues ? 'and on' : 'and the end'}`, () => {
    const config = makeConfig({
      listeners: [
        listener('timed', '0.0.0.0:80', {
          listener_filters: [inspector('http')],
          listener_filters_timeout: '5s',
          continue_on_listener_filters_timeout: continues,
          filter_chains: [chain('http', { application_protocols: ['http/1.1'] })],
          default_filter_chain: { name: 'PassthroughFilterChain', filters: [tcpProxy('x')] },
        }),
      ],
    });
    const { decision } = decideConnection(config, facts(80, '10.1.0.5:80', { http: 'no-bytes' }));
    assert.equal(decision.chain, expect);
    assert.equal(decision.outcome, continues ? 'unknown' : 'no-chain');
  });

test('connection: what was not read leaves candidates', () => {
  const { decision } = decideConnection(sidecar, facts(15001, '10.96.0.3:80', { transport: 'unknown', http: 'unknown' }));
  assert.equal(decision.listener, '0.0.0.0_80');
  assert.equal(decision.chain, undefined);
  assert.equal(decision.evidence.chain, 'ambiguous');
  assert.deepEqual(decision.candidates?.chain?.sort(), ['PassthroughFilterChain', 'http']);
});

test('connection: what was not read does not matter where one chain takes everything', () => {
  const { decision } = decideConnection(sidecar, facts(15006, '10.1.0.5:3306', { transport: 'unknown', http: 'unknown' }));
  assert.deepEqual([decision.chain, decision.evidence.chain], ['mysql', 'derived']);
});

test('connection: the chain tells what TLS it asks for, and what ends it', () => {
  const mutual = decideConnection(sidecar, facts(15006, '10.1.0.5:9080', { transport: 'tls', serverName: 'x', alpn: ['istio'] }));
  assert.deepEqual([mutual.tls, mutual.network, mutual.direction], ['mutual', 'tcp', 'INBOUND']);
  const http = decideConnection(sidecar, facts(15001, '10.96.0.3:80', { http: 'h2c' }));
  assert.deepEqual(
    [http.tls, http.network, http.routeConfigName, http.inspectors],
    ['plaintext', 'http', '80', ['envoy.filters.listener.http_inspector']],
  );
});

test('connection: the PROXY protocol hides the addresses', () => {
  const config = makeConfig({
    listeners: [
      listener('edge', '0.0.0.0:80', {
        listener_filters: [{ name: 'envoy.filters.listener.proxy_protocol' }],
        filter_chains: [chain('near', { source_prefix_ranges: [{ address_prefix: '10.0.0.0', prefix_len: 8 }] }), chain('far', {})],
      }),
    ],
  });
  const { decision } = decideConnection(config, facts(80, '10.1.0.5:80'));
  assert.deepEqual([decision.evidence.chain, decision.candidates?.chain], ['ambiguous', ['near', 'far']]);
});

test('connection: a unified matcher is not judged', () => {
  const config = makeConfig({ listeners: [listener('waypoint', '0.0.0.0:80', { filter_chain_matcher: { matcher_tree: {} } })] });
  const { decision } = decideConnection(config, facts(80, '10.1.0.5:80'));
  assert.deepEqual(
    [decision.listener, decision.chain, decision.outcome, decision.reason],
    ['waypoint', undefined, 'unknown', 'filter-unknown'],
  );
});

const now = (name: string, port: number, lastUpdated: string, cluster: string, state: 'active' | 'draining' = 'active') => ({
  listener: listener(name, `0.0.0.0:${port}`, { filter_chains: [chain(cluster, {}, tcpProxy(cluster))] }),
  lastUpdated,
  state,
});

test('history: a connection has the listener of its time', () => {
  const history = new EnvoyHistory([
    makeConfig({ dynamic: [now('a', 80, '06:00:00', 'old')] }, '06:01:00'),
    makeConfig({ dynamic: [now('a', 80, '06:02:00', 'new')] }, '06:10:00'),
  ]);
  const chainAt = (time: string) => decideConnection(history, facts(80, '10.1.0.5:80', { atMs: ms(time) })).decision;
  assert.deepEqual([chainAt('06:00:30').chain, chainAt('06:00:30').evidence.chain], ['old', 'derived']);
  assert.deepEqual([chainAt('06:01:30').chain, chainAt('06:01:30').evidence.chain], ['old', 'derived']);
  assert.deepEqual([chainAt('06:02:01').chain, chainAt('06:02:01').evidence.chain], ['new', 'derived']);
  assert.deepEqual([chainAt('06:20:00').chain, chainAt('06:20:00').evidence.chain], ['new', 'derived']);
});

test('history: within the moment of the change both are possible', () => {
  const history = new EnvoyHistory([
    makeConfig({ dynamic: [now('a', 80, '06:00:00', 'old')] }, '06:01:00'),
    makeConfig({ dynamic: [now('a', 80, '06:02:00', 'new')] }, '06:10:00'),
  ]);
  const { decision } = decideConnection(history, facts(80, '10.1.0.5:80', { atMs: ms('06:02:00.050') }));
  assert.deepEqual(decision.candidates?.chain?.sort(), ['new', 'old']);
});

test('history: one reading whose listener is newer than the connection', () => {
  const config = makeConfig({ dynamic: [now('a', 80, '06:02:00', 'new')] });
  const { decision } = decideConnection(config, facts(80, '10.1.0.5:80', { atMs: ms('06:01:00') }));
  assert.deepEqual([decision.chain, decision.evidence.chain, decision.reason], ['new', 'ambiguous', 'listener-newer-than-connection']);
});

test('history: the draining version that a later reading shows is the one of before', () => {
  const config = makeConfig({ dynamic: [now('a', 80, '06:02:00', 'new'), now('a', 80, '06:00:00', 'old', 'draining')] });
  const { decision } = decideConnection(config, facts(80, '10.1.0.5:80', { atMs: ms('06:01:00') }));
  assert.deepEqual([decision.chain, decision.evidence.chain, decision.reason], ['old', 'derived', undefined]);
});

test('history: a draining listener takes no new connections', () => {
  const history = new EnvoyHistory([
    makeConfig({ dynamic: [now('a', 80, '06:00:00', 'old', 'draining')] }, '06:01:00'),
    makeConfig({ dynamic: [] }, '06:10:00'),
  ]);
  assert.equal(decideConnection(history, facts(80, '10.1.0.5:80', { atMs: ms('06:05:00') })).decision.outcome, 'no-listener');
});

test('history: a listener that was removed between two readings may or may not have taken it', () => {
  const history = new EnvoyHistory([
    makeConfig({ dynamic: [now('a', 80, '06:00:00', 'old')] }, '06:01:00'),
    makeConfig({ dynamic: [] }, '06:10:00'),
  ]);
  const { decision, ways } = decideConnection(history, facts(80, '10.1.0.5:80', { atMs: ms('06:05:00') }));
  assert.deepEqual(ways.map((way) => way.outcome).sort(), ['chain', 'no-listener']);
  assert.equal(decision.evidence.listener, 'ambiguous');
});

test('history: a connection from before the recording is doubted only as long as an older listener may drain', () => {
  const base = makeConfig({ dynamic: [now('a', 80, '06:02:00', 'new')] });
  assert.equal(base.drainMs, undefined);
  const unknownDrain = (time: string) =>
    decideConnection(base, facts(80, '10.1.0.5:80', { atMs: ms(time), midstream: true })).decision.evidence.chain;
  assert.deepEqual([unknownDrain('06:09:00'), unknownDrain('06:12:01')], ['ambiguous', 'derived']);
  const config = base.withServerInfo({ version: '1', state: 'LIVE', drainMs: 45_000, node: { id: '', cluster: '', metadata: {} } });
  const chainAt = (time: string) => decideConnection(config, facts(80, '10.1.0.5:80', { atMs: ms(time), midstream: true })).decision;
  assert.deepEqual([chainAt('06:02:30').evidence.chain, chainAt('06:02:30').reason], ['ambiguous', 'begun-before-recording']);
  assert.deepEqual([chainAt('06:03:00').evidence.chain, chainAt('06:03:00').reason], ['derived', undefined]);
});

test('connection: a dump without listeners tells nothing', () => {
  const config = parseConfigDump({ configs: [{ '@type': 'x/envoy.admin.v3.ClustersConfigDump' }] }, { readAt: '' });
  const { decision } = decideConnection(config, facts(80, '10.1.0.5:80'));
  assert.deepEqual([decision.outcome, decision.evidence.listener, decision.reason], ['unknown', 'unavailable', 'no-config-dump']);
});
