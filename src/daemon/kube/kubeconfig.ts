/**
 * Where the API server is and how to speak to it: from kubeconfig files, or from the service account that a pod is given.
 *
 * Source: Kubernetes client-go clientcmd/api/v1 (the file), "Organizing Cluster Access Using kubeconfig Files" (merging: the first file that names a thing counts),
 * client-go rest.InClusterConfig (the service account).
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { delimiter, dirname, resolve } from 'node:path';
import { parseDocument } from 'yaml';
import { isAbsent, type JsonObject, listOf, objectOf } from '../../kube/fields.ts';
import { canonicalIp, isLoopback } from '../../net/address.ts';
import type { CredentialSource } from './credentials.ts';
import { type ExecCluster, type ExecConfig, execConfigOf, execExtensionOf } from './exec-config.ts';

/** Text that stands in the configuration, or in a file that may change: it is read each time it is used. */
export type Material = { readonly text: string } | { readonly file: string };

export interface KubeCluster {
  /** How people name it: `context "lab" of "/home/me/.kube/config"`. */
  readonly name: string;
  /** `https://10.0.0.1:6443`, with a path where the API lies below one, without a slash at the end. `http:` only to loopback. */
  readonly server: string;
  /** PEM; absent: what Node trusts. */
  readonly ca?: Material;
  /** The name that the server's certificate must have; absent: that of `server`. */
  readonly serverName?: string;
  /** The server's certificate is not checked, since the file says so. */
  readonly insecure: boolean;
  readonly token?: Material;
  /** PEM. */
  readonly certificate?: { readonly chain: Material; readonly key: Material };
  /** Makes token or certificate when they are wanted; instead of the two above. */
  readonly source?: CredentialSource;
}

/** Who runs the program of a kubeconfig's `exec`. Absent, as for all that runs unattended: nobody does, and such a user is refused. */
export type RunExec = (exec: ExecConfig) => CredentialSource;

export class KubeconfigError extends Error {
  override readonly name = 'KubeconfigError';
}

const MAX_LENGTH = 1024 * 1024;
const MAX_ENTRIES = 10_000;
const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';

interface Named {
  readonly name: string;
  readonly value: JsonObject;
  readonly path: string;
}

interface Kubeconfig {
  readonly current: string | undefined;
  readonly contexts: readonly Named[];
  readonly clusters: readonly Named[];
  readonly users: readonly Named[];
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' && value.length <= MAX_LENGTH ? value : undefined;
}

function refuse(what: string, state: string): never {
  throw new KubeconfigError(`Cannot use the kubeconfig ${what}: ${state}`);
}

function readFile(path: string): JsonObject {
  const what = JSON.stringify(path);
  let content: string;
  try {
    const { size } = statSync(path);
    if (size > MAX_LENGTH) refuse(what, `at most ${MAX_LENGTH} bytes are wanted, it has ${size}`);
    content = readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof KubeconfigError) throw error;
    refuse(what, `it must be readable, ${(error as NodeJS.ErrnoException).code ?? String(error)}`);
  }
  let value: unknown;
  try {
    const document = parseDocument(content, { logLevel: 'silent' });
    if (document.errors[0] !== undefined) throw document.errors[0];
    value = document.toJS();
  } catch (error) {
    refuse(what, `YAML or JSON is wanted, ${String((error as Error).message).split('\n')[0]}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    refuse(what, 'an object with "clusters", "users" and "contexts" is wanted');
  return objectOf(value);
}

function named(file: JsonObject, path: string, list: string, field: string): Named[] {
  return listOf(file[list], MAX_ENTRIES).flatMap((given) => {
    const entry = objectOf(given);
    const name = text(entry.name);
    return name === undefined ? [] : [{ name, value: objectOf(entry[field]), path }];
  });
}

function merge(paths: readonly string[]): Kubeconfig {
  const files = paths.map((path) => ({ path, file: readFile(path) }));
  const all = (list: string, field: string) => files.flatMap(({ file, path }) => named(file, path, list, field));
  return {
    current: files.map(({ file }) => text(file['current-context'])).find((name) => name !== undefined),
    contexts: all('contexts', 'context'),
    clusters: all('clusters', 'cluster'),
    users: all('users', 'user'),
  };
}

function find(entries: readonly Named[], kind: string, name: string, where: string): Named {
  const entry = entries.find((other) => other.name === name);
  if (entry !== undefined) return entry;
  const others = entries
    .slice(0, 5)
    .map((other) => `"${other.name}"`)
    .join(', ');
  return refuse(where, `the ${kind} "${name}" is wanted, ${others === '' ? 'it names none' : `it names ${others}`}`);
}

/** `…-data` in base64 or a file, whose name is relative to the kubeconfig that names it. */
function material({ value, path, name }: Named, field: string): Material | undefined {
  const data = text(value[`${field}-data`]);
  if (data !== undefined) {
    const decoded = Buffer.from(data, 'base64').toString('utf8');
    if (!decoded.includes('-----BEGIN '))
      refuse(`"${path}"`, `"${field}-data" of "${name}" must be base64 of PEM, it is ${data.length} characters of something else`);
    return { text: decoded };
  }
  const file = text(value[field]);
  return file === undefined ? undefined : { file: resolve(dirname(path), file) };
}

/** The address to speak to. @throws {KubeconfigError} */
function serverOf(server: string, where: string): string {
  let url: URL;
  try {
    url = new URL(server);
  } catch {
    return refuse(where, `"server" must be a URL such as https://10.0.0.1:6443, it is "${server.slice(0, 200)}"`);
  }
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const clear = url.protocol === 'http:' && (host === 'localhost' || isLoopback(canonicalIp(host) ?? ''));
  if (url.protocol !== 'https:' && !clear)
    refuse(where, `"server" must begin with https:// (http:// only to loopback), it is "${server.slice(0, 200)}"`);
  if (url.username !== '' || url.search !== '' || url.hash !== '')
    refuse(where, '"server" must be scheme, host, port and path only, it holds more');
  return `${url.protocol}//${url.host}${url.pathname.replace(/\/+$/, '')}`;
}

