/**
 * Merges the records of several servers by their time. Each server's own order is kept; between servers a record waits until every other one that is there has given something later, but no longer than a window:
 * a server that is silent, slow or dead delays the others by that much and never stops them.
 *
 * Times are nanoseconds on one clock (the caller takes the nodes' offsets away), the window is in milliseconds of the caller's own clock, by which records arrive.
 */

/** Records that may wait at once; beyond, the oldest go. */
const WAITING_MAX = 65_536;

interface Waiting<T> {
  readonly keyNs: number;
  readonly arrivedMs: number;
  readonly value: T;
}

interface Lane<T> {
  /** What waits, from `at` on. */
  queue: Waiting<T>[];
  at: number;
  lastKeyNs: number;
  present: boolean;
}

export class MergeWindow<T> {
  readonly #windowMs: number;
  readonly #lanes = new Map<string, Lane<T>>();
  #waiting = 0;

  constructor(windowMs: number) {
    this.#windowMs = windowMs;
  }

  get size(): number {
    return this.#waiting;
  }

  /** A server is there: others wait for it. */
  join(server: string): void {
    this.#lane(server).present = true;
  }

  /** It has gone: nobody waits for it any more; what it gave still comes out in order. */
  leave(server: string): void {
    this.#lane(server).present = false;
  }

  /** @param timeNs of the record; `undefined` for one without a time of its own: it goes with the one before it */
  push(server: string, timeNs: number | undefined, value: T, nowMs: number): void {
    const lane = this.#lane(server);
    const keyNs = Math.max(timeNs ?? lane.lastKeyNs, lane.lastKeyNs);
    lane.lastKeyNs = keyNs;
    lane.queue.push({ keyNs, arrivedMs: nowMs, value });
    this.#waiting++;
  }

  /** What may go now, in order. */
  take(nowMs: number): T[] {
    const out: T[] = [];
    for (;;) {
      const first = this.#first();
      if (first === undefined) return out;
      const head = first.queue[first.at]!;
      if (this.#waiting <= WAITING_MAX && head.arrivedMs + this.#windowMs > nowMs && this.#mayBeEarlier(first)) return out;
      out.push(head.value);
      this.#advance(first);
    }
  }

  /** Everything that waits, in order. */
  rest(): T[] {
    const out: T[] = [];
    for (let first = this.#first(); first !== undefined; first = this.#first()) {
      out.push(first.queue[first.at]!.value);
      this.#advance(first);
    }
    return out;
  }

  #lane(server: string): Lane<T> {
    let lane = this.#lanes.get(server);
    if (lane === undefined) {
      lane = { queue: [], at: 0, lastKeyNs: Number.NEGATIVE_INFINITY, present: true };
      this.#lanes.set(server, lane);
    }
    return lane;
  }

  /** The lane whose head is the earliest; at the same time the one that was there first. */
  #first(): Lane<T> | undefined {
    let first: Lane<T> | undefined;
    for (const lane of this.#lanes.values()) {
      const head = lane.queue[lane.at];
      if (head !== undefined && (first === undefined || head.keyNs < first.queue[first.at]!.keyNs)) first = lane;
    }
    return first;
  }

  /** Might somebody who has nothing waiting still give something earlier? */
  #mayBeEarlier(first: Lane<T>): boolean {
    for (const lane of this.#lanes.values()) if (lane !== first && lane.present && lane.at >= lane.queue.length) return true;
    return false;
  }

  #advance(lane: Lane<T>): void {
    this.#waiting--;
    lane.at++;
    if (lane.at < 1024 && lane.at < lane.queue.length) return;
    lane.queue = lane.queue.slice(lane.at);
    lane.at = 0;
  }
}
