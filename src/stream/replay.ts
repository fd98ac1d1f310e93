/**
 * Serves one subscriber from the ring until it has caught up: as fast as it reads, in slices that leave the event loop free.
 * What the ring lets go before the subscriber came to it is told as lost.
 */
import type { AnyRecord } from '../record/record.ts';
import { Judge, type Knowledge, SLICE_MS } from './judge.ts';
import type { Ring } from './ring.ts';
import type { Selection } from './selection.ts';
import { Selector } from './selector.ts';
import type { Subscriber } from './subscriber.ts';

/** Rows looked at in one slice. */
const SLICE_ROWS = 1000;
/** It goes on when less than so many bytes wait for the subscriber, or half of its queue. */
const AHEAD_BYTES = 1024 * 1024;

export interface ReplayStart {
  /** The first record to look at. */
  readonly seq: number;
  /** Only so many of the end, of each type. */
  readonly last: number | undefined;
  readonly until: string | undefined;
}

export class Replay {
  readonly subscriber: Subscriber;
  readonly selector: Selector;
  readonly #ring: Ring;
  readonly #knowledge: Knowledge;
  readonly #start: ReplayStart;
  readonly #clock: () => number;
  #cursor: number;
  #scheduled = false;
  #stopped = false;
  readonly #caughtUp: (replay: Replay) => void;

  constructor(
    subscriber: Subscriber,
    selection: Selection,
    start: ReplayStart,
    deps: { readonly ring: Ring; readonly knowledge: Knowledge; readonly clock: () => number },
    caughtUp: (replay: Replay) => void,
  ) {
    this.subscriber = subscriber;
    this.#ring = deps.ring;
    this.#knowledge = deps.knowledge;
    this.#clock = deps.clock;
    this.#start = start;
    this.#cursor = start.seq;
    this.#caughtUp = caughtUp;
    this.selector = new Selector(selection, deps.knowledge, start.seq - 1, (message) => subscriber.offer(message));
  }

  begin(): void {
    this.subscriber.begin(this.#start.seq - 1);
    this.subscriber.onRoom = () => this.#schedule();
    if (this.#start.last !== undefined) void this.#findLast(this.#start.last);
    else this.#schedule();
  }

  stop(): void {
    this.#stopped = true;
    this.subscriber.onRoom = undefined;
  }

  /** Judging was not done in its time: goes on in a moment. */
  again(): void {
    this.#schedule(SLICE_MS);
  }

  /** @param restMs leaves the event loop to others for so long */
  #schedule(restMs = 0): void {
    if (this.#scheduled || this.#stopped) return;
    this.#scheduled = true;
    const go = (): void => {
      this.#scheduled = false;
      if (!this.#stopped && !this.subscriber.ended) this.#step();
    };
    if (restMs === 0) setImmediate(go);
    else setTimeout(go, restMs);
  }

  #step(): void {
    let rows = 0;
    const { judge } = this.selector;
    const begun = performance.now();
    while (rows < SLICE_ROWS) {
      if (this.subscriber.queuedBytes > Math.min(AHEAD_BYTES, this.subscriber.options.queueBytes / 2)) return;
      if (performance.now() - begun >= SLICE_MS || (judge.held > SLICE_ROWS && !judge.advance(this.#clock()))) {
        this.#schedule(SLICE_MS);
        return;
      }
      this.#skipGone();
      const batch = this.#ring.find(this.#cursor);
      if (batch === undefined) {
        this.#caughtUp(this);
        return;
      }
      const from = this.#cursor - batch.seq;
      this.#cursor = batch.last + 1;
      rows += batch.length - from;
      judge.feed(batch, from, this.#clock());
    }
    this.#schedule();
  }

  #skipGone(): void {
    const { oldest } = this.#ring;
    if (this.#cursor >= oldest) return;
    const gone = oldest - this.#cursor;
    const { selection } = this.selector;
    const detail = `The subscriber read the past more slowly than new records came: ${gone} records were let go before it came to them`;
    this.selector.judge.advance(this.#clock(), this.#cursor);
    this.subscriber.miss(gone, oldest - 1, selection.all, 'subscriber_queue', detail);
    this.selector.skip(oldest - 1);
    this.#cursor = oldest;
  }

  /** Looks at all of the ring for where the last `count` records of each type begin. */
  async #findLast(count: number): Promise<void> {
    const found = new Map<AnyRecord['type'], number[]>();
    const judge = new Judge(this.selector.selection, this.#knowledge, (batch, rows) => {
      const seqs = found.get(batch.type) ?? [];
      for (const row of rows) seqs.push(batch.seq + row);
      found.set(batch.type, seqs.length > 2 * count ? seqs.slice(-count) : seqs);
    });
    if (this.selector.selection.all) this.#findLastOfAll(count, found);
    else {
      let rows = 0;
      for (let at = this.#cursor; ; ) {
        const batch = this.#ring.find(Math.max(at, this.#ring.oldest));
        if (batch === undefined) break;
        judge.feed(batch, Math.max(0, at - batch.seq), Number.POSITIVE_INFINITY);
        at = batch.last + 1;
        rows += batch.length;
        while (judge.held > 0 || rows >= SLICE_ROWS) {
          rows = 0;
          this.selector.judge.spent = judge.spent;
          await new Promise((resolve) => setTimeout(resolve, judge.held > 0 ? SLICE_MS : 0));
          if (this.#stopped || this.subscriber.ended) return;
          judge.advance(Number.POSITIVE_INFINITY);
        }
      }
    }
    const end = this.#ring.newest + 1;
    const firstOf = (type: AnyRecord['type']): number => (count === 0 ? undefined : found.get(type)?.slice(-count)[0]) ?? end;
    const from = { flow: firstOf('flow'), path: firstOf('path'), finding: firstOf('finding') };
    const begin = Math.min(from.flow, from.path, from.finding);
    this.selector.from = { ...from, lost: begin, total: begin };
    this.#cursor = Math.max(begin, this.#ring.oldest);
    this.selector.skip(this.#cursor - 1);
    this.subscriber.begin(this.#cursor - 1);
    this.#schedule();
  }

  /** Whole batches count: nothing has to be looked at. */
  #findLastOfAll(count: number, found: Map<AnyRecord['type'], number[]>): void {
    const wanted = new Map<AnyRecord['type'], number>([
      ['flow', count],
      ['path', count],
      ['finding', count],
    ]);
    for (const batch of this.#ring.backwards()) {
      const left = wanted.get(batch.type);
      if (left === undefined || left === 0) continue;
      const taken = Math.min(left, batch.length);
      wanted.set(batch.type, left - taken);
      // Only the smallest number counts.
      found.set(batch.type, [batch.last - taken + 1]);
      if ([...wanted.values()].every((rest) => rest === 0)) return;
    }
  }
}
