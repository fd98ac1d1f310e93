import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { isLocal, parseListen, settings } from '../../src/daemon/config.ts';
import { ConfigError, compareConfigs, readConfig } from '../../src/daemon/config-sources.ts';

const folder = mkdtempSync(join(tmpdir(), 'sidetrace-config-'));
after(() => rmSync(folder, { recursive: true }));

let files = 0;
function written(text: string | Uint8Array): string {
  files += 1;
  const name = join(folder, `${files}.yaml`);
  writeFileSync(name, text);
  return name;
}
function read(text: string, environment: Record<string, string> = {}, flags: Record<string, string> = {}) {
  return readConfig({ file: written(text), environment, flags });
}
function faults(text: string, environment: Record<string, string> = {}, flags: Record<string, string> = {}): string[] {
  try {
    read(text, environment, flags);
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    return error.message.replaceAll(`${folder}/`, '').split('\n');
  }
  return assert.fail('a ConfigError is wanted, the configuration was taken');
}

test('without a file every key has its default, in the unit that the daemon counts in', () => {
  const { config, file, warnings } = readConfig({ environment: {}, flags: {} });
  assert.equal(file, undefined);
  assert.deepEqual(warnings, []);
  assert.equal(config.probe.ringBudget, 64 * 1024 * 1024);
  assert.equal(config.envoy.intervalMs, 5000);
  assert.deepEqual(config.envoy.ports, [15000]);
  assert.deepEqual(config.stream.listen, ['unix:/run/sidetrace/daemon.sock', '127.0.0.1:4280']);
  assert.equal(config.records.redact, true);
  assert.equal(config.log.level, 'info');
});

test('the environment stands over the file, a flag over both', () => {
  const text = 'log: {level: warn}\nflows:\n  max: 2048\nprobe: {ringBudget: 16MiB}\n';
  assert.equal(read(text).config.log.level, 'warn');
  const environment = { SIDETRACE_LOG_LEVEL: 'error', SIDETRACE_PROBE_RING_BUDGET: '32 MiB' };
  const both = read(text, environment, { 'log.level': 'debug' }).config;
  assert.deepEqual([both.log.level, both.probe.ringBudget, both.flows.max], ['debug', 32 * 1024 * 1024, 2048]);
});

test('lists and switches can be written as text', () => {
  const { config } = read('', {
    SIDETRACE_STREAM_LISTEN: 'unix:/run/x.sock, 127.0.0.1:1',
    SIDETRACE_ENVOY_PORTS: '15000,15001',
    SIDETRACE_RECORDS_REDACT: 'no',
    SIDETRACE_STREAM_ORIGINS: '',
  });
  assert.deepEqual(config.stream.listen, ['unix:/run/x.sock', '127.0.0.1:1']);
  assert.deepEqual(config.envoy.ports, [15000, 15001]);
  assert.equal(config.records.redact, false);
  assert.deepEqual(config.stream.origins, []);
});

test('what does not fit is named with the line, the key, the value and the wish, all faults at once', () => {
  assert.deepEqual(
    faults('log:\n  level: loud\nprobe:\n  snapLength: 12\n'),
    [
      '1.yaml:4: "probe.snapLength" is 12: a whole number from 128 to 262144 is wanted',
      '1.yaml:2: "log.level" is "loud": one of trace, debug, info, warn, error, fatal, silent is wanted',
    ].map((line) => line.replace('1.yaml', `${files}.yaml`)),
  );
  assert.deepEqual(faults('', { SIDETRACE_FLOWS_MAX: 'many' }, { 'envoy.intervalMs': '1h' }), [
    '--envoy-interval-ms: "envoy.intervalMs" is "1h": a time from 500 ms to 60 min (milliseconds, or with ms, s, min) is wanted',
    'SIDETRACE_FLOWS_MAX: "flows.max" is "many": a whole number from 1024 to 16777216 is wanted',
  ]);
});

test('a key that is not known is refused, with the one that was probably meant', () => {
  assert.match(
    faults('probe:\n  ringbudget: 64MiB\n')[0]!,
    /^\d+\.yaml:2: the key "probe.ringbudget" is not known; "probe.ringBudget" is$/,
  );
  assert.match(faults('snapLength: 100\n')[0]!, /"snapLength" is not known; "probe.snapLength" is$/);
  assert.match(faults('nonsense: 1\n')[0]!, /"nonsense" is not known$/);
  assert.match(faults('probe: 3\n')[0]!, /"probe" is 3: keys with values is wanted|"probe" is 3: keys with values/);
});

