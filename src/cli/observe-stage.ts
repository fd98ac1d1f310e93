/** Between the joined stream and a layout: filters that are answered here, the last so many of what daemons keep, and each thing once where people read. */
import { FilterSet } from '../output/filter/filter-set.ts';
import { selecting } from '../output/filter/filter-sink.ts';
import { TimeWindow } from '../output/filter/time-window.ts';
import type { Sink } from '../output/sink.ts';
import type { AnyRecord, FlowRecord } from '../record/record.ts';
import { type FinalOptions, FinalRecords } from '../relay/final-records.ts';

export interface StageOptions {
  readonly layout: FinalOptions['layout'];
  /** Filters to be answered here; `undefined`: the daemons did. */
  readonly filters: FilterSet | undefined;
  readonly first: number | undefined;
  /** So many at the end of the past; `undefined`: all of it. */
  readonly last: number | undefined;
  /** What is kept is asked for, or has been asked for and goes on. */
  readonly past: boolean;
  labelsOf(pod: string): { readonly [label: string]: string } | undefined;
}

export class Stage {
  readonly #final: FinalRecords;
  /** Holds the past until all of it has come. */
  #past: Sink | undefined;
  #nowMs = 0;

  constructor(sink: Sink, options: StageOptions) {
    const { layout, first, last, past } = options;
    const context = { labelsOf: (pod: string) => options.labelsOf(pod), findingsOf: () => new Set<string>() };
    this.#final = new FinalRecords(sink, { layout, ...(options.filters === undefined ? {} : { filters: options.filters, context }) });
    if (!past || (first === undefined && last === undefined)) return;
    const selection = {
      filters: options.filters ?? new FilterSet(),
      window: new TimeWindow(undefined, undefined),
      ...(first === undefined ? {} : { first }),
      ...(last === undefined ? {} : { last }),
      labelsOf: (pod: string) => options.labelsOf(pod),
    };
    this.#past = selecting(
      {
        write: (record) => this.#final.write(record, this.#nowMs),
        context: (flow) => this.#final.context(flow, this.#nowMs),
        end: () => {},
      },
      selection,
    );
  }

  write(record: AnyRecord, nowMs: number): void {
    this.#nowMs = nowMs;
    if (this.#past === undefined) {
      this.#final.tick(nowMs);
      this.#final.write(record, nowMs);
    } else this.#past.write(record);
  }

  context(flow: FlowRecord, nowMs: number): void {
    this.#nowMs = nowMs;
    this.#final.context(flow, nowMs);
  }

  /** All that daemons kept has come. */
  pastIsOver(nowMs: number): void {
    this.#nowMs = nowMs;
    const past = this.#past;
    this.#past = undefined;
    past?.end();
  }

  tick(nowMs: number): void {
    this.#nowMs = nowMs;
    this.#final.tick(nowMs);
  }

  end(nowMs: number): void {
    this.pastIsOver(nowMs);
    this.#final.end();
  }
}
