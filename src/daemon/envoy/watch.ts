/**
 * Keeps the world's Envoy up to date: asks for versions in short intervals, and for the configuration when it has become another one.
 *
 * Nothing that a pod answers harms more than the knowledge of that pod: the last configuration that could be read stays, with the time since when it may be stale.
 */
import { createHash } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { BuiltValues } from '../../envoy/built-values.ts';
import { addServerInfo, type EnvoyConfig, parseClusters } from '../../envoy/config.ts';
import { DumpBuilder } from '../../envoy/dump-builder.ts';
import type { JsonPart } from '../../envoy/json-part.ts';
import { parseListeners } from '../../envoy/listener-status.ts';
import { errorText } from '../../net/error-text.ts';
import type { LiveWorld } from '../../world/live.ts';
import type { Log } from '../log.ts';
import { Turns } from '../turns.ts';
import { AdminClient, AdminError, type AdminHead, type AdminTimes } from './admin-client.ts';
import { nodeParts, type SharedParts } from './shared-parts.ts';
import { type AdminSlots, nodeLongAnswer } from './slots.ts';
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
  /** For the one answer longer than {@link LONG} that is read at a time. */
  readonly longAnswer?: AdminSlots;
  readonly times?: Partial<AdminTimes>;
  readonly random?: () => number;
  /** Where texts and values are kept that several configurations have in common; absent: those of this process. */
  readonly parts?: SharedParts;
  readonly built?: BuiltValues;
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
/** Of an answer that is only passed on. */
const MAX_OTHER = 16 * MEBIBYTE;
/** Of answers that are read at once. */
const MAX_CLUSTERS = 8 * MEBIBYTE;
const MAX_TEXT = 4 * MEBIBYTE;
/** So much of a dump is read before the time is looked at. */
const PIECE = 16 * 1024;
/** Beyond this a dump waits for others as long. */
const LONG = 16 * MEBIBYTE;
/** Of a dump as long as this everything is made ready in turns before it is used. */
const LARGE = 4 * MEBIBYTE;
/** Where nobody has ever answered, one asks at most this seldom. */
const NOBODY_MS = 30_000;
/** Where an Envoy was, it is likely to come back soon. */
const GONE_MS = 5000;
/** Between two readings of the configuration of which nobody knows that it changed. */
const PERHAPS_MS = 5000;
/** Reading takes at most these shares of the time: of what may have changed, and of what has. */
const SHARE_PERHAPS = 0.05;
const SHARE_CHANGED = 0.25;
const FORGETTING = 3;
/** Between two questions where somebody waits for the answer. */
const HURRY_MS = 1000;
const REASON_LENGTH = 400;

/** What was built of configurations, of all Envoys of this process. */
const nodeBuilt = new BuiltValues();

export class EnvoyWatch {
  readonly counters: EnvoyWatchCounters = { same: 0, changed: 0, failed: 0, dumpBytes: 0 };
  readonly #options: EnvoyWatchOptions;
  readonly #client: AdminClient;
  readonly #parts: SharedParts;
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
  #askedMs = 0;
  #resting: AbortController | undefined;
  #staleSinceMs: number | undefined;
  #heardMs: number | undefined;

  constructor(options: EnvoyWatchOptions) {
    this.#options = options;
    this.#parts = options.parts ?? nodeParts;
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
    this.#options.world.wantEnvoy = () => this.#hurry();
    this.#running ??= this.#run();
  }

