import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { HpackDecoder } from '../../src/decode/hpack.ts';
import { staticTable } from '../../src/decode/hpack-tables.ts';
import { decodeHuffman } from '../../src/decode/huffman.ts';

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex');

function decode(decoder: HpackDecoder, text: string, cut = false): { complete: boolean; lines: string[] } {
  const bytes = hex(text);
  const { fields, complete } = decoder.decode(bytes, 0, bytes.length, cut);
  return { complete, lines: fields.map(({ name, value }) => `${name}: ${value}`) };
}

/** RFC 7541 appendix C: the blocks of one connection, in order, and their fields. C.5 and C.6 begin with the size update to 256 that their SETTINGS ask for. */
const get = [':method: GET', ':scheme: http', ':path: /', ':authority: www.example.com'];
const response302 = [':status: 302', 'cache-control: private', 'date: Mon, 21 Oct 2013 20:13:21 GMT', 'location: https://www.example.com'];
const response200 = [
  ':status: 200',
  'cache-control: private',
  'date: Mon, 21 Oct 2013 20:13:22 GMT',
  'location: https://www.example.com',
  'content-encoding: gzip',
  'set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1',
];
const examples: Record<string, [block: string, lines: string[]][]> = {
  'C.2.1': [['400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572', ['custom-key: custom-header']]],
  'C.2.2': [['040c 2f73 616d 706c 652f 7061 7468', [':path: /sample/path']]],
  'C.2.3': [['1008 7061 7373 776f 7264 0673 6563 7265 74', ['password: secret']]],
  'C.2.4': [['82', [':method: GET']]],
  'C.3': [
    ['8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d', get],
    ['8286 84be 5808 6e6f 2d63 6163 6865', [...get, 'cache-control: no-cache']],
    [
      '8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65',
      [':method: GET', ':scheme: https', ':path: /index.html', ':authority: www.example.com', 'custom-key: custom-value'],
    ],
  ],
  'C.4': [
    ['8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff', get],
    ['8286 84be 5886 a8eb 1064 9cbf', [...get, 'cache-control: no-cache']],
    [
      '8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf',
      [':method: GET', ':scheme: https', ':path: /index.html', ':authority: www.example.com', 'custom-key: custom-value'],
    ],
  ],
  'C.5': [
    [
      '3fe101 4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
      response302,
    ],
    ['4803 3330 37c1 c0bf', [':status: 307', ...response302.slice(1)]],
    [
      '88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31',
      response200,
    ],
  ],
  'C.6': [
    [
      '3fe101 4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3',
      response302,
    ],
    ['4883 640e ffc1 c0bf', [':status: 307', ...response302.slice(1)]],
    [
      '88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07',
      response200,
    ],
  ],
};

for (const [name, blocks] of Object.entries(examples))
  test(`HpackDecoder agrees with RFC 7541 ${name}`, () => {
    const decoder = new HpackDecoder();
    for (const [block, lines] of blocks) assert.deepEqual(decode(decoder, block), { complete: true, lines });
    assert.equal(decoder.certain, true);
  });

test('a decoder that joins late knows static and new entries, and nothing of older ones', () => {
  const decoder = new HpackDecoder(true);
  // be is the newest entry, and nobody saw it
  assert.deepEqual(decode(decoder, '8286 84be 5808 6e6f 2d63 6163 6865'), {
    complete: false,
    lines: [...get.slice(0, 3), 'cache-control: no-cache'],
  });
  // now be is cache-control, and bf what be was before
  assert.deepEqual(decode(decoder, '82be'), { complete: true, lines: [':method: GET', 'cache-control: no-cache'] });
  assert.deepEqual(decode(decoder, '82bf'), { complete: false, lines: [':method: GET'] });
});

test('an entry with an unknown name keeps its place in the table', () => {
  const decoder = new HpackDecoder(true);
  assert.deepEqual(decode(decoder, '7e 01 61'), { complete: false, lines: [] });
  assert.deepEqual(decode(decoder, '40 01 62 01 63'), { complete: true, lines: ['b: c'] });
  assert.deepEqual(decode(decoder, 'be'), { complete: true, lines: ['b: c'] });
  assert.deepEqual(decode(decoder, 'bf'), { complete: false, lines: [] });
});

test('an index beyond a known table is malformed, and the table unknown afterwards', () => {
  const decoder = new HpackDecoder();
  assert.deepEqual(decode(decoder, '82be84'), { complete: false, lines: [':method: GET'] });
  assert.equal(decoder.certain, false);
  assert.deepEqual(decode(decoder, '80'), { complete: false, lines: [] }, 'index 0 is malformed, too');
});

test('a cut block gives the fields before the cut and leaves the table unknown', () => {
  const decoder = new HpackDecoder();
  assert.deepEqual(decode(decoder, '8286 8441 0f77 7777', true), { complete: false, lines: get.slice(0, 3) });
  assert.equal(decoder.certain, false);
  assert.deepEqual(decode(decoder, 'be'), { complete: false, lines: [] });
});

test('a size update evicts the oldest entries', () => {
  const decoder = new HpackDecoder();
  decode(decoder, '40 01 61 01 31 40 01 62 01 32');
  // 34 bytes: one entry fits
  assert.deepEqual(decode(decoder, '3f03 be'), { complete: true, lines: ['b: 2'] });
  assert.deepEqual(decode(decoder, 'bf'), { complete: false, lines: [] });
});

test('a table larger than is kept makes older entries unknown, never wrong', () => {
  const decoder = new HpackDecoder();
  decode(decoder, '3fe1ff7f');
  assert.equal(decoder.certain, false);
});

test('at most 64 fields of a block are kept, and the table is right after more', () => {
  const decoder = new HpackDecoder();
  const block = `${'82'.repeat(70)}4001610131`;
  const { lines, complete } = decode(decoder, block);
  assert.deepEqual([lines.length, complete], [64, false]);
  assert.deepEqual(decode(decoder, 'be').lines, ['a: 1']);
});

test('the static table has 61 entries', () => {
  assert.equal(staticTable.length, 61);
  assert.deepEqual(
    [staticTable[0], staticTable[15], staticTable[60]],
    [
      { name: ':authority', value: '' },
      { name: 'accept-encoding', value: 'gzip, deflate' },
      { name: 'www-authenticate', value: '' },
    ],
  );
});

test('decodeHuffman() refuses EOS and bad padding', () => {
  const text = (code: string) => decodeHuffman(hex(code), 0, hex(code).length);
  assert.equal(text('f1e3c2e5f23a6ba0ab90f4ff'), 'www.example.com');
  assert.equal(text(''), '');
  assert.equal(text('1f'), 'a');
  for (const code of ['ff', '18', '1fff', 'ffffffff', '1e']) assert.equal(text(code), undefined, code);
});

test('random blocks never throw, and known values are text', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 6 }), fc.boolean(), (blocks, midstream) => {
      const decoder = new HpackDecoder(midstream);
      for (const block of blocks)
        for (const field of decoder.decode(block, 0, block.length).fields) assert.equal(typeof field.value, 'string');
    }),
    { seed: 1, numRuns: 5000 },
  );
});
