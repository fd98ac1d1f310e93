/** Network namespaces, traffic and the program itself for the tests of sidetrace-probe. Without root, g++ or libpcap-dev they are skipped, with the reason. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';

export const PLAIN = 'native/build/sidetrace-probe';
export const SANITIZED = 'native/build/sanitized/sidetrace-probe';

const missing = [
  ...(process.getuid?.() === 0 ? [] : ['root']),
  ...['g++', 'make', 'flock', 'conntrack', 'ip', 'iptables', 'iptables-legacy', 'nft', 'python3'].filter(
    (tool) => spawnSync('sh', ['-c', `command -v ${tool}`], { env: path() }).status !== 0,
  ),
  ...(existsSync('/usr/include/pcap/pcap.h') ? [] : ['libpcap-dev']),
];

/** Options of `test()`. */
export const needsRoot = {
  skip: missing.length > 0 ? `SKIPPED: sidetrace-probe is tested with ${missing.join(', ')}, which is missing here` : false,
};

function path(): NodeJS.ProcessEnv {
  return { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
}

/** Builds the program, where it is older than its sources. */
export function build(target: 'plain' | 'sanitized'): string {
  // Test files run at the same time: one builds, the others wait.
  execFileSync('flock', ['native/Makefile', 'make', '-s', '-C', 'native', ...(target === 'plain' ? [] : ['sanitized'])], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  return target === 'plain' ? PLAIN : SANITIZED;
}

const made = new Set<string>();
let number = 0;

/** A new namespace with `lo` up; its name is unique on this machine. */
export function makeNamespace(): string {
  const name = `stn-${process.pid}-${++number}`;
  ip('netns', 'add', name);
  made.add(name);
  ip('-n', name, 'link', 'set', 'lo', 'up');
  return name;
}

export function removeNamespace(name: string): void {
  ip('netns', 'del', name);
  made.delete(name);
}

/** What a test left behind: its senders and namespaces. */
export function removeNamespaces(): void {
  for (const sender of senders) sender.kill('SIGKILL');
  for (const name of [...made]) removeNamespace(name);
}

export function ip(...args: string[]): string {
  return execFileSync('ip', args, { env: path(), stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8' });
}

/** Runs a command in the namespace to its end. */
export function inNamespace(name: string, ...command: string[]): string {
  return ip('netns', 'exec', name, ...command);
}

/** A pair of interfaces between two new namespaces, 10.77.0.1 and 10.77.0.2. */
export function makePair(): { near: string; far: string } {
  const near = makeNamespace();
  const far = makeNamespace();
  ip('-n', near, 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', far);
  ip('-n', near, 'address', 'add', '10.77.0.1/24', 'dev', 'eth0');
  ip('-n', far, 'address', 'add', '10.77.0.2/24', 'dev', 'eth0');
  for (const name of [near, far]) ip('-n', name, 'link', 'set', 'eth0', 'up');
  introduce(near, far);
  return { near, far };
}

/** Tells `near` the link address of `far`, so that no datagram waits, or is dropped, for want of it. */
export function introduce(near: string, far: string): void {
  const address = /link\/ether (\S+)/.exec(ip('-n', far, 'link', 'show', 'eth0'))?.[1] ?? '';
  ip('-n', near, 'neighbour', 'replace', '10.77.0.2', 'lladdr', address, 'dev', 'eth0');
}

const senders = new Set<ChildProcess>();

const SENDER = `
import socket, sys, time
address, port, count, size, pause = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sent = 0
while count == 0 or sent < count:
    try:
        s.sendto(sent.to_bytes(8, 'big') + bytes(size - 8), (address, port))
        sent += 1
    except ConnectionRefusedError:
        continue
    except OSError:
        if count: raise
        break # without a number of its own it goes on as long as its network does
    if pause: time.sleep(pause)
    if count == 0 and sent % 100 == 0: print(sent, flush=True)
print(sent, flush=True)
`;

/** Sends UDP datagrams from inside the namespace; each begins with its number. Ends when all are handed to the kernel. */
export async function sendDatagrams(
  name: string,
  to: { address: string; port: number; count: number; size?: number; pause?: number },
): Promise<void> {
  const child = startSender(name, to);
  const [code] = await once(child, 'exit');
  if (code !== 0) throw new Error(`Cannot send in "${name}": python3 ended with ${code}`);
}

/** Python that makes so many connections of UDP, to the ports from 1 on of 127.0.0.1, and prints the port that they came from. */
export function manyConnections(count: number): string {
  return `
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for port in range(1, ${count + 1}):
    s.connect(('127.0.0.1', port))
    try: s.send(b'x')
    except ConnectionRefusedError: pass
print(s.getsockname()[1])
`;
}

/** As above, in the background; `count` 0 sends until it is killed, and prints how many it has sent every 100 datagrams. */
export function startSender(
  name: string,
  to: { address: string; port: number; count: number; size?: number; pause?: number },
): ChildProcess {
  const args = [to.address, to.port, to.count, to.size ?? 64, to.pause ?? 0].map(String);
  const sender = spawn('ip', ['netns', 'exec', name, 'python3', '-c', SENDER, ...args], {
    env: path(),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  senders.add(sender);
  sender.on('exit', () => senders.delete(sender));
  return sender;
}
