/**
 * Keeps the world's Envoy up to date: asks for versions in short intervals, and for the configuration when it has become another one.
 *
 * Nothing that a pod answers harms more than the knowledge of that pod: the last configuration that could be read stays, with the time since when it may be stale.
 */
import { createHash } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { addClusters, addServerInfo, type EnvoyConfig, parseConfigDump } from '../../envoy/config.ts';
import { parseListeners } from '../../envoy/listener-status.ts';
import type { LiveWorld } from '../../world/live.ts';
import type { Log } from '../log.ts';
import { AdminClient, AdminError, type AdminTimes } from './admin-client.ts';
import type { AdminSlots } from './slots.ts';
import { compareVersions, type EnvoyVersions, parseVersions, versionsPath } from './versions.ts';

export interface EnvoyWatchOptions {
  /** A connection to that port of 127.0.0.1 inside the namespace. */
  readonly open: (port: number) => Promise<Duplex>;
  readonly world: LiveWorld;
  readonly log: Pick<Log, 'info' | 'warn'>;
  /** Between two questions for versions. */
  readonly intervalMs?: number;
  /** Tried in this order until one answers as Envoy does. */
  readonly ports?: readonly number[];
  readonly maxDumpBytes?: number;
  /** Milliseconds of the Unix epoch. */
  readonly now?: () => number;
  readonly slots?: AdminSlots;
  readonly times?: Partial<AdminTimes>;
  readonly random?: () => number;
}

/** Running counts. */
export interface EnvoyWatchCounters {
  same: number;
  changed: number;
  failed: number;
  dumpBytes: number;
}

const MEBIBYTE = 1024 * 1024;
const MAX_DUMP = 240 * MEBIBYTE;
const MAX_OTHER = 16 * MEBIBYTE;
/** Where nobody has ever answered, one asks at most this seldom. */
const NOBODY_MS = 30_000;
/** Where an Envoy was, it is likely to come back soon. */
const GONE_MS = 5000;
/** Between two readings of the configuration of which nobody knows that it changed. */
const PERHAPS_MS = 5000;
/** Reading takes at most this share of the time. */
const SHARE = 0.05;
const FORGETTING = 3;
const REASON_LENGTH = 400;

export class EnvoyWatch {
  readonly counters: EnvoyWatchCounters = { same: 0, changed: 0, failed: 0, dumpBytes: 0 };
  readonly #options: EnvoyWatchOptions;
  readonly #client: AdminClient;
  readonly #ports: readonly number[];
  readonly #now: () => number;
  readonly #stopped = new AbortController();
  #running: Promise<void> | undefined;
  #port: number | undefined;
  #versions: EnvoyVersions | undefined;
  /** Of the dump that the world has. */
  #digest = '';
  #readMs = Number.NEGATIVE_INFINITY;
  #tookMs = 0;
  #failures = 0;
  #staleSinceMs: number | undefined;
  #heardMs: number | undefined;

