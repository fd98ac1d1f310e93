import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, constants, createServer, type Http2Server, type IncomingHttpHeaders } from 'node:http2';
import { test } from 'node:test';
import fc from 'fast-check';
import { HTTP2_PREFACE } from '../../src/decode/http2.ts';
import type { Exchange } from '../../src/flow/http.ts';
import { follow, lines, plain, type Saying, type Sent, segments, track } from './conversation.ts';
import { record } from './recording.ts';

const COUNT = 24;

function bodyLength(number: number): number {
  return number % 4 === 0 ? 0 : number * 997;
}

/** Answers /N with x-for: /N, a body of known length, and trailers for gRPC. */
function numberedServer(padding: number): Http2Server {
  const server = createServer({ paddingStrategy: padding });
  server.on('stream', (stream, headers) => {
    const path = String(headers[':path']);
    const number = Number(path.slice(1));
    stream.resume();
    stream.on('end', () => {
      stream.respond(
        { ':status': 200 + (number % 3), 'x-for': path, 'x-same': 'always', [`x-${number}`]: 'once' },
        { waitForTrailers: true },
      );
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': String(number % 17) }));
      stream.end(Buffer.alloc(bodyLength(number), 114));
    });
  });
  return server;
}

async function recordNumbered(padding: number = constants.PADDING_STRATEGY_NONE, extra: IncomingHttpHeaders = {}): Promise<Saying[]> {
  return await record(numberedServer(padding), async (port) => {
    const client = connect(`http://127.0.0.1:${port}`, { paddingStrategy: padding });
    const requests = Array.from({ length: COUNT }, async (_, number) => {
      const length = number % 2 === 0 ? 0 : bodyLength(number);
      const stream = client.request(
        { ':method': 'POST', ':path': `/${number}`, ':authority': 'shop:80', 'x-request-id': `id-${number}`, ...extra },
        { endStream: length === 0 },
      );
      if (length > 0) stream.end(Buffer.alloc(length, 98));
      stream.resume();
      await once(stream, 'close');
    });
    await Promise.all(requests);
    client.close();
    await once(client, 'close');
  });
}

function assertTrue(exchanges: readonly Exchange[]): void {
  for (const { streamId, request, response, requestBytes, responseBytes, requestDone, responseDone, grpcStatus } of exchanges) {
    // streams are numbered 1, 3, 5, … in the order of the requests
    const number = (streamId! - 1) / 2;
    if (request?.path !== undefined) assert.equal(request.path, `/${number}`);
    if (request?.method !== undefined) assert.equal(request.method, 'POST');
    if (request?.authority !== undefined) assert.equal(request.authority, 'shop:80');
    if (request?.requestId !== undefined) assert.equal(request.requestId, `id-${number}`);
    if (response?.status !== undefined) assert.equal(response.status, 200 + (number % 3));
    if (grpcStatus !== undefined) assert.equal(grpcStatus, number % 17);
    for (const field of response?.headers ?? []) {
      if (field.name === 'x-for') assert.equal(field.value, `/${number}`);
      else if (field.name === 'x-same') assert.equal(field.value, 'always');
      else if (/^x-\d+$/.test(field.name)) assert.deepEqual([field.name, field.value], [`x-${number}`, 'once']);
    }
    if (response?.headersComplete === true) assert.ok(response.headers.some((field) => field.name === 'x-for'));
    if (requestDone && requestBytes !== undefined) assert.equal(requestBytes, number % 2 === 0 ? 0 : bodyLength(number));
    if (responseDone && responseBytes !== undefined) assert.equal(responseBytes, bodyLength(number));
  }
}

test('interleaved streams of a real client and server are told apart', async () => {
  const tracker = follow(await recordNumbered());
  assert.deepEqual([tracker.protocol, tracker.exchanges.length], ['http2', COUNT]);
  assert.ok(
    tracker.exchanges.every(
      (exchange) => exchange.complete && exchange.grpcStatus !== undefined && exchange.request?.headersComplete === true,
    ),
  );
  const byNumber = tracker.exchanges.toSorted((a, b) => a.streamId! - b.streamId!);
  assert.equal(lines(byNumber)[5], `POST /5 ${bodyLength(5)} > 202 ${bodyLength(5)}`);
  assertTrue(tracker.exchanges);
});

test('padding does not count as data', async () => {
  const tracker = follow(await recordNumbered(constants.PADDING_STRATEGY_MAX));
  assert.equal(tracker.exchanges.filter((exchange) => exchange.complete).length, COUNT);
  assertTrue(tracker.exchanges);
});

test('a header block that goes on in CONTINUATION frames is read as one', async () => {
  const tracker = follow(await recordNumbered(constants.PADDING_STRATEGY_NONE, { 'x-large': 'abcdefgh'.repeat(4000) }));
  assert.equal(tracker.exchanges[3]!.request?.headers.find((field) => field.name === 'x-large')?.value.length, 32_000);
  assertTrue(tracker.exchanges);
});

