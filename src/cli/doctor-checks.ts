/**
 * What `sidetrace doctor` says of a machine: one check a function, from facts that were read before. docs/operations.md explains every check.
 *
 * `failed`: what sidetrace is for does not work here. `warning`: it works, and something is missing or less sure.
 */
export interface Check {
  /** Stands in docs/operations.md. */
  readonly check: string;
  readonly status: 'ok' | 'warning' | 'failed';
  /** What there is. */
  readonly is: string;
  /** What to do; absent where nothing is to be done. */
  readonly todo?: string;
}

/** A folder of network namespaces, by what lies in it. */
export interface NamespaceFolder {
  readonly path: string;
  /** Why it could not be listed. */
  readonly fault?: string;
  /** Names that lead to a namespace. */
  readonly namespaces: readonly string[];
  /** Ordinary files where a namespace is wanted. */
  readonly ordinary: readonly string[];
  /** How mounts made elsewhere come here; `undefined` where nobody knows. */
  readonly propagation: 'shared' | 'slave' | 'private' | undefined;
}

export interface ToolFact {
  readonly name: string;
  readonly path: string;
  /** First line of what it says of itself; `undefined` where it is not there. */
  readonly version: string | undefined;
}

export interface MachineFacts {
  readonly nodeVersion: string;
  /** `os.type()`, `os.release()`, `os.machine()`. */
  readonly system: string;
  readonly release: string;
  readonly machine: string;
  readonly user: string;
  /** Effective capabilities of this process, one bit each; `undefined` where the system has none. */
  readonly capabilities: bigint | undefined;
  /** Netlink families that the kernel serves in this namespace. */
  readonly netlink: readonly number[];
  /** Are there packet sockets (/proc/net/packet)? */
  readonly packetSockets: boolean;
  /** net.netfilter.nf_conntrack_max and …_events; `undefined` without connection tracking. */
  readonly conntrack: { readonly max: number; readonly events: number } | undefined;
  readonly openFiles: number | undefined;
  readonly tools: readonly ToolFact[];
  readonly folder: NamespaceFolder;
  /** Network namespaces of processes that this user may look at, and processes that it may not. */
  readonly processes: { readonly namespaces: number; readonly hidden: number };
  readonly clock: ClockFacts;
  /** How `cap` is: `built`, `unbuilt` (its program was not compiled), `absent`, or what it says. */
  readonly cap: string;
}

export interface ClockFacts {
  /** What the kernel counts time by: `tsc`, `kvm-clock`, `hpet`. */
  readonly source: string | undefined;
  /** Programs that set the clock and run here: `chronyd`. */
  readonly keepers: readonly string[];
  /** systemd-timesyncd says that it has set the clock; `undefined` where it does not run. */
  readonly synchronized: boolean | undefined;
  /** How far it was set meanwhile, in milliseconds. */
  readonly stepMs: number;
}

export interface ProbeFacts {
  /** How it was reached: `socket`: it ran already; `started`: by us, for these questions. */
  readonly by: 'socket' | 'started';
  readonly where: string;
  /** Why it could not be asked. */
  readonly fault?: string;
  readonly version?: number;
  readonly capabilities?: bigint;
  /** Names of its tools that are installed. */
  readonly tools?: readonly string[];
  readonly ringBudget?: number;
  readonly library?: string;
  /** Names of the namespaces that it sees. */
  readonly namespaces?: readonly string[];
}

/** What answered on a namespace's port 15000. */
export interface EnvoyFact {
  readonly netns: string;
  /** `ready`, another state of Envoy's own; `none`: nothing listens; `odd`: what answers is no Envoy; `silent`; `unreachable`: the probe may not. */
  readonly state: string;
  readonly detail?: string;
}

export interface DaemonFact {
  readonly where: string;
  /** Was it asked for by name? */
  readonly asked: boolean;
  readonly fault?: string;
  /** What it says of itself: node, version, pods. */
  readonly about?: string;
}

export interface Facts {
  readonly machine: MachineFacts;
  readonly probe: ProbeFacts;
  readonly envoys: readonly EnvoyFact[];
  readonly daemon: DaemonFact;
  /** The version of the probe's protocol that this program speaks. */
  readonly protocol: number;
}

