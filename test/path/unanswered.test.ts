/** Requests that ended without an answer, and streams that outlive others: what is joined by time alone has to know when something could still be under way. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FlowRecord, PathRecord } from '../../src/record/record.ts';
import { MadeNamespace, makeRecording, sidecarRules, type Talk } from '../findings/made-recording.ts';
import { recordsOf } from '../findings/replayed.ts';
import { encryptedTalk } from './encrypted-talk.ts';
import { headers, PREFACE } from './http2-talk.ts';

const POD = '10.0.0.10';
const PEER = '10.0.0.20';

function joins(pod: MadeNamespace): string[] {
  const records = recordsOf(makeRecording([pod]));
  const flows = new Map(records.flatMap((record) => (record.type === 'flow' ? [[record.id, record]] : [])) as [string, FlowRecord][]);
  return records
    .filter((record): record is PathRecord => record.type === 'path' && record.request !== undefined)
    .map(
      ({ legs, joins: all, request }) =>
        `${request?.path} ${legs.map((leg) => flows.get(leg.flow)!.source.port).join(' > ')} ${all.map(({ evidence }) => evidence)}`,
    )
    .sort();
}

test('a client that gave up before it was answered', () => {
  const ask: Talk = [['C', 'GET /slow HTTP/1.1\r\nhost: shop\r\n\r\n'], 0.05, '.C', '.S'];
  const pod = new MadeNamespace('default/shop', POD).file('iptables-save', sidecarRules());
  pod.tcp({ at: 1, from: `${PEER}:40000`, to: `${POD}:80`, incoming: true, isn: 1000, talk: ask });
  pod.tcp({ at: 1.001, from: '127.0.0.6:50000', to: `${POD}:80`, on: 'lo', isn: 5000, talk: ask });
  assert.deepEqual(joins(pod), ['/slow 40000 > 50000 derived']);
});

test('on HTTP/2 a stream that began first and ends last is no less there than those in between', () => {
  const between = Array.from({ length: 9 }, (_, i) => 3 + 2 * i);
  const talk: Talk = [
    ['C', Buffer.concat([PREFACE, headers(1, { path: '/watch' })])],
    ...between.flatMap(
      (stream): Talk => [['C', headers(stream, { path: `/get/${stream}` })], 0.01, ['S', headers(stream, undefined, false)]],
    ),
    1,
    ['S', headers(1, undefined, false)],
    '.C',
    '.S',
  ];
  const pod = new MadeNamespace('default/shop', POD).file('iptables-save', sidecarRules());
  pod.tcp({ at: 1, from: `${PEER}:40000`, to: `${POD}:80`, incoming: true, isn: 1000, talk });
  // The proxy sent it on only when the others had been answered.
  const late: Talk = [
    ['C', 'GET /watch HTTP/1.1\r\nhost: shop\r\n\r\n'],
    0.1,
    ['S', 'HTTP/1.1 200 Fine\r\ncontent-length: 0\r\n\r\n'],
    '.C',
    '.S',
  ];
  pod.tcp({ at: 1.9, from: '127.0.0.6:50000', to: `${POD}:80`, on: 'lo', isn: 5000, talk: late });
  assert.ok(joins(pod).includes('/watch 40000 > 50000 derived'));
});

test('where the proxy sends with the address of the client, that tells clients apart', () => {
  const rules =
    '*mangle\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -i lo -j RETURN\n-A PREROUTING -p tcp -j TPROXY --on-port 15006 --on-ip 0.0.0.0 --tproxy-mark 0x539/0xffffffff\nCOMMIT\n';
  const ask: Talk = [
    ['C', 'GET /same HTTP/1.1\r\nhost: shop\r\n\r\n'],
    0.05,
    ['S', 'HTTP/1.1 200 Fine\r\ncontent-length: 0\r\n\r\n'],
    '.C',
    '.S',
  ];
  const answer: Talk = [ask[0]!, 0.02, ask[2]!, '.C', '.S'];
  const pod = new MadeNamespace('default/shop', POD).file('iptables-save', rules);
  for (const i of [1, 2]) {
    pod.tcp({ at: 1, from: `10.0.0.2${i}:4000${i}`, to: `${POD}:80`, incoming: true, isn: 1000 + i, talk: ask });
    pod.tcp({ at: 1.01, from: `10.0.0.2${i}:5000${i}`, to: `${POD}:80`, on: 'lo', isn: 5000 + i, talk: answer });
  }
  assert.deepEqual(joins(pod), ['/same 40001 > 50001 derived', '/same 40002 > 50002 derived']);
});

test("what a transparent proxy sends with the pod's own address is its own, if it tells of the client's certificate", () => {
  const rules = `*mangle
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -p tcp -m mark --mark 0x539 -j RETURN
-A PREROUTING -i lo -p tcp -m mark ! --mark 0x53a -j RETURN
-A PREROUTING -p tcp -j TPROXY --on-port 15006 --on-ip 0.0.0.0 --tproxy-mark 0x539/0xffffffff
-A OUTPUT -o lo -p tcp -m mark --mark 0x539 -j RETURN
-A OUTPUT ! -d 127.0.0.1/32 -o lo -p tcp -m owner --uid-owner 1337 -j MARK --set-xmark 0x53a/0xffffffff
COMMIT
`;
  const encrypted = encryptedTalk(['istio']);
  const pods = ['x-forwarded-client-cert: By=spiffe://a/ns/b/sa/c;URI=spiffe://a/ns/b/sa/c\r\n', ''].map((header) => {
    const talk: Talk = [
      ['C', `GET /self HTTP/1.1\r\nhost: shop\r\n${header}\r\n`],
      0.02,
      ['S', 'HTTP/1.1 200 Fine\r\ncontent-length: 0\r\n\r\n'],
    ];
    const pod = new MadeNamespace('default/shop', POD).file('iptables-save', rules);
    pod.tcp({ at: 1, from: `${POD}:45000`, to: `${POD}:80`, on: 'lo', isn: 1000, talk: encrypted });
    return pod.tcp({ at: 1.02, from: `${POD}:50000`, to: `${POD}:80`, on: 'lo', isn: 5000, talk });
  });
  assert.deepEqual(pods.map(joins), [['/self 45000 > 50000 derived'], []]);
});
