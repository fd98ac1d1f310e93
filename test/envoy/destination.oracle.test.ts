/**
 * Endpoints against a real Envoy: random priorities and health; what Envoy uses is among our candidates, and every candidate is used in the end. The seed is fixed.
 */
import assert from 'node:assert/strict';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { test } from 'node:test';
import { parseConfigDump } from '../../src/envoy/config.ts';
import { resolveCluster } from '../../src/envoy/destination.ts';
import { EnvoyHistory } from '../../src/envoy/history.ts';
import { type Message, tcpProxy } from './configs.ts';
import { Random } from './random.ts';
import { exchange, needsEnvoy, startEnvoy } from './running-envoy.ts';

const CLUSTERS = Number(process.env.SIDETRACE_ORACLE_LISTENERS ?? 40);
const CONNECTIONS = 120;

async function startServers(count: number): Promise<{ ports: number[]; stop: () => void }> {
  const servers: Server[] = [];
  for (let i = 0; i < count; i++) {
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.resume();
      socket.end(String((server.address() as AddressInfo).port));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    servers.push(server);
  }
  return {
    ports: servers.map((server) => (server.address() as AddressInfo).port),
    stop: () => {
      for (const server of servers) server.close();
    },
  };
}

test('resolveCluster() names the endpoints that Envoy uses', { ...needsEnvoy(), timeout: 240_000 }, async (t) => {
  const random = new Random(Number(process.env.SIDETRACE_SEED ?? 9));
  const servers = await startServers(8);
  const clusters = Array.from({ length: CLUSTERS }, (_, i): Message => {
    const ports = random.sample(servers.ports, random.below(7));
    const levels = 1 + random.below(3);
    const groups = Array.from({ length: levels }, (_, priority) => ({
      priority,
      lb_endpoints: ports
        .filter((_, k) => k % levels === priority)
        .map((port_value) => ({
          endpoint: { address: { socket_address: { address: '127.0.0.1', port_value } } },
          health_status: random.pick(['HEALTHY', 'UNHEALTHY', 'UNHEALTHY', 'DRAINING', 'UNKNOWN']),
        })),
    }));
    return {
      name: `c${i}`,
      type: 'STATIC',
      connect_timeout: '1s',
      common_lb_config: random.pick<Message>([{ healthy_panic_threshold: { value: 0 } }, {}, { healthy_panic_threshold: { value: 30 } }]),
      load_assignment: { cluster_name: `c${i}`, endpoints: groups },
    };
  });
  const listeners = clusters.map((cluster) => ({
    name: String(cluster.name),
    address: { socket_address: { address: '127.0.0.1', port_value: 0 } },
    filter_chains: [{ filters: [tcpProxy(String(cluster.name))] }],
  }));
  const envoy = await startEnvoy(listeners, clusters);
  try {
    const counts = { used: 0, none: 0, unused: 0 };
    const history = new EnvoyHistory([parseConfigDump(await envoy.get('/config_dump?include_eds'), { readAt: '' })]);
    for (const { name } of clusters) {
      const port = envoy.ports.get(String(name))!;
      const said = new Set(
        (await Promise.all(Array.from({ length: CONNECTIONS }, () => exchange(port, '')))).filter((text) => text !== ''),
      );
      const [verdict] = resolveCluster(history, String(name), { atMs: Date.now(), local: undefined });
      const candidates = new Set(verdict?.destination?.targets?.map((target) => target.split(':')[1]!) ?? []);
      if (said.size === 0) counts.none++;
      assert.equal(
        verdict?.outcome,
        said.size === 0 ? 'no-endpoint' : 'forwarded',
        `${name} ${JSON.stringify(clusters.find((cluster) => cluster.name === name))}`,
      );
      for (const used of said)
        assert.ok(
          candidates.has(used),
          `${used} is no candidate ${[...candidates]} of ${JSON.stringify(clusters.find((cluster) => cluster.name === name))}`,
        );
      counts.used += said.size;
      counts.unused += [...candidates].filter((target) => !said.has(target)).length;
    }
    t.diagnostic(
      `${CLUSTERS} clusters, ${CONNECTIONS} connections each: ${counts.used} endpoints used, all of them candidates; ${counts.unused} candidates not used; ${counts.none} clusters without any`,
    );
    assert.ok(counts.used > CLUSTERS && counts.none > 2);
  } finally {
    await envoy.stop();
    servers.stop();
  }
});