test('an address that others reach needs TLS and a way to know them', () => {
  const open = 'stream: {listen: [":4280"]}\n';
  assert.equal(faults(open).length, 2);
  const tls = { SIDETRACE_STREAM_TLS_CERT: '/tls/tls.crt', SIDETRACE_STREAM_TLS_KEY: '/tls/tls.key' };
  assert.equal(faults(open, tls).length, 1);
  assert.match(faults(open, tls)[0]!, /"stream.listen" names ":4280", which others reach: one of/);
  for (const how of ['SIDETRACE_STREAM_TLS_CLIENT_CA', 'SIDETRACE_STREAM_AUTH_TOKENS', 'SIDETRACE_STREAM_AUTH_KUBERNETES_AUDIENCE'])
    assert.deepEqual(read(open, { ...tls, [how]: 'x' }).config.stream.listen, [':4280']);
  assert.equal(faults('stream: {tls: {cert: a}}').length, 1);
});

test('a file that is no YAML, no map, too long, no text or not there is refused in a sentence', () => {
  assert.match(faults('a: [1\n')[0]!, /yaml:\d+: YAML is wanted/);
  assert.match(faults('- 1\n')[0]!, /keys with values are wanted/);
  assert.match(faults('log: &a {level: info}\nprobe: *a\n')[0]!, /without aliases/);
  assert.match(faults('a: 1\na: 2\n')[0]!, /YAML is wanted/);
  assert.throws(
    () => readConfig({ file: written(new Uint8Array([0xff, 0xfe])), environment: {}, flags: {} }),
    /a file of YAML text is wanted/,
  );
  assert.throws(() => readConfig({ file: written(`# ${'x'.repeat(1024 * 1024)}`), environment: {}, flags: {} }), /at most 1048576 bytes/);
  assert.throws(() => readConfig({ file: join(folder, 'absent'), environment: {}, flags: {} }), /the system says ENOENT/);
  assert.equal(read('').config.log.level, 'info');
  assert.equal(read('# only a comment\n').config.log.level, 'info');
  assert.match(faults('__proto__: {level: 1}\n')[0]!, /not known|wanted/);
});

test('a variable that is no setting is warned of; what Kubernetes puts there is not', () => {
  const { warnings } = read('', {
    SIDETRACE_LOGLEVEL: 'debug',
    SIDETRACE_SERVICE_HOST: '10.0.0.1',
    SIDETRACE_SERVICE_PORT_STREAM: '4280',
    SIDETRACE_PORT: 'tcp://10.0.0.1:4280',
    SIDETRACE_PORT_4280_TCP_ADDR: '10.0.0.1',
  });
  assert.deepEqual(warnings, ['The environment names "SIDETRACE_LOGLEVEL", which is no setting: it has no effect']);
});

test('after a reload it is known which keys need a restart', () => {
  const before = read('').config;
  const after = read('log: {level: debug}\nflows: {max: 4096}\nenvoy: {ports: [15000]}\n').config;
  const { reloaded, restart } = compareConfigs(before, after);
  assert.deepEqual(
    [reloaded, restart].map((list) => list.map(({ key }) => key)),
    [['log.level'], ['flows.max']],
  );
});

test('addresses to listen at', () => {
  assert.deepEqual(parseListen('unix:/run/a.sock'), { path: '/run/a.sock' });
  assert.deepEqual(parseListen('[::1]:80'), { host: '::1', port: 80 });
  assert.deepEqual(parseListen(':80'), { port: 80 });
  for (const bad of ['', 'unix:', 'unix:a', '80', '1.2.3.4', 'example.org:80', '127.0.0.1:65536', `unix:/${'a'.repeat(120)}`])
    assert.equal(parseListen(bad), undefined, bad);
  assert.deepEqual(['unix:/a', '127.0.0.1:1', '[::1]:1', 'localhost:1', ':1', '0.0.0.0:1', '10.0.0.1:1'].map(isLocal), [
    true,
    true,
    true,
    true,
    false,
    false,
    false,
  ]);
});

test('docs/operations.md has the row of every key, and no other', () => {
  const page = readFileSync('docs/operations.md', 'utf8');
  const rows = page.split('\n').filter((line) => /^\| `[a-z][A-Za-z.]*` \|.*`SIDETRACE_/.test(line));
  const wanted = settings.map(
    ({ key, environment, fallback, description, wish, reload }) =>
      `| \`${key}\` | \`${environment}\` | ${fallback === '' ? '' : `\`${fallback}\``} | ${description}${reload ? '; without a restart' : ''} | ${wish} |`,
  );
  assert.deepEqual(rows, wanted);
});
