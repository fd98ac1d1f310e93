import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type EvidenceNamespace, type EvidenceSources, evidenceArchive } from '../../../src/daemon/evidence/evidence.ts';
import type { EvidenceText } from '../../../src/daemon/evidence/evidence-file.ts';
import { kubeFiles } from '../../../src/daemon/evidence/kube-json.ts';
import { tarHeader } from '../../../src/daemon/evidence/tar-entry.ts';
import { KubeNames } from '../../../src/kube/names.ts';
import { parseKubeObjects } from '../../../src/kube/objects.ts';
import { Bundle, snapshotsOf } from '../../../src/source/bundle.ts';
import { TarFiles } from '../../../src/source/bundle-files.ts';
import { FileBytes } from '../../../src/source/stored-bytes.ts';

const folder = mkdtempSync(join(tmpdir(), 'sidetrace-evidence-'));
after(() => rmSync(folder, { recursive: true }));

const pods = {
  apiVersion: 'v1',
  kind: 'List',
  items: [
    {
      kind: 'Pod',
      metadata: {
        namespace: 'default',
        name: 'web-1',
        uid: 'u1',
        labels: { app: 'web' },
        annotations: { 'kubectl.kubernetes.io/last-applied-configuration': 'PASSWORD=hunter2', 'sidecar.istio.io/status': 'ok' },
        ownerReferences: [{ kind: 'ReplicaSet', name: 'web-5d4f', controller: true }],
      },
      spec: {
        nodeName: 'node-a',
        serviceAccountName: 'web',
        containers: [
          {
            name: 'web',
            env: [{ name: 'PASSWORD', value: 'hunter2' }],
            args: ['--password=hunter2'],
            ports: [{ name: 'http', containerPort: 8080 }],
          },
        ],
      },
      status: { phase: 'Running', podIP: '10.1.0.5', podIPs: [{ ip: '10.1.0.5' }, { ip: 'fd00::5' }], hostIP: '192.0.2.1' },
    },
    {
      kind: 'Service',
      metadata: { namespace: 'default', name: 'web' },
      spec: {
        type: 'ClusterIP',
        clusterIP: '10.96.0.7',
        clusterIPs: ['10.96.0.7'],
        selector: { app: 'web' },
        ports: [{ name: 'http', port: 80, targetPort: 'http' }],
      },
    },
    {
      kind: 'EndpointSlice',
      metadata: { namespace: 'default', name: 'web-abc', labels: { 'kubernetes.io/service-name': 'web' } },
      endpoints: [
        {
          addresses: ['10.1.0.5'],
          conditions: { ready: true },
          targetRef: { kind: 'Pod', namespace: 'default', name: 'web-1', uid: 'u1' },
        },
      ],
      ports: [{ name: 'http', port: 8080 }],
    },
  ],
};
const names = new KubeNames(parseKubeObjects(JSON.stringify(pods), 'pods'));

test('what is known of Kubernetes comes back as it was, without what nobody asked for', () => {
  const files = kubeFiles(names)!;
  const back = Object.values(files).map((bytes) => parseKubeObjects(bytes as Uint8Array, 'back'));
  const again = new KubeNames(...back);
  // annotations of others stay behind
  const expected = names.pods.map((pod) => ({ ...pod, annotations: new Map([['sidecar.istio.io/status', 'ok']]) }));
  assert.deepEqual(again.pods, expected);
  assert.deepEqual(again.services, names.services);
  assert.deepEqual(again.endpointSlices, names.endpointSlices);
  for (const bytes of Object.values(files)) assert.doesNotMatch(Buffer.from(bytes as Uint8Array).toString(), /hunter2|PASSWORD/);
  assert.equal(kubeFiles(new KubeNames()), undefined);
});

const texts: EvidenceText[] = [
  { kind: 'iptables-save', family: 'ipv4', status: 'ok', text: '*nat\nCOMMIT\n', readAt: '2026-11-30T10:00:00.000000000Z' },
  { kind: 'ip6tables-save', family: 'ipv6', status: 'empty', readAt: '2026-11-30T10:00:00.000000000Z' },
  { kind: 'conntrack', family: 'ipv4', status: 'failed', reason: 'no module', readAt: '2026-11-30T10:00:00.000000000Z' },
  {
    kind: 'sockets',
    status: 'ok',
    text: 'tcp   LISTEN 0 4096 127.0.0.1:15000 0.0.0.0:* \n',
    readAt: '2026-11-30T10:00:00.000000000Z',
  },
];

function namespace(netns: string, given: readonly EvidenceText[] = texts): EvidenceNamespace {
  return {
    cookie: 7n,
    netns,
    status: 'capturing',
    world: {
      pod: { namespace: 'default', name: 'web-1', uid: 'u1' },
      interfaces: [{ index: 1, name: 'lo', addresses: ['127.0.0.1'] }],
    },
    readTexts: async () => given,
    tap: () => () => {},
  };
}

function sources(get: (path: string) => Promise<{ status: number; body: Uint8Array }>, asked: string[] = []): EvidenceSources {
  return {
    node: 'node-a',
    version: '0',
    namespaces: () => [],
    envoyOf: () => ({
      ports: [15_000],
      get: (path) => {
        asked.push(path);
        return get(path);
      },
    }),
    names: () => names,
    now: () => Date.UTC(2026, 10, 30, 10),
  };
}

