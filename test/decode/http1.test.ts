import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { findHttp1HeadEnd, type Http1Head, type Http1Request, parseCutHttp1Head, parseHttp1Head } from '../../src/decode/http1.ts';
import { http1Body, requestTarget } from '../../src/decode/http1-body.ts';
import { isHttp1Start, looksLikeHttp1 } from '../../src/decode/http1-start-line.ts';

const encode = (text: string) => Buffer.from(text, 'latin1');

function parse(text: string): Http1Head | 'incomplete' | 'not-http' {
  const bytes = encode(`xx${text}`);
  return parseHttp1Head(bytes, 2, bytes.length);
}

function parsed(text: string): Http1Head {
  const head = parse(text);
  assert.ok(typeof head === 'object', `"${text}" gave ${String(head)}`);
  return head;
}

test('parseHttp1Head() reads a request line and its fields', () => {
  const head = parsed('GET /a?b=c HTTP/1.1\r\nHost: shop:8080\r\nX-Request-ID:  7 \r\nEmpty:\r\n\r\nbody');
  assert.ok(head.kind === 'request');
  assert.deepEqual([head.method, head.target, head.protocol, head.cut, head.fieldsComplete], ['GET', '/a?b=c', 'HTTP/1.1', false, true]);
  assert.deepEqual(head.fields, [
    { name: 'host', value: 'shop:8080' },
    { name: 'x-request-id', value: '7' },
    { name: 'empty', value: '' },
  ]);
  assert.equal(head.headLength, 'GET /a?b=c HTTP/1.1\r\nHost: shop:8080\r\nX-Request-ID:  7 \r\nEmpty:\r\n\r\n'.length);
});

test('parseHttp1Head() reads a status line with and without a reason', () => {
  for (const [line, status, protocol] of [
    ['HTTP/1.1 200 OK', 200, 'HTTP/1.1'],
    ['HTTP/1.0 404 Not Found', 404, 'HTTP/1.0'],
    ['HTTP/1.1 503', 503, 'HTTP/1.1'],
    ['HTTP/1.1 503 ', 503, 'HTTP/1.1'],
    ['HTTP/1.1 200 gr\xfc\xdf', 200, 'HTTP/1.1'],
  ] as const) {
    const head = parsed(`${line}\r\n\r\n`);
    assert.ok(head.kind === 'response');
    assert.deepEqual([head.status, head.protocol], [status, protocol], line);
  }
});

test('parseHttp1Head() skips empty lines before a message and accepts lines that end with LF alone', () => {
  const head = parsed('\r\n\nGET / HTTP/1.0\nA: b\n\nrest');
  assert.equal(head.headLength, '\r\n\nGET / HTTP/1.0\nA: b\n\n'.length);
  assert.deepEqual(head.fields, [{ name: 'a', value: 'b' }]);
});

test('parseHttp1Head() joins a folded line to the value before it', () => {
  assert.deepEqual(parsed('GET / HTTP/1.1\r\nA: b\r\n\t c\r\nD: e\r\n\r\n').fields, [
    { name: 'a', value: 'b c' },
    { name: 'd', value: 'e' },
  ]);
});

test('parseHttp1Head() says what is incomplete and what is no HTTP/1', () => {
  const table: [string, 'incomplete' | 'not-http'][] = [
    ['', 'incomplete'],
    ['\r', 'incomplete'],
    ['\r\n', 'incomplete'],
    ['G', 'incomplete'],
    ['GET', 'incomplete'],
    ['GET / HTTP/1.1', 'incomplete'],
    ['GET / HTTP/1.1\r\n', 'incomplete'],
    ['GET / HTTP/1.1\r\nA: b\r\n', 'incomplete'],
    ['HTTP/1.', 'incomplete'],
    ['HTTP/1.1 200 OK\r\n', 'incomplete'],
    ['GET / HTTP/2.0\r\n', 'not-http'],
    ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'not-http'],
    ['GET /\r\n', 'not-http'],
    ['GET  / HTTP/1.1\r\n\r\n', 'not-http'],
    ['SET key value\r\n', 'not-http'],
    ['HTTP/1.1 20 OK\r\n\r\n', 'not-http'],
    ['HTTP/1.1 200OK\r\n\r\n', 'not-http'],
    ['\x16\x03\x01', 'not-http'],
    [`${'A'.repeat(40)} / HTTP/1.1`, 'not-http'],
    ['220 mail ready\r\n', 'not-http'],
  ];
  for (const [text, expected] of table) assert.equal(parse(text), expected, JSON.stringify(text));
});

