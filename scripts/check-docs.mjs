// Checks that the pages keep up with the code: every reason and every record field in docs/records.md, every dependency in DEPENDENCIES.md, no link to a missing file.
// Prints one line a fault and exits 1; `--root DIR` checks another tree.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const rootAt = process.argv.indexOf('--root');
const root = rootAt === -1 ? '.' : (process.argv[rootAt + 1] ?? '.');
const faults = [];

const records = read('docs/records.md');
const reasonSource = read('src/record/reason.ts');
const reasons = [...reasonSource.matchAll(/^ {2}'?([a-z][a-z-]*)'?: ['"`]/gm)].map(([, name]) => name);
if (reasonSource !== '' && reasons.length === 0) faults.push('src/record/reason.ts: no reason was found, the list must be there');
for (const reason of reasons) {
  if (!records.includes(`\`${reason}\``)) faults.push(`docs/records.md: the reason \`${reason}\` is not documented`);
}
for (const [, field] of read('src/record/record.ts').matchAll(/^ {2}(?:readonly )?([a-zA-Z]+)\??: /gm)) {
  if (!new RegExp(`\\b${field}\\b`).test(records)) faults.push(`docs/records.md: the field \`${field}\` is not documented`);
}

const manifest = JSON.parse(read('package.json') || '{}');
const dependencies = read('DEPENDENCIES.md');
for (const kind of ['dependencies', 'optionalDependencies', 'devDependencies']) {
  for (const name of Object.keys(manifest[kind] ?? {})) {
    if (!dependencies.includes(`| \`${name}\` |`)) faults.push(`DEPENDENCIES.md: \`${name}\` of ${kind} has no line`);
  }
}
for (const [, name] of dependencies.matchAll(/^\| `([^`]+)` \|/gm)) {
  const kinds = [manifest.dependencies, manifest.optionalDependencies, manifest.devDependencies];
  if (!kinds.some((kind) => kind !== undefined && name in kind)) faults.push(`DEPENDENCIES.md: \`${name}\` is no dependency any more`);
}

const pages = readdirSync(root).filter((name) => name.endsWith('.md'));
for (const folder of ['docs', 'bench', 'captures', 'test/mesh']) {
  if (!existsSync(join(root, folder))) continue;
  for (const name of readdirSync(join(root, folder), { recursive: true }))
    if (String(name).endsWith('.md')) pages.push(join(folder, String(name)));
}
for (const page of pages) {
  for (const [, target] of read(page).matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)) {
    if (/^[a-z]+:/.test(target)) continue;
    if (!existsSync(join(root, dirname(page), target))) faults.push(`${page}: links to "${target}", which is not there`);
  }
}

for (const fault of faults) process.stdout.write(`${fault}\n`);
process.stdout.write(`docs: ${reasons.length} reasons, ${pages.length} pages, ${faults.length} faults\n`);
process.exit(faults.length > 0 ? 1 : 0);

function read(path) {
  if (existsSync(join(root, path))) return readFileSync(join(root, path), 'utf8');
  faults.push(`${path}: it must be there, it is absent`);
  return '';
}
