import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  findLeafCertificate,
  formatTlsVersion,
  looksLikeClientHello,
  parseClientHello,
  parseServerHello,
  parseTlsRecordHeader,
  tlsRecordOverhead,
} from '../../src/decode/tls.ts';
import { certificateUris } from '../../src/decode/x509-names.ts';

const u16 = (value: number) => [value >> 8, value & 255];
const vector = (width: 1 | 2, ...parts: number[][]) => {
  const body = parts.flat();
  return [...(width === 1 ? [body.length] : u16(body.length)), ...body];
};
const text = (value: string) => [...Buffer.from(value, 'latin1')];
const extension = (type: number, ...body: number[][]) => [...u16(type), ...vector(2, ...body)];
const serverName = (name: string) => extension(0, vector(2, [0], vector(2, text(name))));
const alpn = (...names: string[]) => extension(16, vector(2, ...names.map((name) => vector(1, text(name)))));
const RANDOM = Array.from({ length: 32 }, (_, i) => i);

function clientHello(extensions: number[][], sessionId: number[] = []): Uint8Array {
  return Uint8Array.from([
    ...u16(0x0303),
    ...RANDOM,
    ...vector(1, sessionId),
    ...vector(2, u16(0x1a1a), u16(0x1301), u16(0xc02f)),
    ...vector(1, [0]),
    ...vector(2, ...extensions),
  ]);
}

test('parseClientHello() reads names, protocols and versions, without GREASE', () => {
  const bytes = clientHello(
    [
      extension(0x3a3a, []),
      serverName('outbound_.80_.one_.Cart.shop.svc.cluster.local'),
      alpn('\x5a\x5a', 'istio-peer-exchange', 'istio'),
      extension(43, vector(1, u16(0x9a9a), u16(0x0304), u16(0x0303))),
    ],
    [1, 2, 3],
  );
  const hello = parseClientHello(bytes, 0, bytes.length);
  assert.deepEqual(hello, {
    version: 0x0303,
    supportedVersions: [0x0304, 0x0303],
    random: Buffer.from(RANDOM).toString('hex'),
    sessionIdLength: 3,
    resumption: false,
    earlyData: false,
    cipherSuites: [0x1301, 0xc02f],
    sni: 'outbound_.80_.one_.cart.shop.svc.cluster.local',
    alpn: ['istio-peer-exchange', 'istio'],
    encryptedClientHello: false,
    cut: false,
  });
});

test('parseClientHello() tells offers to resume, early data and an encrypted hello', () => {
  const table: [name: string, extensions: number[][], expected: [resumption: boolean, earlyData: boolean, encrypted: boolean]][] = [
    ['none', [], [false, false, false]],
    ['empty ticket', [extension(35, [])], [false, false, false]],
    ['ticket', [extension(35, [1])], [true, false, false]],
    ['pre-shared key with early data', [extension(42, []), extension(41, [0, 0])], [true, true, false]],
    ['encrypted hello', [extension(0xfe0d, [0])], [false, false, true]],
  ];
  for (const [name, extensions, expected] of table) {
    const bytes = clientHello(extensions);
    const hello = parseClientHello(bytes, 0, bytes.length);
    assert.deepEqual([hello?.resumption, hello?.earlyData, hello?.encryptedClientHello], expected, name);
  }
});

test('a ClientHello cut at any byte tells nothing wrong', () => {
  const bytes = clientHello([serverName('shop.example'), alpn('h2', 'http/1.1'), extension(43, vector(1, u16(0x0304)))], [1]);
  for (let end = 0; end < bytes.length; end++) {
    const hello = parseClientHello(bytes, 0, end, true);
    if (end < 34) assert.equal(hello, undefined);
    else {
      assert.equal(hello!.cut, true, `cut at ${end}`);
      assert.ok(hello!.sni === undefined || hello!.sni === 'shop.example');
      assert.ok(hello!.alpn.length === 0 || hello!.alpn.length === 2);
    }
  }
});

test('a ClientHello without extensions is whole', () => {
  const bytes = Uint8Array.from([...u16(0x0301), ...RANDOM, 0, ...vector(2, u16(0x002f)), 1, 0]);
  assert.deepEqual([parseClientHello(bytes, 0, bytes.length)?.cut, parseClientHello(bytes, 0, bytes.length)?.version], [false, 0x0301]);
});

