import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { afterEach, test } from 'node:test';
import { AdminClient, AdminError, adminTimes } from '../../../src/daemon/envoy/admin-client.ts';
import { AdminPathError, checkAdminPath } from '../../../src/daemon/envoy/admin-path.ts';
import { SharedParts } from '../../../src/daemon/envoy/shared-parts.ts';
import { AdminSlots } from '../../../src/daemon/envoy/slots.ts';
import { EnvoyWatch, type EnvoyWatchOptions } from '../../../src/daemon/envoy/watch.ts';
import { KubeNames } from '../../../src/kube/names.ts';
import { LiveWorld } from '../../../src/world/live.ts';
import { listener } from '../../envoy/configs.ts';
import { until } from '../kube/small-api-server.ts';
import { answer, type Behaviour, HostileAdmin, hostile } from './hostile-admin.ts';

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** As the defaults, ten times faster. */
const times = { idle: 1000, first: 1000, whole: 6000, rate: 10 * 1024 * 1024 };

/** An Envoy with few words. */
export function envoy(version: string, uptime = 5, name = 'one'): Behaviour {
  const dump = {
    configs: [
      {
        '@type': 'type.googleapis.com/envoy.admin.v3.ListenersConfigDump',
        version_info: version,
        dynamic_listeners: [{ name, active_state: { version_info: version, listener: listener(name, '10.0.0.1:80') } }],
      },
    ],
  };
  return (socket, path) => {
    if (path.startsWith('/stats'))
      answer(
        socket,
        `listener_manager.lds.version_text: "${version}"\nserver.uptime: ${uptime}\nserver.live: 1\n`,
        'content-type: text/plain',
      );
    else if (path.startsWith('/config_dump')) answer(socket, JSON.stringify(dump));
    else if (path.startsWith('/clusters')) answer(socket, '{"cluster_statuses": []}');
    else if (path.startsWith('/listeners')) answer(socket, '{"listener_statuses": []}');
    else if (path.startsWith('/server_info')) answer(socket, '{"version": "a/1.40.0/c", "state": "LIVE"}');
    else answer(socket, 'no', '', '404 Not Found');
  };
}

interface Followed {
  readonly admin: HostileAdmin;
  readonly world: LiveWorld;
  readonly watch: EnvoyWatch;
  readonly sockets: Socket[];
}

async function follow(behaviour: Behaviour, more: Partial<EnvoyWatchOptions> = {}): Promise<Followed> {
  const admin = new HostileAdmin(behaviour);
  const port = await admin.start();
  ends.push(() => admin.stop());
  const sockets: Socket[] = [];
  const world = new LiveWorld({ node: 'n', netns: 'x' }, { epochSeconds: 0 }, () => new KubeNames());
  const watch = new EnvoyWatch({
    open: () => openLoopback(port, sockets),
    world,
    log: { info() {}, warn: (...args: unknown[]) => assert.fail(JSON.stringify(args)) },
    intervalMs: 50,
    slots: new AdminSlots(),
    parts: new SharedParts(),
    times,
    ...more,
  });
  ends.push(() => watch.stop());
  watch.start();
  return { admin, world, watch, sockets };
}

function openLoopback(port: number, sockets: Socket[] = []): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    assert.ok(
      sockets.every((socket) => socket.destroyed),
      'one question at a time',
    );
    const socket = connect(port, '127.0.0.1');
    sockets.push(socket);
    socket.once('connect', () => resolve(socket));
    socket.once('error', reject);
  });
}

const onDump: (behaviour: Behaviour, usual: Behaviour) => Behaviour = (behaviour, usual) => (socket, path) =>
  path.startsWith('/config_dump') ? behaviour(socket, path) : usual(socket, path);

