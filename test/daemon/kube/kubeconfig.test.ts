import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { CredentialSource } from '../../../src/daemon/kube/credentials.ts';
import type { ExecConfig } from '../../../src/daemon/kube/exec-config.ts';
import { inCluster, KubeconfigError, kubeconfigPaths, readKubeconfig } from '../../../src/daemon/kube/kubeconfig.ts';

const folder = mkdtempSync(join(tmpdir(), 'sidetrace-kubeconfig-'));
after(() => rmSync(folder, { recursive: true, force: true }));

let count = 0;
function file(text: string): string {
  const path = join(folder, `config-${count++}`);
  writeFileSync(path, text);
  return path;
}

const usual = (user: string, cluster = 'server: "https://10.0.0.1:6443"') => `
apiVersion: v1
kind: Config
current-context: here
contexts: [{name: here, context: {cluster: c, user: u}}, {name: other, context: {cluster: d, user: u}}]
clusters: [{name: c, cluster: {${cluster}}}, {name: d, cluster: {server: "https://[fd00::1]/k8s/"}}]
users: [{name: u, user: {${user}}}]
`;

const pem = '-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n';

test('a token, the server and the CA of the current context are read', () => {
  const path = file(
    usual(
      'token: abc',
      `server: "https://10.0.0.1:6443/", certificate-authority-data: ${Buffer.from(pem).toString('base64')}, tls-server-name: api`,
    ),
  );
  assert.deepEqual(readKubeconfig([path]), {
    name: `context "here" of "${path}"`,
    server: 'https://10.0.0.1:6443',
    insecure: false,
    ca: { text: pem },
    serverName: 'api',
    token: { text: 'abc' },
  });
});

test('another context may be chosen; paths of the server stay, files are relative to the kubeconfig', () => {
  const path = file(usual('tokenFile: sub/token, client-certificate: a.crt, client-key: /abs/a.key'));
  const cluster = readKubeconfig([path], 'other');
  assert.equal(cluster.server, 'https://[fd00::1]/k8s');
  assert.deepEqual(cluster.token, { file: join(folder, 'sub/token') });
  assert.deepEqual(cluster.certificate, { chain: { file: join(folder, 'a.crt') }, key: { file: '/abs/a.key' } });
});

test('of several files the first that names a thing counts', () => {
  const first = file('current-context: here\nusers: [{name: u, user: {token: first}}]\n');
  const second = file(usual('token: second'));
  const cluster = readKubeconfig([first, second]);
  assert.deepEqual(cluster.token, { text: 'first' });
  assert.equal(cluster.server, 'https://10.0.0.1:6443');
});

for (const [what, text, says] of [
  [
    'a program for credentials',
    usual('exec: {command: aws}'),
    /user "u" has a program that makes credentials \(exec\), which is not run here/,
  ],
  ['an auth-provider', usual('auth-provider: {name: gcp}'), /an auth-provider/],
  ['a password', usual('username: a, password: b'), /a user name and password/],
  ['impersonation', usual('token: a, as: b'), /impersonation/],
  ['a proxy', usual('token: a', 'server: "https://a", proxy-url: "http://p"'), /proxy-url/],
  ['a server in the clear', usual('token: a', 'server: "http://10.0.0.1"'), /must begin with https/],
  ['a server in the clear whose name looks like loopback', usual('token: a', 'server: "http://127.evil.example"'), /must begin with https/],
  ['a server with a password', usual('token: a', 'server: "https://u:p@a"'), /it holds more/],
  ['a server that is no URL', usual('token: a', 'server: "nonsense"'), /must be a URL/],
  ['no server', usual('token: a', 'x: y'), /must have "server"/],
  ['a certificate without its key', usual('client-certificate: a.crt'), /both "client-certificate" and "client-key"/],
  ['data that is no PEM', usual('token: a', 'server: "https://a", certificate-authority-data: aGFsbG8='), /base64 of PEM/],
  ['no current context', 'contexts: []', /"current-context" is wanted/],
  ['a context that is not there', 'current-context: x\ncontexts: [{name: y, context: {}}]', /the context "x" is wanted, it names "y"/],
  ['no YAML', '{', /YAML or JSON is wanted/],
  ['a list', '[]', /an object with/],
  [
    'aliases without end',
    `a: &a [1,1,1,1,1,1,1,1,1]\n${[...'bcdefghi'].map((c, i) => `${c}: &${c} [${Array(9).fill(`*${'abcdefghi'[i]}`).join(',')}]`).join('\n')}`,
    /YAML or JSON is wanted/,
  ],
  ['more than a mebibyte', `# ${'x'.repeat(1024 * 1024)}`, /at most 1048576 bytes/],
] as const)
  test(`refused with its reason: ${what}`, () => {
    assert.throws(
      () => readKubeconfig([file(text)]),
      (error) => error instanceof KubeconfigError && says.test(error.message),
    );
  });

const execOf = (exec: string) =>
  usual(`exec: {apiVersion: client.authentication.k8s.io/v1, command: aws, interactiveMode: Never, ${exec}}`);
const runExec = (exec: ExecConfig): ExecConfig & CredentialSource => ({ ...exec, get: async () => ({}), close: () => {} });

