/** Runs what gives records piece by piece, and leaves room between the pieces for signals and the progress bar. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Sink } from '../output/sink.ts';
import type { ReplayEnd, ReplayProgress } from '../pipeline.ts';
import { COMPLETE, type ExitCode, INTERRUPTED, LOST, MALFORMED } from './exit-code.ts';
import { Interrupt } from './interrupt.ts';
import type { Progress } from './progress.ts';

/** Between two pieces of work that is given to the rest of the process: signals, the progress bar. */
const TURN_MS = 40;
/** So long a live source may be quiet until signals are looked at. */
const IDLE_MS = 100;

export type RecordRun = Generator<ReplayProgress, ReplayEnd, boolean | undefined>;

/** What goes on until it is stopped: Ctrl-C is its end, and no interruption. */
export interface Live {
  /** Settles when there is something to do; `undefined` where there is. */
  wait(): Promise<void> | undefined;
  stop(): void;
}

/**
 * Runs to the end, or until Ctrl-C or the reader's end: then it is told to stop (`next(true)`), so that it still gives its totals.
 */
export async function drive(run: RecordRun, sink: Sink, progress: Progress, readerGone: () => boolean, live?: Live): Promise<ReplayEnd> {
  const interrupt = new Interrupt();
  try {
    let turn = Date.now();
    let step = run.next();
    while (step.done !== true) {
      const { bytesRead, bytesTotal } = step.value;
      const idle = live?.wait();
      if (idle !== undefined) await Promise.race([idle, sleep(IDLE_MS, undefined, { ref: false })]);
      if (idle !== undefined || Date.now() - turn > TURN_MS) {
        progress.update(bytesRead, bytesTotal);
        await new Promise((resolve) => setImmediate(resolve));
        turn = Date.now();
      }
      if (live !== undefined && interrupt.requested) live.stop();
      step = run.next((live === undefined && interrupt.requested) || readerGone());
    }
    sink.end();
    // A reader that has gone is no interruption.
    return { ...step.value, interrupted: interrupt.requested && live === undefined };
  } finally {
    interrupt.release();
  }
}

export function exitCode({ malformed, lost, interrupted }: ReplayEnd): ExitCode {
  if (interrupted) return INTERRUPTED;
  if (malformed) return MALFORMED;
  return lost ? LOST : COMPLETE;
}
