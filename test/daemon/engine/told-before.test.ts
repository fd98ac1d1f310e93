/** The engine tells requests one after the other, and what was told takes no part in what is joined later: that must make nothing surer for those that come after it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ExchangeLog } from '../../../src/flow/http.ts';
import type { AnyRecord } from '../../../src/record/record.ts';
import { MadeNamespace, makeRecording, sidecarRules, type Talk } from '../../findings/made-recording.ts';
import { recordsOf } from '../../findings/replayed.ts';
import { GATEWAY, headers, POD, PREFACE, SETTINGS, told, VIP } from '../../path/http2-talk.ts';
import { watch } from './watched-recording.ts';

const redirected = { on: 'lo', redirected: '127.0.0.1:15001' } as const;
const get = (path: string, more = '', host = 'shop') => `GET ${path} HTTP/1.1\r\nhost: ${host}\r\n${more}\r\n`;
const answer = (more = '') => `HTTP/1.1 200 OK\r\n${more}content-length: 0\r\n\r\n`;
const SERVED = answer('x-envoy-upstream-service-time: 3\r\n');
const ask = (path: string): Talk => [['C', get(path)], 0.1, ['S', SERVED], '.C', '.S'];
/** A fault of 20 s; then the proxy refuses it itself. */
const waits = (path: string): Talk => [['C', get(path)], 20, ['S', 'HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n']];
const client = () => new MadeNamespace('default/client', POD).file('iptables-save', sidecarRules());

/** What was said for sure of the request that came at 1 s, whenever it was said. */
const claimed = (records: readonly AnyRecord[]) =>
  records.flatMap((record) =>
    record.type === 'path' && record.of === 'request' && record.first.includes(':01.000')
      ? record.joins.filter(({ evidence }) => evidence === 'derived' || evidence === 'observed')
      : [],
  );

test('a connection that was opened for another request is not the way of one that waits', () => {
  const pod = client().tcp({ ...redirected, at: 1, from: `${POD}:40000`, to: `${VIP}:80`, isn: 1000, talk: waits('/waits') });
  const pool: Talk[number][] = [];
  for (let i = 0; i < 8; i++) {
    const path = `/other${i}`;
    pod.tcp({ ...redirected, at: 1.5 + i * 2, from: `${POD}:${40_010 + i}`, to: `${VIP}:80`, isn: 20_000 + i * 1000, talk: ask(path) });
    pool.push(['C', get(path, `x-request-id: r${i}\r\n`)], 0.05, ['S', SERVED], 1.95 - 0.0001);
  }
  const recording = makeRecording([pod.tcp({ at: 1.51, from: `${POD}:50000`, to: `${GATEWAY}:8080`, isn: 5000, talk: pool })]);
  assert.deepEqual(claimed(recordsOf(recording)), []);
  assert.deepEqual(claimed(watch(recording, { linger: 8 })), []);
});

test('a place that one of two others has is not that of a request that waits', () => {
  const pod = client().tcp({ ...redirected, at: 1, from: `${POD}:40000`, to: `${VIP}:80`, isn: 1000, talk: waits('/same') });
  for (const i of [1, 2])
    pod.tcp({ ...redirected, at: 1.1 + i / 1000, from: `${POD}:${40_000 + i}`, to: `${VIP}:80`, isn: 1000 + i * 1000, talk: ask('/same') });
  const shared: Talk[number][] = [
    ['C', Buffer.concat([PREFACE, headers(1, { path: '/same', id: 'b' }), headers(3, { path: '/same', id: 'c' })])],
    ['S', SETTINGS],
    0.05,
    ['S', headers(3)],
    ['S', headers(1)],
  ];
  for (let i = 0; i < 8; i++) {
    const [path, stream] = [`/other${i}`, 5 + i * 2];
    pod.tcp({ ...redirected, at: 4 + i * 3, from: `${POD}:${40_010 + i}`, to: `${VIP}:80`, isn: 20_000 + i * 1000, talk: ask(path) });
    shared.push(i === 0 ? 2.85 : 2.95, ['C', headers(stream, { path, id: `o${i}` })], 0.05, ['S', headers(stream)]);
  }
  const recording = makeRecording([pod.tcp({ at: 1.11, from: `${POD}:50000`, to: `${GATEWAY}:8080`, isn: 5000, talk: shared })]);
  assert.deepEqual(claimed(recordsOf(recording)), []);
  assert.deepEqual(claimed(watch(recording, { linger: 8 })), []);
});

