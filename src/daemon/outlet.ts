/** From the engine to the stream: gathers what one tick tells, counts it for /metrics, and hands it on in one piece. */
import type { AnyRecord } from '../record/record.ts';
import type { DaemonMetrics } from './metrics.ts';
import { countRecord } from './scrape.ts';

export class Outlet {
  readonly #metrics: DaemonMetrics;
  readonly #publish: (records: readonly AnyRecord[]) => void;
  #pending: AnyRecord[] = [];

  constructor(metrics: DaemonMetrics, publish: (records: readonly AnyRecord[]) => void) {
    this.#metrics = metrics;
    this.#publish = publish;
  }

  readonly write = (record: AnyRecord): void => {
    countRecord(this.#metrics, record);
    this.#pending.push(record);
  };

  flush(): void {
    if (this.#pending.length === 0) return;
    const records = this.#pending;
    this.#pending = [];
    this.#publish(records);
  }
}
