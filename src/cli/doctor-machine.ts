/** Reads what `sidetrace doctor` wants to know of this machine: /proc, /sys, /run/netns, the tools' versions. Nothing here throws: what cannot be read is absent. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, readlinkSync, statfsSync } from 'node:fs';
import { machine, release, type, userInfo } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { capState } from './cap-state.ts';
import type { ClockFacts, MachineFacts, NamespaceFolder, ToolFact } from './doctor-checks.ts';

/** linux/magic.h: NSFS_MAGIC */
const NSFS = 0x6e736673;
const NAMES_MAX = 10_000;
const PROCESSES_MAX = 100_000;
const TOOL_MS = 3000;
const WATCH_MS = 300;

function text(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function names(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

const number = (value: string | undefined): number | undefined => (value === undefined ? undefined : Number(value.trim()));

export async function readMachine(netnsFolder: string): Promise<MachineFacts> {
  const conntrackMax = number(text('/proc/sys/net/netfilter/nf_conntrack_max'));
  const { processes, commands } = readProcesses();
  return {
    nodeVersion: process.version,
    system: type(),
    release: release(),
    machine: machine(),
    user: userName(),
    capabilities: capabilities(),
    netlink: netlinkFamilies(text('/proc/net/netlink') ?? ''),
    packetSockets: existsSync('/proc/net/packet'),
    conntrack:
      conntrackMax === undefined
        ? undefined
        : { max: conntrackMax, events: number(text('/proc/sys/net/netfilter/nf_conntrack_events')) ?? 1 },
    openFiles: openFiles(text('/proc/self/limits') ?? ''),
    tools: ['iptables-nft-save', 'ip6tables-nft-save', 'iptables-legacy-save', 'ip6tables-legacy-save', 'nft', 'ip'].map(readTool),
    folder: readFolder(netnsFolder),
    processes,
    clock: await watchClock(commands),
    cap: capState(),
  };
}

function userName(): string {
  try {
    return `${userInfo().username}, uid ${process.getuid?.() ?? '?'}`;
  } catch {
    return `uid ${process.getuid?.() ?? '?'}`;
  }
}

function capabilities(): bigint | undefined {
  const hex = /^CapEff:\s*([0-9a-f]+)$/m.exec(text('/proc/self/status') ?? '')?.[1];
  return hex === undefined ? undefined : BigInt(`0x${hex}`);
}

/** Families with a socket of the kernel's own (port id 0). */
export function netlinkFamilies(table: string): number[] {
  const families = new Set<number>();
  for (const line of table.split('\n').slice(1)) {
    const [, family, port] = line.trim().split(/\s+/);
    if (port === '0') families.add(Number(family));
  }
  return [...families];
}

export function openFiles(limits: string): number | undefined {
  const found = /^Max open files\s+(\d+|unlimited)/m.exec(limits)?.[1];
  return found === undefined || found === 'unlimited' ? undefined : Number(found);
}

/** The probe runs its tools from there and nowhere else. */
const TOOLS = '/usr/sbin';

function readTool(name: string): ToolFact {
  const path = join(TOOLS, name);
  if (!existsSync(path)) return { name, path, version: undefined };
  const { stdout, stderr } = spawnSync(path, [name === 'ip' ? '-V' : '--version'], { timeout: TOOL_MS, encoding: 'utf8' });
  const first = `${stdout ?? ''}\n${stderr ?? ''}`.trim().split('\n')[0]?.slice(0, 100) ?? '';
  return { name, path, version: /v?\d+\.\d+[\w.-]*/.exec(first)?.[0] ?? (first === '' ? 'of an unknown version' : first) };
}

function readFolder(path: string): NamespaceFolder {
  const namespaces: string[] = [];
  const ordinary: string[] = [];
  let listed: string[] = [];
  let fault: string | undefined;
  try {
    listed = readdirSync(path).sort().slice(0, NAMES_MAX);
  } catch (error) {
    fault = (error as NodeJS.ErrnoException).code ?? String(error);
  }
  for (const name of listed) {
    try {
      (statfsSync(join(path, name)).type === NSFS ? namespaces : ordinary).push(name);
    } catch {
      // it went away meanwhile
    }
  }
  return {
    path,
    ...(fault === undefined ? {} : { fault }),
    namespaces,
    ordinary,
    propagation: propagationOf(path, text('/proc/self/mountinfo') ?? ''),
  };
}

/** How the mount that holds `path` takes part in mounts made elsewhere. Source: proc_pid_mountinfo(5), optional fields. */
export function propagationOf(path: string, mountinfo: string): NamespaceFolder['propagation'] {
  let best = '';
  let found: NamespaceFolder['propagation'];
  for (const line of mountinfo.split('\n')) {
    const [before = ''] = line.split(' - ');
    const fields = before.trim().split(' ');
    const point = fields[4]?.replaceAll(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
    if (point === undefined || point.length < best.length) continue;
    if (path !== point && !path.startsWith(point === '/' ? '/' : `${point}/`)) continue;
    best = point;
    const optional = fields.slice(6).map((field) => field.split(':')[0]);
    found = optional.includes('master') ? 'slave' : optional.includes('shared') ? 'shared' : 'private';
  }
  return found;
}

/** Network namespaces of processes, and the names of those that keep the clock. */
function readProcesses(): { processes: MachineFacts['processes']; commands: string[] } {
  const seen = new Set<string>();
  const commands = new Set<string>();
  let hidden = 0;
  for (const name of names('/proc').slice(0, PROCESSES_MAX)) {
    if (!/^\d+$/.test(name)) continue;
    const command = text(`/proc/${name}/comm`)?.trim();
    if (command !== undefined && KEEPERS.has(command)) commands.add(command);
    try {
      seen.add(readlinkSync(`/proc/${name}/ns/net`));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EACCES') hidden++;
    }
  }
  return { processes: { namespaces: seen.size, hidden }, commands: [...commands].sort() };
}

/** The kernel cuts names at 15 characters. */
const KEEPERS: ReadonlySet<string> = new Set(['chronyd', 'ntpd', 'systemd-timesyn', 'openntpd', 'ptp4l', 'phc2sys']);

/** Compares the time of day with the monotonic clock for a third of a second. */
async function watchClock(keepers: readonly string[]): Promise<ClockFacts> {
  const begin = difference();
  await sleep(WATCH_MS);
  const stepMs = difference() - begin;
  const marker = '/run/systemd/timesync/synchronized';
  return {
    source: text('/sys/devices/system/clocksource/clocksource0/current_clocksource')?.trim(),
    keepers,
    synchronized: existsSync('/run/systemd/timesync') ? existsSync(marker) : undefined,
    stepMs,
  };
}

/** Time of day less the monotonic clock, in milliseconds, read where the time of day has just changed. */
function difference(): number {
  const last = Date.now();
  let now = last;
  while (now === last) now = Date.now();
  return now - Number(process.hrtime.bigint()) / 1e6;
}
