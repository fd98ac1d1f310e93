/** One of the two proxies on an HTTP/2 connection was recorded from a later moment on: what lies there is told by the stream, not by the order in which it was seen. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MadeNamespace, makeRecording, sidecarRules, type Talk } from '../findings/made-recording.ts';
import { recordsOf } from '../findings/replayed.ts';
import { BEYOND, GATEWAY, gatewayConfig, headers, POD, PREFACE, SETTINGS, told, VIP } from './http2-talk.ts';

const SERVER = '10.0.0.20';
const ask = (seconds: number): Talk => [
  ['C', 'GET /same HTTP/1.1\r\nhost: shop\r\n\r\n'],
  seconds,
  ['S', 'HTTP/1.1 200 OK\r\nx-envoy-upstream-service-time: 3\r\ncontent-length: 0\r\n\r\n'],
];
const onward: Talk = [
  ['C', 'GET /same HTTP/1.1\r\nhost: shop\r\nx-forwarded-proto: http\r\nx-request-id: b\r\n\r\n'],
  0.03,
  ['S', 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n'],
];

/** Two requests for the same, which begin at these times. */
function client(at: readonly [number, number], seconds: readonly [number, number]): MadeNamespace {
  const pod = new MadeNamespace('default/client', POD).file('iptables-save', sidecarRules());
  for (const i of [0, 1] as const)
    pod.tcp({
      at: at[i],
      from: `${POD}:${40_000 + i}`,
      to: `${VIP}:80`,
      on: 'lo',
      redirected: '127.0.0.1:15001',
      isn: 1000 + i * 1000,
      talk: ask(seconds[i]),
    });
  return pod;
}

test('requests one after the other, into a sidecar that was recorded from the second on', () => {
  const pod = client([1, 3], [0.1, 0.1]);
  const second: Talk = [['C', headers(3, { path: '/same', id: 'b' })], 0.05, ['S', headers(3)]];
  const talk: Talk = [
    ['C', Buffer.concat([PREFACE, headers(1, { path: '/same', id: 'a' })])],
    ['S', SETTINGS],
    0.05,
    ['S', headers(1)],
    1.94,
    ...second,
  ];
  pod.tcp({ at: 1.01, from: `${POD}:50000`, to: `${SERVER}:80`, isn: 5000, talk });
  const server = new MadeNamespace('default/server', SERVER).file('iptables-save', sidecarRules());
  server.tcp({ at: 3.001, from: `${POD}:50000`, to: `${SERVER}:80`, isn: 5200, incoming: true, begins: 'late', talk: second });
  server.tcp({ at: 3.005, from: '127.0.0.6:60000', to: `${SERVER}:80`, on: 'lo', isn: 8000, talk: onward });
  assert.deepEqual(told(recordsOf(makeRecording([pod, server]))), [
    '40000 > 50000 > 50000 /same - derived,derived',
    '40001 > 50000 > 50000 > 60000 /same b derived,derived,observed',
  ]);
});

test('one request within the other, to a gateway that was recorded from the second on', () => {
  const pod = client([1, 2], [3, 0.5]);
  const late: Talk = [['C', headers(3, { path: '/same', id: 'b' })], 0.3, ['S', headers(3)], 1.5, ['S', headers(1)]];
  const talk: Talk = [['C', Buffer.concat([PREFACE, headers(1, { path: '/same', id: 'a' })])], ['S', SETTINGS], 1, ...late];
  pod.tcp({ at: 1.01, from: `${POD}:50000`, to: `${GATEWAY}:8080`, isn: 5000, talk });
  const gateway = new MadeNamespace('default/gateway', GATEWAY).file('iptables-save', '*nat\nCOMMIT\n').file('config_dump', gatewayConfig);
  gateway.tcp({ at: 2.011, from: `${POD}:50000`, to: `${GATEWAY}:8080`, isn: 5200, incoming: true, begins: 'late', talk: late });
  gateway.tcp({ at: 2.02, from: `${GATEWAY}:60000`, to: `${BEYOND}:9080`, isn: 8000, talk: onward });
  const paths = told(recordsOf(makeRecording([pod, gateway])));
  assert.deepEqual(
    paths.filter((path) => path.startsWith('40000') && path.includes('60000')),
    [],
    paths.join(', '),
  );
  assert.ok(
    paths.some((path) => path.startsWith('40001') && path.includes('60000')),
    paths.join(', '),
  );
});
