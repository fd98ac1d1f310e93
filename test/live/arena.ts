/** Namespaces of a test's own, as a node would have them: a mount namespace whose /run/netns holds nothing else. Gone with the test. */
import { type ChildProcess, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ended, run, start, until } from './lab.ts';

export const HUB = 'hub';

export class Arena {
  readonly #keeper: ChildProcess;
  readonly #names = new Set<string>();

  private constructor(keeper: ChildProcess) {
    this.#keeper = keeper;
  }

  /** With one namespace, the hub, in which the others' veths end. */
  static async open(folder: string): Promise<Arena> {
    const names = join(folder, 'netns');
    mkdirSync(names, { recursive: true });
    const script =
      'mkdir -p /run/netns && mount --bind "$0" /run/netns && mount --make-shared /run/netns && touch "$0/../ready" && exec sleep infinity';
    const keeper = start(['unshare', '-m', '--propagation', 'private', 'sh', '-c', script, names]);
    const arena = new Arena(keeper);
    await until('a mount namespace', 10, () => readFileSync(`/proc/${keeper.pid}/comm`, 'utf8').trim() === 'sleep');
    arena.#add(HUB);
    arena.run('ip', 'netns', 'exec', HUB, 'sysctl', '-qw', 'net.ipv4.ip_forward=1');
    return arena;
  }

  /** argv of the same program where /run/netns is the arena's; in the machine's own network. */
  readonly enter = (argv: readonly string[]): string[] => ['nsenter', '-t', `${this.#keeper.pid}`, '-m', '--', ...argv];
  inside(name: string, argv: readonly string[]): string[] {
    return this.enter(['ip', 'netns', 'exec', name, ...argv]);
  }
  run(...argv: string[]): string {
    return run(this.enter(argv));
  }

  /** A namespace with `eth0` of this address, reached from the hub alone; neither neighbour discovery nor IPv6 adds a packet. */
  add(name: string, address: string): void {
    const outer = `v${name}`.slice(0, 15);
    this.#add(name);
    const script = [
      `ip link add ${outer} netns ${HUB} type veth peer name eth0 netns ${name}`,
      `ip -n ${name} addr add ${address}/32 dev eth0`,
      `ip -n ${name} link set eth0 up`,
      `ip -n ${HUB} link set ${outer} up`,
      `ip -n ${name} route add 10.99.0.1 dev eth0 scope link`,
      `ip -n ${name} route add default via 10.99.0.1`,
      `ip -n ${HUB} addr replace 10.99.0.1/32 dev lo`,
      `ip -n ${HUB} route replace ${address} dev ${outer} src 10.99.0.1`,
      `ip -n ${name} neigh replace 10.99.0.1 dev eth0 lladdr $(ip -n ${HUB} -j link show ${outer} | jq -r .[0].address)`,
      `ip -n ${HUB} neigh replace ${address} dev ${outer} lladdr $(ip -n ${name} -j link show eth0 | jq -r .[0].address)`,
    ];
    this.run('sh', '-ec', script.join('\n'));
  }

  /** As a network plugin does it: the interface first, then the namespace. */
  remove(name: string): void {
    this.run('sh', '-c', `ip -n ${HUB} link del ${`v${name}`.slice(0, 15)}; ip netns del ${name}`);
    this.#names.delete(name);
  }

  /** Packets that came in on `eth0` since it exists, by the kernel's count. */
  received(name: string): number {
    return Number(this.run('ip', 'netns', 'exec', name, 'cat', '/sys/class/net/eth0/statistics/rx_packets'));
  }

  async close(): Promise<void> {
    for (const name of [...this.#names]) spawnSync('nsenter', ['-t', `${this.#keeper.pid}`, '-m', '--', 'ip', 'netns', 'del', name]);
    this.#keeper.kill('SIGKILL');
    await ended(this.#keeper, 5);
  }

  #add(name: string): void {
    this.run(
      'sh',
      '-ec',
      `ip netns add ${name}; ip netns exec ${name} sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1; ip -n ${name} link set lo up`,
    );
    this.#names.add(name);
  }
}

const SENDER = `
import socket, sys, time
address, port, count, size, pause, ports = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]), int(sys.argv[6])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
data, sent = bytes(size), 0
while sent < count:
    try:
        s.sendto(data, (address, port + sent % ports))
        sent += 1
    except (ConnectionRefusedError, BlockingIOError):
        continue
    if pause: time.sleep(pause)
`;

export interface Datagrams {
  readonly address: string;
  readonly port: number;
  readonly count: number;
  /** Bytes of payload. */
  readonly size?: number;
  /** Seconds between two. */
  readonly pause?: number;
  /** They go to so many ports in turn, from \`port\` on. */
  readonly ports?: number;
}

/** argv that sends datagrams. */
export function sender({ address, port, count, size = 64, pause = 0, ports = 1 }: Datagrams): string[] {
  return ['python3', '-c', SENDER, ...[address, port, count, size, pause, ports].map(String)];
}

/** argv that sends `count` datagrams to each of these. */
export function round(targets: readonly { readonly address: string; readonly port: number }[], count: number): string[] {
  const script = `
import socket, sys
for target in sys.argv[2:]:
    address, port = target.split(':')
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for _ in range(int(sys.argv[1])): s.sendto(bytes(64), (address, int(port)))
`;
  return ['python3', '-S', '-c', script, `${count}`, ...targets.map(({ address, port }) => `${address}:${port}`)];
}

/** argv that takes datagrams on these ports and never answers. */
export function sink(port: number, ports = 1): string[] {
  const script = `
import socket, sys, time
held = []
for port in range(int(sys.argv[1]), int(sys.argv[1]) + int(sys.argv[2])):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('0.0.0.0', port)); held.append(s)
print('ready', flush=True)
while True: time.sleep(60)
`;
  return ['python3', '-c', script, `${port}`, `${ports}`];
}
