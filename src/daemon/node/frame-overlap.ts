/**
 * Two rings of one namespace that are open at the same time see the same frames, with the same stamps of the kernel. When one follows the other, what the first has handed out is left
 * out of the second; so is what came before the first one's last frame and the first had no room for: it was counted as lost, and would now come out of order.
 */
import { type WalkedFrame, walkFrames } from '../../source/probe-protocol.ts';

const HEADER_BYTES = 16;
const MOST_KEYS = 1_000_000;

export class FrameOverlap {
  /** How often each was seen, by time, length and captured length. */
  readonly #seen = new Map<number, number>();
  /** Seconds that times are counted from: those of the first frame. */
  #base: number | undefined;
  #left = 0;
  #late = 0;
  #lastSeconds = 0;
  #lastNanoseconds = 0;

  /** Frames of the first ring that the second has not shown yet. */
  get left(): number {
    return this.#left;
  }

  /** Frames of the second that were left out though the first did not show them. */
  get late(): number {
    return this.#late;
  }

  /** The first ring handed these out. @throws {ProbeProtocolError} */
  add(payload: Uint8Array): void {
    walkFrames(payload, (frame) => {
      const { seconds, nanoseconds } = frame;
      if (seconds > this.#lastSeconds || (seconds === this.#lastSeconds && nanoseconds > this.#lastNanoseconds)) {
        this.#lastSeconds = seconds;
        this.#lastNanoseconds = nanoseconds;
      }
      if (this.#left >= MOST_KEYS) return;
      const key = this.#keyOf(frame);
      this.#seen.set(key, (this.#seen.get(key) ?? 0) + 1);
      this.#left++;
    });
  }

  /** What is new of the second ring's frames, empty where none is. @throws {ProbeProtocolError} */
  rest(payload: Uint8Array): Uint8Array {
    const kept: Uint8Array[] = [];
    walkFrames(payload, (frame) => {
      const { seconds, nanoseconds, capturedLength, offset } = frame;
      const key = this.#keyOf(frame);
      const count = this.#seen.get(key);
      if (count !== undefined) {
        this.#left--;
        if (count === 1) this.#seen.delete(key);
        else this.#seen.set(key, count - 1);
      } else if (seconds < this.#lastSeconds || (seconds === this.#lastSeconds && nanoseconds < this.#lastNanoseconds)) this.#late++;
      else kept.push(payload.subarray(offset - HEADER_BYTES, offset + capturedLength));
    });
    return Buffer.concat(kept);
  }

  /** One number for each, as exact as it is wanted for two minutes, which is longer than two rings are open together. */
  #keyOf({ seconds, nanoseconds, capturedLength, wireLength }: WalkedFrame): number {
    this.#base ??= seconds;
    return ((seconds - this.#base) * 1e9 + nanoseconds) * 65_536 + ((wireLength * 31 + capturedLength) & 0xffff);
  }
}
