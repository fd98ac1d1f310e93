import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type DnsMessage, decodeDns, decodeDnsOverTcp } from '../../src/decode/dns.ts';
import { type Bytes, hex, text, u16, u32, zeros } from './frames.ts';

const name = (...labels: string[]): Bytes => [...labels.flatMap((label) => [label.length, ...text(label)]), 0];
const TYPE = { A: 1, NS: 2, CNAME: 5, SOA: 6, PTR: 12, MX: 15, TXT: 16, AAAA: 28, SRV: 33, OPT: 41, HTTPS: 65 };
const QUESTION = 0xc00c;

interface Message {
  id?: number;
  flags?: number;
  counts?: readonly [number, number, number, number];
}
const message = (header: Message, ...rest: Bytes[]): Bytes => [
  ...u16(header.id ?? 7),
  ...u16(header.flags ?? 0x8180),
  ...(header.counts ?? [1, rest.length - 1, 0, 0]).flatMap(u16),
  ...rest.flat(),
];
const question = (owner: Bytes, type: number): Bytes => [...owner, ...u16(type), ...u16(1)];
const record = (type: number, data: Bytes, owner: Bytes = u16(QUESTION), recordClass = 1): Bytes => [
  ...owner,
  ...u16(type),
  ...u16(recordClass),
  ...u32(300),
  ...u16(data.length),
  ...data,
];
const reviews = name('reviews', 'default', 'svc', 'cluster', 'local');

const decode = (bytes: Bytes, end = bytes.length): DnsMessage | undefined =>
  decodeDns(Uint8Array.from([9, 9, ...bytes, 9, 9]), 2, 2 + end, 2 + bytes.length);

test('decodeDns() reads a query', () => {
  assert.deepEqual(decode(message({ id: 0xbeef, flags: 0x0100 }, question(reviews, TYPE.AAAA))), {
    id: 0xbeef,
    response: false,
    opcode: 0,
    truncated: false,
    answerCount: 0,
    question: 'reviews.default.svc.cluster.local',
    kind: 'AAAA',
    answers: [],
    complete: true,
  });
});

test('decodeDns() reads a response with compressed names', () => {
  const bytes = message(
    { flags: 0x8580 },
    question(reviews, TYPE.A),
    record(TYPE.CNAME, [2, ...text('v2'), ...u16(QUESTION)]),
    record(TYPE.A, [10, 96, 0, 10]),
  );
  assert.deepEqual(decode(bytes), {
    id: 7,
    response: true,
    opcode: 0,
    truncated: false,
    answerCount: 2,
    question: 'reviews.default.svc.cluster.local',
    kind: 'A',
    rcode: 'NOERROR',
    answers: ['v2.reviews.default.svc.cluster.local', '10.96.0.10'],
    complete: true,
  });
});

const answerTable: readonly [name: string, type: number, data: Bytes, expected: string][] = [
  ['A', TYPE.A, [192, 0, 2, 255], '192.0.2.255'],
  ['A of a wrong length', TYPE.A, [192, 0, 2], '\\# 3 c00002'],
  ['AAAA', TYPE.AAAA, hex('20010db8000000000000000000000001'), '2001:db8::1'],
  ['NS', TYPE.NS, u16(QUESTION), 'reviews.default.svc.cluster.local'],
  ['PTR', TYPE.PTR, name('ns', 'example'), 'ns.example'],
  ['the root', TYPE.NS, [0], '.'],
  ['MX', TYPE.MX, [...u16(10), ...name('mail', 'example')], '10 mail.example'],
  ['SRV', TYPE.SRV, [...u16(0), ...u16(100), ...u16(9080), ...name('a', 'b')], '0 100 9080 a.b'],
  ['TXT', TYPE.TXT, [3, ...text('a b'), 4, ...text('"\\\x1b\xff')], '"a b" "\\"\\\\\\027\\255"'],
  ['TXT beyond its data', TYPE.TXT, [9, ...text('ab')], '\\# 3 096162'],
  ['SOA', TYPE.SOA, [...name('ns'), ...name('me', 'ns'), ...[1, 2, 3, 4, 0xffffffff].flatMap(u32)], 'ns me.ns 1 2 3 4 4294967295'],
  ['HTTPS', TYPE.HTTPS, [...u16(1), 0], '1 .'],
  ['HTTPS with parameters', TYPE.HTTPS, [...u16(1), 0, ...u16(1), ...u16(3), 2, ...text('h2')], '1 . \\# 7 00010003026832'],
  ['an unknown type', 65280, [1, 2, 255], '\\# 3 0102ff'],
  ['an unknown type without data', 65280, [], '\\# 0'],
  ['a name that points forwards', TYPE.CNAME, u16(0xc0ff), '\\# 2 c0ff'],
  ['a name with bytes behind it', TYPE.CNAME, [...name('a'), 7], '\\# 4 01610007'],
  [
    'a long TXT',
    TYPE.TXT,
    [255, ...text('x'.repeat(255)), 255, ...text('y'.repeat(255)), 200, ...zeros(200)],
    `"${'x'.repeat(255)}" "${'y'.repeat(253)}…`,
  ],
];
for (const [label, type, data, expected] of answerTable)
  test(`decodeDns() prints ${label}`, () => {
    assert.deepEqual(decode(message({}, question(reviews, type), record(type, data)))?.answers, [expected]);
  });

