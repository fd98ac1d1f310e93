import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { findings } from '../../src/findings/findings.ts';

const page = readFileSync('docs/findings.md', 'utf8');

test('docs/findings.md has a row for each rule, and for no other', () => {
  const rows = [...page.matchAll(/^\| `([a-z0-9-]+)` \| (.+) \|$/gm)].filter(([, , rest]) => rest!.split(' | ').length === 3);
  assert.deepEqual(rows.map(([, rule]) => rule).sort(), findings.map(({ rule }) => rule).sort());
});

test('each rule is a file that is called like it', () => {
  const files = new Set(readdirSync('src/findings'));
  for (const { rule } of findings) assert.ok(files.has(`${rule}.ts`), rule);
  assert.equal(new Set(findings.map(({ rule }) => rule)).size, findings.length);
});

test('each rule is asked for in some test', () => {
  const tests = readdirSync('test/findings')
    .filter((name) => name.endsWith('.test.ts') && name !== 'docs.test.ts')
    .map((name) => readFileSync(`test/findings/${name}`, 'utf8'))
    .join('\n');
  assert.deepEqual(
    findings.map(({ rule }) => rule).filter((rule) => !tests.includes(rule)),
    [],
  );
});
