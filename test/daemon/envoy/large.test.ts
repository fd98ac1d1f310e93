import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Duplex } from 'node:stream';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { SharedParts } from '../../../src/daemon/envoy/shared-parts.ts';
import { AdminSlots } from '../../../src/daemon/envoy/slots.ts';
import { EnvoyWatch } from '../../../src/daemon/envoy/watch.ts';
import { listenerIndex } from '../../../src/envoy/listener-index.ts';
import { KubeNames } from '../../../src/kube/names.ts';
import { LiveWorld } from '../../../src/world/live.ts';
import { until } from '../kube/small-api-server.ts';

const MIB = Number(process.env.SIDETRACE_DUMP_MIB ?? 200);
const mib = (bytes: number) => Math.round(bytes / 1024 / 1024);

function openLoopback(port: number): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(socket));
    socket.once('error', reject);
  });
}

test(`a dump of ${MIB} MiB keeps nobody waiting, and a second version of it takes little more room`, { timeout: 120_000 }, async () => {
  const program = fileURLToPath(new URL('./large-admin.js', import.meta.url));
  const child = spawn(process.execPath, [program, String(MIB)], { stdio: ['pipe', 'pipe', 'inherit'] });
  const [text] = (await once(child.stdout!, 'data')) as [Buffer];
  const port = Number(String(text));
  const world = new LiveWorld({ node: 'n', netns: 'x' }, { epochSeconds: 0 }, () => new KubeNames());
  const parts = new SharedParts();
  const watch = new EnvoyWatch({
    open: () => openLoopback(port),
    world,
    log: { info() {}, warn: (...args: unknown[]) => assert.fail(JSON.stringify(args)) },
    intervalMs: 200,
    slots: new AdminSlots(),
    parts,
  });
  const lag = monitorEventLoopDelay({ resolution: 1 });
  let most = 0;
  const sampler = setInterval(() => {
    most = Math.max(most, process.memoryUsage().rss);
  }, 20);
  try {
    const rss = process.memoryUsage().rss;
    const begunMs = performance.now();
    lag.enable();
    watch.start();
    await until('the configuration', () => world.envoy !== undefined, 60_000);
    lag.disable();
    const tookMs = performance.now() - begunMs;
    const config = world.envoy!.configs[0]!;
    const length = watch.counters.dumpBytes;
    assert.ok(length > MIB * 0.9 * 1024 * 1024, `${length} bytes`);
    const first = { p99: lag.percentile(99) / 1e6, max: lag.max / 1e6 };
    const askedMs = performance.now();
    assert.ok(
      config.clusters.size > 0 && config.targets.clusters.size > 0 && listenerIndex(config).byPort.size > 0 && config.routes.length === 0,
    );
    const readyMs = performance.now() - askedMs;
    const grown = most - rss;

    const kept = parts.size;
    lag.reset();
    lag.enable();
    child.stdin!.write('2\n');
    await until('the second version', () => world.envoy!.configs.length === 2, 90_000);
    lag.disable();
    const [before, after] = world.envoy!.configs;
    const changed = after!.clusters.get('outbound|80||service-0.namespace-0.svc.cluster.local')![0]!;
    assert.equal(after!.endpointsOf(changed.value)?.[0]?.target, '10.0.0.1:8002');
    assert.equal(before!.endpointsOf(changed.value)?.[0]?.target, '10.0.0.1:8001');
    assert.equal(after!.clusters, before!.clusters, 'the same clusters');
    assert.equal(parts.size - kept, 1, 'one text is new');
    assert.ok(after!.weight < 10_000, `${after!.weight} bytes came with it`);
    process.stdout.write(
      `# ${mib(length)} MiB, ${config.clusters.size} clusters: read and ready in ${(tookMs / 1000).toFixed(1)} s; the loop waited ${first.p99.toFixed(1)} ms (p99), ${first.max.toFixed(0)} ms (most); ` +
        `asked for everything: ${readyMs.toFixed(1)} ms; memory +${mib(grown)} MiB; second version: ${(lag.percentile(99) / 1e6).toFixed(1)} ms, ${(lag.max / 1e6).toFixed(0)} ms, memory +${mib(most - rss)} MiB in all\n`,
    );
    assert.ok(first.p99 <= 50 && lag.percentile(99) / 1e6 <= 50, `${first.p99} ms`);
    assert.ok(readyMs < 50, `${readyMs} ms`);
    assert.ok(most - rss < (MIB * 1.7 + 160) * 1024 * 1024, `${mib(most - rss)} MiB`);
  } finally {
    clearInterval(sampler);
    await watch.stop();
    child.stdin!.end();
    await once(child, 'exit');
  }
});
