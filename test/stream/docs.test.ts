import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Batch } from '../../src/stream/batch.ts';
import { BatchEncoder } from '../../src/stream/encoder.ts';
import { bounds, closeCodes, subprotocols } from '../../src/stream/protocol.ts';
import { lost, requestFlows, requestPath } from '../output/samples.ts';
import { running } from './live.ts';

const page = readFileSync('docs/stream.md', 'utf8');

test('the client of docs/stream.md works as it stands there, and is some thirty lines long', async (t) => {
  const source = /```js\n([\s\S]*?)```/.exec(page)![1]!;
  assert.ok(source.trim().split('\n').length <= 36);
  // Beside the compiled test, so that the packages are found.
  const file = join(import.meta.dirname, 'docs-client.mjs');
  writeFileSync(file, source);
  const { server, path } = await running(t);
  const child = spawn(process.execPath, [file, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill());
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (data) => {
    text += data;
  });
  while (server.state.subscribers === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  server.publish([...requestFlows, requestPath, lost]);
  const lines = (): string[] => text.split('\n').filter((line) => line !== '');
  for (let i = 0; i < 500 && lines().length < 6; i++) await new Promise((resolve) => setTimeout(resolve, 10));
  const records = lines().map((line) => JSON.parse(line) as { [field: string]: unknown });
  assert.deepEqual(
    records.map(({ type }) => type),
    ['flow', 'flow', 'flow', 'flow', 'path', 'lost'],
  );
  assert.equal(records[0]!['source.ip'], '10.244.1.12');
  assert.deepEqual(records[4]!.legs, requestPath.legs);
  await server.close();
  for (let i = 0; i < 500 && lines().length < 7; i++) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.equal(lines()[6], 'shutdown');
});

test('the bytes that docs/stream.md shows are those that are sent', () => {
  const shown = /^ {4}85 [\s\S]*?^ {4}98/m.exec(page)![0];
  const bytes = shown
    .split('\n')
    .map((line) => /^ {4}((?:[0-9a-f]{2} +|[0-9a-f]{2}$)+)/.exec(`${line} `)![1]!)
    .join('')
    .replaceAll(' ', '');
  const batches: Batch[] = [];
  const encoder = new BatchEncoder(
    (batch) => batches.push(batch),
    assert.fail,
    () => 0,
    299,
  );
  encoder.add(lost);
  const two = batches[0]!.select([0, 0], 300, 301);
  assert.ok(two.msgpack.toString('hex').startsWith(bytes), `${two.msgpack.toString('hex').slice(0, 160)} begins otherwise than ${bytes}`);
});

test('docs/stream.md names every close code, both subprotocols, and the bounds', () => {
  for (const code of Object.values(closeCodes)) assert.match(page, new RegExp(`\\b${code}\\b`), String(code));
  for (const name of Object.values(subprotocols)) assert.ok(page.includes(`\`${name}\``), name);
  assert.match(page, new RegExp(`at most ${bounds.filters} and ${bounds.filterText} characters in all`));
  assert.ok(page.includes(`at most ${bounds.last.toLocaleString('en')}`));
  assert.ok(page.includes(`more than ${bounds.message / 1024} KiB`));
});
