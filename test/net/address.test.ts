import assert from 'node:assert/strict';
import { isIP } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  canonicalIp,
  cidrContains,
  formatEndpoint,
  formatIp,
  formatV4,
  formatV6,
  isLoopback,
  parseCidr,
  parseEndpoint,
  parseIp,
} from '../../src/net/address.ts';

const word = fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff });
const sparseWord = fc.oneof(word, fc.constantFrom(0, 1, 0xffff, -1, 0x10000));

test('what was formatted is parsed to the same words, IPv4 and IPv6', () => {
  fc.assert(
    fc.property(sparseWord, sparseWord, sparseWord, sparseWord, (a, b, c, d) => {
      assert.deepEqual(parseIp(formatV4(d)), { family: 4, words: [0, 0, 0, d] });
      assert.deepEqual(parseIp(formatV6(a, b, c, d)), { family: 6, words: [a, b, c, d] });
      assert.equal(isIP(formatV6(a, b, c, d)), 6);
    }),
    { seed: 21, numRuns: 3000 },
  );
});

test('IPv6 is written as RFC 5952 wants it', () => {
  const table: [given: string, canonical: string][] = [
    ['2001:0DB8::0001', '2001:db8::1'],
    ['2001:db8:0:0:0:0:2:1', '2001:db8::2:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['::', '::'],
    ['::ffff:10.0.0.1', '::ffff:10.0.0.1'],
    ['::10.0.0.1', '::a00:1'],
    ['[fd00::1]', 'fd00::1'],
    ['fe80::1%eth0', 'fe80::1'],
    ['1:2:3:4:5:6:1.2.3.4', '1:2:3:4:5:6:102:304'],
    ['010.0.0.1', '10.0.0.1'],
  ];
  for (const [given, canonical] of table) assert.equal(canonicalIp(given), canonical, given);
});

test('what is no address is none', () => {
  for (const text of [
    '',
    '1',
    '1.2.3',
    '1.2.3.4.5',
    '256.0.0.1',
    '1.2.3.-4',
    ':',
    ':::',
    '1::2::3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '12345::',
    'g::',
    '::1.2.3',
    '1.2.3.4::',
    '1:2:3:4:5:6:7:8::',
    'localhost',
    '[::1',
  ])
    assert.equal(parseIp(text), undefined, text);
});

test('a block holds what agrees with its prefix; families never mix', () => {
  const table: [cidr: string, ip: string, holds: boolean][] = [
    ['10.0.0.0/8', '10.255.255.255', true],
    ['10.0.0.0/8', '11.0.0.0', false],
    ['10.0.0.7', '10.0.0.7', true],
    ['10.0.0.7', '10.0.0.6', false],
    ['0.0.0.0/0', '255.1.2.3', true],
    ['0.0.0.0/0', '::1', false],
    ['::/0', '10.0.0.1', false],
    ['10.1.2.3/255.255.0.0', '10.1.9.9', true],
    ['fd00::/33', 'fd00:0:7fff::1', true],
    ['fd00::/33', 'fd00:0:8000::1', false],
    ['::1/128', '::1', true],
    ['192.168.0.0/31', '192.168.0.1', true],
  ];
  for (const [cidr, ip, holds] of table) assert.equal(cidrContains(parseCidr(cidr)!, parseIp(ip)!), holds, `${ip} in ${cidr}`);
  for (const text of ['10.0.0.0/33', '::/129', '10.0.0.0/255.0.255.0', '10.0.0.0/ffff::', '10.0.0.0/', '10.0.0.0/x', 'x/8'])
    assert.equal(parseCidr(text), undefined, text);
});

test('endpoints', () => {
  fc.assert(
    fc.property(word, word, fc.integer({ min: 0, max: 65_535 }), fc.boolean(), (a, d, port, v6) => {
      const ip = v6 ? formatV6(a, 0, 1, d) : formatV4(d);
      assert.deepEqual(parseEndpoint(formatEndpoint(ip, port)), { ip, port });
    }),
    { seed: 22 },
  );
  for (const text of ['', '10.0.0.1', '10.0.0.1:', '10.0.0.1:65536', '10.0.0.1:x', '::1:80', 'host:80', '[::1]'])
    assert.equal(parseEndpoint(text), undefined, text);
});

test('loopback', () => {
  for (const ip of ['127.0.0.1', '127.255.0.6', '::1']) assert.equal(isLoopback(ip), true, ip);
  for (const ip of ['128.0.0.1', '10.127.0.1', '::', '::6', '::127.0.0.1']) assert.equal(isLoopback(ip), false, ip);
  assert.equal(formatIp({ family: 4, words: [0, 0, 0, -1] }), '255.255.255.255');
});
