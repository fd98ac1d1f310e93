import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AnyRecord } from '../../src/record/record.ts';
import { Bundle, snapshotsOf } from '../../src/source/bundle.ts';
import { FolderFiles } from '../../src/source/bundle-files.ts';
import {
  build,
  inNamespace,
  ip,
  makePair,
  needsRoot,
  removeNamespace,
  removeNamespaces,
  sendDatagrams,
  startSender,
} from '../native/namespaces.ts';
import { main, run, runAsync } from './run.ts';

const folder = mkdtempSync(join(tmpdir(), 'sidetrace-record-'));
const mounted: string[] = [];
const children = new Set<ChildProcess>();
after(() => {
  for (const child of children) child.kill('SIGKILL');
  removeNamespaces();
  for (const path of mounted) spawnSync('umount', [path]);
  rmSync(folder, { recursive: true });
});

let made = 0;
const fresh = (): string => join(folder, `run-${++made}`);

interface Recorder {
  readonly child: ChildProcess;
  readonly out: string;
  /** Settles when it captures in the namespace. */
  readonly begun: Promise<void>;
  readonly ended: Promise<{ code: number | null; said: string; err: string }>;
}

function record(netns: string, out: string, ...args: string[]): Recorder {
  const program = build('plain');
  const child = spawn(process.execPath, [main, 'record', out, '--probe-program', program, '--netns', netns, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.add(child);
  let said = '';
  let err = '';
  child.stdout.on('data', (text: Buffer) => {
    said += text.toString();
  });
  child.stderr.on('data', (text: Buffer) => {
    err += text.toString();
  });
  const ended = once(child, 'close').then(([code]) => {
    children.delete(child);
    return { code: code as number | null, said, err };
  });
  const begun = (async () => {
    for (let i = 0; i < 400; i++) {
      if (inNamespace(netns, 'cat', '/proc/net/packet').trim().split('\n').length > 1) return;
      if (child.exitCode !== null) throw new Error(`record ended with ${child.exitCode}: ${err}`);
      await sleep(25);
    }
    throw new Error('record does not begin');
  })();
  return { child, out, begun, ended };
}

/** Numbers of the datagrams to port 9 that the packet files of a bundle hold (namespaces.ts puts them in front), and what its reader says was lost. */
function numbersIn(out: string): { numbers: number[]; losses: { source: string; count: number }[] } {
  const bundle = new Bundle(new FolderFiles(out));
  const numbers: number[] = [];
  const losses: { source: string; count: number }[] = [];
  for (const entry of bundle.manifest.namespaces)
    for (const { path } of snapshotsOf(entry, 'packets')) {
      const source = bundle.openPackets(path!);
      if (source === undefined) continue;
      for (let batch = source.next(); batch !== undefined; batch = source.next())
        for (let i = 0; i < batch.count; i++) {
          // SLL2, IPv4 without options, UDP
          const at = batch.offset[i]!;
          if (batch.view.getUint16(at) !== 0x0800 || batch.view.getUint8(at + 20 + 9) !== 17) continue;
          if (batch.view.getUint16(at + 42) === 9) numbers.push(batch.view.getUint32(at + 52));
        }
      losses.push(...source.losses.map(({ source: from, count }) => ({ source: from, count })));
      source.close();
    }
  losses.push(...bundle.losses.map(({ source, count }) => ({ source, count })));
  bundle.close();
  return { numbers, losses };
}

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

test('what a probe sees is a bundle: every packet, rules, sockets, conntrack, and it replays', needsRoot, async () => {
  const { near } = makePair();
  inNamespace(near, 'iptables', '-t', 'nat', '-A', 'OUTPUT', '-p', 'tcp', '--dport', '80', '-j', 'REDIRECT', '--to-ports', '15001');
  const { begun, ended, out } = record(near, fresh(), '--duration', '4s');
  await begun;
  await sleep(300);
  await sendDatagrams(near, { address: '10.77.0.2', port: 9, count: 1000, pause: 0.0005 });
  const { code, said, err } = await ended;
  assert.equal(err, '');
  assert.equal(code, 0);
  assert.match(said, /^recorded \d+ packets of 1 namespaces to /);
  const { numbers, losses } = numbersIn(out);
  assert.deepEqual(numbers, range(1000));
  assert.deepEqual(losses, []);
  const bundle = new Bundle(new FolderFiles(out));
  const [entry] = bundle.manifest.namespaces;
  assert.equal(entry!.netns, near);
  assert.deepEqual(entry!.interfaces.map(({ name }) => name).sort(), ['eth0', 'lo']);
  assert.ok(entry!.interfaces.some(({ addresses }) => addresses.includes('10.77.0.1')));
  assert.match(bundle.readText(snapshotsOf(entry!, 'iptables-save')[0]!.path!)!, /--to-ports 15001/);
  assert.match(bundle.readText(snapshotsOf(entry!, 'conntrack', 'ipv4').at(-1)!.path!)!, /dport=9/);
  for (const path of [out, ...readdirSync(out, { recursive: true, encoding: 'utf8' }).map((name) => join(out, name))])
    assert.equal(statSync(path).mode & 0o077, 0, path);
  const { code: replayed, out: json } = run(['replay', out, '-o', 'json']);
  assert.equal(replayed, 0);
  const flow = json
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as AnyRecord)
    .find((one) => one.type === 'flow' && one.destination.port === 9);
  assert.ok(flow?.type === 'flow');
  assert.equal(flow.counters.toDestination.packets, 1000);
  assert.equal(flow.netns, near);
  const rules = run(['rules', join(out, near)]);
  assert.match(rules.out, /15001/);
});

test('Ctrl-C ends it in order: the last packet is there, and so are the readings of the end', needsRoot, async () => {
  const { near } = makePair();
  const { child, begun, ended, out } = record(near, fresh());
  await begun;
  await sleep(300);
  await sendDatagrams(near, { address: '10.77.0.2', port: 9, count: 500 });
  child.kill('SIGINT');
  const { code } = await ended;
  assert.equal(code, 0);
  assert.deepEqual(numbersIn(out).numbers, range(500));
  const { manifest } = new Bundle(new FolderFiles(out));
  assert.ok(manifest.ended !== undefined);
  assert.ok(manifest.namespaces[0]!.files.filter(({ kind }) => kind === 'sockets').length === 2);
});

test('a namespace that comes during the recording is recorded, one that goes stays in it', needsRoot, async () => {
  const { near } = makePair();
  const late = `stn-late-${process.pid}`;
  const { child, begun, ended, out } = record(near, fresh(), '--netns', late);
  await begun;
  ip('netns', 'add', late);
  try {
    ip('-n', late, 'link', 'set', 'lo', 'up');
    await sleep(500);
    await sendDatagrams(late, { address: '127.0.0.1', port: 9, count: 50 });
    await sleep(200);
  } finally {
    ip('netns', 'del', late);
  }
  await sleep(300);
  child.kill('SIGTERM');
  assert.equal((await ended).code, 0);
  const { manifest } = new Bundle(new FolderFiles(out));
  assert.deepEqual(manifest.namespaces.map(({ netns }) => netns).sort(), [near, late].sort());
  assert.deepEqual([...new Set(numbersIn(out).numbers)], range(50));
});

test('files of packets rotate by size, and the newest stay', needsRoot, async () => {
  const { near } = makePair();
  const { begun, ended, out } = record(near, fresh(), '--duration', '4s', '--rotate-size', '64KiB', '--keep', '3');
  await begun;
  await sleep(300);
  await sendDatagrams(near, { address: '10.77.0.2', port: 9, count: 2000, size: 500, pause: 0.0005 });
  assert.equal((await ended).code, 0);
  const files = readdirSync(join(out, near)).filter((name) => name.startsWith('packets'));
  assert.equal(files.length, 3);
  const { numbers, losses } = numbersIn(out);
  assert.equal(numbers.at(-1), 1999);
  assert.deepEqual(numbers, range(2000).slice(2000 - numbers.length));
  assert.deepEqual(losses, []);
  assert.ok(numbers.length > 200, String(numbers.length));
});

test('a name that ends with .tar.gz is packed, and replays', needsRoot, async () => {
  const { near } = makePair();
  const archive = `${fresh()}.tar.gz`;
  const { begun, ended } = record(near, archive, '--duration', '2s');
  await begun;
  await sleep(300);
  await sendDatagrams(near, { address: '10.77.0.2', port: 9, count: 10 });
  assert.equal((await ended).code, 0);
  assert.equal(existsSync(archive.replace('.tar.gz', '')), false);
  assert.equal(statSync(archive).mode & 0o777, 0o600);
  const { code, out } = run(['replay', archive, '-o', 'json']);
  assert.equal(code, 0);
  assert.match(out, /"port":9/);
  assert.equal(run(['listeners', `${archive}/${near}`]).code, 0);
  assert.match(spawnSync('tar', ['-tzf', archive], { encoding: 'utf8' }).stdout, /bundle\.json/);
});

test('only what the filter lets pass is captured, and the file says by which', needsRoot, async () => {
  const { near } = makePair();
  const { begun, ended, out } = record(near, fresh(), '--duration', '2s', '--capture-filter', 'udp port 10', '--snaplen', '96');
  await begun;
  await sleep(300);
  await sendDatagrams(near, { address: '10.77.0.2', port: 9, count: 20, size: 400 });
  await sendDatagrams(near, { address: '10.77.0.2', port: 10, count: 20, size: 400 });
  assert.equal((await ended).code, 0);
  assert.deepEqual(numbersIn(out).numbers, []);
  const bundle = new Bundle(new FolderFiles(out));
  const source = bundle.openPackets(`${near}/packets.pcapng`)!;
  assert.equal(source.interfaces[0]!.filter, 'udp port 10');
  const batch = source.next()!;
  assert.equal(batch.count, 20);
  assert.equal(batch.capturedLength[0], 96);
  assert.ok(batch.wireLength[0]! > 400);
});

test('what the ring lost is in the bundle: sent is written and lost', needsRoot, async () => {
  const { near } = makePair();
  const { child, begun, ended, out } = record(near, fresh(), '--ring-budget', '1MiB');
  await begun;
  await sleep(500);
  // the recorder stands still while the ring overflows
  child.kill('SIGSTOP');
  await sendDatagrams(near, { address: '10.77.0.2', port: 9, count: 80_000, size: 500 });
  child.kill('SIGCONT');
  await sleep(1500);
  child.kill('SIGINT');
  const { code, said } = await ended;
  const { numbers, losses } = numbersIn(out);
  const lost = losses.filter(({ source }) => source === 'kernel').reduce((sum, { count }) => sum + count, 0);
  if (lost === 0) assert.equal(code, 0);
  else {
    assert.equal(code, 4);
    assert.match(said, new RegExp(`lost ${lost}\\b`));
  }
  assert.ok(lost > 0, `the test must lose something: ${numbers.length} packets, ${JSON.stringify(losses)}`);
  // some other frames pass as well: neighbours, multicast
  assert.ok(numbers.length + lost >= 80_000 && numbers.length + lost < 80_050, `${numbers.length} + ${lost}`);
});

test('on a full disk it ends within a second, says so, and what was written replays', needsRoot, async () => {
  const { near } = makePair();
  const small = fresh();
  mkdirSync(small);
  assert.equal(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'none', small]).status, 0);
  mounted.push(small);
  const out = join(small, 'run');
  const { child, begun, ended } = record(near, out);
  await begun;
  await sleep(500);
  let toldAt = 0;
  child.stderr!.on('data', () => {
    toldAt ||= Date.now();
  });
  const sender = startSender(near, { address: '10.77.0.2', port: 9, count: 0, size: 1000, pause: 0.001 });
  // 256 KiB less what is kept aside are full after some 150 datagrams
  const { code, err } = await ended;
  const endedAt = Date.now();
  sender.kill('SIGKILL');
  assert.equal(code, 4);
  assert.match(err, /Cannot write ".*": a place with room that may be written is wanted, the system says ENOSPC. The recording ends/);
  assert.match(err, /\d+ packets were captured and could not be written/);
  assert.ok(endedAt - toldAt < 2500, `${endedAt - toldAt} ms`);
  const { numbers, losses } = numbersIn(out);
  assert.ok(numbers.length > 50, String(numbers.length));
  assert.deepEqual(numbers, range(numbers.length));
  assert.deepEqual(
    losses.map(({ source }) => source),
    ['recorder'],
  );
  const replayed = run(['replay', out]);
  assert.equal(replayed.code, 4);
  assert.match(replayed.out, /\(recorder\)/);
});

