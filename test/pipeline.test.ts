/** Bad input from end to end: what could be read is told, what could not is told too, and nothing but the documented errors is thrown. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { type InputFile, replay } from '../src/pipeline.ts';
import type { AnyRecord } from '../src/record/record.ts';
import { CaptureFileError, type CaptureFileErrorCode } from '../src/source/capture-file-error.ts';
import { SIDECAR } from './annotate/worlds.ts';
import { type Bytes, ETHERTYPE, ethernet, ipv4, PROTOCOL, tcp, text } from './decode/frames.ts';
import { writePcap } from './source/write-pcap.ts';
import { writeTar } from './source/write-tar.ts';
import { type Replayed, replayed } from './truth/replayed.ts';

const folder = mkdtempSync(join(tmpdir(), 'sidetrace-pipeline-'));
after(() => rmSync(folder, { recursive: true }));

let count = 0;

function fileOf(content: string | Uint8Array, name = 'input'): string {
  const path = join(folder, `${count++}-${name}`);
  writeFileSync(path, content);
  return path;
}

const CLIENT = '10.244.1.10';
const SERVER = '10.244.1.20';
const segment = (src: string, dst: string, sport: number, dport: number, flags: number, seq: number, ack: number, payload = ''): Bytes =>
  ethernet(ETHERTYPE.ipv4, ipv4({ protocol: PROTOCOL.tcp, src, dst }, tcp({ src: sport, dst: dport, flags, seq, ack }, text(payload))));

/** One connection with one request; `n` chooses its port. */
function exchange(n = 0): Bytes[] {
  const port = 40_000 + n;
  return [
    segment(CLIENT, SERVER, port, 80, 0x02, 100, 0),
    segment(SERVER, CLIENT, 80, port, 0x12, 500, 101),
    segment(CLIENT, SERVER, port, 80, 0x18, 101, 501, 'GET / HTTP/1.1\r\nHost: shop\r\n\r\n'),
    segment(SERVER, CLIENT, 80, port, 0x18, 501, 131, 'HTTP/1.1 204 No Content\r\n\r\n'),
    segment(CLIENT, SERVER, port, 80, 0x11, 131, 528),
    segment(SERVER, CLIENT, 80, port, 0x11, 528, 132),
  ];
}

function pcap(frames: readonly Bytes[]): Uint8Array {
  return writePcap({ records: frames.map((frame, i) => ({ seconds: 1_795_363_120, fraction: i, data: Uint8Array.from(frame) })) });
}

interface File {
  kind: string;
  text?: string | Uint8Array;
  status?: string;
  family?: string;
  /** Named, but not there. */
  absent?: true;
}

/** A bundle of one namespace, as a folder. */
function bundleOf(files: readonly File[], more: { [name: string]: string | Uint8Array } = {}): string {
  const path = join(folder, `bundle-${count++}`);
  mkdirSync(join(path, 'pod'), { recursive: true });
  const manifest = {
    format: 'sidetrace-bundle',
    version: 1,
    node: 'node-a',
    begun: '2026-11-22T15:58:00Z',
    namespaces: [
      {
        path: 'pod',
        netns: 'cni-1',
        pod: { namespace: 'default', name: 'shop', uid: 'u' },
        interfaces: [
          { index: 1, name: 'lo', addresses: ['127.0.0.1'] },
          { index: 2, name: 'eth0', addresses: [CLIENT] },
        ],
        files: files.map(({ kind, status = 'ok', family }, i) => ({
          kind,
          status,
          ...(family === undefined ? {} : { family }),
          ...(status === 'ok' ? { file: `${i}.txt` } : {}),
          readAt: '2026-11-22T15:58:00Z',
        })),
      },
    ],
  };
  writeFileSync(join(path, 'bundle.json'), JSON.stringify(manifest));
  for (const [i, { text: content, absent }] of files.entries())
    if (absent !== true && content !== undefined) writeFileSync(join(path, 'pod', `${i}.txt`), content);
  for (const [name, content] of Object.entries(more)) {
    mkdirSync(dirname(join(path, name)), { recursive: true });
    writeFileSync(join(path, name), content);
  }
  return path;
}

const PACKETS: File = { kind: 'packets', text: pcap(exchange()) };
const RULES: File = { kind: 'iptables-save', text: SIDECAR, family: 'ipv4' };

