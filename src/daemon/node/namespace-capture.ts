/**
 * The frames of one namespace for as long as it lives: one capture after another, the next opened before the one before it is closed where a busy namespace needs a larger ring, so
 * that nothing is missed and nothing comes twice. What was lost is told: by the kernel's counters, or as a gap.
 */
import type { Loss } from '../../record/lost.ts';
import { FrameOverlap } from './frame-overlap.ts';
import { LossCounter } from './loss-counter.ts';
import type { ProbeEnd } from './probe-end.ts';
import type { ProbeCapture, ProbeLink, ProbeStats } from './probe-link.ts';
import type { RingShares } from './ring-shares.ts';

const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 30_000;
/** What may wait of the larger ring while the one before it is emptied. */
const MOST_HELD = 32 * 1024 * 1024;
/** A second ring's frames older than that are not there any more. */
const OVERLAP_MS = 2000;
/** A ring is enlarged once in so long at most. */
const GROW_EVERY_MS = 2000;
/** And made smaller after so long, where it was used less than an eighth in a few seconds. */
const SHRINK_AFTER_MS = 60_000;
const IDLE_PART = 8;

export interface CaptureOwner {
  frames(payload: Uint8Array): void;
  lose(loss: Omit<Loss, 'atNs'>): void;
  /** `capturing`, or why not. */
  state(status: 'opening' | 'capturing' | 'failed', reason?: string): void;
  /** The namespace is not there any more; every frame has been handed over. */
  gone(): void;
}

interface Ring {
  readonly bytes: number;
  capture: ProbeCapture;
  opened: boolean;
  stats: ProbeStats;
}

const NO_STATS: ProbeStats = { seen: 0, dropped: 0, delivered: 0, waiting: 0 };

export class NamespaceCapture {
  readonly #link: ProbeLink;
  readonly #cookie: bigint;
  readonly #settings: { snapLength: number; filter: string };
  readonly #shares: RingShares;
  readonly #owner: CaptureOwner;
  readonly #dropped: LossCounter;
  /** What of the kernel's counters belongs to rings that are closed. */
  #before = { seen: 0, dropped: 0, delivered: 0 };
  #ring: Ring | undefined;
  #next: { ring: Ring; overlap: FrameOverlap; held: Uint8Array[]; heldBytes: number; ended?: ProbeEnd } | undefined;
  /** Of a ring that is closed already, until its successor has shown all of it. */
  #overlap: FrameOverlap | undefined;
  #overlapUntilMs = 0;
  /** What a ring lost while its successor was open beside it. */
  #droppedBeside = 0;
  #attempts = 0;
  #replacedMs = Number.NEGATIVE_INFINITY;
  /** Bytes of frames since the counters were asked for last. */
  #bytes = 0;
  #retry: NodeJS.Timeout | undefined;
  #stopped: (() => void) | undefined;
  /** A gap was told, and its end was not. */
  #gap = false;

