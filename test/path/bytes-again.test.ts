/** Connections that are carried as bytes: those that are told one after the other, ports that are used again, and very many at once. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { watch } from '../daemon/engine/watched-recording.ts';
import { listener, makeDump, tcpProxy } from '../envoy/configs.ts';
import { MadeNamespace, makeRecording, sidecarRules, type Talk } from '../findings/made-recording.ts';
import { recordsOf } from '../findings/replayed.ts';
import { told } from './http2-talk.ts';

const POD = '10.0.0.10';
const PEER = '10.0.0.20';
const SERVER = '10.0.0.30';

test('what two were there for when it was opened, is not the other one for sure because one of them was told and left', () => {
  const dump = JSON.stringify(
    makeDump({
      listeners: [
        {
          ...listener('virtualInbound', '0.0.0.0:15006', { filter_chains: [{ filters: [tcpProxy('inbound|9000||')] }] }),
          traffic_direction: 'INBOUND',
        },
      ],
      clusters: [{ name: 'inbound|9000||', type: 'ORIGINAL_DST' }],
    }),
  );
  const pod = new MadeNamespace('default/shop', POD).file('iptables-save', sidecarRules()).file('config_dump', dump);
  const talk = (...end: Talk): Talk => [['C', 'ask'], 0.1, ['S', 'answer'], ...end];
  pod.tcp({ at: 5, from: `${PEER}:40001`, to: `${POD}:9000`, incoming: true, isn: 2000, talk: talk(6, '.C', '.S') });
  pod.tcp({ at: 5.03, from: '127.0.0.6:50001', to: `${POD}:9000`, on: 'lo', isn: 12_000, talk: talk(6, '.C', '.S') });
  pod.tcp({ at: 5.02, from: `${PEER}:40002`, to: `${POD}:9000`, incoming: true, isn: 3000, talk: talk(0.1, '.C', '.S') });
  // The application is slow to close its side.
  pod.tcp({ at: 5.04, from: '127.0.0.6:50002', to: `${POD}:9000`, on: 'lo', isn: 13_000, talk: talk(0.1, '.C', 5, '.S') });
  const recording = makeRecording([pod]);
  for (const paths of [told(recordsOf(recording), 'any'), told(watch(recording, { linger: 20 }), 'any')])
    assert.deepEqual(
      paths.filter((path) => path.startsWith('40001 > 50002')),
      [],
      paths.join(', '),
    );
});

test('a port that is used again: both views of the handshake are surer than the tuple of one that was there before', () => {
  const pod = new MadeNamespace('default/client', POD).file('iptables-save', '*nat\nCOMMIT\n');
  const server = new MadeNamespace('default/server', SERVER).file('iptables-save', '*nat\nCOMMIT\n');
  const talk: Talk = [['C', 'ask'], 0.1, ['S', 'answer'], '.C', '.S', '.C', '.S'];
  pod.tcp({ at: 1, from: `${POD}:40000`, to: `${SERVER}:9000`, isn: 1000, begins: 'late', talk: [...talk] });
  for (const [on, incoming] of [
    [pod, false],
    [server, true],
  ] as const)
    on.tcp({ at: incoming ? 3.0001 : 3, from: `${POD}:40000`, to: `${SERVER}:9000`, isn: 200_000, incoming, talk });
  const recording = makeRecording([pod, server]);
  for (const records of [recordsOf(recording), watch(recording, { linger: 20 })]) {
    const grades = records.flatMap((record) =>
      record.type === 'path' ? [`${record.first.slice(17, 21)} ${record.joins.map(({ evidence }) => evidence)}`] : [],
    );
    assert.deepEqual([...new Set(grades)].sort(), ['01.0 ', '03.0 observed'], grades.join(', '));
  }
});

test('more connections at once than can be compared: each is one of many', () => {
  const pod = new MadeNamespace('default/shop', POD).file('iptables-save', sidecarRules());
  const talk: Talk = [['C', 'ask'], 0.1, ['S', 'answer']];
  for (let i = 0; i < 1001; i++) {
    pod.tcp({ at: 1 + i / 1e5, from: `${PEER}:${20_000 + i}`, to: `${POD}:9000`, incoming: true, isn: 2000 + i * 1000, talk });
    pod.tcp({ at: 1.001 + i / 1e5, from: `127.0.0.6:${20_000 + i}`, to: `${POD}:9000`, on: 'lo', isn: 12_000 + i * 1000, talk });
  }
  const joins = recordsOf(makeRecording([pod])).flatMap((record) => (record.type === 'path' ? record.joins : []));
  assert.ok(joins.length >= 1001);
  assert.ok(joins.every(({ evidence, candidates }) => evidence === 'ambiguous' && candidates!.length <= 256));
});
