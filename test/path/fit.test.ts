/** What must hold between a request in the clear and a place on the other side of the proxy. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Exchange } from '../../src/flow/http.ts';
import type { Burst } from '../../src/flow/timeline.ts';
import { fitsDownstream, fitsUpstream, mayHaveBeenTried, sameRequestId } from '../../src/path/fit.ts';
import type { Place } from '../../src/path/place.ts';

const US = 1000;

/** A request from 100 to 110 µs, answered from 500 to 600 µs; 10 bytes there, 100 back. */
function exchange(more: Partial<Exchange> & { status?: number; path?: string; fromUpstream?: boolean } = {}): Exchange {
  const { status = 200, path = '/a', fromUpstream = true, ...rest } = more;
  const made = new Exchange(0, undefined);
  const protocol = 'HTTP/1.1' as const;
  const headers = fromUpstream ? [{ name: 'x-envoy-upstream-service-time', value: '3' }] : [];
  return Object.assign(made, {
    request: {
      protocol,
      method: 'GET',
      scheme: undefined,
      authority: 'shop',
      path,
      requestId: undefined,
      headers: [],
      headersComplete: true,
    },
    response: { protocol, status, headers, headersComplete: true },
    requestStartNs: 100 * US,
    requestEndNs: 110 * US,
    responseStartNs: 500 * US,
    responseEndNs: 600 * US,
    requestBytes: 10,
    responseBytes: 100,
    requestDone: true,
    responseDone: true,
    done: true,
    ...rest,
  });
}

/** A turn of an encrypted connection: client bytes from 200 to 210 µs, the server's from 400 to 450 µs. */
function turn(more: Partial<Place> = {}): Place {
  return {
    connection: 0,
    shared: false,
    loose: false,
    isLast: false,
    firstClientNs: 200 * US,
    lastClientNs: 210 * US,
    firstServerNs: 400 * US,
    lastServerNs: 450 * US,
    clientBytes: 200,
    serverBytes: 300,
    clientEnd: 200,
    ...more,
  } as Place;
}

test('sent on: causes come before their effects, and bodies pass whole', () => {
  const table: [title: string, downstream: Exchange, place: Place, fits: boolean][] = [
    ['within', exchange(), turn(), true],
    ['sent before it came in', exchange(), turn({ firstClientNs: 50 * US, lastClientNs: 60 * US }), false],
    ['sent at the same moment, as two processors see it', exchange(), turn({ firstClientNs: 99 * US }), true],
    ['the answer went on before it was there', exchange({ responseStartNs: 300 * US }), turn(), false],
    ['the answer was not complete when it had gone on', exchange({ responseEndNs: 420 * US, responseStartNs: 410 * US }), turn(), false],
    [
      'the last turn may end later: the server closes',
      exchange({ responseEndNs: 420 * US, responseStartNs: 410 * US }),
      turn({ isLast: true }),
      true,
    ],
    [
      'no answer there, one here that came from an upstream',
      exchange(),
      turn({ firstServerNs: undefined, lastServerNs: undefined }),
      false,
    ],
    [
      'no answer there, and the proxy answered itself',
      exchange({ fromUpstream: false }),
      turn({ firstServerNs: undefined, lastServerNs: undefined }),
      true,
    ],
    ['too little room for the response', exchange({ responseBytes: 301 }), turn(), false],
    ['too little room for the request', exchange({ requestBytes: 201 }), turn(), false],
    ['room is unknown', exchange({ responseBytes: 301 }), turn({ serverBytes: undefined }), true],
    ['sent after the answer went on', exchange({ fromUpstream: false }), turn({ firstClientNs: 700 * US, lastClientNs: 701 * US }), false],
    [
      'not answered yet: may still be sent',
      exchange({ response: undefined, responseStartNs: undefined, responseEndNs: undefined, responseDone: false }),
      turn({ firstClientNs: 9000 * US, lastClientNs: 9001 * US }),
      true,
    ],
    ['a request without a beginning is nowhere', exchange({ requestStartNs: undefined }), turn(), false],
    ['loose: the handshake is in it', exchange(), turn({ loose: true, firstClientNs: 50 * US }), true],
    ['loose, but over before', exchange(), turn({ loose: true, firstClientNs: 50 * US, lastClientNs: 60 * US }), false],
  ];
  for (const [title, downstream, place, fits] of table) assert.equal(fitsUpstream(downstream, place), fits, title);
});

test('came in: whatever the client got for it came after the answer began', () => {
  const table: [title: string, upstream: Exchange, place: Place, fits: boolean][] = [
    ['around it', exchange(), turn({ firstClientNs: 50 * US, firstServerNs: 510 * US, lastServerNs: 620 * US }), true],
    ['came in after it was sent', exchange(), turn({ firstClientNs: 150 * US, firstServerNs: 510 * US, lastServerNs: 620 * US }), false],
    [
      'answered before the application did',
      exchange(),
      turn({ firstClientNs: 50 * US, firstServerNs: 300 * US, lastServerNs: 310 * US }),
      false,
    ],
    [
      'too little room for the response',
      exchange(),
      turn({ firstClientNs: 50 * US, firstServerNs: 510 * US, lastServerNs: 620 * US, serverBytes: 99 }),
      false,
    ],
    [
      'too little room for the request',
      exchange(),
      turn({ firstClientNs: 50 * US, firstServerNs: 510 * US, lastServerNs: 620 * US, clientBytes: 9 }),
      false,
    ],
  ];
  for (const [title, upstream, place, fits] of table) assert.equal(fitsDownstream(upstream, place), fits, title);
});

