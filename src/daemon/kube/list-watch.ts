/**
 * The objects of one resource, kept as the API server has them: listed in pages, then followed by a watch.
 *
 * A watch that ends is taken up where it ended; where the server has forgotten that version (410) everything is listed again, and takes the place of what was there only when it is whole.
 * While the server cannot be reached the objects stay as they were, and `staleSinceMs` tells since when.
 * Source: Kubernetes API concepts, "Efficient detection of changes", "Retrieving large results sets in chunks", "Watch bookmarks".
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type JsonObject, listOf, objectOf, textOf } from '../../kube/fields.ts';
import { type BackOff, backOffMs } from '../../net/back-off.ts';
import { errorText } from '../../net/error-text.ts';
import type { Log } from '../log.ts';
import type { KubeApi } from './api.ts';
import { KubeApiError } from './api-error.ts';

/** Messages are constant, what varies is in the fields. */
export type KubeLog = Pick<Log, 'info' | 'warn'>;

export interface ListWatchOptions<T> {
  readonly api: KubeApi;
  /** `/api/v1/pods` */
  readonly path: string;
  /** `spec.nodeName=node-a` */
  readonly fieldSelector?: string;
  /** What is kept of an object; `undefined`: nothing. */
  readonly read: (item: unknown) => T | undefined;
  /** The objects are others now: one of them, or (no key) all. */
  readonly onChange: (key: string | undefined) => void;
  readonly log: KubeLog;
  readonly pageSize?: number;
  readonly backOff?: BackOff;
  readonly random?: () => number;
  readonly now?: () => number;
}

/** How one resource is followed. */
export interface ListWatchState {
  readonly path: string;
  /** Listed at least once. */
  readonly synced: boolean;
  /** Milliseconds of the Unix epoch; absent: the watch is open. */
  readonly staleSinceMs?: number;
  /** Why it is stale. */
  readonly reason?: string;
  /** When the server last said anything, be it that nothing is new; NaN: never. */
  readonly heardMs: number;
  /** When the watch was last opened; NaN: never. */
  readonly openedMs: number;
  readonly objects: number;
  readonly lists: number;
  readonly watches: number;
}

const FIRST_PAGE = 100;
const MAX_PAGE = 1000;
/** A page of about this length is read within a few milliseconds. */
const PAGE_LENGTH = 1024 * 1024;
const MAX_OBJECTS = 200_000;
const MAX_TOKEN_LENGTH = 16 * 1024;
/** Items are read in turns no longer than this. */
const TURN_MS = 5;
/** The server ends a watch after this; not all at once. */
const WATCH_SECONDS = 300;
/** A watch that lived so long was a good one: the next failure is a first one. */
const GOOD_WATCH_MS = 5000;
/** Asked for a thing that is forbidden or unknown, there is no use in asking often. */
const REFUSED_MS = 30_000;
const usualBackOff: BackOff = { firstMs: 500, mostMs: 10_000 };

/** The version from which the watch was to go on is forgotten. */
class GoneError extends Error {}

/** `namespace/name`: a name is used again only after the object that had it is gone. */
function keyOf(item: JsonObject): string | undefined {
  const { namespace, name } = objectOf(item.metadata);
  const text = textOf(name);
  return text === undefined ? undefined : `${textOf(namespace) ?? ''}/${text}`;
}

function versionOf(item: JsonObject): string | undefined {
  const version = textOf(objectOf(item.metadata).resourceVersion);
  return version === undefined || version === '' ? undefined : version;
}

export class ListWatch<T> {
  readonly #options: ListWatchOptions<T>;
  readonly #random: () => number;
  readonly #now: () => number;
  readonly #stopped = new AbortController();
  #objects = new Map<string, T>();
  #version: string | undefined;
  #synced = false;
  #staleSinceMs: number | undefined;
  #reason: string | undefined;
  #heardMs = Number.NaN;
  #openedMs = Number.NaN;
  #failures = 0;
  #lists = 0;
  #watches = 0;
  #running: Promise<void> | undefined;

  constructor(options: ListWatchOptions<T>) {
    this.#options = options;
    this.#random = options.random ?? Math.random;
    this.#now = options.now ?? Date.now;
  }

  /** By `namespace/name`. */
  get objects(): ReadonlyMap<string, T> {
    return this.#objects;
  }

