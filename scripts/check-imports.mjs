// Checks how the folders of src/ depend on each other: the import table below, no cycles between files, no drawers, no barrels, no packages that are not declared.
// Prints one line a fault and exits 1; `--root DIR` checks another tree.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { basename, join, normalize, posix } from 'node:path';

/**
 * What each folder may import beside itself. `values`: anything; `types`: only by `import type` or `export type`. ARCHITECTURE.md says why.
 * Folders that are not named here may not exist.
 */
const node = ['netfilter', 'envoy', 'istio', 'kube'];
const joined = ['net', 'record', 'flow', 'world', ...node];
const assembled = ['net', 'record', 'decode', 'source', 'flow', ...node, 'world', 'annotate', 'path', 'findings', 'output'];
const table = {
  net: { values: [] },
  record: { values: ['net'] },
  decode: { values: ['net'] },
  source: { values: ['net'], types: ['decode'], files: ['decode/link-type.ts'] },
  flow: { values: ['net', 'record', 'decode'] },
  ...Object.fromEntries(node.map((folder) => [folder, { values: ['net'], types: ['record'] }])),
  world: { values: ['net', ...node], types: ['record'] },
  annotate: { values: joined, types: ['decode'] },
  path: { values: [...joined, 'annotate'], types: ['decode'], files: ['decode/header-field.ts'] },
  findings: { values: joined, types: ['decode', 'annotate', 'path'] },
  output: { values: ['net', 'record'] },
  'pipeline.ts': { values: assembled },
  stream: { values: ['net', 'record', 'output'] },
  daemon: { values: [...assembled, 'stream', 'pipeline.ts'] },
  relay: { values: [...assembled, 'stream', 'pipeline.ts'] },
  cli: { values: [...assembled, 'stream', 'pipeline.ts', 'daemon', 'relay'] },
  web: { values: ['net'], types: ['record'] },
};
/** Folders that are plain functions on plain data: from Node they may take these only. */
const pure = ['net', 'record', 'decode', 'flow', ...node, 'world', 'annotate', 'path', 'findings'];
const pureModules = new Set(['node:buffer', 'node:crypto', 'node:util', 'node:string_decoder']);
const drawers = /^(utils?|common|helpers?|types|shared|misc|lib)(\.ts)?$/;

const rootAt = process.argv.indexOf('--root');
const root = rootAt === -1 ? '.' : process.argv[rootAt + 1];
if (root === undefined || !existsSync(join(root, 'src'))) {
  process.stderr.write(`Cannot check the imports of "${root ?? ''}": a folder that holds src/ is needed, there is none\n`);
  process.exit(2);
}

const faults = [];
const files = readdirSync(join(root, 'src'), { recursive: true })
  .map((name) => name.split('\\').join('/'))
  .filter((name) => name.endsWith('.ts'))
  .sort();
const manifest = existsSync(join(root, 'package.json')) ? JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) : {};
const declared = new Set([...Object.keys(manifest.dependencies ?? {}), ...Object.keys(manifest.optionalDependencies ?? {})]);
const graph = new Map();

for (const file of files) {
  const folder = folderOf(file);
  const rule = table[folder];
  if (rule === undefined) faults.push(`src/${file}: the folder "${folder}" is not in the import table`);
  for (const part of file.split('/')) if (drawers.test(part)) faults.push(`src/${file}: "${part}" names a drawer, not a subject`);
  if (basename(file) === 'index.ts') faults.push(`src/${file}: a barrel; import the file itself`);
  const edges = [];
  graph.set(file, edges);
  for (const { specifier, typeOnly, lazy } of importsOf(readFileSync(join(root, 'src', file), 'utf8'))) {
    if (!specifier.startsWith('.')) {
      checkPackage(file, folder, specifier);
      continue;
    }
    const target = posix.join(posix.dirname(file), specifier);
    if (target.startsWith('..') || !existsSync(join(root, 'src', normalize(target)))) {
      faults.push(`src/${file}: imports "${specifier}", which is no file of src/`);
      continue;
    }
    if (!typeOnly && !lazy) edges.push(target);
    const other = folderOf(target);
    if (rule === undefined || other === folder || rule.values.includes(other)) continue;
    if (rule.types?.includes(other) && typeOnly) continue;
    if (rule.files?.includes(target)) continue;
    const only = rule.types?.includes(other) ? ', only its types' : '';
    faults.push(`src/${file}: ${folder} may not import ${target}${only}`);
  }
}
for (const cycle of cycles(graph)) faults.push(`src/${cycle[0]}: a cycle: ${cycle.join(' > ')}`);

for (const fault of faults) process.stdout.write(`${fault}\n`);
process.stdout.write(`imports: ${files.length} files, ${faults.length} faults\n`);
process.exit(faults.length > 0 ? 1 : 0);

function folderOf(file) {
  return file.includes('/') ? file.slice(0, file.indexOf('/')) : file;
}

function checkPackage(file, folder, specifier) {
  if (specifier.startsWith('node:')) {
    if (pure.includes(folder) && !pureModules.has(specifier))
      faults.push(`src/${file}: ${folder} is pure and may not import "${specifier}"`);
    return;
  }
  const name = specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
  if (builtinModules.includes(name)) faults.push(`src/${file}: "${specifier}" must be written "node:${specifier}"`);
  else if (!declared.has(name)) faults.push(`src/${file}: the package "${name}" is no dependency in package.json`);
}

/** Every import and re-export of a source, static and dynamic. `import type …`, `export type …` and a list of nothing but `type x` are types only. */
function* importsOf(source) {
  for (const [, words, specifier] of source.matchAll(/^(?:import|export)\s((?:[^;'"=()]*?\sfrom\s+)?)['"]([^'"\n]+)['"]/gm)) {
    const list = /^\{([^}]*)\}\s*from/.exec(words)?.[1];
    const names = list
      ?.split(',')
      .map((name) => name.trim())
      .filter((name) => name !== '');
    const typeOnly = /^type\s/.test(words) || (names !== undefined && names.length > 0 && names.every((name) => name.startsWith('type ')));
    yield { specifier, typeOnly, lazy: false };
  }
  for (const [, specifier] of source.matchAll(/\bimport\(\s*['"]([^'"\n]+)['"]\s*\)/g)) yield { specifier, typeOnly: false, lazy: true };
}

/** Cycles of imports of values, each once. Types are gone at run time and may point both ways; what is loaded only when asked for (`await import`, as the commands are) closes no cycle. */
function* cycles(edgesOf) {
  const state = new Map();
  for (const start of edgesOf.keys()) {
    if (state.has(start)) continue;
    const way = [[start, 0]];
    state.set(start, 'open');
    while (way.length > 0) {
      const top = way[way.length - 1];
      const next = edgesOf.get(top[0])?.[top[1]++];
      if (next === undefined) {
        state.set(top[0], 'done');
        way.pop();
      } else if (state.get(next) === 'open') {
        const names = way.map(([name]) => name);
        yield [...names.slice(names.indexOf(next)), next];
      } else if (!state.has(next) && edgesOf.has(next)) {
        state.set(next, 'open');
        way.push([next, 0]);
      }
    }
  }
}
