/** What happens after something was told: other requests end, connections go on, flows are given up. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Engine } from '../../../src/daemon/engine/engine.ts';
import { KubeNames } from '../../../src/kube/names.ts';
import type { AnyRecord } from '../../../src/record/record.ts';
import { LiveWorld } from '../../../src/world/live.ts';
import { ETHERTYPE, ipv4, PROTOCOL, sll2, tcp } from '../../decode/frames.ts';
import { MadeNamespace, makeRecording, sidecarRules, type Talk } from '../../findings/made-recording.ts';
import { recordsOf } from '../../findings/replayed.ts';
import { GATEWAY, POD, VIP } from '../../path/http2-talk.ts';
import { probeFrame } from './probe-frame.ts';
import { watch } from './watched-recording.ts';

const redirected = { on: 'lo', redirected: '127.0.0.1:15001' } as const;
const PEER = '10.0.0.40';
const exchange = (path: string, id: string, seconds: number): Talk => [
  ['C', `GET ${path} HTTP/1.1\r\nhost: shop\r\nx-forwarded-proto: http\r\nx-request-id: ${id}\r\n\r\n`],
  seconds,
  ['S', 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n'],
];

test('two requests with one id came in at the same time: a call with it is that of neither for sure, whichever ended first', () => {
  const pod = new MadeNamespace('default/shop', POD).file('iptables-save', sidecarRules());
  for (const [i, [at, seconds]] of (
    [
      [1, 4],
      [2, 1],
    ] as const
  ).entries()) {
    pod.tcp({
      at,
      from: `${PEER}:${40_000 + i}`,
      to: `${POD}:80`,
      incoming: true,
      isn: 1000 + i * 1000,
      talk: exchange(`/in${i}`, 'r', seconds),
    });
    pod.tcp({
      at: at + 0.001,
      from: `127.0.0.6:${50_000 + i}`,
      to: `${POD}:80`,
      on: 'lo',
      isn: 5000 + i * 1000,
      talk: exchange(`/in${i}`, 'r', seconds - 0.01),
    });
  }
  pod.tcp({ ...redirected, at: 2.5, from: `${POD}:41000`, to: `${VIP}:80`, isn: 9000, talk: exchange('/call', 'r', 0.2) });
  const recording = makeRecording([pod]);
  const parents = (records: readonly AnyRecord[]) =>
    records.filter((record) => record.type === 'path' && record.parent !== undefined).length;
  assert.equal(parents(recordsOf(recording)), 0);
  assert.equal(parents(watch(recording, { linger: 8 })), 0);
});

test('what was idle so long that its end was told, and goes on, is told again', () => {
  const pod = new MadeNamespace('default/shop', POD).file('iptables-save', '*nat\nCOMMIT\n');
  // What goes before it makes that nothing is forgotten for 10 s.
  pod.tcp({ at: 3595.5, from: `${POD}:40000`, to: `${PEER}:9`, begins: 'refused' });
  const talk = Array.from({ length: 50 }, (): Talk => [['C', 'x'], 1]).flat();
  pod.tcp({ at: 1, from: `${POD}:40001`, to: `${PEER}:6379`, talk: [['C', 'x'], ['S', 'x'], 3604, ...talk, '.C', '.S'] });
  const last = watch(makeRecording([pod]), { linger: 10 })
    .filter((record) => record.type === 'flow' && record.destination.port === 6379)
    .at(-1);
  assert.ok(last?.type === 'flow');
  assert.deepEqual([last.event, last.state, last.counters.toDestination.packets], ['close', 'closed', 54]);
});

const BASE = { epochSeconds: 1_700_000_000 };
test('a connection that is given up for want of room has an end, and its path', () => {
  const records: AnyRecord[] = [];
  const engine = new Engine({ node: 'n', redact: true, base: BASE, seed: 1, flowsMax: 64 }, (record) =>
    records.push(structuredClone(record)),
  );
  const namespace = engine.open(1n, new LiveWorld({ node: 'n', netns: 'a' }, BASE, () => new KubeNames()));
  const send = (atNs: number, out: boolean, port: number, flags: number) => {
    const [src, dst, from, to] = out ? ['10.0.0.1', '10.0.0.2', port, 80] : ['10.0.0.2', '10.0.0.1', 80, port];
    namespace.observeProbeFrames(
      probeFrame(
        BASE.epochSeconds,
        atNs,
        sll2(
          ETHERTYPE.ipv4,
          ipv4(
            { protocol: PROTOCOL.tcp, src: src as string, dst: dst as string },
            tcp({ src: from as number, dst: to as number, flags, seq: 1, ack: 2, window: 1 }, []),
          ),
          2,
          out ? 4 : 0,
        ),
      ),
    );
  };
  let nowNs = 1e9;
  const tick = (seconds: number) => {
    for (const untilNs = nowNs + seconds * 1e9; nowNs < untilNs; nowNs += 250e6) engine.tick(nowNs);
  };
  for (const [flags, out] of [
    [2, true],
    [0x12, false],
    [0x10, true],
  ] as const)
    send(nowNs, out, 40_000, flags);
  tick(70);
  const opened = records.filter((record) => record.type === 'path').map(({ id }) => id);
  assert.equal(opened.length, 1);
  for (let i = 0; i < 200; i++) {
    send(nowNs, true, 41_000 + i, 2);
    send(nowNs, false, 41_000 + i, 0x12);
    send(nowNs, true, 41_000 + i, 0x10);
    if (i % 50 === 49) tick(1);
  }
  tick(20);
  const events = records.flatMap((record) => (record.type === 'path' && record.id === opened[0] ? [record.event] : []));
  assert.deepEqual(events, ['open', 'close']);
});

const get = (path: string, id = '') =>
  `GET ${path} HTTP/1.1\r\nhost: shop\r\n${id === '' ? '' : `x-forwarded-proto: http\r\nx-request-id: ${id}\r\n`}\r\n`;
const REFUSED = 'HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n';

/** What is said for sure of requests. */
const claimed = (records: readonly AnyRecord[]) =>
  records.flatMap((record) =>
    record.type === 'path' && record.of === 'request' ? record.joins.filter(({ evidence }) => evidence !== 'ambiguous') : [],
  );

