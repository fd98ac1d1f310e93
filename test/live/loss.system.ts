/** What is lost on the way to a record is counted, exactly, through the whole daemon; and what need not be lost is not. */
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { AnyRecord, LostRecord } from '../../src/record/record.ts';
import { Arena, HUB, sender, sink } from './arena.ts';
import { buildProbe, LiveDaemon } from './daemon.ts';
import { ended, makeFolder, run, start, until } from './lab.ts';
import { Observer } from './observer.ts';

const RUNS = 20;
const PACKETS = 500;
const pause = (seconds: number) => new Promise((done) => setTimeout(done, seconds * 1000));

interface Scene {
  readonly folder: string;
  readonly arena: Arena;
  readonly daemon: LiveDaemon;
}

async function scene(t: TestContext, play: (scene: Scene) => Promise<void>, probeWords: readonly string[] = []): Promise<void> {
  buildProbe();
  const folder = makeFolder();
  const arena = await Arena.open(folder);
  const daemon = new LiveDaemon({
    node: 'node-l',
    folder: join(folder, 'node-l'),
    enter: arena.enter,
    probeWords,
    words: ['--records-update-ms', '1000'],
  });
  try {
    await play({ folder, arena, daemon });
    await daemon.stop();
    await arena.close();
    rmSync(folder, { recursive: true, force: true });
  } catch (error) {
    t.diagnostic(`what was observed and logged is in ${folder}: ${daemon.log().slice(-600)}`);
    throw error;
  } finally {
    await daemon.stop().catch(() => undefined);
    await arena.close().catch(() => undefined);
  }
}

/** Until the daemon has taken in all that the kernel gave it: its count stands still. */
async function quiet(daemon: LiveDaemon): Promise<void> {
  let before = -1;
  let same = 0;
  await until('the daemon to have taken in everything', 30, async () => {
    const now = (await daemon.status()).namespaces.reduce((sum, { packets, lost }) => sum + packets + lost, 0);
    same = now === before ? same + 1 : 0;
    before = now;
    return same >= 12;
  });
}

test(`a flood that overruns the ring: what was sent is what was seen and what was lost, in ${RUNS} of ${RUNS} runs`, (t) =>
  scene(
    t,
    async ({ folder, arena, daemon }) => {
      arena.add('flood', '10.99.1.1');
      const sinking = start(arena.inside('flood', sink(20_000, RUNS)));
      await daemon.start();
      await daemon.capturing(2);
      const observer = new Observer('flood', folder, [daemon.server]);
      await daemon.serving(1);
      await pause(2);
      const ofRing = (lost: readonly LostRecord[]) =>
        lost.filter(({ source, scope }) => scope.netns === 'flood' && source === 'kernel_ring');
      const lossOf = (records: readonly AnyRecord[]) =>
        ofRing(records.filter((record) => record.type === 'lost')).reduce((sum, { count }) => sum + count, 0);
      const windows: { sent: number; begun: number; over: number }[] = [];
      for (let i = 0; i < RUNS; i++) {
        const before = arena.received('flood');
        const begun = Date.now();
        const flood = start(arena.inside(HUB, sender({ address: '10.99.1.1', port: 20_000 + i, count: 60_000 })));
        process.kill(daemon.probePid, 'SIGSTOP'); // nobody empties the ring
        await ended(flood, 60);
        process.kill(daemon.probePid, 'SIGCONT');
        await quiet(daemon);
        const { lost: known = 0 } = (await daemon.status()).namespaces.find(({ netns }) => netns === 'flood') ?? {};
        await until('the loss to be told, which is once a second', 20, () => lossOf(observer.soFar()) === known);
        windows.push({ sent: arena.received('flood') - before, begun, over: Date.now() });
      }
      await daemon.stop();
      await observer.stop();
      sinking.kill('SIGKILL');
      const { flows, lost } = await observer.read();
      const kernel = ofRing(lost);
      const sums = windows.map(({ sent, begun, over }, i) => {
        const mine = flows.filter(({ netns, destination }) => netns === 'flood' && destination.port === 20_000 + i);
        const seen = mine.reduce((sum, { counters }) => sum + counters.toDestination.packets + counters.toSource.packets, 0);
        const gone = kernel
          .filter(({ last }) => Date.parse(last) > begun && Date.parse(last) <= over)
          .reduce((sum, { count }) => sum + count, 0);
        return { sent, seen, lost: gone };
      });
      t.diagnostic(sums.map(({ sent, seen, lost: gone }) => `${sent} = ${seen} + ${gone}`).join('; '));
      assert.deepEqual(
        sums.map(({ seen, lost: gone }) => seen + gone),
        sums.map(({ sent }) => sent),
      );
      assert.ok(
        sums.every(({ lost: gone }) => gone > 0),
        'a run lost nothing, so that it proves nothing',
      );
      assert.ok(kernel.every(({ exact }) => exact));
    },
    ['--ring-budget', '2'],
  ));

