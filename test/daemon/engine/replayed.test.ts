/**
 * The daemon's pipeline against replay's: the recordings of captures/ are played to the engine tick by tick, and what it told in the end must be what replay says of the whole. The engine knows less at each
 * moment and forgets what was told, so this holds its windows against the full view.
 */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { replay } from '../../../src/pipeline.ts';
import type { AnyRecord, FlowRecord } from '../../../src/record/record.ts';
import { httpManager, listener, makeDump } from '../../envoy/configs.ts';
import { MadeNamespace, makeRecording, sidecarRules, type Talk } from '../../findings/made-recording.ts';
import { tlsRecord } from '../../flow/tls-records.ts';
import { watch } from './watched-recording.ts';

const situations = readdirSync('captures', { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));

/** The last record of each id. */
function last(records: readonly AnyRecord[], type: 'flow' | 'path' | 'finding'): Map<string, AnyRecord> {
  const found = new Map<string, AnyRecord>();
  for (const record of records) if (record.type === type) found.set(record.id, record);
  return found;
}

function replayed(path: string): AnyRecord[] {
  const records: AnyRecord[] = [];
  const run = replay({ captures: [path], files: [], redact: true }, (record) => records.push(structuredClone(record)));
  while (run.next().done !== true);
  return records;
}

/** Without what the engine cannot know when it tells a flow: findings that are made later; and with lists whose order is that of telling in an order of their own. */
function comparable(record: AnyRecord | undefined): unknown {
  if (record === undefined || !('event' in record)) return record;
  const { event: _event, ...rest } = record;
  if (rest.type === 'flow') {
    const { findings: _findings, paths, ...flow } = rest;
    return { ...flow, ...(paths === undefined ? {} : { paths: [...paths].sort() }) };
  }
  return rest;
}

// A node with much to judge looks less often (daemon/pace.ts).
for (const [name, tickMs] of situations.flatMap((name) => [250, 2000].map((tickMs) => [name, tickMs] as const)))
  test(`${name}: what is told while it happens, each ${tickMs} ms, is what replay says of the whole`, () => {
    const path = join('captures', name);
    const live = watch(path, { tickMs });
    const whole = replayed(path);
    for (const type of ['flow', 'finding'] as const)
      assert.deepEqual([...last(live, type).keys()].sort(), [...last(whole, type).keys()].sort(), `${type}s`);
    const paths = last(live, 'path');
    // A pooled connection on which earlier requests lay is not taken for one that carried a single request only.
    const exempt = name === 'configuration-change';
    if (!exempt) assert.deepEqual([...paths.keys()].sort(), [...last(whole, 'path').keys()].sort(), 'paths');
    for (const [id, record] of last(whole, 'path')) if (!exempt) assert.deepEqual(comparable(paths.get(id)), comparable(record));
    const flows = last(live, 'flow');
    for (const [id, record] of last(whole, 'flow')) {
      const told = comparable(flows.get(id)) as Record<string, unknown>;
      const wanted = comparable(record) as Record<string, unknown>;
      for (const field of ['source', 'destination', 'roles', 'rule', 'translated', 'halves', 'owner', 'tls', 'counters', 'tcp', 'state'])
        assert.deepEqual(told[field], wanted[field], `${field} of flow ${id}`);
      if (!exempt) assert.deepEqual(told.envoy, wanted.envoy, `envoy of flow ${id}`);
    }
    const [total, wanted] = [live.at(-1), whole.at(-1)];
    assert.ok(total?.type === 'total' && wanted?.type === 'total');
    assert.equal(total.packets, wanted.packets);
    assert.equal(total.bytes, wanted.bytes);
  });

test('a record of an id is told as open, then changed, then closed once, and never after', () => {
  for (const name of ['bookinfo', 'failures', 'server-first']) {
    const closed = new Set<string>();
    const known = new Set<string>();
    for (const record of watch(join('captures', name), { linger: 20 })) {
      if (record.type !== 'flow' && record.type !== 'path') continue;
      // A request of an application is told once more when what it was asked for is known.
      if (record.type === 'path' && record.parent !== undefined) continue;
      assert.ok(!closed.has(record.id), `${record.type} ${record.id} of ${name} came again after its close`);
      if (record.event === 'open') assert.ok(!known.has(record.id), `${record.type} ${record.id} of ${name} was opened twice`);
      known.add(record.id);
      if (record.event === 'close') closed.add(record.id);
    }
  }
});

test('the same frames and ticks give the same records', () => {
  assert.deepEqual(watch('captures/weighted-routes'), watch('captures/weighted-routes'));
});

test('requests that wait for a proxy to be asked for its configuration are joined with all that was there when they were made', () => {
  for (const name of ['bookinfo', 'weighted-routes', 'h2c-grpc']) {
    const paths = (records: readonly AnyRecord[]) => [...last(records, 'path')].map(([id, record]) => [id, comparable(record)]).sort();
    assert.deepEqual(paths(watch(join('captures', name), { polls: 8 })), paths(watch(join('captures', name))));
  }
});