  constructor(link: ProbeLink, cookie: bigint, settings: { snapLength: number; filter: string }, shares: RingShares, owner: CaptureOwner) {
    this.#link = link;
    this.#cookie = cookie;
    this.#settings = settings;
    this.#shares = shares;
    this.#owner = owner;
    this.#dropped = new LossCounter((count, exact) =>
      owner.lose({
        source: 'kernel_ring',
        count,
        exact,
        detail: exact
          ? `the capture ring of ${this.ringBytes / 1024} KiB was full`
          : `the capture ring was full while another one took its place; some of these were caught by that one`,
      }),
    );
  }

  /** Kernel memory of the ring, or of both while one replaces the other. */
  get ringBytes(): number {
    return (this.#ring?.bytes ?? 0) + (this.#next?.ring.bytes ?? 0);
  }

  /** By the kernel's counters as they were told last: seen = dropped + delivered, but for what lies in a ring. */
  get counters(): { readonly seen: number; readonly dropped: number; readonly delivered: number } {
    const now = this.#ring?.stats ?? NO_STATS;
    return {
      seen: this.#before.seen + now.seen,
      dropped: this.#before.dropped + now.dropped,
      delivered: this.#before.delivered + now.delivered,
    };
  }

  open(): void {
    if (this.#ring !== undefined || this.#stopped !== undefined) return;
    clearTimeout(this.#retry);
    this.#owner.state('opening');
    this.#ring = this.#openRing(this.#shares.first());
  }

  /** The namespace is not there any more: where it is being captured the capture's own end says so, after its last frame. */
  vanished(): void {
    if (this.#ring !== undefined || this.#stopped !== undefined) return;
    clearTimeout(this.#retry);
    this.#owner.gone();
  }

  /** Asks the probe for fresh counters; called every few seconds. A ring that was hardly used meanwhile becomes smaller where memory is short. */
  count(): void {
    const ring = this.#ring;
    if (ring?.opened !== true) return;
    ring.capture.stats();
    const idle = this.#bytes < ring.bytes / IDLE_PART;
    this.#bytes = 0;
    if (idle && this.#mayReplace(SHRINK_AFTER_MS)) this.#replace(this.#shares.smaller(ring.bytes));
  }

  /** Closes, and resolves when every frame has been handed over and every loss been told. */
  async close(): Promise<void> {
    clearTimeout(this.#retry);
    if (this.#ring === undefined) {
      this.#stopped ??= () => {};
      this.#dropped.flush();
      return;
    }
    await new Promise<void>((resolve) => {
      this.#stopped = resolve;
      this.#next?.ring.capture.close();
      this.#ring?.capture.close();
    });
  }

  #openRing(bytes: number): Ring {
    const ring: Ring = {
      bytes,
      opened: false,
      stats: NO_STATS,
      capture: this.#link.capture(
        this.#cookie,
        { ...this.#settings, ringBytes: bytes },
        {
          opened: () => this.#opened(ring),
          frames: (payload) => this.#frames(ring, payload),
          stats: (stats) => this.#count(ring, stats),
          end: (end) => this.#ended(ring, end),
        },
      ),
    };
    return ring;
  }

  #opened(ring: Ring): void {
    ring.opened = true;
    this.#attempts = 0;
    if (ring === this.#ring) {
      this.#owner.state('capturing');
      if (this.#gap) this.#owner.lose({ source: 'gap', count: 0, exact: true, detail: 'frames of the namespace are captured again' });
      this.#gap = false;
    } else this.#ring?.capture.close();
  }

  #frames(ring: Ring, payload: Uint8Array): void {
    this.#bytes += payload.length;
    const next = this.#next;
    if (next !== undefined && ring === next.ring) {
      next.held.push(payload);
      next.heldBytes += payload.length;
      if (next.heldBytes > MOST_HELD) this.#succeed();
      return;
    }
    if (next !== undefined) next.overlap.add(payload);
    if (this.#overlap === undefined || ring !== this.#ring) {
      this.#owner.frames(payload);
      return;
    }
    const overlap = this.#overlap;
    const [left, late] = [overlap.left, overlap.late];
    const rest = overlap.rest(payload);
    // Both rings counted them.
    const twice = left - overlap.left + overlap.late - late;
    this.#before.seen -= twice;
    this.#before.delivered -= twice;
    if (rest.length > 0) this.#owner.frames(rest);
    if (overlap.left === 0 || performance.now() > this.#overlapUntilMs) this.#endOverlap();
  }

  /** More was left out than the first ring had lost: frames that were on their way when it was shut. */
  #endOverlap(): void {
    const late = this.#overlap?.late ?? 0;
    this.#overlap = undefined;
    this.#dropped.add(late - this.#droppedBeside, false);
    this.#droppedBeside = 0;
  }

  #count(ring: Ring, stats: ProbeStats): void {
    const more = stats.dropped - ring.stats.dropped;
    ring.stats = stats;
    if (more <= 0) return;
    this.#dropped.add(more, this.#next === undefined);
    if (this.#next !== undefined && ring === this.#ring) this.#droppedBeside += more;
    if (ring === this.#ring && this.#mayReplace(GROW_EVERY_MS)) this.#replace(this.#shares.larger(ring.bytes));
  }

  #mayReplace(afterMs: number): boolean {
    return (
      this.#ring?.opened === true &&
      this.#next === undefined &&
      this.#stopped === undefined &&
      performance.now() - this.#replacedMs >= afterMs
    );
  }

  /** A second ring is opened beside the first, and takes its place. */
  #replace(bytes: number | undefined): void {
    if (bytes === undefined) return;
    this.#replacedMs = performance.now();
    // Keys of the first ring's frames are kept from here on: the second may see them as soon as it is asked for.
    this.#next = { ring: this.#openRing(bytes), overlap: new FrameOverlap(), held: [], heldBytes: 0 };
  }

  /** The second ring takes the place of the one before it. */
  #succeed(): void {
    const next = this.#next;
    if (next === undefined) return;
    this.#next = undefined;
    this.#ring = next.ring;
    this.#overlap = next.overlap;
    this.#overlapUntilMs = performance.now() + OVERLAP_MS;
    for (const payload of next.held) this.#frames(next.ring, payload);
  }

  #ended(ring: Ring, end: ProbeEnd): void {
    this.#shares.release(ring.bytes);
    // The probe drains before it ends. What waited when a lost probe was asked last may have been handed over since: the gap stands for the rest.
    const waiting = end.code === 'disconnected' ? 0 : ring.stats.waiting;
    if (waiting > 0)
      this.#owner.lose({
        source: 'undrained',
        count: waiting,
        exact: true,
        detail: 'frames were left in the ring when the capture ended',
      });
    const next = this.#next;
    if (next !== undefined && ring === next.ring) {
      // Not to be had: the smaller one goes on. Open and ended already: the smaller one ends as well, and comes first.
      if (!ring.opened) this.#next = undefined;
      else next.ended = end;
      return;
    }
    this.#settle(ring);
    this.#ring = undefined;
    if (next === undefined) {
      this.#over(ring, end);
      return;
    }
    this.#succeed();
    if (next.ended === undefined) return;
    this.#settle(next.ring);
    this.#ring = undefined;
    this.#over(next.ring, next.ended);
  }

  #settle({ stats: { seen, dropped, delivered } }: Ring): void {
    this.#before = {
      seen: this.#before.seen + seen,
      dropped: this.#before.dropped + dropped,
      delivered: this.#before.delivered + delivered,
    };
  }

  #over(ring: Ring, end: ProbeEnd): void {
    if (this.#overlap !== undefined) this.#endOverlap();
    this.#dropped.flush();
    if (this.#stopped !== undefined) this.#stopped();
    else if (end.code === 'gone') this.#owner.gone();
    else this.#broken(ring, end);
  }

  /** The capture ended, and the namespace lives on as far as anyone knows. */
  #broken(ring: Ring, end: ProbeEnd): void {
    const lost = end.code === 'disconnected' || end.code === 'shutdown';
    this.#owner.state(lost ? 'opening' : 'failed', end.text);
    // A lost connection is told once for all namespaces, and ends when there is one again.
    if (lost) return;
    if (ring.opened) {
      this.#gap = true;
      this.#owner.lose({ source: 'gap', count: 1, exact: false, detail: `the capture ended: ${end.text}` });
    }
    const pause = Math.min(FIRST_RETRY_MS * 2 ** this.#attempts++, LONGEST_RETRY_MS);
    this.#retry = setTimeout(() => this.open(), pause);
  }
}
