import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CaptureFileError } from '../../src/source/capture-file-error.ts';
import { MergedSource } from '../../src/source/merge.ts';
import type { FrameSource } from '../../src/source/source.ts';
import { drain, openBytes, readBytes } from './drain.ts';
import { frame } from './write-pcap.ts';
import { PcapngWriter, utf8 } from './write-pcapng.ts';

const SECOND = 1_700_000_000n;
const MICROS = SECOND * 1_000_000n + 123_456n;
const hex = (data: Uint8Array) => Buffer.from(data).toString('hex');
const IF_TSRESOL = 9;
const IF_TSOFFSET = 14;
const OPT_COMMENT = 1;

for (const little of [true, false])
  test(`a ${little ? 'little' : 'big'}-endian file with every kind of packet block is read`, () => {
    const w = new PcapngWriter(little)
      .section()
      .interface(1, 96, new PcapngWriter(little).option(2, utf8('eth0')), new PcapngWriter(little).option(11, utf8('\0tcp port 80')));
    w.packet(0, MICROS, frame(61), 1514)
      .simplePacket(frame(30))
      .obsoletePacket(0, 0xffff, MICROS + 1n, frame(7))
      .simplePacket(frame(96), 2000);
    const { frames, source } = readBytes(w.bytes());
    assert.deepEqual(source.interfaces, [{ linkType: 1, snapLength: 96, name: 'eth0', filter: 'tcp port 80' }]);
    assert.deepEqual(
      frames.map(({ ns, wire, data }) => [ns, wire, data]),
      [
        [MICROS * 1000n, 1514, hex(frame(61))],
        [MICROS * 1000n, 30, hex(frame(30))],
        [MICROS * 1000n + 1000n, 7, hex(frame(7))],
        [MICROS * 1000n + 1000n, 2000, hex(frame(96))],
      ],
    );
    assert.deepEqual(source.losses, []);
  });

test('sections of either byte order follow each other, each with its own interfaces', () => {
  const w = new PcapngWriter(true).section().interface(1).interface(113).packet(1, MICROS, frame(10));
  w.section(false).interface(276).packet(0, MICROS, frame(20));
  w.section(true).interface(101).packet(0, MICROS, frame(30));
  const { frames, source } = readBytes(w.bytes());
  assert.deepEqual(
    source.interfaces.map((i) => i.linkType),
    [1, 113, 276, 101],
  );
  assert.deepEqual(
    frames.map((f) => f.interfaceId),
    [1, 2, 3],
  );
  assert.deepEqual(source.losses, []);
});

// if_tsresol, units, offset in seconds, expected nanoseconds of the epoch
const clocks: [string, number | undefined, bigint, bigint, bigint][] = [
  ['microseconds by default', undefined, MICROS, 0n, MICROS * 1000n],
  ['10^-6', 6, MICROS, 0n, MICROS * 1000n],
  ['10^-9', 9, SECOND * 1_000_000_000n + 123_456_789n, 0n, SECOND * 1_000_000_000n + 123_456_789n],
  ['10^-3', 3, SECOND * 1000n + 999n, 0n, (SECOND * 1000n + 999n) * 1_000_000n],
  ['10^0', 0, SECOND, 0n, SECOND * 1_000_000_000n],
  [
    '10^-12, the rest of a nanosecond dropped',
    12,
    1000n * 1_000_000_000_000n + 123_456_789_999n,
    0n,
    1000n * 1_000_000_000n + 123_456_789n,
  ],
  ['2^-10', 0x8a, SECOND * 1024n + 512n, 0n, SECOND * 1_000_000_000n + 500_000_000n],
  ['2^-20', 0x94, SECOND * 2n ** 20n + 1n, 0n, SECOND * 1_000_000_000n + 953n],
  ['2^-30', 0x9e, SECOND * 2n ** 30n + 2n ** 29n, 0n, SECOND * 1_000_000_000n + 500_000_000n],
  ['an offset of the years before', 9, 5_000_000_001n, SECOND, (SECOND + 5n) * 1_000_000_000n + 1n],
  ['a negative offset', 6, MICROS, -1000n, (MICROS - 1_000_000_000n) * 1000n],
  ['a stamp beyond 2^53 units', 9, 2n ** 63n + 7n, 0n, 2n ** 63n + 7n],
];
for (const little of [true, false])
  for (const [name, resolution, units, offset, expected] of clocks)
    test(`a stamp in units of ${name} is exact (${little ? 'little' : 'big'}-endian)`, () => {
      const w = new PcapngWriter(little).section();
      const options = [
        ...(resolution === undefined ? [] : [w.option(IF_TSRESOL, Uint8Array.of(resolution))]),
        ...(offset === 0n ? [] : [w.option(IF_TSOFFSET, w.u64(offset))]),
      ];
      w.interface(1, 0, ...options).packet(0, units, frame(4));
      assert.equal(readBytes(w.bytes()).frames[0]?.ns, expected);
    });

