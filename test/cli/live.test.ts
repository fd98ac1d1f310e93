import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AnyRecord } from '../../src/record/record.ts';
import { Bundle, snapshotsOf } from '../../src/source/bundle.ts';
import { FolderFiles } from '../../src/source/bundle-files.ts';
import { needsEnvoy } from '../envoy/running-envoy.ts';
import { inNamespace, makeNamespace, makePair, needsRoot, removeNamespaces, sendDatagrams } from '../native/namespaces.ts';
import { type LiveDaemon, removeFolder, startDaemon, startEnvoyIn } from './live-daemon.ts';
import { main, runAsync } from './run.ts';

const needs = { skip: needsRoot.skip || needsEnvoy().skip };
const folder = mkdtempSync(join(tmpdir(), 'sidetrace-live-'));
let daemon: LiveDaemon;
let envoy: ChildProcess;
let near = '';

before(async () => {
  if (needs.skip !== false) return;
  near = makePair().near;
  inNamespace(near, 'iptables', '-t', 'nat', '-A', 'OUTPUT', '-p', 'tcp', '--dport', '80', '-j', 'REDIRECT', '--to-ports', '15001');
  envoy = await startEnvoyIn(near, folder);
  daemon = await startDaemon(folder, [near, makeNamespace()]);
  await sleep(500);
});

after(async () => {
  envoy?.kill('SIGKILL');
  await daemon?.kill('SIGKILL');
  removeNamespaces();
  removeFolder(folder);
});

const ask = (...args: string[]) => runAsync([...args, '--server', daemon.server]);

test('rules and listeners of a live pod are those of its evidence as a bundle', needs, async () => {
  const archive = join(folder, 'evidence.tar');
  const socket = daemon.server.replace('unix:', '');
  const fetched = spawnSync('curl', ['-sf', '--unix-socket', socket, '-o', archive, `http://localhost/v1/netns/${near}/evidence`]);
  assert.equal(fetched.status, 0);
  for (const command of ['rules', 'listeners'] as const) {
    const live = await ask(command, '--pod', near);
    assert.equal(live.err, '');
    assert.equal(live.code, 0);
    const offline = await runAsync([command, archive]);
    assert.equal(live.out, offline.out);
    assert.match(live.out, /15001/);
  }
  assert.match((await ask('listeners', '--pod', near)).out, /15000.*admin/i);
});

test("a live Envoy's tables and its own answers", needs, async () => {
  const clusters = await ask('envoy', 'clusters', '--pod', near);
  assert.equal(clusters.code, 0, clusters.err);
  assert.match(clusters.out, /outbound\|9\|\|far\.default\.svc\.cluster\.local/);
  const summary = JSON.parse((await ask('envoy', '--pod', near, '-o', 'json')).out) as {
    proxy: { name: string };
    envoy: { state: string };
  };
  assert.equal(summary.envoy.state, 'LIVE');
  assert.equal((await ask('envoy', 'admin', 'ready', '--pod', near)).out, 'LIVE\n');
  assert.match((await ask('envoy', 'admin', '/stats?filter=^server.live$', '--pod', near)).out, /^server\.live: 1\n$/);
  const stats = await ask('envoy', 'stats', '--pod', near);
  assert.equal(stats.code, 0, stats.err);
});

test('nothing that changes an Envoy is asked of it', needs, async () => {
  for (const path of [
    'quitquitquit',
    'logging?level=trace',
    'healthcheck/fail',
    'drain_listeners',
    'ready/../quitquitquit',
    '..%2fquitquitquit',
  ]) {
    const { code, err } = await ask('envoy', 'admin', path, '--pod', near);
    assert.equal(code, 3, `${path}: ${err}`);
  }
  assert.equal((await ask('envoy', 'admin', 'ready', '--pod', near)).out, 'LIVE\n');
});

test('the way of a connection from a live pod', needs, async () => {
  const { code, out, err } = await ask('explain', '10.77.0.2:80', '--pod', near, '-o', 'json');
  assert.equal(err, '');
  assert.equal(code, 0);
  assert.match(out, /REDIRECT/);
  assert.match(out, /virtualOutbound/);
  const named = await ask('explain', near, '10.77.0.2:80', '-o', 'json');
  assert.equal(named.code, 0, named.err);
  // it is read anew
  const undated = (text: string): string => text.replace(/"readAt": "[^"]*"/g, '');
  assert.equal(undated(named.out), undated(out));
});

test('a pod that is not there, or not one, is a mistake that names those there are', needs, async () => {
  const none = await ask('rules', '--pod', 'nobody');
  assert.equal(none.code, 1);
  assert.match(none.err, new RegExp(`none is called so. There are:\\n.*${near}`, 's'));
  const several = await ask('rules', '--pod', near, '--pod', near);
  assert.equal(several.code, 1);
  const both = await ask('rules', 'captures/bookinfo/client', '--pod', near);
  assert.equal(both.code, 1);
  const gone = await runAsync(['rules', '--pod', near, '--server', `unix:${join(folder, 'no.sock')}`]);
  assert.notEqual(gone.code, 0);
  assert.match(gone.err, /no\.sock.*ENOENT/);
});

