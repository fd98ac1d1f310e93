import assert from 'node:assert/strict';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { test } from 'node:test';
import { AdminPathError } from '../../../src/daemon/envoy/admin-path.ts';
import { AdminSlots } from '../../../src/daemon/envoy/slots.ts';
import { EnvoyWatch } from '../../../src/daemon/envoy/watch.ts';
import { KubeNames } from '../../../src/kube/names.ts';
import { LiveWorld } from '../../../src/world/live.ts';
import { needsEnvoy, startEnvoy } from '../../envoy/running-envoy.ts';
import { until } from '../kube/small-api-server.ts';

export function openLoopback(port: number): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(socket));
    socket.once('error', reject);
  });
}

const listener = {
  name: 'one',
  address: { socket_address: { address: '127.0.0.1', port_value: 0 } },
  filter_chains: [
    {
      filters: [
        {
          name: 'tcp',
          typed_config: {
            '@type': 'type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy',
            stat_prefix: 'x',
            cluster: 'c',
          },
        },
      ],
    },
  ],
};
const cluster = { name: 'c', type: 'STATIC', load_assignment: { cluster_name: 'c', endpoints: [] } };

test(
  'a real Envoy: its configuration and listeners come into the world; killed, the last stays and is stale; back, it is new',
  needsEnvoy(),
  async () => {
    const envoy = await startEnvoy([listener], [cluster]);
    const world = new LiveWorld({ node: 'n', netns: 'x' }, { epochSeconds: 0 }, () => new KubeNames());
    let admin = envoy.admin;
    const watch = new EnvoyWatch({
      open: () => openLoopback(admin),
      world,
      log: { info() {}, warn() {} },
      intervalMs: 100,
      slots: new AdminSlots(),
      ports: [15000],
    });
    watch.start();
    try {
      await until('the configuration', () => world.envoy !== undefined && world.listeners !== undefined);
      const config = world.envoy!.configs.at(-1)!;
      assert.equal(config.listeners[0]?.name, 'one');
      assert.equal(config.clusters.get('c')?.[0]?.value.name, 'c');
      assert.equal(config.serverInfo?.version, '1.40.0');
      assert.equal(world.listeners?.[0]?.name, 'one');
      assert.equal(world.unavailable.has('config_dump'), false);
      await until('more questions', () => watch.counters.same > 3);
      assert.equal(world.envoy!.configs.length, 1, 'the same is read once');
      assert.match(Buffer.from((await watch.get('certs')).body).toString(), /certificates/);
      await assert.rejects(watch.get('/quitquitquit'), AdminPathError);
      await envoy.stop();
      await until('that it is stale', () => watch.staleSince !== undefined);
      assert.match(world.unavailable.get('config_dump')!, /^stale since 20.*Z: Cannot read Envoy's \/stats on port 15000: .*ECONNREFUSED/);
      assert.equal(world.envoy!.configs.length, 1);
      const other = await startEnvoy([listener, { ...listener, name: 'two' }], [cluster]);
      admin = other.admin;
      try {
        await until('the new configuration', () => world.envoy!.configs.at(-1)!.listeners.length === 2, 15_000);
        assert.equal(watch.staleSince, undefined);
        assert.equal(world.unavailable.has('config_dump'), false);
      } finally {
        await other.stop();
      }
    } finally {
      await watch.stop();
      await envoy.stop();
    }
  },
);