test('where nothing may be written it says so at once', needsRoot, async () => {
  const { near } = makePair();
  const readOnly = fresh();
  mkdirSync(readOnly);
  assert.equal(spawnSync('mount', ['-t', 'tmpfs', '-o', 'ro', 'none', readOnly]).status, 0);
  mounted.push(readOnly);
  const from = Date.now();
  const { code, err } = await runAsync(['record', join(readOnly, 'run'), '--probe-program', build('plain'), '--netns', near]);
  assert.match(err, /EROFS/);
  assert.equal(code, 4);
  assert.ok(Date.now() - from < 2500);
  const full = fresh();
  mkdirSync(full);
  writeFileSync(join(full, 'mine'), 'x');
  const taken = await runAsync(['record', full, '--probe-program', build('plain'), '--netns', near]);
  assert.equal(taken.code, 4);
  assert.match(taken.err, /EEXIST/);
  assert.equal(readFileSync(join(full, 'mine'), 'utf8'), 'x');
});

const KILLS = Number(process.env.SIDETRACE_KILLS ?? 20);

test(
  `killed ${KILLS} times at any moment, each time it leaves a bundle that holds all that passed a second before`,
  needsRoot,
  async (t) => {
    let cut = 0;
    for (let i = 0; i < KILLS; i++) {
      const { near, far } = makePair();
      const rotate = i % 2 === 0 ? ['--rotate-size', '64KiB', '--keep', '3000'] : [];
      const { child, begun, ended, out } = record(near, fresh(), ...rotate);
      await begun;
      await sleep(200);
      const sender = startSender(near, { address: '10.77.0.2', port: 9, count: 0, size: 300, pause: 0.0005 });
      const history: { at: number; sent: number }[] = [];
      sender.stdout!.on('data', (text: Buffer) => {
        // the line's end may come by itself
        const said = text.toString().trim().split('\n').at(-1)!;
        if (said !== '') history.push({ at: Date.now(), sent: Number(said) });
      });
      for (let wait = 0; history.length === 0 && wait < 400; wait++) await sleep(25);
      await sleep(1200 + ((i * 7919) % 700));
      const at = Date.now();
      child.kill('SIGKILL');
      await ended;
      sender.kill('SIGKILL');
      const due = history.filter((one) => one.at <= at - 1000).at(-1)?.sent ?? 0;
      const { numbers, losses } = numbersIn(out);
      assert.ok(
        due > 0,
        `kill ${i}: the test must send something a second before, it sent ${JSON.stringify(history.slice(0, 3))}, killed at ${at}`,
      );
      assert.ok(numbers.length >= due, `kill ${i}: ${numbers.length} packets, ${due} were due`);
      assert.deepEqual(numbers, range(numbers.length), `kill ${i}`);
      assert.ok(
        losses.every(({ source }) => source === 'truncated' || source === 'absent'),
        JSON.stringify(losses),
      );
      if (losses.length > 0) cut++;
      const { code } = run(['replay', out, '-o', 'csv']);
      assert.ok(code === 0 || code === 2, String(code));
      assert.equal(code === 2, losses.length > 0);
      for (const name of [near, far]) removeNamespace(name);
      rmSync(out, { recursive: true });
    }
    t.diagnostic(`${KILLS} kills, ${cut} of them cut a file`);
  },
);