  /** Something waits to be told what the configuration was: Envoy is asked before its turn. One that does not answer is not asked more often for that. */
  #hurry(): void {
    if (this.#failures === 0 && this.#now() - this.#askedMs >= HURRY_MS) this.#resting?.abort();
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
        this.#fail(errorText(error));
      }
      this.#resting = new AbortController();
      await sleep(this.#pauseMs(), undefined, { signal: AbortSignal.any([signal, this.#resting.signal]) }).catch(() => {});
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
    const askedMs = this.#now();
    this.#askedMs = askedMs;
    const versions = await this.#askVersions();
    const nowMs = this.#now();
    const change = compareVersions(this.#versions, versions);
    const restedMs = nowMs - this.#readMs;
    const due =
      change === 'perhaps'
        ? restedMs >= Math.max(PERHAPS_MS, this.#tookMs / SHARE_PERHAPS)
        : (change !== 'same' || this.#staleSinceMs !== undefined) && restedMs >= this.#tookMs / SHARE_CHANGED;
    if (!due) {
      if (change === 'same') this.#versions = versions;
      if (change === 'same' || change === 'perhaps') this.#confirm(askedMs);
      this.counters.same++;
      this.#heard(nowMs);
      return;
    }
    if (change === 'restarted') this.#options.log.info({ netns: this.#options.world.netns }, 'an Envoy began anew');
    await this.#readAll(nowMs);
    // What changed while it was read is read again next time.
    this.#versions = versions;
    this.#confirm(askedMs);
    this.#heard(nowMs);
  }

  #confirm(askedMs: number): void {
    this.#options.world.envoyConfirmed(new Date(askedMs).toISOString());
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
        const { status, body } = await this.#client.get(port, versionsPath, MAX_TEXT);
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
    const { config, digest, length } = await this.#readDump(readAt);
    if (digest === this.#digest) {
      this.counters.same++;
      world.envoyReadAt = readAt;
    } else {
      const completed = await this.#complete(config);
      const turns = new Turns();
      if (length >= LARGE) for (const _step of completed.prepare()) if (turns.over) await turns.rest();
      world.setEnvoyConfig(completed);
      this.#digest = digest;
      this.counters.changed++;
    }
    await this.#tried('listeners', async () => world.setListeners(parseListeners(await this.#body('/listeners?format=json', MAX_TEXT))));
    this.#readMs = nowMs;
    this.#tookMs = performance.now() - begunMs;
  }

  /** Reads it while it comes: it may be longer than what can be read at once without keeping others waiting. */
  async #readDump(readAt: string): Promise<{ config: EnvoyConfig; digest: string; length: number }> {
    const { world, built = nodeBuilt, longAnswer = nodeLongAnswer } = this.#options;
    const hash = createHash('sha256');
    let weight = 0;
    const added = (bytes: number) => {
      weight += bytes;
    };
    const builder = new DumpBuilder({ built, keep: (part, field) => this.#parts.keep(part, field, added) }, world.envoy?.configs.at(-1));
    const turns = new Turns();
    let length = 0;
    let giveBack: (() => void) | undefined;
    try {
      await this.#client.read(this.#port!, '/config_dump?include_eds', this.#maxDump, (head) => {
        this.#wantOk(head, '/config_dump');
        return async (chunk) => {
          length += chunk.length;
          this.counters.dumpBytes += chunk.length;
          if (length > LONG) giveBack ??= await longAnswer.take(false, this.#stopped.signal);
          hash.update(chunk);
          for (let at = 0; at < chunk.length; at += PIECE) {
            builder.add(chunk.subarray(at, at + PIECE));
            if (turns.over) await turns.rest();
          }
        };
      });
    } finally {
      giveBack?.();
    }
    const config = builder.finish(readAt, weight);
    return { config, digest: hash.digest('base64'), length };
  }

  /** With health and what is known of endpoints from elsewhere, and with the server's own words. */
  async #complete(config: EnvoyConfig): Promise<EnvoyConfig> {
    let completed = config;
    await this.#tried('clusters', async () => {
      const statuses = parseClusters(await this.#body('/clusters?format=json', MAX_CLUSTERS));
      completed = completed.withClusters(await this.#telling(config, statuses));
    });
    await this.#tried('server_info', async () => {
      completed = addServerInfo(completed, await this.#body('/server_info', MAX_TEXT));
    });
    return completed;
  }

  /** Of all statuses those that tell more than EDS: of clusters that it does not know, and of hosts that failed. The rest are counters. */
  async #telling(config: EnvoyConfig, statuses: ReadonlyMap<string, JsonPart>): Promise<Map<string, JsonPart>> {
    const telling = new Map<string, JsonPart>();
    const turns = new Turns();
    for (const [name, part] of statuses) {
      const { buffer, byteOffset, byteLength } = part.bytes;
      if (config.found?.assignments.has(name) !== true || Buffer.from(buffer, byteOffset, byteLength).includes('"failed_'))
        telling.set(name, this.#parts.keep(part, 'host_statuses'));
      if (turns.over) await turns.rest();
    }
    return telling;
  }

  /** A part without which the rest is still worth having. */
  async #tried(part: string, read: () => Promise<void>): Promise<void> {
    const { world } = this.#options;
    try {
      await read();
      world.unavailable.delete(part);
    } catch (error) {
      if (!(error instanceof AdminError) && !(error instanceof SyntaxError)) throw error;
      if (this.#stopped.signal.aborted) throw error;
      world.setUnavailable(part, error.message.slice(0, REASON_LENGTH));
    }
  }

  async #body(path: string, limit: number): Promise<Buffer> {
    const answer = await this.#client.get(this.#port!, path, limit);
    this.#wantOk(answer, path);
    return answer.body;
  }

  #wantOk({ status }: AdminHead, path: string): void {
    if (status !== 200)
      throw new AdminError(`Cannot read Envoy's ${path} on port ${this.#port}: status 200 is wanted, it answers ${status}`);
  }
}
