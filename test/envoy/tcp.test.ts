import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ConnectionFacts, decideConnection } from '../../src/envoy/connection.ts';
import { settle } from '../../src/envoy/settle.ts';
import { decideTcp } from '../../src/envoy/tcp.ts';
import { httpManager, listener, type Message, makeConfig, ms, tcpProxy } from './configs.ts';

const network = (name: string, type: string, config: Message = {}): Message => ({
  name: `envoy.filters.network.${name}`,
  typed_config: { '@type': `x/envoy.extensions.filters.network.${name}.v3.${type}`, ...config },
});
const chain = (port: number, ...filters: Message[]) => ({ name: `chain-${port}`, filter_chain_match: { destination_port: port }, filters });
const weighted = {
  name: 'envoy.filters.network.tcp_proxy',
  typed_config: {
    '@type': 'x/TcpProxy',
    weighted_clusters: {
      clusters: [
        { name: 'a', weight: 1 },
        { name: 'b', weight: 1 },
      ],
    },
  },
};
const rbac = (source: string) =>
  network('rbac', 'RBAC', {
    rules: {
      action: 'ALLOW',
      policies: { p: { permissions: [{ any: true }], principals: [{ direct_remote_ip: { address_prefix: source, prefix_len: 32 } }] } },
    },
  });

const config = makeConfig({
  listeners: [
    listener('inbound', '0.0.0.0:15006', {
      listener_filters: [{ name: 'envoy.filters.listener.original_dst' }, { name: 'envoy.filters.listener.tls_inspector' }],
      filter_chains: [
        chain(1, tcpProxy('a')),
        chain(2, weighted),
        chain(3, network('sni_cluster', 'SniCluster'), tcpProxy('BlackHoleCluster')),
        chain(4, rbac('10.1.0.5'), tcpProxy('a')),
        chain(5, rbac('10.1.0.6'), tcpProxy('a')),
        chain(6, network('mysql_proxy', 'MySQLProxy'), tcpProxy('a')),
        chain(7, network('wasm', 'Wasm'), tcpProxy('a')),
        chain(8, network('redis_proxy', 'RedisProxy')),
        chain(9, httpManager({ rds: 'x' })),
        chain(10, tcpProxy('inbound|10||')),
        chain(11, tcpProxy('BlackHoleCluster')),
        chain(12, tcpProxy('gone')),
      ],
    }),
  ],
  clusters: [
    { name: 'a', type: 'EDS' },
    { name: 'b', type: 'EDS' },
    { name: 'outbound_.80_._.cart', type: 'EDS' },
    { name: 'inbound|10||', type: 'ORIGINAL_DST', upstream_bind_config: { source_address: { address: '127.0.0.6', port_value: 0 } } },
    { name: 'BlackHoleCluster', type: 'STATIC' },
  ],
  endpoints: { a: ['10.1.0.1:80'], b: ['10.1.0.2:80'], 'outbound_.80_._.cart': ['10.1.0.3:80'] },
});

function connect(port: number, more: Partial<ConnectionFacts> = {}) {
  return decideConnection(config, {
    atMs: ms('06:05:00'),
    listener: { port: 15006 },
    destination: { ip: '10.1.0.9', port },
    source: { ip: '10.1.0.5', port: 4000 },
    transport: 'raw_buffer',
    http: 'none',
    ...more,
  });
}

const situations: [string, number, Partial<ConnectionFacts>, [string, string | undefined, string | undefined, string | undefined]][] = [
  ['a proxy to one cluster', 1, {}, ['forwarded', 'a', '10.1.0.1:80', undefined]],
  ['weighted clusters stay open', 2, {}, ['forwarded', undefined, undefined, 'weighted']],
  [
    'the SNI is the cluster',
    3,
    { transport: 'tls', serverName: 'outbound_.80_._.cart', alpn: [] },
    ['forwarded', 'outbound_.80_._.cart', '10.1.0.3:80', undefined],
  ],
  ['an SNI that is no cluster', 3, { transport: 'tls', serverName: 'nothing', alpn: [] }, ['no-cluster', 'nothing', undefined, undefined]],
  [
    'no SNI falls back to the cluster of the proxy',
    3,
    { transport: 'tls', serverName: '', alpn: [] },
    ['black-hole', 'BlackHoleCluster', undefined, undefined],
  ],
  ['an SNI that was not seen', 3, { transport: 'tls', alpn: [] }, ['unknown', undefined, undefined, 'no-client-hello']],
  ['a policy that allows', 4, {}, ['forwarded', 'a', '10.1.0.1:80', undefined]],
  ['a policy that does not', 5, {}, ['denied', 'a', undefined, undefined]],
  ['a decoder in front changes nothing', 6, {}, ['forwarded', 'a', '10.1.0.1:80', undefined]],
  ['a filter that we do not follow', 7, {}, ['forwarded', 'a', '10.1.0.1:80', 'filter-unknown']],
  ['a chain that ends in another protocol', 8, {}, ['unknown', undefined, undefined, 'filter-unknown']],
  ['a chain for requests, and none was seen', 9, {}, ['unknown', undefined, undefined, 'no-request-seen']],
  ['to the application itself', 10, {}, ['forwarded', 'inbound|10||', '10.1.0.9:10', undefined]],
  ['the black hole', 11, {}, ['black-hole', 'BlackHoleCluster', undefined, undefined]],
  ['a cluster that is gone', 12, {}, ['no-cluster', 'gone', undefined, undefined]],
  ['no chain', 13, {}, ['no-chain', undefined, undefined, undefined]],
];

for (const [name, port, more, expect] of situations)
  test(`TCP: ${name}`, () => {
    const { decision } = decideTcp(connect(port, more));
    assert.deepEqual([decision.outcome, decision.cluster, decision.endpoint, decision.reason], expect);
  });

test('TCP: the upstream connection tells weighted clusters apart', () => {
  const { decision } = settle(decideTcp(connect(2)), { upstream: { ip: '10.1.0.2', port: 80 } });
  assert.deepEqual(
    [decision.cluster, decision.evidence.cluster, decision.endpoint, decision.evidence.endpoint, decision.reason],
    ['b', 'derived', '10.1.0.2:80', 'observed', undefined],
  );
});

test('TCP: an upstream connection elsewhere is said', () => {
  const { decision } = settle(decideTcp(connect(1)), { upstream: { ip: '192.0.2.1', port: 80 } });
  assert.deepEqual(
    [decision.evidence.cluster, decision.endpoint, decision.reason],
    ['ambiguous', '192.0.2.1:80', 'upstream-not-an-endpoint'],
  );
});
