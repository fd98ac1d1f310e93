import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import {
  build,
  inNamespace,
  ip,
  makeNamespace,
  makePair,
  manyConnections,
  needsRoot,
  removeNamespace,
  removeNamespaces,
  sendDatagrams,
  startSender,
} from '../../native/namespaces.ts';
import { startProbe, stopProbes } from '../../native/probe-client.ts';
import { follow, stopFollowing, until } from './following.ts';

/** `SIDETRACE_PROBE_ROUNDS=20` in CI. */
const rounds = Number(process.env.SIDETRACE_PROBE_ROUNDS ?? 3);
const run = promisify(execFile);
const ours = (name: string) => name.startsWith(`stn-${process.pid}-`);
const own = () => ({ program: build('plain') });

after(async () => {
  await stopFollowing();
  removeNamespaces();
  await stopProbes();
});

test('namespaces that are there are captured when start() resolves, and their state is read', needsRoot, async () => {
  const { near, far } = makePair();
  inNamespace(near, 'iptables-nft', '-t', 'nat', '-A', 'OUTPUT', '-p', 'tcp', '-j', 'REDIRECT', '--to-ports', '15001');
  const pod = { namespace: 'default', name: 'near', uid: 'u1' };
  const following = follow(own(), ours, { podOf: (addresses) => (addresses.includes('10.77.0.1') ? pod : undefined) });
  await following.follower.start();
  for (const name of [near, far]) assert.equal(following.of(name).status, 'capturing');
  const { world } = following.of(near);
  await until('the rules are read', () => world.rulesAt(4, Number.MAX_SAFE_INTEGER) !== undefined && world.sockets !== undefined);
  assert.deepEqual(
    world.interfaces.map(({ name }) => name),
    ['lo', 'eth0'],
  );
  assert.ok(world.interfaces[1]?.addresses.includes('10.77.0.1'));
  assert.deepEqual(world.pod, pod);
  assert.equal(following.of(far).world.pod, undefined);
  assert.equal(world.rulesAt(4, Number.MAX_SAFE_INTEGER)?.sets.length, 1);
  assert.ok((world.rulesAt(4, Number.MAX_SAFE_INTEGER)?.routing.length ?? 0) >= 3);
  await following.stop();
  assert.ok([near, far].every((name) => following.engine.views.get(name)?.closed));
  removeNamespace(near);
  removeNamespace(far);
});

test('the namespace of the probe itself is left out, and is taken where that is wished', needsRoot, async () => {
  const name = makeNamespace();
  for (const home of [false, true]) {
    // A probe that was started in the namespace.
    const child = spawn('ip', ['netns', 'exec', name, build('plain'), '--socket', `/tmp/${name}.sock`], { stdio: 'ignore' });
    const following = follow({ socket: `/tmp/${name}.sock` }, ours, { home });
    await following.follower.start();
    assert.deepEqual(
      following.follower.namespaces().map(({ netns }) => netns),
      home ? [name] : [],
    );
    await following.stop();
    child.kill('SIGTERM');
    await once(child, 'exit');
  }
  removeNamespace(name);
});

test('a new namespace is captured before it has an interface that is up: its very first datagrams are there', needsRoot, async () => {
  const following = follow(own(), ours);
  await following.follower.start();
  const times: number[] = [];
  for (let round = 0; round < 10; round++) {
    const name = `stn-${process.pid}-new${round}`;
    await run('ip', ['netns', 'add', name]);
    const made = performance.now();
    await until('it is captured', () => following.follower.namespaces().some((one) => one.netns === name && one.status === 'capturing'));
    times.push(performance.now() - made);
    await run('ip', ['-n', name, 'link', 'set', 'lo', 'up']);
    await sendDatagrams(name, { address: '127.0.0.1', port: 9, count: 10 });
    await run('ip', ['netns', 'del', name]);
    await until('it is gone', () => following.went.length === round + 1);
    assert.deepEqual(following.engine.views.get(name)?.numbers, [...Array(10).keys()]);
    assert.ok(following.engine.views.get(name)?.closed);
  }
  times.sort((a, b) => a - b);
  assert.ok(times[5]! < 100, `from its making to the open capture: ${times.map((ms) => ms.toFixed(1)).join(' ')} ms`);
  assert.deepEqual(following.engine.losses, []);
  assert.equal(following.follower.ringBytes, 0);
  await following.stop();
});

