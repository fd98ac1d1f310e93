/** Credentials by a kubeconfig's `exec`: the plugins are small programs of the shell, run as any other is. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type PluginLimits, usualLimits } from '../../src/cli/credential-plugin.ts';
import { ExecSource } from '../../src/cli/exec-source.ts';
import { KubeApi } from '../../src/daemon/kube/api.ts';
import { KubeApiError } from '../../src/daemon/kube/api-error.ts';
import type { CredentialSource } from '../../src/daemon/kube/credentials.ts';
import type { ExecConfig } from '../../src/daemon/kube/exec-config.ts';
import { readKubeconfig } from '../../src/daemon/kube/kubeconfig.ts';
import { makeAuthority } from '../daemon/kube/certificates.ts';
import { SmallApiServer } from '../daemon/kube/small-api-server.ts';
import { folder } from '../stream/live.ts';
import { main, runAsync } from './run.ts';

const V1 = 'client.authentication.k8s.io/v1';
const V1BETA1 = 'client.authentication.k8s.io/v1beta1';

/** A program of the shell that is run. */
function script(path: string, text: string): string {
  writeFileSync(path, `#!/bin/sh\n${text}\n`);
  chmodSync(path, 0o755);
  return path;
}

/** A line of shell that prints an ExecCredential. */
const prints = (status: object, more: object = {}): string =>
  `cat <<'END'\n${JSON.stringify({ apiVersion: V1, kind: 'ExecCredential', status, ...more })}\nEND`;

interface Plugged {
  readonly source: CredentialSource;
  readonly folder: string;
  /** How often the plugin has run. */
  runs(): number;
}

/** @param exec beside its command, which is the script @param cluster of the kubeconfig, beside its server */
function plugged(
  t: TestContext,
  text: string,
  exec: object = {},
  options: { limits?: Partial<PluginLimits>; terminal?: boolean; cluster?: object } = {},
): Plugged {
  const at = folder(t);
  script(join(at, 'plugin'), `echo run >>"${at}/runs"\n${text}`);
  const path = join(at, 'config');
  const config = {
    'current-context': 'lab',
    contexts: [{ name: 'lab', context: { cluster: 'lab', user: 'me' } }],
    clusters: [{ name: 'lab', cluster: { server: 'https://10.0.0.1:6443/', ...options.cluster } }],
    users: [{ name: 'me', user: { exec: { apiVersion: V1, command: './plugin', interactiveMode: 'Never', ...exec } } }],
  };
  writeFileSync(path, JSON.stringify(config));
  const run = (given: ExecConfig) => new ExecSource(given, { ...usualLimits, ...options.limits }, options.terminal ?? false);
  const { source } = readKubeconfig([path], undefined, run);
  assert.ok(source !== undefined);
  const runs = join(at, 'runs');
  return { source, folder: at, runs: () => (existsSync(runs) ? readFileSync(runs, 'utf8').trim().split('\n').length : 0) };
}

const soon = (ms: number): string => new Date(Date.now() + ms).toISOString();

test('a token is taken, and kept for all who ask', async (t) => {
  const { source, runs } = plugged(t, `sleep 0.1\n${prints({ token: 'abc' })}`);
  const [first, second] = await Promise.all([source.get(), source.get()]);
  assert.deepEqual(first, { token: 'abc' });
  assert.equal(second, first);
  assert.equal(await source.get(), first);
  assert.equal(runs(), 1);
});

test('a certificate and its key are taken, alone or beside a token', async (t) => {
  const authority = makeAuthority();
  t.after(() => authority.remove());
  const { cert, key } = authority.issue('me', '/CN=me');
  const status = { clientCertificateData: cert, clientKeyData: key };
  const certificate = { chain: cert, key };
  assert.deepEqual(await plugged(t, prints(status)).source.get(), { certificate });
  assert.deepEqual(await plugged(t, prints({ ...status, token: 'abc' })).source.get(), { token: 'abc', certificate });
  const other = authority.issue('other', '/CN=other');
  await assert.rejects(plugged(t, prints({ ...status, clientKeyData: other.key })).source.get(), /PEM of a certificate and its key/);
});

test('credentials are kept until a little before they expire', async (t) => {
  for (const [expires, wanted] of [
    [soon(3_600_000), 1],
    [null, 1],
    [soon(5000), 2],
    [soon(-1000), 2],
  ] as const) {
    const { source, runs } = plugged(t, prints({ token: 'abc', expirationTimestamp: expires }));
    assert.deepEqual(await source.get(), { token: 'abc' });
    await source.get();
    assert.equal(runs(), wanted, String(expires));
  }
});

