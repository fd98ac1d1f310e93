/** Subscribers that want the same: each record is judged once, and each message made once, for all of them. */
import type { Batch } from './batch.ts';
import type { Knowledge } from './judge.ts';
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

  constructor(selection: Selection, knowledge: Knowledge, covered: number, clock: () => number) {
    this.key = selection.key;
    this.#clock = clock;
    this.selector = new Selector(selection, knowledge, covered, (message) => {
      for (const member of this.members) member.offer(message);
    });
  }

  take(batch: Batch): void {
    const begun = performance.now();
    this.selector.judge.feed(batch, 0, this.#clock());
    this.#spent += performance.now() - begun;
  }

  advance(): void {
    if (this.selector.judge.holds) this.selector.judge.advance(this.#clock());
  }

  /** Adds one who has been given everything up to `covered` (a place between ours and the newest record, or before ours). */
  join(subscriber: Subscriber, covered: number): void {
    if (covered > this.selector.covered) this.selector.judge.advance(this.#clock(), covered);
    this.selector.forget();
    this.members.add(subscriber);
  }

  /** Once a second. @returns whether the filters take more time than they may */
  isTooExpensive(): boolean {
    this.#busySeconds = this.#spent > BUSY_MS ? this.#busySeconds + 1 : 0;
    this.#spent = 0;
    return this.#busySeconds >= BUSY_SECONDS;
  }
}
