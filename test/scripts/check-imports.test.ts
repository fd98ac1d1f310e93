import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';

/** Writes a tree of sources, checks it, and gives what the script printed and its exit code. */
function check(tree: Record<string, string>): { code: number | null; lines: string[] } {
  const root = mkdtempSync(join(tmpdir(), 'sidetrace-imports-'));
  try {
    for (const [path, text] of Object.entries({
      'package.json': '{"dependencies":{"ws":"1"},"devDependencies":{"fast-check":"1"}}',
      ...tree,
    })) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), text);
    }
    const run = spawnSync(process.execPath, ['scripts/check-imports.mjs', '--root', root], { encoding: 'utf8' });
    return { code: run.status, lines: run.stdout.trim().split('\n') };
  } finally {
    rmSync(root, { recursive: true });
  }
}

const address = { 'src/net/address.ts': 'export const loopback = 1;\n' };

test('a tree that keeps the table passes', () => {
  const { code, lines } = check({
    ...address,
    'src/record/record.ts': "import { loopback } from '../net/address.ts';\nexport const x = loopback;\n",
    'src/output/stream.ts': "import { WebSocket } from 'ws';\nimport { readFileSync } from 'node:fs';\n",
  });
  assert.deepEqual({ code, lines }, { code: 0, lines: ['imports: 3 files, 0 faults'] });
});

const faulty: { name: string; tree: Record<string, string>; says: RegExp }[] = [
  {
    name: 'an import against the table',
    tree: { ...address, 'src/record/a.ts': 'export {};\n', 'src/net/b.ts': "import { a } from '../record/a.ts';\n" },
    says: /src\/net\/b\.ts: net may not import record\/a\.ts/,
  },
  {
    name: 'an import against the table that spans lines',
    tree: { ...address, 'src/flow/a.ts': 'export {};\n', 'src/output/b.ts': "import {\n  a,\n  type B,\n} from '../flow/a.ts';\n" },
    says: /output may not import flow\/a\.ts/,
  },
  {
    name: 'a re-export against the table',
    tree: { 'src/flow/a.ts': 'export {};\n', 'src/decode/b.ts': "export * from '../flow/a.ts';\n" },
    says: /decode may not import flow\/a\.ts/,
  },
  {
    name: 'a dynamic import against the table',
    tree: { 'src/cli/a.ts': 'export {};\n', 'src/world/b.ts': "const a = await import('../cli/a.ts');\n" },
    says: /world may not import cli\/a\.ts/,
  },
  {
    name: 'a value where only types may be taken',
    tree: { 'src/record/a.ts': 'export {};\n', 'src/envoy/b.ts': "import { type A, b } from '../record/a.ts';\n" },
    says: /envoy may not import record\/a\.ts, only its types/,
  },
  {
    name: 'a cycle',
    tree: { 'src/flow/a.ts': "import { b } from './b.ts';\n", 'src/flow/b.ts': "import { a } from './a.ts';\n" },
    says: /a cycle: flow\/a\.ts > flow\/b\.ts > flow\/a\.ts/,
  },
  { name: 'a drawer', tree: { 'src/net/utils.ts': 'export {};\n' }, says: /"utils\.ts" names a drawer/ },
  { name: 'a drawer that is a folder', tree: { 'src/envoy/common/a.ts': 'export {};\n' }, says: /"common" names a drawer/ },
  { name: 'a barrel', tree: { 'src/net/index.ts': 'export {};\n' }, says: /src\/net\/index\.ts: a barrel/ },
  {
    name: 'a folder that is not in the table',
    tree: { 'src/misc2/a.ts': 'export {};\n' },
    says: /the folder "misc2" is not in the import table/,
  },
  {
    name: 'a file that is not there',
    tree: { 'src/net/a.ts': "import { b } from './b.ts';\n" },
    says: /"\.\/b\.ts", which is no file of src/,
  },
  { name: 'a package of the tests', tree: { 'src/cli/a.ts': "import fc from 'fast-check';\n" }, says: /"fast-check" is no dependency/ },
  {
    name: 'a file system in the pure core',
    tree: { 'src/decode/a.ts': "import { readFileSync } from 'node:fs';\n" },
    says: /decode is pure and may not import "node:fs"/,
  },
];
for (const { name, tree, says } of faulty) {
  test(`${name} is a fault`, () => {
    const { code, lines } = check(tree);
    assert.equal(code, 1);
    assert.match(lines.join('\n'), says);
  });
}

test('types may point both ways, and nodes may take the types of records', () => {
  const { code } = check({
    'src/record/a.ts': 'export interface A {}\n',
    'src/envoy/b.ts': "import type { A } from '../record/a.ts';\nimport type { C } from './c.ts';\nexport type B = A | C;\n",
    'src/envoy/c.ts': "import type { B } from './b.ts';\nexport type C = { b: B };\n",
  });
  assert.equal(code, 0);
});