test('what the API server does not know is asked for again, once for all who were refused', async (t) => {
  const { source, runs } = plugged(t, prints({ token: 'abc' }));
  const old = await source.get();
  const [renewed, also] = await Promise.all([source.get(old), source.get(old)]);
  assert.notEqual(renewed, old);
  assert.equal(also, renewed);
  assert.equal(await source.get(old), renewed, 'others are there by now');
  assert.equal(runs(), 2);
});

test('a plugin is told what it is for: arguments, environment, the cluster when it asks for it', async (t) => {
  const env = [{ name: 'OWN', value: 'of the kubeconfig' }];
  const told = 'printf "%s\\n" "$KUBERNETES_EXEC_INFO" "$OWN" "$HOME" "$#" "$2" >"$(dirname "$0")/told"';
  const lines = (at: string) => readFileSync(join(at, 'told'), 'utf8').split('\n');
  const some = plugged(t, `${told}\n${prints({ token: 'abc' })}`, { args: ['a', '$(id) b'], env });
  await some.source.get();
  const [info, ...others] = lines(some.folder);
  assert.deepEqual(JSON.parse(info!), { kind: 'ExecCredential', apiVersion: V1, spec: { interactive: false } });
  assert.deepEqual(others, ['of the kubeconfig', process.env.HOME ?? '', '2', '$(id) b', '']);

  const authority = makeAuthority();
  t.after(() => authority.remove());
  const cluster = {
    'certificate-authority': join(authority.folder, 'ca.crt'),
    'tls-server-name': 'api',
    extensions: [
      { name: 'other', extension: 1 },
      { name: 'client.authentication.k8s.io/exec', extension: { audience: 'x' } },
    ],
  };
  const beta = prints({ token: 'abc' }, { apiVersion: V1BETA1 });
  const all = plugged(t, `${told}\n${beta}`, { apiVersion: V1BETA1, provideClusterInfo: true }, { cluster });
  await all.source.get();
  assert.deepEqual(JSON.parse(lines(all.folder)[0]!), {
    kind: 'ExecCredential',
    apiVersion: V1BETA1,
    spec: {
      interactive: false,
      cluster: {
        server: 'https://10.0.0.1:6443/',
        'tls-server-name': 'api',
        'certificate-authority-data': Buffer.from(authority.ca).toString('base64'),
        config: { audience: 'x' },
      },
    },
  });
});

test('a command without a slash is looked up in PATH, where relative folders do not count', async (t) => {
  const at = folder(t);
  mkdirSync(join(at, 'plugin-of-a-test'));
  const bin = join(at, 'bin');
  mkdirSync(bin);
  script(join(bin, 'plugin-of-a-test'), prints({ token: 'by-PATH' }));
  const before = process.env.PATH;
  t.after(() => {
    process.env.PATH = before;
  });
  const { source } = plugged(t, 'exit 1', { command: 'plugin-of-a-test' });
  process.env.PATH = [at, bin, before].join(delimiter);
  assert.deepEqual(await source.get(), { token: 'by-PATH' });
  const other = plugged(t, '', { command: 'plugin-of-a-test', env: [{ name: 'PATH', value: '/nowhere' }] });
  await assert.rejects(other.source.get(), /it ended with 127/, 'it is found by our PATH, and runs with its own');
  process.env.PATH = '.';
  const again = plugged(t, 'exit 1', { command: 'plugin-of-a-test' });
  await assert.rejects(again.source.get(), /a program in PATH is wanted, there is none of this name/);
});

