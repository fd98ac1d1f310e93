import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import type { Bundle } from '../../src/source/bundle.ts';
import { snapshotsOf } from '../../src/source/bundle.ts';
import { BytesFeed } from '../../src/source/byte-feed.ts';
import { CaptureFileError } from '../../src/source/capture-file-error.ts';
import { openInput } from '../../src/source/input.ts';
import { SpooledBytes } from '../../src/source/stored-bytes.ts';
import { needsReference, referencePath } from '../reference.ts';
import { drain } from './drain.ts';
import { frame, writePcap } from './write-pcap.ts';
import { writeTar } from './write-tar.ts';

const temporary = mkdtempSync(join(tmpdir(), 'sidetrace-test-'));
after(() => rmSync(temporary, { recursive: true, force: true }));

const capture = writePcap({ records: [{ seconds: 1, fraction: 2, data: frame(60) }] });
const files = [
  { kind: 'iptables-save', family: 'ipv4', status: 'ok', file: 'rules.start', readAt: '2026-11-23T06:22:41.465666Z' },
  { kind: 'iptables-save', family: 'ipv6', status: 'empty' },
  { kind: 'packets', status: 'ok', file: 'packets.pcap' },
  { kind: 'config_dump', status: 'failed', reason: 'exit 7' },
  { kind: 'iptables-save', family: 'ipv4', status: 'same', readAt: '2026-11-23T06:22:48.884697Z' },
  { kind: 'iptables-save', family: 'ipv6', status: 'same' },
  { kind: 'sockets', status: 'ok', file: 'absent.txt' },
  { kind: 'nft', status: 'same' },
];
const namespace = {
  path: 'default_client',
  netns: 'cni-1',
  pod: { namespace: 'default', name: 'client', uid: 'u1' },
  interfaces: [{ index: 1, name: 'lo', addresses: ['127.0.0.1'] }],
  files,
};
const manifest = { format: 'sidetrace-bundle', version: 1, node: 'node-a', namespaces: [namespace], more: { than: 'we know' } };

const content: { [path: string]: Uint8Array | string } = {
  'bundle.json': JSON.stringify(manifest),
  'pods.json': '\ufeff{"kind":"List"}',
  'default_client/rules.start': '*nat\nCOMMIT\n',
  'default_client/packets.pcap': capture,
};

let made = 0;
function folderOf(given: { [path: string]: Uint8Array | string }): string {
  const root = join(temporary, `bundle-${made++}`);
  for (const [path, data] of Object.entries(given)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), data);
  }
  return root;
}

function fileOf(name: string, data: Uint8Array): string {
  const path = join(temporary, `${made++}-${name}`);
  writeFileSync(path, data);
  return path;
}

const tarOf = (given: { [path: string]: Uint8Array | string }, prefix = './') =>
  writeTar(
    { name: prefix, kind: '5' },
    ...Object.entries(given)
      .map(([path, data]) => ({ name: prefix + path, data }))
      .reverse(),
  );

function openBundle(path: string): Bundle {
  const input = openInput(path);
  assert.equal(input.kind, 'bundle');
  return (input as { bundle: Bundle }).bundle;
}

const forms: [string, () => string][] = [
  ['a folder', () => folderOf(content)],
  ['a tar archive', () => fileOf('b.tar', tarOf(content))],
  ['a tar archive of a folder', () => fileOf('b.tar', tarOf(content, 'deep/node-a/'))],
  ['a tar.gz archive', () => fileOf('b.tar.gz', gzipSync(tarOf(content)))],
  ['an archive packed twice, under a misleading name', () => fileOf('b.pcap', gzipSync(gzipSync(tarOf(content))))],
];
for (const [name, make] of forms)
  test(`${name} is read as a bundle`, () => {
    const bundle = openBundle(make());
    assert.equal(bundle.manifest.node, 'node-a');
    const [entry] = bundle.manifest.namespaces;
    assert.deepEqual(entry?.pod, { namespace: 'default', name: 'client', uid: 'u1' });
    assert.equal(bundle.readText('pods.json'), '{"kind":"List"}');
    assert.equal(bundle.readText('default_client/rules.start'), '*nat\nCOMMIT\n');
    const source = bundle.openPackets('default_client/packets.pcap');
    assert.ok(source !== undefined);
    assert.equal(drain(source).length, 1);
    assert.deepEqual(bundle.losses, []);
    assert.equal(bundle.malformed, false);
    bundle.close();
  });