test('property: any two stamps of any two resolutions keep their distance', () => {
  const resolution = fc.constantFrom(3, 6, 7, 9, 0x8a, 0x89, 0x81);
  const unitsOf = (byte: number) => (byte & 0x80 ? 2n ** BigInt(byte & 0x7f) : 10n ** BigInt(byte));
  const stamp = fc.tuple(resolution, fc.bigInt(SECOND, SECOND + 86_400n), fc.bigInt(0n, 1_000_000_000n));
  fc.assert(
    fc.property(fc.array(stamp, { minLength: 1, maxLength: 8 }), (stamps) => {
      const w = new PcapngWriter().section();
      for (const [byte] of stamps) w.interface(1, 0, w.option(IF_TSRESOL, Uint8Array.of(byte)));
      const expected = stamps.map(([byte, seconds, fraction], i) => {
        const units = seconds * unitsOf(byte) + (fraction % unitsOf(byte));
        w.packet(i, units, frame(1));
        return (units * 1_000_000_000n) / unitsOf(byte);
      });
      assert.deepEqual(
        readBytes(w.bytes()).frames.map((f) => f.ns),
        expected,
      );
    }),
    { seed: 20263, numRuns: 300 },
  );
});

test('a packet block tells its direction, what was dropped before it, and its comments where they are asked for', () => {
  const w = new PcapngWriter().section().interface();
  w.packet(
    0,
    MICROS,
    frame(5),
    5,
    w.option(2, w.words(1)),
    w.option(OPT_COMMENT, utf8('first')),
    w.option(OPT_COMMENT, utf8('second')),
    w.option(0, new Uint8Array(0)),
  );
  w.packet(0, MICROS, frame(5), 5, w.option(2, w.words(2)), w.option(4, w.u64(42n)));
  w.packet(0, MICROS, frame(5));
  const { frames, source } = readBytes(w.bytes(), { keepComments: true });
  assert.deepEqual(
    frames.map((f) => [f.direction, f.comments]),
    [
      [1, ['first', 'second']],
      [2, undefined],
      [0, undefined],
    ],
  );
  assert.deepEqual(
    source.losses.map((l) => [l.source, l.count, l.exact]),
    [['kernel', 42, true]],
  );
  assert.equal(source.malformed, false);
  assert.equal(readBytes(w.bytes()).frames[0]?.comments, undefined);
});

test('interface statistics become losses, counted once where they come repeatedly', () => {
  const w = new PcapngWriter().section().interface(1, 0, new PcapngWriter().option(2, utf8('eth0')));
  const statistics = (ifdrop: bigint, osdrop: bigint) =>
    w.block(5, w.words(0, Number(MICROS >> 32n), Number(MICROS & 0xffffffffn)), w.option(5, w.u64(ifdrop)), w.option(7, w.u64(osdrop)));
  w.packet(0, MICROS, frame(5));
  statistics(3n, 0n);
  statistics(3n, 10n);
  statistics(5n, 10n);
  const { source } = readBytes(w.bytes());
  assert.deepEqual(
    source.losses.map((l) => [l.source, l.count, l.atNs]),
    [
      ['interface', 3, 123_456_000],
      ['kernel', 10, 123_456_000],
      ['interface', 2, 123_456_000],
    ],
  );
  assert.match(source.losses[0]?.detail ?? '', /"eth0"/);
});

