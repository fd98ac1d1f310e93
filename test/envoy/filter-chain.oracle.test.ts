/**
 * Filter chain matching against a real Envoy: random listeners, random connections, the same chain.
 *
 * The PROXY protocol gives each connection any source and destination; each chain answers with its number. The seed is fixed.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findFilterChains } from '../../src/envoy/filter-chain-match.ts';
import { inspectConnection } from '../../src/envoy/inspection.ts';
import { parseListener } from '../../src/envoy/listener.ts';
import { clientHello } from './client-hello.ts';
import { Random } from './random.ts';
import { exchange, needsEnvoy, startBackends, startEnvoy } from './running-envoy.ts';

const LISTENERS = Number(process.env.SIDETRACE_ORACLE_LISTENERS ?? 40);
const CONNECTIONS = 30;
const destinations = ['10.0.0.1', '10.0.1.1', '10.1.0.1', '192.0.2.1', '127.0.0.1'];
const sources = ['10.0.0.1', '10.0.0.9', '10.2.0.1', '127.0.0.9', '127.0.0.1', '192.0.2.1'];
const prefixes: [string, number][] = [
  ['10.0.0.0', 8],
  ['10.0.0.0', 16],
  ['10.0.0.1', 32],
  ['0.0.0.0', 0],
  ['192.0.2.0', 24],
  ['127.0.0.0', 8],
];
const ports = [80, 443, 8080];
const sourcePorts = [1000, 2000, 3000];
const serverNames = ['a.example.com', 'b.example.com', 'x.a.example.com', 'example.com', 'other.test', ''];
const nameMatches = ['a.example.com', '*.example.com', '*.com', 'example.com', '*.a.example.com', '*.test'];
const protocols = ['h2', 'http/1.1', 'istio', 'istio-peer-exchange', 'h2c', 'http/1.0'];

type Match = { [field: string]: unknown };

function randomMatch(random: Random): Match {
  const match: Match = {};
  const some = <T>(from: readonly T[]) => random.sample(from, 1 + random.below(2));
  const range = ([address_prefix, prefix_len]: [string, number]) => ({ address_prefix, prefix_len });
  if (random.chance(0.3)) match.destination_port = random.pick(ports);
  if (random.chance(0.3)) match.prefix_ranges = some(prefixes).map(range);
  if (random.chance(0.3)) match.server_names = some(nameMatches);
  if (random.chance(0.5)) match.transport_protocol = random.pick(['tls', 'raw_buffer']);
  if (random.chance(0.3)) match.application_protocols = some(protocols);
  if (random.chance(0.15))
    match.direct_source_prefix_ranges = [
      range(
        random.pick([
          ['127.0.0.0', 8],
          ['10.0.0.0', 8],
          ['127.0.0.1', 32],
        ] as [string, number][]),
      ),
    ];
  if (random.chance(0.2)) match.source_type = random.pick(['SAME_IP_OR_LOOPBACK', 'EXTERNAL']);
  if (random.chance(0.15)) match.source_prefix_ranges = some(prefixes).map(range);
  if (random.chance(0.15)) match.source_ports = some(sourcePorts);
  return match;
}

/** Every combination of single values that a match stands for: Envoy refuses chains that share one. */
function combinations(match: Match): string[] {
  const ranges = (name: string) =>
    ((match[name] as { address_prefix: string; prefix_len: number }[] | undefined) ?? [{ address_prefix: '0.0.0.0', prefix_len: 0 }]).map(
      (r) => `${r.address_prefix}/${r.prefix_len}`,
    );
  const list = (name: string) => (match[name] as unknown[] | undefined) ?? [''];
  const axes: unknown[][] = [
    [match.destination_port ?? ''],
    ranges('prefix_ranges'),
    list('server_names'),
    [match.transport_protocol ?? ''],
    list('application_protocols'),
    ranges('direct_source_prefix_ranges'),
    [match.source_type ?? ''],
    ranges('source_prefix_ranges'),
    list('source_ports'),
  ];
  return axes.reduce<string[]>((texts, axis) => texts.flatMap((text) => axis.map((value) => `${text} ${value}`)), ['']);
}

const answer = (name: string) => ({
  name: 'proxy',
  typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy', stat_prefix: name, cluster: name },
});

