/** From the engine to the stream: gathers what one tick tells, counts it for /metrics, and hands it on in one piece. */
import type { AnyRecord, Evidence } from '../record/record.ts';
import { type DaemonMetrics, LOSS_STAGES, type LossStage } from './metrics.ts';

const stages: ReadonlySet<string> = new Set(LOSS_STAGES);
const OPEN: ReadonlySet<Evidence> = new Set(['ambiguous', 'unavailable']);

export class Outlet {
  readonly #metrics: DaemonMetrics;
  readonly #publish: (records: readonly AnyRecord[]) => void;
  #pending: AnyRecord[] = [];

  constructor(metrics: DaemonMetrics, publish: (records: readonly AnyRecord[]) => void) {
    this.#metrics = metrics;
    this.#publish = publish;
  }

  readonly write = (record: AnyRecord): void => {
    this.#count(record);
    this.#pending.push(record);
  };

  flush(): void {
    if (this.#pending.length === 0) return;
    const records = this.#pending;
    this.#pending = [];
    this.#publish(records);
  }

  #count(record: AnyRecord): void {
    const metrics = this.#metrics;
    raise(metrics.records, record.type);
    if (record.type === 'lost') raise(metrics.lost, stages.has(record.source) ? (record.source as LossStage) : 'other', record.count);
    else if (record.type === 'finding') raise(metrics.findings, record.rule);
    else if (record.type === 'path') {
      if (record.event === 'close') raise(metrics.paths, record.complete ? 'yes' : 'no');
      for (const { evidence, reason } of record.joins) if (reason !== undefined && OPEN.has(evidence)) raise(metrics.unknown, reason);
    } else if (record.type === 'flow' && record.event === 'close') {
      metrics.flows++;
      const { rule, envoy } = record;
      if (rule?.reason !== undefined && OPEN.has(rule.evidence)) raise(metrics.unknown, rule.reason);
      if (envoy?.reason !== undefined && Object.values(envoy.evidence).some((evidence) => OPEN.has(evidence))) raise(metrics.unknown, envoy.reason);
    }
  }
}

function raise(counts: Record<string, number>, label: string, by = 1): void {
  counts[label] = (counts[label] ?? 0) + by;
}