for (const [name, args, says] of [
  ['no place', [], /missing required argument 'OUT'/],
  ['a daemon and a probe', ['x', '--server', '/s', '--probe', '/p'], /daemon and a probe together/],
  ['some files of one', ['x', '--probe', '/p', '--keep', '3'], /wants --rotate-size/],
  ['a size that is none', ['x', '--probe', '/p', '--rotate-size', '3 bananas'], /64MiB/],
  ['a filter for a daemon', ['x', '--server', '/s', '--capture-filter', 'tcp'], /captures are shared/],
  ['pods of a probe', ['x', '--probe', '/p', '--pod', 'a'], /names of namespaces only/],
] as const)
  test(`${name} is a mistake`, () => {
    const { code, err } = run(['record', ...args.map((arg) => (arg === 'x' ? join(folder, 'never') : arg))]);
    assert.equal(code, 1, err);
    assert.match(err, says);
    assert.equal(existsSync(join(folder, 'never')), false);
  });

test('a probe that is not there is told', () => {
  const { code, err } = run(['record', join(folder, 'never'), '--probe', join(folder, 'no.sock')]);
  assert.notEqual(code, 0);
  assert.match(err, /Cannot record with the probe at ".*no\.sock"/);
  assert.equal(existsSync(join(folder, 'never')), false);
});
