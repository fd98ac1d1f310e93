import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatTime, parseRfc3339, parseTimeNs, toNs } from '../../src/net/time.ts';

const base = { epochSeconds: 1_795_363_120 };

test('a stamp is parsed to what it was formatted from, within 100 days of the base', () => {
  fc.assert(
    fc.property(fc.integer({ min: -8_640_000, max: 8_640_000 }), fc.integer({ min: 0, max: 999_999_999 }), (seconds, nanoseconds) => {
      const timeNs = toNs(base, base.epochSeconds + seconds, nanoseconds);
      assert.equal(parseTimeNs(base, formatTime(base, timeNs)), timeNs);
      assert.equal(formatTime(base, timeNs).slice(0, 19), new Date((base.epochSeconds + seconds) * 1000).toISOString().slice(0, 19));
    }),
    { seed: 23, numRuns: 2000 },
  );
});

test('offsets, fractions and separators of RFC 3339', () => {
  const table: [text: string, seconds: number, nanoseconds: number][] = [
    ['1970-01-01T00:00:00Z', 0, 0],
    ['1970-01-01t00:00:00z', 0, 0],
    ['1970-01-01 00:00:01.5Z', 1, 500_000_000],
    ['1970-01-01T01:00:00+01:00', 0, 0],
    ['1969-12-31T23:30:00-0030', 0, 0],
    ['1970-01-01T00:00:00.123456789123Z', 0, 123_456_789],
    ['1969-12-31T23:59:59.999999999Z', -1, 999_999_999],
  ];
  for (const [text, seconds, nanoseconds] of table) assert.deepEqual(parseRfc3339(text), { seconds, nanoseconds }, text);
  for (const text of ['', 'now', '1970-01-01', '1970-01-01T00:00:00', '1970-1-1T00:00:00Z', '1970-01-01T00:00Z', '1795363120'])
    assert.equal(parseRfc3339(text), undefined, text);
});

test('the second that is rounded up and the years at the ends', () => {
  assert.equal(formatTime({ epochSeconds: 0 }, -1), '1969-12-31T23:59:59.999999999Z');
  assert.match(formatTime({ epochSeconds: 1e15 }, 0), /^9999-12-31T23:59:59/);
  assert.match(formatTime({ epochSeconds: -1e15 }, 0), /^0000-01-01T00:00:00/);
  assert.match(formatTime({ epochSeconds: 0 }, 1e9 - 1e-7), /^1970-01-01T00:00:0[01]\.\d{9}Z$/);
});
