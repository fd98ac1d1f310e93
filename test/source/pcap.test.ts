import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import fc from 'fast-check';
import PcapParser from 'pcap-parser';
import { CaptureFileError } from '../../src/source/capture-file-error.ts';
import { readBytes } from './drain.ts';
import { frame, KUZNETZOV, MICRO, NANO, type PcapRecord, writePcap } from './write-pcap.ts';

const SECOND = 1_700_000_000;
const records: PcapRecord[] = [
  { seconds: SECOND, fraction: 123_456, data: frame(60) },
  { seconds: SECOND + 1, fraction: 1, data: frame(96), wire: 1514 },
  { seconds: SECOND + 1, fraction: 999_999, data: frame(0), wire: 70_000 },
];
const hex = (data: Uint8Array) => Buffer.from(data).toString('hex');

for (const little of [true, false])
  for (const [name, magic, scale] of [
    ['microseconds', MICRO, 1000n],
    ['nanoseconds', NANO, 1n],
    ["Kuznetzov's longer record header", KUZNETZOV, 1000n],
  ] as const)
    test(`a ${little ? 'little' : 'big'}-endian file with ${name} is read`, () => {
      const { frames, source } = readBytes(writePcap({ little, magic, linkType: 113, snapLength: 96, records }));
      assert.deepEqual(source.interfaces, [{ linkType: 113, snapLength: 96 }]);
      assert.equal(source.base.epochSeconds, SECOND);
      assert.deepEqual(
        frames.map(({ ns, wire, data }) => ({ ns, wire, data })),
        records.map(({ seconds, fraction, data, wire }) => ({
          ns: BigInt(seconds) * 1_000_000_000n + BigInt(fraction) * scale,
          wire: wire ?? data.length,
          data: hex(data),
        })),
      );
      assert.deepEqual(source.losses, []);
      assert.equal(source.malformed, false);
    });

test("Kuznetzov's packet type tells the direction", () => {
  const bytes = writePcap({ magic: KUZNETZOV, records: [records[0]!, records[1]!] });
  bytes[24 + 22] = 4;
  assert.deepEqual(
    readBytes(bytes).frames.map((f) => f.direction),
    [2, 1],
  );
});

test('the length of a frame check sequence in the link type is left aside', () => {
  const { source } = readBytes(writePcap({ linkType: 0x44000001, records: [] }));
  assert.equal(source.interfaces[0]?.linkType, 1);
});

test('before version 2.4 the two lengths may be the other way round', () => {
  const swapped = [{ seconds: SECOND, fraction: 0, data: frame(40), captured: 1514, wire: 40 }];
  for (const version of [
    [2, 2],
    [2, 3],
  ] as [number, number][]) {
    const { frames, source } = readBytes(writePcap({ version, records: swapped }));
    assert.deepEqual([frames[0]?.wire, frames[0]?.data.length, source.losses.length], [1514, 80, 0]);
  }
});

test('time stamps that go backwards stay as they are, and the base is that of the first frame', () => {
  const { frames, source } = readBytes(writePcap({ records: [records[1]!, records[0]!] }));
  assert.equal(source.base.epochSeconds, SECOND + 1);
  assert.equal(frames[1]?.ns, BigInt(SECOND) * 1_000_000_000n + 123_456_000n);
});

test('a given time base is kept', () => {
  const { frames, source } = readBytes(writePcap({ records }), { base: { epochSeconds: SECOND - 100 } });
  assert.equal(source.base.epochSeconds, SECOND - 100);
  assert.equal(frames[0]?.ns, BigInt(SECOND) * 1_000_000_000n + 123_456_000n);
});

test('a record that claims 4 GiB ends the source with its byte, after what precedes it', () => {
  const bytes = writePcap({ records: [records[0]!, { ...records[1]!, captured: 0xffffffff }, records[0]!] });
  const { frames, source } = readBytes(bytes);
  assert.equal(frames.length, 1);
  assert.equal(source.malformed, true);
  assert.equal(source.losses.length, 1);
  assert.equal(source.losses[0]?.source, 'malformed');
  assert.equal(
    source.losses[0]?.detail,
    'Cannot read on in "test" at byte 100: a record of at most 262144 bytes is wanted, it says 4294967295',
  );
});

test('a lying length within the bound makes no buffer of that length', () => {
  const bytes = writePcap({ snapLength: 0xffffffff, records: [{ ...records[0]!, captured: 16 * 1024 * 1024 }] });
  const before = process.memoryUsage().arrayBuffers;
  const { frames, source } = readBytes(bytes);
  assert.equal(frames.length, 0);
  assert.ok(process.memoryUsage().arrayBuffers - before < 4 * 1024 * 1024);
  assert.match(source.losses[0]?.detail ?? '', /the record at byte 24 wants 16777232 bytes, 76 are there/);
});