  get state(): ListWatchState {
    return {
      path: this.#options.path,
      synced: this.#synced,
      heardMs: this.#heardMs,
      openedMs: this.#openedMs,
      objects: this.#objects.size,
      lists: this.#lists,
      watches: this.#watches,
      ...(this.#staleSinceMs === undefined ? {} : { staleSinceMs: this.#staleSinceMs }),
      ...(this.#reason === undefined ? {} : { reason: this.#reason }),
    };
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Ends when nothing is under way any more. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#stopped.signal.aborted) {
      const begunMs = this.#now();
      try {
        if (this.#version === undefined) this.#version = await this.#list();
        await this.#watch(this.#version);
        // A server that ends each watch at once is not asked without a pause.
        if (this.#now() - begunMs < GOOD_WATCH_MS) this.#failures++;
        else this.#failures = 0;
      } catch (error) {
        if (this.#stopped.signal.aborted) return;
        if (this.#now() - begunMs >= GOOD_WATCH_MS) this.#failures = 0;
        this.#fail(error);
      }
      if (this.#failures > 0) await this.#pause();
    }
  }

  #waitMs = 0;

  #fail(error: unknown): void {
    this.#failures++;
    this.#waitMs = 0;
    if (error instanceof GoneError || (error instanceof KubeApiError && error.status === 410)) {
      this.#version = undefined;
      this.#options.log.info({ path: this.#options.path }, 'the version to go on from is gone: listing again');
    }
    const message = errorText(error);
    if (error instanceof KubeApiError) {
      if (error.status === 401 || error.status === 403 || error.status === 404) this.#waitMs = REFUSED_MS;
      this.#waitMs = Math.max(this.#waitMs, error.retryAfterMs ?? 0);
    }
    if (this.#staleSinceMs === undefined) {
      this.#staleSinceMs = Number.isNaN(this.#heardMs) ? this.#now() : this.#heardMs;
      this.#options.log.warn({ path: this.#options.path, reason: message }, 'objects are not followed any more');
    }
    this.#reason = message;
  }

  async #pause(): Promise<void> {
    const ms = Math.max(backOffMs(this.#options.backOff ?? usualBackOff, this.#failures, this.#random()), this.#waitMs);
    this.#waitMs = 0;
    await sleep(ms, undefined, { signal: this.#stopped.signal }).catch(() => {});
  }

  #url(query: { readonly [name: string]: string }): string {
    const { path, fieldSelector } = this.#options;
    return `${path}?${new URLSearchParams({ ...(fieldSelector === undefined ? {} : { fieldSelector }), ...query })}`;
  }

  /** Everything there is, by then. @returns the version to watch from */
  async #list(): Promise<string> {
    const { api, pageSize } = this.#options;
    const found = new Map<string, T>();
    const begunMs = this.#now();
    let limit = pageSize ?? FIRST_PAGE;
    let token = '';
    let version = '';
    this.#lists++;
    do {
      const url = this.#url({ limit: String(limit), ...(token === '' ? {} : { continue: token }) });
      const { value, length } = await api.get(url, this.#stopped.signal);
      const page = objectOf(value);
      const metadata = objectOf(page.metadata);
      const items = listOf(page.items, MAX_OBJECTS);
      if (!Array.isArray(page.items) || versionOf(page) === undefined)
        throw new KubeApiError(`Cannot read ${this.#options.path}: a list with "items" and a resourceVersion is wanted`);
      await this.#readItems(items, found);
      version = versionOf(page)!;
      const next = metadata.continue;
      token = typeof next === 'string' && next.length <= MAX_TOKEN_LENGTH ? next : '';
      if (pageSize === undefined && items.length > 0)
        limit = Math.max(1, Math.min(MAX_PAGE, Math.floor((PAGE_LENGTH * items.length) / Math.max(length, 1))));
      if (found.size > MAX_OBJECTS)
        throw new KubeApiError(`Cannot keep ${this.#options.path}: at most ${MAX_OBJECTS} objects are wanted, there are more`);
    } while (token !== '');
    this.#objects = found;
    // All pages show the state of the first one.
    this.#heardMs = begunMs;
    this.#synced = true;
    this.#options.onChange(undefined);
    return version;
  }

  async #readItems(items: readonly unknown[], into: Map<string, T>): Promise<void> {
    let turnEndsMs = performance.now() + TURN_MS;
    for (const item of items) {
      const key = keyOf(objectOf(item));
      const kept = key === undefined ? undefined : this.#options.read(item);
      if (key !== undefined && kept !== undefined) into.set(key, kept);
      if (performance.now() < turnEndsMs) continue;
      await new Promise((resolve) => setImmediate(resolve));
      turnEndsMs = performance.now() + TURN_MS;
    }
  }

  async #watch(from: string): Promise<void> {
    this.#watches++;
    const seconds = WATCH_SECONDS + Math.floor(this.#random() * WATCH_SECONDS);
    const url = this.#url({ watch: '1', allowWatchBookmarks: 'true', resourceVersion: from, timeoutSeconds: String(seconds) });
    const opened = () => {
      if (this.#staleSinceMs !== undefined) this.#options.log.info({ path: this.#options.path }, 'objects are followed again');
      this.#openedMs = this.#now();
      this.#staleSinceMs = undefined;
      this.#reason = undefined;
    };
    await this.#options.api.watch(url, opened, (line) => this.#event(line), this.#stopped.signal);
  }

  #event(line: Buffer): void {
    let event: JsonObject;
    try {
      event = objectOf(JSON.parse(line.toString('utf8')));
    } catch {
      throw new KubeApiError(
        `Cannot read an event of ${this.#options.path}: JSON is wanted, ${JSON.stringify(line.toString('utf8', 0, 80))} is there`,
      );
    }
    const item = objectOf(event.object);
    if (event.type === 'ERROR') {
      const code = item.code === undefined ? undefined : Number(item.code);
      const message = `Cannot follow ${this.#options.path}: ${code ?? ''} ${textOf(item.message) ?? ''}`;
      throw code === 410 ? new GoneError(message) : new KubeApiError(message, code);
    }
    this.#heardMs = this.#now();
    const key = keyOf(item);
    if (event.type === 'ADDED' || event.type === 'MODIFIED') this.#put(key, item);
    else if (event.type === 'DELETED' && key !== undefined && this.#objects.delete(key)) this.#options.onChange(key);
    this.#version = versionOf(item) ?? this.#version;
  }

  #put(key: string | undefined, item: JsonObject): void {
    const kept = key === undefined ? undefined : this.#options.read(item);
    if (key === undefined || kept === undefined) return;
    if (this.#objects.size >= MAX_OBJECTS && !this.#objects.has(key))
      throw new KubeApiError(`Cannot keep ${this.#options.path}: at most ${MAX_OBJECTS} objects are wanted, there are more`);
    this.#objects.set(key, kept);
    this.#options.onChange(key);
  }
}