test('a connection that was told and lasts may be the one for which another was opened', () => {
  const pod = new MadeNamespace('default/client', POD).file('iptables-save', sidecarRules());
  pod.tcp({ ...redirected, at: 1, from: `${POD}:40000`, to: `${VIP}:9000`, isn: 1000, talk: [110, ['C', 'x'], '.C', '.S'] });
  const refused: Talk = [['C', get('/x')], 0.1, ['S', REFUSED]];
  pod.tcp({ ...redirected, at: 90, from: `${POD}:40001`, to: `${VIP}:80`, isn: 2000, talk: refused });
  pod.tcp({ at: 90.01, from: `${POD}:50000`, to: `${GATEWAY}:8080`, isn: 3000, begins: 'refused' });
  const recording = makeRecording([pod]);
  assert.deepEqual(claimed(recordsOf(recording)), []);
  assert.deepEqual(claimed(watch(recording, { linger: 8 })), []);
});

for (const at of [4, 70])
  test(`a request that still waits may be the one for which a connection was opened ${at} s later`, () => {
    const pod = new MadeNamespace('default/client', POD).file('iptables-save', sidecarRules());
    pod.tcp({ ...redirected, at: 1, from: `${POD}:40000`, to: `${VIP}:80`, isn: 1000, talk: [['C', get('/waits')], 90, ['S', REFUSED]] });
    pod.tcp({ ...redirected, at: at + 1, from: `${POD}:40001`, to: `${VIP}:80`, isn: 2000, talk: [['C', get('/x')], 0.1, ['S', REFUSED]] });
    pod.tcp({ at: at + 1.01, from: `${POD}:50000`, to: `${GATEWAY}:8080`, isn: 3000, begins: 'refused' });
    const recording = makeRecording([pod]);
    assert.deepEqual(claimed(recordsOf(recording)), []);
    assert.deepEqual(claimed(watch(recording, { linger: 8 })), []);
  });