test('a pod that goes right after its traffic: 500 of 500 datagrams, then the end, and the counters balance', needsRoot, async () => {
  const following = follow(own(), ours);
  await following.follower.start();
  for (let round = 0; round < rounds; round++) {
    const { near, far } = makePair();
    await until('both are captured', () => following.follower.namespaces().filter(({ status }) => status === 'capturing').length === 2);
    await sendDatagrams(near, { address: '10.77.0.2', port: 9, count: 500 });
    ip('-n', near, 'link', 'del', 'eth0');
    removeNamespace(near);
    await until('it is gone', () => following.went.some(({ netns }) => netns === near));
    const gone = following.went.find(({ netns }) => netns === near)!;
    assert.equal(gone.status, 'gone');
    const view = following.engine.views.get(near)!;
    assert.ok(view.closed);
    assert.deepEqual(view.numbers, [...Array(500).keys()]);
    const { seen, dropped, delivered } = gone.counters;
    assert.deepEqual([seen, dropped, view.frames], [delivered, 0, delivered]);
    removeNamespace(far);
    await until('its peer is gone', () => following.follower.namespaces().length === 0);
  }
  assert.deepEqual(following.engine.losses, []);
  await following.stop();
});

test('a change of the rules is there a moment later, for connections that begin after it', needsRoot, async () => {
  const name = makeNamespace();
  const following = follow(own(), ours);
  await following.follower.start();
  const { world } = following.of(name);
  const base = Math.floor(Date.now() / 1000);
  await until('the first reading', () => world.rulesReadAt !== undefined && world.sockets !== undefined);
  const ports = (timeNs: number) => JSON.stringify(world.rulesAt(4, timeNs)?.sets ?? []).match(/150\d\d/g) ?? [];
  const now = () => (Date.now() - base * 1000) * 1e6;
  // Follower and test count from the same second or from two that follow each other.
  await sleep(20);
  const before = now();
  await sleep(20);
  await run('ip', [
    'netns',
    'exec',
    name,
    'iptables-nft',
    '-t',
    'nat',
    '-A',
    'OUTPUT',
    '-p',
    'tcp',
    '-j',
    'REDIRECT',
    '--to-ports',
    '15001',
  ]);
  const changed = performance.now();
  await until('the change', () => ports(Number.MAX_SAFE_INTEGER).length > 0);
  assert.ok(performance.now() - changed < 1500);
  assert.deepEqual(ports(before), [], 'what began before it is judged by what held then');
  await following.stop();
  removeNamespace(name);
});

test('legacy rules of a young namespace are read without being told', needsRoot, async () => {
  const following = follow(own(), ours);
  await following.follower.start();
  const name = makeNamespace();
  await until('it is followed', () => following.came.length === 1);
  await sleep(300);
  inNamespace(name, 'iptables-legacy', '-t', 'nat', '-A', 'OUTPUT', '-p', 'tcp', '-j', 'REDIRECT', '--to-ports', '15001');
  const { world } = following.of(name);
  await until('the legacy rules', () => JSON.stringify(world.rulesAt(4, Number.MAX_SAFE_INTEGER)?.sets ?? []).includes('15001'), 3000);
  await following.stop();
  removeNamespace(name);
});

const LISTENER = 'import socket, time; s = socket.create_server(("127.0.0.1", 15006)); print("up", flush=True); time.sleep(60)';

async function listen(name: string): Promise<ChildProcess> {
  const child = spawn('ip', ['netns', 'exec', name, 'python3', '-c', LISTENER], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout!, 'data');
  return child;
}