test('the segments in which HTTP/2 comes do not matter', async () => {
  const sayings = await recordNumbered();
  const expected = plain(follow(sayings).exchanges);
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1, maxLength: 40 }), (lengths) => {
      let i = 0;
      assert.deepEqual(plain(follow(sayings, { segment: () => lengths[i++ % lengths.length]! }).exchanges), expected);
    }),
    { seed: 1, numRuns: 50 },
  );
});

test('bodies may be cut by the snapshot length', async () => {
  const tracker = follow(await recordNumbered(), { segment: () => 65_000, snap: 9 + 6 * 1500 });
  assertTrue(tracker.exchanges);
});

test('a connection joined late, with losses and cuts, gives unknown values and never wrong ones', async () => {
  const sayings = await recordNumbered();
  const fate = fc.constantFrom('keep', 'keep', 'keep', 'keep', 'keep', 'keep', 'lose', 'repeat', 'cut');
  let known = 0;
  fc.assert(
    fc.property(
      fc.array(fate, { minLength: 1, maxLength: 40 }),
      fc.integer({ min: 0, max: 60 }),
      fc.integer({ min: 40, max: 2000 }),
      (fates, first, length) => {
        const seen: Sent[] = [];
        segments(sayings, { segment: () => length, midstream: first > 0 })
          .slice(first)
          .forEach((one, i) => {
            const what = one.packet.payloadLength === 0 ? 'keep' : fates[i % fates.length]!;
            if (what === 'cut') seen.push({ ...one, packet: { ...one.packet, payloadCaptured: Math.floor(one.packet.payloadLength / 2) } });
            else if (what !== 'lose') seen.push(one);
            if (what === 'repeat') seen.push(one);
          });
        const { exchanges } = track(seen);
        assertTrue(exchanges);
        known += exchanges.filter((exchange) => exchange.request?.path !== undefined && exchange.response?.status !== undefined).length;
      },
    ),
    { seed: 3, numRuns: 400 },
  );
  assert.ok(known > 100, `only ${known} exchanges were known`);
});

test('a connection that is joined late is read from the first segment that is a row of frames', async () => {
  const sayings = await record(numberedServer(constants.PADDING_STRATEGY_NONE), async (port) => {
    const client = connect(`http://127.0.0.1:${port}`);
    for (let number = 0; number < 12; number++) {
      const length = number % 2 === 0 ? 0 : bodyLength(number);
      const stream = client.request(
        { ':method': 'POST', ':path': `/${number}`, ':authority': 'shop:80', 'x-request-id': `id-${number}` },
        { endStream: length === 0 },
      );
      if (length > 0) stream.end(Buffer.alloc(length, 98));
      stream.resume();
      await once(stream, 'close');
    }
    client.close();
    await once(client, 'close');
  });
  const third = sayings.findIndex((saying, i) => i > sayings.length / 2 && saying.from === 'client');
  const tracker = follow(sayings.slice(third), { midstream: true });
  assert.deepEqual([tracker.protocol, tracker.midstream], ['http2', true]);
  assert.ok(
    tracker.exchanges.some((exchange) => exchange.request?.path !== undefined),
    'a path that is new to the table is known',
  );
  assert.ok(
    tracker.exchanges.every((exchange) => exchange.request === undefined || exchange.request.authority === undefined),
    'an authority from the table is not',
  );
  assertTrue(tracker.exchanges);
});

const frame = (type: number, flags: number, streamId: number, payload = '') =>
  Buffer.concat([Buffer.from([0, payload.length >> 9, payload.length / 2, type, flags, 0, 0, 0, streamId]), Buffer.from(payload, 'hex')]);
const settings = frame(4, 0, 0);
/** GET http / example as in RFC 7541 C.3.1. */
const GET = '828684410f7777772e6578616d706c652e636f6d';

test('an upgrade to h2c goes on as HTTP/2, with the request as stream 1', () => {
  const tracker = follow([
    {
      from: 'client',
      data: 'GET /a HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n',
    },
    {
      from: 'server',
      data: Buffer.concat([
        Buffer.from('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n'),
        settings,
        frame(1, 4, 1, '88'),
        frame(0, 1, 1, '616263'),
      ]),
    },
    { from: 'client', data: Buffer.concat([Buffer.from(HTTP2_PREFACE), settings, frame(1, 5, 3, GET)]) },
    { from: 'server', data: frame(1, 5, 3, '8d') },
  ]);
  assert.equal(tracker.protocol, 'http2');
  assert.deepEqual(lines(tracker.exchanges), ['GET /a 0 > 200 3', 'GET / 0 > 404 0']);
  assert.ok(tracker.exchanges.every((exchange) => exchange.complete));
});

const preface = { from: 'client', data: Buffer.concat([Buffer.from(HTTP2_PREFACE), settings]) } as const;

