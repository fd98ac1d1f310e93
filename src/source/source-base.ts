/** The time base of a run while it is being fixed: by the caller, or by the first stamped frame of whichever source reads one first. */
import type { TimeBase } from '../net/time.ts';

export class SourceBase implements TimeBase {
  epochSeconds = 0;
  fixed = false;

  /** A given base is taken as fixed; one that is still open (shared between sources) is shared on. */
  static of(given: TimeBase | undefined): SourceBase {
    if (given instanceof SourceBase) return given;
    const base = new SourceBase();
    if (given !== undefined) base.fix(given.epochSeconds);
    return base;
  }

  fix(epochSeconds: number): void {
    if (this.fixed) return;
    this.epochSeconds = epochSeconds;
    this.fixed = true;
  }
}