test('conntrack is known from its dump and its events, and sockets when they are asked for', needsRoot, async () => {
  const name = makeNamespace();
  inNamespace(name, 'iptables-nft', '-A', 'OUTPUT', '-m', 'conntrack', '--ctstate', 'NEW');
  await sendDatagrams(name, { address: '127.0.0.1', port: 7, count: 1 });
  const following = follow(own(), ours);
  await following.follower.start();
  const { world } = following.of(name);
  await until('the dump', () => world.conntrack !== undefined);
  assert.ok(inNamespace(name, 'conntrack', '-L', '-p', 'udp').includes('dport=7 '));
  await sendDatagrams(name, { address: '127.0.0.1', port: 8, count: 1 });
  const tuple = /src=(\S+) dst=(\S+) sport=(\d+) dport=8 /.exec(inNamespace(name, 'conntrack', '-L', '-p', 'udp'))!;
  await until(
    'the event',
    () =>
      (world.conntrack?.byOriginal({
        protocol: 'udp',
        source: { ip: tuple[1]!, port: Number(tuple[3]) },
        destination: { ip: tuple[2]!, port: 8 },
      }).length ?? 0) === 1,
  );
  const listener = await listen(name);
  await following.of(name).readSockets();
  assert.equal(world.sockets?.listenersAt('tcp', '127.0.0.1', 15006).length, 1);
  listener.kill('SIGKILL');
  await once(listener, 'exit');
  await following.stop();
  removeNamespace(name);
});

test(
  'events of conntrack that the kernel had no room for are counted, and the table is read again: nothing is missing in the end',
  needsRoot,
  async () => {
    const name = makeNamespace();
    inNamespace(name, 'iptables-nft', '-A', 'OUTPUT', '-m', 'conntrack', '--ctstate', 'NEW');
    // One event a connection: "port unreachable" would come back.
    inNamespace(name, 'iptables-nft', '-A', 'OUTPUT', '-p', 'icmp', '-j', 'DROP');
    const probe = await startProbe(build('plain'));
    const following = follow({ socket: probe.socketPath }, ours, { filter: 'tcp' });
    await following.follower.start();
    const { world } = following.of(name);
    await until('the first dump', () => world.conntrack !== undefined);
    await following.link.list();
    // The probe stands still meanwhile.
    probe.process.kill('SIGSTOP');
    const port = Number((await run('ip', ['netns', 'exec', name, 'python3', '-c', manyConnections(40_000)])).stdout);
    probe.process.kill('SIGCONT');
    await until(
      'all are told or counted',
      () => following.follower.counters.conntrackEvents + following.engine.lost('conntrack_events', name) === 40_000,
      10_000,
    );
    assert.ok(following.engine.lost('conntrack_events', name) > 0, 'the events were meant to overrun a buffer of 8 MiB');
    assert.ok(following.engine.losses.every(({ exact }) => exact));
    const known = (to: number) =>
      world.conntrack?.byOriginal({ protocol: 'udp', source: { ip: '127.0.0.1', port }, destination: { ip: '127.0.0.1', port: to } })
        .length === 1;
    await until('the table is read again', () => known(1) && known(20_000) && known(40_000), 10_000);
    await following.stop();
    await probe.stop();
    removeNamespace(name);
  },
);

test('stop() under load: within 2 s, with every frame that the kernel had taken', needsRoot, async () => {
  const name = makeNamespace();
  const following = follow(own(), ours, { filter: 'udp dst port 9' });
  await following.follower.start();
  const sender = startSender(name, { address: '127.0.0.1', port: 9, count: 0, pause: 0.0001 });
  let sent = 0;
  createInterface(sender.stdout!).on('line', (line) => {
    sent = Number(line);
  });
  await until('there is load', () => sent >= 500);
  const sentBefore = sent;
  const begun = performance.now();
  await following.follower.stop();
  assert.ok(performance.now() - begun < 2000);
  const view = following.engine.views.get(name)!;
  const { seen, dropped, delivered } = following.went[0]!.counters;
  assert.equal(seen, delivered + dropped);
  assert.equal(view.numbers.length, delivered);
  assert.ok(seen >= sentBefore, `${sentBefore} were sent before, ${seen} seen`);
  assert.deepEqual(view.numbers, [...Array(delivered).keys()]);
  sender.kill('SIGKILL');
  await once(sender, 'exit');
  following.link.stop();
  removeNamespace(name);
});

