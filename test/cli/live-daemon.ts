/** A daemon with a probe of its own, that follows namespaces which the test gives it and no others, and an Envoy inside of one. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdirSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { findEnvoy } from '../envoy/running-envoy.ts';
import { build, inNamespace } from '../native/namespaces.ts';
import { main } from './run.ts';

export interface LiveDaemon {
  /** For `--server`. */
  readonly server: string;
  /** Lets it see a namespace that is there. */
  show(netns: string): void;
  log(): string;
  kill(signal: NodeJS.Signals): Promise<number | null>;
}

/** @param folder for its socket and the namespaces that it sees */
export async function startDaemon(folder: string, namespaces: readonly string[]): Promise<LiveDaemon> {
  const directory = join(folder, 'netns');
  mkdirSync(directory, { recursive: true });
  const shown: string[] = [];
  const show = (netns: string): void => {
    const at = join(directory, netns);
    closeSync(openSync(at, 'w'));
    if (spawnSync('mount', ['--bind', `/run/netns/${netns}`, at]).status !== 0) throw new Error(`Cannot bind "${netns}" to "${at}"`);
    shown.push(at);
  };
  for (const netns of namespaces) show(netns);
  const socket = join(folder, 'daemon.sock');
  const child: ChildProcess = spawn(
    process.execPath,
    [
      main,
      'daemon',
      ...['--node', 'test-node', '--probe-spawn', build('plain'), '--namespaces-directory', directory],
      ...['--stream-listen', `unix:${socket}`, '--health-listen', '', '--kubernetes-source', 'none'],
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let log = '';
  const keep = (text: Buffer): void => {
    log += text.toString();
  };
  child.stdout!.on('data', keep);
  child.stderr!.on('data', keep);
  const exited = once(child, 'exit').then(([code]) => code as number | null);
  for (let i = 0; i < 600 && !log.includes('captures are open'); i++) {
    if (child.exitCode !== null) throw new Error(`The daemon ended: ${log}`);
    await sleep(25);
  }
  return {
    server: `unix:${socket}`,
    show,
    log: () => log,
    async kill(signal) {
      child.kill(signal);
      const code = await exited;
      for (const at of shown.splice(0)) spawnSync('umount', [at]);
      return code;
    },
  };
}

/** An Envoy on 15000 of the namespace, with a listener on 15001 that sends to a cluster. */
export async function startEnvoyIn(netns: string, folder: string): Promise<ChildProcess> {
  const address = (port: number) => ({ socket_address: { address: '127.0.0.1', port_value: port } });
  const proxy = {
    '@type': 'type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy',
    stat_prefix: 'all',
    cluster: 'outbound|9||far.default.svc.cluster.local',
  };
  const config = {
    node: { id: 'sidecar~10.77.0.1~near.default~default.svc.cluster.local', cluster: 'near.default' },
    admin: { address: address(15_000) },
    static_resources: {
      listeners: [
        { name: 'virtualOutbound', address: address(15_001), filter_chains: [{ filters: [{ name: 'tcp', typed_config: proxy }] }] },
      ],
      clusters: [
        {
          name: proxy.cluster,
          type: 'STATIC',
          connect_timeout: '1s',
          load_assignment: {
            cluster_name: proxy.cluster,
            endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: '10.77.0.2', port_value: 9 } } } }] }],
          },
        },
      ],
    },
  };
  const file = join(folder, 'envoy.json');
  writeFileSync(file, JSON.stringify(config));
  const envoy = spawn(
    'ip',
    ['netns', 'exec', netns, findEnvoy()!, '-c', file, '--disable-hot-restart', '--concurrency', '1', '--log-level', 'error'],
    { stdio: 'ignore', env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` } },
  );
  for (let i = 0; i < 600; i++) {
    if (envoy.exitCode !== null) throw new Error(`Envoy ended with ${envoy.exitCode}`);
    const ready = spawnSync('ip', ['netns', 'exec', netns, 'curl', '-sf', '-m', '1', 'http://127.0.0.1:15000/ready'], { encoding: 'utf8' });
    if (ready.stdout?.includes('LIVE')) return envoy;
    await sleep(50);
  }
  throw new Error(`Envoy did not get ready in "${netns}": ${inNamespace(netns, 'ss', '-tlnH')}`);
}

export function removeFolder(folder: string): void {
  if (existsSync(folder)) rmSync(folder, { recursive: true, force: true });
}