test('interim responses, resets, trailers-only responses and pushed streams', () => {
  const table: [name: string, sayings: Saying[], expected: string[], grpcStatus: number | undefined, resetCode: number | undefined][] = [
    [
      'interim',
      [
        { from: 'client', data: frame(1, 5, 1, GET) },
        { from: 'server', data: Buffer.concat([frame(1, 4, 1, '0803313033'), frame(1, 5, 1, '88')]) },
      ],
      ['GET / 0 > 200 0'],
      undefined,
      undefined,
    ],
    ['reset', [{ from: 'client', data: Buffer.concat([frame(1, 5, 1, GET), frame(3, 0, 1, '00000008')]) }], ['GET / 0 > ?'], undefined, 8],
    [
      'trailers only',
      [
        { from: 'client', data: frame(1, 5, 1, GET) },
        { from: 'server', data: frame(1, 5, 1, '88000b677270632d737461747573023134') },
      ],
      ['GET / 0 > 200 0'],
      14,
      undefined,
    ],
    [
      'pushed',
      [
        { from: 'client', data: frame(1, 5, 1, GET) },
        { from: 'server', data: Buffer.concat([frame(5, 4, 1, `00000002${GET}`), frame(1, 5, 2, '88'), frame(1, 5, 1, '88')]) },
      ],
      ['GET / 0 > 200 0'],
      undefined,
      undefined,
    ],
    [
      'priority and padding',
      [
        { from: 'client', data: frame(1, 0x2d, 1, `03${'0000000010'}${GET}000000`) },
        { from: 'server', data: frame(1, 5, 1, '88') },
      ],
      ['GET / 0 > 200 0'],
      undefined,
      undefined,
    ],
  ];
  for (const [name, sayings, expected, grpcStatus, resetCode] of table) {
    const { exchanges } = follow([preface, { from: 'server', data: settings }, ...sayings]);
    assert.deepEqual(lines(exchanges), expected, name);
    assert.deepEqual([exchanges[0]!.grpcStatus, exchanges[0]!.resetCode, exchanges[0]!.done], [grpcStatus, resetCode, true], name);
  }
});

test("the server's SETTINGS may come before the client's preface", () => {
  const tracker = follow([
    { from: 'server', data: settings },
    preface,
    { from: 'client', data: frame(1, 5, 1, GET) },
    { from: 'server', data: frame(1, 5, 1, '88') },
  ]);
  assert.equal(tracker.protocol, 'http2');
  assert.deepEqual(lines(tracker.exchanges), ['GET / 0 > 200 0']);
  assert.equal(follow([{ from: 'server', data: frame(4, 0, 1, '') }]).protocol, 'server-first', 'SETTINGS are of the connection');
});

test('an unfinished stream is done, and not complete, when the connection ends', () => {
  const { exchanges } = follow([preface, { from: 'client', data: frame(1, 4, 1, GET) }, { from: 'server', data: frame(1, 4, 1, '88') }]);
  assert.deepEqual([exchanges[0]!.done, exchanges[0]!.complete], [true, false]);
});

test('frames that break the protocol are the end of what is understood, not of the program', () => {
  const bad = [
    frame(9, 4, 1, GET),
    frame(1, 4, 0, GET),
    Buffer.concat([frame(1, 0, 1, GET), frame(0, 0, 1)]),
    frame(1, 0x0c, 1, 'ff82'),
    Buffer.from('GET / HTTP/1.1\r\n\r\n'),
  ];
  for (const data of bad) {
    const tracker = follow([preface, { from: 'client', data }, { from: 'client', data: frame(1, 5, 5, GET) }]);
    assert.deepEqual(lines(tracker.exchanges), ['GET / 0 > ?'], data.toString('hex'));
    assert.equal(tracker.exchanges[0]!.streamId, 5);
  }
});

test('a flood of CONTINUATION frames is bounded', () => {
  const flood = Buffer.concat(Array.from({ length: 50_000 }, (_, i) => frame(i === 0 ? 1 : 9, 0, 1, i < 70 ? '00'.repeat(200) : '')));
  const begun = process.cpuUsage().user;
  follow([preface, { from: 'client', data: flood }], { segment: () => 60_000 });
  assert.ok(process.cpuUsage().user - begun < 2_000_000);
});

test('random frames never throw', () => {
  const piece = fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    fc
      .tuple(
        fc.integer({ min: 0, max: 11 }),
        fc.integer({ min: 0, max: 255 }),
        fc.integer({ min: 0, max: 5 }),
        fc.uint8Array({ maxLength: 40 }),
      )
      .map(([type, flags, id, payload]) => frame(type, flags, id, Buffer.from(payload).toString('hex'))),
  );
  fc.assert(
    fc.property(
      fc.array(fc.record({ side: fc.boolean(), data: piece }), { maxLength: 25 }),
      fc.integer({ min: 1, max: 60 }),
      fc.boolean(),
      (sayings, snap, midstream) => {
        const all = [
          ...(midstream ? [] : [preface]),
          ...sayings.map(({ side, data }) => ({ from: side ? ('client' as const) : ('server' as const), data })),
        ];
        const tracker = follow(all, { snap, midstream });
        assert.ok(tracker.exchanges.every((exchange) => exchange.done));
      },
    ),
    { seed: 1, numRuns: 3000 },
  );
});