const ok = (check: string, is: string): Check => ({ check, status: 'ok', is });
const warning = (check: string, is: string, todo: string): Check => ({ check, status: 'warning', is, todo });
const failed = (check: string, is: string, todo: string): Check => ({ check, status: 'failed', is, todo });

/** In the order in which one depends on the other. */
export function allChecks(facts: Facts): Check[] {
  const { machine, probe } = facts;
  return [
    checkNode(machine),
    checkKernel(machine),
    checkPackets(machine),
    checkConntrack(machine),
    checkNetlink(machine),
    checkProbe(facts),
    checkRights(machine, probe),
    ...checkTools(machine, probe),
    checkNamespaces(machine, probe),
    checkPropagation(machine.folder),
    checkOpenFiles(machine, probe),
    checkDaemon(facts.daemon),
    checkEnvoys(facts.envoys, probe),
    checkClock(machine.clock),
    checkCap(machine.cap),
  ];
}

/** Node.js 20.19 to 26. */
export function checkNode({ nodeVersion }: MachineFacts): Check {
  const [major = 0, minor = 0] = nodeVersion.replace(/^v/, '').split('.').map(Number);
  const fits = major < 27 && (major > 20 || (major === 20 && minor >= 19));
  return fits
    ? ok('node', `Node.js ${nodeVersion}`)
    : warning('node', `Node.js ${nodeVersion}; sidetrace is tried with 20.19 to 26`, 'install one of these');
}

/** SO_NETNS_COOKIE is of Linux 5.14. */
export function checkKernel({ system, release, machine }: MachineFacts): Check {
  const is = `${system} ${release} ${machine}`;
  if (system !== 'Linux')
    return failed('kernel', `${is}: pods are followed on Linux only`, 'run the daemon on the node; recordings can be read here');
  const [major = 0, minor = 0] = release.split('.').map(Number);
  if (!(major > 5 || (major === 5 && minor >= 14)))
    return failed(
      'kernel',
      `${is}: it does not name network namespaces (SO_NETNS_COOKIE)`,
      'Linux 5.14 or newer is needed; on an older one record with tcpdump and replay that',
    );
  return machine === 'x86_64' || machine === 'aarch64' || machine === 'arm64'
    ? ok('kernel', is)
    : failed('kernel', `${is}: the probe is for x86_64 and aarch64`, 'record with tcpdump and replay that');
}

/** TPACKET_V3 is as old as Linux 3.2: where packet sockets are, it is. */
export function checkPackets({ packetSockets, system }: MachineFacts): Check {
  if (system !== 'Linux') return warning('packets', 'packets are captured on Linux only', 'run it on the node');
  return packetSockets
    ? ok('packets', 'packet sockets with rings (TPACKET_V3)')
    : failed('packets', 'the kernel has no packet sockets here (CONFIG_PACKET)', 'load it: modprobe af_packet');
}

/** Which answers of conntrack there are: translations are then `observed`, not derived. */
export function checkConntrack({ conntrack }: MachineFacts): Check {
  if (conntrack === undefined)
    return warning(
      'conntrack',
      'no connection tracking: halves of redirected connections are joined by their sequence numbers only',
      'load it: modprobe nf_conntrack nf_conntrack_netlink (REDIRECT needs it as well)',
    );
  if (conntrack.events === 0)
    return warning(
      'conntrack',
      `connection tracking of ${conntrack.max} connections, without events: translations are known of connections that last only`,
      'sysctl net.netfilter.nf_conntrack_events=1 (in each namespace; 2 where the kernel knows it)',
    );
  return ok('conntrack', `connection tracking of ${conntrack.max} connections, with events`);
}

const NETLINK_SOCK_DIAG = 4;
const NETLINK_NETFILTER = 12;

export function checkNetlink({ netlink, system }: MachineFacts): Check {
  const missing = [
    ...(netlink.includes(NETLINK_NETFILTER) ? [] : ['nfnetlink: no connection tracking, no nftables rules']),
    ...(netlink.includes(NETLINK_SOCK_DIAG) ? [] : ['sock_diag: no owners of connections, nothing that listens']),
  ];
  if (missing.length === 0) return ok('netlink', 'nfnetlink and sock_diag answer');
  return warning(
    'netlink',
    `absent: ${missing.join('; ')}`,
    system === 'Linux'
      ? 'load them: modprobe nfnetlink nf_tables inet_diag tcp_diag udp_diag (the first who asks may load them, too)'
      : 'run it on the node',
  );
}

