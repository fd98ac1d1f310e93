// Reporter for node:test: a line for each file, every skipped test with its reason, every failure in full, then node's own closing lines (`# tests N`, `# pass N`, …).
// With SIDETRACE_NO_SKIPS, as in .ci/run, a skipped test is a failure. SIDETRACE_FAILURES names a file to which each failure is added in short.
import { appendFileSync } from 'node:fs';
import { relative } from 'node:path';
import { inspect } from 'node:util';

export default async function* report(source) {
  const files = new Map();
  const failures = [];
  for await (const { type, data } of source) {
    if (type === 'test:pass' || type === 'test:fail') {
      const file = relative('dist', data.file ?? '');
      const isFileItself = data.nesting === 0 && data.name === data.file;
      if ((data.details?.type === 'suite' && data.skip === undefined) || isFileItself) {
        if (type === 'test:fail' && isFileItself) failures.push({ file, name: 'the file itself', error: data.details.error });
        continue;
      }
      const seen = files.get(file) ?? { pass: 0, fail: 0, skip: 0, ms: 0 };
      files.set(file, seen);
      if (data.nesting === 0) seen.ms += data.details?.duration_ms ?? 0;
      if (data.skip !== undefined) {
        seen.skip += 1;
        yield `SKIPPED ${file}: ${data.name}${typeof data.skip === 'string' && data.skip !== '' ? ` (${data.skip})` : ''}\n`;
      } else if (type === 'test:fail' && data.todo === undefined) {
        seen.fail += 1;
        failures.push({ file, name: data.name, error: data.details.error });
        yield `FAILED  ${file}: ${data.name}\n`;
      } else {
        seen.pass += 1;
      }
    } else if (type === 'test:stdout' || type === 'test:stderr') {
      yield data.message;
    } else if (type === 'test:diagnostic' && data.nesting === 0) {
      if (/^tests \d+$/.test(data.message)) yield* summary(files, failures);
      yield `# ${data.message}\n`;
    }
  }
}

function* summary(files, failures) {
  yield '\n';
  for (const [file, { pass, fail, skip, ms }] of [...files].sort(([one], [other]) => (one < other ? -1 : 1))) {
    const notes = [`${pass} passed`, ...(fail > 0 ? [`${fail} FAILED`] : []), ...(skip > 0 ? [`${skip} skipped`] : [])].join(', ');
    yield `${fail > 0 ? 'not ok' : 'ok    '} ${file.replace(/\.js$/, '.ts')}: ${notes} in ${(ms / 1000).toFixed(1)} s\n`;
  }
  const skipped = [...files.values()].reduce((sum, { skip }) => sum + skip, 0);
  if (skipped > 0 && process.env.SIDETRACE_NO_SKIPS !== undefined) {
    process.exitCode = 1;
    yield `\nFAILED: every test must run here (SIDETRACE_NO_SKIPS), ${skipped} were skipped; the reasons stand above\n`;
    inShort(
      `${skipped} tests were skipped`,
      [...files]
        .filter(([, { skip }]) => skip > 0)
        .map(([file]) => file)
        .join(', '),
    );
  }
  for (const { file, name, error } of failures) {
    yield `\nFAILED ${file}: ${name}\n`;
    const cause = error?.cause ?? error;
    yield `${typeof cause === 'string' ? cause : (cause?.stack ?? inspect(cause))}\n`;
    inShort(`${file}: ${name}`, typeof cause === 'string' ? cause : (cause?.message ?? inspect(cause)));
  }
  yield '\n';
}

function inShort(title, message) {
  const path = process.env.SIDETRACE_FAILURES;
  if (path !== undefined) appendFileSync(path, `${title}\n    ${message.replace(/\s+/g, ' ').slice(0, 400)}\n`);
}
