/** What a process may do, as the kernel says it in /proc, and what a manifest says it should. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** Bits of capabilities(7) that manifests of ours name. */
const CAPABILITIES: Readonly<Record<string, bigint>> = { NET_ADMIN: 12n, NET_RAW: 13n, SYS_PTRACE: 19n, SYS_ADMIN: 21n };

export interface Rights {
  readonly user: number;
  readonly group: number;
  readonly groups: readonly number[];
  /** Hexadecimal, as /proc prints it. */
  readonly effective: string;
  readonly permitted: string;
  readonly bounding: string;
  readonly noNewPrivileges: boolean;
  /** A filter of system calls is in place. */
  readonly filtered: boolean;
}

export interface SecurityContext {
  readonly runAsUser?: number;
  readonly runAsGroup?: number;
  readonly fsGroup?: number;
  readonly allowPrivilegeEscalation?: boolean;
  readonly readOnlyRootFilesystem?: boolean;
  readonly capabilities?: { readonly add?: readonly string[]; readonly drop?: readonly string[] };
  readonly seccompProfile?: { readonly type: string };
}

function rightsIn(statusFile: string): Rights {
  const fields = new Map(
    readFileSync(statusFile, 'utf8')
      .split('\n')
      .map((line) => line.split(/:\s*/, 2) as [string, string]),
  );
  const numbers = (name: string) => (fields.get(name) ?? '').trim().split(/\s+/).filter(Boolean).map(Number);
  return {
    user: numbers('Uid')[1]!,
    group: numbers('Gid')[1]!,
    groups: numbers('Groups'),
    effective: fields.get('CapEff')!,
    permitted: fields.get('CapPrm')!,
    bounding: fields.get('CapBnd')!,
    noNewPrivileges: numbers('NoNewPrivs')[0] === 1,
    filtered: numbers('Seccomp')[0] === 2,
  };
}

/** Of every thread: capabilities and filters are a thread's own. */
export function rightsOf(pid: number): Rights[] {
  return readdirSync(`/proc/${pid}/task`).map((thread) => rightsIn(`/proc/${pid}/task/${thread}/status`));
}

/** What a container with these contexts must have. Whatever it says, both of our programs forbid themselves new privileges. */
export function rightsWanted(pod: SecurityContext, container: SecurityContext): Rights {
  const user = container.runAsUser ?? pod.runAsUser ?? 0;
  const group = container.runAsGroup ?? pod.runAsGroup ?? 0;
  const given = (container.capabilities?.add ?? []).reduce((bits, name) => bits | (1n << CAPABILITIES[name]!), 0n);
  const text = given.toString(16).padStart(16, '0');
  return {
    user,
    group,
    groups: [...new Set([group, ...(pod.fsGroup === undefined ? [] : [pod.fsGroup])])].sort((a, b) => a - b),
    effective: text,
    permitted: text,
    bounding: text,
    noNewPrivileges: true,
    filtered: (container.seccompProfile ?? pod.seccompProfile) !== undefined,
  };
}

export function namespaceOf(pid: number | 'self', kind: 'pid' | 'mnt' | 'net' | 'ipc' | 'uts'): string {
  return readlinkSync(`/proc/${pid}/ns/${kind}`);
}

export interface Mount {
  readonly at: string;
  readonly kind: string;
  readonly readOnly: boolean;
  /** Mounts made later where it comes from appear in it. */
  readonly follows: boolean;
}

/** As /proc/PID/mountinfo tells them, proc(5). */
export function mountsOf(pid: number): Mount[] {
  return readFileSync(`/proc/${pid}/mountinfo`, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => {
      const [before, after] = line.split(' - ', 2);
      const fields = before!.split(' ');
      return {
        at: fields[4]!,
        kind: after!.split(' ', 1)[0]!,
        readOnly: fields[5]!.split(',').includes('ro'),
        follows: fields.slice(6).some((field) => field.startsWith('master:')),
      };
    });
}