let made = 0;
async function bundleOf(from: EvidenceSources, namespaces: readonly EvidenceNamespace[]): Promise<Bundle> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of evidenceArchive(from, namespaces, new AbortController().signal)) chunks.push(Uint8Array.from(chunk));
  const path = join(folder, `${++made}.tar`);
  writeFileSync(path, Buffer.concat(chunks));
  return new Bundle(new TarFiles(new FileBytes(path), 'bundle.json'));
}

test('the evidence of a namespace is a bundle that our own reader and tar take', async () => {
  const asked: string[] = [];
  const bundle = await bundleOf(
    sources(
      async (path) => ({
        status: path === '/certs' ? 503 : 200,
        body: Buffer.from(path === '/listeners?format=json' ? '' : `{"of":"${path}"}`),
      }),
      asked,
    ),
    [namespace('cni-1')],
  );
  assert.deepEqual(bundle.losses, []);
  const [entry] = bundle.manifest.namespaces;
  assert.deepEqual(entry!.pod, { namespace: 'default', name: 'web-1', uid: 'u1' });
  assert.deepEqual(
    entry!.files.map(({ kind, family, status, reason }) => [kind, family, status, reason].filter((part) => part !== undefined).join(' ')),
    [
      'iptables-save ipv4 ok',
      'ip6tables-save ipv6 empty',
      'conntrack ipv4 failed no module',
      'sockets ok',
      'config_dump ok',
      'clusters ok',
      'listeners empty',
      'server_info ok',
      'certs failed Envoy answers 503',
      'stats ok',
    ],
  );
  assert.equal(bundle.readText(snapshotsOf(entry!, 'iptables-save')[0]!.path!), '*nat\nCOMMIT\n');
  assert.equal(bundle.readText(snapshotsOf(entry!, 'config_dump')[0]!.path!), '{"of":"/config_dump?include_eds"}');
  assert.match(bundle.readText('pods.json')!, /web-1/);
  assert.equal(asked[0], '/config_dump?include_eds');
  const listed = spawnSync('tar', ['-tf', join(folder, `${made}.tar`)], { encoding: 'utf8' });
  assert.equal(listed.stderr, '');
  assert.match(listed.stdout, /default_web-1\/sockets\.txt/);
});

test('secrets in what Envoy or a rule says are hidden', async () => {
  const key = '-----BEGIN PRIVATE KEY-----\\nQUJDQUJD\\n-----END PRIVATE KEY-----';
  const bundle = await bundleOf(
    sources(async () => ({ status: 200, body: Buffer.from(`{"key":"${key}"}`) })),
    [namespace('cni-1', [...texts, { kind: 'nft', status: 'ok', text: `{"comment":"${key}"}`, readAt: texts[0]!.readAt }])],
  );
  for (const { path } of snapshotsOf(bundle.manifest.namespaces[0]!))
    if (path !== undefined) assert.doesNotMatch(bundle.readText(path)!, /QUJD|PRIVATE/);
});

test('where no Envoy listens none is asked, and one that does not answer is asked once', async () => {
  const asked: string[] = [];
  const silent = sources(async () => {
    throw new Error('nothing came');
  }, asked);
  const none = await bundleOf(silent, [
    namespace(
      'cni-1',
      texts.filter(({ kind }) => kind !== 'sockets').concat({ ...texts[3]!, text: 'tcp LISTEN 0 1 0.0.0.0:8080 0.0.0.0:*\n' }),
    ),
  ]);
  assert.deepEqual(asked, []);
  assert.equal(none.manifest.namespaces[0]!.files.length, 4);
  const once = await bundleOf(silent, [namespace('cni-1')]);
  assert.deepEqual(asked, ['/config_dump?include_eds']);
  assert.equal(once.manifest.namespaces[0]!.files.at(-1)!.reason, 'nothing came');
});

test('namespaces of the same pod name have folders of their own', async () => {
  const bundle = await bundleOf(
    sources(async () => ({ status: 404, body: Buffer.alloc(0) })),
    [namespace('a'), namespace('b')],
  );
  assert.deepEqual(
    bundle.manifest.namespaces.map(({ path, netns }) => [path, netns]),
    [
      ['default_web-1', 'a'],
      ['default_web-1.2', 'b'],
    ],
  );
});

test('an archive that nobody wants any more ends', async () => {
  const controller = new AbortController();
  let chunks = 0;
  for await (const _ of evidenceArchive(
    sources(async () => ({ status: 200, body: Buffer.from('x') })),
    [namespace('a')],
    controller.signal,
  )) {
    chunks++;
    controller.abort();
  }
  assert.ok(chunks <= 3, String(chunks));
});

test('long names are split where ustar can, or refused', () => {
  const name = `${'d'.repeat(90)}/${'f'.repeat(90)}`;
  const header = tarHeader({ name, length: 3, modified: 0 });
  assert.equal(header.toString('latin1', 345, 435), 'd'.repeat(90));
  assert.equal(header.toString('latin1', 0, 90), 'f'.repeat(90));
  assert.throws(() => tarHeader({ name: 'x'.repeat(300), length: 0, modified: 0 }), RangeError);
});
