/** Requests that have one x-request-id: what is tried again, what is mirrored. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MadeNamespace, makeRecording, sidecarRules, type Talk } from '../findings/made-recording.ts';
import { recordsOf } from '../findings/replayed.ts';
import { POD, told, VIP } from './http2-talk.ts';

const SERVER = '10.0.0.20';
const get = (host: string, more = '') => `GET /same HTTP/1.1\r\nhost: ${host}\r\n${more}\r\n`;
const ID = 'x-request-id: a\r\n';
const PROXIED = `${ID}x-forwarded-proto: http\r\n`;
const answer = (more = '') => `HTTP/1.1 200 OK\r\n${more}content-length: 0\r\n\r\n`;

for (const first of [50_000, 50_001])
  test(`a client's proxy asks again on another connection of its pool, since ${first} was never answered`, () => {
    const server = new MadeNamespace('default/server', SERVER).file('iptables-save', sidecarRules());
    const second = first === 50_000 ? 50_001 : 50_000;
    // 50000 is the older connection.
    for (const [port, at] of [
      [50_000, 1],
      [50_001, 1.5],
    ] as const) {
      const talk: Talk =
        port === first ? [2 - at, ['C', get('shop', PROXIED)]] : [2.3 - at, ['C', get('shop', PROXIED)], 0.1, ['S', answer()]];
      server.tcp({ at, from: `${POD}:${port}`, to: `${SERVER}:80`, isn: port, incoming: true, talk });
    }
    server.tcp({
      at: 2.31,
      from: '127.0.0.6:60000',
      to: `${SERVER}:80`,
      on: 'lo',
      isn: 8000,
      talk: [['C', get('shop', PROXIED)], 0.05, ['S', answer()]],
    });
    const paths = told(recordsOf(makeRecording([server])));
    assert.deepEqual(
      paths.filter((path) => path.startsWith(`${first} > 60000`)),
      [],
      `it came in on ${second}: ${paths.join(', ')}`,
    );
    assert.ok(
      paths.some((path) => path.includes('60000') && path.includes(`${second}`)),
      paths.join(', '),
    );
  });

/** Both connections are opened for it, and both answer. */
function mirrored(passesOn: boolean, suffix: string): string[] {
  const pod = new MadeNamespace('default/client', POD).file('iptables-save', sidecarRules());
  const asked: Talk = [['C', get('shop', passesOn ? ID : '')], 0.1, ['S', answer('x-envoy-upstream-service-time: 3\r\n')]];
  pod.tcp({ at: 1, from: `${POD}:40000`, to: `${VIP}:80`, on: 'lo', redirected: '127.0.0.1:15001', isn: 1000, talk: asked });
  for (const [i, host] of ['shop', `shop${suffix}`].entries())
    pod.tcp({
      at: 1.01 + i / 1000,
      from: `${POD}:${50_000 + i}`,
      to: `10.0.0.2${i}:80`,
      isn: 5000 + i * 1000,
      talk: [['C', get(host, PROXIED)], 0.05, ['S', answer()]],
    });
  return told(recordsOf(makeRecording([pod])));
}

for (const passesOn of [false, true]) {
  const whose = passesOn ? 'the application passes an id on' : 'the application has no id';
  test(`what is mirrored is marked, and the other is the one that was answered: ${whose}`, () => {
    assert.deepEqual(mirrored(passesOn, '-shadow'), [`40000 > 50000 /same ${passesOn ? 'a observed' : '- derived'}`]);
  });
  test(`where it is not marked both may be the one that was answered: ${whose}`, () => {
    assert.deepEqual(mirrored(passesOn, ''), [`40000 /same ${passesOn ? 'a' : '-'} ambiguous(50000|50001)`]);
  });
}