test('a flood that an engine is too slow for: sent = seen + lost, exactly', needsRoot, async () => {
  for (let round = 0; round < rounds; round++) {
    const name = makeNamespace();
    const following = follow(own(), ours, { filter: 'udp dst port 9', ringBudget: 1024 * 1024 });
    await following.follower.start();
    following.engine.busyMs = 150;
    await sendDatagrams(name, { address: '127.0.0.1', port: 9, count: 20_000, size: 1400 });
    following.engine.busyMs = 0;
    removeNamespace(name);
    await until('it is gone', () => following.went.length === 1, 10_000);
    const lost = following.engine.lost('kernel_ring', name);
    assert.ok(lost > 0, 'the flood was meant to overrun the ring');
    assert.ok(following.engine.losses.every(({ exact }) => exact));
    assert.equal(following.engine.views.get(name)!.numbers.length + lost, 20_000);
    await following.stop();
  }
});

test('a busy namespace gets a larger ring, and every datagram comes once', needsRoot, async () => {
  const name = makeNamespace();
  const following = follow(own(), ours, { filter: 'udp dst port 9', ringBudget: 16 * 1024 * 1024 });
  await following.follower.start();
  const first = following.of(name).ringBytes;
  const sender = startSender(name, { address: '127.0.0.1', port: 9, count: 0, size: 1400 });
  following.engine.busyMs = 40;
  await until('the ring has grown', () => following.of(name).ringBytes > first, 20_000);
  following.engine.busyMs = 0;
  await sleep(1500);
  sender.kill('SIGKILL');
  await once(sender, 'exit');
  assert.ok(following.of(name).ringBytes >= 2 * first, `${following.of(name).ringBytes} bytes after ${first}`);
  removeNamespace(name);
  await until('it is gone', () => following.went.length === 1, 10_000);
  const { numbers } = following.engine.views.get(name)!;
  const missing = numbers.at(-1)! + 1 - numbers.length;
  assert.equal(new Set(numbers).size, numbers.length, 'none comes twice');
  assert.ok(
    numbers.every((number, i) => i === 0 || number > numbers[i - 1]!),
    'they come in order',
  );
  const lost = following.engine.lost('kernel_ring', name);
  assert.ok(missing > 0 && missing <= lost, `${missing} are missing, ${lost} were told as lost`);
  assert.equal(following.follower.ringBytes, 0);
  await following.stop();
});

test(
  'a probe that is killed is a gap, told at once and at its end; what goes meanwhile has gone, what stays is captured again',
  needsRoot,
  async () => {
    const [stays, goes] = [makeNamespace(), makeNamespace()];
    const probe = await startProbe(build('plain'));
    const following = follow({ socket: probe.socketPath }, ours, { filter: 'udp dst port 9' });
    await following.follower.start();
    await sendDatagrams(stays, { address: '127.0.0.1', port: 9, count: 5 });
    await until('they are seen', () => following.engine.views.get(stays)!.numbers.length === 5);
    probe.process.kill('SIGKILL');
    await until('the gap is told', () => following.engine.losses.length === 1);
    assert.deepEqual([following.engine.losses[0]?.source, following.engine.losses[0]?.count], ['gap', 1]);
    assert.equal(following.of(stays).status, 'opening');
    assert.match(following.of(stays).reason ?? '', /the probe is lost/);
    removeNamespace(goes);
    const again = spawn(build('plain'), ['--socket', probe.socketPath], { stdio: 'ignore' });
    await until('it is captured again', () => following.of(stays).status === 'capturing', 10_000);
    await until('the other has gone', () => following.went.length === 1);
    await until('the end of the gap is told', () => following.engine.losses.length === 2);
    assert.deepEqual([following.engine.losses[1]?.source, following.engine.losses[1]?.count], ['gap', 0]);
    assert.equal(following.engine.views.get(goes)?.closed, true);
    await sendDatagrams(stays, { address: '127.0.0.1', port: 9, count: 5 });
    await until('frames come again', () => following.engine.views.get(stays)!.numbers.length === 10);
    assert.equal(following.came.length, 2);
    await following.stop();
    again.kill('SIGTERM');
    await once(again, 'exit');
    removeNamespace(stays);
  },
);