test('snapshots come in order, and "same" is the snapshot before it of that kind and family', () => {
  const entry = openBundle(folderOf(content)).manifest.namespaces[0]!;
  assert.deepEqual(snapshotsOf(entry, 'iptables-save', 'ipv4'), [
    {
      kind: 'iptables-save',
      family: 'ipv4',
      status: 'ok',
      same: false,
      readAt: '2026-11-23T06:22:41.465666Z',
      path: 'default_client/rules.start',
    },
    {
      kind: 'iptables-save',
      family: 'ipv4',
      status: 'ok',
      same: true,
      readAt: '2026-11-23T06:22:48.884697Z',
      path: 'default_client/rules.start',
    },
  ]);
  assert.deepEqual(
    snapshotsOf(entry, 'iptables-save', 'ipv6').map((s) => [s.status, s.same]),
    [
      ['empty', false],
      ['empty', true],
    ],
  );
  assert.deepEqual(snapshotsOf(entry, 'config_dump'), [{ kind: 'config_dump', status: 'failed', same: false, reason: 'exit 7' }]);
  assert.equal(snapshotsOf(entry, 'nft')[0]?.status, 'failed');
  assert.equal(snapshotsOf(entry).length, files.length);
});

test('a file that the manifest names and the bundle lacks is a loss, told once', () => {
  const bundle = openBundle(folderOf(content));
  assert.equal(bundle.readText('default_client/absent.txt'), undefined);
  assert.equal(bundle.readText('default_client/absent.txt'), undefined);
  assert.equal(bundle.openPackets('nowhere/packets.pcap'), undefined);
  assert.equal(bundle.readText('services.json', 'optional'), undefined);
  assert.deepEqual(
    bundle.losses.map((l) => [l.source, /"([^"]+)" of/.exec(l.detail)?.[1]]),
    [
      ['absent', 'default_client/absent.txt'],
      ['absent', 'nowhere/packets.pcap'],
    ],
  );
  assert.equal(bundle.malformed, false);
});

test('a packet file that is no capture is a loss, and the bundle is malformed', () => {
  const bundle = openBundle(folderOf({ ...content, 'default_client/packets.pcap': 'tcpdump: permission denied' }));
  assert.equal(bundle.openPackets('default_client/packets.pcap'), undefined);
  assert.deepEqual([bundle.malformed, bundle.losses.length], [true, 1]);
});

test('paths and links that lead out of the bundle are not followed', () => {
  const folder = folderOf(content);
  const secret = fileOf('secret', Buffer.from('secret'));
  symlinkSync(secret, join(folder, 'default_client', 'linked.txt'));
  symlinkSync(join(folder, 'pods.json'), join(folder, 'inner.json'));
  const bundle = openBundle(folder);
  for (const path of [
    '../secret',
    `..${secret}`,
    secret,
    'default_client/../../secret',
    'default_client/linked.txt',
    'default_client',
    '',
    'a\0b',
  ])
    assert.equal(bundle.readText(path), undefined, path);
  assert.equal(bundle.readText('inner.json'), '{"kind":"List"}');
  const tar = openBundle(
    fileOf(
      'evil.tar',
      writeTar(
        { name: 'bundle.json', data: content['bundle.json']! },
        { name: '../x', data: 'x' },
        { name: 'pods.json', kind: '2', link: secret },
      ),
    ),
  );
  assert.equal(tar.readText('pods.json'), undefined);
  assert.deepEqual(
    tar.losses.map((l) => l.source),
    ['malformed', 'malformed', 'absent'],
  );
});

