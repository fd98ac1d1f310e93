import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ConnectionTracker } from '../../src/flow/exchange.ts';
import type { Exchange } from '../../src/flow/http.ts';
import { bytesOf, follow, lines, plain, type Saying, type Sent, segments, track } from './conversation.ts';

const request = (path: string, rest = '') => ({ from: 'client', data: `GET ${path} HTTP/1.1\r\nHost: shop\r\n${rest}\r\n` }) as const;
const answer = (status: number, body = '') =>
  ({ from: 'server', data: `HTTP/1.1 ${status} X\r\nContent-Length: ${body.length}\r\n\r\n${body}` }) as const;

function told(sayings: readonly Saying[]): string[] {
  return lines(follow(sayings).exchanges);
}

test('requests and responses of one connection are paired, with their body lengths', () => {
  const post = { from: 'client', data: 'POST /b HTTP/1.1\r\nHost: shop\r\nContent-Length: 5\r\n\r\nhello' } as const;
  assert.deepEqual(told([request('/a'), answer(200, 'abc'), post, answer(404), request('/c'), answer(503, 'x')]), [
    'GET /a 0 > 200 3',
    'POST /b 5 > 404 0',
    'GET /c 0 > 503 1',
  ]);
});

test('an exchange holds times, heads and bytes', () => {
  const tracker = follow([
    { from: 'client', data: 'POST /b?q HTTP/1.1\r\nHost: shop:80\r\nx-request-id: 7\r\nContent-Length: 5\r\n\r\n' },
    { from: 'client', data: 'hello' },
    { from: 'server', data: 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab' },
    { from: 'server', data: 'c' },
  ]);
  const exchange = tracker.exchanges[0]!;
  assert.deepEqual(
    [exchange.requestStartNs, exchange.requestEndNs, exchange.responseStartNs, exchange.responseEndNs],
    [1_000_000, 2_000_000, 3_000_000, 4_000_000],
  );
  assert.deepEqual(
    [exchange.request?.authority, exchange.request?.path, exchange.request?.requestId, exchange.request?.protocol],
    ['shop:80', '/b?q', '7', 'HTTP/1.1'],
  );
  assert.deepEqual([exchange.requestHeadBytes, exchange.responseHeadBytes], [73, 38]);
  assert.deepEqual([exchange.complete, exchange.done, exchange.midstream, exchange.index], [true, true, false, 0]);
  assert.deepEqual(
    [tracker.protocol, tracker.midstream, tracker.firstClientByteNs, tracker.firstServerByteNs],
    ['http1', false, 1_000_000, 3_000_000],
  );
});

test('pipelined requests are answered in their order', () => {
  const both: Saying = { from: 'client', data: `${request('/a').data}${request('/b').data}` };
  const answers: Saying = { from: 'server', data: `${answer(200, 'a').data}${answer(201, 'bb').data}` };
  assert.deepEqual(told([both, answers]), ['GET /a 0 > 200 1', 'GET /b 0 > 201 2']);
});

test('body rules: what follows HEAD, 204, 304, 1xx and chunked messages is the next head', () => {
  const table: [name: string, sayings: Saying[], expected: string[]][] = [
    [
      'HEAD',
      [
        { from: 'client', data: 'HEAD /a HTTP/1.1\r\n\r\n' },
        { from: 'server', data: 'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n' },
        request('/b'),
        answer(200, 'b'),
      ],
      ['HEAD /a 0 > 200 0', 'GET /b 0 > 200 1'],
    ],
    [
      '304',
      [
        request('/a'),
        { from: 'server', data: 'HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n' },
        request('/b'),
        answer(200, 'b'),
      ],
      ['GET /a 0 > 304 0', 'GET /b 0 > 200 1'],
    ],
    [
      'interim responses',
      [
        request('/a'),
        { from: 'server', data: 'HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n' },
        answer(200, 'a'),
        request('/b'),
        answer(200, 'b'),
      ],
      ['GET /a 0 > 200 1', 'GET /b 0 > 200 1'],
    ],
    [
      'chunked',
      [
        { from: 'client', data: 'POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n' },
        { from: 'server', data: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nT: x\r\n\r\n' },
        request('/b'),
        answer(200, 'b'),
      ],
      ['POST /a 5 > 200 1', 'GET /b 0 > 200 1'],
    ],
    [
      'until close',
      [request('/a'), { from: 'server', data: 'HTTP/1.0 200 OK\r\n\r\nabc' }, { from: 'server', data: 'def' }],
      ['GET /a 0 > 200 6'],
    ],
    [
      'Expect: 100-continue',
      [
        { from: 'client', data: 'POST /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n' },
        { from: 'server', data: 'HTTP/1.1 100 Continue\r\n\r\n' },
        { from: 'client', data: 'hello' },
        answer(200, 'a'),
      ],
      ['POST /a 5 > 200 1'],
    ],
    [
      'Expect: 100-continue, refused',
      [
        { from: 'client', data: 'POST /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n' },
        answer(417),
        request('/b'),
        answer(200, 'b'),
      ],
      ['POST /a 0 > 417 0', 'GET /b 0 > 200 1'],
    ],
    [
      'stray empty lines',
      [request('/a'), answer(200, 'a'), { from: 'client', data: '\r\n' }, request('/b'), answer(200, 'b')],
      ['GET /a 0 > 200 1', 'GET /b 0 > 200 1'],
    ],
    [
      'an early response',
      [
        { from: 'client', data: 'POST /a HTTP/1.1\r\nContent-Length: 5\r\n\r\nhe' },
        answer(413),
        { from: 'client', data: 'llo' },
        request('/b'),
        answer(200, 'b'),
      ],
      ['POST /a 5 > 413 0', 'GET /b 0 > 200 1'],
    ],
  ];
  for (const [name, sayings, expected] of table) assert.deepEqual(told(sayings), expected, name);
});

test('a body until close is complete with FIN only', () => {
  const sayings: Saying[] = [request('/a'), { from: 'server', data: 'HTTP/1.0 200 OK\r\n\r\nabc' }];
  assert.equal(follow(sayings).exchanges[0]!.complete, true);
  assert.equal(follow(sayings, { open: true }).exchanges[0]!.complete, false);
});

test('CONNECT and WebSocket become tunnels, whose bytes are counted', () => {
  const connect = follow([
    { from: 'client', data: 'CONNECT db:5432 HTTP/1.1\r\nHost: db\r\n\r\n' },
    { from: 'server', data: 'HTTP/1.1 200 OK\r\n\r\n' },
    { from: 'client', data: 'GET / HTTP/1.1\r\n\r\n' },
    { from: 'server', data: 'abc' },
  ]);
  assert.deepEqual(lines(connect.exchanges), ['CONNECT ? 18 > 200 3']);
  assert.deepEqual(
    [connect.exchanges[0]!.tunnel, connect.exchanges[0]!.request?.authority, connect.exchanges[0]!.complete],
    [true, 'db:5432', true],
  );
  const socket = follow([
    request('/chat', 'Connection: Upgrade\r\nUpgrade: websocket\r\n'),
    { from: 'server', data: 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x05hello' },
    { from: 'client', data: '\x81\x80abcd' },
  ]);
  assert.deepEqual(lines(socket.exchanges), ['GET /chat 6 > 101 7']);
  assert.deepEqual([socket.exchanges[0]!.tunnel, socket.exchanges[0]!.complete], [true, true]);
});

test('a CONNECT that is refused is an exchange like others', () => {
  const refused: Saying[] = [{ from: 'client', data: 'CONNECT db:1 HTTP/1.1\r\n\r\n' }, answer(407, 'no'), request('/b'), answer(200, 'b')];
  assert.deepEqual(told(refused), ['CONNECT ? ? > 407 2', 'GET /b 0 > 200 1']);
});

test('an upgrade that the server ignores changes nothing', () => {
  assert.deepEqual(told([request('/a', 'Connection: Upgrade\r\nUpgrade: h2c\r\n'), answer(200, 'a'), request('/b'), answer(200, 'b')]), [
    'GET /a 0 > 200 1',
    'GET /b 0 > 200 1',
  ]);
});

test('a connection that is joined late is read from the next head on', () => {
  const sayings: Saying[] = [{ from: 'server', data: 'rest of a body' }, request('/b'), answer(200, 'bb'), request('/c'), answer(204)];
  const tracker = follow(sayings, { midstream: true });
  assert.deepEqual(lines(tracker.exchanges), ['GET /b 0 > 200 2', 'GET /c 0 > 204 0']);
  assert.deepEqual([tracker.midstream, tracker.exchanges[0]!.midstream, tracker.exchanges[1]!.midstream], [true, true, false]);
});

test('a response whose request was not seen is an exchange without a request', () => {
  const tracker = follow([answer(200, 'a'), request('/b'), answer(201, 'b')], { midstream: true });
  assert.deepEqual(lines(tracker.exchanges), ['? > 200 1', 'GET /b 0 > 201 1']);
  assert.equal(tracker.exchanges[0]!.done, true);
});

test('the response to an unknown method may have no body in spite of its length', () => {
  const head: Saying = { from: 'server', data: 'HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\n' };
  assert.deepEqual(lines(follow([head, request('/b'), answer(201, 'b')], { midstream: true }).exchanges), [
    '? > 200 0',
    'GET /b 0 > 201 1',
  ]);
});

test('sides that were taken wrongly are turned round', () => {
  const turned: Saying[] = [
    { from: 'server', data: request('/a').data },
    { from: 'client', data: answer(200, 'a').data },
  ];
  const tracker = follow(turned, { midstream: true });
  assert.deepEqual([lines(tracker.exchanges), tracker.reversed], [['GET /a 0 > 200 1'], true]);
  assert.deepEqual([tracker.firstClientByteNs, tracker.firstServerByteNs], [1_000_000, 2_000_000]);
});

test('heads cut by the snapshot length tell what is there', () => {
  const sayings = [request('/a', 'x-request-id: 1\r\n'), answer(200, 'x'.repeat(5000)), request('/b'), answer(404, 'y')];
  const tracker = follow(sayings, { snap: 20, segment: () => 1400 });
  assert.deepEqual(lines(tracker.exchanges), ['GET /a ? > 200 ?', 'GET /b ? > 404 ?']);
  const [first] = tracker.exchanges;
  assert.deepEqual(
    [first!.request?.headersComplete, first!.request?.authority, first!.complete, first!.done],
    [false, undefined, false, true],
  );
  const whole = follow(sayings, { snap: 80, segment: () => 1400 });
  assert.deepEqual(
    lines(whole.exchanges),
    ['GET /a 0 > 200 5000', 'GET /b 0 > 404 1'],
    'bodies may be cut: their lengths come from the wire',
  );
});

test('bad framing ends the reading of that message, not of the connection', () => {
  const sayings: Saying[] = [
    { from: 'client', data: 'POST /a HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx' },
    answer(400),
    request('/b'),
    { from: 'server', data: 'HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\nzz' },
    request('/c'),
    answer(200),
  ];
  assert.deepEqual(told(sayings), ['POST /a ? > 400 0', 'GET /b 0 > 200 ?', 'GET /c 0 > 200 0']);
});

test('a head of more than 16 KiB is cut there', () => {
  const tracker = follow([request('/a', `Cookie: ${'x'.repeat(20_000)}\r\n`), answer(200, 'a'), request('/b'), answer(200, 'b')]);
  assert.deepEqual(lines(tracker.exchanges), ['GET /a ? > 200 1', 'GET /b 0 > 200 1']);
  assert.equal(tracker.exchanges[0]!.request?.headersComplete, false);
});

test('more than 1024 requests without an answer are given up, and nothing is paired wrongly afterwards', () => {
  const many = Array.from({ length: 1100 }, (_, i) => request(`/${i}`));
  const tracker = follow([...many, answer(200, 'a'), answer(200, 'b')]);
  assert.equal(tracker.exchanges.filter((exchange) => exchange.request !== undefined && exchange.response !== undefined).length, 0);
});

test('done exchanges leave when they are taken', () => {
  const sent = segments([request('/a'), answer(200, 'a'), request('/b')], { open: true });
  const tracker = new ConnectionTracker();
  for (const { direction, packet } of sent) tracker.observe(direction, packet);
  assert.deepEqual(lines(tracker.takeDone()), ['GET /a 0 > 200 1']);
  assert.deepEqual(lines(tracker.exchanges), ['GET /b 0 > ?']);
  assert.deepEqual([tracker.takeDone().length, tracker.exchangeCount], [0, 2]);
});

const script: Saying[] = [
  request('/a', 'x-request-id: a\r\n'),
  answer(200, 'x'.repeat(300)),
  { from: 'client', data: `POST /b HTTP/1.1\r\nHost: shop\r\nContent-Length: 200\r\n\r\n${'y'.repeat(200)}` },
  { from: 'server', data: 'HTTP/1.1 100 Continue\r\n\r\n' },
  {
    from: 'server',
    data: `HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n${'z'.repeat(16)}\r\n5;x\r\nzzzzz\r\n0\r\nT: u\r\n\r\n`,
  },
  { from: 'client', data: 'HEAD /c HTTP/1.1\r\nHost: shop\r\n\r\n' },
  { from: 'server', data: 'HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n' },
  { from: 'client', data: `${request('/d').data}${request('/e').data}` },
  { from: 'server', data: `${answer(204).data.replace('Content-Length: 0\r\n', '')}${answer(404, 'gone').data}` },
];

test('the segments in which a conversation comes do not matter', () => {
  const expected = plain(follow(script).exchanges);
  assert.equal(expected.length, 5);
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 120 }), { minLength: 1, maxLength: 40 }), (lengths) => {
      let i = 0;
      assert.deepEqual(plain(follow(script, { segment: () => lengths[i++ % lengths.length]! }).exchanges), expected);
    }),
    { seed: 1, numRuns: 300 },
  );
});

