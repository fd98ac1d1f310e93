/** Requests through a simulated proxy, of which everything is known: what is said for sure is right, and what is left open has the right one among it. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import type { Subject } from '../../src/annotate/subject.ts';
import { NamespaceFlows } from '../../src/flow/namespace-flows.ts';
import { formatEndpoint } from '../../src/net/address.ts';
import { findPaths } from '../../src/path/paths.ts';
import type { PathRecord } from '../../src/record/record.ts';
import { noRedaction } from '../../src/record/redact.ts';
import { SIDECAR, subjectsOf, worldOf } from '../annotate/worlds.ts';
import { httpManager, listener, type Message, makeDump } from '../envoy/configs.ts';
import { packetOf } from '../flow/packets.ts';
import { simulate, type Traffic, type Truth } from './simulated-proxy.ts';

const TYPE = 'type.googleapis.com/envoy';

const upstreamTls: Message = {
  name: 'envoy.transport_sockets.tls',
  typed_config: {
    '@type': `${TYPE}.extensions.transport_sockets.tls.v3.UpstreamTlsContext`,
    sni: 'outbound_.9080_._.shop.default.svc.cluster.local',
  },
};
const downstreamTls: Message = {
  name: 'envoy.transport_sockets.tls',
  typed_config: { '@type': `${TYPE}.extensions.transport_sockets.tls.v3.DownstreamTlsContext`, require_client_certificate: true },
};

const route = (cluster: string) =>
  httpManager({
    inline: { name: 'shop', virtual_hosts: [{ name: 'shop', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster } }] }] },
  });

/** What istiod would have sent: a virtual outbound and inbound listener, one service with two endpoints, one application. */
function configDump(encrypted: boolean): string {
  const inbound = listener('virtualInbound', '0.0.0.0:15006', {
    traffic_direction: 'INBOUND',
    filter_chains: [{ filters: [route('inbound|9080||')], ...(encrypted ? { transport_socket: downstreamTls } : {}) }],
  });
  const outbound = listener('virtualOutbound', '0.0.0.0:15001', { traffic_direction: 'OUTBOUND', use_original_dst: true });
  const shop = listener('0.0.0.0_9080', '0.0.0.0:9080', {
    traffic_direction: 'OUTBOUND',
    bind_to_port: false,
    filter_chains: [{ filters: [route('outbound|9080||shop.default.svc.cluster.local')] }],
  });
  return JSON.stringify(
    makeDump({
      listeners: [inbound, outbound, shop],
      clusters: [
        { name: 'outbound|9080||shop.default.svc.cluster.local', type: 'EDS', ...(encrypted ? { transport_socket: upstreamTls } : {}) },
        { name: 'inbound|9080||', type: 'ORIGINAL_DST', lb_policy: 'CLUSTER_PROVIDED' },
      ],
      endpoints: { 'outbound|9080||shop.default.svc.cluster.local': ['10.244.1.20:9080', '10.244.2.21:9080'] },
    }),
  );
}

interface Joined {
  readonly requests: number;
  readonly forwarded: number;
  /** Joined for sure. */
  joined: number;
  readonly wrong: string[];
  /** Requests that went on, where the right one is neither joined nor named. */
  readonly lost: string[];
}

/** @param configured is the proxy's configuration known? */
function join(traffic: Traffic, configured: boolean): Joined {
  const { packets, truth } = simulate(traffic);
  const flows = new NamespaceFlows({ follow: 'all' });
  for (const shown of packets) flows.observe(packetOf(shown), 0);
  flows.finish();
  const files = { 'iptables-save': SIDECAR, ...(configured ? { config_dump: configDump(traffic.encryption !== 'none') } : {}) };
  const subjects = subjectsOf(flows, worldOf({ files }));
  const paths = findPaths([subjects], noRedaction);
  return judge(subjects, paths, truth);
}

