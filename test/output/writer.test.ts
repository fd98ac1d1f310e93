import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FileWriter, type WriteCall } from '../../src/output/writer.ts';

function systemError(code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(code), { code });
}

test('FileWriter writes in chunks of at least 64 KiB, and the rest on flush', () => {
  const lengths: number[] = [];
  const write: WriteCall = (_fd, _bytes, _offset, length) => {
    lengths.push(length);
    return length;
  };
  const writer = new FileWriter(1, { write });
  for (let i = 0; i < 100_000; i++) writer.text('abc');
  assert.ok(lengths.every((length) => length >= 65_536));
  writer.flush();
  assert.equal(
    lengths.reduce((sum, length) => sum + length, 0),
    300_000,
  );
});

test('FileWriter goes on where the system took only a part', () => {
  let out = '';
  const write: WriteCall = (_fd, bytes, offset, length) => {
    const taken = Math.min(length, 7);
    out += Buffer.from(bytes.subarray(offset, offset + taken)).toString();
    return taken;
  };
  const writer = new FileWriter(1, { write });
  writer.text('one two three four five');
  writer.bytes(Buffer.from(' six'));
  writer.flush();
  assert.equal(out, 'one two three four five six');
});

test('FileWriter waits when a pipe is full', () => {
  let calls = 0;
  const write: WriteCall = (_fd, _bytes, _offset, length) => {
    if (calls++ < 2) throw systemError('EAGAIN');
    return length;
  };
  const writer = new FileWriter(1, { write });
  writer.text('x');
  writer.flush();
  assert.equal(calls, 3);
  assert.equal(writer.closed, false);
});

test('FileWriter ends quietly when the reader has gone', () => {
  let calls = 0;
  const writer = new FileWriter(1, {
    write: () => {
      calls++;
      throw systemError('EPIPE');
    },
  });
  writer.text('x');
  writer.flush();
  writer.text('y');
  writer.bytes(Buffer.from('z'));
  writer.flush();
  assert.equal(calls, 1);
  assert.equal(writer.closed, true);
  assert.equal(writer.failure, undefined);
});

test('FileWriter keeps what the system said when it refused, and does not throw', () => {
  const writer = new FileWriter(1, {
    write: () => {
      throw systemError('ENOSPC');
    },
  });
  writer.text('x');
  writer.close();
  assert.equal(writer.failure?.code, 'ENOSPC');
});
