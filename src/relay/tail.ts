/**
 * The streams of one or several daemons as one: in order of time, paths completed across nodes. A server that is silent or gone holds nobody up. Pure: time comes from the caller.
 *
 * What comes behind the merge waits by the stream's own clock: it goes as the caller's does, and while what was kept comes, it also jumps ahead with the times of records. So what is kept is joined and shown as
 * when it happened, however fast it comes. Records were told a few seconds after their time, some sooner than others, and of what is kept nobody knows when: the clock jumps by less than they do.
 */
import { parseRfc3339, parseTimeNs, type TimeBase } from '../net/time.ts';
import type { AnyRecord, FlowRecord } from '../record/record.ts';
import type { ClockOffset } from './clock-offset.ts';
import { MergeWindow } from './merge-window.ts';
import { PathJoiner } from './path-joiner.ts';

/** By which the clock is slower than the records that were kept. */
const PAST_SHARE = 5;

export interface TailOptions {
  /** How long a record waits for those of other servers, milliseconds. */
  readonly windowMs: number;
  /** How long a part of a path waits for its others. */
  readonly waitMs: number;
  /** Whether paths are completed across nodes. */
  readonly join: boolean;
  /** Records that were kept come first, until `pastIsOver` is called. */
  readonly past: boolean;
}

export interface TailOutput {
  write(record: AnyRecord, nowMs: number): void;
  context(flow: FlowRecord, nowMs: number): void;
}

interface Entry {
  readonly record: AnyRecord;
  /** Its time in nanoseconds, where it has one. */
  readonly timeNs: number | undefined;
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
  /** The stream's clock, and the caller's when it was looked at last. */
  #clockMs = 0;
  #callerMs: number | undefined;
  /** At this time of records the clock stood so. */
  #anchor: { readonly recordMs: number; readonly clockMs: number } | undefined;
  #past: boolean;

  constructor(options: TailOptions, output: TailOutput) {
    this.#options = options;
    this.#output = output;
    this.#merge = new MergeWindow(options.windowMs);
    this.#past = options.past;
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
    this.#push(server, record, false, nowMs);
  }

  /** A flow for the sake of the paths that follow. */
  context(server: string, flow: FlowRecord, nowMs: number): void {
    this.#push(server, flow, true, nowMs);
  }

  /** Lets go what has waited long enough. @returns the stream's clock */
  tick(nowMs: number): number {
    this.#advance(nowMs);
    for (const entry of this.#merge.take(nowMs)) this.#pass(entry);
    this.#joiner?.tick(this.#clockMs);
    return this.#clockMs;
  }

  /** What comes from now on happens now. */
  pastIsOver(): void {
    this.#past = false;
  }

  /** Nothing more will come. @returns the stream's clock */
  end(nowMs: number): number {
    this.#advance(nowMs);
    for (const entry of this.#merge.rest()) this.#pass(entry);
    this.#joiner?.end();
    return this.#clockMs;
  }

  #advance(nowMs: number): void {
    if (this.#callerMs !== undefined) this.#clockMs += Math.max(0, nowMs - this.#callerMs);
    this.#callerMs = nowMs;
  }

  /** What is known of a node's clock, against the one by which records are put in order. */
  offsetOf(node: string): ClockOffset | undefined {
    return this.#reference === undefined ? undefined : this.#joiner?.offsets.between(this.#reference, node);
  }

  #push(server: string, record: AnyRecord, context: boolean, nowMs: number): void {
    const timeNs = this.#timeOf(server, record, context);
    this.#merge.push(server, timeNs, { record, timeNs, context }, nowMs);
    this.tick(nowMs);
  }

  #timeOf(server: string, record: AnyRecord, context: boolean): number | undefined {
    if (record.type === 'finding' || record.type === 'total') return undefined;
    const text = record.type === 'flow' && record.event === 'open' ? record.first : record.last;
    this.#base ??= { epochSeconds: parseRfc3339(text)?.seconds ?? 0 };
    if (context) return undefined;
    const at = parseTimeNs(this.#base, text);
    const node = this.#nodes.get(server);
    const offset = node === undefined ? undefined : this.offsetOf(node);
    return at === undefined ? undefined : at - (offset?.ns ?? 0);
  }

  #jump(recordMs: number): void {
    this.#anchor ??= { recordMs, clockMs: this.#clockMs };
    const target = this.#anchor.clockMs + (recordMs - this.#anchor.recordMs) / PAST_SHARE;
    if (target > this.#clockMs) this.#clockMs = target;
  }

  #pass({ record, timeNs, context }: Entry): void {
    if (timeNs !== undefined && this.#past) this.#jump(timeNs / 1e6);
    const nowMs = this.#clockMs;
    if (!this.#options.join) {
      if (context) this.#output.context(record as FlowRecord, nowMs);
      else this.#output.write(record, nowMs);
      return;
    }
    this.#joiner ??= new PathJoiner({ base: this.#base ?? { epochSeconds: 0 }, waitMs: this.#options.waitMs }, (joined) =>
      this.#output.write(joined, this.#clockMs),
    );
    this.#joiner.tick(nowMs);
    if (context) {
      this.#output.context(record as FlowRecord, nowMs);
      this.#joiner.context(record as FlowRecord, nowMs);
    } else this.#joiner.write(record, nowMs);
  }
}
