import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { allChecks, type Check, type Facts, type MachineFacts, type ProbeFacts } from '../../src/cli/doctor-checks.ts';
import { netlinkFamilies, openFiles, propagationOf } from '../../src/cli/doctor-machine.ts';
import { envoyState } from '../../src/cli/doctor-node.ts';
import { build, ip, makeNamespace, needsRoot, removeNamespaces } from '../native/namespaces.ts';
import { run, runAsync } from './run.ts';

const folder = mkdtempSync(join(tmpdir(), 'sidetrace-doctor-'));
after(() => {
  removeNamespaces();
  rmSync(folder, { recursive: true });
});

const tool = (name: string) => ({ name, path: `/usr/sbin/${name}`, version: 'v1.8.9' });
const machine: MachineFacts = {
  nodeVersion: 'v20.20.2',
  system: 'Linux',
  release: '6.1.0-18-amd64',
  machine: 'x86_64',
  user: 'root, uid 0',
  capabilities: 0x1ff_ffff_ffffn,
  netlink: [0, 4, 12],
  packetSockets: true,
  conntrack: { max: 262_144, events: 2 },
  openFiles: 1_048_576,
  tools: ['iptables-nft-save', 'ip6tables-nft-save', 'iptables-legacy-save', 'ip6tables-legacy-save', 'nft', 'ip'].map(tool),
  folder: { path: '/run/netns', namespaces: ['cni-1', 'cni-2'], ordinary: [], propagation: 'shared' },
  processes: { namespaces: 3, hidden: 0 },
  clock: { source: 'tsc', keepers: ['chronyd'], synchronized: undefined, stepMs: 0.01 },
  cap: 'built',
};
const probe: ProbeFacts = {
  by: 'socket',
  where: '/run/sidetrace/probe.sock',
  version: 1,
  capabilities: (1n << 21n) | (1n << 12n) | (1n << 13n),
  tools: ['iptables-save', 'ip6tables-save', 'iptables-legacy-save', 'ip6tables-legacy-save', 'nft-ruleset', 'ip-rule', 'ip6-rule'],
  ringBudget: 64 * 1024 * 1024,
  library: 'libpcap version 1.10.3',
  namespaces: ['cni-1', 'cni-2'],
};
const noProbe: ProbeFacts = { by: 'started', where: 'sidetrace-probe', fault: 'it is not installed' };
const healthy: Facts = {
  machine,
  probe,
  envoys: [
    { netns: 'cni-1', state: 'LIVE' },
    { netns: 'cni-2', state: 'none' },
  ],
  daemon: { where: '/run/sidetrace/daemon.sock', asked: false, about: 'version 0.1.0 on node-a, captures 2 of 2 namespaces' },
  protocol: 1,
};
const on = (change: Partial<MachineFacts>): Facts => ({ ...healthy, machine: { ...machine, ...change } });

test('on a healthy node every check is ok', () => {
  assert.deepEqual(
    allChecks(healthy).filter(({ status }) => status !== 'ok'),
    [],
  );
});

