// Compares what the program makes of the recordings in captures/ with the records kept beside them.
//
//   npm run golden                          every situation that has expected records
//   npm run golden -- bookinfo              one
//   npm run golden -- bookinfo --update     writes them; read the difference before you commit it
//
// A situation is a folder of captures/; its records are expected.jsonl, or expected.jsonl.gz where that is large. CI compares and never writes.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';

const program = 'dist/src/cli/main.js';
const largestPlainBytes = 256 * 1024;
const largestBytes = 2 * 1024 * 1024;
const differencesShown = 5;

const update = process.argv.includes('--update');
const named = process.argv.slice(2).filter((argument) => !argument.startsWith('-'));
if (update && process.env.CI) stop('Cannot write expected records in CI: they are written by a person who reads the difference');
if (!existsSync(program)) stop(`Cannot replay: the compiled "${program}" must be there, it is absent. Run ./setup`);

const situations = (named.length > 0 ? named : readdirSync('captures')).filter((name) => {
  const isThere = existsSync(join('captures', name, 'README.md'));
  if (!isThere && named.length > 0) stop(`Cannot compare "${name}": a folder of captures/ with a README.md is needed, there is none`);
  return isThere && (update || named.length > 0 || expectedFile(name) !== undefined);
});
if (situations.length === 0) stop('Cannot compare: expected records beside at least one recording are needed, there are none');

let wrong = 0;
for (const name of situations) {
  const actual = replay(name);
  if (update) write(name, actual);
  else if (!compare(name, actual)) wrong += 1;
}
process.stdout.write(`golden: ${situations.length} situations, ${update ? 'written' : `${wrong} differ`}\n`);
process.exit(wrong > 0 ? 1 : 0);

function expectedFile(name) {
  return ['expected.jsonl', 'expected.jsonl.gz'].map((file) => join('captures', name, file)).find((file) => existsSync(file));
}

/** The records of a recording, one a line. Through a file, since a pipe's buffer would bound them. */
function replay(name) {
  const folder = mkdtempSync(join(tmpdir(), 'sidetrace-golden-'));
  try {
    const output = join(folder, 'records.jsonl');
    const run = spawnSync(process.execPath, [program, 'replay', join('captures', name), '-o', 'json', '--output', output], {
      stdio: ['ignore', 'inherit', 'pipe'],
      encoding: 'utf8',
    });
    if (run.status !== 0 && run.status !== 4)
      stop(`Cannot replay "captures/${name}": exit code 0 is wanted, ${run.status ?? run.signal} was the answer\n${run.stderr}`);
    return readFileSync(output, 'utf8')
      .split('\n')
      .filter((line) => line !== '');
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function write(name, records) {
  const text = `${records.join('\n')}\n`;
  for (const file of ['expected.jsonl', 'expected.jsonl.gz']) rmSync(join('captures', name, file), { force: true });
  const isLarge = Buffer.byteLength(text) > largestPlainBytes;
  const bytes = isLarge ? gzipSync(text, { level: 9 }) : Buffer.from(text);
  if (bytes.length > largestBytes)
    stop(`Cannot keep the records of "captures/${name}": at most ${largestBytes} bytes are wanted, they are ${bytes.length}`);
  writeFileSync(join('captures', name, isLarge ? 'expected.jsonl.gz' : 'expected.jsonl'), bytes);
  process.stdout.write(`${name}: ${records.length} records written\n`);
}

function compare(name, actual) {
  const file = expectedFile(name);
  if (file === undefined)
    stop(`Cannot compare "captures/${name}": expected.jsonl or expected.jsonl.gz is needed, there is neither. Write it with --update`);
  const bytes = readFileSync(file);
  const expected = (file.endsWith('.gz') ? gunzipSync(bytes).toString('utf8') : bytes.toString('utf8'))
    .split('\n')
    .filter((line) => line !== '');
  const differing = [];
  for (let i = 0; i < Math.max(expected.length, actual.length); i += 1) if (expected[i] !== actual[i]) differing.push(i);
  if (differing.length === 0) {
    process.stdout.write(`${name}: ${actual.length} records as expected\n`);
    return true;
  }
  process.stdout.write(`${name}: ${differing.length} of ${expected.length} records differ (${actual.length} now)\n`);
  for (const i of differing.slice(0, differencesShown)) process.stdout.write(explain(i, expected[i], actual[i]));
  return false;
}

/** The fields in which two records differ, by their paths. */
function explain(index, expected, actual) {
  if (expected === undefined) return `  line ${index + 1}: not expected: ${actual.slice(0, 200)}\n`;
  if (actual === undefined) return `  line ${index + 1}: missing: ${expected.slice(0, 200)}\n`;
  const before = fields(JSON.parse(expected));
  const after = fields(JSON.parse(actual));
  const lines = [...new Set([...before.keys(), ...after.keys()])]
    .filter((path) => before.get(path) !== after.get(path))
    .map((path) => `    ${path}: ${before.get(path) ?? 'absent'} is expected, ${after.get(path) ?? 'absent'} it is\n`);
  const id = JSON.parse(expected);
  return `  line ${index + 1} (${id.type} ${id.id ?? ''}):\n${lines.length > 0 ? lines.slice(0, 10).join('') : '    only the order of the fields\n'}`;
}

function fields(value, path = '', into = new Map()) {
  if (value === null || typeof value !== 'object') into.set(path, JSON.stringify(value));
  else for (const [key, inner] of Object.entries(value)) fields(inner, path === '' ? key : `${path}.${key}`, into);
  return into;
}

function stop(message) {
  process.stderr.write(`${message}\n`);
  process.exit(2);
}
