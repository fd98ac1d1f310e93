/**
 * Conntrack of one namespace as it changes: a dump, then events. Entries that ended stay findable for a while, since packets and events come by different ways, until their tuple is used again.
 *
 * Bounded: when there are more than `most` entries, the oldest are forgotten; connections of theirs are then judged without conntrack.
 */
import type { ConntrackEvent } from '../netfilter/conntrack.ts';
import type { ConntrackEntry } from '../netfilter/conntrack-entry.ts';
import { ConntrackView, endOf } from './conntrack-view.ts';

/** How long an ended entry is kept. */
const LINGER_NS = 10e9;
const ENTRIES_MAX = 262_144;

interface Kept {
  readonly entry: ConntrackEntry;
  /** Infinity while the connection lives. */
  untilNs: number;
}

function keyOf({ protocol, original, zone }: ConntrackEntry): string {
  const from = endOf(original, 'source');
  const to = endOf(original, 'destination');
  return `${zone ?? 0} ${protocol} ${from.ip} ${from.port} ${to.ip} ${to.port}`;
}

export class LiveConntrack {
  readonly view = new ConntrackView([]);
  /** Entries that were forgotten for want of room. */
  overflow = 0;
  readonly #kept = new Map<string, Kept>();
  readonly #most: number;

  constructor(most = ENTRIES_MAX) {
    this.#most = most;
  }

  /** A whole dump: what it does not show has ended. */
  replace(entries: Iterable<ConntrackEntry>, nowNs: number): void {
    const shown = new Set<string>();
    for (const entry of entries) {
      shown.add(keyOf(entry));
      this.#add(entry);
    }
    for (const [key, kept] of this.#kept)
      if (!shown.has(key) && kept.untilNs === Number.POSITIVE_INFINITY) kept.untilNs = nowNs + LINGER_NS;
  }

  /** Events in the order in which the kernel told them. */
  apply(events: Iterable<ConntrackEvent>, nowNs: number): void {
    for (const { type, entry } of events) {
      if (type !== 'DESTROY') {
        this.#add(entry);
        continue;
      }
      const kept = this.#kept.get(keyOf(entry));
      // Of a connection whose beginning was missed the end is news, too.
      if (kept === undefined) this.#add(entry);
      const ended = kept ?? this.#kept.get(keyOf(entry));
      if (ended !== undefined) ended.untilNs = nowNs + LINGER_NS;
    }
  }

  /** Forgets what ended long enough ago. */
  expire(nowNs: number): void {
    for (const [key, kept] of this.#kept) if (kept.untilNs < nowNs) this.#remove(key, kept);
  }

  #add(entry: ConntrackEntry): void {
    const key = keyOf(entry);
    const before = this.#kept.get(key);
    if (before !== undefined) {
      // The tuple is the same; what it was translated to may be another connection's.
      this.view.remove(before.entry);
      this.#kept.delete(key);
    } else if (this.#kept.size >= this.#most) {
      for (const [oldest, kept] of this.#kept) {
        this.#remove(oldest, kept);
        break;
      }
      this.overflow++;
    }
    this.#kept.set(key, { entry, untilNs: Number.POSITIVE_INFINITY });
    this.view.add(entry);
  }

  #remove(key: string, kept: Kept): void {
    this.view.remove(kept.entry);
    this.#kept.delete(key);
  }
}
