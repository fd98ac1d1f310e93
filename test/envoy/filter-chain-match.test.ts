import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type ChainInput, findFilterChains, serverNameKeys, whyRejected } from '../../src/envoy/filter-chain-match.ts';
import { parseListener } from '../../src/envoy/listener.ts';
import { listener, type Message, tcpProxy } from './configs.ts';

const http = ['http/1.1', 'h2c'];
const istio = ['istio-http/1.0', 'istio-http/1.1', 'istio-h2'];

/** An inbound listener as Istio makes it for a permissive HTTP port 9080 and a TCP port 7000. */
const inbound: { [name: string]: Message } = {
  blackhole: { destination_port: 15006 },
  'catchall-http-tls': { transport_protocol: 'tls', application_protocols: istio },
  'catchall-http': { transport_protocol: 'raw_buffer', application_protocols: http },
  'catchall-tls': { transport_protocol: 'tls', application_protocols: ['istio-peer-exchange', 'istio'] },
  'catchall-raw': { transport_protocol: 'raw_buffer' },
  'catchall-foreign': { transport_protocol: 'tls' },
  'http-tls': { destination_port: 9080, transport_protocol: 'tls', application_protocols: ['istio', 'istio-peer-exchange', ...istio] },
  'http-raw': { destination_port: 9080, transport_protocol: 'raw_buffer' },
  'tcp-tls': { destination_port: 7000, transport_protocol: 'tls', application_protocols: ['istio-peer-exchange', 'istio'] },
  'tcp-raw': { destination_port: 7000, transport_protocol: 'raw_buffer' },
};

const gateway: { [name: string]: Message } = {
  exact: { server_names: ['www.example.com'] },
  wildcard: { server_names: ['*.example.com', 'other.test'] },
  top: { server_names: ['*.com'], application_protocols: ['h2'] },
  open: {},
};

const addresses: { [name: string]: Message } = {
  net: { prefix_ranges: [{ address_prefix: '10.0.0.0', prefix_len: 8 }] },
  subnet: { prefix_ranges: [{ address_prefix: '10.1.0.0', prefix_len: 16 }], transport_protocol: 'tls' },
  host: { prefix_ranges: [{ address_prefix: '10.1.0.5', prefix_len: 32 }] },
  six: { prefix_ranges: [{ address_prefix: 'fd00::', prefix_len: 8 }] },
};

const sources: { [name: string]: Message } = {
  self: { source_type: 'SAME_IP_OR_LOOPBACK' },
  office: { source_type: 'EXTERNAL', source_prefix_ranges: [{ address_prefix: '198.51.100.0', prefix_len: 24 }] },
  ports: { source_type: 'EXTERNAL', source_prefix_ranges: [{ address_prefix: '203.0.113.0', prefix_len: 24 }], source_ports: [1000, 1001] },
};

function build(chains: { [name: string]: Message }, fallback = true) {
  return parseListener(
    listener('test', '0.0.0.0:1', {
      filter_chains: Object.entries(chains).map(([name, filter_chain_match]) => ({ name, filter_chain_match, filters: [tcpProxy('x')] })),
      ...(fallback ? { default_filter_chain: { name: 'default', filters: [tcpProxy('x')] } } : {}),
    }),
  );
}

const raw = (port: number, ...protocols: string[]): ChainInput => ({
  destination: { ip: '10.0.0.1', port },
  source: { ip: '10.0.0.2', port: 4000 },
  serverName: '',
  transportProtocol: 'raw_buffer',
  applicationProtocols: protocols,
});
const tls = (port: number, serverName: string, ...protocols: string[]): ChainInput => ({
  ...raw(port, ...protocols),
  serverName,
  transportProtocol: 'tls',
});
const to = (ip: string, transportProtocol = 'raw_buffer'): ChainInput => ({ ...raw(80), destination: { ip, port: 80 }, transportProtocol });
const from = (ip: string, port = 5000): ChainInput => ({ ...raw(80), source: { ip, port } });