const MiB = 1024 * 1024;

export function checkProbe({ probe, protocol }: Facts): Check {
  if (probe.fault !== undefined)
    return failed(
      'probe',
      `${probe.where}: ${probe.fault}`,
      probe.by === 'socket'
        ? 'see whether it runs, and whether this user is one of its --peer-uid'
        : 'build it: make -C native (g++, make, libpcap-dev); or name it: --probe-program FILE, --probe SOCKET',
    );
  const is = `${probe.where}${probe.by === 'socket' ? '' : ' (started for these questions)'}: protocol ${probe.version}, ${probe.library}, rings of ${Math.round((probe.ringBudget ?? 0) / MiB)} MiB`;
  return probe.version === protocol
    ? ok('probe', is)
    : failed('probe', `${is}; this sidetrace speaks protocol ${protocol}`, 'install probe and daemon of the same version');
}

interface Right {
  readonly bit: number;
  readonly name: string;
  /** What does not work without it. */
  readonly cost: string;
  readonly needed: boolean;
}

/** linux/capability.h */
const rights: readonly Right[] = [
  { bit: 21, name: 'CAP_SYS_ADMIN', cost: 'no namespace can be entered (setns)', needed: true },
  { bit: 12, name: 'CAP_NET_ADMIN', cost: 'no rules, no connection tracking, no owners of sockets', needed: true },
  { bit: 13, name: 'CAP_NET_RAW', cost: 'no packets', needed: true },
  { bit: 19, name: 'CAP_SYS_PTRACE', cost: 'namespaces that are not bound in /run/netns stay unseen', needed: false },
  { bit: 8, name: 'CAP_SETPCAP', cost: 'tools that the probe runs keep its bounding set', needed: false },
];

const lacks = (held: bigint, { bit }: Right): boolean => ((held >> BigInt(bit)) & 1n) === 0n;

/** What a probe cannot be without, and these capabilities lack. */
export function missingRights(held: bigint): readonly Right[] {
  return rights.filter((right) => right.needed && lacks(held, right));
}

/** The rights of the probe where one answers, else our own. */
export function checkRights({ capabilities: own, user }: MachineFacts, probe: ProbeFacts): Check {
  const held = probe.capabilities ?? own;
  const whose = probe.capabilities === undefined ? `this process (${user})` : 'the probe';
  if (held === undefined) return failed('rights', 'this system has no capabilities', 'run it on the node');
  const missing = missingRights(held);
  // Without a probe's answer the optional ones are its own affair: it drops them.
  const others = rights.filter((right) => !right.needed && lacks(held, right) && probe.capabilities === undefined);
  const costs = (list: readonly Right[]): string => list.map(({ name, cost }) => `${name} (${cost})`).join(', ');
  if (missing.length > 0)
    return failed(
      'rights',
      `${whose} lacks ${costs(missing)}`,
      probe.by === 'socket' && probe.fault === undefined
        ? `start the probe as root, or give it: setcap ${missing.map(({ name }) => name.toLowerCase()).join(',')}+ep`
        : 'run as root, or let a probe run and name its socket: --probe SOCKET. A client of a daemon needs none',
    );
  if (others.length > 0) return warning('rights', `${whose} lacks ${costs(others)}`, 'give them where that matters');
  return ok(
    'rights',
    `${whose} holds ${rights
      .filter((right) => !lacks(held, right))
      .map(({ name }) => name)
      .join(', ')}`,
  );
}

const toolCosts: { readonly [name: string]: { readonly cost: string; readonly install: string } } = {
  'iptables-nft-save': { cost: 'rules that iptables made are read by nft only, which does not show every match', install: 'iptables' },
  'ip6tables-nft-save': { cost: 'the same of IPv6', install: 'iptables' },
  'iptables-legacy-save': { cost: 'rules of legacy tables stay unknown', install: 'iptables' },
  'ip6tables-legacy-save': { cost: 'the same of IPv6', install: 'iptables' },
  nft: { cost: 'native nftables rules stay unknown', install: 'nftables' },
  ip: { cost: 'routing rules stay unknown: TPROXY is not followed to its end', install: 'iproute2' },
};

