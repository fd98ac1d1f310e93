// Checks the samples of the pages: where a code block shows a command behind "$ " and what it prints, the same lines must stand in what it really prints.
//
//   node scripts/check-readme.mjs             README.md and the pages of docs/
//   node scripts/check-readme.mjs PAGE…       these
//
// Prints one line a fault and exits 1. The program must have been compiled.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const program = 'dist/src/cli/main.js';
if (!existsSync(program)) {
  process.stderr.write(`Cannot try the samples: the compiled "${program}" must be there, it is absent. Run ./setup\n`);
  process.exit(2);
}

const named = process.argv.slice(2);
const pages =
  named.length > 0
    ? named
    : [
        'README.md',
        ...readdirSync('docs')
          .filter((name) => name.endsWith('.md'))
          .map((name) => join('docs', name)),
      ];
const faults = [];
let samples = 0;
for (const page of pages) {
  const found = samplesOf(readFileSync(page, 'utf8'));
  samples += found.length;
  for (const { line, command, shown } of found) {
    const problem = compare(command, shown);
    if (problem !== undefined) faults.push(`${page}:${line}: "${command}": ${problem}`);
  }
}
if (named.length === 0 && samples === 0)
  faults.push('README.md: a block that shows "$ npx sidetrace …" with its output is wanted, there is none');

for (const fault of faults) process.stdout.write(`${fault}\n`);
process.stdout.write(`samples: ${samples} in ${pages.length} pages, ${faults.length} faults\n`);
process.exit(faults.length > 0 ? 1 : 0);

/** Commands behind "$ " in fenced blocks, each with the lines up to the next one or the end of the block. */
function samplesOf(text) {
  const found = [];
  let fenced = false;
  let current;
  for (const [index, line] of text.split('\n').entries()) {
    if (line.startsWith('```')) {
      fenced = !fenced;
      current = undefined;
    } else if (fenced && line.startsWith('$ ')) {
      current = { line: index + 1, command: line.slice(2), shown: [] };
      found.push(current);
    } else if (current !== undefined) current.shown.push(line);
  }
  return found.filter(({ shown }) => shown.some((line) => line.trim() !== ''));
}

/** What is wrong, or undefined. `…` on a line of its own stands for lines that were left out. */
function compare(command, shown) {
  const [, args] = /^(?:npx )?sidetrace (.*)$/.exec(command) ?? [];
  if (args === undefined) return 'a command that begins "npx sidetrace" is wanted';
  const run = spawnSync(process.execPath, [program, ...args.split(/\s+/)], {
    encoding: 'utf8',
    maxBuffer: 256 * 1024 * 1024,
    env: { ...process.env, NO_COLOR: '1' },
  });
  if (run.status !== 0) return `exit code 0 is wanted, ${run.status ?? run.signal} was the answer: ${run.stderr.trim()}`;
  const real = run.stdout.split('\n');
  let from = 0;
  for (const piece of pieces(shown)) {
    const at = find(real, piece, from);
    if (at === -1) {
      const lost = piece.find((line) => !real.includes(line));
      return `its output does not hold the ${piece.length} lines from ${JSON.stringify(piece[0])} on${lost === undefined ? ' in this order' : `; it has no line ${JSON.stringify(lost)}`}`;
    }
    from = at + piece.length;
  }
  return undefined;
}

function pieces(shown) {
  const all = [[]];
  for (const line of shown)
    if (line.trim() === '…') all.push([]);
    else all.at(-1).push(line);
  return all
    .map((piece) =>
      piece.slice(
        piece.findIndex((line) => line !== ''),
        piece.findLastIndex((line) => line !== '') + 1,
      ),
    )
    .filter((piece) => piece.length > 0);
}

function find(lines, piece, from) {
  for (let at = from; at + piece.length <= lines.length; at++) if (piece.every((line, i) => lines[at + i] === line)) return at;
  return -1;
}
