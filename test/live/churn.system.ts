/** Pods come and go, and parts of the world fail, while traffic runs: nothing is told of the wrong pod, nothing leaks, and the daemon goes on and says what it missed. */
import assert from 'node:assert/strict';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Arena, HUB, round } from './arena.ts';
import { buildProbe, LiveDaemon, usage } from './daemon.ts';
import { judge, tell } from './judge.ts';
import { ended, Lab, type LabPod, makeFolder, run, start, until } from './lab.ts';
import { meshDaemons, startAll } from './mesh-daemons.ts';
import { Observer } from './observer.ts';
import { clients, type Done, make, serveOutside } from './traffic.ts';
import { listen } from './witness.ts';

const PODS = 200;
/** At once; as many addresses serve them all, each taken again as soon as it is free. */
const ALIVE = 10;
const PACKETS = 20;
const pause = (seconds: number) => new Promise((done) => setTimeout(done, seconds * 1000));

test(`${PODS} namespaces with ${ALIVE} addresses come and go under traffic: nothing is told of the wrong one, nothing leaks`, async (t) => {
  buildProbe();
  const folder = makeFolder();
  const arena = await Arena.open(folder);
  const daemon = new LiveDaemon({ node: 'node-c', folder: join(folder, 'node-c'), enter: arena.enter, heapMiB: 64 });
  try {
    await daemon.start();
    await daemon.capturing(1);
    const observer = new Observer('churn', folder, [daemon.server]);
    await daemon.serving(1);
    await pause(3);
    const atFirst = { daemon: usage(daemon.pid), probe: usage(daemon.probePid), rings: (await daemon.status()).probe.ringBytes };
    const alive: { name: string; address: string }[] = [];
    const sizes: number[] = [];
    for (let i = 0; i < PODS; i++) {
      const oldest = alive.length === ALIVE ? alive.shift()! : undefined;
      if (oldest !== undefined) arena.remove(oldest.name);
      const pod = { name: `pod${i}`, address: oldest?.address ?? `10.99.2.${i + 1}` };
      arena.add(pod.name, pod.address);
      if (i % 4 === 0)
        arena.run(
          'ip',
          'netns',
          'exec',
          pod.name,
          'iptables',
          '-t',
          'nat',
          '-A',
          'PREROUTING',
          '-p',
          'tcp',
          '-j',
          'REDIRECT',
          '--to-ports',
          '15006',
        );
      alive.push(pod);
      if (i % 40 === 39) sizes.push(usage(daemon.pid).rssKib);
      // Port 20000 + i is that of the i-th alone: a flow to it belongs to no other.
      const targets = alive.map(({ name, address }) => ({ address, port: 20_000 + Number(name.slice(3)) }));
      run(arena.inside(HUB, round(targets, PACKETS)));
    }
    for (const { name } of alive) arena.remove(name);
    await until(
      'all namespaces but the hub to be forgotten',
      20,
      async () => (await daemon.status()).namespaces.filter(({ state }) => state !== 'gone').length === 1,
    );
    await pause(3);
    const atLast = { daemon: usage(daemon.pid), probe: usage(daemon.probePid), rings: (await daemon.status()).probe.ringBytes };
    await daemon.stop();
    await observer.stop();
    const { flows, lost } = await observer.read();
    const told = flows.filter(
      ({ destination, protocol, netns }) => netns !== HUB && protocol === 'udp' && (destination.port ?? 0) >= 20_000,
    );
    const wrong = told.filter(({ netns, destination }) => netns !== `pod${(destination.port ?? 0) - 20_000}`);
    const packets = told.reduce((sum, { counters }) => sum + counters.toDestination.packets, 0);
    const sent = Array.from({ length: PODS }, (_, i) => Math.min(ALIVE, PODS - i) * PACKETS).reduce((sum, one) => sum + one, 0);
    t.diagnostic(
      `${packets} of ${sent} datagrams in ${told.length} flows of ${new Set(told.map(({ netns }) => netns)).size} namespaces; ${wrong.length} of the wrong one`,
    );
    t.diagnostic(`the daemon's KiB after each 40: ${sizes.join(', ')}`);
    t.diagnostic(`before: ${JSON.stringify(atFirst)}; after: ${JSON.stringify(atLast)}`);
    t.diagnostic(`lost: ${lost.map(({ source, count, scope }) => `${source} ${scope.netns ?? ''} ${count}`).join(', ') || 'nothing'}`);
    assert.deepEqual(
      wrong.map(({ netns, destination }) => `${netns} ${destination.ip}:${destination.port}`),
      [],
    );
    assert.ok(packets >= sent * 0.95, `only ${packets} of ${sent} datagrams were told`);
    assert.equal(atLast.rings, atFirst.rings);
    assert.ok(
      atLast.probe.files <= atFirst.probe.files + 2,
      `the probe has ${atLast.probe.files} files open, it had ${atFirst.probe.files}`,
    );
    assert.ok(
      atLast.daemon.files <= atFirst.daemon.files + 4,
      `the daemon has ${atLast.daemon.files} files open, it had ${atFirst.daemon.files}`,
    );
    assert.ok(atLast.probe.rssKib <= atFirst.probe.rssKib + 8 * 1024, 'the probe grew');
    // What grows at first is the heap's own size and the ring of records; a leak goes on.
    const late = sizes.at(-1)! - sizes.at(-3)!;
    assert.ok(late <= 16 * 1024, `the daemon grew by ${late} KiB over the last 80 namespaces`);
    rmSync(folder, { recursive: true, force: true });
  } catch (error) {
    t.diagnostic(`what was observed and logged is in ${folder}: ${daemon.log().slice(-800)}`);
    throw error;
  } finally {
    await daemon.stop().catch(() => undefined);
    await arena.close().catch(() => undefined);
  }
});