test(
  'frames that waited in the ring when the probe was asked last are not told as lost when it is killed: the gap is',
  needsRoot,
  async () => {
    const name = makeNamespace();
    const probe = await startProbe(build('plain'));
    const following = follow({ socket: probe.socketPath }, ours, { filter: 'udp dst port 9' });
    await following.follower.start();
    const sender = startSender(name, { address: '127.0.0.1', port: 9, count: 0, pause: 0.0001 });
    const waiting = () => {
      const { seen, dropped, delivered } = following.of(name).counters; // asked for every 5 s
      return seen > dropped + delivered;
    };
    await until('frames wait in the ring when its counters are told', waiting, 30_000);
    probe.process.kill('SIGKILL');
    await until('the loss of the probe is noticed', () => following.of(name).status === 'opening');
    assert.deepEqual(
      following.engine.losses.map(({ source, count, exact }) => [source, count, exact]),
      [['gap', 1, false]],
    );
    sender.kill('SIGKILL');
    await once(sender, 'exit');
    await following.stop();
    removeNamespace(name);
  },
);

test('where memory is short an idle ring becomes smaller, and every datagram comes once', needsRoot, async () => {
  const name = makeNamespace();
  const following = follow(own(), ours, { filter: 'udp dst port 9', ringBudget: 1024 * 1024 });
  await following.follower.start();
  const first = following.of(name).ringBytes;
  const sender = startSender(name, { address: '127.0.0.1', port: 9, count: 0, pause: 0.01 });
  const others = [makeNamespace(), makeNamespace()];
  await until('the ring is smaller', () => following.of(name).ringBytes < first, 15_000);
  await sleep(500);
  sender.kill('SIGKILL');
  await once(sender, 'exit');
  removeNamespace(name);
  await until('it is gone', () => following.went.length === 1);
  const { numbers } = following.engine.views.get(name)!;
  assert.ok(numbers.length > 100);
  assert.deepEqual(numbers, [...Array(numbers.length).keys()]);
  const { seen, dropped, delivered } = following.went[0]!.counters;
  assert.deepEqual([seen, dropped, delivered], [numbers.length, 0, numbers.length]);
  assert.deepEqual(following.engine.losses, []);
  await following.stop();
  for (const other of others) removeNamespace(other);
});

test('a tap hears what the engine hears until it is taken away; one that throws hears no more', needsRoot, async () => {
  const name = makeNamespace();
  const following = follow(own(), ours, { filter: 'udp dst port 9' });
  await following.follower.start();
  let bytes = 0;
  const untap = following.of(name).tap((payload) => {
    bytes += payload.length;
  });
  let calls = 0;
  following.of(name).tap(() => {
    calls++;
    throw new Error('this recorder is broken');
  });
  for (let i = 1; i <= 3; i++) {
    await sendDatagrams(name, { address: '127.0.0.1', port: 9, count: 1 });
    await until('it is seen', () => following.engine.views.get(name)!.frames === i);
  }
  assert.equal(bytes, 3 * (16 + 20 + 20 + 8 + 64));
  assert.equal(calls, 1);
  untap();
  await sendDatagrams(name, { address: '127.0.0.1', port: 9, count: 1 });
  await until('it is seen', () => following.engine.views.get(name)!.frames === 4);
  assert.equal(bytes, 3 * (16 + 20 + 20 + 8 + 64));
  await following.stop();
  removeNamespace(name);
});

test('200 namespaces come and go, some before they could be opened: none is left, and no ring', needsRoot, async () => {
  const following = follow(own(), ours);
  await following.follower.start();
  const add = async (round: number) => {
    const name = `stn-${process.pid}-churn${round}`;
    await run('ip', ['netns', 'add', name]);
    if (round % 3 === 0) await sleep(round % 50);
    await run('ip', ['netns', 'del', name]);
  };
  for (let round = 0; round < 200; round += 4) await Promise.all([0, 1, 2, 3].map((i) => add(round + i)));
  await until('all are gone', () => following.follower.namespaces().length === 0, 10_000);
  assert.equal(following.went.length, following.came.length);
  assert.ok(following.came.length > 0);
  assert.equal(following.follower.ringBytes, 0);
  assert.ok([...following.engine.views.values()].every(({ closed }) => closed));
  assert.deepEqual(following.engine.losses, []);
  await following.stop();
});
