/**
 * The `exec` of a kubeconfig's user: the program that makes credentials, and how it is to be run. It is only read here; nothing under src/daemon runs it.
 *
 * Source: Kubernetes "client-go credential plugins"; client-go clientcmd/api/v1 ExecConfig with its defaults, clientcmd/validation.go, rest.ConfigToExecCluster.
 */
import { dirname, resolve } from 'node:path';
import { isAbsent, type JsonObject, listOf, objectOf } from '../../kube/fields.ts';
import type { Material } from './kubeconfig.ts';

const API = 'client.authentication.k8s.io';
/** Where a cluster's `extensions` hold what is meant for the program. */
const EXTENSION = 'client.authentication.k8s.io/exec';
const MAX_ENTRIES = 1000;

export interface ExecConfig {
  /** Who gets the credentials, as people name it: `user "me" of "/home/me/.kube/config"`. */
  readonly user: string;
  readonly apiVersion: `${typeof API}/${'v1' | 'v1beta1'}`;
  /** With a slash an absolute path, else a name that is looked up in PATH. */
  readonly command: string;
  readonly args: readonly string[];
  /** Beside the environment of this process. */
  readonly env: { readonly [name: string]: string };
  /** Whether the program gets standard input: `IfAvailable` where that is a terminal, `Always` that or an error. */
  readonly interactiveMode: 'Never' | 'IfAvailable' | 'Always';
  /** What to tell who has not got the program. */
  readonly installHint?: string;
  /** The cluster, where the program wants to be told of it. */
  readonly cluster?: ExecCluster;
}

export interface ExecCluster {
  /** As the kubeconfig writes it. */
  readonly server: string;
  readonly serverName?: string;
  readonly insecure: boolean;
  readonly ca?: Material;
  /** For the program alone; any JSON value. */
  readonly config?: unknown;
}

/**
 * @param given the value of `exec`
 * @param at its user, and the kubeconfig that names it, to which a command with a slash is relative
 * @param cluster what the program may want to be told
 * @param refuse throws for a value that cannot be used, with the wish and the state
 */
export function execConfigOf(
  given: unknown,
  at: { readonly name: string; readonly path: string },
  cluster: ExecCluster,
  refuse: (state: string) => never,
): ExecConfig {
  const exec = objectOf(given);
  const user = `user "${at.name}" of "${at.path}"`;
  const fault = (field: string, wish: string): never =>
    refuse(`"exec.${field}" of user "${at.name}" must be ${wish}, it is ${SECRET.has(field) ? kindOf(exec[field]) : shown(exec[field])}`);
  const version = exec.apiVersion;
  if (version !== `${API}/v1` && version !== `${API}/v1beta1`) return fault('apiVersion', `${API}/v1 or ${API}/v1beta1`);
  const { command, installHint, provideClusterInfo } = exec;
  if (typeof command !== 'string' || command === '') return fault('command', 'a program');
  const mode = exec.interactiveMode ?? (version === `${API}/v1beta1` ? 'IfAvailable' : undefined);
  if (mode !== 'Never' && mode !== 'IfAvailable' && mode !== 'Always') return fault('interactiveMode', 'Never, IfAvailable or Always');
  if (!isAbsent(installHint) && typeof installHint !== 'string') fault('installHint', 'a text');
  if (!isAbsent(provideClusterInfo) && typeof provideClusterInfo !== 'boolean') fault('provideClusterInfo', 'true or false');
  return {
    user,
    apiVersion: version,
    command: command.includes('/') ? resolve(dirname(at.path), command) : command,
    args: argsOf(exec) ?? fault('args', `a list of at most ${MAX_ENTRIES} texts`),
    env: envOf(exec) ?? fault('env', `a list of at most ${MAX_ENTRIES} objects with the texts "name" and "value"`),
    interactiveMode: mode,
    ...(typeof installHint === 'string' && installHint !== '' ? { installHint } : {}),
    ...(provideClusterInfo === true ? { cluster } : {}),
  };
}

/** What a cluster's `extensions` hold for the program. @param cluster as the kubeconfig has it */
export function execExtensionOf(cluster: JsonObject): unknown {
  const found = listOf(cluster.extensions, MAX_ENTRIES).map(objectOf);
  return found.find(({ name }) => name === EXTENSION)?.extension;
}

function argsOf({ args }: JsonObject): string[] | undefined {
  if (isAbsent(args)) return [];
  if (!Array.isArray(args) || args.length > MAX_ENTRIES) return undefined;
  return args.every((arg) => isPlain(arg)) ? args : undefined;
}

function envOf({ env }: JsonObject): { [name: string]: string } | undefined {
  if (isAbsent(env)) return {};
  if (!Array.isArray(env) || env.length > MAX_ENTRIES) return undefined;
  const pairs: [string, string][] = [];
  for (const entry of env) {
    const { name, value } = objectOf(entry);
    if (!isPlain(name) || name === '' || name.includes('=') || !isPlain(value)) return undefined;
    pairs.push([name, value]);
  }
  return Object.fromEntries(pairs);
}

/** Text that the system can hand to a program. */
function isPlain(value: unknown): value is string {
  return typeof value === 'string' && !value.includes('\0');
}

/** Arguments and environments may hold secrets: of these only the kind is told. */
const SECRET: ReadonlySet<string> = new Set(['args', 'env']);

function shown(value: unknown): string {
  return typeof value === 'string' ? `"${value.slice(0, 80)}"` : kindOf(value);
}

function kindOf(value: unknown): string {
  if (isAbsent(value)) return 'absent';
  return Array.isArray(value) ? 'another list' : `of another kind (${typeof value})`;
}
