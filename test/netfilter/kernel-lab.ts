/**
 * Two network namespaces for the kernel tests: a pod with lo, eth0, eth1, eth2 and not-istio-nic, and a peer at the other end of them. Needs root; says what is missing where it cannot be.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const POD4 = '10.77.0.10';
export const POD6 = 'fd00:77::10';
export const PEER4 = '10.77.0.20';
export const PEER6 = 'fd00:77::20';

export interface Link {
  /** Name in the pod. */
  readonly name: string;
  /** Name in the peer. */
  readonly peer: string;
  readonly mac: string;
  readonly peerMac: string;
  /** What is routed by it, besides eth0's default route. */
  readonly routes: readonly string[];
  /** Its primary addresses: where REDIRECT sends what comes in by it. */
  readonly address4: string;
  readonly address6: string;
}

export const links: readonly Link[] = [
  { name: 'eth0', peer: 'v0', mac: '02aa00000010', peerMac: '02aa00000020', routes: [], address4: POD4, address6: POD6 },
  {
    name: 'eth1',
    peer: 'v1',
    mac: '02aa00000011',
    peerMac: '02aa00000021',
    routes: ['198.51.100.0/25', 'fd01::/64'],
    address4: '10.78.0.10',
    address6: 'fd00:78::10',
  },
  {
    name: 'eth2',
    peer: 'v2',
    mac: '02aa00000012',
    peerMac: '02aa00000022',
    routes: ['198.51.100.128/25', 'fd02::/64'],
    address4: '10.79.0.10',
    address6: 'fd00:79::10',
  },
  {
    name: 'not-istio-nic',
    peer: 'v3',
    mac: '02aa00000013',
    peerMac: '02aa00000023',
    routes: ['203.0.113.0/24', 'fd03::/64'],
    address4: '10.80.0.10',
    address6: 'fd00:80::10',
  },
];

/** What keeps the tests from running; `undefined` when nothing does. */
export function labMissing(): string | undefined {
  if (process.getuid?.() !== 0) return 'it needs root (network namespaces)';
  const absent = ['ip', 'nft', 'iptables-restore', 'ip6tables-restore', 'gcc', 'conntrack'].filter(
    (tool) => spawnSync('sh', ['-c', `command -v ${tool}`]).status !== 0,
  );
  if (absent.length > 0) return `it needs ${absent.join(', ')}`;
  const name = `stnf-${process.pid}-try`;
  if (spawnSync('ip', ['netns', 'add', name]).status !== 0) return 'it cannot make network namespaces here';
  spawnSync('ip', ['netns', 'del', name]);
  return undefined;
}

const macWithColons = (mac: string) => mac.replace(/..(?=.)/g, '$&:');

let helper: string | undefined;

/** kernel-trace.c, compiled once in a process. */
function compiled(): string {
  if (helper === undefined) {
    const folder = mkdtempSync(join(tmpdir(), 'stnf-'));
    process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
    helper = join(folder, 'kernel-trace');
    execFileSync('gcc', ['-O2', '-o', helper, 'test/netfilter/kernel-trace.c']);
  }
  return helper;
}

export class KernelLab {
  readonly pod = `stnf-${process.pid}-pod`;
  readonly peer = `stnf-${process.pid}-peer`;
  readonly #folder = mkdtempSync(join(tmpdir(), 'stnf-'));
  readonly #helper = compiled();

