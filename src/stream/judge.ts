/**
 * Says of each record whether it passes a selection, in order.
 *
 * A flow passes on its own, or with one of its paths; a path passes with one of its flows; a finding with one of its flows or paths; losses and totals always.
 * What is not known yet is waited for, and everything behind it: with filters that look at paths each record waits `holdMs`; else only a path does whose flows have not come.
 * Never longer, and never more than {@link HELD_MAX} records: then it is judged by what is known. One call works for {@link SLICE_MS} at most; what is left waits for the next.
 */
import type { FilterContext } from '../output/filter/filter.ts';
import type { AnyRecord, FindingRecord, FlowRecord, PathRecord } from '../record/record.ts';
import type { Batch } from './batch.ts';
import type { RecordIndex } from './record-index.ts';
import type { Selection } from './selection.ts';

export const HELD_MAX = 20_000;
export const SLICE_MS = 10;

/** Takes which rows of a batch pass, and up to which record everything has been judged. */
export type Judged = (batch: Batch, rows: readonly number[], last: number) => void;

interface Held {
  readonly batch: Batch;
  next: number;
}

export interface Knowledge {
  readonly index: RecordIndex;
  readonly holdMs: number;
  labelsOf(pod: string): { readonly [label: string]: string } | undefined;
}

export class Judge {
  readonly #selection: Selection;
  readonly #knowledge: Knowledge;
  readonly #context: FilterContext;
  readonly #judged: Judged;
  #held: Held[] = [];
  #heldRows = 0;

  constructor(selection: Selection, knowledge: Knowledge, judged: Judged) {
    this.#selection = selection;
    this.#knowledge = knowledge;
    this.#judged = judged;
    this.#context = { labelsOf: (pod) => knowledge.labelsOf(pod), findingsOf: (rule) => knowledge.index.findingsOf(rule) };
  }

  /** Records that have not been judged yet. */
  get held(): number {
    return this.#heldRows;
  }

  /** Milliseconds that went into judging so far. */
  spent = 0;

  /** Takes the rows of a batch from one on. What can be judged at `now` (the clock of the batches) is. */
  feed(batch: Batch, from: number, now: number): void {
    this.#held.push({ batch, next: from });
    this.#heldRows += batch.length - from;
    this.advance(now);
  }

  /** Judges what has waited long enough, and everything up to `force`. @returns whether it got through it in its time */
  advance(now: number, force = 0): boolean {
    const begun = performance.now();
    const end = begun + SLICE_MS;
    let done = 0;
    for (const held of this.#held) {
      if (!this.#judgeRows(held, now, force, end)) break;
      done++;
    }
    if (done > 0) this.#held = this.#held.slice(done);
    const over = performance.now();
    this.spent += over - begun;
    return over < end;
  }

  /** @returns whether the whole batch has been judged */
  #judgeRows(held: Held, now: number, force: number, end: number): boolean {
    const { batch } = held;
    const rows: number[] = [];
    const from = held.next;
    const due = now >= batch.at + this.#knowledge.holdMs;
    let at = from;
    for (; at < batch.length; at++) {
      const wanted = this.#selection.types === undefined || this.#selection.types.has(batch.type) || batch.type === 'lost';
      if (!wanted) continue;
      if (this.#passesUnseen(batch)) {
        rows.push(at);
        continue;
      }
      // Whoever comes late still gets one through.
      if (at > from && performance.now() >= end) break;
      const record = batch.record(at);
      if (!due && batch.seq + at > force && this.#heldRows - (at - from) <= HELD_MAX && this.#waits(record)) break;
      if (this.#passes(record)) rows.push(at);
    }
    held.next = at;
    this.#heldRows -= at - from;
    if (at > from) this.#judged(batch, rows, batch.seq + at - 1);
    return at === batch.length;
  }

  /** Nothing has to be known of it. */
  #passesUnseen({ type, times }: Batch): boolean {
    if (type === 'lost' || type === 'total') return true;
    const { filters, window } = this.#selection;
    if (!filters.empty) return false;
    if (window.empty) return true;
    return type !== 'finding' && window.touches(times.firstMax, times.lastMin);
  }

  #waits(record: AnyRecord): boolean {
    if (this.#selection.filters.empty) return false;
    if (this.#selection.filters.looksAtPaths) return true;
    if (record.type === 'path') return record.legs.some(({ flow }) => this.#knowledge.index.flowSeq(flow) === undefined);
    return record.type === 'finding' && record.flows.some((flow) => this.#knowledge.index.flowSeq(flow) === undefined);
  }

  #passes(record: AnyRecord): boolean {
    switch (record.type) {
      case 'flow':
        return this.passesFlow(record);
      case 'path':
        return this.#passesPath(record);
      case 'finding':
        return this.#passesFinding(record);
      default:
        return true;
    }
  }

  passesFlow(flow: FlowRecord): boolean {
    if (!this.#selection.window.touches(flow.first, flow.last)) return false;
    const { filters } = this.#selection;
    if (filters.looksAtPaths) {
      const paths = this.#knowledge.index.pathsOf(flow.id);
      if (paths.length > 0) return paths.some((path) => filters.passes({ flow, path }, this.#context));
    }
    return filters.passes({ flow, path: undefined }, this.#context);
  }

  #passesPath(path: PathRecord): boolean {
    const { filters, window } = this.#selection;
    if (!window.touches(path.first, path.last)) return false;
    if (filters.empty) return true;
    return path.legs.some((leg) => {
      const flow = this.#knowledge.index.flow(leg.flow);
      return flow !== undefined && filters.passes({ flow, path: filters.looksAtPaths ? path : undefined }, this.#context);
    });
  }

  #passesFinding(finding: FindingRecord): boolean {
    const { index } = this.#knowledge;
    const flow = finding.flows.some((id) => {
      const known = index.flow(id);
      return known !== undefined && this.passesFlow(known);
    });
    return (
      flow ||
      finding.paths.some((id) => {
        const known = index.path(id);
        return known !== undefined && this.#passesPath(known);
      })
    );
  }
}