const nameTable: readonly [label: string, bytes: Bytes, expected: string | undefined][] = [
  ['the root', [0], '.'],
  ['a dot, a backslash and a space within a label', name('a.b', 'c\\d', 'e f'), 'a\\.b.c\\\\d.e\\032f'],
  ['control characters and bytes above ASCII', name('\x00\n\x1b[31m', '\x7f\x80\xff'), '\\000\\010\\027[31m.\\127\\128\\255'],
  ['quotes and other printable characters as they are', name('"(;@$'), '"(;@$'],
  ['a case that is mixed', name('WwW', 'ExAmPlE'), 'WwW.ExAmPlE'],
  ['a label of 63 bytes', name('x'.repeat(63)), 'x'.repeat(63)],
  ['a name of 255 bytes', name(...new Array(127).fill('x')), new Array(127).fill('x').join('.')],
  ['no name of 256 bytes', name(...new Array(126).fill('x'), 'xx'), undefined],
  ['no label of 64 bytes', [0x40, ...text('x'.repeat(64)), 0], undefined],
  ['no label of an extended kind', [0x80, 0], undefined],
  ['no pointer to itself', u16(0xc00c), undefined],
  ['no pointer to what follows', [...u16(0xc0ff), ...zeros(300)], undefined],
  ['no pointer into the header', u16(0xc000), undefined],
  ['no pointer back to a label that leads to it again', [1, ...text('a'), ...u16(0xc00c)], undefined],
  ['no name that never ends', new Array(600).fill(text('\x01x')).flat(), undefined],
];
for (const [label, bytes, expected] of nameTable)
  test(`decodeDns() reads ${label}`, () => {
    assert.equal(decode(message({ flags: 0x0100 }, question(bytes, TYPE.A)))?.question, expected);
  });

test('decodeDns() names response codes', () => {
  const rcode = (code: number) => decode(message({ flags: 0x8180 | code }, question(reviews, TYPE.A)))?.rcode;
  assert.deepEqual([0, 1, 2, 3, 4, 5, 9, 11, 15].map(rcode), [
    'NOERROR',
    'FORMERR',
    'SERVFAIL',
    'NXDOMAIN',
    'NOTIMP',
    'REFUSED',
    'NOTAUTH',
    'DSOTYPENI',
    'RCODE15',
  ]);
});

test('decodeDns() reads extended response codes from the OPT record', () => {
  const opt = (upper: number): Bytes => [0, ...u16(TYPE.OPT), ...u16(1232), upper, 0, 0, 0, ...u16(0)];
  const rcode = (low: number, upper: number) =>
    decode(message({ flags: 0x8180 | low, counts: [1, 0, 0, 1] }, question(reviews, TYPE.A), opt(upper)))?.rcode;
  assert.deepEqual(
    [rcode(0, 0), rcode(0, 1), rcode(7, 1), rcode(3, 0), rcode(5, 255)],
    ['NOERROR', 'BADVERS', 'BADCOOKIE', 'NXDOMAIN', 'RCODE4085'],
  );
});

test('decodeDns() does not name a response code that a cut OPT record may change', () => {
  const bytes = message({ flags: 0x8180, counts: [1, 0, 0, 1] }, question(reviews, TYPE.A), [
    0,
    ...u16(TYPE.OPT),
    ...u16(1232),
    1,
    0,
    0,
    0,
    0,
    0,
  ]);
  assert.equal(decode(bytes)?.rcode, 'BADVERS');
  assert.equal(decode(bytes, bytes.length - 8)?.rcode, undefined);
  const answered = message({ counts: [1, 1, 0, 1] }, question(reviews, TYPE.A), record(TYPE.A, [10, 0, 0, 1]), [0, ...u16(TYPE.OPT)]);
  assert.equal(decode(answered)?.rcode, 'NOERROR');
});

test('decodeDns() keeps 16 answers and counts them all', () => {
  const bytes = message({}, question(reviews, TYPE.A), ...new Array(40).fill(record(TYPE.A, [10, 0, 0, 1])));
  const decoded = decode(bytes);
  assert.deepEqual([decoded?.answers.length, decoded?.answerCount, decoded?.complete], [16, 40, true]);
});