const situations: [string, { [name: string]: Message }, ChainInput, string][] = [
  ['plain HTTP to a declared HTTP port', inbound, raw(9080, 'http/1.1'), 'http-raw'],
  ['bytes that are no HTTP to the same port take the same chain: no inspector looks there', inbound, raw(9080), 'http-raw'],
  ['mutual TLS with HTTP inside', inbound, tls(9080, 'outbound_.9080_._.a.b', 'istio-http/1.1', 'istio', 'http/1.1'), 'http-tls'],
  [
    'foreign TLS to a declared HTTP port goes to no chain of the port, and the catch-alls without a port are not tried',
    inbound,
    tls(9080, 'a', 'h2', 'http/1.1'),
    'default',
  ],
  ['TLS without ALPN to a declared TCP port', inbound, tls(7000, 'a'), 'default'],
  ['plain bytes to a declared TCP port', inbound, raw(7000), 'tcp-raw'],
  ['HTTP to an undeclared port', inbound, raw(5555, 'http/1.1'), 'catchall-http'],
  ['HTTP/2 to an undeclared port', inbound, raw(5555, 'h2c'), 'catchall-http'],
  ['HTTP/1.0 is no protocol of the catch-all', inbound, raw(5555, 'http/1.0'), 'catchall-raw'],
  ['mutual TLS with HTTP to an undeclared port', inbound, tls(5555, 'x', 'istio-h2', 'istio'), 'catchall-http-tls'],
  ["the client's order of protocols decides", inbound, tls(5555, 'x', 'istio', 'istio-h2'), 'catchall-tls'],
  ['TLS of somebody else to an undeclared port is passed through', inbound, tls(5555, 'x', 'h2'), 'catchall-foreign'],
  ['a connection to the inbound port itself', inbound, raw(15006, 'http/1.1'), 'blackhole'],
  ['an exact server name wins over a wildcard', gateway, tls(443, 'www.example.com', 'h2'), 'exact'],
  ['a wildcard takes any label in front', gateway, tls(443, 'a.b.example.com', 'h2'), 'wildcard'],
  ['a wildcard does not take the bare domain; the next wildcard does', gateway, tls(443, 'example.com', 'h2'), 'top'],
  [
    'when the best server name fails later, the chain for any name is not tried',
    gateway,
    tls(443, 'example.org.com', 'http/1.1'),
    'default',
  ],
  ['another server name takes the chain without one', gateway, tls(443, 'example.net', 'h2'), 'open'],
  ['no server name takes the chain without one', gateway, tls(443, ''), 'open'],
  ['the longest prefix wins', addresses, to('10.1.0.5'), 'host'],
  ['a longer prefix that fails later leaves nothing of the shorter one', addresses, to('10.1.0.6'), 'default'],
  ['the longer prefix with what it asks for', addresses, to('10.1.0.6', 'tls'), 'subnet'],
  ['a shorter prefix', addresses, to('10.2.0.1'), 'net'],
  ['IPv6', addresses, to('fd00::1'), 'six'],
  ['families do not mix', addresses, to('::ffff:10.1.0.5'), 'default'],
  ['the pod itself', sources, from('10.0.0.1'), 'self'],
  ['the loopback address', sources, from('127.0.0.1'), 'self'],
  ['another address of 127.0.0.0/8 is not the loopback for Envoy', sources, from('127.0.0.2'), 'default'],
  ['a source range', sources, from('198.51.100.7'), 'office'],
  ['a source port', sources, from('203.0.113.7', 1001), 'ports'],
  ['another source port', sources, from('203.0.113.7', 1002), 'default'],
];

for (const [name, chains, input, expect] of situations)
  test(`filter chain: ${name}`, () => {
    assert.deepEqual(
      findFilterChains(build(chains), input).map((chain) => chain?.name),
      [expect],
    );
  });

test('filter chain: without a default chain nothing takes the connection', () => {
  assert.deepEqual(findFilterChains(build(inbound, false), tls(9080, 'a', 'h2')), [undefined]);
});

