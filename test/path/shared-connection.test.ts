/** Several requests that went on over one connection at the same time: which connection it was is known, which of them was whose only where something tells. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MadeNamespace, makeRecording, sidecarRules, type Talk } from '../findings/made-recording.ts';
import { recordsOf } from '../findings/replayed.ts';
import { BEYOND, GATEWAY, gatewayConfig, headers, POD, PREFACE, SETTINGS, told, VIP } from './http2-talk.ts';

const redirected = { on: 'lo', redirected: '127.0.0.1:15001' } as const;
const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n';
const SERVED = 'HTTP/1.1 200 OK\r\nx-envoy-upstream-service-time: 3\r\ncontent-length: 0\r\n\r\n';
const ask = (path: string, seconds: number): Talk => [['C', `GET ${path} HTTP/1.1\r\nhost: shop\r\n\r\n`], seconds, ['S', SERVED]];
const client = () => new MadeNamespace('default/client', POD).file('iptables-save', sidecarRules());
const gateway = () =>
  new MadeNamespace('default/gateway', GATEWAY).file('iptables-save', '*nat\nCOMMIT\n').file('config_dump', gatewayConfig);
const forwarded = (path: string, id: string) =>
  `GET ${path} HTTP/1.1\r\nhost: shop\r\nx-request-id: ${id}\r\nx-forwarded-proto: http\r\n\r\n`;
const onward = (path: string, id: string): Talk => [['C', forwarded(path, id)], 0.03, ['S', OK]];

/** Two clients ask at once. Both requests go on over one connection with HTTP/2, to a gateway that sends each on over one of its own; the second is answered first. */
function twoAtOnce(paths: readonly [string, string], ids: readonly [string, string], log?: string): string[] {
  const pod = client();
  if (log !== undefined) pod.file('access-log', log, 10);
  pod.tcp({ ...redirected, at: 1, from: `${POD}:40000`, to: `${VIP}:80`, isn: 1000, talk: ask(paths[0], 0.1) });
  pod.tcp({ ...redirected, at: 1.001, from: `${POD}:40001`, to: `${VIP}:80`, isn: 2000, talk: ask(paths[1], 0.1) });
  const shared: Talk = [
    ['C', Buffer.concat([PREFACE, headers(1, { path: paths[0], id: ids[0] }), headers(3, { path: paths[1], id: ids[1] })])],
    ['S', SETTINGS],
    0.05,
    ['S', headers(3)],
    ['S', headers(1)],
  ];
  const line = { at: 1.01, from: `${POD}:50000`, to: `${GATEWAY}:8080`, isn: 5000, talk: shared };
  const next = gateway().tcp({ ...line, at: 1.0101, incoming: true });
  for (const [i, path] of paths.entries())
    next.tcp({
      at: 1.015 + i / 1000,
      from: `${GATEWAY}:${60000 + i}`,
      to: `${BEYOND}:9080`,
      isn: 8000 + i * 100,
      talk: onward(path, ids[i]!),
    });
  return told(recordsOf(makeRecording([pod.tcp(line), next])));
}

test('two that ask the same on HTTP/2: the connection is known, which of the two is whose is not', () => {
  assert.deepEqual(twoAtOnce(['/same', '/same'], ['first', 'second']), [
    '40000 > 50000 > 50000 /same - derived,observed',
    '40001 > 50000 > 50000 /same - derived,observed',
    '50000 > 50000 > 60000 /same first observed,observed',
    '50000 > 50000 > 60001 /same second observed,observed',
  ]);
});

test('two that ask for different things on HTTP/2: each is followed to its end', () => {
  assert.deepEqual(twoAtOnce(['/one', '/two'], ['first', 'second']), [
    '40000 > 50000 > 50000 > 60000 /one first derived,observed,observed',
    '40001 > 50000 > 50000 > 60001 /two second derived,observed,observed',
  ]);
});

const logged = (port: number, id: string, protocol = 'HTTP/1.1') =>
  `[2026-11-23T06:00:01.00${port - 40_000}Z] "GET /same ${protocol}" 200 - via_upstream - "-" 0 0 100 99 "-" "-" "${id}" "shop" "${GATEWAY}:8080" outbound|80||shop ${POD}:50000 ${VIP}:80 ${POD}:${port} - default\n`;

test("two that ask the same on HTTP/2, where the proxy's access log has their ids: each is followed to its end", () => {
  assert.deepEqual(twoAtOnce(['/same', '/same'], ['first', 'second'], logged(40_000, 'second') + logged(40_001, 'first')), [
    '40000 > 50000 > 50000 > 60001 /same second observed,observed,observed',
    '40001 > 50000 > 50000 > 60000 /same first observed,observed,observed',
  ]);
});