test(`a pod that is deleted right after its last packet: ${PACKETS} of ${PACKETS}, ten times`, (t) =>
  scene(t, async ({ folder, arena, daemon }) => {
    await daemon.start();
    const observer = new Observer('deleted', folder, [daemon.server]);
    await daemon.serving(1);
    for (let i = 0; i < 10; i++) {
      arena.add(`gone${i}`, '10.99.1.2');
      await daemon.capturing(2);
      run(arena.inside(HUB, sender({ address: '10.99.1.2', port: 30_000 + i, count: PACKETS })));
      arena.remove(`gone${i}`);
      await until('the namespace to be forgotten', 10, async () =>
        (await daemon.status()).namespaces.every(({ netns, state }) => netns === HUB || state === 'gone'),
      );
    }
    await pause(1);
    await daemon.stop();
    await observer.stop();
    const { flows, lost } = await observer.read();
    const seen = Array.from({ length: 10 }, (_, i) =>
      flows
        .filter(({ netns, protocol, destination }) => netns === `gone${i}` && protocol === 'udp' && destination.port === 30_000 + i)
        .reduce((sum, { counters }) => sum + counters.toDestination.packets, 0),
    );
    t.diagnostic(`seen: ${seen.join(', ')}; lost records: ${lost.map(({ source, count }) => `${source} ${count}`).join(', ') || 'none'}`);
    assert.deepEqual(seen, Array(10).fill(PACKETS));
  }));

test(`SIGTERM under load: ${PACKETS} of ${PACKETS} that were sent before it, ten times, and the end within 5 s`, (t) =>
  scene(t, async ({ folder, arena, daemon }) => {
    arena.add('ended', '10.99.1.3');
    arena.add('loaded', '10.99.1.4');
    const sinks = [start(arena.inside('ended', sink(31_000, 10))), start(arena.inside('loaded', sink(32_000)))];
    const seen: number[] = [];
    const times: number[] = [];
    const codes: (number | string)[] = [];
    for (let i = 0; i < 10; i++) {
      await daemon.start();
      await daemon.capturing(3);
      const observer = new Observer(`ended${i}`, folder, [daemon.server]);
      await daemon.serving(1);
      const load = start(arena.inside(HUB, sender({ address: '10.99.1.4', port: 32_000, count: 10_000_000, pause: 0.0001 })));
      await pause(0.5);
      run(arena.inside(HUB, sender({ address: '10.99.1.3', port: 31_000 + i, count: PACKETS })));
      const { code, ms } = await daemon.stop();
      load.kill('SIGKILL');
      await observer.stop();
      times.push(ms);
      codes.push(code);
      const { flows } = await observer.read();
      seen.push(
        flows
          .filter(({ netns, protocol, destination }) => netns === 'ended' && protocol === 'udp' && destination.port === 31_000 + i)
          .reduce((sum, { counters }) => sum + counters.toDestination.packets, 0),
      );
    }
    for (const one of sinks) one.kill('SIGKILL');
    t.diagnostic(`seen: ${seen.join(', ')}; ended with ${codes.join(', ')} within ${Math.max(...times).toFixed(0)} ms`);
    assert.deepEqual(seen, Array(10).fill(PACKETS));
    assert.deepEqual(codes, Array(10).fill(0));
    assert.ok(Math.max(...times) < 5000);
  }));

/** Events that the kernel could not give to a netlink socket, of all sockets of a namespace: the column Drops. */
function netlinkDrops(arena: Arena, name: string): number {
  const lines = arena.run('ip', 'netns', 'exec', name, 'cat', '/proc/net/netlink').trim().split('\n').slice(1);
  return lines.reduce((sum, line) => sum + Number(line.trim().split(/\s+/)[8] ?? 0), 0);
}

test('events of conntrack that overran the socket are counted, and the table is read again', (t) =>
  scene(t, async ({ folder, arena, daemon }) => {
    arena.add('tracked', '10.99.1.5');
    arena.run(
      'ip',
      'netns',
      'exec',
      'tracked',
      'iptables',
      '-t',
      'nat',
      '-A',
      'PREROUTING',
      '-p',
      'udp',
      '--dport',
      '1',
      '-j',
      'REDIRECT',
      '--to-ports',
      '2',
    );
    await daemon.start();
    await daemon.capturing(2);
    const observer = new Observer('tracked', folder, [daemon.server]);
    await daemon.serving(1);
    await pause(2);
    process.kill(daemon.probePid, 'SIGSTOP');
    run(arena.inside(HUB, sender({ address: '10.99.1.5', port: 1000, count: 60_000, size: 8, ports: 60_000 })));
    const drops = netlinkDrops(arena, 'tracked');
    process.kill(daemon.probePid, 'SIGCONT');
    await quiet(daemon);
    await pause(2);
    await daemon.stop();
    await observer.stop();
    const { lost } = await observer.read();
    const events = lost.filter(({ source, scope }) => source.includes('conntrack') && scope.netns === 'tracked');
    const told = events.reduce((sum, { count }) => sum + count, 0);
    t.diagnostic(
      `the kernel dropped ${drops}, told are ${told}: ${events.map(({ source, count, exact, detail }) => `${source} ${count} ${exact} ${detail}`).join('; ')}`,
    );
    assert.ok(drops > 0, 'nothing was dropped, so that it proves nothing');
    assert.equal(told, drops);
  }));
