import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';

const script = 'scripts/check-readme.mjs';
const needed = [script, 'README.md', 'dist/src/cli/main.js', 'captures/bookinfo'];
const absent = needed.find((path) => !existsSync(path));
const here = { skip: absent === undefined ? false : `SKIPPED: "${absent}" is absent (run the tests from the repository's root)` };
const folder = mkdtempSync(join(tmpdir(), 'sidetrace-readme-'));
after(() => rmSync(folder, { recursive: true }));

function check(...pages: string[]): { code: number | null; out: string } {
  const { status, stdout } = spawnSync(process.execPath, [script, ...pages], { encoding: 'utf8' });
  return { code: status, out: stdout };
}

test('what README.md and docs/ show as output is what the program prints', here, () => {
  const { code, out } = check();
  assert.match(out, /samples: [1-9]\d* in \d+ pages, 0 faults\n$/);
  assert.equal(code, 0);
});

const readme = here.skip === false ? readFileSync('README.md', 'utf8') : '';
const page = (text: string): string => {
  const path = join(folder, 'page.md');
  writeFileSync(path, text);
  return path;
};

test('a sample that the program does not print is a fault, and so is a command that fails', here, () => {
  const changed = readme.replace('mutual TLS 1.3', 'mutual TLS 1.2');
  assert.notEqual(changed, readme);
  const wrong = check(page(changed));
  assert.match(
    wrong.out,
    /page\.md:\d+: "npx sidetrace replay captures\/bookinfo": its output does not hold the \d+ lines .* it has no line ".*mutual TLS 1\.2"/,
  );
  assert.equal(wrong.code, 1);
  const failing = check(page('```\n$ npx sidetrace replay captures/nowhere\nsomething\n```\n'));
  assert.match(failing.out, /exit code 0 is wanted, 2 was the answer/);
  assert.equal(failing.code, 1);
});

test('"…" on a line of its own stands for lines that were left out', here, () => {
  const [first] = /^10:.*$/m.exec(readme) ?? [];
  assert.ok(first !== undefined);
  const command = '$ npx sidetrace replay captures/bookinfo\n';
  assert.equal(check(page(`\`\`\`\n${command}${first}\n…\nfindings\n\`\`\`\n`)).code, 1);
  assert.equal(check(page(`\`\`\`\n${command}${first}\n…\n${'─'.repeat(100)}\n\`\`\`\n`)).code, 0);
});