test('parseServerHello() takes the version from its extension, and knows a HelloRetryRequest', () => {
  const server = (random: number[], ...extensions: number[][]) =>
    Uint8Array.from([
      ...u16(0x0303),
      ...random,
      ...vector(1, [9]),
      ...u16(0x1302),
      0,
      ...(extensions.length === 0 ? [] : vector(2, ...extensions)),
    ]);
  const tls13 = server(RANDOM, extension(43, u16(0x0304)), extension(41, u16(0)));
  assert.deepEqual(parseServerHello(tls13, 0, tls13.length), {
    version: 0x0304,
    random: Buffer.from(RANDOM).toString('hex'),
    cipherSuite: 0x1302,
    helloRetryRequest: false,
    alpn: undefined,
    sessionId: '09',
    preSharedKey: true,
    cut: false,
  });
  const tls12 = server(RANDOM, alpn('istio'));
  assert.deepEqual([parseServerHello(tls12, 0, tls12.length)?.version, parseServerHello(tls12, 0, tls12.length)?.alpn], [0x0303, 'istio']);
  const bare = server(RANDOM);
  assert.deepEqual([parseServerHello(bare, 0, bare.length)?.version, parseServerHello(bare, 0, bare.length)?.cut], [0x0303, false]);
  const retry = server(
    [...Buffer.from('cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c', 'hex')],
    extension(43, u16(0x0304)),
  );
  assert.equal(parseServerHello(retry, 0, retry.length)?.helloRetryRequest, true);
  for (let end = 0; end < 38; end++) assert.equal(parseServerHello(tls13, 0, end), undefined);
});

test('parseTlsRecordHeader() says what is incomplete and what is no TLS', () => {
  const table: [bytes: number[], expected: unknown][] = [
    [[], 'incomplete'],
    [[22], 'incomplete'],
    [[22, 3, 1, 0], 'incomplete'],
    [[22, 3, 1, 2, 0], { type: 22, version: 0x0301, length: 512 }],
    [[23, 3, 3, 0x48, 0], { type: 23, version: 0x0303, length: 16_384 + 2048 }],
    [[23, 3, 3, 0x48, 1], 'not-tls'],
    [[19, 3, 3, 0, 1], 'not-tls'],
    [[22, 2], 'not-tls'],
    [[22, 3, 5, 0, 1], 'not-tls'],
    [[...Buffer.from('GET /')], 'not-tls'],
  ];
  for (const [bytes, expected] of table)
    assert.deepEqual(parseTlsRecordHeader(Uint8Array.from(bytes), 0, bytes.length), expected, String(bytes));
});

test('looksLikeClientHello() wants a handshake record that begins with a ClientHello', () => {
  const looks = (...bytes: number[]) => looksLikeClientHello(Uint8Array.from(bytes), 0, bytes.length);
  assert.equal(looks(), 'incomplete');
  assert.equal(looks(22, 3), 'incomplete');
  assert.equal(looks(22, 3, 1, 0, 50), 'incomplete');
  assert.equal(looks(22, 3, 1, 0, 50, 1), true);
  assert.equal(looks(22, 3, 1, 0, 50, 2), false);
  assert.equal(looks(23, 3, 3, 0, 50, 1), false);
  assert.equal(looks(23), false);
});

test('what encryption adds to a record is known of AEAD suites', () => {
  const table: [version: number, suite: number, expected: number][] = [
    [0x0304, 0x1301, 17],
    [0x0304, 0x1303, 17],
    [0x0304, 0x1305, 9],
    [0x0304, 0x9999, -1],
    [0x0303, 0xc02f, 24],
    [0x0303, 0x009c, 24],
    [0x0303, 0xcca8, 16],
    [0x0303, 0x002f, -1],
  ];
  for (const [version, suite, expected] of table) assert.equal(tlsRecordOverhead(version, suite), expected, suite.toString(16));
  assert.deepEqual([formatTlsVersion(0x0304), formatTlsVersion(0x7f1c)], ['TLSv1.3', '0x7f1c']);
});

test('random bytes never throw', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.boolean(), (tail, hello) => {
      const bytes = hello ? Uint8Array.from([...u16(0x0303), ...RANDOM, ...tail]) : tail;
      parseClientHello(bytes, 0, bytes.length);
      parseServerHello(bytes, 0, bytes.length);
      parseTlsRecordHeader(bytes, 0, bytes.length);
      findLeafCertificate(bytes, 0, bytes.length);
      certificateUris(bytes, 0, bytes.length);
    }),
    { seed: 1, numRuns: 3000 },
  );
});

test('certificateUris() of what looks like DER never throws and never leaves it', () => {
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom(0x30, 0xa3, 0x06, 0x04, 0x86, 0x80, 0x81, 0x82, 0x83, 3, 5, 0x55, 0x1d, 0x11, 0xff), { maxLength: 80 }),
      (bytes) => {
        certificateUris(Uint8Array.from(bytes), 0, bytes.length);
      },
    ),
    { seed: 1, numRuns: 3000 },
  );
});