test('parseHttp1Head() keeps 64 fields and says that the list is not complete', () => {
  const many = Array.from({ length: 70 }, (_, i) => `F${i}: ${i}\r\n`).join('');
  const head = parsed(`GET / HTTP/1.1\r\n${many}Content-Length: 3\r\n\r\n`);
  assert.equal(head.fields.length, 64);
  assert.equal(head.fieldsComplete, false);
  assert.equal(head.contentLength, 3, 'the framing is read beyond the fields that are kept');
});

test('parseHttp1Head() passes over a malformed field and says that the list is not complete', () => {
  const head = parsed('GET / HTTP/1.1\r\nno colon\r\nbad name: x\r\nA: b\r\n\r\n');
  assert.deepEqual(head.fields, [{ name: 'a', value: 'b' }]);
  assert.equal(head.fieldsComplete, false);
});

test('parseHttp1Head() of a head that never ends is incomplete however long it is', () => {
  const bytes = encode(`GET / HTTP/1.1\r\n${'A: b\r\n'.repeat(4000)}`);
  assert.equal(parseHttp1Head(bytes, 0, bytes.length), 'incomplete');
  const long = encode(`GET /${'x'.repeat(20_000)} HTTP/1.1\r\n\r\n`);
  assert.equal(parseHttp1Head(long, 0, long.length), 'incomplete');
});

test('parseCutHttp1Head() keeps whole lines of a cut head, and of a cut request line the method', () => {
  const cut = (text: string) => parseCutHttp1Head(encode(text), 0, text.length);
  const head = cut('POST /a HTTP/1.1\r\nHost: shop\r\nContent-Le');
  assert.ok(head?.kind === 'request');
  assert.deepEqual([head.method, head.target, head.cut, head.fieldsComplete, head.contentLength], ['POST', '/a', true, false, -1]);
  assert.deepEqual(head.fields, [{ name: 'host', value: 'shop' }]);
  const line = cut('POST /a/long/pa');
  assert.ok(line?.kind === 'request');
  assert.deepEqual([line.method, line.target], ['POST', undefined]);
  const status = cut('HTTP/1.1 503 Serv');
  assert.ok(status?.kind === 'response' && status.status === 503);
  for (const text of ['', 'POS', 'HTTP/1.1 5', 'FOO bar', 'HTTP/1.1 503']) assert.equal(cut(text), undefined, text);
});

test('http1Body() follows RFC 9112 section 6.3', () => {
  const table: [head: string, method: string | undefined, expected: string][] = [
    ['GET / HTTP/1.1', undefined, 'none'],
    ['POST / HTTP/1.1', undefined, 'none'],
    ['POST / HTTP/1.1\r\nContent-Length: 5', undefined, '5'],
    ['POST / HTTP/1.1\r\nContent-Length: 0', undefined, 'none'],
    ['GET / HTTP/1.1\r\nContent-Length: 5', undefined, '5'],
    ['POST / HTTP/1.1\r\nContent-Length: 5, 5\r\nContent-Length: 5', undefined, '5'],
    ['POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6', undefined, 'invalid'],
    ['POST / HTTP/1.1\r\nContent-Length: -5', undefined, 'invalid'],
    ['POST / HTTP/1.1\r\nContent-Length: 99999999999999999', undefined, 'invalid'],
    ['POST / HTTP/1.1\r\nTransfer-Encoding: chunked', undefined, 'chunked'],
    ['POST / HTTP/1.1\r\nTransfer-Encoding: gzip, Chunked', undefined, 'chunked'],
    ['POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked', undefined, 'chunked'],
    ['POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5', undefined, 'chunked'],
    ['POST / HTTP/1.1\r\nTransfer-Encoding: gzip', undefined, 'invalid'],
    ['CONNECT a:443 HTTP/1.1', undefined, 'tunnel'],
    ['GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket', undefined, 'none'],
    ['HTTP/1.1 200 OK', 'GET', 'until-close'],
    ['HTTP/1.1 200 OK', undefined, 'until-close'],
    ['HTTP/1.1 200 OK\r\nContent-Length: 5', 'GET', '5'],
    ['HTTP/1.1 200 OK\r\nContent-Length: 5', 'HEAD', 'none'],
    ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked', 'HEAD', 'none'],
    ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked', 'GET', 'chunked'],
    ['HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip', 'GET', 'until-close'],
    ['HTTP/1.1 204 No Content\r\nContent-Length: 5', 'GET', 'none'],
    ['HTTP/1.1 304 Not Modified\r\nContent-Length: 5', 'GET', 'none'],
    ['HTTP/1.1 100 Continue', 'POST', 'none'],
    ['HTTP/1.1 103 Early Hints', 'GET', 'none'],
    ['HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket', 'GET', 'tunnel'],
    ['HTTP/1.1 200 OK\r\nContent-Length: 5', 'CONNECT', 'tunnel'],
    ['HTTP/1.1 407 No\r\nContent-Length: 5', 'CONNECT', '5'],
    ['HTTP/1.1 200 OK\r\nContent-Length: 5, 6', 'GET', 'invalid'],
  ];
  for (const [head, method, expected] of table) {
    const body = http1Body(parsed(`${head}\r\n\r\n`), method);
    assert.equal(body.kind === 'length' ? String(body.length) : body.kind, expected, `${head} after ${String(method)}`);
  }
});

