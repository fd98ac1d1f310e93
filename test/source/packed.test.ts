import assert from 'node:assert/strict';
import { test } from 'node:test';
import { constants, deflateRawSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { type ByteFeed, BytesFeed } from '../../src/source/byte-feed.ts';
import { GzipFeed } from '../../src/source/gzip.ts';
import { unpack } from '../../src/source/unpack.ts';
import { ZstdFeed } from '../../src/source/zstd.ts';
import { readBytes } from './drain.ts';
import { frame, writePcap } from './write-pcap.ts';
import { concat } from './write-pcapng.ts';

// 400 lines `line N of a text that repeats itself, N*N`, packed with zstd -19
const ZSTD_SAMPLE =
  'KLUv/WQzRpUzAEqfKBIXoKnSAQBsr1/uE1UljpQyySQT2rF3qxU7AQ4BFAFtUF5Vuj5l2FKWjZLkxnIkicjyT1LZ5CxKXjpSThpd+xiex44dw7gxjGFUocJeocJcoQJboV' +
  'ahQhCFCj6FCjeFClQKRQoVWhMoeCZQuEygUDGBOoGCbAIFogcKnQcKlwfyAwX3YQLtYUJLwoQZCXMJE8YSJjQkTCBKmOBJmHKY8HF46B0eyA4PEg6vw0PN4eEV4cEU4aET' +
  '4Y/wQI4g4RFBghtBQjCChAgSWA0SRg0SNg0S9gaRBglzg8OiwWFtcCAbvAaHKAYHE4OH9Rl8zsIKkyI4UYYIlCAdY8TY4Iux1YKmqmmo1Zl+/kov/YhblajJLW1288pH0Q' +
  '1iUYeXntIKXzTrDNosWXIMJJVP5XlcKqcrXBLAQgACBwYwODAQGBwIGKBgwIJwIKDAQThoMOAgCAgEEoSFAQgMHAiW14hdD3HYZZcVm+xGeyzp4fIbpjLVs3B96Wo5T7tW' +
  'Ojyau3rmum3eyr2ivFZQjSimaIpLRyGPT7jcifDp0SI/WNz4WJEdibJDgurlGCpxXFqHXCjCRY4IlxGlT4PEzY0R6TXKdAZVgzHDWlz6hXy6cLWqYZJqx61yuBV1Q16o5Z' +
  'ZKRTSdi0wv7VRe9Loub9h9+5aU53bpTlKl5ZdL5bsjEe6lc+WcqGuOhsdohdRSuEk7Ide2vGKpdnbMYC8dK49ZXfYaPteaqEhze3EmG8WyV6T6ECfKxEtLlEsNXfRhuB42' +
  'ziGDW50L0j/LFCdVeU5JwksvlE8IXaUwTGS2vslys7mSp1luBanowaE4eAklVK7XVNgxVXZeZGx8jUGyVPnkonJds3jUpYuS0y3XiBVeWV18xcW21Raci8ojIqqVaIofun' +
  'RD8vDJZRIKv0ItuonVjaZVWQkqu0pUj9JQDenSkuTykYs2CldqSi8aUjfTjErTTJk6Q9X5zJSfSy8jn8m4Kp4wVUzHjuF0q86mfHTKJQ4VlTOX2Vzajbxed531sE/vSzrf' +
  '7fO9pM3Ll5/K+0dC5JdOLqf4rs0PT+KVhjilm/STcuvLE55q48eU/dLt8pASl1cSvpDUNBK620fmshwp+xeq8zJRF7m0InIZi4tqCZdCGo8QRreqLEq7UqaiUFUo045y6S' +
  'fy4cTVKYep5dZEZruZvJavcbkypqKNh/L70j4AuJawPJOQah/hnHThpbtQHhWhy7Yw6g9hK0hUISs2VrgKNigsWyYk+pQ5ryLz0pIpF4/pot8MaolZCp5ikmKzzVHQD7NM' +
  'VJMmQs35BM1LP1M+VEFXWcEYCgp2gv4EObHVg5vg+WC5liCd7uBcKoKXNoLycoOuD4Nxj8E+2FiQj+1V7kEiKssnlST2lPOYl5fupZwhpWt3GRIVZSW4RkmJTVpOgiOW5Z' +
  'EleV455xR56YqURxDp8ocMv07WQepJOrYLOQdbJsuuSYpLkPOikpe2pFyEpItoZEQ7shG81MiIrWhcBF0ayyQzUqM+zqcfL72M8imProbHKD3GNhZj6Nxx/XAslhyJ5I1D' +
  'oapLWyUPgx6oEmCETc7n/c+iz0iaAxJIcAlQBf9/fzHp+9w5UwMDeFBODK6TGSSb1GMu1Q9lq8bJxSEZCaCCdc7wzMIw8wbd+YlykRgBIdnGmJVAFpRzhrMsDMk26MyJ6k' +
  'tZRMzJt+cWb+WySDf6jt9stCPgD+9GebhMB0I7hjLjEPGWVI1F9k1DfhEKmkztGKzTVbx8Pv8JRARUAg7E0WOXPBweEY/17XY/HQaCTHty8vmRv719R5hxZJHM/ySBAHPY' +
  '/rFw3GUcgwf8k/r/5z8CgYBKwEFx+n/XVRQG4rG+nfM/gwBQy2RIPj12CYfjgBJZi/P5n2QgsAJSMi0cu4xj4AF/Uv+/96lQGGAa7SHOj/z97fZCnLIHQf5nkAA03svJx4' +
  '/87fYdxYwjQzL/JwkEVkCSjIX/u9WBMOBP6v8//wkEAlQCDsTpcZc8HJ6NzwHfA/QewhvAEAEVHso4JEgUhxgHGQnFYYYwR1YwkCHmiFEMYQQRcAHLCUMEVHgh45AgURzG' +
  'GGQkFMfzxBhTwES+jIcEMYUfM+zSpHDFmbaOky4h/8vgBI3CKYLDYd1Ax9hCk+HRpBbQycsYVib5RqLAGyAGpSFztA2KRytIHIxCTECq2w3noWbJxB+45v4zRaFEG48ZFm' +
  'DXClEPDF0=';
const zstdText = Array.from({ length: 400 }, (_, i) => `line ${i} of a text that repeats itself, ${i * i}\n`).join('');

/** All that a feed gives, read in pieces. */
function readAll(feed: ByteFeed, piece = 1000): Uint8Array {
  const parts: Uint8Array[] = [];
  for (;;) {
    const chunk = new Uint8Array(piece);
    const n = feed.read(chunk, 0, piece);
    if (n === 0) return concat(parts);
    parts.push(chunk.subarray(0, n));
  }
}

const gunzip = (bytes: Uint8Array, piece?: number) => {
  const feed = new GzipFeed(new BytesFeed(bytes, 'test.gz'));
  return { bytes: readAll(feed, piece), fault: feed.fault };
};

/** Data with repetitions near and far, incompressible parts and runs. */
const anyData = fc
  .array(fc.tuple(fc.uint8Array({ minLength: 1, maxLength: 400 }), fc.integer({ min: 1, max: 300 })), { maxLength: 12 })
  .map((parts) => concat(parts.map(([bytes, times]) => concat(new Array<Uint8Array>(times).fill(bytes)))));
const anyOptions = fc.record({
  level: fc.integer({ min: 0, max: 9 }),
  memLevel: fc.integer({ min: 1, max: 9 }),
  windowBits: fc.integer({ min: 9, max: 15 }),
  strategy: fc.constantFrom(
    constants.Z_DEFAULT_STRATEGY,
    constants.Z_FILTERED,
    constants.Z_HUFFMAN_ONLY,
    constants.Z_RLE,
    constants.Z_FIXED,
  ),
});

test('property: what zlib packs, with any of its settings, is unpacked', () => {
  fc.assert(
    fc.property(anyData, anyOptions, fc.integer({ min: 1, max: 70_000 }), (data, options, piece) => {
      const found = gunzip(gzipSync(data, options), piece);
      assert.equal(found.fault, undefined);
      assert.equal(Buffer.compare(found.bytes, data), 0);
    }),
    { seed: 20264, numRuns: 400 },
  );
});

test('a megabyte of noise and of zeros go through the window', () => {
  let state = 1;
  const noise = Uint8Array.from({ length: 1_000_000 }, () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return state >>> 24;
  });
  for (const data of [noise, new Uint8Array(3_000_000), concat([noise, noise])]) {
    const found = gunzip(gzipSync(data));
    assert.deepEqual([found.fault, Buffer.compare(found.bytes, data)], [undefined, 0]);
  }
});