function summary({ flows, lost, end }: Replayed): unknown {
  return { flows: flows.length, sources: lost.map(({ source }) => source), malformed: end.malformed, lost: end.lost };
}

test('a sound bundle: nothing is lost', () => {
  const run = replayed([bundleOf([PACKETS, RULES])]);
  assert.deepEqual(summary(run), { flows: 1, sources: [], malformed: false, lost: false });
  assert.deepEqual([run.flows[0]!.pod?.name, run.flows[0]!.state, run.total.packets], ['shop', 'closed', 6]);
});

test('a capture that was cut gives what is there, a loss, and says that the input is broken', () => {
  const whole = pcap(exchange());
  for (let length = 24; length < whole.length; length++) {
    const run = replayed([fileOf(whole.subarray(0, length), 'cut.pcap')]);
    const frames = exchange().findIndex((_, i) => pcap(exchange().slice(0, i + 1)).length > length);
    assert.equal(run.total.packets, frames, `cut at ${length}`);
    const atBoundary = pcap(exchange().slice(0, frames)).length === length;
    assert.deepEqual(
      [run.end.malformed, run.lost.map(({ source }) => source)],
      atBoundary ? [false, []] : [true, ['truncated']],
      `cut at ${length}`,
    );
    for (const lost of run.lost) assert.match(lost.detail!, /cut\.pcap/);
  }
});

test('the packets of a bundle that were cut are told with the namespace', () => {
  const run = replayed([bundleOf([{ kind: 'packets', text: pcap(exchange()).subarray(0, 300) }, RULES])]);
  assert.equal(run.end.malformed, true);
  assert.deepEqual(
    run.lost.map(({ source, scope }) => [source, scope]),
    [['truncated', { node: 'node-a', netns: 'cni-1' }]],
  );
  assert.equal(run.flows.length, 1);
});

const refused: [title: string, path: () => string, code: CaptureFileErrorCode][] = [
  ['nothing there', () => join(folder, 'nowhere.pcap'), 'CAPTURE_READ'],
  ['an empty file', () => fileOf(''), 'CAPTURE_EMPTY'],
  ['a text', () => fileOf('apiVersion: v1\nkind: Pod\n'), 'CAPTURE_FORMAT'],
  ['a folder without bundle.json', () => dirname(bundleOf([])).concat('/nobundle'), 'CAPTURE_READ'],
  ['a tar without bundle.json', () => fileOf(writeTar({ name: 'pods.json', data: '{}' })), 'BUNDLE_MANIFEST'],
  ['bundle.json that is no JSON', () => fileOf(writeTar({ name: 'bundle.json', data: '{"format": ' })), 'BUNDLE_MANIFEST'],
  [
    'bundle.json of something else',
    () => fileOf(writeTar({ name: 'bundle.json', data: '{"format": "npm", "version": 1}' })),
    'BUNDLE_MANIFEST',
  ],
  [
    'bundle.json of a later version',
    () => fileOf(writeTar({ name: 'bundle.json', data: '{"format": "sidetrace-bundle", "version": 2, "node": "a", "namespaces": []}' })),
    'BUNDLE_MANIFEST',
  ],
];

for (const [title, path, code] of refused)
  test(`refused: ${title}`, () => {
    assert.throws(
      () => replayed([path()]),
      (error) => error instanceof CaptureFileError && error.code === code && error.message.length < 1000,
    );
  });

test('files that the manifest names and the bundle lacks are losses; the rest is judged', () => {
  const run = replayed([
    bundleOf([
      PACKETS,
      { ...RULES, absent: true },
      { kind: 'config_dump', absent: true },
      { kind: 'conntrack', absent: true },
      { kind: 'packets', absent: true },
    ]),
  ]);
  assert.equal(run.flows.length, 1);
  assert.ok(run.lost.length >= 3);
  for (const lost of run.lost) {
    assert.equal(lost.source, 'absent');
    assert.match(lost.detail!, /Cannot read "pod\/\d\.txt" of ".*": a file of the bundle is wanted, it is absent/);
  }
  assert.deepEqual([run.end.lost, run.flows[0]!.rule?.reason], [true, 'no-rules']);
});

test('a namespace without packets, and a bundle without namespaces, have nothing to tell', () => {
  assert.deepEqual(summary(replayed([bundleOf([RULES])])), { flows: 0, sources: [], malformed: false, lost: false });
  const empty = fileOf(
    writeTar({ name: 'bundle.json', data: '{"format": "sidetrace-bundle", "version": 1, "node": "a", "namespaces": []}' }),
  );
  assert.deepEqual(summary(replayed([empty])), { flows: 0, sources: [], malformed: false, lost: false });
});

