/** A real Envoy as an oracle: started with a configuration, asked over its sockets, ended. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createConnection, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { labProgram } from '../lab-programs.ts';

/** Where an Envoy lies: SIDETRACE_ENVOY, the search path, or where the lab builds its own. */
export function findEnvoy(): string | undefined {
  const places = [
    process.env.SIDETRACE_ENVOY ?? '',
    ...(process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, 'envoy')),
    labProgram('envoy'),
  ];
  return places.find((place) => place !== '' && existsSync(place));
}

/** Options for `test()`: skips, with the reason, where no Envoy is at hand. */
export function needsEnvoy(): { skip: string | false } {
  return { skip: findEnvoy() === undefined ? 'SKIPPED: no Envoy is at hand (SIDETRACE_ENVOY, the search path, the lab)' : false };
}

export interface RunningEnvoy {
  /** Ports of the listeners by name. */
  readonly ports: ReadonlyMap<string, number>;
  /** Port of its administration interface. */
  readonly admin: number;
  get(path: string): Promise<string>;
  stop(): Promise<void>;
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Starts Envoy with these listeners (each at port 0 of 127.0.0.1) and clusters. @throws {Error} with Envoy's words when it does not start */
export async function startEnvoy(listeners: readonly object[], clusters: readonly object[] = []): Promise<RunningEnvoy> {
  const folder = mkdtempSync(join(tmpdir(), 'sidetrace-envoy-'));
  const adminFile = join(folder, 'admin');
  const config = {
    node: { id: 'oracle', cluster: 'oracle' },
    admin: { address: { socket_address: { address: '127.0.0.1', port_value: 0 } } },
    static_resources: { listeners, clusters },
  };
  writeFileSync(join(folder, 'envoy.json'), JSON.stringify(config));
  const log: string[] = [];
  const child: ChildProcess = spawn(
    findEnvoy()!,
    [
      '-c',
      join(folder, 'envoy.json'),
      '--disable-hot-restart',
      '--concurrency',
      '1',
      '--log-level',
      'error',
      '--admin-address-path',
      adminFile,
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  child.stderr!.on('data', (data) => log.push(String(data)));
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGKILL');
      await ended;
    }
    rmSync(folder, { recursive: true, force: true });
  };
  const base = async (): Promise<string> => {
    for (let i = 0; i < 300; i++) {
      if (child.exitCode !== null) throw new Error(`Envoy ended: ${log.join('').slice(0, 2000)}`);
      if (existsSync(adminFile)) {
        const address = readFileSync(adminFile, 'utf8').trim();
        if (address !== '' && (await fetch(`http://${address}/ready`).catch(() => undefined))?.ok) return `http://${address}`;
      }
      await sleep(50);
    }
    throw new Error(`Envoy did not get ready: ${log.join('').slice(0, 2000)}`);
  };
  try {
    const url = await base();
    const get = async (path: string) => (await fetch(url + path)).text();
    const ports = new Map<string, number>();
    for (const { name, local_address } of JSON.parse(await get('/listeners?format=json')).listener_statuses)
      ports.set(name, local_address.socket_address.port_value);
    return { ports, admin: Number(new URL(url).port), get, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Sends bytes and collects what comes back until the other side closes or `ms` have passed. */
export function exchange(port: number, bytes: Uint8Array | string, ms = 3000): Promise<string> {
  return new Promise((resolve) => {
    const socket = createConnection({ port, host: '127.0.0.1' });
    let text = '';
    const timer = setTimeout(() => socket.destroy(), ms);
    socket.on('connect', () => socket.write(bytes));
    socket.on('data', (data) => {
      text += data.toString('latin1');
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      clearTimeout(timer);
      resolve(text);
    });
  });
}

/** Servers that send their name and close, and a static cluster of that name for each. */
export async function startBackends(names: readonly string[]): Promise<{ clusters: object[]; stop: () => void }> {
  const servers: Server[] = [];
  const clusters: object[] = [];
  for (const name of names) {
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.resume();
      socket.end(name);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    servers.push(server);
    const address = { socket_address: { address: '127.0.0.1', port_value: (server.address() as AddressInfo).port } };
    clusters.push({
      name,
      type: 'STATIC',
      load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint: { address } }] }] },
    });
  }
  return {
    clusters,
    stop: () => {
      for (const server of servers) server.close();
    },
  };
}