test('a conversation that stops at any byte tells a prefix', () => {
  const whole = lines(follow(script).exchanges);
  const sent = segments(script, { segment: () => 1, open: true });
  for (let count = 0; count <= sent.length; count += 3) {
    const part = track(sent.slice(0, count)).exchanges;
    part.forEach((exchange, i) => {
      const full = whole[i]!.split(' ');
      lines([exchange])[0]!
        .split(' ')
        .forEach((word, at) => {
          assert.ok(
            word === '?' || word === full[at] || exchange.request?.headersComplete === false,
            `after ${count} bytes "${word}" is not "${full[at]}"`,
          );
        });
      if (exchange.complete) assert.equal(lines([exchange])[0], whole[i]);
    });
  }
});

/** Request i asks for /i and is answered with x-for: i. */
function numbered(count: number, sizes: readonly number[]): Saying[] {
  const sayings: Saying[] = [];
  for (let i = 0; i < count; i++) {
    const size = sizes[i % sizes.length]!;
    const chunked = size % 3 === 0;
    sayings.push({
      from: 'client',
      data: size % 2 === 0 ? request(`/${i}`).data : `POST /${i} HTTP/1.1\r\nContent-Length: ${size}\r\n\r\n${'b'.repeat(size)}`,
    });
    const head = `HTTP/1.1 200 OK\r\nx-for: /${i}\r\n`;
    const body = 'r'.repeat(size);
    sayings.push({
      from: 'server',
      data: chunked
        ? `${head}Transfer-Encoding: chunked\r\n\r\n${size.toString(16)}\r\n${body}${size === 0 ? '' : '\r\n0\r\n'}\r\n`
        : `${head}Content-Length: ${size}\r\n\r\n${body}`,
    });
  }
  return sayings;
}

