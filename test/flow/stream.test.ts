import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type BufferBudget, type StreamConsumer, TcpStream } from '../../src/flow/stream.ts';

/** Writes down what it is told: text for bytes, `[n]` for gaps, `(n)` for skipped bytes. */
class Recorder implements StreamConsumer {
  told = '';
  times: number[] = [];
  /** Skips to ask for, in order, one after each call. */
  skips: number[] = [];
  #skipping = 0;

  onBytes(_stream: TcpStream, bytes: Uint8Array, start: number, end: number, timeNs: number): number {
    this.told += Buffer.from(bytes.slice(start, end)).toString('latin1');
    return this.#next(timeNs);
  }

  onGap(_stream: TcpStream, length: number, timeNs: number): number {
    this.told += `[${length}]`;
    return this.#next(timeNs);
  }

  onSkipped(_stream: TcpStream, timeNs: number): number {
    this.told += `(${this.#skipping})`;
    return this.#next(timeNs);
  }

  #next(timeNs: number): number {
    this.times.push(timeNs);
    this.#skipping = this.skips.shift() ?? 0;
    return this.#skipping;
  }
}

interface Piece {
  seq: number;
  text: string;
  /** Bytes captured of it. */
  captured?: number;
  timeNs?: number;
}

function segment({ seq, text, captured, timeNs }: Piece) {
  const bytes = Buffer.from(text, 'latin1');
  const payloadCaptured = Math.min(captured ?? bytes.length, bytes.length);
  // two bytes in front, so that offsets matter
  const held = Buffer.concat([Buffer.from('--'), bytes.subarray(0, payloadCaptured)]);
  return { timeNs: timeNs ?? 0, seq: seq | 0, ack: 0, bytes: held, payloadOffset: 2, payloadCaptured, payloadLength: bytes.length };
}

function told(pieces: Piece[], options: { begin?: number; skips?: number[]; budget?: BufferBudget; flush?: boolean } = {}): string {
  const recorder = new Recorder();
  recorder.skips = options.skips ?? [];
  const stream = new TcpStream(0, recorder, options.budget ?? { left: 1_000_000 });
  if (options.begin !== undefined) stream.begin(options.begin);
  for (const piece of pieces) stream.push(segment(piece));
  if (options.flush !== false) stream.flush();
  return recorder.told;
}

test('TcpStream puts segments in order, each byte once', () => {
  const table: [name: string, pieces: Piece[], expected: string][] = [
    [
      'in order',
      [
        { seq: 10, text: 'ab' },
        { seq: 12, text: 'cd' },
      ],
      'abcd',
    ],
    [
      'retransmitted',
      [
        { seq: 10, text: 'ab' },
        { seq: 10, text: 'ab' },
        { seq: 12, text: 'cd' },
      ],
      'abcd',
    ],
    [
      'retransmitted with more',
      [
        { seq: 10, text: 'ab' },
        { seq: 10, text: 'abcd' },
      ],
      'abcd',
    ],
    [
      'overlapping',
      [
        { seq: 10, text: 'abc' },
        { seq: 12, text: 'cd' },
      ],
      'abcd',
    ],
    [
      'swapped',
      [
        { seq: 10, text: 'ab' },
        { seq: 14, text: 'ef' },
        { seq: 12, text: 'cd' },
      ],
      'abcdef',
    ],
    [
      'backwards',
      [
        { seq: 10, text: 'a' },
        { seq: 13, text: 'd' },
        { seq: 12, text: 'c' },
        { seq: 11, text: 'b' },
      ],
      'abcd',
    ],
    [
      'lost',
      [
        { seq: 10, text: 'ab' },
        { seq: 14, text: 'ef' },
      ],
      'ab[2]ef',
    ],
    [
      'lost, and again',
      [
        { seq: 10, text: 'a' },
        { seq: 13, text: 'd' },
        { seq: 16, text: 'g' },
      ],
      'a[2]d[2]g',
    ],
    [
      'too late',
      [
        { seq: 10, text: 'ab' },
        { seq: 8, text: 'xy' },
        { seq: 12, text: 'c' },
      ],
      'abc',
    ],
    [
      'cut by the snapshot length',
      [
        { seq: 10, text: 'abcd', captured: 2 },
        { seq: 14, text: 'ef' },
      ],
      'ab[2]ef',
    ],
    [
      'not captured at all',
      [
        { seq: 10, text: 'ab', captured: 0 },
        { seq: 12, text: 'cd' },
      ],
      '[2]cd',
    ],
    [
      'overlapping a cut one',
      [
        { seq: 10, text: 'abcd', captured: 2 },
        { seq: 12, text: 'cdef' },
      ],
      'ab[2]ef',
    ],
    [
      'a keep-alive probe',
      [
        { seq: 10, text: 'ab' },
        { seq: 11, text: 'x' },
        { seq: 12, text: 'c' },
      ],
      'abc',
    ],
    [
      'over the wrap',
      [
        { seq: 0xffff_ffff, text: 'ab' },
        { seq: 1, text: 'cd' },
      ],
      'abcd',
    ],
  ];
  for (const [name, pieces, expected] of table) assert.equal(told(pieces), expected, name);
});