test('a packed packet or text file within a bundle is unpacked', () => {
  const bundle = openBundle(folderOf({ ...content, 'default_client/packets.pcap': gzipSync(capture), 'pods.json': gzipSync('{}') }));
  assert.equal(bundle.readText('pods.json'), '{}');
  assert.equal(drain(bundle.openPackets('default_client/packets.pcap')!).length, 1);
});

test('an archive that is cut gives what is there, and is malformed', () => {
  const tar = tarOf(content);
  const whole = writeTar({ name: 'bundle.json', data: content['bundle.json']! }, { name: 'default_client/packets.pcap', data: capture });
  const bundle = openBundle(fileOf('cut.tar', whole.subarray(0, whole.length - 1024 - 512 + 70)));
  const source = bundle.openPackets('default_client/packets.pcap')!;
  drain(source);
  assert.equal(source.malformed, true);
  assert.throws(() => openInput(fileOf('headless.tar', tar.subarray(0, 2048))), /a file "bundle.json" is wanted, there is none/);
  const noise = Uint8Array.from({ length: 200_000 }, (_, i) => (Math.imul(i, 2_654_435_761) >>> 13) & 255);
  const packed = gzipSync(writeTar({ name: 'bundle.json', data: content['bundle.json']! }, { name: 'noise', data: noise }));
  assert.equal(openBundle(fileOf('cut.tar.gz', packed.subarray(0, packed.length - 5000))).malformed, true);
});

const manifests: [string, unknown, RegExp][] = [
  ['of another format', { ...manifest, format: 'other' }, /"format": "sidetrace-bundle" is wanted, it is "other"/],
  ['of a later version', { ...manifest, version: 2 }, /"version": 1 is wanted, it is 2/],
  ['without namespaces', { ...manifest, namespaces: undefined }, /"namespaces": /],
  ['that is a list', [], /"format": /],
  ['that is a number', 7, /is wanted, it is 7/],
];
for (const [name, value, message] of manifests)
  test(`a manifest ${name} is refused`, () => {
    assert.throws(
      () => openInput(folderOf({ 'bundle.json': JSON.stringify(value) })),
      (error) => error instanceof CaptureFileError && error.code === 'BUNDLE_MANIFEST' && message.test(error.message),
    );
  });

test('a manifest that is no JSON, a folder without one, and an absent path are refused', () => {
  assert.throws(() => openInput(folderOf({ 'bundle.json': '{"format":' })), /JSON is wanted, it says: /);
  assert.throws(() => openInput(folderOf({ 'other.txt': '' })), /a file "bundle.json" is wanted, there is none/);
  assert.throws(
    () => openInput(join(temporary, 'nothing')),
    /Cannot open ".*nothing": a capture or a bundle is wanted, the system says ENOENT/,
  );
});

test('a namespace that does not fit is left out with a loss; null is absent', () => {
  const odd = { ...namespace, path: 'host', pod: null, files: [{ kind: 'nft', status: 'ok', file: 'nft.json', family: null }] };
  const bundle = openBundle(
    folderOf({
      'bundle.json': JSON.stringify({
        ...manifest,
        begun: null,
        namespaces: [{ path: 7 }, namespace, odd],
        lost: [{ source: 'kernel', count: 3, exact: true }],
      }),
    }),
  );
  assert.deepEqual(
    bundle.manifest.namespaces.map((n) => [n.path, n.pod?.name]),
    [
      ['default_client', 'client'],
      ['host', undefined],
    ],
  );
  assert.deepEqual(
    bundle.losses.map((l) => [l.source, l.count, l.exact]),
    [
      ['malformed', 1, false],
      ['kernel', 3, true],
    ],
  );
});

