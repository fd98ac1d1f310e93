import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { CaptureFileError } from '../../src/source/capture-file-error.ts';
import { openCapture } from '../../src/source/open.ts';
import { openBytes } from './drain.ts';
import { frame, KUZNETZOV, writePcap } from './write-pcap.ts';
import { PcapngWriter, utf8 } from './write-pcapng.ts';

const records = Array.from({ length: 12 }, (_, i) => ({ seconds: 1000 + i, fraction: i, data: frame(20 + i * 7) }));

function pcapng(little: boolean): Uint8Array {
  const w = new PcapngWriter(little).section();
  w.interface(1, 96, w.option(2, utf8('eth0')), w.option(9, Uint8Array.of(9)), w.option(14, w.u64(5n)));
  for (const { seconds, data } of records) {
    w.packet(
      0,
      BigInt(seconds) * 1_000_000_000n,
      data,
      data.length,
      w.option(2, w.words(1)),
      w.option(1, utf8('comment')),
      w.option(4, w.u64(1n)),
    );
    w.simplePacket(data).obsoletePacket(0, 2, BigInt(seconds), data);
  }
  w.block(4, w.option(1, Uint8Array.of(1, 2, 3, 4, 97, 0)));
  w.block(5, w.words(0, 0, 0), w.option(5, w.u64(9n)));
  return w.section().interface().packet(0, 1n, frame(9)).bytes();
}

const captures = [
  writePcap({ records }),
  writePcap({ records, little: false, magic: KUZNETZOV, snapLength: 1_000_000 }),
  writePcap({ records, version: [2, 3] }),
  pcapng(true),
  pcapng(false),
];

test('property: a damaged capture ends, with frames that lie within their block, and with no other error than the documented one', () => {
  const change = fc.tuple(fc.nat(), fc.oneof(fc.integer({ min: 0, max: 255 }), fc.constantFrom(0, 0x7f, 0x80, 0xff)));
  fc.assert(
    fc.property(
      fc.constantFrom(...captures),
      fc.array(change, { minLength: 1, maxLength: 8 }),
      fc.integer({ min: 48, max: 700 }),
      (capture, changes, blockLength) => {
        const damaged = capture.slice();
        for (const [at, value] of changes) damaged[at % damaged.length] = value;
        try {
          const source = openBytes(damaged, { blockLength, keepComments: true });
          let taken = 0;
          for (let batch = source.next(); batch !== undefined; batch = source.next()) {
            assert.ok(batch.count > 0);
            for (let i = 0; i < batch.count; i++) {
              const length = batch.capturedLength[i]!;
              assert.ok(length >= 0 && batch.offset[i]! >= 0 && batch.offset[i]! + length <= batch.bytes.length);
              assert.ok(batch.wireLength[i]! >= 0 && !Number.isNaN(batch.timeNs[i]!));
              assert.ok(source.interfaces[batch.interfaceId[i]!] !== undefined);
              taken += length;
            }
          }
          assert.ok(taken <= damaged.length);
          assert.equal(source.next(), undefined);
          assert.ok(!source.malformed || source.losses.length > 0);
        } catch (error) {
          assert.ok(error instanceof CaptureFileError, String(error));
        }
      },
    ),
    { seed: 20271, numRuns: 20_000 },
  );
});

test('losses without number fill no memory', () => {
  const w = new PcapngWriter().section().interface();
  for (let i = 0; i < 5000; i++) w.packet(0, BigInt(i), frame(1), 1, w.option(4, w.u64(2n)));
  const source = openBytes(w.bytes());
  while (source.next() !== undefined);
  assert.equal(source.losses.length, 1024);
  assert.equal(
    source.losses.reduce((sum, loss) => sum + loss.count, 0),
    10_000,
  );
});

test('a source tells how far it is in its file, packed or not', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sidetrace-test-'));
  try {
    for (const [name, bytes] of [
      ['a.pcap', captures[0]!],
      ['a.pcap.gz', gzipSync(captures[0]!)],
      ['a.pcapng', captures[3]!],
    ] as const) {
      const path = join(folder, name);
      writeFileSync(path, bytes);
      const source = openCapture(path);
      while (source.next() !== undefined);
      assert.deepEqual(source.progress, { taken: bytes.length, size: bytes.length });
      source.close();
      source.close();
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});
