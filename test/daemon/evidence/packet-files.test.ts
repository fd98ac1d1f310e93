import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { BundleFolder } from '../../../src/daemon/evidence/bundle-folder.ts';
import { PacketFiles } from '../../../src/daemon/evidence/packet-files.ts';
import { lostBlock, packetBlocks } from '../../../src/daemon/evidence/pcapng-frames.ts';
import { RecordFailure } from '../../../src/daemon/evidence/record-failure.ts';
import { Bundle } from '../../../src/source/bundle.ts';
import { FolderFiles } from '../../../src/source/bundle-files.ts';
import { framesPayload, numbered, readBack } from './frames.ts';

const folder = mkdtempSync(join(tmpdir(), 'sidetrace-packets-'));
const mounted: string[] = [];
after(() => {
  for (const path of mounted) spawnSync('umount', [path]);
  rmSync(folder, { recursive: true });
});

let made = 0;
function freshFolder(): string {
  const path = join(folder, String(++made));
  mkdirSync(path);
  return path;
}

const about = { application: 'test', snapLength: 65_535, filter: 'tcp port 80' };
const never = { bytes: undefined, ms: undefined, keep: 3000 };

function give(files: PacketFiles, from: number, count: number, nowMs = 0): void {
  const { blocks, frames } = packetBlocks(framesPayload(numbered(from, count)));
  files.write(blocks, frames, nowMs);
}

const range = (from: number, count: number): number[] => Array.from({ length: count }, (_, i) => from + i);

test('frames come back with their bytes, lengths and nanoseconds, as LINUX_SLL2, with the filter', () => {
  const path = freshFolder();
  const files = new PacketFiles(path, about, never, 0);
  give(files, 0, 1000);
  files.close(0);
  const back = readBack(join(path, 'packets.pcapng'));
  assert.deepEqual(back.numbers, range(0, 1000));
  assert.deepEqual(new Set(back.wireLengths), new Set([105]));
  assert.equal(back.stamps[7], '1700000000+7');
  assert.deepEqual(back.linkTypes, [276]);
  assert.equal(back.filter, 'tcp port 80');
  assert.deepEqual(back.losses, []);
  assert.equal(files.written, 1000);
});

test('frames of every length are padded right', () => {
  const path = freshFolder();
  const files = new PacketFiles(path, about, never, 0);
  const lengths = range(4, 70);
  const { blocks, frames } = packetBlocks(framesPayload(lengths.map((length, i) => numbered(i, 1, length)[0]!)));
  files.write(blocks, frames, 0);
  files.close(0);
  assert.deepEqual(readBack(join(path, 'packets.pcapng')).numbers, range(0, 70));
});

test('after a tick all that was given is in the file, though nobody closes it', () => {
  const path = freshFolder();
  const files = new PacketFiles(path, about, never, 0);
  give(files, 0, 3);
  assert.deepEqual(readBack(join(path, 'packets.pcapng')).numbers, []);
  files.tick(500);
  assert.deepEqual(readBack(join(path, 'packets.pcapng')).numbers, [0, 1, 2]);
  files.close(0);
});

test('what was lost stands in each file from its own begin', () => {
  const path = freshFolder();
  const files = new PacketFiles(path, about, { ...never, ms: 1000 }, 0);
  give(files, 0, 1);
  files.lost({ kernel: 7, reader: 0 });
  files.tick(100);
  files.lost({ kernel: 9, reader: 4 });
  files.tick(1000);
  give(files, 1, 1);
  files.lost({ kernel: 10, reader: 4 });
  files.close(1500);
  const [first, second] = files.files.map(({ name }) => readBack(join(path, name)).losses);
  assert.deepEqual(first, [
    { source: 'kernel', count: 7, exact: true },
    { source: 'interface', count: 4, exact: true },
    { source: 'kernel', count: 2, exact: true },
  ]);
  assert.deepEqual(second, [{ source: 'kernel', count: 1, exact: true }]);
});