test('a capture is told from a bundle by its bytes', () => {
  const input = openInput(fileOf('capture.tar', gzipSync(capture)));
  assert.equal(input.kind, 'capture');
  assert.equal(drain((input as { source: Parameters<typeof drain>[0] }).source).length, 1);
});

test('standard input may be a capture or a bundle', () => {
  const script = `
    const { openInput } = await import(${JSON.stringify(new URL('../../src/source/input.js', import.meta.url).href)});
    const input = openInput('-');
    let frames = 0;
    if (input.kind === 'capture') for (let batch = input.source.next(); batch; batch = input.source.next()) frames += batch.count;
    console.log(input.kind === 'capture' ? frames : input.bundle.manifest.node);`;
  const run = (input: Uint8Array) =>
    spawnSync(process.execPath, ['--input-type=module', '-e', script], { input, encoding: 'utf8' }).stdout.trim();
  assert.equal(run(capture), '1');
  assert.equal(run(gzipSync(capture)), '1');
  assert.equal(run(tarOf(content)), 'node-a');
  assert.equal(run(gzipSync(tarOf(content))), 'node-a');
});

test('what is spooled beyond memory is read back at any place, and is bounded', () => {
  const bytes = frame(3_500_000).map((byte, i) => byte ^ (i >> 8));
  for (const memory of [0, 2_000_000, 10_000_000]) {
    const stored = new SpooledBytes(new BytesFeed(bytes, 'test'), { memory, total: 1e9 });
    assert.deepEqual([stored.length, stored.fault], [bytes.length, undefined]);
    for (const at of [0, 1_048_570, 2_097_152, 3_499_990, 3_500_000]) {
      const into = new Uint8Array(20);
      const n = stored.readAt(at, into, 0, 20);
      assert.ok(n > 0 || at === bytes.length);
      assert.deepEqual(into.subarray(0, n), bytes.subarray(at, at + n));
    }
    stored.close();
  }
  const bounded = new SpooledBytes(new BytesFeed(bytes, 'test'), { memory: 0, total: 1_000_000 });
  assert.equal(bounded.length, 1_000_000);
  assert.match(bounded.fault ?? '', /at most 1000000 bytes are wanted of \d+, there are more/);
});

test('the reference bundles give the same from a folder of their files and from their archives', needsReference('bundles'), () => {
  for (const situation of readdirSync(referencePath('bundles')!))
    for (const node of ['node-a', 'node-b']) {
      const archive = openBundle(join(referencePath('bundles')!, situation, `${node}.tar.gz`));
      const folder = join(temporary, `${situation}-${node}`);
      mkdirSync(folder);
      const unpacked = spawnSync('tar', ['xzf', join(referencePath('bundles')!, situation, `${node}.tar.gz`), '-C', folder]);
      assert.equal(unpacked.status, 0);
      const other = openBundle(folder);
      assert.deepEqual(other.manifest, archive.manifest);
      let packets = 0;
      for (const entry of archive.manifest.namespaces)
        for (const snapshot of snapshotsOf(entry)) {
          if (snapshot.path === undefined) continue;
          if (snapshot.kind === 'packets') packets += drain(archive.openPackets(snapshot.path)!).length;
          else assert.equal(archive.readText(snapshot.path), readFileSync(join(folder, snapshot.path), 'utf8'));
        }
      assert.ok(packets > 300);
      assert.deepEqual([archive.losses, archive.malformed], [[], false]);
      archive.close();
    }
});

test('an archive that unpacks to a thousand times its length is not kept', () => {
  const bomb = {
    name: 'bomb',
    size: 0,
    taken: 1000,
    fault: undefined,
    read: (_into: Uint8Array, _offset: number, length: number) => length,
    close: () => {},
  };
  const stored = new SpooledBytes(bomb);
  assert.equal(stored.length, 256 * 1024 * 1024);
  assert.match(stored.fault ?? '', /^Cannot keep all of "bomb": at most 268435456 bytes are wanted of 1000, there are more$/);
  stored.close();
});