test('a program for credentials is handed to who runs it, with all that the kubeconfig says', () => {
  const path = file(
    usual(
      'exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: bin/aws, args: [a, b], env: [{name: A, value: "1"}], installHint: Get it, provideClusterInfo: true}',
      'server: "https://10.0.0.1:6443/", insecure-skip-tls-verify: true, extensions: [{name: client.authentication.k8s.io/exec, extension: {a: 1}}]',
    ),
  );
  const { get: _get, close: _close, ...exec } = readKubeconfig([path], undefined, runExec).source as ReturnType<typeof runExec>;
  assert.deepEqual(exec, {
    user: `user "u" of "${path}"`,
    apiVersion: 'client.authentication.k8s.io/v1beta1',
    command: join(folder, 'bin/aws'),
    args: ['a', 'b'],
    env: { A: '1' },
    interactiveMode: 'IfAvailable',
    installHint: 'Get it',
    cluster: { server: 'https://10.0.0.1:6443/', insecure: true, config: { a: 1 } },
  });
  const plain = readKubeconfig([file(execOf('env: null'))], undefined, runExec).source as ReturnType<typeof runExec>;
  assert.equal(plain.command, 'aws');
  assert.equal(plain.cluster, undefined);
});

test('a program for credentials is not asked for a token that is there', () => {
  const path = file(usual('token: abc, exec: {apiVersion: client.authentication.k8s.io/v1, command: aws, interactiveMode: Never}'));
  const { token, source } = readKubeconfig([path], undefined, runExec);
  assert.deepEqual(token, { text: 'abc' });
  assert.equal(source, undefined);
});

for (const [what, text, says] of [
  [
    'an old apiVersion',
    execOf('apiVersion: client.authentication.k8s.io/v1alpha1').replace('apiVersion: client.authentication.k8s.io/v1,', ''),
    /"exec.apiVersion" of user "u" must be .*, it is "client.authentication.k8s.io\/v1alpha1"/,
  ],
  [
    'no command',
    usual('exec: {apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never}'),
    /"exec.command" .* must be a program, it is absent/,
  ],
  [
    'no interactiveMode',
    usual('exec: {apiVersion: client.authentication.k8s.io/v1, command: a}'),
    /"exec.interactiveMode" .* must be Never, IfAvailable or Always, it is absent/,
  ],
  [
    'a text for arguments, which may be secret',
    execOf('args: --password=hunter2'),
    /"exec.args" .* must be a list of at most 1000 texts, it is of another kind \(string\)$/,
  ],
  ['a text for the environment', execOf('env: KEY=hunter2'), /"exec.env" .*"value", it is of another kind \(string\)$/],
  ['a number as an argument', execOf('args: [1]'), /"exec.args" .* must be a list of at most 1000 texts, it is another list/],
  ['a variable without a name', execOf('env: [{value: secret}]'), /"exec.env" .* it is another list$/],
  ['a hint that is none', execOf('installHint: {}'), /"exec.installHint" .* must be a text, it is of another kind/],
  ['a wish that is none', execOf('provideClusterInfo: 1'), /"exec.provideClusterInfo" .* must be true or false/],
  ['a text', usual('exec: aws'), /"exec.apiVersion" .* it is absent/],
  ['an auth-provider beside it', usual('exec: {command: a}, auth-provider: {}'), /an auth-provider/],
] as const)
  test(`a program for credentials, refused with its reason: ${what}`, () => {
    assert.throws(
      () => readKubeconfig([file(text)], undefined, runExec),
      (error) => error instanceof KubeconfigError && says.test(error.message),
    );
  });

test('in the clear to loopback is taken: kubectl proxy', () => {
  assert.equal(readKubeconfig([file(usual('token: a', 'server: "http://127.0.0.1:8001"'))]).server, 'http://127.0.0.1:8001');
  assert.equal(readKubeconfig([file(usual('token: a', 'server: "http://[::1]:8001"'))]).server, 'http://[::1]:8001');
});

test('a file that is not there is named', () => {
  assert.throws(() => readKubeconfig([join(folder, 'absent')]), /absent": it must be readable, ENOENT/);
});

test('KUBECONFIG may name several files; without it ~/.kube/config', () => {
  const a = file('a: b');
  assert.deepEqual(kubeconfigPaths({ KUBECONFIG: `${a}:${join(folder, 'absent')}` }), [a]);
  mkdirSync(join(folder, '.kube'));
  writeFileSync(join(folder, '.kube/config'), '');
  assert.deepEqual(kubeconfigPaths({ HOME: folder }), [join(folder, '.kube/config')]);
  assert.deepEqual(kubeconfigPaths({}), []);
});

test('a pod is told of its API server by the environment and a folder', () => {
  const environment = { KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '443' };
  assert.equal(inCluster(environment, folder), undefined);
  writeFileSync(join(folder, 'token'), 't');
  assert.deepEqual(inCluster(environment, folder), {
    name: 'the service account of this pod',
    server: 'https://[fd00::1]',
    insecure: false,
    token: { file: join(folder, 'token') },
  });
  assert.equal(inCluster({}, folder), undefined);
});
