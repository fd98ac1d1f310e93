/**
 * For layouts that people read, out of records that come several times: each path once when it is final (one that lasts is shown while it does, and again at its end), behind the flows that it goes through;
 * each flow that no path goes through once, after a while. Filters that look at paths are answered here, too, as far as a stream allows: what passes is known when a path comes, or when none did for a while.
 *
 * Everything that waits is bounded in time and number. Times are the caller's, in milliseconds.
 */
import type { FilterContext } from '../output/filter/filter.ts';
import type { FilterSet } from '../output/filter/filter-set.ts';
import type { Sink } from '../output/sink.ts';
import type { AnyRecord, FlowRecord, PathRecord } from '../record/record.ts';
import { DueQueue } from './due-queue.ts';
import { RecentMap } from './recent-map.ts';

/** A path waits so long for the flows of its legs. */
const FLOWS_MS = 1_500;
/** A flow waits so long for a path, since it was told first (where it lasts) or since it ended. */
const LASTING_MS = 5_000;
const ENDED_MS = 3_000;
const FLOWS_MAX = 50_000;
const PATHS_MAX = 20_000;

export interface FinalOptions {
  /** `blocks`: the flows of a path are shown within it. `events`: a line for a flow, and lines for a request. `records`: everything as it comes; `counts`: the same, but nothing after its end. */
  readonly layout: 'blocks' | 'events' | 'records' | 'counts';
  readonly filters?: FilterSet;
  readonly context?: FilterContext;
}

interface KnownFlow {
  flow: FlowRecord;
  dueMs: number;
  ended: boolean;
  /** A path goes through it. */
  inPath: boolean;
  /** The state in which it was shown; `undefined`: it was not. */
  shownAs: string | undefined;
}

interface WaitingPath {
  path: PathRecord;
  dueMs: number;
}

export class FinalRecords {
  readonly #sink: Sink;
  readonly #options: FinalOptions;
  readonly #flows = new RecentMap<string, KnownFlow>(FLOWS_MAX, (known) => this.#showAlone(known));
  /** Flows that may have to be shown alone, in the order of their time: those that last, and those that ended. */
  readonly #lasting = new DueQueue<KnownFlow>();
  readonly #ended = new DueQueue<KnownFlow>();
  readonly #paths = new RecentMap<string, WaitingPath>(PATHS_MAX, ({ path }) => this.#showPath(path.id, path));
  readonly #duePaths = new DueQueue<string>();
  readonly #waitsFor = new RecentMap<string, Set<string>>(FLOWS_MAX);
  /** Paths that were shown at their end. */
  readonly #shown = new RecentMap<string, true>(PATHS_MAX);
  readonly #none: FilterContext = { labelsOf: () => undefined, findingsOf: () => new Set() };
  readonly #findings = new RecentMap<string, Set<string>>(1024);
  /** Flows and paths that passed the filters. */
  readonly #passed = new RecentMap<string, true>(FLOWS_MAX);

  constructor(sink: Sink, options: FinalOptions) {
    this.#sink = sink;
    this.#options = options;
  }

