/** Which request on the next proxy is the one that was sent on: clocks of two nodes, and others that may be the same. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Subject } from '../../src/annotate/subject.ts';
import { Exchange } from '../../src/flow/http.ts';
import { followingHop } from '../../src/path/chain.ts';
import { Clocks } from '../../src/path/clocks.ts';
import type { Hop } from '../../src/path/hop.ts';
import type { Place } from '../../src/path/place.ts';

const MS = 1e6;
const BASE = 1_700_000_000;

/** A connection as one node saw it: its SYN and SYN/ACK, in milliseconds on that node's clock. */
function seen(node: string, synMs: number, synAckMs: number, epochSeconds = BASE): Subject {
  return {
    world: { node },
    base: { epochSeconds },
    flow: { firstNs: synMs * MS, synAckNs: synAckMs * MS, midstream: false },
  } as unknown as Subject;
}

test("a handshake that both saw bounds how far two nodes' clocks are apart", () => {
  // b is 500 ms ahead; 1 ms there, 2 ms back. Its stamps count from another second.
  const left = seen('a', 1000, 1003);
  const arrived = seen('b', 501, 501, BASE + 1);
  const clocks = new Clocks([[left, arrived]]);
  const near = (value: number, ms: number) => assert.ok(Math.abs(value - ms * MS) < 0.1 * MS, `${value} is about ${ms} ms`);
  const { low, high } = clocks.difference(left, arrived, 1000 * MS);
  near(low, -1000 + 498);
  near(high, -1000 + 501);
  const back = clocks.difference(arrived, left, 500 * MS);
  near(back.low, 1000 - 501);
  near(back.high, 1000 - 498);
  const later = clocks.difference(left, arrived, 101_000 * MS);
  near(later.high - later.low - (high - low), 2 * 100_000 * 1e-4);
  assert.deepEqual(clocks.difference(left, seen('a', 0, 0, BASE + 2), 0), { low: -2000 * MS, high: -2000 * MS }, 'one node has one clock');
  assert.equal(clocks.difference(left, seen('c', 0, 0), 0).high, 30e9, 'nothing is known of c');
});

const left = seen('a', 1000, 1000.2);
const arrived = seen('b', 1000.1, 1000.1);
const clocks = new Clocks([[left, arrived]]);
const place = { shared: true } as Place;

function request(path: string, startMs: number, endMs: number): Exchange {
  const made = new Exchange(0, undefined);
  const head = {
    protocol: 'HTTP/2' as const,
    method: 'POST',
    scheme: undefined,
    authority: 'h2',
    path,
    requestId: undefined,
    headers: [],
    headersComplete: true,
  };
  return Object.assign(made, { request: head, requestStartNs: startMs * MS, responseStartNs: endMs * MS, responseEndNs: endMs * MS });
}

const outbound = (startMs: number, endMs: number): Hop => ({
  of: 'request',
  direction: 'outbound',
  up: left,
  place,
  readOn: 'down',
  exchange: request('/Add', startMs, endMs),
});
const inbound = (startMs: number, endMs: number, path = '/Add'): Hop => ({
  of: 'request',
  direction: 'inbound',
  down: arrived,
  readOn: 'up',
  exchange: request(path, startMs, endMs),
});

test('of requests for the same on one shared connection it is the one of the same time, on whichever node', () => {
  const hop = outbound(5000, 5010);
  const now = inbound(5004, 5006);
  const minutesLater = inbound(245_004, 245_006);
  assert.equal(followingHop(hop, [now, minutesLater], [], clocks), now);
  assert.equal(followingHop(hop, [minutesLater], [], clocks), undefined);
  assert.equal(followingHop(hop, [now, inbound(5005, 5007)], [], clocks), undefined, 'two that fit');
  assert.equal(followingHop(hop, [now, inbound(5005, 5007, '/List')], [], clocks), now);
});

test('one that only may have come in there may be it, too', () => {
  const { down: _, ...open } = inbound(5005, 5007);
  const { down: __, ...old } = inbound(245_005, 245_007);
  const now = inbound(5004, 5006);
  assert.equal(followingHop(outbound(5000, 5010), [now], [{ ...open, up: arrived }], clocks), undefined);
  assert.equal(followingHop(outbound(5000, 5010), [now], [{ ...old, up: arrived }], clocks), now);
});