for (const where of ['to every question', 'to /config_dump only'] as const)
  for (const [name, behaviour] of Object.entries(hostile))
    test(`${name}, ${where}: the last configuration stays and is stale; little is read, for a short time; nobody else is asked`, async () => {
      const { admin, world, watch, sockets } = await follow(envoy('1'));
      await until('the configuration', () => world.envoy !== undefined);
      const before = watch.counters.failed;
      const readBefore = sockets.length;
      const rssBefore = process.memoryUsage().rss;
      const begunMs = performance.now();
      admin.behaviour = where === 'to every question' ? behaviour : onDump(behaviour, envoy('2'));
      await until('a failure', () => watch.counters.failed > before);
      const tookMs = performance.now() - begunMs;
      assert.ok(tookMs < 8000, `${tookMs} ms, on a machine that others use, too; without a limit it never ends`);
      assert.match(world.unavailable.get('config_dump') ?? '', /^stale since 20\d\d-\S+Z: Cannot read /);
      assert.ok(watch.staleSince !== undefined);
      assert.equal(world.envoy!.configs.length, 1);
      assert.equal(world.envoy!.configs[0]!.listeners[0]?.name, 'one');
      const most = Math.max(...sockets.slice(readBefore).map((socket) => socket.bytesRead));
      // A string may go on for 32 MiB before it is none.
      const allowed = name === 'an endless string' ? 64 : 8;
      assert.ok(most <= allowed * 1024 * 1024, `${most} bytes were read`);
      assert.ok(process.memoryUsage().rss - rssBefore < (allowed + 56) * 1024 * 1024, 'memory');
      assert.ok(
        admin.asked.every(({ line }) => /^GET \/(stats|config_dump|clusters|listeners|server_info)(\?\S*)? HTTP\/1\.1$/.test(line)),
      );
      assert.ok(admin.asked.every(({ headers }) => !/authorization|cookie/i.test(headers)));
      admin.behaviour = envoy('3', 6, 'two');
      await until('the new configuration', () => world.envoy!.configs.at(-1)!.listeners[0]?.name === 'two', 8000);
      await until('that it is not stale any more', () => watch.staleSince === undefined);
      assert.equal(world.unavailable.has('config_dump'), false);
    });

test('the times are those that were promised', () => {
  assert.deepEqual(adminTimes, { idle: 10_000, first: 10_000, whole: 60_000, rate: 1024 * 1024 });
});

test('nobody listens: it is told why, and asked less and less often', async () => {
  let asked = 0;
  const { world } = await follow(envoy('1'), {
    open: async () => {
      asked++;
      throw new Error('Cannot open a tunnel to port 15000: failed, ECONNREFUSED');
    },
  });
  await new Promise((resolve) => setTimeout(resolve, 1500));
  assert.ok(asked >= 4 && asked <= 6, `asked ${asked} times`);
  assert.match(
    world.unavailable.get('config_dump') ?? '',
    /^Cannot read Envoy's \/stats on port 15000: Cannot open a tunnel .*ECONNREFUSED$/,
  );
});

test('a tunnel that never opens is given up, and what comes of it later is closed', async () => {
  let late: ((socket: Duplex) => void) | undefined;
  const { watch, admin } = await follow(envoy('1'), {
    open: () =>
      new Promise((resolve) => {
        late ??= resolve;
      }),
  });
  await until('the failure', () => watch.counters.failed > 0);
  const sockets: Socket[] = [];
  const other = new HostileAdmin(() => {});
  const port = await other.start();
  ends.push(() => other.stop());
  late!(await openLoopback(port, sockets));
  await until('the end', () => sockets[0]!.destroyed);
  assert.equal(admin.asked.length, 0);
});

test('an Envoy that began anew, a changed version, a counter that may mean a change: read again; nothing new: not', async () => {
  const { admin, world, watch } = await follow(envoy('1', 5));
  await until('the configuration', () => world.envoy !== undefined);
  await until('more questions', () => watch.counters.same >= 5);
  const dumps = () => admin.asked.filter(({ line }) => line.includes('/config_dump')).length;
  assert.equal(dumps(), 1);
  admin.behaviour = envoy('1', 6, 'renamed');
  await until('more questions', () => watch.counters.same >= 10);
  assert.equal(dumps(), 1, 'nothing told of a change');
  admin.behaviour = envoy('1', 0, 'renamed');
  await until('the configuration after the restart', () => world.envoy!.configs.at(-1)!.listeners[0]?.name === 'renamed');
  admin.behaviour = envoy('2', 1, 'again');
  await until('the changed one', () => world.envoy!.configs.at(-1)!.listeners[0]?.name === 'again');
  assert.deepEqual(
    world.envoy!.configs.map((config) => config.versionOf('listeners')),
    ['1', '1', '2'],
  );
});