const refusedOfUsers: readonly { readonly field: string; readonly what: string }[] = [
  { field: 'auth-provider', what: 'an auth-provider' },
  { field: 'username', what: 'a user name and password' },
  { field: 'as', what: 'impersonation (as)' },
];

type UserCredentials = Pick<KubeCluster, 'token' | 'certificate' | 'source'>;

function credentialsOf(user: Named, where: string, cluster: ExecCluster, runExec: RunExec | undefined): UserCredentials {
  const has = (field: string) => !isAbsent(user.value[field]);
  const refused = refusedOfUsers.find(({ field }) => has(field))?.what;
  const what = runExec === undefined && has('exec') ? 'a program that makes credentials (exec)' : refused;
  if (what !== undefined)
    refuse(
      where,
      `user "${user.name}" has ${what}, which is not run here; "token", "tokenFile" or "client-certificate" and "client-key" are wanted, for instance a token of kubectl create token`,
    );
  const tokenFile = text(user.value.tokenFile);
  const token = text(user.value.token);
  const chain = material(user, 'client-certificate');
  const key = material(user, 'client-key');
  if ((chain === undefined) !== (key === undefined))
    refuse(where, `user "${user.name}" must have both "client-certificate" and "client-key", one of them is absent`);
  if (runExec !== undefined && has('exec')) {
    const exec = execConfigOf(user.value.exec, user, cluster, (state) => refuse(where, state));
    // As client-go: a program is not asked for what is there.
    if (tokenFile === undefined && token === undefined && chain === undefined) return { source: runExec(exec) };
  }
  return {
    ...(tokenFile !== undefined
      ? { token: { file: resolve(dirname(user.path), tokenFile) } }
      : token === undefined
        ? {}
        : { token: { text: token } }),
    ...(chain === undefined || key === undefined ? {} : { certificate: { chain, key } }),
  };
}

/**
 * The cluster that a context of kubeconfig files names.
 *
 * @param paths one file or several; of a thing that several name the first counts
 * @param context absent: the current one
 * @param runExec absent: a user whose credentials a program makes is refused
 * @throws {KubeconfigError} with what is wrong, or asks for what is not supported
 */
export function readKubeconfig(paths: readonly string[], context?: string, runExec?: RunExec): KubeCluster {
  const config = merge(paths);
  const where = paths.map((path) => `"${path}"`).join(', ');
  const chosen = context ?? config.current;
  if (chosen === undefined) refuse(where, '"current-context" is wanted, or a context by name, it has none');
  const at = find(config.contexts, 'context', chosen, where);
  const cluster = find(config.clusters, 'cluster', text(at.value.cluster) ?? '', where);
  const userName = text(at.value.user);
  const server = text(cluster.value.server);
  if (server === undefined) refuse(where, `cluster "${cluster.name}" must have "server", it has none`);
  if (text(cluster.value['proxy-url']) !== undefined)
    refuse(where, `cluster "${cluster.name}" has "proxy-url": the server must be reached without a proxy`);
  const ca = material(cluster, 'certificate-authority');
  const serverName = text(cluster.value['tls-server-name']);
  const trust = {
    insecure: cluster.value['insecure-skip-tls-verify'] === true,
    ...(ca === undefined ? {} : { ca }),
    ...(serverName === undefined ? {} : { serverName }),
  };
  const url = serverOf(server, where);
  const told = { server, ...trust, config: execExtensionOf(cluster.value) };
  return {
    name: `context "${chosen}" of ${where}`,
    server: url,
    ...trust,
    ...(userName === undefined ? {} : credentialsOf(find(config.users, 'user', userName, where), where, told, runExec)),
  };
}

/** The files that kubectl would read: those of KUBECONFIG that are there, else ~/.kube/config. */
export function kubeconfigPaths(environment: NodeJS.ProcessEnv): string[] {
  const given = (environment.KUBECONFIG ?? '').split(delimiter).filter((path) => path !== '');
  const paths = given.length > 0 ? given : environment.HOME === undefined ? [] : [resolve(environment.HOME, '.kube/config')];
  return paths.filter((path) => existsSync(path));
}

/** The API server as a pod is told of it; `undefined` outside a cluster. */
export function inCluster(environment: NodeJS.ProcessEnv, folder = SERVICE_ACCOUNT): KubeCluster | undefined {
  const host = text(environment.KUBERNETES_SERVICE_HOST);
  const port = text(environment.KUBERNETES_SERVICE_PORT);
  const token = `${folder}/token`;
  if (host === undefined || port === undefined || !existsSync(token)) return undefined;
  return {
    name: 'the service account of this pod',
    server: serverOf(`https://${host.includes(':') ? `[${host}]` : host}:${port}`, 'of this pod'),
    insecure: false,
    token: { file: token },
    ...(existsSync(`${folder}/ca.crt`) ? { ca: { file: `${folder}/ca.crt` } } : {}),
  };
}
