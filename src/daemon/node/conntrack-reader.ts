/**
 * Connection tracking of one namespace: first the events are listened to, then the table is read, and what happened meanwhile is applied after it. Where the kernel had to drop
 * events the table is read again, at most every 30 s.
 */
import type { ConntrackEvent } from '../../netfilter/conntrack.ts';
import type { ConntrackEntry } from '../../netfilter/conntrack-entry.ts';
import { asEvent, decodeConntrackBuffer } from '../../netfilter/conntrack-netlink.ts';
import { nowNs } from './engine-boundary.ts';
import { LossCounter } from './loss-counter.ts';
import type { ProbeStream } from './probe-link.ts';
import { partFailed, type ReadingScope } from './reading.ts';

/** What the kernel may keep for us, where the probe does not come to read it; taken only when it is used. */
const RECEIVE_BUFFER = 8 * 1024 * 1024;
const RESYNC_EVERY_MS = 30_000;
const QUIET_MS = 100;
const LONGEST_PIECE_MS = 10;
const RETRY_MS = 30_000;
/** Events that may wait for the end of a dump: beyond that they are applied at once. */
const MOST_WAITING = 65_536;

export class ConntrackReader {
  readonly #scope: ReadingScope;
  readonly #lost: LossCounter;
  #stream: ProbeStream | undefined;
  #ended: (() => void) | undefined;
  /** Events since the dump that runs was asked for. */
  #waiting: ConntrackEvent[] | undefined;
  #events = 0;
  #overruns = 0;
  #resyncedMs = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(scope: ReadingScope) {
    this.#scope = scope;
    this.#lost = new LossCounter((count, exact) =>
      scope.lose({
        source: 'conntrack_events',
        count,
        exact,
        detail: 'the kernel had no room for events of connection tracking; the table is read again',
      }),
    );
  }

  /** Events that were lost so far. */
  get lost(): number {
    return this.#lost.total;
  }

  start(): void {
    this.#overruns = 0;
    this.#events = 0;
    this.#stopped = false;
    this.#stream = this.#scope.link.events(this.#scope.cookie, 'conntrack', RECEIVE_BUFFER, {
      opened: () => this.#dump(),
      netlink: (bytes, seconds, nanoseconds) => this.#take(bytes, { seconds, nanoseconds }),
      lost: (overruns, events) => {
        this.#lost.add(events - this.#events);
        this.#events = events;
        if (overruns === this.#overruns) return;
        this.#overruns = overruns;
        this.#resync();
      },
      end: (end) => {
        this.#stream = undefined;
        clearTimeout(this.#timer);
        this.#lost.flush();
        this.#ended?.();
        if (this.#stopped || (end.code !== 'failed' && end.code !== 'refused')) return;
        this.#scope.world.setUnavailable('conntrack', end.text);
        this.#scope.log.warn({ reason: end.text }, 'connection tracking of a namespace cannot be followed');
        this.#timer = setTimeout(() => this.start(), RETRY_MS);
      },
    });
  }

  /** Resolves when all events that came before have been applied. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    const stream = this.#stream;
    if (stream === undefined) return;
    await new Promise<void>((resolve) => {
      this.#ended = resolve;
      stream.close();
    });
  }

  #take(bytes: Uint8Array, at: { seconds: number; nanoseconds: number }): void {
    const events: ConntrackEvent[] = [];
    for (const message of decodeConntrackBuffer(bytes).messages) {
      const event = asEvent(message);
      // The kernel's own stamp is seldom there; the probe's says when the event was read.
      if (event !== undefined) events.push(event.at === undefined ? { ...event, at } : event);
    }
    this.#scope.counters.conntrackEvents += events.length;
    if (this.#waiting !== undefined && this.#waiting.length + events.length <= MOST_WAITING) this.#waiting.push(...events);
    else this.#scope.world.addConntrackEvents(events, nowNs(this.#scope.base));
  }

  #resync(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(
      () => {
        this.#resyncedMs = performance.now();
        this.#dump();
      },
      // Events come in bursts, and so do losses: the dump is for what is left after one.
      Math.max(QUIET_MS, this.#resyncedMs + RESYNC_EVERY_MS - performance.now()),
    );
  }

  #dump(): void {
    if (this.#stream === undefined) return;
    if (this.#waiting !== undefined) {
      this.#resync();
      return;
    }
    this.#waiting = [];
    const { world, base } = this.#scope;
    readConntrackTable(this.#scope)
      .then((entries) => world.setConntrack(entries, nowNs(base)))
      .catch((error: unknown) => partFailed(this.#scope, 'conntrack', error))
      .finally(() => {
        const waiting = this.#waiting ?? [];
        this.#waiting = undefined;
        if (waiting.length > 0) world.addConntrackEvents(waiting, nowNs(base));
      });
  }
}

/** The table as it is now. @throws {ProbeLinkError} */
export async function readConntrackTable({ link, cookie }: Pick<ReadingScope, 'link' | 'cookie'>): Promise<ConntrackEntry[]> {
  const entries: ConntrackEntry[] = [];
  let begun = performance.now();
  for (const bytes of await link.dump(cookie, 'conntrack')) {
    for (const { entry } of decodeConntrackBuffer(bytes).messages) entries.push(entry);
    // A table may hold a quarter of a million entries: others must have their turn.
    if (performance.now() - begun < LONGEST_PIECE_MS) continue;
    await new Promise((go) => setImmediate(go));
    begun = performance.now();
  }
  return entries;
}
