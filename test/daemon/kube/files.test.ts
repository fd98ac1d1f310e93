import assert from 'node:assert/strict';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { KubeFiles, parseKubeFile } from '../../../src/daemon/kube/files.ts';
import { findKubeCluster, openKube } from '../../../src/daemon/kube/open.ts';
import { makePod, until } from './small-api-server.ts';

const folder = mkdtempSync(join(tmpdir(), 'sidetrace-kube-files-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const bytes = (text: string) => new TextEncoder().encode(text);
const podsOf = (text: string) => parseKubeFile(bytes(text), 'x').flatMap(({ pods }) => pods.map(({ name }) => name));

const yaml = (name: string) =>
  `apiVersion: v1\nkind: Pod\nmetadata: {namespace: shop, name: ${name}}\nspec: {nodeName: node-a}\nstatus: {podIP: 10.0.0.1}\n`;

test('JSON and YAML, one document or several, of kubectl get', () => {
  assert.deepEqual(podsOf(JSON.stringify({ apiVersion: 'v1', kind: 'List', items: [{ kind: 'Pod', ...makePod('a', '10.0.0.1') }] })), [
    'a',
  ]);
  assert.deepEqual(podsOf(`${yaml('a')}---\n${yaml('b')}---\n`), ['a', 'b']);
  assert.throws(() => podsOf('{"items": ['), /Cannot read "x"/);
  assert.throws(() => podsOf('a: [1'), /Cannot read "x" as YAML/);
  assert.throws(() => podsOf('a: b'), /"kind" and "apiVersion"/);
});

test('a file is read again when it changes; one that cannot be read leaves what was known, and is told', async () => {
  const path = join(folder, 'pods.yaml');
  const put = (text: string) => {
    writeFileSync(`${path}.new`, text);
    renameSync(`${path}.new`, path);
  };
  put(yaml('a'));
  const warnings: unknown[] = [];
  const source = new KubeFiles({
    paths: [path],
    node: 'node-a',
    intervalMs: 20,
    log: { info() {}, warn: (fields: unknown) => warnings.push((fields as { reason: string }).reason) },
  });
  source.start();
  const { view } = source;
  await until('the pod', () => view.podByAddress('10.0.0.1')?.name === 'a');
  assert.equal(view.synced, true);
  put(yaml('b'));
  await until('the other pod', () => view.podByAddress('10.0.0.1')?.name === 'b');
  put('a: [1');
  await until('the complaint', () => view.staleSince !== undefined);
  assert.equal(view.podByAddress('10.0.0.1')?.name, 'b');
  assert.equal(warnings.length, 1);
  assert.match(String(warnings[0]), /as YAML/);
  put(yaml('c'));
  await until('the third pod', () => view.podByAddress('10.0.0.1')?.name === 'c' && view.staleSince === undefined);
  await source.stop();
});

test('where names come from: what is told, else what is there, else nothing', () => {
  const log = { info() {}, warn() {} };
  const none = openKube({ from: 'auto', node: 'n', allPods: true, log }, {});
  assert.equal(none.source.view.source, 'none');
  assert.equal(none.api, undefined);
  assert.throws(() => findKubeCluster({ from: 'in-cluster' }, {}), /service account of this pod: KUBERNETES_SERVICE_HOST/);
  assert.throws(() => findKubeCluster({ from: 'kubeconfig' }, {}), /a file is wanted/);
  const path = join(folder, 'config');
  writeFileSync(
    path,
    'current-context: c\ncontexts: [{name: c, context: {cluster: k}}]\nclusters: [{name: k, cluster: {server: "https://a"}}]',
  );
  assert.equal(findKubeCluster({ from: 'auto' }, { KUBECONFIG: path })?.server, 'https://a');
  assert.equal(openKube({ from: 'kubeconfig', kubeconfig: [path], node: 'n', allPods: true, log }, {}).api?.cluster.server, 'https://a');
});
