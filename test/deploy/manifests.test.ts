import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { readConfig } from '../../src/daemon/config-sources.ts';

interface Container {
  readonly name: string;
  readonly image: string;
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  readonly securityContext: { readonly [key: string]: unknown };
  readonly volumeMounts: readonly {
    readonly name: string;
    readonly mountPath: string;
    readonly readOnly?: boolean;
    readonly mountPropagation?: string;
  }[];
}
interface PodSpec {
  readonly [key: string]: unknown;
  readonly containers: readonly Container[];
  readonly volumes: readonly { readonly name: string; readonly [kind: string]: unknown }[];
}
interface KubeObject {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly data?: { readonly [key: string]: string };
  readonly rules?: readonly {
    readonly apiGroups: readonly string[];
    readonly resources: readonly string[];
    readonly verbs: readonly string[];
  }[];
  readonly spec: { readonly template: { readonly spec: PodSpec } };
}

const objects = readdirSync('deploy/manifests')
  .filter((name) => name.endsWith('.yaml'))
  // The kubelet's YAML: 0440 is octal.
  .flatMap((name) =>
    parseAllDocuments(readFileSync(join('deploy/manifests', name), 'utf8'), { version: '1.1' }).map(
      (document) => document.toJS() as KubeObject,
    ),
  );
const one = (kind: string, name = 'sidetrace') =>
  objects.find((object) => object.kind === kind && object.metadata.name === name) ?? assert.fail(`a ${kind} ${name} is wanted`);
const pod = one('DaemonSet').spec.template.spec;
const container = (name: string) => pod.containers.find((each) => each.name === name) ?? assert.fail(`a container ${name} is wanted`);

test('the probe has three capabilities and nothing else, the daemon none', () => {
  assert.equal(pod.containers.length, 2);
  assert.equal('initContainers' in pod, false);
  assert.deepEqual(container('probe').securityContext, {
    privileged: false,
    runAsUser: 0,
    runAsGroup: 0,
    runAsNonRoot: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ['ALL'], add: ['SYS_ADMIN', 'NET_ADMIN', 'NET_RAW'] },
    seccompProfile: { type: 'RuntimeDefault' },
  });
  assert.deepEqual(container('daemon').securityContext, {
    privileged: false,
    runAsUser: 65532,
    runAsGroup: 65532,
    runAsNonRoot: true,
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ['ALL'] },
    seccompProfile: { type: 'RuntimeDefault' },
  });
  assert.deepEqual([pod.hostPID, pod.hostNetwork, pod.hostIPC, pod.automountServiceAccountToken], [false, false, false, false]);
});

test('the probe sees the namespaces of pods, also of later ones, and no token; the daemon sees no folder of the node', () => {
  const mounts = (name: string) =>
    container(name).volumeMounts.map((mount) =>
      `${mount.name} ${mount.mountPath} ${mount.readOnly === true ? 'ro' : 'rw'} ${mount.mountPropagation ?? ''}`.trim(),
    );
  assert.deepEqual(mounts('probe'), ['namespaces /run/netns ro HostToContainer', 'sockets /run/sidetrace rw']);
  assert.deepEqual(mounts('daemon'), [
    'sockets /run/sidetrace rw',
    'config /etc/sidetrace ro',
    'token /var/run/secrets/kubernetes.io/serviceaccount ro',
    'tls /tls ro',
  ]);
  assert.deepEqual(
    pod.volumes.filter((volume) => 'hostPath' in volume).map((volume) => volume.name),
    ['namespaces'],
  );
});

test('the account of the daemon may read names and ask who a caller is, and nothing else', () => {
  const may = (name: string) =>
    one('ClusterRole', name).rules!.flatMap(({ apiGroups, resources, verbs }) =>
      apiGroups.flatMap((group) => resources.map((resource) => `${group}/${resource} ${verbs.join(' ')}`)),
    );
  assert.deepEqual(may('sidetrace'), [
    '/pods get list watch',
    '/services get list watch',
    'discovery.k8s.io/endpointslices get list watch',
    'authentication.k8s.io/tokenreviews create',
    'authorization.k8s.io/subjectaccessreviews create',
  ]);
  assert.deepEqual(may('sidetrace-observe'), ['sidetrace.dev/flows observe status']);
  assert.deepEqual(may('sidetrace-inspect'), ['sidetrace.dev/flows observe status evidence packets']);
});

test('the probe listens where the daemon looks for it, and lets its user in', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sidetrace-'));
  const file = join(folder, 'config.yaml');
  writeFileSync(file, one('ConfigMap').data!['config.yaml']!);
  const { config } = readConfig({ file, environment: {}, flags: {} });
  rmSync(folder, { recursive: true });
  const args = container('probe').args!;
  const after = (flag: string) => args[args.indexOf(flag) + 1];
  assert.equal(after('--socket'), config.probe.socket);
  assert.equal(Number(after('--ring-budget')) * 1024 * 1024, config.probe.ringBudget);
  assert.equal(Number(after('--peer-uid')), container('daemon').securityContext.runAsUser);
  assert.deepEqual(config.stream.listen, ['unix:/run/sidetrace/daemon.sock', ':4280']);
  assert.equal(config.stream.auth.kubernetes.audience, 'sidetrace');
  assert.equal(config.health.listen, ':4281');
});

test('the seccomp profiles refuse what would lead out of a container', () => {
  for (const name of ['probe', 'daemon']) {
    const profile = JSON.parse(readFileSync(`deploy/chart/seccomp/${name}.json`, 'utf8')) as {
      defaultAction: string;
      syscalls: { names: string[]; action: string; args?: { index: number; value: number }[] }[];
    };
    assert.equal(profile.defaultAction, 'SCMP_ACT_ERRNO');
    const allowed = (call: string) => profile.syscalls.filter((rule) => rule.action === 'SCMP_ACT_ALLOW' && rule.names.includes(call));
    for (const call of [
      'mount',
      'umount2',
      'move_mount',
      'pivot_root',
      'chroot',
      'unshare',
      'clone3',
      'ptrace',
      'process_vm_writev',
      'bpf',
      'perf_event_open',
      'init_module',
      'finit_module',
      'kexec_load',
      'io_uring_setup',
      'keyctl',
      'userfaultfd',
      'mknod',
      'mknodat',
      'open_by_handle_at',
      'reboot',
    ])
      assert.deepEqual(allowed(call), [], `${name}: ${call}`);
    const setns = allowed('setns');
    if (name === 'daemon') assert.deepEqual(setns, []);
    else
      assert.deepEqual(
        setns.map((rule) => rule.args?.map(({ index, value }) => [index, value])),
        [[[1, 0x40000000]]],
      );
    const families = allowed('socket').map((rule) => rule.args?.[0]?.value);
    assert.equal(families.includes(17), name === 'probe', `${name}: AF_PACKET`);
    assert.ok(!families.includes(undefined));
  }
});