test('a frame longer than the block of the reader is handed out whole where the snapshot length allows it', () => {
  const long = frame(1_000_000);
  const { frames, source } = readBytes(
    writePcap({ snapLength: 2_000_000, records: [records[0]!, { seconds: SECOND, fraction: 0, data: long }, records[1]!] }),
  );
  assert.deepEqual(
    frames.map((f) => f.data.length / 2),
    [60, 1_000_000, 96],
  );
  assert.equal(frames[1]?.data, hex(long));
  assert.equal(source.losses.length, 0);
});

test('a file of another version or none is refused with the act, the value, the wish and the state', () => {
  const refusal = (bytes: Uint8Array, code: string, message: RegExp) =>
    assert.throws(
      () => readBytes(bytes),
      (error) =>
        error instanceof CaptureFileError &&
        error instanceof SyntaxError &&
        error.code === code &&
        error.path === 'test' &&
        message.test(error.message),
    );
  refusal(new Uint8Array(0), 'CAPTURE_EMPTY', /^Cannot read "test": a pcap or pcapng capture is wanted, it is empty$/);
  refusal(writePcap({ version: [3, 4], records: [] }), 'CAPTURE_FORMAT', /version 2 is wanted, it is of version 3\.4/);
  refusal(writePcap({ records: [] }).subarray(0, 23), 'CAPTURE_FORMAT', /24 bytes of file header are wanted, 23 are there/);
  refusal(Buffer.from('# Generated by iptables-save v1.8.9\n'), 'CAPTURE_FORMAT', /it is text that begins "# Generated by i"/);
  refusal(Buffer.from('{"configs":[]}'), 'CAPTURE_FORMAT', /it is JSON$/);
  refusal(Buffer.from([0x50, 0x4b, 3, 4, 0, 0]), 'CAPTURE_FORMAT', /it is a zip archive: unpack it first/);
  refusal(Buffer.from([1, 2, 3, 0xff]), 'CAPTURE_FORMAT', /it is bytes that begin 01 02 03 ff/);
});

const anyRecord = fc.record({
  seconds: fc.integer({ min: 0, max: 0xffffffff }),
  fraction: fc.integer({ min: 0, max: 999_999 }),
  data: fc.uint8Array({ maxLength: 300 }),
  wire: fc.integer({ min: 0, max: 0x7fffffff }),
});

test('property: what is written is read, whatever the size of the block', () => {
  fc.assert(
    fc.property(
      fc.array(anyRecord, { maxLength: 40 }),
      fc.boolean(),
      fc.constantFrom(MICRO, NANO),
      fc.integer({ min: 32, max: 2000 }),
      (given, little, magic, blockLength) => {
        const { frames, source } = readBytes(writePcap({ little, magic, records: given }), { blockLength });
        assert.deepEqual(source.losses, []);
        assert.deepEqual(
          frames.map(({ wire, data }) => [wire, data]),
          given.map(({ wire, data }) => [wire, hex(data)]),
        );
      },
    ),
    { seed: 20261, numRuns: 300 },
  );
});

test('property: a file cut anywhere gives a prefix of its frames, and a loss unless it is cut between two records', () => {
  fc.assert(
    fc.property(fc.array(anyRecord, { minLength: 1, maxLength: 10 }), fc.nat(), fc.boolean(), (given, at, little) => {
      const whole = writePcap({ little, records: given });
      const cut = 24 + (at % (whole.length - 24));
      const { frames, source } = readBytes(whole.subarray(0, cut), { blockLength: 64 });
      const all = readBytes(whole).frames;
      assert.deepEqual(frames, all.slice(0, frames.length));
      let boundary = 24;
      for (const f of all.slice(0, frames.length)) boundary += 16 + f.data.length / 2;
      assert.equal(source.losses.length, boundary === cut ? 0 : 1);
      assert.equal(source.malformed, boundary !== cut);
    }),
    { seed: 20262, numRuns: 300 },
  );
});

function parsePcapIndependently(bytes: Uint8Array): Promise<{ ns: bigint; wire: number; data: string }[]> {
  return new Promise((resolve, reject) => {
    const stream = new PassThrough();
    const parser = PcapParser.parse(stream);
    const found: { ns: bigint; wire: number; data: string }[] = [];
    parser.on('packet', ({ header, data }) => {
      found.push({
        ns: BigInt(header.timestampSeconds) * 1_000_000_000n + BigInt(header.timestampMicroseconds) * 1000n,
        wire: header.originalLength,
        data: data.toString('hex'),
      });
    });
    parser.on('end', () => resolve(found));
    parser.on('error', reject);
    stream.end(Buffer.from(bytes));
  });
}

for (const little of [true, false])
  test(`pcap-parser reads the same from a ${little ? 'little' : 'big'}-endian file`, async () => {
    const bytes = writePcap({ little, records });
    const ours = readBytes(bytes).frames.map(({ ns, wire, data }) => ({ ns, wire, data }));
    assert.deepEqual(await parsePcapIndependently(bytes), ours);
  });
