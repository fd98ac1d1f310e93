import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { InputError } from '../../src/cli/failure.ts';
import { SavedRecords } from '../../src/cli/saved-records.ts';
import { palette } from '../../src/output/color.ts';
import type { Sink } from '../../src/output/sink.ts';
import { findSink, sinks } from '../../src/output/sinks.ts';
import { StringWriter } from '../../src/output/writer.ts';
import { replay } from '../../src/pipeline.ts';
import type { AnyRecord } from '../../src/record/record.ts';
import { recordMisfit } from '../../src/record/record-shape.ts';
import { misfitText } from '../../src/record/shape.ts';
import { run, shell } from './run.ts';

const capture = 'captures/self-call';
const here = { skip: existsSync(capture) ? false : `SKIPPED: "${capture}" is absent (run the tests from the repository's root)` };
const folder = mkdtempSync(join(tmpdir(), 'sidetrace-show-'));
after(() => rmSync(folder, { recursive: true }));

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

function sinkOf(name: string): { sink: Sink; writer: StringWriter } {
  const writer = new StringWriter();
  const options = {
    palette: palette(false),
    why: true,
    all: true,
    printNodeName: true,
    numeric: false,
    timeFormat: 'RFC3339Nano',
    width: 100,
  } as const;
  return { sink: findSink(name)!.create(writer, options), writer };
}

/** What a saved file gives in a format, and what is said of the rest. */
function shown(path: string, format = 'json'): { text: string; problems: readonly string[]; records: AnyRecord[] } {
  const { sink, writer } = sinkOf(format);
  const records: AnyRecord[] = [];
  const saved = new SavedRecords(path);
  const reading = saved.read((record) => {
    records.push(record);
    sink.write(record);
  });
  while (reading.next().done !== true);
  sink.end();
  return { text: writer.toString(), problems: saved.problems.sentences, records };
}

const situations = existsSync('captures') ? readdirSync('captures').filter((name) => existsSync(join('captures', name, 'README.md'))) : [];
for (const name of situations)
  test(`captures/${name}: saved as msgpack or JSON and shown again, every format has the same bytes as when it is replayed`, () => {
    const outputs = sinks.map((format) => ({ name: format.name, ...sinkOf(format.name) }));
    const running = replay({ captures: [join('captures', name)], files: [], redact: true }, (record) => {
      for (const { sink } of outputs) sink.write(record);
    });
    while (running.next().done !== true);
    for (const { sink } of outputs) sink.end();
    const [msgpack, json] = ['msgpack', 'json'].map((form) =>
      file(`${name}.${form}`, outputs.find((output) => output.name === form)!.writer.content),
    ) as [string, string];
    for (const { name: format, writer } of outputs)
      for (const path of [msgpack, json]) {
        const { text, problems } = shown(path, format);
        assert.deepEqual(problems, []);
        assert.equal(text, writer.toString(), `${path} as ${format}`);
      }
    for (const record of shown(json).records) {
      const misfit = recordMisfit(record);
      assert.equal(misfit === undefined ? '' : misfitText(misfit), '');
    }
  });

test('show reads standard input, packed files and files', here, () => {
  const { code, out } = shell(`$SIDETRACE replay ${capture} -o msgpack | $SIDETRACE show - -o json`);
  assert.equal(out, run(['replay', capture, '-o', 'json']).out);
  assert.equal(code, 0);
  const text = run(['replay', capture]).out;
  assert.equal(run(['show', '-'], { input: out }).out, text);
  assert.equal(run(['show', file('records.jsonl.gz', gzipSync(out))]).out, text);
});

