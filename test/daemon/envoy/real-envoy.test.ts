import assert from 'node:assert/strict';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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

/** Files that Envoy follows: it sees them when they are moved into place. */
function put(folder: string, name: string, resource: object): void {
  writeFileSync(join(folder, `${name}.new`), JSON.stringify({ version_info: String(Math.random()), resources: [resource] }));
  renameSync(join(folder, `${name}.new`), join(folder, name));
}

const routes = (cluster: string) => ({
  '@type': 'type.googleapis.com/envoy.config.route.v3.RouteConfiguration',
  name: 'r',
  virtual_hosts: [{ name: 'v', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster } }] }],
});

const endpoints = (port: number) => ({
  '@type': 'type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment',
  cluster_name: 'e',
  endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: '127.0.0.1', port_value: port } } } }] }],
});

test(
  'a real Envoy: routes that change by RDS and endpoints that change by EDS are noticed, and nothing else is read',
  needsEnvoy(),
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sidetrace-rds-'));
    put(folder, 'rds.json', routes('c'));
    put(folder, 'eds.json', endpoints(1001));
    const from = (name: string) => ({ path_config_source: { path: join(folder, name) }, resource_api_version: 'V3' });
    const http = {
      name: 'http',
      address: { socket_address: { address: '127.0.0.1', port_value: 0 } },
      filter_chains: [
        {
          filters: [
            {
              name: 'http',
              typed_config: {
                '@type': 'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
                stat_prefix: 'x',
                rds: { route_config_name: 'r', config_source: from('rds.json') },
                http_filters: [
                  { name: 'router', typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router' } },
                ],
              },
            },
          ],
        },
      ],
    };
    const eds = { name: 'e', type: 'EDS', eds_cluster_config: { eds_config: from('eds.json') } };
    const envoy = await startEnvoy([http], [cluster, eds]);
    const world = new LiveWorld({ node: 'n', netns: 'x' }, { epochSeconds: 0 }, () => new KubeNames());
    const watch = new EnvoyWatch({
      open: () => openLoopback(envoy.admin),
      world,
      log: { info() {}, warn() {} },
      intervalMs: 100,
      slots: new AdminSlots(),
    });
    const newest = () => world.envoy!.configs.at(-1)!;
    const endpoint = () => newest().endpointsOf(newest().clusters.get('e')![0]!.value)?.[0]?.target;
    watch.start();
    try {
      await until('the configuration', () => world.envoy !== undefined);
      assert.match(JSON.stringify(newest().findRoutes('r')?.value), /"c"/);
      assert.equal(endpoint(), '127.0.0.1:1001');
      const routeMs = Date.now();
      put(folder, 'rds.json', routes('e'));
      await until('the route', () => /"e"/.test(JSON.stringify(newest().findRoutes('r')?.value)));
      assert.ok(Date.now() - routeMs < 3000, 'the version of routes is told at once');
      put(folder, 'eds.json', endpoints(1002));
      await until('the endpoint', () => endpoint() === '127.0.0.1:1002', 12_000);
      const { changed } = watch.counters;
      await new Promise((resolve) => setTimeout(resolve, 1000));
      assert.equal(watch.counters.changed, changed);
      assert.equal(world.envoy!.configs.length, changed);
    } finally {
      await watch.stop();
      await envoy.stop();
      rmSync(folder, { recursive: true, force: true });
    }
  },
);
