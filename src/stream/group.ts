/** Subscribers that want the same: each record is judged once, and each message made once, for all of them. */
import type { Batch } from './batch.ts';
import { HELD_MAX, type Knowledge } from './judge.ts';
import type { Selection } from './selection.ts';
import { Selector } from './selector.ts';
import type { Subscriber } from './subscriber.ts';

/** Of each second, this much may go into the filters of one group. */
const BUSY_MS = 250;
/** So many seconds one after the other may be over it. */
const BUSY_SECONDS = 3;

export class Group {
  readonly key: string;
  readonly members = new Set<Subscriber>();
  readonly selector: Selector;
  readonly #clock: () => number;
  #spent = 0;
  #busySeconds = 0;

  /** @param key of those who join; others have the same selection, but are somewhere else */
  constructor(key: string, selection: Selection, knowledge: Knowledge, covered: number, clock: () => number) {
    this.key = key;
    this.#clock = clock;
    this.selector = new Selector(selection, knowledge, covered, (message) => {
      for (const member of this.members) member.offer(message);
    });
  }

  take(batch: Batch): void {
    this.selector.judge.feed(batch, 0, this.#clock());
  }

  advance(): void {
    if (this.selector.judge.held > 0) this.selector.judge.advance(this.#clock());
  }

  /** Adds one who has been given everything up to `covered`. @returns false when we are somewhere else: it needs a group of its own */
  join(subscriber: Subscriber, covered: number): boolean {
    if (covered > this.selector.covered) this.selector.judge.advance(this.#clock(), covered);
    if (covered !== this.selector.covered) return false;
    this.selector.forget();
    this.members.add(subscriber);
    return true;
  }

  /** Once a second. @returns whether the filters take more time than they may */
  isTooExpensive(): boolean {
    const { spent, held } = this.selector.judge;
    this.#busySeconds = spent - this.#spent > BUSY_MS ? this.#busySeconds + 1 : 0;
    this.#spent = spent;
    return this.#busySeconds >= BUSY_SECONDS || held > 2 * HELD_MAX;
  }
}