function assertTrue(exchanges: readonly Exchange[], sizes: readonly number[]): void {
  for (const { request: asked, response, requestBytes, responseBytes, complete } of exchanges) {
    const number = asked?.path === undefined ? undefined : Number(asked.path.slice(1));
    const answered = response?.headers.find((field) => field.name === 'x-for')?.value;
    if (number !== undefined && answered !== undefined)
      assert.equal(answered, `/${number}`, 'a response is paired with the request that it answers');
    if (number === undefined || !complete) continue;
    const size = sizes[number % sizes.length]!;
    assert.equal(requestBytes, size % 2 === 0 ? 0 : size);
    if (answered !== undefined) assert.equal(responseBytes, size);
  }
}

test('whatever is lost, repeated, late or cut, no response is paired with another request, and no length is wrong', () => {
  const sizes = fc.array(fc.integer({ min: 0, max: 90 }), { minLength: 1, maxLength: 6 });
  const fate = fc.constantFrom('keep', 'keep', 'keep', 'keep', 'keep', 'keep', 'lose', 'repeat', 'late', 'cut');
  fc.assert(
    fc.property(
      sizes,
      fc.array(fate, { minLength: 1, maxLength: 50 }),
      fc.integer({ min: 10, max: 100 }),
      fc.boolean(),
      (each, fates, length, midstream) => {
        const sent = segments(numbered(12, each), { segment: () => length, midstream });
        const seen: Sent[] = [];
        let late: Sent | undefined;
        sent.forEach((one, i) => {
          const what = one.packet.payloadLength === 0 ? 'keep' : fates[i % fates.length]!;
          const cut = Math.floor(one.packet.payloadLength / 2);
          if (what === 'late' && late === undefined) late = one;
          else if (what === 'cut') seen.push({ ...one, packet: { ...one.packet, payloadCaptured: cut } });
          else if (what !== 'lose') seen.push(one);
          if (what === 'repeat') seen.push(one);
          // late ones are passed by segments of their own side only: acknowledgements cannot come before what they acknowledge
          const next = sent[i + 1];
          if (late !== undefined && late !== one && (next === undefined || next.direction !== late.direction)) {
            seen.push(late);
            late = undefined;
          } else if (late === one && next?.direction !== one.direction) {
            seen.push(one);
            late = undefined;
          }
        });
        assertTrue(track(seen).exchanges, each);
      },
    ),
    { seed: 7, numRuns: 10_000 },
  );
});