const policy = (subset: string) => `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: reviews-changed }
spec: { hosts: [reviews], http: [{ name: to-${subset}, route: [{ destination: { host: reviews, subset: ${subset} } }] }] }
`;

/** Kills the Envoy of a pod; pilot-agent then ends, too, and nobody starts it again. */
function killEnvoy(lab: Lab, pod: LabPod): void {
  const pids = run(lab.inNode(pod.node, ['ip', 'netns', 'pids', pod.netns]))
    .trim()
    .split('\n');
  for (const pid of pids) if (readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === 'envoy') process.kill(Number(pid), 'SIGKILL');
}

/** What goes wrong, in turn, while traffic runs; each must leave the daemon going on. */
async function disturb(t: TestContext, lab: Lab, daemons: readonly LiveDaemon[]): Promise<void> {
  const [a, b] = daemons as [LiveDaemon, LiveDaemon];
  const isWell = async (what: string) => {
    for (const daemon of daemons)
      await until(
        `"${daemon.node}" to be ready after ${what}`,
        40,
        async () => (await daemon.health('/readyz').catch(() => ({ status: 0 }))).status === 200,
      );
    t.diagnostic(`${what}: both go on`);
  };

  for (const subset of ['v1', 'v3', 'v2']) {
    lab.apply(policy(subset));
    await pause(1.7);
  }
  await isWell('a configuration that was pushed, three times');

  const rated = lab.pod('ratings');
  const of = rated.node === 'a' ? a : b;
  const generationOf = async () => (await of.status()).namespaces.find(({ netns }) => netns === rated.netns)?.rules?.generation ?? -1;
  const generation = await generationOf();
  run(
    lab.inPod(rated, [
      'sh',
      '-c',
      'iptables-save -t nat >/tmp/sidetrace-live.rules && iptables-restore </tmp/sidetrace-live.rules; rm -f /tmp/sidetrace-live.rules',
    ]),
  );
  await until('the rules that were loaded again to be read', 15, async () => (await generationOf()) > generation);
  await isWell('rules that were loaded again');

  const dead = lab.pod('details');
  killEnvoy(lab, dead);
  await isWell('an Envoy that was killed');

  const before = (await a.status()).probe.restarts;
  await a.killProbe();
  await until('the loss of the probe to be noticed', 15, async () => !(await a.status()).probe.connected);
  await pause(2);
  a.startProbe();
  await until('the probe to be found again', 30, async () => {
    const { probe } = await a.status();
    return probe.connected && probe.restarts > before;
  });
  await a.capturing(lab.pods().filter(({ node }) => node === 'a').length - 1);
  await isWell('a probe that was killed');

  const api = readFileSync(join(lab.folder, 'pid', 'kube-apiserver'), 'utf8').trim();
  const argv = readFileSync(`/proc/${api}/cmdline`, 'utf8').split('\0').filter(Boolean);
  process.kill(Number(api), 'SIGKILL');
  await pause(30);
  const without = (await a.status()).kubernetes;
  t.diagnostic(`after 30 s without the API server: ${JSON.stringify(without)}`);
  assert.ok(without.staleSince !== undefined, 'the names of 30 s ago are not told to be stale');
  const again = start(lab.inNode('a', argv));
  writeFileSync(join(lab.folder, 'pid', 'kube-apiserver'), `${again.pid}`);
  await until('the names to be fresh again', 60, async () => (await a.status()).kubernetes.staleSince === undefined);
  await isWell('an API server that was away for 30 s');
}