test('a recording from a daemon holds every packet, the evidence of begin and end, and replays', needs, async () => {
  const out = join(folder, 'run');
  const recording = ask('record', out, '--netns', near, '--duration', '4s');
  for (let i = 0; i < 200 && !(daemon.log().match(/packets/g) ?? []).length && i < 60; i++) await sleep(25);
  await sleep(700);
  await sendDatagrams(near, { address: '10.77.0.2', port: 9, count: 1000, pause: 0.0005 });
  const { code, out: said, err } = await recording;
  assert.equal(err, '');
  assert.equal(code, 0);
  assert.match(said, /^recorded \d+ packets of 1 namespaces/);
  const bundle = new Bundle(new FolderFiles(out));
  assert.equal(bundle.manifest.node, 'test-node');
  const [entry] = bundle.manifest.namespaces;
  assert.equal(entry!.netns, near);
  assert.equal(snapshotsOf(entry!, 'config_dump').filter(({ status }) => status === 'ok').length, 2);
  assert.ok(entry!.interfaces.some(({ addresses }) => addresses.includes('10.77.0.1')));
  const replayed = await runAsync(['replay', out, '-o', 'json']);
  assert.equal(replayed.code, 0, replayed.err);
  assert.match(replayed.out, /"toDestination":\{"packets":1000,/);
  assert.equal(readdirSync(out).includes('.reserve'), false);
});

test('a namespace that the daemon comes to see later is recorded as well', needs, async () => {
  const out = join(folder, 'late');
  const recording = ask('record', out, '--duration', '5s');
  await sleep(1500);
  const late = makeNamespace();
  daemon.show(late);
  await sleep(2000);
  await sendDatagrams(late, { address: '127.0.0.1', port: 9, count: 30 });
  const { code, err } = await recording;
  assert.equal(code, 0, err);
  const bundle = new Bundle(new FolderFiles(out));
  assert.ok(bundle.manifest.namespaces.some(({ netns }) => netns === late));
  const { out: json } = await runAsync(['replay', out, '-o', 'json']);
  assert.match(json, new RegExp(`"netns":"${late}".*"packets":30`));
});

test('what a recorder is too slow for is counted: sent is written and lost', needs, async () => {
  const out = join(folder, 'slow');
  const recorder = spawn(process.execPath, [main, 'record', out, '--netns', near, '--server', daemon.server], { stdio: 'ignore' });
  const ended = once(recorder, 'close');
  await sleep(2500);
  recorder.kill('SIGSTOP');
  // 16 MiB wait in the daemon, some more in sockets; the rest has to be dropped
  await sendDatagrams(near, { address: '10.77.0.2', port: 9, count: 60_000, size: 1000, pause: 0.00002 });
  await sleep(500);
  recorder.kill('SIGCONT');
  await sleep(2500);
  await sendDatagrams(near, { address: '10.77.0.2', port: 9, count: 10 });
  await sleep(500);
  recorder.kill('SIGINT');
  const [code] = await ended;
  assert.equal(code, 4);
  const { out: json } = await runAsync(['replay', out, '-o', 'json']);
  const records = json
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as AnyRecord);
  const seen = records.reduce(
    (sum, one) =>
      one.type === 'flow' && one.protocol === 'udp' && one.destination.port === 9 ? sum + one.counters.toDestination.packets : sum,
    0,
  );
  const lost = records.reduce((sum, one) => (one.type === 'lost' ? sum + one.count : sum), 0);
  assert.ok(lost > 10_000, String(lost));
  // what else passes meanwhile (neighbours, polls of Envoy) may be lost as well
  assert.ok(seen + lost >= 60_010 && seen + lost < 60_400, `${seen} + ${lost}`);
});

test('when the daemon goes in the middle, what came before is there, and the gap is told', needs, async () => {
  const out = join(folder, 'gap');
  const recording = ask('record', out, '--netns', near, '--duration', '5s');
  await sleep(1500);
  await sendDatagrams(near, { address: '10.77.0.2', port: 9, count: 200, pause: 0.0005 });
  await sleep(300);
  await daemon.kill('SIGTERM');
  const { code, err } = await recording;
  assert.equal(code, 4);
  assert.match(err, /Cannot ask the daemon|connection was lost|not handed over/);
  const bundle = new Bundle(new FolderFiles(out));
  assert.ok(bundle.manifest.lost.length > 0);
  const { code: replayed, out: json } = await runAsync(['replay', out, '-o', 'json']);
  assert.equal(replayed, 4);
  assert.match(json, /"toDestination":\{"packets":200,/);
});
