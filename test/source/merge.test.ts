import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BytesFeed } from '../../src/source/byte-feed.ts';
import { CaptureFileError } from '../../src/source/capture-file-error.ts';
import { MergedSource } from '../../src/source/merge.ts';
import { openCaptures } from '../../src/source/open.ts';
import { drain } from './drain.ts';
import { frame, NANO, type PcapRecord, writePcap } from './write-pcap.ts';
import { PcapngWriter, utf8 } from './write-pcapng.ts';

const feedOf = (bytes: Uint8Array, i: number) => new BytesFeed(bytes, `file ${i}`);
const merge = (files: Uint8Array[], blockLength?: number) =>
  openCaptures(files.map(feedOf), blockLength === undefined ? {} : { blockLength });
const at = (seconds: number, fraction = 0, length = 20): PcapRecord => ({ seconds, fraction, data: frame(length, seconds) });

test('frames of several captures come in the order of time, and tell where they are from', () => {
  const source = merge([
    writePcap({ linkType: 1, records: [at(10), at(13), at(13, 5)] }),
    writePcap({ linkType: 113, little: false, magic: NANO, records: [at(11), at(13, 4000)] }),
    new PcapngWriter()
      .section()
      .interface(276, 0, new PcapngWriter().option(2, utf8('any')))
      .packet(0, 12_000_000n, frame(20, 12))
      .bytes(),
  ]);
  const frames = drain(source);
  assert.equal(source.base.epochSeconds, 10);
  assert.deepEqual(
    frames.map((f) => [f.ns, source.inputOf[f.interfaceId], source.interfaces[f.interfaceId]?.linkType]),
    [
      [10_000_000_000n, 0, 1],
      [11_000_000_000n, 1, 113],
      [12_000_000_000n, 2, 276],
      [13_000_000_000n, 0, 1],
      [13_000_004_000n, 1, 113],
      [13_000_005_000n, 0, 1],
    ],
  );
  assert.equal(source.interfaces.find((i) => i.name === 'any')?.linkType, 276);
});

test('of equal stamps the capture that was named first goes first', () => {
  const frames = drain(merge([writePcap({ records: [at(5, 0, 1), at(5, 0, 2)] }), writePcap({ records: [at(5, 0, 3)] })]));
  assert.deepEqual(
    frames.map((f) => f.wire),
    [1, 2, 3],
  );
});

test('an empty capture, a cut one, and one with long frames are merged with the others', () => {
  const long = writePcap({ snapLength: 3_000_000, records: [at(1, 0, 2_000_000), at(3, 0, 700_000), at(4, 0, 900_000)] });
  const cut = writePcap({ records: [at(2), at(5)] });
  const source = merge([writePcap({ records: [] }), long, cut.subarray(0, cut.length - 1)]);
  const frames = drain(source);
  assert.deepEqual(
    frames.map((f) => [f.ns / 1_000_000_000n, f.data.length / 2]),
    [
      [1n, 2_000_000],
      [2n, 20],
      [3n, 700_000],
      [4n, 900_000],
    ],
  );
  assert.deepEqual([source.malformed, source.losses.map((l) => l.source)], [true, ['truncated']]);
});

test('without any capture, or with one that is none, nothing is opened', () => {
  assert.throws(() => new MergedSource([]), RangeError);
  assert.throws(() => merge([writePcap({ records: [] }), utf8('no capture')]), CaptureFileError);
});

test('property: captures in order come out as one stable sort of all', () => {
  const record = fc.tuple(fc.integer({ min: 0, max: 50 }), fc.integer({ min: 0, max: 2 }), fc.integer({ min: 0, max: 90 }));
  fc.assert(
    fc.property(
      fc.array(fc.array(record, { maxLength: 60 }), { minLength: 1, maxLength: 7 }),
      fc.integer({ min: 64, max: 2048 }),
      (files, blockLength) => {
        const sorted = files.map((file) =>
          file
            .map(([seconds, fraction, length]) => at(seconds, fraction, length))
            .sort((a, b) => a.seconds - b.seconds || a.fraction - b.fraction),
        );
        const expected = sorted
          .flatMap((file, rank) => file.map((r, place) => ({ r, rank, place })))
          .sort((a, b) => a.r.seconds - b.r.seconds || a.r.fraction - b.r.fraction || a.rank - b.rank || a.place - b.place);
        const source = merge(
          sorted.map((records) => writePcap({ records })),
          blockLength,
        );
        assert.deepEqual(
          drain(source).map((f) => [f.ns, f.data, source.inputOf[f.interfaceId]]),
          expected.map(({ r, rank }) => [
            BigInt(r.seconds) * 1_000_000_000n + BigInt(r.fraction) * 1000n,
            Buffer.from(r.data).toString('hex'),
            rank,
          ]),
        );
      },
    ),
    { seed: 20266, numRuns: 300 },
  );
});

test('property: each capture keeps its own order, even where its stamps go backwards', () => {
  fc.assert(
    fc.property(fc.array(fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 30 }), { minLength: 1, maxLength: 4 }), (files) => {
      const source = merge(
        files.map((stamps) => writePcap({ records: stamps.map((seconds, i) => ({ seconds, fraction: 0, data: frame(4, i) })) })),
      );
      const frames = drain(source);
      files.forEach((stamps, rank) => {
        assert.deepEqual(
          frames.filter((f) => source.inputOf[f.interfaceId] === rank).map((f) => f.ns / 1_000_000_000n),
          stamps.map(BigInt),
        );
      });
    }),
    { seed: 20267, numRuns: 200 },
  );
});