/** A burst of either direction, from and to in microseconds. */
const burst = (direction: 0 | 1, startUs: number, endUs: number, plainBytes = 50): Burst => ({
  direction,
  startNs: startUs * US,
  endNs: endUs * US,
  bytes: plainBytes + 22,
  records: 1,
  plainBytes,
  handshake: false,
});

test('an encrypted connection that requests share carried each between its coming in and its answer', () => {
  const shared = (bursts: readonly Burst[], sinceNs = Number.NEGATIVE_INFINITY) =>
    turn({
      shared: true,
      loose: true,
      isLast: true,
      firstClientNs: bursts[0]!.startNs,
      lastClientNs: 9000 * US,
      firstServerNs: bursts[0]!.startNs,
      lastServerNs: 9000 * US,
      clientBytes: undefined,
      serverBytes: undefined,
      carried: { bursts, from: 0, sinceNs },
    });
  const before = [burst(0, 10, 11), burst(1, 20, 21)];
  const after = [burst(0, 8000, 8001), burst(1, 8100, 8101)];
  const table: [title: string, bursts: readonly Burst[], fits: boolean, tried: boolean][] = [
    ['both meanwhile', [...before, burst(0, 200, 210), burst(1, 400, 450, 100), ...after], true, true],
    ['nothing meanwhile', [...before, ...after], false, false],
    ['sent, and not answered in time', [...before, burst(0, 200, 210), ...after], false, true],
    ['an answer to what was sent before', [...before, burst(1, 150, 160, 500), burst(0, 480, 490), ...after], false, true],
    ['an answer without room for the body', [...before, burst(0, 200, 210), burst(1, 400, 450, 99), ...after], false, true],
    ['an answer of unknown length', [...before, burst(0, 200, 210), burst(1, 400, 450, -1), ...after], true, true],
    ['in a long burst', [...before, burst(0, 50, 300), burst(1, 310, 700, 100), ...after], true, true],
  ];
  for (const [title, bursts, fits, tried] of table) {
    assert.equal(fitsUpstream(exchange(), shared(bursts)), fits, title);
    assert.equal(mayHaveBeenTried(exchange(), shared(bursts)), tried, title);
  }
  assert.equal(fitsUpstream(exchange(), shared([burst(0, 700, 701), ...after], 700 * US)), false, 'it was sent after it had been answered');
  assert.equal(
    fitsUpstream(exchange(), shared([burst(0, 300, 301), burst(1, 800, 801)], 300 * US)),
    true,
    'what was sent at first was not seen',
  );
  assert.equal(fitsDownstream(exchange(), shared([...before, burst(0, 90, 91), burst(1, 510, 520, 100)])), true);
  assert.equal(
    fitsDownstream(exchange(), shared([...before, burst(0, 90, 91), burst(1, 95, 99, 100)])),
    false,
    'nothing was sent back after it was answered',
  );
});

test('an application that answers before it has read all cuts the request into turns', () => {
  const bursts = [burst(0, 200, 210, 32_000), burst(1, 400, 450, 120), burst(0, 470, 480, 38_100)];
  const place = turn({ clientBytes: 32_000, serverBytes: 120, carried: { bursts, from: 0, sinceNs: Number.NEGATIVE_INFINITY } });
  assert.equal(fitsUpstream(exchange({ requestBytes: 70_000 }), place), true);
  assert.equal(fitsUpstream(exchange({ requestBytes: 70_200 }), place), false, 'not even all that follows has room for it');
  assert.equal(fitsUpstream(exchange({ responseBytes: 121 }), place), false);
});

test('what is in the clear on both sides is the same', () => {
  const clear = (more: Parameters<typeof exchange>[0]) => {
    const there = exchange({
      requestStartNs: 200 * US,
      requestEndNs: 210 * US,
      responseStartNs: 400 * US,
      responseEndNs: 450 * US,
      fromUpstream: false,
      ...more,
    });
    return turn({ clientBytes: 10, serverBytes: 100, exchange: there });
  };
  assert.equal(fitsUpstream(exchange(), clear({})), true);
  assert.equal(fitsUpstream(exchange(), clear({ path: '/b' })), false);
  assert.equal(fitsUpstream(exchange({ path: '/x/../a' }), clear({})), true, 'a path that proxies normalise');
  assert.equal(fitsUpstream(exchange(), clear({ status: 503 })), false, 'an attempt that failed');
  assert.equal(fitsUpstream(exchange({ fromUpstream: false, status: 504 }), clear({})), true, 'the proxy did not wait for it');
});

test('a request id is the same but for the digit that notes why it is traced', () => {
  const id = 'c274b683-5aa8-44ab-a5ac-fd561896a1b6';
  assert.equal(sameRequestId(id, id), true);
  assert.equal(sameRequestId(id, `${id.slice(0, 14)}9${id.slice(15)}`), true);
  assert.equal(sameRequestId(id, `${id.slice(0, 13)}9${id.slice(14)}`), false);
  assert.equal(sameRequestId('abc', 'abd'), false);
});