test('a namespace of the manifest that makes no sense is left out with a sentence; the others stand', () => {
  const sound = bundleOf([PACKETS]);
  const manifest = JSON.parse(readFileSync(join(sound, 'bundle.json'), 'utf8'));
  manifest.namespaces.unshift({ path: 7 }, 'x', { path: 'p', netns: 'n', files: [{ kind: 'packets', status: 'perhaps' }] });
  writeFileSync(join(sound, 'bundle.json'), JSON.stringify(manifest));
  const run = replayed([sound]);
  assert.equal(run.flows.length, 1);
  assert.equal(run.lost.length, 3);
  assert.equal(run.end.malformed, true);
});

const DEEP = `${'['.repeat(200_000)}${']'.repeat(200_000)}`;

const nonsense: [title: string, file: File][] = [
  ['rules of another program', { kind: 'iptables-save', text: 'apiVersion: v1\nkind: ConfigMap\n', family: 'ipv4' }],
  [
    'rules that are a picture',
    { kind: 'iptables-save', text: Uint8Array.from([0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10, 0, 0, 0]), family: 'ipv4' },
  ],
  ['nft rules that are no JSON and no rules', { kind: 'nft', text: 'hello' }],
  ['nft rules as JSON of something else', { kind: 'nft', text: '{"nftables": 7}' }],
  ['a config_dump that is a list', { kind: 'config_dump', text: '[1, 2]' }],
  ['a config_dump that is another JSON', { kind: 'config_dump', text: '{"kind": "PodList"}' }],
  ['a config_dump that was cut', { kind: 'config_dump', text: '{"configs": [{"@type": "type.goog' }],
  ['a config_dump as deep as it goes', { kind: 'config_dump', text: `{"configs": ${DEEP}}` }],
  ['sockets that are a web page', { kind: 'sockets', text: '<!doctype html><html></html>' }],
];

for (const [title, file] of nonsense)
  test(`said, and gone on without: ${title}`, () => {
    const run = replayed([bundleOf([PACKETS, file])]);
    assert.equal(run.flows.length, 1);
    assert.equal(run.lost.length, 1, `${run.lost.map(({ detail }) => detail)}`);
    const { source, detail, scope } = run.lost[0]!;
    assert.equal(source, 'malformed');
    assert.ok(detail!.length < 2000, `${detail!.length} characters`);
    assert.equal(scope.node, 'node-a');
    assert.equal(run.end.lost, true);
  });

const strange: [title: string, file: File][] = [
  ['conntrack of another program', { kind: 'conntrack', text: 'hello\nworld\n' }],
  [
    'conntrack events that are cut',
    { kind: 'conntrack-events', text: '[1795363120.176329]\t    [NEW] ipv4     2 tcp      6 120 SYN_SENT src=10.2' },
  ],
  ['ip-rule of another program', { kind: 'ip-rule', text: 'hello', family: 'ipv4' }],
  ['a kind that nobody knows', { kind: 'horoscope', text: 'hello' }],
  ['a reading that failed', { kind: 'config_dump', status: 'failed' }],
  ['the same as before, and there is none', { kind: 'config_dump', status: 'same' }],
  ['ok, without a file', { kind: 'iptables-save', status: 'ok', family: 'ipv4' }],
];

for (const [title, file] of strange)
  test(`gone on without: ${title}`, () => {
    const run = replayed([bundleOf([PACKETS, file])]);
    assert.equal(run.flows.length, 1);
    assert.equal(run.total.type, 'total');
  });

test('objects of Kubernetes that are none are said, and the input is broken', () => {
  for (const json of ['{"kind": ', '[]', '7', DEEP]) {
    const run = replayed([bundleOf([PACKETS], { 'pods.json': json })]);
    assert.equal(run.flows.length, 1, json.slice(0, 20));
    assert.deepEqual([run.lost.map(({ source }) => source), run.end.malformed], [['malformed'], true], json.slice(0, 20));
  }
});