test('a file that is large or old enough is followed by another, and the oldest go', () => {
  const path = freshFolder();
  const files = new PacketFiles(path, about, { bytes: 64 * 1024, ms: undefined, keep: 3 }, 0);
  for (let i = 0; i < 50; i++) give(files, i * 100, 100, i);
  files.prune();
  files.close(0);
  const names = files.files.map(({ name }) => name);
  assert.deepEqual(readdirSync(path).sort(), names);
  assert.equal(names.length, 3);
  const kept = names.flatMap((name) => readBack(join(path, name)).numbers);
  assert.deepEqual(kept, range(5000 - kept.length, kept.length));
  assert.equal(files.removed, 5000 - kept.length);
  for (const name of names.slice(0, -1)) assert.ok(statSync(join(path, name)).size < 64 * 1024 + 14_000);
});

test('a file of no packets is not followed by another, however old', () => {
  const path = freshFolder();
  const files = new PacketFiles(path, about, { bytes: undefined, ms: 10, keep: 9 }, 0);
  for (let i = 1; i < 10; i++) files.tick(i * 1000);
  files.close(10_000);
  assert.equal(readdirSync(path).length, 1);
});

test('files are for their owner only, and no file of others is written to', () => {
  const path = freshFolder();
  const files = new PacketFiles(path, about, never, 0);
  assert.equal(statSync(join(path, 'packets.pcapng')).mode & 0o777, 0o600);
  files.close(0);
  assert.throws(
    () => new PacketFiles(path, about, never, 0),
    (error) => error instanceof RecordFailure && error.reason === 'EEXIST',
  );
});

test('a recording that is cut at any byte gives every whole block before it, and says that it is cut', () => {
  const path = freshFolder();
  const files = new PacketFiles(path, about, never, 0);
  give(files, 0, 5);
  files.close(0);
  const file = join(path, 'packets.pcapng');
  const whole = readFileSync(file);
  const head = whole.length - 5 * 132;
  for (let cut = head + 1; cut < whole.length; cut++) {
    writeFileSync(file, whole);
    truncateSync(file, cut);
    const { numbers, losses } = readBack(file);
    assert.deepEqual(numbers, range(0, Math.floor((cut - head) / 132)));
    assert.equal(losses.length, (cut - head) % 132 === 0 ? 0 : 1);
  }
});

const about2 = { node: 'node-a', recorder: 'test', tools: {}, bootId: undefined };
const tmpfs = {
  skip:
    process.getuid?.() === 0 && spawnSync('sh', ['-c', 'command -v mount']).status === 0
      ? false
      : 'SKIPPED: root is needed to mount a small tmpfs',
};

test('on a disk of 256 KiB what fits is kept, written and lost are what was offered, and bundle.json says so', tmpfs, () => {
  const path = freshFolder();
  assert.equal(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'none', path]).status, 0);
  mounted.push(path);
  const bundle = new BundleFolder(join(path, 'run'), about2, 0);
  const namespace = bundle.add({ netns: 'a', interfaces: [] }, { about, rotation: never }, 0);
  let failure: RecordFailure | undefined;
  let offered = 0;
  for (let i = 0; i < 100; i++) {
    const { blocks, frames } = packetBlocks(framesPayload(numbered(offered, 100)));
    offered += frames;
    try {
      namespace.packets!.write(blocks, frames, 0);
      bundle.tick(0);
    } catch (error) {
      assert.ok(error instanceof RecordFailure);
      failure ??= error;
    }
  }
  assert.equal(failure?.reason, 'ENOSPC');
  assert.match(failure.message, /Cannot write ".*packets\.pcapng": a place with room/);
  bundle.close(5);
  const { written, unwritten } = bundle.totals;
  assert.equal(written + unwritten, offered);
  assert.ok(written > 500, String(written));
  const back = readBack(join(path, 'run/a/packets.pcapng'));
  assert.deepEqual(back.numbers, range(0, written));
  assert.deepEqual(back.losses, []);
  const read = new Bundle(new FolderFiles(join(path, 'run')));
  assert.deepEqual(
    read.manifest.lost.map(({ source, count, exact }) => ({ source, count, exact })),
    [{ source: 'recorder', count: unwritten, exact: true }],
  );
  assert.equal(read.manifest.ended, '1970-01-01T00:00:00.005Z');
});