test('two that ask the same over one HTTP/2 connection, too: two entries of the log fit each, and none tells which', () => {
  // Envoy logs what ends first.
  const pod = client().file('access-log', logged(40_000, 'second', 'HTTP/2') + logged(40_000, 'first', 'HTTP/2'), 10);
  const both = (ids?: readonly [string, string]): Talk => [
    [
      'C',
      Buffer.concat([
        PREFACE,
        ...[1, 3].map((stream, i) => headers(stream, { path: '/same', ...(ids === undefined ? {} : { id: ids[i]! }) })),
      ]),
    ],
    ['S', SETTINGS],
    ids === undefined ? 0.1 : 0.05,
    ['S', headers(3)],
    ['S', headers(1)],
  ];
  pod.tcp({ ...redirected, at: 1, from: `${POD}:40000`, to: `${VIP}:80`, isn: 1000, talk: both() });
  const line = { at: 1.01, from: `${POD}:50000`, to: `${GATEWAY}:8080`, isn: 5000, talk: both(['first', 'second']) };
  const next = gateway().tcp({ ...line, at: 1.0101, incoming: true });
  for (const [i, id] of ['first', 'second'].entries())
    next.tcp({
      at: 1.015 + i / 1000,
      from: `${GATEWAY}:${60000 + i}`,
      to: `${BEYOND}:9080`,
      isn: 8000 + i * 100,
      talk: onward('/same', id),
    });
  assert.deepEqual(told(recordsOf(makeRecording([pod.tcp(line), next]))), [
    '40000 > 50000 > 50000 /same - observed,observed',
    '40000 > 50000 > 50000 /same - observed,observed',
    '50000 > 50000 > 60000 /same first observed,observed',
    '50000 > 50000 > 60001 /same second observed,observed',
  ]);
});

test('two that come in at once over one HTTP/2 connection and go on to the application are two', () => {
  const pod = new MadeNamespace('default/shop', POD).file('iptables-save', sidecarRules());
  const talk: Talk = [
    ['C', Buffer.concat([PREFACE, headers(1, { path: '/same' }), headers(3, { path: '/same' })])],
    ['S', SETTINGS],
    0.1,
    ['S', headers(3)],
    ['S', headers(1)],
  ];
  pod.tcp({ at: 1, from: '10.0.0.20:40000', to: `${POD}:80`, incoming: true, isn: 1000, talk });
  for (const i of [0, 1])
    pod.tcp({
      at: 1.01 + i / 1000,
      from: `127.0.0.6:${50000 + i}`,
      to: `${POD}:80`,
      on: 'lo',
      isn: 5000 + i * 100,
      talk: onward('/same', `${i}`),
    });
  assert.deepEqual(told(recordsOf(makeRecording([pod]))), ['40000 > 50000 /same 0 derived', '40000 > 50001 /same 1 derived']);
});

test('two turns of one HTTP/1 connection, one of them of a request that nobody could read: which is whose is not known', () => {
  const pod = client();
  // Its response was held back a while (a filter of the proxy).
  pod.tcp({ ...redirected, at: 1, from: `${POD}:40000`, to: `${VIP}:80`, isn: 1000, talk: ask('/same', 0.2) });
  // The head of this request was not captured.
  pod.tcp({
    ...redirected,
    at: 1.08,
    from: `${POD}:40001`,
    to: `${VIP}:80`,
    isn: 2000,
    begins: 'late',
    talk: [['C', '\x01\x02 the rest of something'], 0.07, ['S', '\x01\x02 the answer']],
  });
  const turn = (id: string): Talk => [['C', forwarded('/same', id)], 0.04, ['S', SERVED]];
  const line = { at: 1.01, from: `${POD}:50000`, to: '10.0.0.20:80', isn: 5000, talk: [...turn('a'), 0.04, ...turn('b')] };
  const server = new MadeNamespace('default/server', '10.0.0.20').file('iptables-save', sidecarRules());
  server.tcp({ ...line, at: 1.0101, incoming: true });
  for (const [i, id] of ['a', 'b'].entries())
    server.tcp({
      at: 1.015 + i * 0.08,
      from: `127.0.0.6:${60000 + i}`,
      to: '10.0.0.20:80',
      on: 'lo',
      isn: 8000 + i * 100,
      talk: onward('/same', id),
    });
  const paths = told(recordsOf(makeRecording([pod.tcp(line), server])));
  assert.ok(paths.includes('40000 > 50000 > 50000 /same - derived,observed'), paths.join(', '));
});
