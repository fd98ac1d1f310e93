/**
 * The frames of a followed namespace as an endless pcapng capture, for one reader. What it is too slow for is counted, and told in the stream itself: as interface statistics with a
 * comment, before the next frame that it gets.
 */
import type { EvidenceNamespace } from './evidence.ts';
import { type CaptureAbout, captureHead, lostBlock, packetBlocks } from './pcapng-frames.ts';

export interface PacketStreamOptions extends CaptureAbout {
  /** Bytes that may wait for the reader. */
  readonly queueBytes: number;
  /** Frames for which the kernel had no room, since the capture began. */
  readonly kernelLost: () => number;
  /** Told once, when the stream has ended: what went to the reader. */
  readonly onEnd?: (totals: { readonly frames: number; readonly lost: number }) => void;
  /** Unix time, milliseconds. */
  readonly now: () => number;
}

/** How often losses in the kernel are looked at. */
const LOOK_MS = 1000;

/** Ends with the signal, and when the namespace has gone and everything was read. */
export async function* packetStream(
  namespace: Pick<EvidenceNamespace, 'tap' | 'status'>,
  options: PacketStreamOptions,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  let queue: Uint8Array[] = [];
  let queued = 0;
  let frames = 0;
  let lost = 0;
  let told = { kernel: 0, reader: 0 };
  const kernelAtStart = options.kernelLost();
  let wake: (() => void) | undefined;
  const waken = (): void => wake?.();
  const untap = namespace.tap((payload) => {
    const made = packetBlocks(payload);
    if (queued + made.blocks.length > options.queueBytes) lost += made.frames;
    else {
      const counts = { kernel: options.kernelLost() - kernelAtStart, reader: lost };
      if (counts.kernel !== told.kernel || counts.reader !== told.reader) {
        const block = lostBlock(counts, options.now());
        queue.push(block);
        queued += block.length;
        told = counts;
      }
      queue.push(made.blocks);
      queued += made.blocks.length;
      frames += made.frames;
    }
    waken();
  });
  signal.addEventListener('abort', waken);
  const looking = setInterval(waken, LOOK_MS);
  try {
    yield captureHead(options);
    while (!signal.aborted) {
      const counts = { kernel: options.kernelLost() - kernelAtStart, reader: lost };
      // A reader that has nothing to wait for hears of losses at once.
      if (queue.length === 0 && (counts.kernel !== told.kernel || counts.reader !== told.reader)) {
        told = counts;
        yield lostBlock(counts, options.now());
        continue;
      }
      if (queue.length === 0) {
        if (namespace.status === 'gone') return;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        wake = undefined;
        continue;
      }
      const taken = queue;
      queue = [];
      for (const bytes of taken) {
        if (signal.aborted) return;
        yield bytes;
        // only now it has left
        queued -= bytes.length;
      }
    }
  } finally {
    untap();
    clearInterval(looking);
    signal.removeEventListener('abort', waken);
    options.onEnd?.({ frames, lost });
  }
}