test('a bundle is right at every moment: what bundle.json names is there', () => {
  const path = join(freshFolder(), 'run');
  const bundle = new BundleFolder(path, about2, 0);
  const named = (): string[] => {
    const { namespaces } = JSON.parse(readFileSync(join(path, 'bundle.json'), 'utf8')) as {
      namespaces: { path: string; files: { file?: string }[] }[];
    };
    return namespaces.flatMap((one) => one.files.flatMap(({ file }) => (file === undefined ? [] : [`${one.path}/${file}`])));
  };
  assert.deepEqual(named(), []);
  const one = bundle.add(
    { netns: 'cni-1', pod: { namespace: 'default', name: 'client', uid: 'u' }, interfaces: [] },
    { about, rotation: { bytes: 64 * 1024, ms: undefined, keep: 2 } },
    0,
  );
  assert.deepEqual(named(), ['default_client/packets.000001.pcapng']);
  bundle.keep(one, [{ kind: 'iptables-save', family: 'ipv4', status: 'ok', readAt: 't0', bytes: Buffer.from('*nat\n') }], 'start');
  for (let i = 0; i < 30; i++) {
    const { blocks, frames } = packetBlocks(framesPayload(numbered(i * 100, 100)));
    one.packets!.write(blocks, frames, i);
    for (const name of named()) statSync(join(path, name));
    if (i % 3 === 0) bundle.tick(i);
    for (const name of named()) statSync(join(path, name));
  }
  bundle.keep(one, [{ kind: 'iptables-save', family: 'ipv4', status: 'ok', readAt: 't1', bytes: Buffer.from('*nat\n') }], 'end');
  bundle.keep(one, [{ kind: 'sockets', status: 'failed', readAt: 't1', reason: 'gone' }], 'end');
  bundle.close(99);
  assert.deepEqual(readdirSync(path).sort(), ['bundle.json', 'default_client']);
  const manifest = new Bundle(new FolderFiles(path)).manifest;
  assert.deepEqual(
    manifest.namespaces[0]!.files.filter(({ kind }) => kind !== 'packets').map(({ kind, status }) => [kind, status]),
    [
      ['iptables-save', 'ok'],
      ['iptables-save', 'same'],
      ['sockets', 'failed'],
    ],
  );
  assert.equal(statSync(join(path, 'bundle.json')).mode & 0o777, 0o600);
  assert.equal(statSync(join(path, 'default_client')).mode & 0o777, 0o700);
});

test('namespaces of the same name get folders of their own, whatever characters they have', () => {
  const bundle = new BundleFolder(join(freshFolder(), 'run'), about2, 0);
  const paths = ['a/../b', 'a_.._b', '..', '', 'cookie:7'].map((netns) => bundle.add({ netns, interfaces: [] }, undefined, 0).path);
  assert.deepEqual(paths, ['a_.._b', 'a_.._b.2', '_', 'namespace', 'cookie_7']);
  bundle.close(0);
});

test('a folder that holds something is not recorded to', () => {
  const path = freshFolder();
  writeFileSync(join(path, 'something'), '');
  assert.throws(
    () => new BundleFolder(path, about2, 0),
    (error) => error instanceof RecordFailure && error.reason === 'EEXIST',
  );
  assert.deepEqual(readdirSync(path), ['something']);
});

test('Wireshark reads the statistics with their comment', {
  skip: spawnSync('tshark', ['-v']).status === 0 ? false : 'SKIPPED: tshark is not installed',
}, () => {
  const path = freshFolder();
  const files = new PacketFiles(path, { ...about, comment: 'of pod a' }, never, 0);
  give(files, 0, 10);
  files.lost({ kernel: 3, reader: 2 });
  files.close(1_700_000_000_123);
  const file = join(path, 'packets.pcapng');
  const { stdout } = spawnSync('capinfos', ['-c', '-E', '-k', file], { encoding: 'utf8' });
  assert.match(stdout, /10/);
  assert.match(stdout, /of pod a/);
  const { stderr, status } = spawnSync('tshark', ['-r', file, '-T', 'fields', '-e', 'frame.number'], { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  assert.ok(lostBlock({ kernel: 1, reader: 1 }, 0).length % 4 === 0);
});
