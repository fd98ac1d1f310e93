/**
 * The lab as the system tests use it: a real mesh on this machine (test/mesh), brought up in one of its modes; its pods, and programs run where they are.
 * Environment: LAB and BIN as for test/mesh/mesh.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { chmodSync, closeSync, existsSync, mkdtempSync, openSync, readFileSync, readSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

export const MODES = ['redirect', 'tproxy', 'native-nft'] as const;
export type Mode = (typeof MODES)[number];
export type NodeName = 'a' | 'b';

export interface LabPod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly node: NodeName;
  readonly ip: string;
  /** Name in its node's /run/netns, which records carry. */
  readonly netns: string;
  readonly app: string;
  readonly hasProxy: boolean;
}

const program = resolve('test/mesh/mesh');
const folder = process.env.LAB ?? '/tmp/lab-mesh';
const OUTPUT_LIMIT = 64 * 1024 * 1024;

interface PodObject {
  readonly metadata: {
    readonly namespace: string;
    readonly name: string;
    readonly uid: string;
    readonly labels?: Record<string, string>;
    readonly deletionTimestamp?: string;
  };
  readonly spec: {
    readonly nodeName?: string;
    readonly hostNetwork?: boolean;
    readonly containers: readonly { readonly name: string }[];
    readonly initContainers?: readonly { readonly name: string }[];
  };
  readonly status: { readonly podIP?: string };
}

/** @throws {Error} with the end of what the program said, where its exit code is not 0 */
export function run(argv: readonly string[], input?: string, seconds = 120): string {
  const done = spawnSync(argv[0]!, argv.slice(1), {
    input: input ?? '',
    encoding: 'utf8',
    maxBuffer: OUTPUT_LIMIT,
    timeout: seconds * 1000,
  });
  if (done.status !== 0)
    throw new Error(
      `Cannot run "${argv.join(' ').slice(0, 200)}": exit code 0 is wanted, ${done.status ?? done.signal ?? done.error?.message} was the answer: ${`${done.stdout}${done.stderr}`.trim().slice(-1500)}`,
    );
  return done.stdout;
}

/** What holds comes to hold within `seconds`, or it is an error that says what was waited for. */
export async function until<T>(
  what: string,
  seconds: number,
  holds: () => T | undefined | false | Promise<T | undefined | false>,
): Promise<T> {
  const end = performance.now() + seconds * 1000;
  for (;;) {
    const found = await holds();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > end) throw new Error(`Cannot go on: ${what} within ${seconds} s is wanted, it did not come`);
    await new Promise((done) => setTimeout(done, 100));
  }
}

/** Programs that a test started; whatever happens, they end with it. */
const started = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of started) child.kill('SIGKILL');
});

/** In the background, its output into files or nowhere. It is killed when the test ends. */
export function start(
  argv: readonly string[],
  files: { readonly out?: string; readonly error?: string; readonly env?: NodeJS.ProcessEnv } = {},
): ChildProcess {
  const out = files.out === undefined ? 'ignore' : openSync(files.out, 'w');
  const error = files.error === undefined ? 'ignore' : files.error === files.out ? out : openSync(files.error, 'w');
  const child = spawn(argv[0]!, argv.slice(1), { stdio: ['ignore', out, error], env: { ...process.env, ...files.env } });
  for (const file of new Set([out, error])) if (typeof file === 'number') closeSync(file);
  started.add(child);
  child.unref(); // a test that failed ends, whatever still runs
  child.on('exit', () => started.delete(child));
  return child;
}

/** Its exit code, or the signal's name. */
export function ended(child: ChildProcess, seconds: number): Promise<number | string> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve(child.exitCode ?? child.signalCode ?? -1);
  return new Promise((done, fail) => {
    const late = setTimeout(() => {
      child.kill('SIGKILL');
      fail(new Error(`Cannot wait any longer for "${child.spawnargs.join(' ').slice(0, 200)}": its end within ${seconds} s is wanted`));
    }, seconds * 1000);
    child.once('exit', (code, signal) => {
      clearTimeout(late);
      done(code ?? signal ?? -1);
    });
  });
}

/** A new folder, which the daemon's user may enter. */
export function makeFolder(): string {
  const made = mkdtempSync(join(tmpdir(), 'sidetrace-live-'));
  chmodSync(made, 0o755);
  return made;
}