/** Requests of one connection in their order, as paths and as they were. */
function judge(subjects: readonly Subject[], paths: readonly PathRecord[], truth: readonly Truth[]): Joined {
  const endOf = new Map(
    subjects.map(({ record, translation }) => [record.id, formatEndpoint(translation.source.ip, translation.source.port)]),
  );
  const sides = new Map<string, 'down' | 'up'>();
  for (const { down, up } of truth) {
    sides.set(down, 'down');
    if (up !== undefined) sides.set(up, 'up');
  }
  const result: Joined = {
    requests: truth.length,
    forwarded: truth.filter(({ up }) => up !== undefined).length,
    joined: 0,
    wrong: [],
    lost: [],
  };
  const pairs = new Set(truth.map(({ down, up }) => `${down} ${up}`));
  const byPath = new Map(truth.map((entry) => [entry.path, entry]));
  const alike = byPath.size < truth.length;
  const named = new Set<string>();
  for (const path of paths) {
    const entry = alike || path.request?.path === undefined ? undefined : byPath.get(path.request.path);
    const ends = path.legs.map((leg) => endOf.get(leg.flow)!);
    for (const { from, to, evidence, candidates } of path.joins) {
      if (from !== to) {
        const pair = `${ends[from]} ${ends[to]}`;
        const right = entry === undefined ? pairs.has(pair) : pair === `${entry.down} ${entry.up}`;
        if (evidence === 'ambiguous') named.add(entry === undefined ? pair : `${entry.path} ${pair}`);
        else if (!right)
          result.wrong.push(
            `${path.request?.path} ${pair} was joined (${evidence})${entry === undefined ? '' : `, it was ${entry.down} ${entry.up}`}`,
          );
        else {
          result.joined++;
          named.add(entry === undefined ? pair : `${entry.path} ${pair}`);
        }
      }
      for (const candidate of candidates ?? []) {
        const other = endOf.get(candidate)!;
        const own = ends[from]!;
        const pair = sides.get(own) === 'down' ? `${own} ${other}` : `${other} ${own}`;
        named.add(entry === undefined ? pair : `${entry.path} ${pair}`);
      }
    }
  }
  for (const { path, down, up } of truth)
    if (up !== undefined && !named.has(alike ? `${down} ${up}` : `${path} ${down} ${up}`)) result.lost.push(`${path} ${down} ${up}`);
  return result;
}

const traffic = (more: Partial<Traffic>): fc.Arbitrary<Traffic> =>
  fc.record({
    seed: fc.integer(),
    encryption: fc.constantFrom('none', 'TLSv1.2', 'TLSv1.3'),
    direction: fc.constantFrom('outbound', 'inbound'),
    connections: fc.integer({ min: 1, max: 8 }),
    requestsEach: fc.integer({ min: 1, max: 5 }),
    refused: fc.constantFrom(0, 0.3),
    retried: fc.constant(0),
    alike: fc.boolean(),
    ...Object.fromEntries(Object.entries(more).map(([key, value]) => [key, fc.constant(value)])),
  }) as fc.Arbitrary<Traffic>;

function always(t: TestContext, all: fc.Arbitrary<Traffic>, configured: boolean, runs: number): void {
  let forwarded = 0;
  let joined = 0;
  fc.assert(
    fc.property(all, (one) => {
      const found = join(one, configured);
      forwarded += found.forwarded;
      joined += found.joined;
      assert.deepEqual(found.wrong, [], 'joined wrongly');
      assert.deepEqual(found.lost, [], 'the right one is not even a candidate');
    }),
    { seed: 41, numRuns: runs },
  );
  t.diagnostic(`${forwarded} requests went on, ${joined} were joined for sure, 0 wrongly`);
}

for (const direction of ['outbound', 'inbound'] as const)
  for (const encryption of ['none', 'TLSv1.2', 'TLSv1.3'] as const)
    test(`${direction}, ${encryption === 'none' ? 'in the clear' : encryption}: no join is wrong, the right one is always named`, (t) => {
      always(t, traffic({ direction, encryption }), true, 60);
    });

test('outbound, without any configuration: no join is wrong, the right one is always named', (t) => {
  always(t, traffic({ direction: 'outbound' }), false, 60);
});

test('inbound, without any configuration: no join is wrong', (t) => {
  always(t, traffic({ direction: 'inbound' }), false, 60);
});

test('requests that are tried again: the attempt that failed is not taken for the one that served', (t) => {
  always(t, traffic({ direction: 'outbound', retried: 0.3 }), true, 60);
});

test('one request alone is always joined', () => {
  for (const direction of ['outbound', 'inbound'] as const)
    for (const encryption of ['none', 'TLSv1.2', 'TLSv1.3'] as const) {
      const found = join({ seed: 5, encryption, direction, connections: 1, requestsEach: 1, refused: 0, retried: 0, alike: false }, true);
      assert.deepEqual([found.joined, found.forwarded], [1, 1], `${direction} ${encryption}`);
    }
});

test('requests one after the other are always joined', () => {
  for (const direction of ['outbound', 'inbound'] as const)
    for (const encryption of ['none', 'TLSv1.2', 'TLSv1.3'] as const)
      for (let seed = 0; seed < 20; seed++) {
        const found = join({ seed, encryption, direction, connections: 1, requestsEach: 6, refused: 0, retried: 0, alike: true }, true);
        assert.deepEqual([found.joined, found.forwarded], [6, 6], `${direction} ${encryption} ${seed}`);
      }
});
