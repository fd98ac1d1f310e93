/** Chooses where names come from. */
import { KubeApi } from './api.ts';
import { KubeFiles } from './files.ts';
import { inCluster, type KubeCluster, KubeconfigError, kubeconfigPaths, type RunExec, readKubeconfig } from './kubeconfig.ts';
import type { KubeLog } from './list-watch.ts';
import { type KubeSource, withoutKube } from './source.ts';
import { KubeWatch } from './watch.ts';

export interface KubeOptions {
  /** `auto`: the service account of this pod, else a kubeconfig where one is, else none. */
  readonly from: 'auto' | 'in-cluster' | 'kubeconfig' | 'files' | 'none';
  /** Kubeconfig files; absent: those of KUBECONFIG, else ~/.kube/config. */
  readonly kubeconfig?: readonly string[];
  readonly context?: string;
  /** Files that kubectl printed. */
  readonly files?: readonly string[];
  readonly node: string;
  readonly allPods: boolean;
  readonly log: KubeLog;
}

export interface OpenKube {
  readonly source: KubeSource;
  /** For reviews of tokens; absent where there is no API server. */
  readonly api?: KubeApi;
}

/** @param runExec absent: a kubeconfig that names a program for credentials is refused @returns `undefined`: none is there @throws {KubeconfigError} */
export function findKubeCluster(
  options: Pick<KubeOptions, 'from' | 'kubeconfig' | 'context'>,
  environment: NodeJS.ProcessEnv,
  runExec?: RunExec,
): KubeCluster | undefined {
  const { from, kubeconfig, context } = options;
  if (from === 'files' || from === 'none') return undefined;
  const told = from === 'kubeconfig' || kubeconfig !== undefined;
  const own = told ? undefined : inCluster(environment);
  if (own !== undefined) return own;
  if (from === 'in-cluster')
    throw new KubeconfigError(
      'Cannot use the service account of this pod: KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT and a token are wanted, they are not there',
    );
  const paths = kubeconfig ?? kubeconfigPaths(environment);
  if (paths.length > 0) return readKubeconfig(paths, context, runExec);
  if (from === 'kubeconfig')
    throw new KubeconfigError('Cannot use a kubeconfig: a file is wanted, by option, KUBECONFIG or at ~/.kube/config, none is there');
  return undefined;
}

/** Nothing is asked before the source is started. @throws {KubeconfigError} */
export function openKube(options: KubeOptions, environment: NodeJS.ProcessEnv): OpenKube {
  const { from, files = [], node, allPods, log } = options;
  if (from === 'files') return { source: new KubeFiles({ paths: files, node, log }) };
  const cluster = findKubeCluster(options, environment);
  if (cluster === undefined) return { source: withoutKube() };
  const api = new KubeApi(cluster);
  return { source: new KubeWatch({ api, node, allPods, log }), api };
}