test('names of addresses are told; secrets, journals, custom and unknown blocks are passed over', () => {
  const w = new PcapngWriter(false).section().interface();
  const record = (type: number, ...bytes: Uint8Array[]) => w.option(type, Buffer.concat(bytes));
  w.block(
    4,
    record(1, Uint8Array.of(10, 0, 0, 1), utf8('client\0client.shop\0')),
    record(2, new Uint8Array(15), Uint8Array.of(1), utf8('localhost\0')),
    record(0),
  );
  w.block(10, w.words(0x544c534b, 4), utf8('KEY!'))
    .block(0x00000bad, w.words(32473), frame(4))
    .block(0x40000bad, w.words(1))
    .block(9, frame(8))
    .block(0x7777, frame(400));
  w.packet(0, MICROS, frame(9));
  const { frames, source } = readBytes(w.bytes(), { blockLength: 64 });
  assert.equal(frames.length, 1);
  assert.deepEqual(
    source.names,
    new Map([
      ['10.0.0.1', ['client', 'client.shop']],
      ['::1', ['localhost']],
    ]),
  );
  assert.deepEqual(source.losses, []);
});

test('a description longer than is looked at is passed over without being held', () => {
  const w = new PcapngWriter()
    .section()
    .interface()
    .block(10, new Uint8Array(8 * 1024 * 1024))
    .packet(0, MICROS, frame(9));
  const bytes = w.bytes();
  const before = process.memoryUsage().arrayBuffers;
  const { frames, source } = readBytes(bytes);
  assert.equal(frames.length, 1);
  assert.deepEqual(source.losses, []);
  assert.ok(process.memoryUsage().arrayBuffers - before < 6 * 1024 * 1024);
});

test('65,536 interfaces are read in a moment', () => {
  const w = new PcapngWriter().section();
  for (let i = 0; i < 65_536; i++) w.interface(1, 0);
  for (let i = 0; i < 65_536; i++) w.packet(65_535 - i, MICROS + BigInt(i), frame(4));
  const bytes = w.bytes();
  const begun = process.cpuUsage();
  const { frames, source } = readBytes(bytes);
  const cpuMs = process.cpuUsage(begun).user / 1000;
  assert.equal(source.interfaces.length, 65_536);
  assert.equal(frames.at(-1)?.interfaceId, 0);
  assert.equal(frames.at(-1)?.ns, (MICROS + 65_535n) * 1000n);
  assert.ok(cpuMs < 3000, `${cpuMs} ms`);
});

test('one interface too many ends the source', () => {
  const one = new PcapngWriter().interface().bytes();
  const w = new PcapngWriter().section();
  const many = new Uint8Array(one.length * 262_145);
  for (let i = 0; i < 262_145; i++) many.set(one, i * one.length);
  const { source } = readBytes(w.raw(many).bytes());
  assert.equal(source.interfaces.length, 262_144);
  assert.match(source.losses[0]?.detail ?? '', /at most 262144 interfaces are wanted/);
});

