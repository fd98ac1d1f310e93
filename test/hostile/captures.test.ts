/** Captures that are none, that end anywhere, or that lie: what can be read of them is shown, and a sentence says what is wrong. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { ETHERTYPE, ethernet, ipv4, PROTOCOL, sll2, tcp, text, udp } from '../decode/frames.ts';
import { NANO, type PcapRecord, writePcap } from '../source/write-pcap.ts';
import { PcapngWriter } from '../source/write-pcapng.ts';
import { file, lossesOf, place, recordsOf, runHostile, sized } from './spawn.ts';

const totalOf = (ended: Parameters<typeof recordsOf>[0]) => recordsOf(ended).at(-1);

for (const [name, content, words] of [
  ['an empty file', '', /"[^"]*": a pcap or pcapng capture is wanted, it is empty/],
  ['a text', 'This is no capture.\n'.repeat(100), /a pcap or pcapng capture is wanted, it is /],
  ['a picture', Uint8Array.from([0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10, 0, 0, 0, 13]), /a pcap or pcapng capture is wanted, it is /],
  ['JSON', '{"configs": []}', /a pcap or pcapng capture is wanted, it is /],
  ['zero bytes', new Uint8Array(1_000_000), /a pcap or pcapng capture is wanted, it is /],
  ['an empty gzip', gzipSync(''), /a pcap or pcapng capture is wanted, it is empty/],
  ['the first bytes of a gzip', gzipSync('x'.repeat(1000)).subarray(0, 5), /wanted/],
  ['one byte', 'x', /a pcap or pcapng capture is wanted/],
] as const)
  test(`${name} is refused with the wish and the state`, async () => {
    const ended = await runHostile(['replay', file('none.bin', content), '-o', 'json']);
    assert.equal(ended.code, 2, ended.err);
    assert.match(ended.err, words);
    assert.match(ended.err, /^sidetrace: Cannot (read|open) "[^"]*none.bin": /);
    assert.equal(ended.out, '');
  });

test('a file that is not there, an empty folder, and a folder of something else are refused', async () => {
  mkdirSync(place('empty'), { recursive: true });
  mkdirSync(place('other'), { recursive: true });
  writeFileSync(place('other/readme.txt'), 'x');
  for (const [path, words] of [
    ['absent.pcap', /Cannot open "[^"]*absent.pcap": .*ENOENT/],
    ['empty', /a file "bundle.json" is wanted, there is none/],
    ['other', /a file "bundle.json" is wanted, there is none/],
  ] as const) {
    const ended = await runHostile(['replay', place(path)]);
    assert.equal(ended.code, 2, ended.err);
    assert.match(ended.err, words);
  }
});

function udpFrame(i: number, payload = 'x'): Uint8Array {
  const datagram = udp(1024 + (i % 60_000), 9000, text(payload));
  return Uint8Array.from(ethernet(ETHERTYPE.ipv4, ipv4({ src: '10.0.0.1', dst: '10.0.0.2', protocol: PROTOCOL.udp }, datagram)));
}

const records = (count: number): PcapRecord[] =>
  Array.from({ length: count }, (_, i) => ({ seconds: 1_790_000_000 + i, fraction: i, data: udpFrame(i) }));

test('one that cannot be opened does not keep the others from being shown', async () => {
  const good = file('one.pcap', writePcap({ records: records(3) }));
  const ended = await runHostile(['replay', good, place('absent.pcap'), file('text.txt', 'no capture'), '-o', 'json']);
  assert.equal(ended.code, 2);
  assert.equal(totalOf(ended)?.packets, 3);
  assert.ok(lossesOf(ended).some((said) => /absent.pcap/.test(said)));
  assert.ok(lossesOf(ended).some((said) => /text.txt/.test(said)));
});

test('a capture that is cut at any byte gives the frames before the cut, and says where it ends', async () => {
  const whole = writePcap({ records: records(3) });
  const recordLength = (whole.length - 24) / 3;
  const step = sized(23, 1);
  for (let length = 24; length < whole.length; length += step) {
    const ended = await runHostile(['replay', file('cut.pcap', whole.subarray(0, length)), '-o', 'json']);
    const frames = Math.floor((length - 24) / recordLength);
    assert.equal(totalOf(ended)?.packets, frames, `cut at ${length}`);
    assert.equal(ended.code, (length - 24) % recordLength === 0 ? 0 : 2, `cut at ${length}`);
  }
});

test('a gzip that is cut gives the frames before the cut', async () => {
  const packed = gzipSync(writePcap({ records: records(2000) }));
  const ended = await runHostile(['replay', file('cut.pcap.gz', packed.subarray(0, packed.length - 200)), '-o', 'json']);
  assert.equal(ended.code, 2);
  const packets = Number(totalOf(ended)?.packets);
  assert.ok(packets > 1000 && packets < 2000, `${packets} packets`);
});

test('lengths that lie: longer than the file, 4 GiB, shorter than a header', async () => {
  for (const captured of [2 ** 32 - 1, 2 ** 31, 100_000, 0]) {
    const lying = writePcap({
      magic: NANO,
      records: [...records(2), { seconds: 1_790_000_010, fraction: 0, data: udpFrame(9), captured }, ...records(1)],
    });
    const ended = await runHostile(['replay', file('lying.pcap', lying), '-o', 'json']);
    assert.ok(Number(totalOf(ended)?.packets) >= 2, ended.out);
    assert.ok(ended.code === 2 || captured === 0, ended.out);
  }
  const headers = [
    ethernet(ETHERTYPE.ipv4, [0x4f, 0, 0xff, 0xff, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]),
    ethernet(ETHERTYPE.ipv4, [0x40, 0, 0, 1]),
    ethernet(ETHERTYPE.ipv6, [0x60, 0, 0, 0, 0xff, 0xff, 0, 64, ...new Array<number>(32).fill(0)]),
    sll2(ETHERTYPE.ipv4, []),
    [],
  ];
  const broken = writePcap({
    records: headers.map((data, i) => ({ seconds: 1_790_000_000 + i, fraction: 0, data: Uint8Array.from(data), wire: 2 ** 32 - 1 })),
  });
  const ended = await runHostile(['replay', file('headers.pcap', broken), '-o', 'json']);
  assert.equal(totalOf(ended)?.packets, headers.length);
});

test('time stamps that go backwards, stand still and jump to the end of time', async () => {
  const stamps = [1_790_000_000, 0, 2 ** 32 - 1, 1, 1_790_000_000, 1_789_999_999];
  const path = file(
    'time.pcap',
    writePcap({ records: stamps.map((seconds, i) => ({ seconds, fraction: 2 ** 32 - 1, data: udpFrame(i) })) }),
  );
  for (const format of ['json', 'text', 'compact']) {
    const ended = await runHostile(['replay', path, '-o', format]);
    assert.ok(ended.code === 0 || ended.code === 2 || ended.code === 4, ended.err);
  }
  assert.equal(totalOf(await runHostile(['replay', path, '-o', 'json']))?.packets, stamps.length);
});

test('fragments without a first one, and with overlapping offsets, are counted and not kept', async () => {
  const count = sized(20_000, 1_000_000);
  const frames = Array.from({ length: count }, (_, i) => {
    const bytes = ethernet(
      ETHERTYPE.ipv4,
      ipv4(
        { src: '10.0.0.1', dst: '10.0.0.2', protocol: PROTOCOL.udp, id: i & 0xffff, offset: 8 * (1 + (i % 8000)), more: true },
        text('x'.repeat(16)),
      ),
    );
    return { seconds: 1_790_000_000 + Math.floor(i / 100_000), fraction: i % 100_000, data: Uint8Array.from(bytes) };
  });
  const ended = await runHostile(['replay', file('fragments.pcap', writePcap({ records: frames })), '-o', 'json']);
  assert.equal(ended.code, 0, ended.err);
  assert.ok(ended.outLength > 0);
});

test('very many connections and HTTP requests that never end are bounded', async () => {
  const count = sized(5_000, 30_000);
  const frames: PcapRecord[] = [];
  for (let i = 0; i < count; i++) {
    const segment = tcp(
      { src: 1024 + (i % 60_000), dst: 80 + Math.floor(i / 60_000), flags: 0x18, seq: 1, ack: 1 },
      text(`GET /${'a'.repeat(200)} HTTP/1.1\r\nHost: ${'b'.repeat(200)}\r\nX: `),
    );
    frames.push({
      seconds: 1_790_000_000,
      fraction: i % 1_000_000,
      data: Uint8Array.from(ethernet(ETHERTYPE.ipv4, ipv4({ src: '10.0.0.1', dst: '10.0.0.2', protocol: PROTOCOL.tcp }, segment))),
    });
  }
  const ended = await runHostile([
    'replay',
    file('heads.pcap', writePcap({ records: frames })),
    '--ip-rule',
    file('rules.txt', '0: from all lookup local\n'),
    '-o',
    'json',
  ]);
  assert.ok(ended.code === 0 || ended.code === 4, ended.out.slice(-500));
});

test('a capture of very many interfaces is read', async () => {
  const writer = new PcapngWriter().section();
  const count = sized(4_000, 65_536);
  for (let i = 0; i < count; i++) writer.interface(1, 0, writer.option(2, Uint8Array.from(text(`if${i}`))));
  for (let i = 0; i < count; i += 1000) writer.packet(i, 1_790_000_000_000_000n + BigInt(i), udpFrame(i));
  const ended = await runHostile(['replay', file('many.pcapng', writer.bytes()), '-o', 'json']);
  assert.equal(ended.code, 0, ended.err);
  assert.equal(totalOf(ended)?.packets, Math.ceil(count / 1000));
});

test('a small file that unpacks to very much is read in bounded memory', async () => {
  const zeros = gzipSync(gzipSync(Buffer.concat([writePcap({ records: records(1) }), new Uint8Array(sized(64, 1024) * 1024 * 1024)])));
  const ended = await runHostile(['replay', file('bomb.pcap.gz', zeros), '-o', 'json']);
  assert.ok(ended.code === 2 || ended.code === 0, ended.err);
});

test('random bytes after a good header are read to their end', async () => {
  const noise = Uint8Array.from({ length: sized(300_000, 20_000_000) }, (_, i) => (Math.imul(i ^ 0x9e3779b9, 2_654_435_761) >>> 11) & 255);
  for (const head of [
    writePcap({ records: records(1) }),
    new PcapngWriter().section().interface().packet(0, 1_790_000_000_000_000n, udpFrame(1)).bytes(),
  ]) {
    const ended = await runHostile(['replay', file('noise.pcap', Buffer.concat([head, noise])), '-o', 'json']);
    assert.equal(ended.code, 2, ended.err);
    assert.ok(Number(totalOf(ended)?.packets) >= 1);
  }
});

for (const format of ['text', 'compact', 'dict', 'table', 'json', 'hubble', 'csv', 'msgpack', 'tree', 'pcapng'])
  test(`standard input that is cut is shown as ${format}, with exit code 2`, async () => {
    const whole = writePcap({ records: records(5) });
    const ended = await runHostile(['replay', '-', '-o', format], whole.subarray(0, whole.length - 3));
    assert.equal(ended.code, 2, ended.err);
    assert.ok(ended.outLength > 0);
  });

test('a capture recorded by another program, cut in the middle, is shown', async () => {
  const bytes = readFileSync('captures/bookinfo/node-a.tar.gz');
  for (let i = 1; i < 8; i++) {
    const ended = await runHostile(['replay', file('cut.tar.gz', bytes.subarray(0, Math.floor((bytes.length * i) / 8))), '-o', 'json']);
    assert.equal(ended.code, 2, ended.err);
  }
});