test('decodeDns() says that the sender truncated a message', () => {
  assert.equal(decode(message({ flags: 0x8380 }, question(reviews, TYPE.A)))?.truncated, true);
});

test('decodeDns() reads a message without a question', () => {
  const decoded = decode(message({ counts: [0, 0, 0, 0] }));
  assert.deepEqual([decoded?.rcode, decoded?.question, decoded?.complete], ['NOERROR', undefined, true]);
});

test('decodeDns() keeps what precedes a cut, at every length', () => {
  const bytes = message({ flags: 0x8583 }, question(reviews, TYPE.A), record(TYPE.A, [10, 0, 0, 1]), record(TYPE.A, [10, 0, 0, 2]));
  const whole = decode(bytes)!;
  for (let length = 0; length < bytes.length; length++) {
    const cut = decode(bytes, length);
    if (length < 12) assert.equal(cut, undefined);
    else {
      assert.equal(cut!.complete, false);
      assert.equal(cut!.rcode, 'NXDOMAIN');
      assert.equal(cut!.question, length < 12 + reviews.length + 4 ? undefined : whole.question);
      assert.deepEqual(cut!.answers, whole.answers.slice(0, cut!.answers.length));
    }
  }
});

test('decodeDns() takes a question that ends outside its datagram for no DNS at all', () => {
  const bytes = message({ flags: 0x0100 }, question(reviews, TYPE.A));
  assert.equal(decodeDns(Uint8Array.from(bytes.slice(0, -6)), 0, bytes.length - 6), undefined);
});

test('decodeDns() keeps the answers before a broken record', () => {
  const broken: Bytes = [...u16(QUESTION), ...u16(TYPE.A), ...u16(1), ...u32(1), ...u16(999), 1, 2];
  const decoded = decode(message({ counts: [1, 2, 0, 0] }, question(reviews, TYPE.A), record(TYPE.A, [10, 0, 0, 1]), broken));
  assert.deepEqual([decoded?.answers, decoded?.complete], [['10.0.0.1'], false]);
});

test('decodeDns() prints addresses of the Internet class only, the bit of multicast DNS aside', () => {
  const chaos = message(
    {},
    question(reviews, TYPE.A),
    record(TYPE.A, [10, 0, 0, 1], u16(QUESTION), 3),
    record(TYPE.A, [10, 0, 0, 1], u16(QUESTION), 0x8001),
  );
  assert.deepEqual(decode(chaos)?.answers, ['\\# 4 0a000001', '10.0.0.1']);
});

test('decodeDns() does not take the prerequisites of an update for answers', () => {
  const decoded = decode(message({ flags: 0x2800 }, question(reviews, TYPE.SOA), record(TYPE.A, [10, 0, 0, 1])));
  assert.deepEqual([decoded?.opcode, decoded?.answers, decoded?.complete], [5, [], true]);
});

test('decodeDnsOverTcp() reads one message behind its length', () => {
  const first = message({ id: 1 }, question(reviews, TYPE.A), record(TYPE.A, [10, 0, 0, 1]));
  const stream = Uint8Array.from([...u16(first.length), ...first, ...u16(12), ...zeros(12)]);
  assert.deepEqual(decodeDnsOverTcp(stream, 0, stream.length)?.answers, ['10.0.0.1']);
  const cut = decodeDnsOverTcp(stream, 0, 50);
  assert.deepEqual([cut?.id, cut?.complete], [1, false]);
  assert.equal(decodeDnsOverTcp(stream, 0, 1), undefined);
  assert.equal(decodeDnsOverTcp(Uint8Array.from([0, 3, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]), 0, 16), undefined);
});

test('decodeDns() is quick with a message made to be slow', () => {
  // 30 pointers that each lead to the one before, owned by a thousand records.
  const chain: Bytes = [0, ...new Array(30).fill(0).flatMap((_, i) => u16(0xc000 | (i === 0 ? 16 : 15 + i * 2)))];
  const records = new Array(3000).fill(record(TYPE.CNAME, u16(0xc000 | 75), u16(0xc000 | 75))).flat();
  const bytes = Uint8Array.from([...message({ counts: [1, 3000, 0, 0] }, [...u16(0xc00c)], chain), ...records]);
  const begun = process.hrtime.bigint();
  for (let i = 0; i < 100; i++) decodeDns(bytes, 0, bytes.length);
  const ms = Number(process.hrtime.bigint() - begun) / 1e6;
  assert.ok(ms < 1000, `100 messages took ${ms} ms`);
});