test('configuration pushed, rules loaded again, an Envoy and a probe killed, no API server for 30 s: the daemons go on, and nothing is wrong', async (t) => {
  buildProbe();
  const folder = makeFolder();
  const lab = Lab.bringUp('redirect');
  lab.apply(readFileSync(resolve('test/mesh/objects/random.yaml'), 'utf8'));
  serveOutside(lab);
  const pods = lab.pods().filter(({ app }) => app !== 'istiod');
  const daemons = meshDaemons(lab, folder);
  const observers: Observer[] = [];
  try {
    await startAll(daemons, pods);
    observers.push(...daemons.map((daemon) => new Observer(daemon.node, folder, [daemon.server])));
    const hearing = listen(lab, pods, folder);
    for (const daemon of daemons) await daemon.serving(1);
    await pause(3);
    const load = start(
      lab.inPod(
        lab.pod('one'),
        [
          process.execPath,
          '/opt/lab/apps/load.mjs',
          '--concurrent',
          '4',
          '--requests',
          '1500',
          '--paced',
          '200',
          'http://reviews:9080/reviews/0',
          'http://ratings:9080/ratings/0',
        ],
        'app',
      ),
      { out: join(folder, 'load.txt'), error: join(folder, 'load.error') },
    );
    await disturb(t, lab, daemons);
    const did = new Map<string, Done[]>();
    did.set('10', await make(clients(lab), folder, { name: '10', concurrent: 10, acts: 30, seed: 9 }));
    await ended(load, 120);
    await pause(8);
    const testimony = await hearing();
    for (const daemon of daemons) await daemon.stop();
    for (const observer of observers) await observer.stop();
    const [a, b] = await Promise.all(observers.map((observer) => observer.read()));
    const lost = [...a!.lost, ...b!.lost];
    for (const { source, scope, count, exact, detail } of lost.slice(0, 20))
      t.diagnostic(`lost: ${source} ${scope.node} ${scope.netns ?? ''} ${count} ${exact} ${detail ?? ''}`);
    const judged = judge({ flows: [...a!.flows, ...b!.flows], paths: [...a!.paths, ...b!.paths] }, testimony, did, true);
    tell(t, judged);
    assert.deepEqual([...judged.all.wrong, ...judged.translations.wrong], []);
    assert.ok(
      lost.some(({ scope }) => scope.node === 'node-a'),
      'a probe was killed, and no record says what was missed',
    );
    rmSync(folder, { recursive: true, force: true });
  } catch (error) {
    t.diagnostic(`what was observed and logged is in ${folder}: ${daemons.map((daemon) => daemon.log().slice(-500)).join('\n')}`);
    throw error;
  } finally {
    for (const daemon of daemons) await daemon.stop().catch(() => undefined);
    for (const observer of observers) await observer.stop().catch(() => undefined);
    lab.mesh('delete', resolve('test/mesh/objects/random.yaml'));
    lab.mesh('down'); // one of its Envoys is dead
  }
});