test('reordering within one side changes nothing but times', () => {
  const sizes = [50, 61, 72];
  const expected = lines(follow(numbered(10, sizes)).exchanges);
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 5 }), { minLength: 1, maxLength: 40 }), (swaps) => {
      const sent = segments(numbered(10, sizes), { segment: () => 17 });
      for (let i = 3; i + 1 < sent.length; i++) {
        const j = i + (swaps[i % swaps.length]! % 3);
        const between = sent.slice(i, j + 1);
        if (between.length > 1 && between.every((one) => one.direction === sent[i]!.direction && one.packet.payloadLength > 0))
          [sent[i], sent[j]] = [sent[j]!, sent[i]!];
      }
      assert.deepEqual(lines(track(sent).exchanges), expected);
    }),
    { seed: 1, numRuns: 300 },
  );
});

test('random bytes and broken conversations never throw', () => {
  const pieces = fc.array(
    fc.record({
      side: fc.boolean(),
      data: fc.oneof(fc.uint8Array({ maxLength: 80 }), fc.constantFrom(...script.map(({ data }) => bytesOf(data)))),
    }),
    { maxLength: 20 },
  );
  fc.assert(
    fc.property(pieces, fc.integer({ min: 1, max: 100 }), fc.boolean(), (sayings, snap, midstream) => {
      const tracker = follow(
        sayings.map(({ side, data }) => ({ from: side ? 'client' : 'server', data })),
        { snap, midstream },
      );
      assert.ok(tracker.exchanges.every((exchange) => exchange.done));
    }),
    { seed: 1, numRuns: 2000 },
  );
});
