/** The daemons that a command asks: those that are named, or those of a cluster, through its API server. */
import type { Command } from 'commander';
import { KubeApi } from '../daemon/kube/api.ts';
import { KubeApiError } from '../daemon/kube/api-error.ts';
import { KubeconfigError } from '../daemon/kube/kubeconfig.ts';
import { findKubeCluster } from '../daemon/kube/open.ts';
import { DEFAULT_PORT } from '../stream/server-address.ts';
import { ExecSource } from './exec-source.ts';
import { InputError, UsageError } from './failure.ts';
import { PortForward, runningPods } from './port-forward.ts';
import { expandServers } from './server-hosts.ts';
import { addServersOptions, parseServers, type Server, type ServersOptions } from './server-options.ts';

const SELECTOR = 'app.kubernetes.io/name=sidetrace';
const PODS_MAX = 256;

export interface OpenServersOptions extends ServersOptions {
  readonly portForward?: true;
  readonly portForwardPort?: string;
  readonly kubeconfig?: string;
  readonly kubeContext?: string;
  readonly kubeNamespace?: string;
}

/** `--server` and what goes with it, and the way through an API server. */
export function addDaemonsOptions(command: Command): Command {
  addServersOptions(command);
  const add = (flags: string, text: string): void => {
    command.addOption(command.createOption(flags, text).helpGroup('Daemons of a cluster:'));
  };
  add('-P, --port-forward', `the pods labelled ${SELECTOR}, through the API server; with TLS when a --tls option is given`);
  add('--port-forward-port <PORT>', `where they listen, default ${DEFAULT_PORT}`);
  add('--kubeconfig <FILE>', 'the kubeconfig, default KUBECONFIG, else ~/.kube/config');
  add('--kube-context <NAME>', 'its context, default the current one');
  add('--kube-namespace <NAME>', 'the namespace of the pods, default any');
  return command;
}

export interface OpenServers {
  readonly servers: readonly Server[];
  close(): void;
}

/** @throws {UsageError} {InputError} {KubeApiError} */
export async function openServers(options: OpenServersOptions): Promise<OpenServers> {
  if (options.portForward === undefined) {
    const useless = (['portForwardPort', 'kubeconfig', 'kubeContext', 'kubeNamespace'] as const).find((key) => options[key] !== undefined);
    if (useless !== undefined) throw new UsageError('Cannot use a kubeconfig for daemons that are named: --port-forward is wanted with it');
    return { servers: await expandServers(parseServers(options)), close: () => {} };
  }
  if (options.server !== undefined) throw new UsageError('Cannot give --server and --port-forward together: one of them is wanted');
  return await forwarded(options);
}

async function forwarded(options: OpenServersOptions): Promise<OpenServers> {
  const port = Number(options.portForwardPort ?? DEFAULT_PORT);
  if (!Number.isInteger(port) || port < 1 || port > 65_535)
    throw new UsageError(`Cannot take "${options.portForwardPort}" for --port-forward-port: a port is wanted`);
  const cluster = clusterOf(options);
  const api = new KubeApi(cluster);
  const forwards: PortForward[] = [];
  try {
    const within = options.kubeNamespace === undefined ? '' : `/namespaces/${encodeURIComponent(options.kubeNamespace)}`;
    const { value } = await api.get(`/api/v1${within}/pods?labelSelector=${encodeURIComponent(SELECTOR)}&limit=${PODS_MAX}`);
    const pods = runningPods(value);
    if (pods.length === 0)
      throw new InputError(`Cannot find a daemon by ${cluster.name}: a running pod labelled ${SELECTOR} is wanted, there is none`);
    const scheme = options.tlsCaCertFiles ?? options.tlsServerName ?? options.tlsAllowInsecure ?? options.tlsClientCertFile;
    const addresses: string[] = [];
    for (const pod of pods) {
      const forward = new PortForward(cluster, pod, port);
      forwards.push(forward);
      addresses.push(`${scheme === undefined ? 'ws' : 'wss'}://127.0.0.1:${await forward.listen()}`);
    }
    const servers = parseServers({ ...options, server: addresses }).map((server, i) => ({
      ...server,
      name: `${pods[i]!.namespace}/${pods[i]!.name}`,
    }));
    return {
      servers,
      close: () => {
        for (const forward of forwards) forward.close();
        cluster.source?.close();
      },
    };
  } catch (error) {
    for (const forward of forwards) forward.close();
    cluster.source?.close();
    if (error instanceof KubeApiError)
      throw Object.assign(new InputError(error.message, { cause: error }), { code: 'ECONNREFUSED', syscall: 'connect' });
    throw error;
  } finally {
    api.close();
  }
}

function clusterOf({ kubeconfig, kubeContext }: OpenServersOptions): NonNullable<ReturnType<typeof findKubeCluster>> {
  try {
    const cluster = findKubeCluster(
      {
        from: kubeconfig === undefined && kubeContext === undefined ? 'auto' : 'kubeconfig',
        ...(kubeconfig === undefined ? {} : { kubeconfig: [kubeconfig] }),
        ...(kubeContext === undefined ? {} : { context: kubeContext }),
      },
      process.env,
      (exec) => new ExecSource(exec),
    );
    if (cluster !== undefined) return cluster;
  } catch (error) {
    if (error instanceof KubeconfigError) throw new InputError(error.message, { cause: error });
    throw error;
  }
  throw new UsageError('Cannot forward ports: a kubeconfig is wanted, by --kubeconfig, KUBECONFIG or at ~/.kube/config, none is there');
}