test('a pod that calls itself: what was told of the way to its proxy leaves the way from there open until it is told, too', () => {
  const [pod, peer] = ['10.0.0.10', '10.0.0.20'];
  const manager = (cluster: string) =>
    httpManager({
      inline: {
        name: cluster,
        virtual_hosts: [{ name: 'shop', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster } }] }],
      },
    });
  const tls = {
    name: 'envoy.transport_sockets.tls',
    typed_config: { '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext' },
  };
  const dump = makeDump({
    listeners: [
      listener('virtualOutbound', '0.0.0.0:15001', { traffic_direction: 'OUTBOUND', use_original_dst: true }),
      listener('10.96.0.1_80', '10.96.0.1:80', {
        traffic_direction: 'OUTBOUND',
        bind_to_port: false,
        filter_chains: [{ filters: [manager('outbound|80||shop')] }],
      }),
      listener('virtualInbound', '0.0.0.0:15006', {
        traffic_direction: 'INBOUND',
        filter_chains: [{ filters: [manager('inbound|80||')] }],
      }),
    ],
    clusters: [
      { name: 'outbound|80||shop', type: 'EDS', transport_socket: tls },
      { name: 'inbound|80||', type: 'ORIGINAL_DST', lb_policy: 'CLUSTER_PROVIDED' },
    ],
    endpoints: { 'outbound|80||shop': [`${pod}:80`] },
  });
  const made = new MadeNamespace('default/shop', pod).file('iptables-save', sidecarRules()).file('config_dump', JSON.stringify(dump));
  const answer = (more = '') => `HTTP/1.1 200 OK\r\n${more}content-length: 0\r\n\r\n`;
  const get = 'GET /me HTTP/1.1\r\nhost: shop\r\nx-forwarded-proto: http\r\n\r\n';
  const encrypted = (seconds: number): Talk => [['C', tlsRecord.data(300, true)], seconds, ['S', tlsRecord.data(300, true)]];
  // Asked before the proxy was asked for its configuration at 3 s, sent on to the application after it: that waits for the next time.
  const asked: Talk = [['C', get], 0.013, ['S', answer('x-envoy-upstream-service-time: 9\r\n')]];
  made.tcp({ at: 2.999, from: `${pod}:40000`, to: '10.96.0.1:80', on: 'lo', redirected: '127.0.0.1:15001', isn: 1000, talk: asked });
  made.tcp({
    at: 3,
    from: `${pod}:50000`,
    to: `${pod}:80`,
    on: 'lo',
    redirected: '127.0.0.1:15006',
    isn: 2000,
    begins: 'late',
    talk: encrypted(0.01),
  });
  made.tcp({ at: 3.002, from: '127.0.0.6:60000', to: `${pod}:80`, on: 'lo', isn: 3000, talk: [['C', get], 0.005, ['S', answer()]] });
  made.tcp({ at: 2.5, from: `${peer}:41000`, to: `${pod}:80`, incoming: true, isn: 4000, begins: 'late', talk: encrypted(0.509) });
  const records = watch(makeRecording([made]), { polls: 1, linger: 8 });
  const flows = new Map([...last(records, 'flow')]) as Map<string, FlowRecord>;
  const portOf = (flow: string) => flows.get(flow)?.source.port;
  const joins = [...last(records, 'path').values()].flatMap((path) =>
    path.type !== 'path'
      ? []
      : path.joins.map(({ from, to, evidence, candidates }) =>
          [
            portOf(path.legs[from]!.flow),
            from === to ? candidates?.map(portOf).sort().join('|') : portOf(path.legs[to]!.flow),
            evidence,
          ].join(' '),
        ),
  );
  assert.deepEqual(
    joins.filter((join) => join.startsWith('41000') && join.endsWith('derived')),
    [],
    joins.join(', '),
  );
  assert.ok(joins.includes('60000 41000|50000 ambiguous') || joins.includes('50000 60000 derived'), joins.join(', '));
});

test('an encrypted connection names all connections on which its requests may have gone on, those of long ago, too', () => {
  const pod = '10.0.0.10';
  const made = new MadeNamespace('default/shop', pod).file('iptables-save', sidecarRules());
  const busy: Talk = [3, 13].flatMap(
    (_, i): Talk => [...(i === 0 ? [] : [9]), ['C', tlsRecord.data(300, true)], 1, ['S', tlsRecord.data(300, true)]],
  );
  for (const [i, peer] of ['10.0.0.20', '10.0.0.21'].entries())
    made.tcp({
      at: 2.5,
      from: `${peer}:41000`,
      to: `${pod}:80`,
      incoming: true,
      isn: 4000 + i * 100,
      begins: 'late',
      talk: [...busy, '.C', '.S'],
    });
  for (const [i, at] of [3, 13].entries()) {
    const talk: Talk = [
      ['C', 'GET / HTTP/1.1\r\nhost: shop\r\n\r\n'],
      0.005,
      ['S', 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n'],
      '.C',
      '.S',
    ];
    made.tcp({ at, from: `127.0.0.6:${60_000 + i}`, to: `${pod}:80`, on: 'lo', isn: 3000 + i * 100, talk });
  }
  const records = watch(makeRecording([made]), { linger: 20 });
  const flows = last(records, 'flow') as Map<string, FlowRecord>;
  const open = [...last(records, 'path').values()].flatMap((path) =>
    path.type === 'path' && path.of === 'connection'
      ? path.joins.map(({ candidates }) => candidates?.map((flow) => flows.get(flow)?.source.port).sort())
      : [],
  );
  assert.deepEqual(open, [
    [60_000, 60_001],
    [60_000, 60_001],
  ]);
});
