/**
 * An application that passes x-request-id on links what came in to it with its own calls. The call is over before what came in is, so it is told first, and once more, with its parent,
 * when that is known.
 */
import type { Hop } from '../../path/hop.ts';
import type { FoundPath } from '../../path/paths.ts';
import type { PathRecord } from '../../record/record.ts';

const KEPT_NS = 30e9;
const KEPT_MAX = 20_000;
/** Calls with one id that wait for what came in. */
const CALLS_MAX = 256;

interface Waiting {
  readonly record: PathRecord;
  readonly startNs: number;
  readonly atNs: number;
}

interface Inbound {
  /** `undefined`: several came in with that id, none can be told to be the parent. */
  id: string | undefined;
  readonly startNs: number;
  readonly endNs: number;
  readonly atNs: number;
}

/** Stamps of one kernel; two processors may differ by less than this. */
const CLOCK_NS = 2_000;

export class ParentLinks {
  readonly #calls = new Map<string, Waiting[]>();
  readonly #inbound = new Map<string, Inbound>();
  /** Ids that several bear which came in and are there now. */
  #several: ReadonlySet<string> = new Set();

  /** Takes all that is there now, told or not: of what came in under one id and lasts, none is the parent for sure. */
  look(found: readonly FoundPath[]): void {
    const once = new Set<Hop['exchange']>();
    const seen = new Set<string>();
    const several = new Set<string>();
    for (const { hops } of found)
      for (const hop of hops) {
        const key = isInbound(hop) ? keyOf(hop) : undefined;
        if (key === undefined || once.has(hop.exchange)) continue;
        once.add(hop.exchange);
        (seen.has(key) ? several : seen).add(key);
      }
    this.#several = several;
  }

  /** The record itself, with its parent where it is known, and the calls whose parent it is. */
  link(path: FoundPath, record: PathRecord, nowNs: number): PathRecord[] {
    const linked: PathRecord[] = [];
    let own = record;
    for (const hop of path.hops) {
      const key = keyOf(hop);
      if (key === undefined) continue;
      const startNs = hop.exchange?.requestStartNs ?? 0;
      const endNs = hop.exchange?.responseEndNs ?? Number.POSITIVE_INFINITY;
      if (isInbound(hop)) linked.push(...this.#cameIn(key, { id: record.id, startNs, endNs, atNs: nowNs }));
      else if (hop === path.hops[0] && own.parent === undefined) own = this.#wentOut(key, { record: own, startNs, atNs: nowNs });
    }
    return [own, ...linked];
  }

  expire(nowNs: number): void {
    for (const [key, { atNs }] of this.#inbound) {
      if (nowNs - atNs < KEPT_NS && this.#inbound.size <= KEPT_MAX) break;
      this.#inbound.delete(key);
    }
    for (const [key, [first]] of this.#calls) {
      if (first !== undefined && nowNs - first.atNs < KEPT_NS && this.#calls.size <= KEPT_MAX) break;
      this.#calls.delete(key);
    }
  }

  #cameIn(key: string, inbound: Inbound): PathRecord[] {
    const known = this.#inbound.get(key);
    // The same request again (a retry): only the times tell which of them a call belongs to, so the newer one counts for what is told from now on.
    this.#inbound.delete(key);
    const overlaps = this.#several.has(key) || (known !== undefined && inbound.startNs <= known.endNs + CLOCK_NS);
    this.#inbound.set(key, overlaps ? { ...inbound, id: undefined } : inbound);
    const calls = this.#calls.get(key) ?? [];
    this.#calls.delete(key);
    const { id } = inbound;
    if (overlaps || id === undefined) return [];
    return calls
      .filter((call) => isWithin(call, inbound) && call.record.id !== id)
      .map(({ record }) => ({ ...record, event: 'update', parent: id }));
  }

  #wentOut(key: string, call: Waiting): PathRecord {
    const parent = this.#inbound.get(key);
    if (parent?.id !== undefined && isWithin(call, parent))
      return parent.id === call.record.id ? call.record : { ...call.record, parent: parent.id };
    const list = this.#calls.get(key);
    if (list === undefined) this.#calls.set(key, [call]);
    else if (list.length < CALLS_MAX) list.push(call);
    return call.record;
  }
}

function keyOf(hop: Hop): string | undefined {
  const id = hop.exchange?.request?.requestId;
  const subject = hop.readOn === 'up' ? hop.up : hop.down;
  return id === undefined || subject === undefined ? undefined : `${subject.record.node}\n${subject.record.netns}\n${id}`;
}

function isWithin({ startNs }: Waiting, inbound: Inbound): boolean {
  return startNs + CLOCK_NS >= inbound.startNs && startNs <= inbound.endNs + CLOCK_NS;
}

/** What an application got, read on its way there. */
function isInbound(hop: Hop): boolean {
  return hop.direction === 'inbound' && hop.readOn === 'up';
}