export class Lab {
  readonly mode: Mode;
  readonly folder = folder;
  readonly kubeconfig = join(folder, 'kubeconfig');
  readonly #process: Record<NodeName, string>;

  private constructor(mode: Mode) {
    this.mode = mode;
    const processOf = (node: NodeName) => readFileSync(join(folder, `node-${node}.pid`), 'utf8').trim();
    this.#process = { a: processOf('a'), b: processOf('b') };
  }

  /** The lab in this mode: one that is up in it is taken as it is, one in another mode is taken down first. Minutes where its programs must be built. */
  static bringUp(mode: Mode): Lab {
    const up = spawnSync(program, ['mode'], { encoding: 'utf8' });
    if (up.status !== 0 || up.stdout.trim() !== mode) {
      run([program, 'down']);
      run([program, 'up', mode], '', 1500);
    }
    return new Lab(mode);
  }

  mesh(...words: string[]): string {
    return run([program, ...words]);
  }

  kubectl(...words: string[]): string {
    return run([program, 'kubectl', ...words]);
  }

  /** Objects as YAML; waits until pods run and every Envoy has its configuration. */
  apply(objects: string): void {
    run([program, 'apply', '-'], objects);
  }

  /** Pods that have a network of their own and are not being deleted. */
  pods(): LabPod[] {
    const { items }: { items: readonly PodObject[] } = JSON.parse(this.kubectl('get', 'pods', '-A', '-o', 'json'));
    return items
      .filter(
        ({ metadata, spec, status }) => status.podIP !== undefined && spec.hostNetwork !== true && metadata.deletionTimestamp === undefined,
      )
      .map(({ metadata, spec, status }) => ({
        namespace: metadata.namespace,
        name: metadata.name,
        uid: metadata.uid,
        node: spec.nodeName === 'node-b' ? 'b' : 'a',
        ip: status.podIP!,
        netns: `cni-${metadata.uid}`,
        app: metadata.labels?.app ?? '',
        hasProxy: [...spec.containers, ...(spec.initContainers ?? [])].some(({ name }) => name === 'istio-proxy'),
      }));
  }

  /** @throws {Error} where there is none */
  pod(app: string): LabPod {
    const found = this.pods().find((pod) => pod.app === app || pod.name === app);
    if (found === undefined) throw new Error(`Cannot use the pod "${app}": it must run in the lab, it is absent`);
    return found;
  }

  serviceAddress(name: string, namespace = 'default'): string {
    return this.kubectl('-n', namespace, 'get', 'service', name, '-o', 'jsonpath={.spec.clusterIP}');
  }

  /** argv that runs a program in a node's network and mount namespace. */
  inNode(node: NodeName, argv: readonly string[]): string[] {
    return ['nsenter', '-t', this.#process[node], '-m', '-n', '--', ...argv];
  }

  /** argv that runs a program in a pod's network, as root or as an application would. */
  inPod(pod: LabPod, argv: readonly string[], as: 'root' | 'app' = 'root'): string[] {
    const who = as === 'app' ? ['setpriv', '--reuid=1000', '--regid=1000', '--clear-groups', ...argv] : argv;
    const resolver = join(folder, 'kubelet', pod.node, 'pods', pod.uid, 'resolv.conf');
    return this.inNode(pod.node, [
      ...['ip', 'netns', 'exec', pod.netns, 'unshare', '-m', '--propagation', 'private'],
      ...['sh', '-c', 'mount --bind "$0" /etc/resolv.conf && exec "$@"', resolver, ...who],
    ]);
  }

  outside(argv: readonly string[]): string[] {
    return ['ip', 'netns', 'exec', 'lab-outside', ...argv];
  }

  /** Where a container writes, its proxy's access log among it. */
  logFile(pod: LabPod, container = 'istio-proxy'): string {
    return join(folder, 'kubelet', pod.node, 'pods', pod.uid, `${container}.log`);
  }
}

/** What was written to a file since it had `from` bytes; whole lines only. */
export function linesSince(file: string, from: number): string[] {
  if (!existsSync(file)) return [];
  const size = statSync(file).size;
  if (size <= from) return [];
  const bytes = Buffer.alloc(size - from);
  const handle = openSync(file, 'r');
  try {
    readSync(handle, bytes, 0, bytes.length, from);
  } finally {
    closeSync(handle);
  }
  const text = bytes.toString('utf8');
  return text
    .slice(0, text.lastIndexOf('\n') + 1)
    .split('\n')
    .filter(Boolean);
}