  constructor(options: EnvoyWatchOptions) {
    this.#options = options;
    this.#ports = options.ports ?? [15000];
    this.#now = options.now ?? Date.now;
    this.#client = new AdminClient({
      open: options.open,
      ...(options.slots === undefined ? {} : { slots: options.slots }),
      ...(options.times === undefined ? {} : { times: options.times }),
    });
  }

  /** RFC 3339: since when the configuration that the world has may be an old one; absent: it is not. */
  get staleSince(): string | undefined {
    return this.#staleSinceMs === undefined ? undefined : new Date(this.#staleSinceMs).toISOString();
  }

  start(): void {
    this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#client.close();
    await this.#running;
  }

  /**
   * What Envoy answers to a path that reads.
   *
   * @throws {AdminPathError} for any other path
   * @throws {AdminError} when there is no answer
   */
  async get(path: string): Promise<{ status: number; type: string; body: Uint8Array }> {
    const limit = /^\/?config_dump/.test(path) ? this.#maxDump : MAX_OTHER;
    if (this.#port !== undefined) return this.#client.get(this.#port, path, limit);
    let fault: unknown;
    for (const port of this.#ports)
      try {
        return await this.#client.get(port, path, limit);
      } catch (error) {
        if (!(error instanceof AdminError) || !error.unreachable) throw error;
        fault = error;
      }
    throw fault;
  }

  get #maxDump(): number {
    return Math.min(this.#options.maxDumpBytes ?? MAX_DUMP, MAX_DUMP);
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      try {
        await this.#poll();
        this.#failures = 0;
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof AdminError) && !(error instanceof SyntaxError))
          this.#options.log.warn({ err: error }, 'the configuration of an Envoy could not be read');
        this.#fail(error instanceof Error ? error.message : String(error));
      }
      await sleep(this.#pauseMs(), undefined, { signal }).catch(() => {});
    }
  }

  #pauseMs(): number {
    const interval = this.#options.intervalMs ?? 1000;
    const most = this.#heardMs === undefined ? NOBODY_MS : GONE_MS;
    const ms = Math.max(interval, Math.min(most, interval * 2 ** Math.min(this.#failures, 16)));
    // Two hundred pods are not asked in the same moment.
    return ms * (0.9 + 0.2 * (this.#options.random ?? Math.random)());
  }

  #fail(reason: string): void {
    this.#failures++;
    this.counters.failed++;
    // It may have come back on another port.
    if (this.#failures >= FORGETTING) this.#port = undefined;
    const { world } = this.#options;
    if (this.#heardMs === undefined) {
      world.setUnavailable('config_dump', reason.slice(0, REASON_LENGTH));
      return;
    }
    this.#staleSinceMs ??= this.#heardMs;
    world.setUnavailable('config_dump', `stale since ${this.staleSince}: ${reason.slice(0, REASON_LENGTH)}`);
  }

  async #poll(): Promise<void> {
    const versions = await this.#askVersions();
    const nowMs = this.#now();
    const change = compareVersions(this.#versions, versions);
    const pause = Math.max(PERHAPS_MS, this.#tookMs / SHARE);
    const due = change === 'perhaps' ? nowMs - this.#readMs >= pause : change !== 'same' || this.#staleSinceMs !== undefined;
    if (!due) {
      if (change === 'same') this.#versions = versions;
      this.counters.same++;
      this.#heard(nowMs);
      return;
    }
    if (change === 'restarted') this.#options.log.info({ netns: this.#options.world.netns }, 'an Envoy began anew');
    await this.#readAll(nowMs);
    // What changed while it was read is read again next time.
    this.#versions = versions;
    this.#heard(nowMs);
  }

  #heard(nowMs: number): void {
    this.#heardMs = nowMs;
    if (this.#staleSinceMs === undefined) return;
    this.#staleSinceMs = undefined;
    this.#options.world.unavailable.delete('config_dump');
  }

  async #askVersions(): Promise<EnvoyVersions> {
    let fault: unknown;
    for (const port of this.#port === undefined ? this.#ports : [this.#port])
      try {
        const { status, body } = await this.#client.get(port, versionsPath, MAX_OTHER);
        if (status !== 200) throw new AdminError(`Cannot read Envoy's /stats on port ${port}: status 200 is wanted, it answers ${status}`);
        const versions = parseVersions(body.toString('utf8'));
        if (!versions.known)
          throw new AdminError(
            `Cannot read Envoy's /stats on port ${port}: statistics such as "server.live: 1" are wanted, ${JSON.stringify(body.toString('utf8', 0, 60))} is there`,
          );
        this.#port = port;
        return versions;
      } catch (error) {
        fault = error;
      }
    throw fault;
  }

  async #readAll(nowMs: number): Promise<void> {
    const { world } = this.#options;
    const begunMs = performance.now();
    const readAt = new Date(nowMs).toISOString();
    const dump = await this.#body('/config_dump?include_eds', this.#maxDump);
    this.counters.dumpBytes += dump.length;
    const digest = createHash('sha256').update(dump).digest('base64');
    if (digest === this.#digest) {
      this.counters.same++;
      world.envoyReadAt = readAt;
    } else {
      world.setEnvoyConfig(await this.#complete(parseConfigDump(dump, { readAt })));
      this.#digest = digest;
      this.counters.changed++;
    }
    world.setListeners(parseListeners(await this.#body('/listeners?format=json', MAX_OTHER)));
    this.#readMs = nowMs;
    this.#tookMs = performance.now() - begunMs;
  }

  async #complete(config: EnvoyConfig): Promise<EnvoyConfig> {
    const clusters = addClusters(config, await this.#body('/clusters?format=json', MAX_OTHER));
    return addServerInfo(clusters, await this.#body('/server_info', MAX_OTHER));
  }

  async #body(path: string, limit: number): Promise<Buffer> {
    const { status, body } = await this.#client.get(this.#port!, path, limit);
    if (status !== 200)
      throw new AdminError(`Cannot read Envoy's ${path} on port ${this.#port}: status 200 is wanted, it answers ${status}`);
    return body;
  }
}