test('filter chain: with the protocols unknown every chain that some list would take is possible', () => {
  const { applicationProtocols: _, ...input } = tls(5555, 'x');
  const names = findFilterChains(build(inbound), input).map((chain) => chain?.name);
  assert.deepEqual(names.sort(), ['catchall-foreign', 'catchall-http-tls', 'catchall-tls']);
});

test('filter chain: with the server name unknown, and all chains of one mind, there is one answer', () => {
  const { serverName: _, ...input } = tls(7000, '', 'istio');
  assert.deepEqual(
    findFilterChains(build(inbound), input).map((chain) => chain?.name),
    ['tcp-tls'],
  );
});

test('filter chain: where no prefix and the prefix of length 0 stand side by side, both are possible', () => {
  const listener = build({ any: {}, zero: { prefix_ranges: [{ address_prefix: '0.0.0.0', prefix_len: 0 }] } });
  assert.deepEqual(
    findFilterChains(listener, raw(80)).map((chain) => chain?.name),
    ['zero', 'any'],
  );
});

test('whyRejected() names the first criterion that does not fit', () => {
  const because = (chains: { [name: string]: Message }, input: ChainInput) =>
    Object.fromEntries(build(chains).filterChains.map((chain) => [chain.name, whyRejected(chain, input)]));
  assert.deepEqual(because(inbound, raw(9080, 'http/1.1')), {
    blackhole: 'port-mismatch',
    'catchall-http-tls': 'transport-mismatch',
    'catchall-http': 'earlier-match',
    'catchall-tls': 'transport-mismatch',
    'catchall-raw': 'earlier-match',
    'catchall-foreign': 'transport-mismatch',
    'http-tls': 'transport-mismatch',
    'http-raw': 'earlier-match',
    'tcp-tls': 'port-mismatch',
    'tcp-raw': 'port-mismatch',
  });
  assert.equal(because(gateway, tls(443, 'a.net')).exact, 'server-name-mismatch');
  assert.equal(because(gateway, tls(443, 'a.com', 'http/1.1')).top, 'application-protocol-mismatch');
  assert.equal(because(addresses, to('192.0.2.1')).net, 'address-mismatch');
  assert.equal(because(sources, from('192.0.2.1')).self, 'source-mismatch');
});

test('serverNameKeys() goes from the name to its last label', () => {
  assert.deepEqual(serverNameKeys('a.b.com'), ['a.b.com', '.b.com', '.com', '']);
  assert.deepEqual(serverNameKeys('.com'), ['.com', '']);
  assert.deepEqual(serverNameKeys('com.'), ['com.', '']);
  assert.deepEqual(serverNameKeys(''), ['']);
});

test('filter chain: what is possible with less knowledge holds what is taken with more', () => {
  const lists = [inbound, gateway, addresses, sources].map((chains) => build(chains));
  const known = fc.record({
    destination: fc.record({
      ip: fc.constantFrom('10.0.0.1', '10.1.0.5', '10.1.0.6', 'fd00::1'),
      port: fc.constantFrom(80, 443, 7000, 9080, 15006),
    }),
    source: fc.record({ ip: fc.constantFrom('10.0.0.1', '127.0.0.1', '198.51.100.9', '203.0.113.1'), port: fc.constantFrom(1000, 5000) }),
    serverName: fc.constantFrom('', 'www.example.com', 'a.example.com', 'a.com', 'other.test'),
    transportProtocol: fc.constantFrom('tls', 'raw_buffer'),
    applicationProtocols: fc.uniqueArray(fc.constantFrom('h2', 'http/1.1', 'istio', 'istio-h2', 'h2c'), { maxLength: 3 }),
  });
  const hidden = fc.subarray(['destination', 'source', 'serverName', 'applicationProtocols'] as const);
  fc.assert(
    fc.property(fc.constantFrom(...lists), known, hidden, (listener, input, hide) => {
      const less: Message = { ...input };
      for (const name of hide) delete less[name];
      const sure = findFilterChains(listener, input);
      assert.equal(sure.length, 1);
      assert.ok(findFilterChains(listener, less as unknown as ChainInput).includes(sure[0]));
    }),
    { seed: 7, numRuns: 2000 },
  );
});
