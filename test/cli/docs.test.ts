import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { commands } from '../../src/cli/commands.ts';
import { makeCommand } from '../../src/cli/program.ts';
import { settings } from '../../src/daemon/config.ts';
import { sinks } from '../../src/output/sinks.ts';

const page = 'docs/cli.md';

test('docs/cli.md names every command, every flag and every format, and no flag that does not exist', {
  skip: existsSync(page) ? false : `SKIPPED: "${page}" is absent (run the tests from the repository's root)`,
}, async () => {
  const text = readFileSync(page, 'utf8');
  const known = new Set(['--help', '--version']);
  // The daemon's settings are flags, too: docs/operations.md has them, which a test of its own sees to.
  const ofSettings = new Set(settings.map(({ flag }) => flag));
  for (const entry of commands) {
    assert.ok(text.includes(`\`${entry.name}`), entry.name);
    const command = makeCommand(entry.name);
    (await entry.load())(command, () => {});
    for (const { long } of command.options) {
      assert.ok(
        ofSettings.has(long!) || text.includes(`\`${long}`) || text.includes(` ${long}`),
        `${entry.name} ${long} is not in ${page}`,
      );
      known.add(long!);
    }
  }
  for (const { name } of sinks) assert.ok(text.includes(`\`${name}\``), name);
  const foreign = new Set(['--input-file']);
  for (const [flag] of text.matchAll(/(?<![\w-])--[a-z][a-z0-9-]+/g))
    assert.ok(known.has(flag) || foreign.has(flag), `${page} names ${flag}, which does not exist`);
});