test('requestTarget() takes authority and path from every form of the target', () => {
  const table: [line: string, host: string, authority: string | undefined, path: string | undefined][] = [
    ['GET /a?b HTTP/1.1', 'shop', 'shop', '/a?b'],
    ['GET http://other:81/a?b HTTP/1.1', 'shop', 'other:81', '/a?b'],
    ['GET http://other HTTP/1.1', 'shop', 'other', '/'],
    ['GET http://other?q HTTP/1.1', 'shop', 'other', '/?q'],
    ['CONNECT other:443 HTTP/1.1', 'shop', 'other:443', undefined],
    ['OPTIONS * HTTP/1.1', 'shop', 'shop', '*'],
    ['GET weird HTTP/1.1', 'shop', 'shop', 'weird'],
  ];
  for (const [line, host, authority, path] of table) {
    const head = parsed(`${line}\r\nHost: ${host}\r\n\r\n`) as Http1Request;
    assert.deepEqual(requestTarget(head), { authority, path }, line);
  }
});

test('isHttp1Start() wants a whole start line and a registered method', () => {
  const kind = (text: string) => isHttp1Start(encode(text), 0, text.length);
  assert.equal(kind('GET / HTTP/1.1\r\nHost'), 'request');
  assert.equal(kind('HTTP/1.1 200 OK\r\n'), 'response');
  for (const text of ['GET / HTTP/1.1', 'FOO / HTTP/1.1\r\n', 'get / HTTP/1.1\r\n', 'HTTP/1.1 OK\r\n', '{"a": 1}\r\n', ''])
    assert.equal(kind(text), undefined, text);
});

test('upgrade counts only when Connection names it', () => {
  assert.equal(parsed('GET / HTTP/1.1\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\n').upgrade, 'websocket');
  assert.equal(parsed('GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n').upgrade, undefined);
});

test('a head cut at any byte is incomplete, and never something else', () => {
  const text = 'POST http://a/b HTTP/1.1\r\nHost: shop\r\nContent-Length: 5\r\nA:\r\n b\r\n\r\n';
  const bytes = encode(text);
  for (let end = 0; end < bytes.length; end++) {
    assert.equal(parseHttp1Head(bytes, 0, end), 'incomplete', `cut at ${end}`);
    assert.equal(findHttp1HeadEnd(bytes, 0, end), -1);
  }
  assert.equal(findHttp1HeadEnd(bytes, 0, bytes.length), bytes.length);
});

test('random bytes never throw', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 200 }),
      fc.constantFrom('', 'GET ', 'GET / HTTP/1.1\r\n', 'HTTP/1.1 200 \r\n'),
      (tail, start) => {
        const bytes = Buffer.concat([encode(start), tail]);
        const head = parseHttp1Head(bytes, 0, bytes.length);
        parseCutHttp1Head(bytes, 0, bytes.length);
        looksLikeHttp1(bytes, 0, bytes.length);
        isHttp1Start(bytes, 0, bytes.length);
        if (typeof head === 'object') assert.ok(head.headLength <= bytes.length);
      },
    ),
    { seed: 1, numRuns: 2000 },
  );
});