test('show filters, limits and explains as replay does', here, () => {
  const path = file('filtered.msgpack', '');
  assert.equal(run(['replay', capture, '-o', 'msgpack', '--output', path]).code, 0);
  for (const flags of [
    ['--why'],
    ['--all', '--numeric'],
    ['--leg', 'proxy-to-app', '-o', 'json'],
    ['--not', '--leg', 'proxy-to-app', '-o', 'json'],
    ['--http-status', '2+', '--last', '1', '-o', 'json'],
    ['--first', '2', '-o', 'compact', '--time-format', 'RFC3339Nano', '--print-node-name'],
    ['--since', '1s', '-o', 'json'],
    ['--color', 'always'],
  ]) {
    const replayed = run(['replay', capture, ...flags]);
    assert.deepEqual(run(['show', path, ...flags]), replayed, flags.join(' '));
    assert.equal(replayed.code, 0);
  }
});

test('show knows labels of pods where it is told the pods', here, () => {
  const path = file('labels.json', run(['replay', capture, '-o', 'json']).out);
  const none = run(['show', path, '--label', 'app=productpage']);
  assert.match(none.err, /Cannot filter by labels: saved records hold none, "--pods FILE" is wanted/);
  assert.deepEqual([none.code, none.out], [1, '']);
  const metadata = { namespace: 'default', name: '', labels: { app: 'productpage' } };
  const name = /"pod":\{"namespace":"default","name":"([^"]+)"/.exec(readFileSync(path, 'utf8'))![1]!;
  const pods = file(
    'pods.json',
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'PodList',
      items: [{ kind: 'Pod', metadata: { ...metadata, name }, status: { podIPs: [] } }],
    }),
  );
  const flows = (label: string): number =>
    run(['show', path, '--pods', pods, '--label', label, '-o', 'json'])
      .out.split('\n')
      .filter((line) => line.startsWith('{"type":"flow"')).length;
  assert.ok(flows('app=productpage') > 0);
  assert.equal(flows('app=other'), 0);
});

test('show says that pcapng needs packets', () => {
  const { code, err } = run(['show', 'x', '-o', 'pcapng']);
  assert.match(err, /Cannot write the format "pcapng" here: it holds packets, and saved records have none/);
  assert.equal(code, 1);
});

test('a reader that goes away ends show quietly', here, () => {
  const path = file('head.msgpack', Buffer.alloc(0));
  run(['replay', capture, '-o', 'msgpack', '--output', path]);
  const { code, err } = shell(
    `set -o pipefail; cat ${`${path} `.repeat(200)} | $SIDETRACE show - -o json | head -n 1 > /dev/null; exit $?`,
  );
  assert.deepEqual([err, [0, 141].includes(code ?? -1)], ['', true]);
});

test('saved msgpack that is cut anywhere gives the records before the cut, and says where it ends', here, () => {
  const whole = file('whole.msgpack', '');
  run(['replay', capture, '-o', 'msgpack', '--output', whole]);
  const bytes = readFileSync(whole);
  const all = shown(whole).records;
  const values: number[] = [];
  for (let cut = 1; cut < bytes.length; cut += cut < 1000 ? 1 : 13) {
    const { records, problems } = shown(file('cut.msgpack', bytes.subarray(0, cut)));
    assert.deepEqual(records, all.slice(0, records.length));
    if (problems.length === 0) values.push(cut);
    else
      assert.match(
        problems.join('\n'),
        /^Cannot show all of ".*cut\.msgpack": at byte \d+ a whole value is wanted, the file ends \d+ bytes behind its begin$/,
      );
  }
  assert.ok(values.length < 10);
});

test('saved JSON that is cut anywhere gives the lines before the cut', here, () => {
  const json = run(['replay', capture, '-o', 'json']).out;
  const all = json.split('\n').length - 1;
  for (let cut = 1; cut < json.length; cut += 97) {
    const lines = json.slice(0, cut).split('\n');
    const { records, problems } = shown(file('cut.json', json.slice(0, cut)));
    const rest = lines.at(-1);
    if (rest === '' || cut === json.length - 1) assert.equal(problems.length, 0);
    else if (records.length === lines.length - 1)
      assert.match(
        problems.join(),
        /^Cannot show line \d+ of ".*": a JSON object is wanted, .*the file ends here, without an end of line$/,
      );
    assert.ok(records.length >= lines.length - 1 && records.length <= all);
  }
});