test('a gzip stream cut at every byte gives a prefix and a fault', () => {
  const data = Buffer.from(Array.from({ length: 300 }, (_, i) => `line ${i} ${i * i}\n`).join(''));
  for (const level of [0, 6]) {
    const packed = gzipSync(data, { level });
    for (let cut = 1; cut < packed.length; cut++) {
      const { bytes, fault } = gunzip(packed.subarray(0, cut));
      assert.equal(Buffer.compare(bytes, data.subarray(0, bytes.length)), 0, `cut at ${cut}`);
      assert.notEqual(fault, undefined, `cut at ${cut}`);
    }
  }
});

test('members follow each other, and zeros may follow the last', () => {
  const packed = Buffer.concat([gzipSync('one '), gzipSync(''), gzipSync('two'), new Uint8Array(100)]);
  const { bytes, fault } = gunzip(packed);
  assert.deepEqual([Buffer.from(bytes).toString(), fault], ['one two', undefined]);
});

test('every field of the header is passed over', () => {
  const data = Buffer.from('data');
  const flags = 2 + 4 + 8 + 16;
  const head = Buffer.concat([
    Buffer.from([0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 3, 3, 0, 1, 2, 3]),
    Buffer.from('name\0comment\0'),
    Buffer.from([9, 9]),
  ]);
  const { bytes, fault } = gunzip(Buffer.concat([head, deflateRawSync(data), gzipSync(data).subarray(-8)]));
  assert.deepEqual([Buffer.from(bytes).toString(), fault], ['data', undefined]);
});

