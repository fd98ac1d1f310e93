// Runs the compiled tests: `npm test`, or some of them: `npm test -- test/netfilter test/decode/tcp.test.ts`.
// Only files whose source is still there are run, since the compiler does not take away what a removed source left in dist/.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

const wanted = process.argv.slice(2).filter((argument) => !argument.startsWith('-'));
const options = process.argv.slice(2).filter((argument) => argument.startsWith('-'));

const sources = (wanted.length > 0 ? wanted : ['test']).flatMap((path) => {
  if (!existsSync(path)) stop(`Cannot run the tests in "${path}": a file or folder of test/ is needed, there is none`);
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path, { recursive: true })
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => join(path, name));
});
const compiled = sources.map((source) => join('dist', source.replace(/\.ts$/, '.js'))).sort();
const absent = compiled.filter((file) => !existsSync(file));
if (absent.length > 0) stop(`Cannot run "${absent[0]}": it must have been compiled, it is absent. Run npm run build`);
if (compiled.length === 0) stop('Cannot run tests: at least one *.test.ts is needed, there is none');

// Most of them wait: for processes, for time to pass. More at once than there are processors.
const run = spawnSync(
  process.execPath,
  [
    '--test',
    '--test-concurrency=3',
    '--test-timeout=3600000', // A file that does not end is a failure, not a wait. No test gives itself longer.
    '--test-reporter=./scripts/test-reporter.mjs',
    '--test-reporter-destination=stdout',
    ...options,
    ...compiled,
  ],
  {
    stdio: ['ignore', 'inherit', 'inherit'],
  },
);
process.exit(run.status ?? 1);

function stop(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}