const good = () => new PcapngWriter().section().interface().packet(0, MICROS, frame(5));
const lies: [string, Uint8Array, RegExp][] = [
  [
    'a block length that is too short',
    good().raw(new PcapngWriter().words(6, 8)).raw(new Uint8Array(24)).bytes(),
    /at byte 88: a block length of 32 or more, divisible by 4, is wanted, it says 8$/,
  ],
  [
    'a block length that is not divisible by 4',
    good().raw(new PcapngWriter().words(6, 33)).raw(new Uint8Array(64)).bytes(),
    /at byte 88: .* it says 33$/,
  ],
  [
    'a packet block of 4 GiB',
    good().raw(new PcapngWriter().words(6, 0xfffffffc)).raw(new Uint8Array(64)).bytes(),
    /a packet block of at most \d+ bytes is wanted, it says 4294967292$/,
  ],
  [
    'two lengths that differ',
    good()
      .raw(new PcapngWriter().words(6, 32, 0, 0, 0, 0, 0, 36))
      .bytes(),
    /the same block length before and after is wanted, it says 32 and 36$/,
  ],
  [
    'a frame longer than its block',
    good()
      .raw(new PcapngWriter().words(6, 32, 0, 0, 0, 4, 4, 32))
      .bytes(),
    /a frame that fits in its block of 32 bytes is wanted, it says 4$/,
  ],
  [
    'an interface that nobody described',
    good().packet(1, MICROS, frame(5)).bytes(),
    /one of the 1 interfaces of the section is wanted, it says 1$/,
  ],
  [
    'a simple packet without an interface',
    good().section().simplePacket(frame(5)).bytes(),
    /an interface for the simple packet is wanted, the section has described none$/,
  ],
  ['a section of another version', good().section(true, [2, 0]).bytes(), /version 1 is wanted, the section is of version 2\.0$/],
  [
    'a section without byte order',
    good()
      .raw(new PcapngWriter().words(0x0a0d0d0a, 28, 0x11111111, 1, 0, 0, 28))
      .bytes(),
    /the byte-order magic 0x1a2b3c4d is wanted, it says 0x11111111$/,
  ],
];
for (const [name, bytes, message] of lies)
  test(`${name} ends the source after what precedes it`, () => {
    const { frames, source } = readBytes(bytes);
    assert.equal(frames.length, 1);
    assert.equal(source.malformed, true);
    assert.equal(source.losses.length, 1);
    assert.match(source.losses[0]?.detail ?? '', message);
  });

test('a file that begins with no whole section header is refused', () => {
  const bytes = good().bytes();
  for (const cut of [4, 11, 12, 27]) assert.throws(() => readBytes(bytes.subarray(0, cut)), CaptureFileError);
  assert.throws(() => readBytes(new PcapngWriter().section(true, [7, 1]).bytes()), /version 1 is wanted, the section is of version 7\.1/);
});

test('property: a file cut anywhere gives a prefix of its frames, whatever the size of the block', () => {
  const w = new PcapngWriter(false).section().interface();
  const kinds = [
    () => w.packet(0, MICROS, frame(33)),
    () => w.simplePacket(frame(50)),
    () => w.obsoletePacket(0, 0, MICROS, frame(3)),
    () => w.interface(113, 0, w.option(2, utf8('lo'))),
    () => w.packet(0, MICROS, frame(8), 8, w.option(OPT_COMMENT, utf8('a comment'))),
    () => w.block(4, w.option(1, Uint8Array.of(1, 2, 3, 4, 97, 0))),
    () => w.section(),
    () => w.interface(),
  ];
  for (let i = 0; i < 48; i++) kinds[i % kinds.length]!();
  const bytes = w.bytes();
  const all = readBytes(bytes).frames;
  assert.equal(all.length, 24);
  let complete = 0;
  for (let cut = 28; cut < bytes.length; cut++) {
    const { frames, source } = readBytes(bytes.subarray(0, cut), { blockLength: 64 + (cut % 300) });
    assert.deepEqual(frames, all.slice(0, frames.length));
    assert.equal(source.malformed, source.losses.length > 0);
    if (!source.malformed) complete++;
  }
  assert.equal(complete, 49);
});

test('interfaces that are described before the first packet are known before it is read, also of merged captures', () => {
  const bytes = new PcapngWriter()
    .section()
    .interface(276)
    .interface(113)
    .packet(0, MICROS, frame(4))
    .interface(1)
    .packet(2, MICROS, frame(4))
    .bytes();
  const linkTypes = (source: FrameSource) => source.interfaces.map((i) => i.linkType);
  const source = openBytes(bytes);
  assert.deepEqual(linkTypes(source), [276, 113]);
  const merged = new MergedSource([openBytes(bytes), openBytes(bytes)]);
  assert.deepEqual(linkTypes(merged), [276, 113, 276, 113]);
  drain(merged);
  assert.deepEqual(linkTypes(merged), [276, 113, 276, 113, 1, 1]);
  assert.deepEqual(merged.inputOf, [0, 0, 1, 1, 0, 1]);
});