for (const [what, text, exec, says] of [
  [
    'another apiVersion',
    prints({ token: 'secret' }, { apiVersion: V1BETA1 }),
    {},
    /the apiVersion .*\/v1 is wanted, it printed ".*v1beta1"/,
  ],
  ['another kind', prints({ token: 'secret' }, { kind: 'Secret' }), {}, /of kind ExecCredential is wanted, it printed one of "Secret"/],
  ['no JSON', 'echo secret', {}, /an ExecCredential as JSON is wanted, it printed 7 bytes of something else/],
  ['nothing', 'true', {}, /it printed 0 bytes of something else/],
  ['no status', `echo '{"apiVersion": "${V1}", "kind": "ExecCredential"}'`, {}, /"status" must have "token", or .* it has neither/],
  ['an empty token', prints({ token: '' }), {}, /it has neither/],
  ['a token that no header can hold', prints({ token: 'secret\nX: y' }), {}, /"status.token" must be a text of visible ASCII characters/],
  ['a certificate without its key', prints({ clientCertificateData: 'secret' }), {}, /one of them is absent/],
  ['no certificate', prints({ clientCertificateData: 'secret', clientKeyData: 'secret' }), {}, /must be PEM .* OpenSSL says/],
  ['no time', prints({ token: 'secret', expirationTimestamp: 'soon' }), {}, /must be a time of RFC 3339, it is "soon"/],
  ['an exit code', 'echo secret\nexit 7', {}, /it must end with 0, it ended with 7/],
  ['an end by a signal', 'kill -TERM $$', {}, /it must end with 0, it ended by SIGTERM/],
  ['a program that is not there', '', { command: './absent', installHint: 'Get it\nfrom us' }, /there is no such file\nGet it\nfrom us$/],
  ['a name that is not there', '', { command: 'no-such-plugin', installHint: 'Get it' }, /there is none of this name\nGet it$/],
  ['a file that is no program', '', { command: './config' }, /a program that can be run is wanted, the system says EACCES/],
  ['no terminal', '', { interactiveMode: 'Always' }, /a terminal as standard input is wanted, there is none/],
] as const)
  test(`refused with its reason, and no secret told: ${what}`, async (t) => {
    await assert.rejects(plugged(t, text, exec).source.get(), (error) => {
      assert.ok(error instanceof KubeApiError);
      assert.match(error.message, /^Cannot get credentials for user "me" of ".*config" from "/);
      assert.match(error.message, says);
      assert.doesNotMatch(error.message, /secret/);
      return true;
    });
  });

test('a plugin that prints without end, or does not end, is stopped', async (t) => {
  const pid = 'echo $$ >"$(dirname "$0")/pid"\n';
  const ended = (at: string) => assert.throws(() => process.kill(Number(readFileSync(join(at, 'pid'), 'utf8')), 0), { code: 'ESRCH' });
  const long = plugged(t, `${pid}exec yes`, {}, { limits: { bytes: 100_000 } });
  await assert.rejects(long.source.get(), /at most 100000 bytes are wanted, it printed more/);
  const hanging = plugged(t, `${pid}exec sleep 100`, {}, { limits: { ms: 300 } });
  await assert.rejects(hanging.source.get(), /an end within 0.3 s is wanted, it ran on and was stopped/);
  const left = plugged(t, `${pid}sleep 3 &\n`, {}, { limits: { ms: 300 } });
  await assert.rejects(left.source.get(), /an end within 0.3 s is wanted/, 'somebody else still holds its output');
  const asking = plugged(
    t,
    `${pid}exec sleep 100`,
    { interactiveMode: 'IfAvailable' },
    { limits: { ms: 300, interactiveMs: 600 }, terminal: true },
  );
  await assert.rejects(asking.source.get(), /an end within 0.6 s is wanted/, 'who asks somebody has longer');
  await new Promise((resolve) => setTimeout(resolve, 100));
  for (const { folder: at } of [long, hanging, left, asking]) ended(at);
});

test('what a plugin leaves behind may hold its standard error: the answer counts when it has ended', async (t) => {
  const { source } = plugged(t, `sleep 20 >/dev/null &\n${prints({ token: 'abc' })}`, {}, { limits: { ms: 5000 } });
  const begun = performance.now();
  assert.deepEqual(await source.get(), { token: 'abc' });
  assert.ok(performance.now() - begun < 4000);
});

test('a plugin that is not waited for any more is stopped', async (t) => {
  const { source, folder: at } = plugged(t, 'echo $$ >"$(dirname "$0")/pid"\nexec sleep 100');
  const asked = assert.rejects(source.get(), /it is not waited for any more, and was stopped/);
  while (!existsSync(join(at, 'pid')) || readFileSync(join(at, 'pid'), 'utf8') === '')
    await new Promise((resolve) => setTimeout(resolve, 10));
  source.close();
  await asked;
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.throws(() => process.kill(Number(readFileSync(join(at, 'pid'), 'utf8')), 0), { code: 'ESRCH' });
  await assert.rejects(source.get(), /it is not waited for any more/, 'nor is another begun');
});

test('what the system refuses to start is told with its reason', async (t) => {
  const { source } = plugged(t, prints({ token: 'abc' }), { env: [{ name: 'LONG', value: 'x'.repeat(200_000) }] });
  await assert.rejects(
    source.get(),
    /Cannot get credentials for user "me" .*: a program that can be run is wanted, the system says E2BIG$/,
  );
});

test('after a plugin failed it is run again', async (t) => {
  const { source } = plugged(t, `[ $(wc -l <"$(dirname "$0")/runs") = 1 ] && exit 1\n${prints({ token: 'abc' })}`);
  await assert.rejects(source.get(), /it ended with 1/);
  assert.deepEqual(await source.get(), { token: 'abc' });
});

/** A kubeconfig of an API server on loopback, whose plugin is a script beside it. */
function kubeconfigOf(at: string, server: string, plugin: string, exec: object = {}): string {
  script(join(at, 'plugin'), plugin);
  const path = join(at, 'config');
  const config = {
    'current-context': 'lab',
    contexts: [{ name: 'lab', context: { cluster: 'lab', user: 'me' } }],
    clusters: [{ name: 'lab', cluster: { server } }],
    users: [{ name: 'me', user: { exec: { apiVersion: V1, command: './plugin', interactiveMode: 'Never', ...exec } } }],
  };
  writeFileSync(path, JSON.stringify(config));
  return path;
}

/** A line of shell that prints what the file `token` beside it holds. */
const printsTokenFile = `printf '{"apiVersion":"${V1}","kind":"ExecCredential","status":{"token":"%s"}}' "$(cat "$(dirname "$0")/token")"`;

test('a request that is refused with 401 is sent again with what the plugin makes now, once', async (t) => {
  const server = new SmallApiServer();
  await server.start();
  t.after(() => server.stop());
  const at = folder(t);
  const path = kubeconfigOf(at, server.cluster().server, `echo run >>"${at}/runs"\n${printsTokenFile}`);
  const cluster = readKubeconfig([path], undefined, (exec) => new ExecSource(exec));
  const api = new KubeApi(cluster);
  t.after(() => api.close());
  const asked = () => server.requests.splice(0).map(({ authorization }) => authorization);
  server.tokens.add('first');
  writeFileSync(join(at, 'token'), 'first');
  await api.get('/api/v1/pods');
  server.tokens.clear();
  server.tokens.add('second');
  writeFileSync(join(at, 'token'), 'second');
  await api.get('/api/v1/pods');
  assert.deepEqual(asked(), ['Bearer first', 'Bearer first', 'Bearer second']);
  server.tokens.clear();
  server.tokens.add('others');
  writeFileSync(join(at, 'token'), 'third');
  await assert.rejects(api.get('/api/v1/pods'), /401, Unauthorized/);
  assert.deepEqual(asked(), ['Bearer second', 'Bearer third']);
  assert.equal(readFileSync(join(at, 'runs'), 'utf8').trim().split('\n').length, 3);
});

test('on the command line: what the plugin says is told, escaped; it fails as a daemon does that cannot be asked', async (t) => {
  const at = folder(t);
  const path = kubeconfigOf(at, 'https://127.0.0.1:1', "printf 'log in\\n\\033[31mat \\342\\202\\254' >&2; echo secret; exit 3");
  const { code, out, err } = await runAsync(['status', '-P', '--kubeconfig', path], { signal: t.signal });
  assert.equal(out, '');
  assert.match(
    err,
    /^log in\n\\u\{1b\}\[31mat €sidetrace: Cannot get credentials for user "me" of ".*" from ".*plugin": it must end with 0, it ended with 3\n$/,
  );
  assert.equal(code, 3);
});

test('a daemon runs no program, whatever its kubeconfig says', { timeout: 30_000 }, async (t) => {
  const at = folder(t);
  const path = kubeconfigOf(at, 'https://127.0.0.1:1', `echo run >"${at}/runs"`);
  const args = ['daemon', '--kubernetes-source', 'kubeconfig', '--kubernetes-kubeconfig', path, '--stream-listen', `unix:${at}/s`];
  const { code, out, err } = await runAsync(args, { signal: t.signal });
  assert.match(out + err, /a program that makes credentials \(exec\)/);
  assert.notEqual(code, 0);
  assert.equal(existsSync(join(at, 'runs')), false);
});

const noScript =
  spawnSync('script', ['--version']).status !== 0 && 'SKIPPED: the program script (bsdutils), which makes a terminal, is absent';

test('a plugin that asks gets the terminal', { skip: noScript }, async (t) => {
  const server = new SmallApiServer();
  await server.start();
  t.after(() => server.stop());
  const at = folder(t);
  const asks = 'printf "Token: " >&2; read -r token; echo "$KUBERNETES_EXEC_INFO" >"$(dirname "$0")/info"';
  const answer = `printf '{"apiVersion":"${V1}","kind":"ExecCredential","status":{"token":"%s"}}' "$token"`;
  const path = kubeconfigOf(at, server.cluster().server, `${asks}\n${answer}`, { interactiveMode: 'Always' });
  const child = spawn('script', ['-qec', `${process.execPath} ${main} status -P --kubeconfig ${path}`, '/dev/null'], {
    signal: t.signal,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let told = '';
  child.stdout.on('data', (chunk) => {
    told += chunk;
    if (told.includes('Token: ') && !child.stdin.writableEnded) child.stdin.end('typed\n');
  });
  await new Promise((resolve) => child.on('close', resolve));
  assert.match(told, /Token: [\s\S]*a running pod labelled .* is wanted/);
  assert.deepEqual(
    server.requests.map(({ authorization }) => authorization),
    ['Bearer typed'],
  );
  assert.equal(JSON.parse(readFileSync(join(at, 'info'), 'utf8')).spec.interactive, true);
});