test('TcpStream begins where the SYN says', () => {
  assert.equal(
    told(
      [
        { seq: 14, text: 'e' },
        { seq: 10, text: 'abcd' },
      ],
      { begin: 10 },
    ),
    'abcde',
  );
  assert.equal(told([{ seq: 14, text: 'e' }], { begin: 10 }), '[4]e');
});

test('TcpStream counts what is to be skipped, and misses nothing else', () => {
  const table: [name: string, skips: number[], pieces: Piece[], expected: string][] = [
    [
      'within a segment',
      [2, 0],
      [
        { seq: 0, text: 'a' },
        { seq: 1, text: 'bcde' },
      ],
      'a(2)de',
    ],
    [
      'over segments',
      [5, 0],
      [
        { seq: 0, text: 'a' },
        { seq: 1, text: 'bc' },
        { seq: 3, text: 'de' },
        { seq: 5, text: 'fg' },
      ],
      'a(5)g',
    ],
    [
      'exactly',
      [2, 0],
      [
        { seq: 0, text: 'a' },
        { seq: 1, text: 'bc' },
      ],
      'a(2)',
    ],
    [
      'twice',
      [2, 1, 0],
      [
        { seq: 0, text: 'a' },
        { seq: 1, text: 'bcdefg' },
      ],
      'a(2)(1)efg',
    ],
    [
      'with a hole inside',
      [5, 0],
      [
        { seq: 0, text: 'a' },
        { seq: 3, text: 'def' },
        { seq: 6, text: 'g' },
      ],
      'a(5)g',
    ],
    [
      'with a hole up to its end',
      [5, 0],
      [
        { seq: 0, text: 'a' },
        { seq: 6, text: 'g' },
      ],
      'a(5)g',
    ],
    [
      'with a hole beyond its end',
      [5, 0],
      [
        { seq: 0, text: 'a' },
        { seq: 7, text: 'h' },
      ],
      'a(5)[1]h',
    ],
    [
      'cut by the snapshot length',
      [5, 0],
      [
        { seq: 0, text: 'a' },
        { seq: 1, text: 'bcdefg', captured: 1 },
      ],
      'a(5)[1]',
    ],
    [
      'for ever',
      [Number.POSITIVE_INFINITY],
      [
        { seq: 0, text: 'a' },
        { seq: 1, text: 'bcd' },
        { seq: 9, text: 'j' },
      ],
      'a',
    ],
  ];
  for (const [name, skips, pieces, expected] of table) assert.equal(told(pieces, { skips }), expected, name);
});

test('segments that end before nextHeadSeq may be left out', () => {
  const recorder = new Recorder();
  recorder.skips = [100, 0];
  const stream = new TcpStream(0, recorder, { left: 1000 });
  stream.push(segment({ seq: 0, text: 'a' }));
  assert.equal(stream.nextHeadSeq, 101);
  stream.push(segment({ seq: 91, text: '0123456789', timeNs: 7 }));
  stream.push(segment({ seq: 101, text: 'b' }));
  assert.deepEqual([recorder.told, recorder.times[1], stream.nextHeadSeq, stream.missing], ['a(100)b', 7, 102, 0]);
});

