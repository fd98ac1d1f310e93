import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Command } from 'commander';
import { addConfigOptions, configSources } from '../../src/cli/config-options.ts';
import { settings } from '../../src/daemon/config.ts';

test('every key has a flag, and what is given comes back under its key', () => {
  const command = new Command('daemon').exitOverride();
  addConfigOptions(command);
  const words = settings.flatMap(({ flag }, index) => [flag, `value ${index}`]);
  command.parse(['--config', '/a.yaml', ...words], { from: 'user' });
  const { file, flags } = configSources(command.opts(), {});
  assert.equal(file, '/a.yaml');
  assert.deepEqual(flags, Object.fromEntries(settings.map(({ key }, index) => [key, `value ${index}`])));
  assert.deepEqual(configSources({}, {}), { file: undefined, environment: {}, flags: {} });
});

test('the help names every flag in lines that a terminal shows', () => {
  const command = new Command('daemon').configureHelp({ helpWidth: 120 });
  addConfigOptions(command);
  const help = command.helpInformation();
  for (const { flag } of settings) assert.ok(help.includes(`${flag} <`), flag);
  assert.deepEqual(
    help.split('\n').filter((line) => line.length > 120),
    [],
  );
});