test('files given by hand are judged like those of a bundle, and replace these', () => {
  const given = (kind: string, content: string): InputFile => ({ kind, path: fileOf(content, kind) });
  const bare = fileOf(pcap(exchange()), 'bare.pcap');
  const wrong = replayed([bare], [given('iptables-save', 'hello')]);
  assert.deepEqual([wrong.flows.length, wrong.lost.map(({ source }) => source)], [1, ['malformed']]);
  const right = replayed(
    [bundleOf([PACKETS, { kind: 'iptables-save', text: 'hello', family: 'ipv4' }])],
    [given('iptables-save', SIDECAR)],
  );
  assert.deepEqual(right.lost, []);
  const absent = replayed([bare], [{ kind: 'iptables-save', path: join(folder, 'nowhere') }]);
  assert.deepEqual([absent.flows.length, absent.lost.length, absent.end.malformed], [1, 1, true]);
  assert.match(absent.lost[0]!.detail!, /nowhere.*ENOENT/);
});

test('captures that lie: lengths, times, link types', () => {
  const frames = exchange();
  const lying = pcap(frames).slice();
  new DataView(lying.buffer).setUint32(24 + 8, 0xffff_ffff, true);
  const first = replayed([fileOf(lying)]);
  assert.deepEqual([first.total.packets, first.end.malformed, first.lost.length], [0, true, 1]);

  const backwards = writePcap({
    records: frames.map((frame, i) => ({ seconds: 1_795_363_120 - i, fraction: 0, data: Uint8Array.from(frame) })),
  });
  const times = replayed([fileOf(backwards)]);
  assert.equal(times.total.packets, 6);
  for (const flow of times.flows) assert.ok(flow.first <= flow.last);

  const ends = writePcap({
    records: [0, 0xffff_ffff].map((seconds) => ({ seconds, fraction: 999_999, data: Uint8Array.from(frames[0]!) })),
  });
  assert.equal(replayed([fileOf(ends)]).total.packets, 2);

  const foreign = replayed([fileOf(writePcap({ linkType: 127, records: [{ seconds: 1, fraction: 0, data: new Uint8Array(40) }] }))]);
  assert.deepEqual([foreign.total.packets, foreign.flows.length], [1, 0]);
});

test('several captures are one namespace, in the order of time; a broken one does not hide the others', () => {
  const record = (frame: Bytes, fraction: number) => ({ seconds: 1_795_363_120, fraction, data: Uint8Array.from(frame) });
  const all = exchange();
  const even = fileOf(writePcap({ records: all.flatMap((frame, i) => (i % 2 === 0 ? [record(frame, i)] : [])) }));
  const odd = fileOf(writePcap({ records: all.flatMap((frame, i) => (i % 2 === 1 ? [record(frame, i)] : [])) }));
  const run = replayed([odd, even]);
  assert.deepEqual([run.flows.length, run.flows[0]!.state, run.flows[0]!.counters.toSource.packets], [1, 'closed', 3]);
  const cut = fileOf(pcap(exchange(9)).subarray(0, 200));
  const broken = replayed([even, cut, odd]);
  assert.deepEqual([broken.flows.length, broken.end.malformed, broken.flows.some(({ state }) => state === 'closed')], [2, true, true]);
});

test('who has enough may stop: what was read until then is judged, and the total comes last', () => {
  const frames = Array.from({ length: 20_000 }, (_, n) => exchange(n % 20_000)).flat();
  const records: AnyRecord[] = [];
  const run = replay({ captures: [fileOf(pcap(frames))], files: [], redact: true }, (record) => records.push(record));
  let step = run.next();
  step = step.done === true ? step : run.next(true);
  while (step.done !== true) step = run.next();
  assert.equal(step.value.interrupted, true);
  const total = records.at(-1);
  assert.ok(total?.type === 'total' && total.packets > 0 && total.packets < frames.length);
});

test('a bundle damaged at any byte is refused, or told with its losses; nothing else happens', () => {
  const archive = gunzipSync(readFileSync('captures/port-excluded/node-a.tar.gz'));
  const path = join(folder, 'damaged.tar');
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(archive.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 }),
      fc.option(fc.nat(archive.length)),
      (changes, cut) => {
        const bytes = Uint8Array.from(archive);
        for (const [at, value] of changes) bytes[at] = value;
        writeFileSync(path, bytes.subarray(0, cut ?? bytes.length));
        try {
          const { records, total } = replayed([path]);
          assert.equal(records.at(-1), total);
        } catch (error) {
          if (!(error instanceof CaptureFileError)) throw error;
        }
      },
    ),
    { seed: 51, numRuns: 150 },
  );
});
