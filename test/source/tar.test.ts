import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BytesFeed } from '../../src/source/byte-feed.ts';
import { SpooledBytes } from '../../src/source/stored-bytes.ts';
import { indexTar, isTar } from '../../src/source/tar.ts';
import { writePcap } from './write-pcap.ts';
import { paxHeader, type TarMember, writeTar } from './write-tar.ts';

const index = (bytes: Uint8Array) => indexTar(new SpooledBytes(new BytesFeed(bytes, 'test.tar')));

function contents(bytes: Uint8Array): { [name: string]: string } {
  const { entries } = index(bytes);
  return Object.fromEntries(
    [...entries].map(([name, { offset, length }]) => [name, Buffer.from(bytes.subarray(offset, offset + length)).toString()]),
  );
}

const long = `${'folder/'.repeat(30)}name.txt`;

test('files are found under plain names, in any dialect', () => {
  const tar = writeTar(
    { name: './', kind: '5' },
    { name: './a.txt', data: 'A' },
    { name: 'b.txt', data: 'B', dialect: 'gnu' },
    { name: 'c//./d.txt', data: 'D', dialect: 'v7' },
    { name: 'name.txt', prefix: 'a/prefix', data: 'P' },
    { name: '././@LongLink', kind: 'L', data: `${long}\0`, dialect: 'gnu' },
    { name: long.slice(0, 99), data: 'L', dialect: 'gnu' },
    paxHeader({ path: `pax/${long}`, mtime: '1.5' }),
    { name: 'short', data: 'X' },
    { name: 'empty' },
    { name: 'a.txt', data: 'later' },
  );
  assert.deepEqual(contents(tar), {
    'a.txt': 'later',
    'b.txt': 'B',
    'c/d.txt': 'D',
    'a/prefix/name.txt': 'P',
    [long]: 'L',
    [`pax/${long}`]: 'X',
    empty: '',
  });
});

test('lengths in base 256 and in a pax header are understood', () => {
  const base256 = String.fromCharCode(0x80);
  const member: TarMember = { name: 'a', data: 'hello' };
  const tar = writeTar(member, paxHeader({ size: '5' }), { ...member, name: 'b', size: '00000000000\0' });
  tar.set([base256.charCodeAt(0), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5], 124);
  tar.set(Buffer.from('        '), 148);
  const sum = tar.subarray(0, 512).reduce((total, byte) => total + byte, 0);
  tar.set(Buffer.from(`${sum.toString(8).padStart(6, '0')}\0 `), 148);
  assert.deepEqual(contents(tar), { a: 'hello', b: 'hello' });
});

test('names that leave the archive, links, devices and sparse files are refused; the rest is taken', () => {
  const { entries, refused, fault } = index(
    writeTar(
      { name: '../../etc/passwd', data: 'x' },
      { name: '/etc/shadow', data: 'x' },
      { name: 'a/../../b', data: 'x' },
      { name: 'link', kind: '2', link: '/etc/passwd' },
      { name: 'hard', kind: '1', link: 'fine' },
      { name: 'null', kind: '3' },
      paxHeader({ 'GNU.sparse.major': '1' }),
      { name: 'sparse', data: 'x' },
      { name: 'fine', data: 'fine' },
    ),
  );
  assert.deepEqual([...entries.keys()], ['fine']);
  assert.equal(fault, undefined);
  assert.deepEqual(refused, [
    'Cannot take "../../etc/passwd" from "test.tar": a name within the archive is wanted, it climbs with ".."',
    'Cannot take "/etc/shadow" from "test.tar": a relative name is wanted, it is absolute',
    'Cannot take "a/../../b" from "test.tar": a name within the archive is wanted, it climbs with ".."',
    'Cannot take "link" from "test.tar": a regular file is wanted, it is a symbolic link',
    'Cannot take "hard" from "test.tar": a regular file is wanted, it is a hard link',
    'Cannot take "null" from "test.tar": a regular file is wanted, it is a character device',
    'Cannot take "sparse" from "test.tar": a regular file is wanted, it is a sparse file',
  ]);
});

test('an archive that is cut or broken gives what precedes the fault', () => {
  const tar = writeTar({ name: 'a', data: 'A' }, { name: 'b', data: 'B' });
  const broken = tar.slice();
  broken[1024 + 3] = 0x7a;
  const cases: [Uint8Array, RegExp][] = [
    [tar.subarray(0, 1024 + 100), /at byte 1024: a header of 512 bytes is wanted, 100 are there$/],
    [broken, /at byte 1024: a header with its checksum is wanted, other bytes follow$/],
    [
      writeTar({ name: 'a', data: 'A' }, { name: 'b', kind: 'L', size: '77777777777\0' }),
      /at most 65536 bytes is wanted, it says 8589934591$/,
    ],
  ];
  for (const [bytes, message] of cases) {
    const { entries, fault } = index(bytes);
    assert.deepEqual([...entries.keys()], ['a']);
    assert.match(fault ?? '', message);
  }
});

test('a capture, text and zeros are no archive', () => {
  assert.equal(isTar(writeTar({ name: 'a' }).subarray(0, 512)), true);
  assert.equal(isTar(new Uint8Array(512)), false);
  assert.equal(isTar(Buffer.alloc(512, 'text ')), false);
  assert.equal(isTar(Buffer.concat([writePcap({ records: [] }), Buffer.alloc(512, 1)]).subarray(0, 512)), false);
  assert.equal(isTar(new Uint8Array(10)), false);
});

test('property: an archive with damaged bytes is indexed without an error, and no name leaves it', () => {
  const tar = writeTar(
    { name: './a', data: 'A' },
    paxHeader({ path: 'b/../c' }),
    { name: 'b' },
    { name: 'x', kind: 'L', data: 'long\0' },
    { name: 'd', data: 'D'.repeat(600) },
  );
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(tar.length - 1), fc.integer({ min: 0, max: 255 })), { maxLength: 6 }),
      fc.nat(tar.length),
      (changes, cut) => {
        const damaged = tar.slice(0, cut);
        for (const [at, value] of changes) if (at < cut) damaged[at] = value;
        for (const name of index(damaged).entries.keys()) assert.ok(!name.startsWith('/') && !name.split('/').includes('..'));
      },
    ),
    { seed: 20268, numRuns: 2000 },
  );
});
