/** Counts what went by, for the total at the end. */

import type { PlainFlow } from './plain-flow.ts';
import type { Reason } from './reason.ts';
import type { AnyRecord, Decision, Evidence, RuleVerdict, TotalRecord } from './record.ts';

const OPEN: ReadonlySet<Evidence> = new Set(['ambiguous', 'unavailable']);

export class Tally {
  packets = 0;
  bytes = 0;
  #flows = 0;
  #paths = 0;
  #findings = 0;
  #lost = 0;
  readonly #unknown = new Map<Reason, number>();

  addFrames(packets: number, bytes: number): void {
    this.packets += packets;
    this.bytes += bytes;
  }

  addPlain(flow: PlainFlow): void {
    this.#addFlow(flow.rule);
  }

  #addFlow(rule: RuleVerdict | undefined): void {
    this.#flows++;
    if (rule?.reason !== undefined && OPEN.has(rule.evidence)) this.#count(rule.reason);
  }

  add(record: AnyRecord): void {
    if (record.type === 'flow') {
      const { rule, envoy } = record;
      this.#addFlow(rule);
      if (envoy !== undefined) this.#decision(envoy);
    } else if (record.type === 'path') {
      this.#paths++;
      for (const join of record.joins) if (join.reason !== undefined && OPEN.has(join.evidence)) this.#count(join.reason);
    } else if (record.type === 'finding') this.#findings++;
    else if (record.type === 'lost') this.#lost += record.count;
  }

  #decision(decision: Decision): void {
    if (decision.reason !== undefined && Object.values(decision.evidence).some((evidence) => OPEN.has(evidence)))
      this.#count(decision.reason);
  }

  #count(reason: Reason): void {
    this.#unknown.set(reason, (this.#unknown.get(reason) ?? 0) + 1);
  }

  record(): TotalRecord {
    return {
      type: 'total',
      packets: this.packets,
      bytes: this.bytes,
      flows: this.#flows,
      paths: this.#paths,
      findings: this.#findings,
      lost: this.#lost,
      unknown: Object.fromEntries([...this.#unknown].sort(([a], [b]) => (a < b ? -1 : 1))),
    };
  }
}
