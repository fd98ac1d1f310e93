import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ChunkedBody } from '../../src/decode/http1-chunked.ts';

const encode = (text: string) => Buffer.from(text, 'latin1');

function read(text: string): { rest: string; body: ChunkedBody } {
  const body = new ChunkedBody();
  const bytes = encode(text);
  const at = body.push(bytes, 0, bytes.length);
  return { rest: text.slice(at), body };
}

test('ChunkedBody ends after the last chunk and its trailers, and counts the data', () => {
  const table: [text: string, dataLength: number][] = [
    ['0\r\n\r\n', 0],
    ['3\r\nabc\r\n0\r\n\r\n', 3],
    ['003\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n', 13],
    ['3;name="v"\r\nabc\r\n0;x\r\n\r\n', 3],
    ['3 \r\nabc\r\n0\r\nTrailer: x\r\nOther: y\r\n\r\n', 3],
    ['3\nabc\n0\n\n', 3],
  ];
  for (const [text, dataLength] of table) {
    const { rest, body } = read(`${text}GET`);
    assert.deepEqual([body.done, rest, body.dataLength], [true, 'GET', dataLength], JSON.stringify(text));
  }
});

test('ChunkedBody is malformed where the framing is', () => {
  for (const text of ['\r\n', 'x\r\n', '3\r\nabcd\r\n', '-1\r\n', '3z\r\n', '1234567890123\r\n', `3;${'x'.repeat(20_000)}`])
    assert.equal(read(text).body.malformed, true, JSON.stringify(text));
});

test('ChunkedBody lets chunk data be skipped', () => {
  const body = new ChunkedBody();
  const bytes = encode('1000\r\nab');
  assert.equal(body.push(bytes, 0, bytes.length), bytes.length);
  assert.equal(body.skippable, 0x1000 - 2);
  body.skip(0x1000 - 2);
  const tail = encode('\r\n0\r\n\r\n');
  body.push(tail, 0, tail.length);
  assert.deepEqual([body.done, body.dataLength], [true, 0x1000]);
});

test('the pieces in which a chunked body comes do not matter', () => {
  const text = '5;a=b\r\n01234\r\n10\r\n0123456789abcdef\r\n0\r\nT: u\r\n\r\nHTTP';
  const bytes = encode(text);
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 60 }), (lengths) => {
      const body = new ChunkedBody();
      let at = 0;
      for (const length of [...lengths, bytes.length]) {
        const end = Math.min(at + length, bytes.length);
        at = body.push(bytes, at, end);
        if (at < end) break;
      }
      assert.deepEqual([body.done, body.dataLength, text.slice(at)], [true, 21, 'HTTP']);
    }),
    { seed: 1 },
  );
});
