/** The time by which the engine's ticks go: the system's, as the kernel stamps frames, but never back. */
import type { TimeBase } from '../net/time.ts';

export class TickClock {
  readonly base: TimeBase;
  #lastNs = 0;

  constructor(nowMs: number = Date.now()) {
    this.base = { epochSeconds: Math.floor(nowMs / 1000) };
  }

  /** Nanoseconds since the base. */
  nowNs(nowMs: number = Date.now()): number {
    this.#lastNs = Math.max(this.#lastNs, (nowMs - this.base.epochSeconds * 1000) * 1e6);
    return this.#lastNs;
  }
}
