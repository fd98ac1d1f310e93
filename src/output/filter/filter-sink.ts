/**
 * Stands in front of a sink and lets through what the filters, the time window, `--first` and `--last` let pass.
 *
 * A path passes if one of its flows does; a flow passes on its own or with one of its paths. Losses and the total always pass; a finding passes with one of its flows or paths.
 * Flows that do not pass, but belong to a path that may, go to the sink as context, so that a block can show the whole path.
 * Where a decision needs what comes later (a filter on requests, a time before the end, `--last`), records are held until the end.
 */
import type { AnyRecord, FindingRecord, FlowRecord, PathRecord } from '../../record/record.ts';
import { PathWaiting } from '../path-waiting.ts';
import type { Sink } from '../sink.ts';
import type { FilterContext } from './filter.ts';
import type { FilterSet } from './filter-set.ts';
import type { TimeWindow } from './time-window.ts';

export interface Selection {
  readonly filters: FilterSet;
  readonly window: TimeWindow;
  /** At most so many flows and as many paths, from the beginning or from the end. */
  readonly first?: number;
  readonly last?: number;
  labelsOf(pod: string): { readonly [label: string]: string } | undefined;
}

/** The sink itself when nothing is to be filtered. */
export function selecting(sink: Sink, selection: Selection): Sink {
  const { filters, window, first, last } = selection;
  return filters.empty && window.empty && first === undefined && last === undefined ? sink : new FilterSink(sink, selection);
}

class FilterSink implements Sink {
  readonly #sink: Sink;
  readonly #selection: Selection;
  readonly #context: FilterContext;
  readonly #holds: boolean;
  #held: AnyRecord[] = [];
  readonly #findings = new Map<string, Set<string>>();
  /** Flows of paths that passed, when nothing is held. */
  readonly #passed = new Set<string>();
  readonly #seen = new Set<string>();
  readonly #waiting = new PathWaiting();
  #flows = 0;
  #paths = 0;

  constructor(sink: Sink, selection: Selection) {
    this.#sink = sink;
    this.#selection = selection;
    this.#holds = selection.filters.looksAtPaths || selection.window.needsEnd || selection.last !== undefined;
    const none: ReadonlySet<string> = new Set();
    this.#context = { labelsOf: (pod) => selection.labelsOf(pod), findingsOf: (rule) => this.#findings.get(rule) ?? none };
  }

  write(record: AnyRecord): void {
    if (!this.#holds) this.#pass(record);
    else if (record.type !== 'total') this.#held.push(record);
    else {
      this.#release();
      this.#sink.write(record);
    }
  }

  end(): void {
    this.#release();
    for (const path of this.#waiting.rest()) this.#passPath(path);
    this.#sink.end();
  }

  /** As they come: filters that look at flows only. */
  #pass(record: AnyRecord): void {
    switch (record.type) {
      case 'flow':
        if (this.#inWindow(record) && this.#selection.filters.passes({ flow: record, path: undefined }, this.#context)) {
          if (record.paths !== undefined || record.findings !== undefined) this.#passed.add(record.id);
          this.#emitFlow(record);
        } else if (record.paths !== undefined) this.#sink.context?.(record);
        if (record.paths !== undefined) this.#seen.add(record.id);
        for (const path of this.#waiting.arrived(record.id)) this.#passPath(path);
        break;
      case 'path':
        if (!this.#waiting.add(record, (flow) => this.#seen.has(flow))) this.#passPath(record);
        break;
      case 'finding':
        if (record.flows.some((id) => this.#passed.has(id))) this.#sink.write(record);
        break;
      case 'total':
        for (const path of this.#waiting.rest()) this.#passPath(path);
        this.#sink.write(record);
        break;
      case 'lost':
        this.#sink.write(record);
        break;
    }
  }

  #passPath(path: PathRecord): void {
    if (this.#inWindow(path) && path.legs.some(({ flow }) => this.#passed.has(flow))) this.#emitPath(path);
  }

  #inWindow({ first, last }: { readonly first: string; readonly last: string }): boolean {
    return this.#selection.window.touches(first, last);
  }

  #emitFlow(flow: FlowRecord): void {
    if (this.#selection.first === undefined || this.#flows++ < this.#selection.first) this.#sink.write(flow);
    else if (flow.paths !== undefined) this.#sink.context?.(flow);
  }

  #emitPath(path: PathRecord): void {
    if (this.#selection.first === undefined || this.#paths++ < this.#selection.first) this.#sink.write(path);
  }

  /** At the end: everything is known. */
  #release(): void {
    const records = this.#held;
    this.#held = [];
    if (records.length === 0) return;
    let end = '';
    const paths = new Map<string, PathRecord>();
    const ofFlow = new Map<string, PathRecord[]>();
    for (const record of records) {
      if ((record.type === 'flow' || record.type === 'path') && record.last > end) end = record.last;
      if (record.type === 'finding') this.#know(record);
      if (record.type === 'path') paths.set(record.id, record);
    }
    for (const path of paths.values())
      for (const leg of path.legs) {
        const of = ofFlow.get(leg.flow);
        if (of === undefined) ofFlow.set(leg.flow, [path]);
        else of.push(path);
      }
    this.#selection.window.settle(end);
    const flows = new Set<string>();
    const passing = new Set<string>();
    for (const record of records) if (record.type === 'flow') this.#judge(record, ofFlow.get(record.id) ?? [], flows, passing);
    this.#emit(records, flows, passing);
  }

  #know(finding: FindingRecord): void {
    const known = this.#findings.get(finding.rule);
    if (known === undefined) this.#findings.set(finding.rule, new Set([finding.id]));
    else known.add(finding.id);
  }

  #judge(flow: FlowRecord, paths: readonly PathRecord[], flows: Set<string>, passing: Set<string>): void {
    const { filters } = this.#selection;
    if (paths.length === 0) {
      if (this.#inWindow(flow) && filters.passes({ flow, path: undefined }, this.#context)) flows.add(flow.id);
      return;
    }
    for (const path of paths)
      if (filters.passes({ flow, path }, this.#context)) {
        if (this.#inWindow(flow)) flows.add(flow.id);
        if (this.#inWindow(path)) passing.add(path.id);
      }
  }

  #emit(records: readonly AnyRecord[], flows: ReadonlySet<string>, paths: ReadonlySet<string>): void {
    const keepFlows = lastOf(records, 'flow', flows, this.#selection.last);
    const keepPaths = lastOf(records, 'path', paths, this.#selection.last);
    for (const record of records) {
      if (record.type === 'flow') {
        if (keepFlows.has(record.id)) this.#emitFlow(record);
        else if (record.paths !== undefined) this.#sink.context?.(record);
      } else if (record.type === 'path') {
        if (keepPaths.has(record.id)) this.#emitPath(record);
      } else if (record.type !== 'finding' || record.flows.some((id) => flows.has(id)) || record.paths.some((id) => paths.has(id)))
        this.#sink.write(record);
    }
  }
}

/** The ids of the last `count` records of a type among those that pass. */
function lastOf(
  records: readonly AnyRecord[],
  type: 'flow' | 'path',
  passing: ReadonlySet<string>,
  count: number | undefined,
): ReadonlySet<string> {
  if (count === undefined) return passing;
  const kept = new Set<string>();
  for (let i = records.length - 1; i >= 0 && kept.size < count; i--) {
    const record = records[i]!;
    if (record.type === type && passing.has(record.id)) kept.add(record.id);
  }
  return kept;
}
