/** Runs what gives records piece by piece, and leaves room between the pieces for signals and the progress bar. */
import type { Sink } from '../output/sink.ts';
import type { ReplayEnd, ReplayProgress } from '../pipeline.ts';
import { COMPLETE, type ExitCode, INTERRUPTED, LOST, MALFORMED } from './exit-code.ts';
import { Interrupt } from './interrupt.ts';
import type { Progress } from './progress.ts';

/** Between two pieces of work that is given to the rest of the process: signals, the progress bar. */
const TURN_MS = 40;

export type RecordRun = Generator<ReplayProgress, ReplayEnd, boolean | undefined>;

/**
 * Runs to the end, or until Ctrl-C or the reader's end: then it is told to stop (`next(true)`), so that it still gives its totals.
 */
export async function drive(run: RecordRun, sink: Sink, progress: Progress, readerGone: () => boolean): Promise<ReplayEnd> {
  const interrupt = new Interrupt();
  try {
    let turn = Date.now();
    let step = run.next();
    while (step.done !== true) {
      const { bytesRead, bytesTotal } = step.value;
      if (Date.now() - turn > TURN_MS) {
        progress.update(bytesRead, bytesTotal);
        await new Promise((resolve) => setImmediate(resolve));
        turn = Date.now();
      }
      step = run.next(interrupt.requested || readerGone());
    }
    sink.end();
    // A reader that has gone is no interruption.
    return { ...step.value, interrupted: interrupt.requested };
  } finally {
    interrupt.release();
  }
}

export function exitCode({ malformed, lost, interrupted }: ReplayEnd): ExitCode {
  if (interrupted) return INTERRUPTED;
  if (malformed) return MALFORMED;
  return lost ? LOST : COMPLETE;
}