test('what is cut ends with exit code 2, after what could be shown', here, () => {
  const path = file('end.msgpack', '');
  run(['replay', capture, '-o', 'msgpack', '--output', path]);
  const bytes = readFileSync(path);
  const { code, out, err } = run(['show', '-', '-o', 'json'], { input: bytes.subarray(0, -1) });
  assert.match(out, /^\{"type":"flow"/);
  assert.match(err, /^sidetrace: Cannot show all of "standard input": at byte \d+ a whole value is wanted/);
  assert.equal(code, 2);
  const packed = run(['show', '-', '-o', 'json'], { input: gzipSync(bytes).subarray(0, -100) });
  assert.equal(packed.code, 2);
  assert.match(packed.err, /^sidetrace: Cannot/);
});

test('lines that are no records are told, the first few one by one, and the others are shown', here, () => {
  const json = run(['replay', capture, '-o', 'json']).out;
  const { code, out, err } = run(['show', '-', '-o', 'json'], { input: `{"type":"weather"}\n${'{}\n'.repeat(20)}\n${json}` });
  assert.equal(out, json);
  assert.match(
    err,
    /line 1 of "standard input": a record is wanted: "type" must be one of flow, path, finding, lost, total, it is "weather"/,
  );
  assert.match(err, /sidetrace: 16 more of this kind/);
  assert.equal(err.trim().split('\n').length, 6);
  assert.equal(code, 2);
});

const foreign: [what: string, content: () => string | Uint8Array, says: RegExp][] = [
  ['an empty file', () => '', /records of "-o msgpack" or "-o json" are wanted, it is empty/],
  ['blank lines', () => '\n \n', /are wanted, it is text that begins/],
  ['text', () => 'hello, this is no record', /it is text that begins "hello, this is n"/],
  ['a bundle', () => readFileSync(join(capture, 'node-a.tar.gz')), /it is a recording: "sidetrace replay" reads it/],
  ['a capture', () => Buffer.from('d4c3b2a1020004000000000000000000ffff000001000000', 'hex'), /it is a recording/],
  ['random bytes', () => Buffer.from('fedcba9876543210', 'hex'), /it is bytes that begin fe dc ba/],
];
for (const [what, content, says] of foreign)
  test(`show of ${what} says what it is`, here, () => {
    const path = file('foreign', content());
    assert.throws(
      () => new SavedRecords(path),
      (error) => error instanceof InputError && says.test(error.message),
    );
  });

test('show of a file that is not there, or of a folder, ends with exit code 2', () => {
  const absent = run(['show', join(folder, 'absent')]);
  assert.match(absent.err, /Cannot open ".*absent": a file of saved records is wanted, the system says ENOENT/);
  assert.equal(absent.code, 2);
  const inFolder = run(['show', folder]);
  assert.match(inFolder.err, /it is a folder \("sidetrace replay" reads recordings\)/);
  assert.equal(inFolder.code, 2);
});

test('a line without end, and a value without end, are given up before they fill the memory', () => {
  const long = run(['show', '-'], { input: Buffer.concat([Buffer.from('{"type":"'), Buffer.alloc(6 * 1024 * 1024, 'a')]) });
  assert.match(long.err, /a line of at most 4194304 bytes is wanted, it is longer/);
  assert.equal(long.code, 2);
  const list = Buffer.alloc(6 * 1024 * 1024, 0xa1);
  list.set([0x81, 0xdd, 0, 0x0f, 0xff, 0xff]);
  list.fill(0xd9, 6);
  const wide = run(['show', '-'], { input: list });
  assert.match(wide.err, /Cannot show all of "standard input": at byte 0 a value of at most/);
  assert.equal(wide.code, 2);
});
