/**
 * The streams of one or several daemons as one: in order of time, paths completed across nodes. A server that is silent or gone holds nobody up. Pure: time comes from the caller.
 */
import { parseRfc3339, parseTimeNs, type TimeBase } from '../net/time.ts';
import type { AnyRecord, FlowRecord } from '../record/record.ts';
import type { ClockOffset } from './clock-offset.ts';
import { MergeWindow } from './merge-window.ts';
import { PathJoiner } from './path-joiner.ts';

export interface TailOptions {
  /** How long a record waits for those of other servers, milliseconds. */
  readonly windowMs: number;
  /** How long a part of a path waits for its others. */
  readonly waitMs: number;
  /** Whether paths are completed across nodes. */
  readonly join: boolean;
}

export interface TailOutput {
  write(record: AnyRecord, nowMs: number): void;
  context(flow: FlowRecord, nowMs: number): void;
}

interface Entry {
  readonly record: AnyRecord;
  readonly context: boolean;
}

export class Tail {
  readonly #options: TailOptions;
  readonly #output: TailOutput;
  readonly #merge: MergeWindow<Entry>;
  readonly #nodes = new Map<string, string>();
  #base: TimeBase | undefined;
  #joiner: PathJoiner | undefined;
  /** The node by whose clock records are put in order. */
  #reference: string | undefined;
  #nowMs = 0;

  constructor(options: TailOptions, output: TailOutput) {
    this.#options = options;
    this.#output = output;
    this.#merge = new MergeWindow(options.windowMs);
  }

  /** A server is there, or there again, and speaks for this node. */
  up(server: string, node: string): void {
    this.#nodes.set(server, node);
    this.#reference ??= node;
    this.#merge.join(server);
  }

  down(server: string): void {
    this.#merge.leave(server);
  }

  record(server: string, record: AnyRecord, nowMs: number): void {
    this.#push(server, { record, context: false }, nowMs);
  }

  /** A flow for the sake of the paths that follow. */
  context(server: string, flow: FlowRecord, nowMs: number): void {
    this.#push(server, { record: flow, context: true }, nowMs);
  }

  /** Lets go what has waited long enough. */
  tick(nowMs: number): void {
    this.#nowMs = nowMs;
    for (const entry of this.#merge.take(nowMs)) this.#pass(entry, nowMs);
    this.#joiner?.tick(nowMs);
  }

  /** Nothing more will come. */
  end(nowMs: number): void {
    this.#nowMs = nowMs;
    for (const entry of this.#merge.rest()) this.#pass(entry, nowMs);
    this.#joiner?.end();
  }

  /** What is known of a node's clock, against the one by which records are put in order. */
  offsetOf(node: string): ClockOffset | undefined {
    return this.#reference === undefined ? undefined : this.#joiner?.offsets.between(this.#reference, node);
  }

  #push(server: string, entry: Entry, nowMs: number): void {
    this.#merge.push(server, this.#timeOf(server, entry), entry, nowMs);
    this.tick(nowMs);
  }

  #timeOf(server: string, { record, context }: Entry): number | undefined {
    if (context || record.type === 'finding' || record.type === 'total') return undefined;
    const text = record.type === 'flow' && record.event === 'open' ? record.first : record.last;
    this.#base ??= { epochSeconds: parseRfc3339(text)?.seconds ?? 0 };
    const at = parseTimeNs(this.#base, text);
    const node = this.#nodes.get(server);
    const offset = node === undefined ? undefined : this.offsetOf(node);
    return at === undefined ? undefined : at - (offset?.ns ?? 0);
  }

  #pass({ record, context }: Entry, nowMs: number): void {
    if (context) this.#output.context(record as FlowRecord, nowMs);
    else if (!this.#options.join) this.#output.write(record, nowMs);
    else {
      this.#joiner ??= new PathJoiner({ base: this.#base ?? { epochSeconds: 0 }, waitMs: this.#options.waitMs }, (joined) =>
        this.#output.write(joined, this.#nowMs),
      );
      this.#joiner.write(record, nowMs);
    }
  }
}