/** The probe calls its tools otherwise. */
const probeNames: { readonly [name: string]: string } = {
  'iptables-nft-save': 'iptables-save',
  'ip6tables-nft-save': 'ip6tables-save',
  nft: 'nft-ruleset',
  ip: 'ip-rule',
};

/** One check for all that are there, and one for each that is missing. Where a probe answered, its tools count; versions are known of ours only. */
export function checkTools({ tools }: MachineFacts, probe: ProbeFacts): Check[] {
  const there = (tool: ToolFact): boolean =>
    probe.tools === undefined ? tool.version !== undefined : probe.tools.includes(probeNames[tool.name] ?? tool.name);
  const present = tools.filter(there);
  const missing = tools.filter((tool) => !there(tool));
  const shown = present.map(({ name, version }) => (version === undefined ? name : `${name} (${version})`));
  const none = !present.some(({ name }) => name !== 'ip');
  const checks: Check[] = [];
  if (none)
    checks.push(
      failed(
        'tools',
        `none of ${tools
          .map(({ name }) => name)
          .filter((name) => name !== 'ip')
          .join(', ')} is there: no rule can be read`,
        'install iptables and nftables where the probe runs',
      ),
    );
  else checks.push(ok('tools', shown.join(', ')));
  for (const { name, path } of none ? missing.filter((tool) => tool.name === 'ip') : missing) {
    const about = toolCosts[name] ?? { cost: '', install: name };
    checks.push(warning('tools', `${path} is absent: ${about.cost}`, `install ${about.install} where the probe runs`));
  }
  return checks;
}

const some = (names: readonly string[], limit = 5): string =>
  names.length <= limit ? names.join(', ') : `${names.slice(0, limit).join(', ')} and ${names.length - limit} more`;

export function checkNamespaces({ folder, processes }: MachineFacts, probe: ProbeFacts): Check {
  if (probe.namespaces !== undefined) {
    return probe.namespaces.length > 0
      ? ok('namespaces', `the probe sees ${probe.namespaces.length}: ${some(probe.namespaces)}`)
      : warning(
          'namespaces',
          'the probe sees none',
          'is there a pod with its own network on this node? Is the folder of the namespaces mounted where the probe runs?',
        );
  }
  if (folder.namespaces.length > 0) return ok('namespaces', `${folder.namespaces.length} in ${folder.path}: ${some(folder.namespaces)}`);
  const why = folder.fault === undefined ? `${folder.path} holds none` : `${folder.path} cannot be listed (${folder.fault})`;
  if (processes.namespaces > 1)
    return ok(
      'namespaces',
      `${why}; processes have ${processes.namespaces}${processes.hidden > 0 ? `, ${processes.hidden} processes may not be looked at` : ''}`,
    );
  return warning(
    'namespaces',
    `${why}, and no process that may be looked at has one of its own${processes.hidden > 0 ? ` (${processes.hidden} may not)` : ''}`,
    'is there a pod with its own network on this node? In a container: mount /run/netns of the node, or use its process ids',
  );
}

/** A namespace that was bound after our mount namespace was made, without propagation, shows as an ordinary empty file. */
export function checkPropagation({ path, ordinary, propagation }: NamespaceFolder): Check {
  if (ordinary.length > 0)
    return failed(
      'propagation',
      `${path} holds ordinary files where namespaces are wanted: ${some(ordinary)}. They were bound elsewhere, and mounts do not come here`,
      `mount it with propagation (Kubernetes: mountPropagation: HostToContainer; docker: -v ${path}:${path}:rslave), or remove files that an unmounted namespace left`,
    );
  if (propagation === 'private')
    return warning(
      'propagation',
      `${path} takes no mounts from elsewhere (private): right on the node itself, in a container namespaces made later are missed`,
      'in a container mount it with HostToContainer (rslave)',
    );
  return ok('propagation', propagation === undefined ? `${path}: nothing is wrong with what is there` : `${path} is ${propagation}`);
}

/** A namespace takes a capture, an event socket or two, and a tunnel now and then. */
const FILES_A_NAMESPACE = 8;