test('a wrong checksum, another program behind the member, and a reserved block are faults', () => {
  const packed = gzipSync('something');
  const wrong = Buffer.from(packed);
  wrong[wrong.length - 6]! ^= 1;
  assert.match(gunzip(wrong).fault ?? '', /^Cannot unpack all of "test.gz" with gzip after 9 bytes: 9 bytes with checksum 0x/);
  assert.match(gunzip(Buffer.concat([packed, Buffer.from('PK and more')])).fault ?? '', /the header of a deflated member is wanted/);
  assert.match(gunzip(Buffer.concat([packed.subarray(0, 10), Buffer.from([7])])).fault ?? '', /reserved kind 3/);
});

test('property: damaged gzip and zstd streams end, with at most a fault', () => {
  const packed = [gzipSync(Buffer.from('a text that repeats itself, '.repeat(50))), Buffer.from(ZSTD_SAMPLE, 'base64')];
  fc.assert(
    fc.property(
      fc.constantFrom(...packed),
      fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 4 }),
      (stream, changes) => {
        const damaged = Buffer.from(stream);
        for (const [at, value] of changes) damaged[4 + (at % (damaged.length - 4))] = value;
        const { feed } = unpack(new BytesFeed(damaged, 'test'));
        assert.ok(readAll(feed).length < 64 * 1024 * 1024);
      },
    ),
    { seed: 20265, numRuns: 3000 },
  );
});

const unzstd = (bytes: Uint8Array) => {
  const feed = new ZstdFeed(new BytesFeed(bytes, 'test.zst'));
  return { bytes: Buffer.from(readAll(feed)), fault: feed.fault };
};

