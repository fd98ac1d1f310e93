/** `status`: what it shows of a daemon's answer, and how it ends. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { isTroubled, statusText } from '../../src/cli/status-text.ts';
import { palette } from '../../src/output/color.ts';
import { type DaemonStatus, readStatus } from '../../src/stream/status-shape.ts';
import { folder, running } from '../stream/live.ts';
import { type Ran, runAsync } from './run.ts';

const at = (time: string): string => `2026-11-30T${time}.000000000Z`;

const well: DaemonStatus = {
  node: 'node-a',
  version: '0.1.0',
  boot: 'b',
  began: at('09:00:00'),
  now: at('12:12:30'),
  namespaces: [
    {
      netns: 'cni-1',
      cookie: '4097',
      pod: { namespace: 'default', name: 'client', uid: 'u' },
      state: 'capturing',
      since: at('09:00:01'),
      packets: 12_345,
      bytes: 5_000_000,
      lost: 0,
      flows: 42,
      unavailable: [],
      envoy: { version: '1.33.2', readAt: at('12:00:00') },
      rules: { generation: 7, readAt: at('12:10:00') },
    },
    {
      netns: 'cni-2',
      cookie: '4098',
      state: 'capturing',
      since: at('12:12:00'),
      packets: 0,
      bytes: 0,
      lost: 0,
      flows: 0,
      unavailable: [{ part: 'config_dump', reason: 'Connection refused' }],
    },
  ],
  lost: [{ source: 'kernel', count: 0 }],
  subscribers: [{ id: 's1', principal: 'uid 0', since: at('12:12:20'), sent: 1000, lost: 0, queued: 10 }],
  stream: { seq: 99_000, ringBytes: 1_000_000, oldest: at('11:12:30') },
  probe: { connected: true, restarts: 0, ringBytes: 64_000_000 },
  kubernetes: { source: 'kubeconfig', synced: true },
};
const ill: DaemonStatus = {
  ...well,
  namespaces: [
    { ...well.namespaces[0]!, lost: 17, unavailable: [{ part: 'iptables-save', reason: 'exit 1: \u001b[31mno', since: at('12:12:00') }] },
    { ...well.namespaces[1]!, state: 'failed', reason: 'EPERM' },
  ],
  lost: [{ source: 'kernel', count: 1017, exact: true }],
  probe: { connected: false, restarts: 3, ringBytes: 0, reason: 'ECONNREFUSED' },
  kubernetes: { source: 'kubeconfig', synced: true, staleSince: at('12:11:30') },
};

test('a daemon that is well, as text', () => {
  assert.equal(isTroubled(well), false);
  assert.equal(
    statusText('unix:/run/x', well, palette(false)),
    `node-a  sidetrace 0.1.0, up 3h 12m (unix:/run/x)
  probe         connected, 0 restarts, rings of 64 MB
  kubernetes    kubeconfig, synced
  stream        99,000 records so far, 1.0 MB kept, back to 1h 00m ago
  lost          nothing
  subscribers   1
                s1 uid 0 since 10s: 1,000 records sent, nothing lost, 10 B waiting
  namespaces    2 capturing

  POD             STATE      FOR     FLOWS  PACKETS  BYTES   ENVOY   RULES
  default/client  capturing  3h 12m  42     12,345   5.0 MB  1.33.2  read 2m 30s ago, change 7
  cni-2           capturing  30s     0      0        0 B

  1 namespace without Envoy, or whose Envoy does not answer (-o json says why)
`,
  );
});

test('what is wrong stands out, and nothing that came from outside reaches the terminal as it was', () => {
  assert.equal(isTroubled(ill), true);
  const text = statusText('s', ill, palette(false));
  assert.match(text, /probe {9}not connected: ECONNREFUSED, 3 restarts/);
  assert.match(text, /kubernetes {4}kubeconfig, stale for 1m 00s/);
  assert.match(text, /lost {10}kernel 1,017/);
  assert.match(text, /1 capturing, 1 failed/);
  assert.match(text, /! default\/client {2}iptables-save: exit 1: \\u\{1b\}\[31mno \(for 30s\)/);
  assert.ok(!text.includes('\u001b'));
  for (const part of [{ lost: ill.lost }, { probe: ill.probe }, { kubernetes: ill.kubernetes }, { namespaces: ill.namespaces }])
    assert.equal(isTroubled({ ...well, ...part }), true);
});

test('the schema takes what a daemon says, also of a newer one, and says what is wrong of another', () => {
  assert.deepEqual(readStatus({ ...well, newer: [{}] }), { ...well, newer: [{}] });
  assert.match(String(readStatus({ ...well, node: 3 })), /^"node" must be string/);
  assert.match(String(readStatus(null)), /^it must be/);
  assert.match(String(readStatus({ ...well, namespaces: [{ ...well.namespaces[0], state: 'odd' }] })), /^"namespaces\.0\.state"/);
});

function status(t: TestContext, args: readonly string[]): Promise<Ran> {
  return runAsync(['status', ...args], { signal: t.signal, env: { NO_COLOR: '1', SIDETRACE_TOKEN: '' } });
}

async function daemon(t: TestContext, body: string): Promise<string> {
  const { server, path } = await running(t, {}, false);
  server.handle('GET', '/v1/status', 'status', () => ({ type: 'application/json', body }));
  return path;
}

test('exit codes: 0 well, 4 something is amiss, 3 nobody answers; one that cannot be asked leaves the others', async (t) => {
  const [good, bad, odd] = [await daemon(t, JSON.stringify(well)), await daemon(t, JSON.stringify(ill)), await daemon(t, '{"node": 1}')];
  assert.deepEqual((await status(t, ['--server', good])).code, 0);
  assert.deepEqual((await status(t, ['--server', good, '--server', bad])).code, 4);
  const dead = await status(t, ['--server', join(folder(t), 'nobody.sock'), '--server', good]);
  assert.equal(dead.code, 3);
  assert.match(dead.out, /^node-a /);
  assert.match(dead.err, /Cannot ask the daemon at "unix:.*nobody\.sock".*ENOENT/);
  const strange = await status(t, ['--server', odd]);
  assert.equal(strange.code, 3);
  assert.match(strange.err, /Cannot read the status of "unix:.*": "node" must be string/);
  const json = await status(t, ['--server', good, '--server', odd, '-o', 'json']);
  const { servers } = JSON.parse(json.out) as { servers: { server: string; status?: DaemonStatus; fault?: string }[] };
  assert.deepEqual(
    servers.map((one) => [one.status?.node, one.fault === undefined]),
    [
      ['node-a', true],
      [undefined, false],
    ],
  );
});
