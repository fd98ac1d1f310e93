/** A kubeconfig with a credential plugin against a real API server; kubectl, with the same kubeconfig, is the witness. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { ExecSource } from '../../src/cli/exec-source.ts';
import { KubeApi } from '../../src/daemon/kube/api.ts';
import { type KubeCluster, readKubeconfig } from '../../src/daemon/kube/kubeconfig.ts';
import { RealApiServer } from '../daemon/kube/real-api-server.ts';
import { labProgram, needsLabPrograms } from '../lab-programs.ts';

const needs = needsLabPrograms('kube-apiserver', 'etcd', 'kubectl');
const server = new RealApiServer();
before(async () => {
  if (needs.skip === false) await server.start();
});
after(() => server.stop());

const API = 'client.authentication.k8s.io/v1';
const at = (name: string): string => join(server.authority.folder, name);

/** @param plugin lines of shell, whose working folder holds what the authority issued */
function kubeconfig(name: string, plugin: string, exec: object = {}): { path: string; cluster: KubeCluster } {
  writeFileSync(at(`${name}-plugin`), `#!/bin/sh\ncd "$(dirname "$0")"\n${plugin}\n`);
  chmodSync(at(`${name}-plugin`), 0o755);
  const path = at(`${name}-config`);
  const cluster = {
    server: server.cluster().server,
    'certificate-authority': 'ca.crt',
    extensions: [{ name: 'client.authentication.k8s.io/exec', extension: { audience: 'x', list: [1, null] } }],
  };
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'lab',
    contexts: [{ name: 'lab', context: { cluster: 'lab', user: 'me' } }],
    clusters: [{ name: 'lab', cluster }],
    users: [{ name: 'me', user: { exec: { apiVersion: API, command: `./${name}-plugin`, interactiveMode: 'Never', ...exec } } }],
  };
  writeFileSync(path, JSON.stringify(config));
  return { path, cluster: readKubeconfig([path], undefined, (given) => new ExecSource(given)) };
}

async function kubectl(path: string, ...args: string[]): Promise<string> {
  const env = { PATH: process.env.PATH ?? '', HOME: server.authority.folder };
  return (await promisify(execFile)(labProgram('kubectl'), ['--kubeconfig', path, ...args], { env })).stdout.trim();
}

/** As whom the API server knows whoever asks so. */
async function whoIs(cluster: KubeCluster): Promise<unknown> {
  const api = new KubeApi(cluster);
  try {
    const review = await api.post('/apis/authentication.k8s.io/v1/selfsubjectreviews', {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'SelfSubjectReview',
    });
    return (review as { status: { userInfo: { username: string } } }).status.userInfo.username;
  } finally {
    api.close();
  }
}

const printsToken = `printf '{"apiVersion":"${API}","kind":"ExecCredential","status":{"token":"%s"}}' "$(cat token)"`;

test('a token by a plugin: the same user as for kubectl; the plugin is told the same', needs, async () => {
  writeFileSync(at('token'), server.adminToken);
  const { path, cluster } = kubeconfig('token', `echo "$KUBERNETES_EXEC_INFO" >told\n${printsToken}`, { provideClusterInfo: true });
  assert.equal(await whoIs(cluster), 'admin');
  const ours = readFileSync(at('told'), 'utf8');
  assert.equal(await kubectl(path, 'auth', 'whoami', '-o', 'jsonpath={.status.userInfo.username}'), 'admin');
  assert.notEqual(ours.trim(), '');
  assert.deepEqual(JSON.parse(ours), JSON.parse(readFileSync(at('told'), 'utf8')));
});

test('a certificate by a plugin: the same user as for kubectl', needs, async () => {
  const encode = `python3 -c 'import json
read = lambda name: open(name).read()
print(json.dumps({"apiVersion": "client.authentication.k8s.io/v1beta1", "kind": "ExecCredential", "status": {"clientCertificateData": read("node.crt"), "clientKeyData": read("node.key")}}))'`;
  const { path, cluster } = kubeconfig('certificate', encode, { apiVersion: 'client.authentication.k8s.io/v1beta1' });
  assert.equal(await whoIs(cluster), 'someone');
  assert.equal(await kubectl(path, 'auth', 'whoami', '-o', 'jsonpath={.status.userInfo.username}'), 'someone');
});

test('a token that the API server does not know any more is made anew; one that it never knew is refused', needs, async () => {
  writeFileSync(at('token'), 'plain-token');
  const { cluster } = kubeconfig('renewed', `echo run >>runs\n${printsToken}\nprintf ${server.adminToken} >token`);
  const runs = () => readFileSync(at('runs'), 'utf8').trim().split('\n').length;
  assert.equal(await whoIs(cluster), 'plain');
  assert.equal(await whoIs(cluster), 'plain', 'it is kept');
  assert.equal(runs(), 1);
  writeFileSync(at('token'), 'gone');
  const { cluster: other } = kubeconfig('renewed', `echo run >>runs\n${printsToken}\nprintf ${server.adminToken} >token`);
  assert.equal(await whoIs(other), 'admin', 'the first was "gone"');
  assert.equal(runs(), 3);
  writeFileSync(at('token'), 'nobody');
  await assert.rejects(whoIs(kubeconfig('nobody', printsToken).cluster), /401, Unauthorized/);
});