test('an answer that is the same as before is no new configuration, only a new time', async () => {
  const { admin, world, watch } = await follow(envoy('1', 5));
  await until('the configuration', () => world.envoy !== undefined);
  const first = world.envoyReadAt;
  admin.behaviour = (socket, path) => {
    if (path.startsWith('/stats')) answer(socket, 'listener_manager.lds.version_text: "9"\nserver.uptime: 6\n');
    else envoy('1', 6)(socket, path);
  };
  await until('that it was read again', () => world.envoyReadAt !== first);
  assert.equal(world.envoy!.configs.length, 1);
  assert.equal(watch.counters.changed, 1);
});

test('/clusters, /listeners and /server_info that cannot be read cost only themselves', async () => {
  const { world } = await follow((socket, path) => {
    if (/^\/(clusters|listeners|server_info)/.test(path)) answer(socket, '<html>', 'content-type: text/html');
    else envoy('1')(socket, path);
  });
  await until('the configuration', () => world.envoy !== undefined && world.unavailable.size === 3);
  assert.deepEqual([...world.unavailable.keys()].sort(), ['clusters', 'listeners', 'server_info']);
  assert.equal(world.envoy!.configs[0]!.listeners.length, 1);
});

test('only what reads is asked for', () => {
  for (const path of ['/certs', 'ready', '/stats?filter=a', '/config_dump?include_eds', '/stats/prometheus'])
    assert.equal(checkAdminPath(path), path.startsWith('/') ? path : `/${path}`);
  for (const path of [
    ...[
      '/quitquitquit',
      '/healthcheck/fail',
      '/logging?level=trace',
      '/runtime_modify?a=b',
      '/reset_counters',
      '/drain_listeners',
      '/cpuprofiler?enable=y',
    ],
    ...[
      '/stats/../quitquitquit',
      '/stats%2f..',
      '//stats',
      '/stats/',
      '/STATS',
      '/',
      '',
      '/heap_dump',
      '/stats#x',
      '/stats?a b',
      '/stats?\r\nx: y',
      '/stats?ä',
    ],
    ...[`/stats?${'x'.repeat(2000)}`, 'http://elsewhere/stats', '/stats?\u0000'],
  ])
    assert.throws(() => checkAdminPath(path), AdminPathError, path);
});

test('250 pods, half of them hanging: at most eight connections, and the others are all read while those hang', async () => {
  const slots = new AdminSlots();
  const hanging = new HostileAdmin(() => {});
  const good = new HostileAdmin(envoy('1'));
  const ports = [await hanging.start(), await good.start()];
  ends.push(
    () => hanging.stop(),
    () => good.stop(),
  );
  const clients = Array.from({ length: 250 }, () => new AdminClient({ open: (port) => openLoopback(port), slots, times }));
  ends.push(() => clients.map((client) => client.close()));
  let most = 0;
  const timer = setInterval(() => {
    most = Math.max(most, hanging.open + good.open);
  }, 1);
  ends.push(() => clearInterval(timer));
  // Known by then as what they are.
  await Promise.allSettled(clients.slice(0, 8).map((client) => client.get(ports[0]!, '/ready', 100)));
  const stuck = clients.slice(0, 8).map((client) => client.get(ports[0]!, '/ready', 100).catch((error) => error));
  const begunMs = performance.now();
  const answers = await Promise.all(clients.slice(125).map((client) => client.get(ports[1]!, '/server_info', 1000)));
  assert.ok(performance.now() - begunMs < 1000, `${performance.now() - begunMs} ms: nobody waits for those that hang`);
  assert.equal(answers.length, 125);
  assert.ok(most <= 8, `${most} connections`);
  assert.ok((await Promise.all(stuck)).every((error) => error instanceof AdminError));
  assert.equal(slots.taken, 0);
});

test('stopping ends what is under way at once', async () => {
  const { watch, admin } = await follow(() => {});
  await until('the question', () => admin.asked.length === 1);
  const asked = watch.get('certs');
  const begunMs = performance.now();
  await Promise.all([watch.stop(), assert.rejects(asked, AdminError)]);
  assert.ok(performance.now() - begunMs < 200);
  await until('the end of the connection', () => admin.open === 0);
});
