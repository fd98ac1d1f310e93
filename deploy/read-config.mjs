// Reads the configuration in a rendered chart (standard input) as the daemon would, and fails where the daemon would. Needs the compiled program.
//
//   helm template … | node deploy/read-config.mjs NAME
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { readConfig } from '../dist/src/daemon/config-sources.js';

const [name] = process.argv.slice(2);
const map = parseAllDocuments(readFileSync(0, 'utf8'), { version: '1.1' })
  .map((document) => document.toJS())
  .find((object) => object?.kind === 'ConfigMap');
const folder = mkdtempSync(join(tmpdir(), 'sidetrace-'));
try {
  const file = join(folder, 'config.yaml');
  writeFileSync(file, map.data['config.yaml']);
  readConfig({ file, environment: {}, flags: {} });
} catch (error) {
  process.stderr.write(`deploy/check: the daemon refuses the configuration that the chart gives with ${name}:\n${error.message}\n`);
  process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true });
}