  write(record: AnyRecord, nowMs: number): void {
    const { layout, filters } = this.#options;
    switch (record.type) {
      case 'flow':
        if (this.#asItComes && filters === undefined) this.#sink.write(record);
        else this.#flow(record, nowMs, false);
        break;
      case 'path':
        if (layout === 'counts' && this.#isOver(record)) break;
        if (this.#asItComes && filters === undefined) this.#sink.write(record);
        else this.#path(record, nowMs);
        break;
      case 'finding':
        this.#know(record.rule, record.id);
        if (filters === undefined || [...record.flows, ...record.paths].some((id) => this.#passed.has(id))) this.#sink.write(record);
        break;
      default:
        this.#sink.write(record);
    }
  }

  /** A flow that is told for the sake of paths only. */
  context(flow: FlowRecord, nowMs: number): void {
    if (this.#asItComes) this.#sink.context?.(flow);
    else this.#flow(flow, nowMs, true);
  }

  tick(nowMs: number): void {
    for (let due = this.#duePaths.take(nowMs); due !== undefined; due = this.#duePaths.take(nowMs)) {
      const waiting = this.#paths.get(due.item);
      if (waiting?.dueMs === due.dueMs) this.#showPath(due.item, waiting.path);
    }
    for (const queue of [this.#lasting, this.#ended])
      for (let due = queue.take(nowMs); due !== undefined; due = queue.take(nowMs))
        if (due.item.dueMs === due.dueMs) this.#showAlone(due.item);
  }

  /** Nothing more will come. */
  end(): void {
    this.tick(Number.POSITIVE_INFINITY);
    this.#sink.end();
  }

  get #asItComes(): boolean {
    return this.#options.layout === 'records' || this.#options.layout === 'counts';
  }

  #end(path: string): void {
    this.#shown.set(path, true);
  }

  /** Did its end come before? */
  #isOver({ id, event }: PathRecord): boolean {
    const over = this.#shown.has(id);
    if (event === 'close' && this.#options.filters === undefined) this.#end(id);
    return over;
  }

  #know(rule: string, id: string): void {
    const ids = this.#findings.get(rule) ?? new Set();
    if (ids.size < PATHS_MAX) ids.add(id);
    this.#findings.set(rule, ids);
  }

  #context(): FilterContext {
    return { ...(this.#options.context ?? this.#none), findingsOf: (rule) => this.#findings.get(rule) ?? new Set() };
  }

  #flow(flow: FlowRecord, nowMs: number, contextOnly: boolean): void {
    const { filters, layout } = this.#options;
    let known = this.#flows.get(flow.id);
    if (known === undefined) {
      known = { flow, dueMs: nowMs + LASTING_MS, ended: false, inPath: contextOnly, shownAs: undefined };
      this.#flows.set(flow.id, known);
      this.#lasting.put(known, known.dueMs);
    }
    const ends = flow.event === 'close' && !known.ended;
    known.flow = flow;
    if (ends) {
      known.ended = true;
      known.dueMs = nowMs + ENDED_MS;
      this.#ended.put(known, known.dueMs);
    }
    if (flow.paths !== undefined && layout === 'blocks') known.inPath = true;
    const waiting = this.#waitsFor.get(flow.id);
    if (waiting !== undefined) {
      this.#waitsFor.delete(flow.id);
      for (const id of waiting) {
        const path = this.#paths.get(id);
        if (path !== undefined && this.#missing(path.path).length === 0) this.#showPath(id, path.path);
      }
    }
    if (contextOnly || layout === 'blocks' || filters?.looksAtPaths === true) return;
    // A line, or a record, of its own: nothing that comes later decides whether.
    if (filters !== undefined && !filters.passes({ flow, path: undefined }, this.#context())) return;
    this.#pass(flow.id);
    this.#showFlow(known);
  }

  #missing(path: PathRecord): string[] {
    return path.legs.map(({ flow }) => flow).filter((flow) => !this.#flows.has(flow));
  }

  #path(path: PathRecord, nowMs: number): void {
    if (!this.#asItComes && this.#shown.has(path.id)) return;
    const missing = this.#missing(path);
    if (missing.length === 0) {
      this.#showPath(path.id, path);
      return;
    }
    const before = this.#paths.get(path.id);
    const dueMs = before?.dueMs ?? nowMs + FLOWS_MS;
    this.#paths.set(path.id, { path, dueMs });
    if (before === undefined) this.#duePaths.put(path.id, dueMs);
    for (const flow of missing) {
      const waiting = this.#waitsFor.get(flow);
      if (waiting === undefined) this.#waitsFor.set(flow, new Set([path.id]));
      else waiting.add(path.id);
    }
  }

  #showPath(id: string, path: PathRecord): void {
    const { layout, filters } = this.#options;
    this.#paths.delete(id);
    const flows = path.legs.flatMap(({ flow }) => this.#flows.get(flow) ?? []);
    for (const known of flows) known.inPath = true;
    if (filters !== undefined) {
      const context = this.#context();
      const passing = flows.filter(({ flow }) => filters.passes({ flow, path }, context));
      if (passing.length === 0) return;
      this.#pass(path.id);
      for (const known of passing) this.#pass(known.flow.id);
      if (layout !== 'blocks') for (const known of passing) this.#showFlow(known);
    }
    if (path.event === 'close') this.#end(id);
    if (this.#asItComes) {
      this.#sink.write(path);
      return;
    }
    // Sinks keep flows for as long as paths need them: for this one, here and now.
    for (const { flow } of flows) this.#sink.context?.({ ...flow, paths: [path.id], pathCount: 1 });
    this.#sink.write({ ...path, event: 'close' });
  }

  /** A line for a flow: when it is known, and again when it came to another end. */
  #showFlow(known: KnownFlow): void {
    const { flow } = known;
    if (this.#asItComes) {
      if (known.shownAs !== stateOf(flow)) this.#sink.write(flow);
      known.shownAs = stateOf(flow);
      return;
    }
    if (known.shownAs === flow.state) return;
    known.shownAs = flow.state;
    this.#sink.write(unlinked(flow));
  }

  /** No path came for it in time. */
  #showAlone(known: KnownFlow): void {
    known.dueMs = Number.NaN;
    const { flow } = known;
    const { layout, filters } = this.#options;
    if (flow.event === 'close') this.#flows.delete(flow.id);
    const decidesHere = layout === 'blocks' || filters?.looksAtPaths === true;
    if (!decidesHere || known.inPath || known.shownAs === flow.state) return;
    if (filters !== undefined) {
      if (!filters.passes({ flow, path: undefined }, this.#context())) return;
      this.#pass(flow.id);
    }
    if (layout !== 'blocks') this.#showFlow(known);
    else {
      known.shownAs = flow.state;
      this.#sink.write(unlinked(flow));
    }
  }

  #pass(id: string): void {
    if (this.#options.filters === undefined) return;
    this.#passed.set(id, true);
  }
}

function stateOf(flow: FlowRecord): string {
  return `${flow.event} ${flow.last}`;
}

/** As a flow of its own: sinks would keep one that names paths until they came. */
function unlinked({ paths: _, pathCount: __, ...flow }: FlowRecord): FlowRecord {
  return flow;
}