/** A frame of raw and run-length blocks, as RFC 8878 has them. */
function zstdFrame(windowByte: number, ...blocks: { kind: 0 | 1; size: number; body: number[] }[]): Uint8Array {
  const parts = blocks.map(({ kind, size, body }, i) => {
    const header = (size << 3) | (kind << 1) | (i === blocks.length - 1 ? 1 : 0);
    return Uint8Array.of(header & 255, (header >> 8) & 255, header >> 16, ...body);
  });
  return concat([Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0, windowByte), ...parts]);
}

test('zstd frames, skippable ones between them, are unpacked', () => {
  const packed = Buffer.from(ZSTD_SAMPLE, 'base64');
  const skippable = Buffer.from([0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
  const { bytes, fault } = unzstd(
    Buffer.concat([
      skippable,
      packed,
      skippable,
      packed,
      zstdFrame(0x38, { kind: 0, size: 2, body: [104, 105] }, { kind: 1, size: 3, body: [33] }),
    ]),
  );
  assert.equal(fault, undefined);
  assert.equal(bytes.toString(), `${zstdText}${zstdText}hi!!!`);
});

test('a zstd stream cut at every byte gives a prefix and a fault', () => {
  const packed = Buffer.concat([Buffer.from(ZSTD_SAMPLE, 'base64'), zstdFrame(0x38, { kind: 0, size: 2, body: [104, 105] })]);
  const whole = `${zstdText}hi`;
  const first = Buffer.from(ZSTD_SAMPLE, 'base64').length;
  for (let cut = 1; cut < packed.length; cut++) {
    const { bytes, fault } = unzstd(packed.subarray(0, cut));
    assert.ok(whole.startsWith(bytes.toString()), `cut at ${cut}`);
    assert.equal(fault === undefined, cut === first, `cut at ${cut}`);
  }
});

test('a zstd frame that wants a window of gigabytes, a dictionary, or blocks beyond the format is refused', () => {
  assert.match(
    unzstd(zstdFrame(0xff, { kind: 0, size: 1, body: [1] })).fault ?? '',
    /a window of at most 134217728 bytes is wanted, the frame wants \d+$/,
  );
  assert.match(
    unzstd(zstdFrame(0x38, { kind: 1, size: 2_000_000, body: [1] })).fault ?? '',
    /a block of at most 131072 bytes is wanted, it says 2000000$/,
  );
  assert.match(
    unzstd(Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 1, 0x38, 7, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)).fault ?? '',
    /a frame without a dictionary is wanted/,
  );
  assert.match(
    unzstd(Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0xe0, 255, 255, 255, 255, 255, 255, 255, 127, 0, 0, 0, 0, 0)).fault ?? '',
    /a window of at most/,
  );
});

test('captures are read through gzip, zstd, and both; a cut packed capture gives its frames and a loss', () => {
  const capture = writePcap({
    records: Array.from({ length: 500 }, (_, i) => ({ seconds: i, fraction: 0, data: frame(100 + (i % 50), i) })),
  });
  const plain = readBytes(capture).frames;
  const raw = { kind: 0 as const, size: capture.length, body: [...capture] };
  const zstd = zstdFrame(0x38, raw);
  for (const packed of [gzipSync(capture), zstd, gzipSync(gzipSync(capture)), gzipSync(zstd)]) {
    const { frames, source } = readBytes(packed);
    assert.deepEqual([frames, source.losses], [plain, []]);
  }
  const packed = gzipSync(capture);
  const { frames, source } = readBytes(packed.subarray(0, packed.length - 300));
  assert.ok(frames.length > 0 && frames.length < plain.length);
  assert.deepEqual(frames, plain.slice(0, frames.length));
  assert.deepEqual([source.malformed, source.losses.length], [true, 1]);
  assert.match(source.losses[0]?.detail ?? '', /^Cannot unpack all of "test" with gzip/);
});