test('an acknowledgement beyond a hole gives the hole up at once', () => {
  const recorder = new Recorder();
  const stream = new TcpStream(0, recorder, { left: 1000 });
  stream.push(segment({ seq: 0, text: 'ab' }));
  stream.push(segment({ seq: 4, text: 'ef' }));
  stream.acknowledge(2, 1);
  assert.equal(recorder.told, 'ab');
  stream.acknowledge(6, 2);
  assert.equal(recorder.told, 'ab[2]ef');
  stream.acknowledge(9, 3);
  assert.deepEqual([recorder.told, stream.missing], ['ab[2]ef[3]', 5]);
  stream.push(segment({ seq: 6, text: 'ghij' }));
  assert.equal(recorder.told, 'ab[2]ef[3]j', 'what comes after it was given up is old');
});

test('TcpStream keeps at most 64 early segments and 64 KiB, and no more than the budget', () => {
  const early = (count: number, length: number) =>
    Array.from({ length: count }, (_, i) => ({ seq: 2 + i * length, text: 'x'.repeat(length) }));
  const start = { seq: 0, text: 'a' };
  assert.equal(told([start, ...early(64, 1)], { flush: false }), 'a');
  assert.equal(told([start, ...early(65, 1)], { flush: false }), `a[1]${'x'.repeat(65)}`);
  assert.equal(told([start, ...early(9, 8000)], { flush: false }).length, 'a[1]'.length + 9 * 8000);
  const budget = { left: 10 };
  assert.equal(told([start, ...early(3, 5)], { flush: false, budget }), `a[1]${'x'.repeat(15)}`);
  assert.equal(budget.left, 10, 'what was taken is given back');
  assert.equal(told([start, ...early(1, 100_000)], { flush: false }).length, 'a[1]'.length + 100_000);
});

test('a segment outside of any window is left out', () => {
  assert.equal(
    told([
      { seq: 0, text: 'ab' },
      { seq: 0x7000_0000, text: 'xx' },
      { seq: 2, text: 'cd' },
    ]),
    'abcd',
  );
});

test('however segments are split, repeated and mixed up, the bytes come once and in order', () => {
  const text = Array.from({ length: 60 }, (_, i) => String.fromCharCode(65 + (i % 60))).join('');
  const cut = fc.record({ from: fc.integer({ min: 0, max: 59 }), length: fc.integer({ min: 1, max: 20 }) });
  fc.assert(
    fc.property(fc.array(cut, { maxLength: 40 }), fc.integer(), (cuts, isn) => {
      const pieces = cuts.map(({ from, length }) => ({ seq: isn + from, text: text.slice(from, from + length) }));
      // what was not cut out comes last, in order
      for (let at = 0; at < 60; at += 10) pieces.push({ seq: isn + at, text: text.slice(at, at + 10) });
      assert.equal(told(pieces, { begin: isn }), text);
    }),
    { seed: 1, numRuns: 500 },
  );
});

test('whatever comes, every byte of the stream is told once', () => {
  const piece = fc.record({
    seq: fc.integer({ min: 0, max: 300 }),
    text: fc.string({ minLength: 1, maxLength: 40, unit: 'binary-ascii' }),
    captured: fc.integer({ min: 0, max: 40 }),
  });
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 60 }), fc.array(fc.integer({ min: 0, max: 50 }), { maxLength: 10 }), (pieces, skips) => {
      const recorder = new Recorder();
      recorder.skips = skips;
      const stream = new TcpStream(0, recorder, { left: 200 });
      stream.begin(0);
      for (const each of pieces) stream.push(segment(each));
      stream.flush();
      const end = Math.max(0, ...pieces.map(({ seq, text }) => seq + text.length));
      assert.equal(stream.offset, end);
      assert.equal(stream.next, end);
    }),
    { seed: 1, numRuns: 1000 },
  );
});
