import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { capState } from '../../src/cli/cap-state.ts';
import type { AnyRecord } from '../../src/record/record.ts';
import { inNamespace, ip, makePair, needsRoot, removeNamespaces, sendDatagrams, startSender } from '../native/namespaces.ts';
import { main, run } from './run.ts';

after(removeNamespaces);

const needsCap = {
  skip: needsRoot.skip || (capState() === 'built' ? false : 'SKIPPED: the package cap is not compiled (npm rebuild cap; libpcap-dev)'),
};

/** `replay --live` in a namespace; `begun` settles when it captures. */
function live(
  netns: string,
  ...args: string[]
): { child: ReturnType<typeof spawn>; begun: Promise<void>; ended: Promise<{ code: number | null; records: AnyRecord[]; err: string }> } {
  const child = spawn('ip', ['netns', 'exec', netns, process.execPath, main, 'replay', '--live', 'eth0', '-o', 'json', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
  });
  let out = '';
  let err = '';
  child.stdout.on('data', (text: Buffer) => {
    out += text.toString();
  });
  child.stderr.on('data', (text: Buffer) => {
    err += text.toString();
  });
  const ended = once(child, 'close').then(([code]) => ({
    code: code as number | null,
    records: out
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as AnyRecord),
    err,
  }));
  const begun = (async () => {
    for (let i = 0; i < 400; i++) {
      // a packet socket is listed once it captures
      if (inNamespace(netns, 'cat', '/proc/net/packet').trim().split('\n').length > 1) return;
      await sleep(25);
    }
  })();
  return { child, begun, ended };
}

const packetsOf = (records: readonly AnyRecord[]): number =>
  records.reduce(
    (sum, record) =>
      record.type === 'flow' && record.protocol === 'udp' && record.destination.port === 9
        ? sum + record.counters.toDestination.packets
        : sum,
    0,
  );

test(
  'what passes an interface is replayed at --duration, with stamps that are now, and what cap cannot tell is told',
  needsCap,
  async () => {
    const { near } = makePair();
    const { begun, ended } = live(near, '--duration', '3s');
    await begun;
    const from = Date.now();
    await sendDatagrams(near, { address: '10.77.0.2', port: 9, count: 300, pause: 0.001 });
    const { code, records, err } = await ended;
    assert.equal(err, '');
    assert.equal(code, 0);
    assert.equal(packetsOf(records), 300);
    const flow = records.find((record) => record.type === 'flow' && record.protocol === 'udp');
    assert.ok(flow?.type === 'flow' && Math.abs(Date.parse(flow.first) - from) < 2000, JSON.stringify(flow));
    const lost = records.filter((record) => record.type === 'lost');
    assert.deepEqual(
      lost.map(({ source, count, exact }) => [source, count, exact]),
      [['kernel', 0, false]],
    );
    assert.match(lost[0]?.type === 'lost' ? (lost[0].detail ?? '') : '', /time stamps .* not the kernel's/);
  },
);

test('Ctrl-C ends it with its totals, and is no interruption', needsCap, async () => {
  const { near } = makePair();
  const { child, begun, ended } = live(near, '--capture-filter', 'udp port 9');
  await begun;
  await sendDatagrams(near, { address: '10.77.0.2', port: 9, count: 100, pause: 0.001 });
  await sleep(300);
  child.kill('SIGINT');
  const { code, records } = await ended;
  assert.equal(code, 0);
  assert.equal(packetsOf(records), 100);
  assert.equal(records.at(-1)?.type, 'total');
});

test('an interface that is deleted ends it with what was seen until then, a loss, and 4', needsCap, async () => {
  const { near } = makePair();
  const { begun, ended } = live(near);
  await begun;
  await sendDatagrams(near, { address: '10.77.0.2', port: 9, count: 200, pause: 0.001 });
  const sender = startSender(near, { address: '10.77.0.2', port: 9, count: 0, pause: 0.005 });
  await sleep(300);
  const at = Date.now();
  ip('-n', near, 'link', 'delete', 'eth0');
  const { code, records } = await ended;
  sender.kill('SIGKILL');
  assert.ok(Date.now() - at < 3000, `${Date.now() - at} ms`);
  assert.equal(code, 4);
  assert.ok(packetsOf(records) >= 200, String(packetsOf(records)));
  const lost = records.find((record) => record.type === 'lost' && record.source === 'interface');
  assert.match(lost?.type === 'lost' ? (lost.detail ?? '') : '', /"eth0" any longer.*it went away/);
  assert.equal(records.at(-1)?.type, 'total');
});

test('what cannot be captured says why', needsCap, () => {
  const of = (args: readonly string[], options = {}) => run(['replay', ...args], options);
  const none = of(['--live', 'no-such-0']);
  assert.equal(none.code, 2);
  assert.match(none.err, /"no-such-0": an interface that is up is wanted/);
  const filter = of(['--live', 'lo', '--capture-filter', 'foo bar']);
  assert.equal(filter.code, 2);
  assert.match(filter.err, /pcap-filter\(7\) in place of "foo bar"/);
  const denied = of(['--live', 'lo', '--duration', '1s'], { uid: 65_534, gid: 65_534 });
  assert.equal(denied.code, 3);
  assert.match(denied.err, /root, or CAP_NET_RAW/);
});

for (const [name, args, says] of [
  ['nothing at all', [], /RECORDING or --live/],
  ['both', ['captures/bookinfo', '--live', 'lo'], /one of them/],
  ['a duration without an interface', ['captures/bookinfo', '--duration', '1s'], /belong to --live/],
  ['a duration that is none', ['--live', 'lo', '--duration', 'soon'], /90s, 5m/],
  ['packets of an interface', ['--live', 'lo', '-o', 'pcapng'], /tcpdump/],
] as const)
  test(`${name} is a mistake`, () => {
    const { code, err } = run(['replay', ...args]);
    assert.equal(code, 1, err);
    assert.match(err, says);
  });