for (const refused of [false, true])
  test(`a pod calls itself in the clear, its proxy ${refused ? 'answers that itself' : 'sends it on to the application'}, and holds the response back: what is mirrored is not what was answered`, () => {
    const proxied = 'x-request-id: a\r\nx-forwarded-proto: http\r\n';
    const made = new MadeNamespace('default/shop', POD).file('iptables-save', sidecarRules());
    const held: Talk = [['C', get('/me')], 1.2, ['S', SERVED]];
    made.tcp({ ...redirected, at: 3, from: `${POD}:40000`, to: `${VIP}:80`, isn: 1000, talk: held });
    const second: Talk = [['C', get('/me', proxied)], 0.05, ['S', SERVED]];
    const own = { on: 'lo', redirected: '127.0.0.1:15006', begins: 'late' } as const;
    made.tcp({ ...own, at: 3.01, from: `${POD}:50000`, to: `${POD}:80`, isn: 2000, talk: second });
    const application: Talk = [['C', get('/me', proxied)], 0.02, ['S', answer()]];
    if (!refused) made.tcp({ at: 3.02, from: '127.0.0.6:60000', to: `${POD}:80`, on: 'lo', isn: 3000, talk: application });
    const mirror: Talk = [['C', get('/me', proxied, 'other')], 0.05, ['S', SERVED]];
    made.tcp({ at: 3.01, from: `${POD}:51000`, to: `${GATEWAY}:80`, isn: 4000, begins: 'late', talk: mirror });
    const recording = makeRecording([made]);
    for (const paths of [told(recordsOf(recording)), told(watch(recording, { linger: 8 }))])
      assert.deepEqual(
        paths.filter((path) => path.startsWith('40000 > 51000')),
        [],
        paths.join(', '),
      );
  });

for (const [first, paths] of [
  [
    ['/a', '/b'],
    ['/a', '/b'],
  ],
  [
    ['/a', '/a'],
    ['/a', '/b'],
  ],
  [
    ['/a', '/a'],
    ['/a', '/a'],
  ],
] as const)
  test(`what was told is forgotten, whether or not two could be told apart: ${first}, then ${paths}`, (t) => {
    const rounds = 100;
    const pod = client();
    const shared: Talk[number][] = [
      ['C', PREFACE],
      ['S', SETTINGS],
    ];
    for (let i = 0; i < rounds; i++) {
      const asked = i === 0 ? first : paths;
      for (const k of [0, 1] as const)
        pod.tcp({
          ...redirected,
          at: 1 + i + k / 1000,
          from: `${POD}:${20_000 + 2 * i + k}`,
          to: `${VIP}:80`,
          isn: 1000 * (2 * i + k),
          talk: ask(asked[k]),
        });
      const request = (n: number, path: string) => onStream(headers(1, { path, id: `r${n}` }), n);
      const response = (n: number) => onStream(headers(1), n);
      shared.push(['C', Buffer.concat([request(2 * i, asked[0]), request(2 * i + 1, asked[1])])], 0.05);
      shared.push(['S', response(2 * i + 1)], ['S', response(2 * i)], 0.95 - 0.00015);
    }
    pod.tcp({ at: 1.01, from: `${POD}:50000`, to: `${GATEWAY}:8080`, isn: 5000, talk: shared });
    const forget = ExchangeLog.prototype.forget;
    let most = 0;
    t.mock.method(ExchangeLog.prototype, 'forget', function (this: ExchangeLog, beforeNs: number, settleNs: number) {
      forget.call(this, beforeNs, settleNs);
      most = Math.max(most, this.kept.length);
    });
    watch(makeRecording([pod]), { linger: 20 });
    assert.ok(most > 0 && most < rounds, `${most} exchanges of one connection are kept, of ${2 * rounds}`);
  });

/** The frame on the n-th stream. */
function onStream(frame: Buffer, n: number): Buffer {
  const copy = Buffer.from(frame);
  copy.writeUInt32BE(2 * n + 1, 5);
  return copy;
}