test('each path that was told as open has an end, also when it was found to be a part of another', () => {
  const SERVER = '10.0.0.20';
  const pod = new MadeNamespace('default/client', POD).file('iptables-save', sidecarRules());
  const server = new MadeNamespace('default/server', SERVER).file('iptables-save', sidecarRules());
  const served = 'HTTP/1.1 200 OK\r\nx-envoy-upstream-service-time: 3\r\ncontent-length: 0\r\n\r\n';
  for (const i of [0, 1] as const) {
    const talk = (more: number, id?: string): Talk => [['C', get('/same', id)], 8 + 2 * i + more, ['S', served], '.C', '.S'];
    pod.tcp({ ...redirected, at: 1 + i / 1000, from: `${POD}:${40_000 + i}`, to: `${VIP}:80`, isn: 1000 + i * 1000, talk: talk(0.1) });
    pod.tcp({ at: 1.01 + i / 1000, from: `${POD}:${50_000 + i}`, to: `${SERVER}:80`, isn: 5000 + i * 1000, talk: talk(0.05, `r${i}`) });
    server.tcp({
      at: 1.01 + i / 1000,
      from: `${POD}:${50_000 + i}`,
      to: `${SERVER}:80`,
      incoming: true,
      isn: 5000 + i * 1000,
      talk: talk(0.05, `r${i}`),
    });
    server.tcp({
      at: 1.02 + i / 1000,
      from: `127.0.0.6:${60_000 + i}`,
      to: `${SERVER}:80`,
      on: 'lo',
      isn: 9000 + i * 1000,
      talk: talk(0.02, `r${i}`),
    });
  }
  const records = watch(makeRecording([pod, server]), { linger: 20 });
  const open = new Map<string, string>();
  for (const record of records)
    if (record.type === 'path')
      open.set(record.id, `${record.event} ${record.legs.length} ${record.joins.map(({ evidence }) => evidence)}`);
  assert.deepEqual(
    [...open.values()].filter((last) => !last.startsWith('close')),
    [],
    [...open.values()].join('; '),
  );
});

for (const goesOn of [true, false])
  test(`a pod that calls itself, and ${goesOn ? 'its application' : 'its proxy'} takes its time: each path that ends does so once, as the part of one that was told`, () => {
    const made = new MadeNamespace('default/shop', POD).file('iptables-save', sidecarRules());
    const talk = (seconds: number): Talk => [
      ['C', get('/me', 'a')],
      seconds,
      ['S', 'HTTP/1.1 200 OK\r\nx-envoy-upstream-service-time: 3\r\ncontent-length: 0\r\n\r\n'],
    ];
    made.tcp({ ...redirected, at: 1, from: `${POD}:40000`, to: `${VIP}:80`, isn: 1000, talk: talk(20.2) });
    const own = { on: 'lo', redirected: '127.0.0.1:15006' } as const;
    made.tcp({ ...own, at: 1.01, from: `${POD}:50000`, to: `${POD}:80`, isn: 2000, talk: talk(20.1) });
    if (goesOn) made.tcp({ at: 1.02, from: '127.0.0.6:60000', to: `${POD}:80`, on: 'lo', isn: 3000, talk: talk(20) });
    const paths = watch(makeRecording([made]), { linger: 8 }).flatMap((record) => (record.type === 'path' ? [record] : []));
    const ended = paths.filter(({ event }) => event === 'close');
    assert.ok(ended.some(({ parent }) => parent !== undefined));
    assert.equal(new Set(ended.map(({ id }) => id)).size, ended.length);
    for (const { parent } of ended) assert.ok(parent === undefined || ended.some(({ id }) => id === parent), `${parent} was told`);
  });
