// Splits what `helm template` prints on standard input into files, one for each template, and takes away what only Helm wants to know.
//
//   helm template … | node deploy/split-manifests.mjs FOLDER
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const [folder] = process.argv.slice(2);
const files = new Map();
for (const document of readFileSync(0, 'utf8').split(/^---\n/m)) {
  const source = /^# Source: \S+\/templates\/(\S+)\n/.exec(document);
  if (source === null) continue;
  const text = document.slice(source[0].length).trimEnd();
  files.set(source[1], [...(files.get(source[1]) ?? []), text]);
}
for (const [name, documents] of files) writeFileSync(join(folder, name), `${documents.join('\n---\n')}\n`);