/** What differs from the healthy node; the one check that is not ok then, and what it must tell. */
const cases: readonly [name: string, facts: Facts, check: string, status: Check['status'], is: RegExp, todo: RegExp][] = [
  ['an old Node.js', on({ nodeVersion: 'v20.18.0' }), 'node', 'warning', /20\.18/, /install/],
  ['a Node.js that nobody tried', on({ nodeVersion: 'v27.0.0' }), 'node', 'warning', /27/, /install/],
  ['a kernel without cookies of namespaces', on({ release: '5.10.0-28-amd64' }), 'kernel', 'failed', /SO_NETNS_COOKIE/, /5\.14/],
  ['another machine', on({ machine: 'riscv64' }), 'kernel', 'failed', /riscv64/, /tcpdump/],
  ['no packet sockets', on({ packetSockets: false }), 'packets', 'failed', /CONFIG_PACKET/, /modprobe af_packet/],
  ['no connection tracking', on({ conntrack: undefined }), 'conntrack', 'warning', /sequence numbers/, /modprobe nf_conntrack/],
  ['no conntrack events', on({ conntrack: { max: 1, events: 0 } }), 'conntrack', 'warning', /without events/, /nf_conntrack_events=1/],
  ['no nfnetlink', on({ netlink: [0, 4] }), 'netlink', 'warning', /nfnetlink/, /modprobe/],
  ['no sock_diag', on({ netlink: [0, 12] }), 'netlink', 'warning', /sock_diag/, /modprobe/],
  ['a probe of another version', { ...healthy, probe: { ...probe, version: 2 } }, 'probe', 'failed', /protocol 2/, /same version/],
  [
    'a probe without SYS_ADMIN',
    { ...healthy, probe: { ...probe, capabilities: 0x3000n } },
    'rights',
    'failed',
    /SYS_ADMIN \(no namespace/,
    /setcap cap_sys_admin/,
  ],
  [
    'a probe without NET_RAW',
    { ...healthy, probe: { ...probe, capabilities: (1n << 21n) | (1n << 12n) } },
    'rights',
    'failed',
    /no packets/,
    /cap_net_raw/,
  ],
  [
    'a probe without legacy tools',
    { ...healthy, probe: { ...probe, tools: probe.tools!.filter((name) => name !== 'iptables-legacy-save') } },
    'tools',
    'warning',
    /legacy tables stay unknown/,
    /install iptables/,
  ],
  ['a probe with ip only', { ...healthy, probe: { ...probe, tools: ['ip-rule'] } }, 'tools', 'failed', /no rule can be read/, /install/],
  ['a probe that sees no namespace', { ...healthy, probe: { ...probe, namespaces: [] } }, 'namespaces', 'warning', /sees none/, /mounted/],
  [
    'private propagation that has bitten',
    on({ folder: { ...machine.folder, ordinary: ['cni-3'] } }),
    'propagation',
    'failed',
    /ordinary files.*cni-3/,
    /HostToContainer/,
  ],
  [
    'private propagation',
    on({ folder: { ...machine.folder, propagation: 'private' } }),
    'propagation',
    'warning',
    /private/,
    /HostToContainer/,
  ],
  ['few open files', on({ openFiles: 256 }), 'files', 'warning', /256.*272/, /ulimit/],
  ['no daemon', { ...healthy, daemon: { where: 's', asked: false, fault: 'ENOENT' } }, 'daemon', 'warning', /ENOENT/, /sidetrace daemon/],
  [
    'no daemon where one was named',
    { ...healthy, daemon: { where: 's', asked: true, fault: 'ECONNREFUSED' } },
    'daemon',
    'failed',
    /ECONNREFUSED/,
    /runs/,
  ],
  [
    'an Envoy that hangs',
    { ...healthy, envoys: [...healthy.envoys, { netns: 'cni-9', state: 'silent', detail: 'it says nothing' }] },
    'envoy',
    'warning',
    /1 of 3.*cni-9 \(it says nothing\)/,
    /kubectl logs/,
  ],
  ['no Envoy at all', { ...healthy, envoys: [{ netns: 'cni-1', state: 'none' }] }, 'envoy', 'warning', /none of 1/, /injected/],
  ['a slow clock source', on({ clock: { ...machine.clock, source: 'hpet' } }), 'clock', 'warning', /microsecond/, /dmesg/],
  ['a clock that is set', on({ clock: { ...machine.clock, stepMs: -120 } }), 'clock', 'warning', /-120\.0 ms/, /slews/],
  ['a clock that nobody keeps', on({ clock: { ...machine.clock, keepers: [] } }), 'clock', 'warning', /no program/, /chronyd/],
  [
    'a clock not yet set',
    on({ clock: { ...machine.clock, keepers: ['systemd-timesyn'], synchronized: false } }),
    'clock',
    'warning',
    /not set the clock yet/,
    /timedatectl/,
  ],
  ['cap not compiled', on({ cap: 'unbuilt' }), 'cap', 'warning', /not compiled/, /npm rebuild cap/],
  ['cap not installed', on({ cap: 'absent' }), 'cap', 'warning', /not installed/, /libpcap-dev/],
];
for (const [name, facts, check, status, is, todo] of cases)
  test(`${name}: ${check} is the one check that says so, and what to do`, () => {
    const odd = allChecks(facts).filter((one) => one.status !== 'ok');
    assert.deepEqual(
      odd.map((one) => [one.check, one.status]),
      [[check, status]],
    );
    assert.match(odd[0]!.is, is);
    assert.match(odd[0]!.todo ?? '', todo);
  });

test('without a probe, rights and namespaces are our own', () => {
  const rights = (capabilities: bigint) =>
    allChecks({ ...healthy, probe: noProbe, machine: { ...machine, capabilities } }).find(({ check }) => check === 'rights');
  assert.equal(rights(machine.capabilities!)?.status, 'ok');
  assert.match(rights(0n)?.is ?? '', /this process .* lacks CAP_SYS_ADMIN .*CAP_NET_ADMIN .*CAP_NET_RAW/);
  assert.equal(rights(0x3000n | (1n << 21n))?.status, 'warning');
  const namespaces = (change: Partial<MachineFacts>) =>
    allChecks({ ...healthy, probe: noProbe, machine: { ...machine, ...change } }).find(({ check }) => check === 'namespaces');
  const empty = { ...machine.folder, namespaces: [] };
  assert.match(namespaces({})?.is ?? '', /2 in \/run\/netns: cni-1, cni-2/);
  assert.match(namespaces({ folder: empty })?.is ?? '', /processes have 3/);
  assert.equal(namespaces({ folder: empty, processes: { namespaces: 1, hidden: 7 } })?.status, 'warning');
  assert.match(namespaces({ folder: { ...empty, fault: 'ENOENT' } })?.is ?? '', /ENOENT/);
});

test('every check stands in docs/operations.md', {
  skip: existsSync('docs/operations.md') ? false : 'SKIPPED: docs/operations.md is absent (run the tests from the root)',
}, () => {
  const page = readFileSync('docs/operations.md', 'utf8');
  for (const { check } of allChecks(healthy)) assert.ok(page.includes(`| \`${check}\` |`), check);
});

test('mountinfo tells how mounts come to a folder', () => {
  const info = [
    '22 27 0:21 / / rw - ext4 /dev/vda rw',
    '30 22 0:5 / /run rw,nosuid shared:7 - tmpfs tmpfs rw',
    '31 30 0:5 /netns /run/netns rw master:7 - tmpfs tmpfs rw',
    '32 30 0:6 / /run/with\\040blank rw shared:9 master:3 - tmpfs tmpfs rw',
    '33 31 0:4 net:[4026532000] /run/netns/cni-1 rw - nsfs nsfs rw',
  ].join('\n');
  assert.equal(propagationOf('/run/netns', info), 'slave');
  assert.equal(propagationOf('/run/lock', info), 'shared');
  assert.equal(propagationOf('/run/with blank', info), 'slave');
  assert.equal(propagationOf('/var/run', info), 'private');
  assert.equal(propagationOf('/var', ''), undefined);
});

test('tables of /proc', () => {
  assert.deepEqual(netlinkFamilies('sk Eth Pid Groups\n00 0 0 0\n00 12 0 0\n00 4 4711 0\n'), [0, 12]);
  assert.equal(openFiles('Max open files            1024                 4096                 files\n'), 1024);
  assert.equal(openFiles('Max open files            unlimited            unlimited            files\n'), undefined);
});

test("what answers on Envoy's port is judged by what it says", () => {
  const end = (code: string, errno = 0, text = '') => ({ code, errno, text });
  const state = (answer: string, ended: ReturnType<typeof end> | undefined) => envoyState(answer, ended).state;
  assert.equal(state('HTTP/1.1 200 OK\r\n\r\n{"state": "LIVE"}', end('done')), 'LIVE');
  assert.equal(state('HTTP/1.1 200 OK\r\n\r\n{"state": "PRE_INITIALIZING"}', end('done')), 'PRE_INITIALIZING');
  assert.equal(state('HTTP/1.1 200 OK\r\n\r\n<html>', end('done')), 'odd');
  assert.equal(state('SSH-2.0-OpenSSH_9.2\r\n', end('done')), 'odd');
  assert.equal(state('', end('failed', 111)), 'none');
  assert.equal(state('', undefined), 'silent');
  assert.equal(state('', end('refused', 0, 'too many')), 'unreachable');
});

interface Answer {
  readonly failed: number;
  readonly checks: readonly Check[];
}

const asked = (args: readonly string[], options = {}): { code: number | null; answer: Answer } => {
  const { code, out } = run(['doctor', '-o', 'json', ...args], options);
  return { code, answer: JSON.parse(out) as Answer };
};

test('as an ordinary user it names each right that is missing and ends with 4', needsRoot, () => {
  const program = build('plain');
  const { code, answer } = asked(['--probe-program', program], { uid: 65_534, gid: 65_534 });
  assert.equal(code, 4);
  const rights = answer.checks.find(({ check }) => check === 'rights');
  assert.equal(rights?.status, 'failed');
  for (const name of ['CAP_SYS_ADMIN', 'CAP_NET_ADMIN', 'CAP_NET_RAW']) assert.match(rights.is, new RegExp(name));
  assert.equal(answer.checks.find(({ check }) => check === 'envoy')?.status, 'warning');
});

test('as root it sees the namespaces, a file that is none, and ends with 0 or 4 by what failed', needsRoot, async () => {
  const program = build('plain');
  const name = makeNamespace();
  const fine = await runAsync(['doctor', '-o', 'json', '--probe-program', program, '--netns-dir', '/run/netns']);
  const answer = JSON.parse(fine.out) as Answer;
  const of = (check: string, from: Answer = answer) => from.checks.filter((one) => one.check === check);
  for (const check of ['kernel', 'packets', 'probe', 'rights', 'namespaces']) assert.equal(of(check)[0]?.status, 'ok', check);
  assert.ok(Number(/sees (\d+)/.exec(of('namespaces')[0]!.is)?.[1]) >= 1);
  assert.equal(fine.code, answer.failed === 0 ? 0 : 4);

  // what E11 of the reliability study found: the name is there, and is an ordinary empty file
  const bound = join(folder, 'netns');
  mkdirSync(bound);
  writeFileSync(join(bound, name), '');
  const stale = asked(['--probe-program', program, '--netns-dir', bound]);
  assert.equal(of('propagation', stale.answer)[0]?.status, 'failed');
  assert.match(of('propagation', stale.answer)[0]!.is, new RegExp(name));
  assert.equal(stale.code, 4);
});

test("an Envoy's admin port is asked within its namespace", needsRoot, async () => {
  const program = build('plain');
  const name = makeNamespace();
  const server = `import http.server
class H(http.server.BaseHTTPRequestHandler):
  def do_GET(self):
    self.send_response(200); self.end_headers(); self.wfile.write(b'{"state": "LIVE"}')
  def log_message(self, *a): pass
http.server.HTTPServer(('127.0.0.1', 15000), H).serve_forever()`;
  const { spawn } = await import('node:child_process');
  const child = spawn('ip', ['netns', 'exec', name, 'python3', '-c', server], { stdio: 'ignore' });
  try {
    for (let i = 0; i < 200 && !ip('netns', 'exec', name, 'cat', '/proc/net/tcp').includes(':3A98'); i++)
      await new Promise((resolve) => setTimeout(resolve, 25));
    const { answer } = asked(['--probe-program', program]);
    assert.match(answer.checks.find(({ check }) => check === 'envoy')!.is, /[1-9]\d* of \d+ namespaces have an Envoy/);
  } finally {
    child.kill('SIGKILL');
  }
});

test('a daemon that was named and is not there fails; one that answers tells of itself', async () => {
  const status = {
    node: 'node-a',
    version: '9.9.9',
    boot: 'b',
    began: '2026-11-30T00:00:00.000000000Z',
    now: '2026-11-30T00:00:01.000000000Z',
    namespaces: [],
    lost: [],
    subscribers: [],
    stream: { seq: 0, ringBytes: 0 },
    probe: { connected: true, restarts: 0, ringBytes: 0 },
    kubernetes: { source: 'none', synced: false },
  };
  const path = join(folder, 'daemon.sock');
  const server = createServer((_request, response) => response.end(JSON.stringify(status)));
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const daemonOf = async (...args: string[]): Promise<Check> => {
    const { out } = await runAsync(['doctor', '-o', 'json', ...args]);
    return (JSON.parse(out) as Answer).checks.find(({ check }) => check === 'daemon')!;
  };
  assert.match((await daemonOf('--server', path)).is, /version 9\.9\.9 on node-a, captures 0 of 0/);
  await new Promise((resolve) => server.close(resolve));
  const gone = await daemonOf('--server', `unix:${join(folder, 'nothing.sock')}`);
  assert.equal(gone.status, 'failed');
  assert.match(gone.is, /ENOENT/);
});