  constructor() {
    try {
      this.#build();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  #build(): void {
    for (const name of [this.pod, this.peer]) execFileSync('ip', ['netns', 'add', name]);
    const lines: string[] = [];
    for (const link of links)
      lines.push(
        `link add ${link.name} netns ${this.pod} address ${macWithColons(link.mac)} type veth peer name ${link.peer} netns ${this.peer} address ${macWithColons(link.peerMac)}`,
      );
    this.#ip([], lines);
    this.#ip(['-n', this.peer], ['link set lo up', ...links.map(({ peer }) => `link set ${peer} up`)]);
    const pod = ['link set lo up', 'addr add ::6/128 dev lo nodad'];
    for (const [i, link] of links.entries()) {
      const gateway4 = `10.${77 + i}.0.20`;
      const gateway6 = `fd00:${77 + i}::20`;
      pod.push(
        `link set ${link.name} up`,
        `addr add ${link.address4}/24 dev ${link.name}`,
        `addr add ${link.address6}/64 dev ${link.name} nodad`,
      );
      for (const gateway of [gateway4, gateway6])
        pod.push(`neigh add ${gateway} lladdr ${macWithColons(link.peerMac)} dev ${link.name} nud permanent`);
      for (const route of link.routes) pod.push(`route add ${route} via ${route.includes(':') ? gateway6 : gateway4}`);
    }
    pod.push(`route add default via ${PEER4}`, `route add default via ${PEER6}`);
    this.#ip(['-n', this.pod], pod);
    for (const key of [
      'net.ipv4.conf.all.rp_filter=0',
      'net.ipv4.conf.default.rp_filter=0',
      'net.ipv4.icmp_ratelimit=0',
      'net.ipv4.conf.all.log_martians=0',
    ])
      this.run('sysctl', '-qw', key);
    this.feed(
      'add table inet warm; add chain inet warm c { type filter hook prerouting priority 0; }; add rule inet warm c ct state new',
      'nft',
      '-f',
      '-',
    );
    this.run('sysctl', '-qw', 'net.netfilter.nf_conntrack_tcp_be_liberal=1');
    // The peer answers nothing.
    execFileSync('ip', [
      'netns',
      'exec',
      this.peer,
      'nft',
      'add table inet q; add chain inet q i { type filter hook prerouting priority -400; policy drop; }',
    ]);
  }

  #ip(options: string[], lines: string[]): void {
    execFileSync('ip', [...options, '-batch', '-'], { input: lines.join('\n') });
  }

  /** Runs a tool in the pod. */
  run(tool: string, ...args: string[]): string {
    return this.feed('', tool, ...args);
  }

  /** Runs a tool in the pod with this input. */
  feed(input: string, tool: string, ...args: string[]): string {
    return execFileSync('ip', ['netns', 'exec', this.pod, tool, ...args], {
      input,
      encoding: 'utf8',
      stdio: ['pipe', 'pipe', 'pipe'],
      maxBuffer: 1 << 28,
    });
  }

  /** Names of the pod's interfaces by index. */
  interfaces(): Map<number, string> {
    const list = JSON.parse(this.run('ip', '-j', 'link')) as { ifindex: number; ifname: string }[];
    return new Map(list.map(({ ifindex, ifname }) => [ifindex, ifname]));
  }

  /** Takes all rules and connections away. */
  clear(): void {
    this.run('nft', 'flush', 'ruleset');
    spawnSync('ip', ['netns', 'exec', this.pod, 'conntrack', '-F']);
  }

  /** Traces every packet at PREROUTING and OUTPUT, and shows where it arrives at INPUT. */
  traceAll(): void {
    this.feed(
      `table inet stnf-trace {
        chain pre { type filter hook prerouting priority -400; meta nftrace set 1; }
        chain out { type filter hook output priority -400; meta nftrace set 1; }
        chain in { type filter hook input priority 400; counter; }
      }`,
      'nft',
      '-f',
      '-',
    );
  }

  /**
   * Sends what the commands say (see kernel-trace.c) and returns what the kernel told.
   * @param quiet nothing is traced: no waiting for what the kernel might tell
   */
  trace(commands: readonly string[], quiet = false): string {
    const file = join(this.#folder, 'runs');
    writeFileSync(join(this.#folder, 'commands'), `${commands.join('\n')}\n`);
    execFileSync(
      'sh',
      ['-c', `exec ${this.#helper} ${this.pod} ${this.peer} ${quiet ? 'quiet' : ''} < ${join(this.#folder, 'commands')} > ${file}`],
      {
        stdio: ['ignore', 'inherit', 'inherit'],
      },
    );
    return readFileSync(file, 'latin1');
  }

  close(): void {
    for (const name of [this.pod, this.peer]) spawnSync('ip', ['netns', 'del', name]);
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
