/** A daemon with its probe, run as a node would: the probe as root, the daemon as a user of its own without any capability, both where the node's namespaces are seen. */
import { type ChildProcess, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { join, resolve } from 'node:path';
import { type DaemonStatus, readStatus } from '../../src/stream/status-shape.ts';
import { ended, start, until } from './lab.ts';

const program = resolve('dist/src/cli/main.js');
const probeProgram = resolve('native/build/sidetrace-probe');
const UID = 65532;
const ANSWER_LIMIT = 64 * 1024 * 1024;

/** The built probe. @throws {Error} with what is needed where it cannot be built */
export function buildProbe(): string {
  const made = spawnSync('make', ['-C', 'native', '-s'], { encoding: 'utf8' });
  if (made.status !== 0 || !existsSync(probeProgram))
    throw new Error(`Cannot build the probe: g++, make and libpcap-dev are needed: ${`${made.stderr ?? made.error?.message}`.slice(-500)}`);
  return probeProgram;
}

/** Who the daemon runs as: a user of its own where that may read the program, else root. */
function daemonUser(): string[] {
  const as = ['setpriv', `--reuid=${UID}`, `--regid=${UID}`, '--clear-groups', '--inh-caps=-all', '--bounding-set=-all', '--no-new-privs'];
  return spawnSync(as[0]!, [...as.slice(1), process.execPath, '--check', program]).status === 0 ? as : [];
}

export interface DaemonOptions {
  /** Name in records. */
  readonly node: string;
  /** A folder of its own; logs and sockets go there. */
  readonly folder: string;
  /** argv of the same program where the node is. */
  readonly enter: (argv: readonly string[]) => string[];
  readonly kubeconfig?: string;
  readonly probeWords?: readonly string[];
  readonly words?: readonly string[];
  /** MiB that V8's old generation may take: without a bound it grows as long as it likes before it collects, and a leak cannot be told from that. */
  readonly heapMiB?: number;
}

export class LiveDaemon {
  readonly node: string;
  readonly folder: string;
  readonly server: string;
  readonly #options: DaemonOptions;
  readonly #user = daemonUser();
  #probe: ChildProcess | undefined;
  #daemon: ChildProcess | undefined;
  #starts = 0;

  constructor(options: DaemonOptions) {
    this.node = options.node;
    this.folder = options.folder;
    this.#options = options;
    mkdirSync(options.folder, { recursive: true });
    chownSync(options.folder, UID, UID);
    chmodSync(options.folder, 0o755);
    this.server = `unix:${join(options.folder, 'daemon.sock')}`;
  }

  /** Where the programs wrote: for the message of a failure. */
  log(): string {
    const read = (name: string) => (existsSync(join(this.folder, name)) ? readFileSync(join(this.folder, name), 'utf8').slice(-2000) : '');
    return `${read(`probe.${this.#starts}.log`)}${read(`daemon.${this.#starts}.log`)}`;
  }

  startProbe(): void {
    this.#starts++;
    const words = ['--socket', join(this.folder, 'probe.sock'), '--peer-uid', `${UID}`, ...(this.#options.probeWords ?? [])];
    const log = join(this.folder, `probe.${this.#starts}.log`);
    this.#probe = start(this.#options.enter(['setpriv', `--regid=${UID}`, '--clear-groups', probeProgram, ...words]), {
      out: log,
      error: log,
    });
  }

  /** Both, until the daemon says that it is ready. */
  async start(): Promise<void> {
    this.startProbe();
    const { kubeconfig } = this.#options;
    const words = ['--node', this.node, '--probe-socket', join(this.folder, 'probe.sock'), '--stream-listen', this.server];
    words.push('--health-listen', `unix:${join(this.folder, 'health.sock')}`);
    if (kubeconfig === undefined) words.push('--kubernetes-source', 'none');
    else {
      const own = join(this.folder, 'kubeconfig');
      writeFileSync(own, readFileSync(kubeconfig), { mode: 0o600 });
      chownSync(own, UID, UID);
      words.push('--kubernetes-source', 'kubeconfig', '--kubernetes-kubeconfig', own);
    }
    const bound = this.#options.heapMiB === undefined ? [] : [`--max-old-space-size=${this.#options.heapMiB}`];
    const argv = [...this.#user, process.execPath, ...bound, program, 'daemon', ...words, ...(this.#options.words ?? [])];
    const log = join(this.folder, `daemon.${this.#starts}.log`);
    this.#daemon = start(this.#options.enter(argv), { out: log, error: log });
    await until(`"${this.node}" to be ready (${this.folder})`, 30, async () => {
      if (this.#daemon?.exitCode !== null || this.#daemon.signalCode !== null)
        throw new Error(
          `Cannot start the daemon of "${this.node}": it ended with ${this.#daemon?.exitCode ?? this.#daemon?.signalCode}: ${this.log()}`,
        );
      return (await this.health('/readyz').catch(() => ({ status: 0 }))).status === 200;
    });
  }

  /** Until it follows at least so many namespaces, each captured. */
  async capturing(atLeast: number, seconds = 60): Promise<DaemonStatus> {
    return until(`${atLeast} namespaces of "${this.node}" to be captured`, seconds, async () => {
      const status = await this.status();
      return status.namespaces.filter(({ state }) => state === 'capturing').length >= atLeast ? status : undefined;
    });
  }

  /** Until it has so many subscribers: what is told from here on, each of them hears. */
  async serving(subscribers: number): Promise<void> {
    await until(
      `${subscribers} subscribers of "${this.node}" to be served`,
      30,
      async () => (await this.status()).subscribers.length >= subscribers,
    );
  }

  async status(): Promise<DaemonStatus> {
    const { body } = await this.#get(join(this.folder, 'daemon.sock'), '/v1/status');
    const status = readStatus(JSON.parse(body));
    if (typeof status === 'string') throw new Error(status);
    return status;
  }

  health(path: string): Promise<{ status: number; body: string }> {
    return this.#get(join(this.folder, 'health.sock'), path);
  }

  /** The sum of a metric over its labels. */
  async metric(name: string): Promise<number> {
    const { body } = await this.health('/metrics');
    return body
      .split('\n')
      .filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`))
      .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
  }

  /** Its process: the daemon itself, since every word before it replaces itself by the next. */
  get pid(): number {
    return this.#daemon?.pid ?? 0;
  }
  get probePid(): number {
    return this.#probe?.pid ?? 0;
  }

  /** SIGTERM; the exit code and how long it took. */
  async stop(): Promise<{ code: number | string; ms: number }> {
    const begun = performance.now();
    this.#daemon?.kill('SIGTERM');
    const code = this.#daemon === undefined ? 0 : await ended(this.#daemon, 15);
    const ms = performance.now() - begun;
    this.#probe?.kill('SIGTERM');
    if (this.#probe !== undefined) await ended(this.#probe, 10);
    return { code, ms };
  }

  async killProbe(): Promise<void> {
    this.#probe?.kill('SIGKILL');
    if (this.#probe !== undefined) await ended(this.#probe, 5);
  }

  #get(socketPath: string, path: string): Promise<{ status: number; body: string }> {
    return new Promise((done, fail) => {
      const asked = http.get({ socketPath, path, timeout: 10_000 }, (answer) => {
        const parts: Buffer[] = [];
        let size = 0;
        answer.on('data', (part: Buffer) => {
          size += part.length;
          if (size > ANSWER_LIMIT) asked.destroy(new Error(`Cannot read "${path}": at most ${ANSWER_LIMIT} bytes are wanted`));
          else parts.push(part);
        });
        answer.on('end', () => done({ status: answer.statusCode ?? 0, body: Buffer.concat(parts).toString('utf8') }));
        answer.on('error', fail);
      });
      asked.on('timeout', () => asked.destroy(new Error(`Cannot ask "${path}" of "${this.node}": an answer within 10 s is wanted`)));
      asked.on('error', fail);
    });
  }
}

/** Resident memory in KiB, and open files, of a process. */
export function usage(pid: number): { rssKib: number; files: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const files = spawnSync('sh', ['-c', 'ls "/proc/$0/fd" | wc -l', `${pid}`], { encoding: 'utf8' });
  return { rssKib: Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0), files: Number(files.stdout) };
}