export function checkOpenFiles({ openFiles }: MachineFacts, { namespaces }: ProbeFacts): Check {
  const wanted = 256 + FILES_A_NAMESPACE * (namespaces?.length ?? 0);
  if (openFiles === undefined || openFiles >= wanted)
    return ok('files', openFiles === undefined ? 'no limit of open files is known' : `${openFiles} open files are allowed`);
  return warning(
    'files',
    `${openFiles} open files are allowed, ${wanted} may be wanted`,
    'raise it: ulimit -n, or LimitNOFILE of the unit',
  );
}

export function checkDaemon({ where, asked, fault, about }: DaemonFact): Check {
  if (fault === undefined) return ok('daemon', `${where}: ${about ?? 'it answers'}`);
  if (asked) return failed('daemon', `${where}: ${fault}`, 'see whether it runs and listens there, and whether this user may ask it');
  return warning(
    'daemon',
    `${where}: ${fault}`,
    'start it: sidetrace daemon (observe, status and record --server ask it; replay and record --probe do not)',
  );
}

export function checkEnvoys(envoys: readonly EnvoyFact[], probe: ProbeFacts): Check {
  if (probe.fault !== undefined) return warning('envoy', 'no probe answers: nobody can ask Envoy', 'see the check "probe"');
  if (envoys.length === 0) return warning('envoy', 'no namespace could be asked for its Envoy', 'see the checks "rights" and "namespaces"');
  const of = (...states: string[]): EnvoyFact[] => envoys.filter(({ state }) => states.includes(state));
  const fine = of('LIVE', 'ready');
  const none = of('none');
  const bad = envoys.filter((one) => !fine.includes(one) && !none.includes(one));
  const counted = `${fine.length} of ${envoys.length} namespaces have an Envoy that answers on 15000`;
  if (bad.length > 0)
    return warning(
      'envoy',
      `${counted}; not as it should: ${some(bad.map(({ netns, state, detail }) => `${netns} (${detail ?? state})`))}`,
      'look at the proxy: kubectl logs POD -c istio-proxy; without its answers rules are known, listeners and routes are not',
    );
  if (fine.length === 0)
    return warning(
      'envoy',
      `none of ${envoys.length} namespaces has an Envoy on 15000`,
      'are the pods injected? An admin port of another number is told to probe and daemon in their settings',
    );
  return ok('envoy', counted);
}

/** Stamps of one node are the kernel's own: only what two nodes say is compared by their clocks, and by sequence numbers first. */
export function checkClock({ source, keepers, synchronized, stepMs }: ClockFacts): Check {
  const by = `${source === undefined ? '' : `clock source ${source}; `}`;
  if (Math.abs(stepMs) >= 5)
    return warning(
      'clock',
      `${by}the time of day was set by ${stepMs.toFixed(1)} ms while it was watched: times before and after do not compare`,
      'let a program that slews keep the clock (chronyd)',
    );
  if (source !== undefined && /^(hpet|acpi_pm|jiffies|refined-jiffies|pit)$/.test(source))
    return warning(
      'clock',
      `clock source ${source}: each time stamp costs a microsecond or more`,
      'see why the kernel does not use tsc (dmesg | grep -i clocksource)',
    );
  if (keepers.length === 0 && synchronized !== true)
    return warning(
      'clock',
      `${by}no program is seen that keeps the time (chronyd, ntpd, systemd-timesyncd, ptp4l): recordings of several nodes may be put in a wrong order`,
      'run chronyd or systemd-timesyncd on every node; on a guest whose host sets the clock, and for one node alone, nothing is to be done',
    );
  if (synchronized === false && keepers.every((name) => name === 'systemd-timesyn'))
    return warning('clock', `${by}systemd-timesyncd runs and has not set the clock yet`, 'see timedatectl timesync-status');
  return ok('clock', `${by}kept by ${keepers.length === 0 ? 'systemd-timesyncd' : keepers.join(', ')}`);
}

export function checkCap(cap: string): Check {
  if (cap === 'built') return ok('cap', 'built: replay --live INTERFACE works');
  const todo =
    'only replay --live needs it: install g++, make, python3 and libpcap-dev, then npm rebuild cap (npm install cap where it is absent)';
  if (cap === 'unbuilt') return warning('cap', 'its program was not compiled: replay --live does not work', todo);
  if (cap === 'absent') return warning('cap', 'it is not installed: replay --live does not work', todo);
  return warning('cap', `it does not load: ${cap}`, todo);
}
