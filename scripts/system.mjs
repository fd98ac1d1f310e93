// The system tests (test/live): daemons in a real mesh and in namespaces of their own. Minutes, root, and the lab's programs (test/mesh/build builds them where they are absent).
//
//   npm run -s system                    all
//   npm run -s system -- truth loss      those whose names begin so
//
// Environment: BIN and LAB as for test/mesh/mesh; SYSTEM_MODES=redirect,tproxy,native-nft for some modes of the mesh; KEEP=1 leaves the lab up afterwards; SYSTEM_CAPTURE=1 keeps the packets of all pods with what was observed.
// Where they cannot run they say so loudly and count as skipped; in CI that is a failure.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';

const order = ['loss', 'churn', 'truth'];
const placeOf = (name) => (order.includes(name) ? order.indexOf(name) : order.length);
const names = readdirSync('test/live')
  .filter((file) => file.endsWith('.system.ts'))
  .map((file) => file.slice(0, -'.system.ts'.length))
  .sort((one, other) => placeOf(one) - placeOf(other) || (one < other ? -1 : 1));
const asked = process.argv.slice(2).filter((word) => !word.startsWith('-'));
const wanted = asked.length === 0 ? names : names.filter((name) => asked.some((word) => name.startsWith(word)));
for (const word of asked)
  if (!names.some((name) => name.startsWith(word))) stop(`Cannot run the system test "${word}": one of ${names.join(', ')} is wanted`);

const problem = whyNot();
if (problem !== undefined) {
  const banner = '='.repeat(100);
  process.stderr.write(`${banner}\nSKIPPED: the system tests (${wanted.join(', ')}): ${problem}\n${banner}\n`);
  process.exit(process.env.CI ? 1 : 0);
}

const results = [];
for (const name of wanted) {
  const begun = performance.now();
  process.stdout.write(`\n==> ${name}\n`);
  const reporter = ['--test-reporter=./scripts/test-reporter.mjs', '--test-reporter-destination=stdout'];
  const run = spawnSync(process.execPath, ['--test', ...reporter, '--test-timeout=900000', join('dist/test/live', `${name}.system.js`)], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  results.push({ name, seconds: (performance.now() - begun) / 1000, code: run.status ?? 1 });
}
if (process.env.KEEP !== '1') spawnSync('test/mesh/mesh', ['down'], { stdio: 'inherit' });
process.stdout.write('\n');
for (const { name, seconds, code } of results)
  process.stdout.write(`${name.padEnd(12)} ${seconds.toFixed(0).padStart(5)} s  ${code === 0 ? 'ok' : 'FAILED'}\n`);
process.exit(results.some(({ code }) => code !== 0) ? 1 : 0);

function whyNot() {
  if (process.platform !== 'linux') return `Linux is needed, this is ${process.platform}`;
  if (process.getuid() !== 0) return `root is needed, for namespaces and captures; this is user ${process.getuid()}`;
  const made = spawnSync('make', ['-C', 'native', '-s'], { encoding: 'utf8' });
  if (made.status !== 0) return `the probe cannot be built: apt-get install g++ make libpcap-dev\n${made.stderr ?? made.error}`;
  const built = spawnSync('test/mesh/mesh', ['ready'], { stdio: ['ignore', 'inherit', 'inherit'] });
  if (built.status !== 0)
    return "the lab cannot be built; what is missing stands above (Go 1.25, the Go module proxy, PyPI and Debian's packages are needed: test/mesh/build)";
  return undefined;
}

function stop(message) {
  process.stderr.write(`${message}\n`);
  process.exit(2);
}