function randomListener(random: Random, name: string): { [field: string]: unknown } {
  const taken = new Set<string>();
  const chains: object[] = [];
  for (let i = 0; i < 12; i++) {
    const match = randomMatch(random);
    const all = combinations(match);
    if (all.some((text) => taken.has(text))) continue;
    for (const text of all) taken.add(text);
    chains.push({ name: `chain-${chains.length}`, filter_chain_match: match, filters: [answer(`chain-${chains.length}`)] });
  }
  const filter = (short: string, type: string) => ({
    name: `envoy.filters.listener.${short}`,
    typed_config: { '@type': `type.googleapis.com/envoy.extensions.filters.listener.${short}.v3.${type}` },
  });
  const disabled = (chance: number) =>
    random.chance(chance)
      ? {
          filter_disabled: random.pick([
            { destination_port_range: { start: 443, end: 444 } },
            {
              or_match: {
                rules: [{ destination_port_range: { start: 80, end: 81 } }, { destination_port_range: { start: 8080, end: 8081 } }],
              },
            },
            { not_match: { destination_port_range: { start: 80, end: 81 } } },
          ]),
        }
      : {};
  return {
    name,
    address: { socket_address: { address: '127.0.0.1', port_value: 0 } },
    listener_filters: [
      filter('proxy_protocol', 'ProxyProtocol'),
      ...(random.chance(0.85) ? [{ ...filter('tls_inspector', 'TlsInspector'), ...disabled(0.3) }] : []),
      ...(random.chance(0.7) ? [{ ...filter('http_inspector', 'HttpInspector'), ...disabled(0.3) }] : []),
    ],
    filter_chains: chains,
    ...(random.chance(0.6) ? { default_filter_chain: { name: 'default', filters: [answer('default')] } } : {}),
  };
}

interface Attempt {
  source: { ip: string; port: number };
  destination: { ip: string; port: number };
  serverName: string;
  alpn: string[];
  kind: 'tls' | 'http/1.1' | 'http/1.0' | 'h2c' | 'none';
}

function randomAttempt(random: Random): Attempt {
  return {
    source: { ip: random.pick(sources), port: random.pick(sourcePorts) },
    destination: { ip: random.pick(destinations), port: random.pick(ports) },
    serverName: random.pick(serverNames),
    alpn: random.sample(protocols, random.below(4)),
    kind: random.pick(['tls', 'tls', 'tls', 'http/1.1', 'http/1.0', 'h2c', 'none']),
  };
}

function bytesOf({ kind, serverName, alpn }: Attempt): Uint8Array {
  const heads = {
    'http/1.1': 'GET / HTTP/1.1\r\nHost: a\r\n\r\n',
    'http/1.0': 'GET / HTTP/1.0\r\n\r\n',
    h2c: 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    none: '\x01\x02 neither\r\n\r\n'.repeat(20),
  };
  return kind === 'tls' ? clientHello(serverName, alpn) : Buffer.from(heads[kind], 'latin1');
}

test('findFilterChains() takes the chain that Envoy takes', { ...needsEnvoy(), timeout: 240_000 }, async (t) => {
  const random = new Random(Number(process.env.SIDETRACE_SEED ?? 20_261));
  const listeners = Array.from({ length: LISTENERS }, (_, i) => randomListener(random, `listener-${i}`));
  const backends = await startBackends([...Array.from({ length: 12 }, (_, i) => `chain-${i}`), 'default']);
  const envoy = await startEnvoy(listeners, backends.clusters);
  try {
    let compared = 0;
    let none = 0;
    let open = 0;
    const seen = new Map<string, number>();
    for (const message of listeners) {
      const listener = parseListener(message);
      const attempts = Array.from({ length: CONNECTIONS }, () => randomAttempt(random));
      const said = await Promise.all(
        attempts.map((attempt) => {
          const { source, destination } = attempt;
          const head = Buffer.from(`PROXY TCP4 ${source.ip} ${destination.ip} ${source.port} ${destination.port}\r\n`);
          return exchange(envoy.ports.get(listener.name)!, Buffer.concat([head, bytesOf(attempt)]));
        }),
      );
      attempts.forEach((attempt, i) => {
        const { source, destination, kind } = attempt;
        const facts = {
          atMs: 0,
          listener: { port: 1 },
          source,
          destination,
          transport: kind === 'tls' ? 'tls' : 'raw_buffer',
          ...(kind === 'tls' ? { serverName: attempt.serverName, alpn: attempt.alpn } : {}),
          http: kind === 'tls' ? 'none' : kind,
        } as const;
        const inspection = inspectConnection(listener, facts, destination.port);
        assert.equal(inspection.kind, 'found');
        if (inspection.kind !== 'found') return;
        assert.equal(inspection.possible.length, 1);
        const input = { ...inspection.possible[0]!, source, destination, directSource: { ip: '127.0.0.1', port: 1 } };
        const chains = findFilterChains(listener, input);
        const names = chains.map((chain) => chain?.name ?? '');
        if (names.length > 1) {
          open++;
          assert.ok(names.includes(said[i]!), `${names} ${said[i]}`);
          return;
        }
        const name = names[0]!;
        compared++;
        if (name === '') none++;
        seen.set(name, (seen.get(name) ?? 0) + 1);
        assert.equal(name, said[i], `${listener.name} ${JSON.stringify(attempt)} ${JSON.stringify(message.filter_chains)}`);
      });
    }
    t.diagnostic(
      `${compared} connections to ${LISTENERS} listeners compared, 0 differ; ${none} fit no chain, ${seen.get('default')} took the default chain; ${open} that Envoy itself leaves open`,
    );
    assert.ok(compared > CONNECTIONS * LISTENERS * 0.8 && none > 20);
  } finally {
    await envoy.stop();
    backends.stop();
  }
});
