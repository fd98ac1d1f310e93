/**
 * Puts hops in the order of travel: the connection on which one proxy sent a request on is, seen in the other namespace, the one on which the next proxy got it.
 * It is the same connection when both saw the same initial sequence number under the same tuple; a Service's address on the way is translated by the node, the opener's end is not.
 */
import type { Subject } from '../annotate/subject.ts';
import type { Exchange } from '../flow/http.ts';
import { formatEndpoint } from '../net/address.ts';
import type { Evidence } from '../record/record.ts';
import { CLOCK_NS, type Clocks, UNBOUND_NS } from './clocks.ts';
import { originalPath } from './fit.ts';
import type { Hop } from './hop.ts';
import { push } from './multi-map.ts';
import type { Place } from './place.ts';
import { normalisePath } from './request-path.ts';

export interface Counterpart {
  readonly subject: Subject;
  readonly evidence: Evidence;
}

/** The same connections as other namespaces saw them: of a flow that leaves here, the flow that comes in there; and the other way round. */
export class Counterparts {
  readonly #arriving = new Map<Subject, Counterpart>();
  readonly #leaving = new Map<Subject, Counterpart>();

  constructor(subjects: readonly Subject[]) {
    const bySyn = new Map<string, Subject[]>();
    const byTuple = new Map<string, Subject[]>();
    for (const subject of subjects) {
      if (!arrives(subject)) continue;
      const { translation } = subject;
      push(byTuple, `${subject.flow.protocol} ${end(translation.source)} ${end(translation.destination)}`, subject);
      const isn = subject.flow.tcp?.isnToDestination;
      if (isn !== undefined) push(bySyn, `${end(translation.source)} ${isn}`, subject);
    }
    const leaving = subjects.filter(leaves).flatMap((subject) => {
      const found = this.#find(subject, bySyn, byTuple);
      return found === undefined ? [] : [{ subject, found }];
    });
    // What both saw the handshake of, is not another's by its tuple.
    for (const wanted of ['observed', 'derived'] as const)
      for (const { subject, found } of leaving) {
        if (found.evidence !== wanted || this.#leaving.has(found.subject)) continue;
        this.#arriving.set(subject, found);
        this.#leaving.set(found.subject, { subject, evidence: found.evidence });
      }
  }

  #find(subject: Subject, bySyn: ReadonlyMap<string, Subject[]>, byTuple: ReadonlyMap<string, Subject[]>): Counterpart | undefined {
    const { flow, translation, world } = subject;
    const elsewhere = (other: Subject) => other.world !== world && overlaps(subject, other);
    const isn = flow.tcp?.isnToDestination;
    if (isn !== undefined) {
      const same = (bySyn.get(`${end(translation.source)} ${isn}`) ?? []).filter(elsewhere);
      if (same.length === 1) return { subject: same[0]!, evidence: 'observed' };
      if (same.length > 1) return undefined;
    }
    const same = (byTuple.get(`${flow.protocol} ${end(translation.source)} ${end(translation.destination)}`) ?? []).filter(elsewhere);
    if (same.length !== 1) return undefined;
    const other = same[0]!;
    const theirs = other.flow.tcp?.isnToDestination;
    if (isn !== undefined && theirs !== undefined) return undefined;
    if (
      flow.tcp !== undefined &&
      other.flow.tcp !== undefined &&
      !sequencesMeet(flow.tcp.nextToDestination, other.flow.tcp.nextToDestination)
    )
      return undefined;
    return { subject: other, evidence: 'derived' };
  }

  /** Connections as they left one namespace, and as they came in to another. */
  *pairs(): Generator<readonly [left: Subject, arrived: Subject]> {
    for (const [left, { subject }] of this.#arriving) yield [left, subject];
  }

  /** Where a flow that leaves its namespace comes in. */
  arrivalOf(subject: Subject): Counterpart | undefined {
    return this.#arriving.get(subject);
  }

  /** Whence a flow that comes in left. */
  departureOf(subject: Subject): Counterpart | undefined {
    return this.#leaving.get(subject);
  }
}

/** Two views of one connection stop at about the same byte. */
const SEQUENCE_WINDOW = 1 << 24;

function sequencesMeet(a: number, b: number): boolean {
  return Math.abs((a - b) | 0) < SEQUENCE_WINDOW;
}

/** While connections are watched the same ones are looked at again and again. */
const ends = new WeakMap<object, string>();

function end(at: { readonly ip: string; readonly port: number }): string {
  let text = ends.get(at);
  if (text === undefined) {
    text = formatEndpoint(at.ip, at.port);
    ends.set(at, text);
  }
  return text;
}

const leaves = (subject: Subject) => subject.place.sourceIsOurs && !subject.place.destinationIsOurs;
const arrives = (subject: Subject) => subject.place.destinationIsOurs && !subject.place.sourceIsOurs;

/** Ports are used again: two views of one connection are of the same time. */
function overlaps(a: Subject, b: Subject): boolean {
  const offset = (b.base.epochSeconds - a.base.epochSeconds) * 1e9;
  return b.flow.firstNs + offset <= a.flow.lastNs + UNBOUND_NS && a.flow.firstNs <= b.flow.lastNs + offset + UNBOUND_NS;
}

/**
 * The hop that follows, for the same request.
 *
 * @param candidates those that came in on the connection on which `hop` went on
 * @param open those that may have
 */
export function followingHop(hop: Hop, candidates: readonly Hop[], open: readonly Hop[], clocks: Clocks): Hop | undefined {
  const fitting = candidates.filter((next) => next.of === hop.of);
  if (hop.of === 'connection') return fitting.length === 1 ? fitting[0] : undefined;
  const { place, mayLie, exchange } = hop;
  if (exchange === undefined) return undefined;
  const alike = (next: Hop) => sameAsked(exchange, next.exchange) && nested(hop, next, clocks);
  if (mayLie !== undefined) {
    // One of these: only where each is known over there does the one that asks the same have to be it.
    const there = mayLie.map((one) => fitting.filter((next) => liesIn(one, next)));
    if (!there.every((nexts) => nexts.length === 1)) return undefined;
    const only = there.flat().filter(alike);
    return only.length === 1 ? only[0] : undefined;
  }
  if (place === undefined) return undefined;
  if (!place.shared) {
    const exact = fitting.filter((next) => liesIn(place, next));
    if (exact.length === 1 && sameAsked(exchange, exact[0]!.exchange)) return exact[0];
    if (exact.length > 1) return undefined;
  }
  const found = fitting.filter((next) => alike(next) && !isAnother(place, next));
  return found.length === 1 && !open.some(alike) ? found[0] : undefined;
}

/** Did the next proxy get it at the place of the connection at which this one sent it? */
function liesIn(place: Place, next: Hop): boolean {
  const onWire = sameOnWire(place, next);
  if (onWire !== undefined) return onWire;
  const theirs = next.place;
  if (next.readOn === 'down') return place.clientEnd === next.exchange?.index;
  return theirs !== undefined && !theirs.shared && place.clientEnd === theirs.clientEnd;
}

/** The same by what is on the wire, where that tells: the two may have been seen from different moments on. */
function sameOnWire(place: Place, next: Hop): boolean | undefined {
  const got = next.readOn === 'down' ? next.exchange : next.place?.exchange;
  const [left, right] = [place.exchange?.streamId, got?.streamId];
  if (left !== undefined && right !== undefined) return left === right;
  if (next.place?.shared) return undefined;
  const seq = next.readOn === 'down' ? got?.requestSeq : next.place?.seq;
  return place.seq === undefined || seq === undefined ? undefined : place.seq === seq;
}

/** Two requests in the clear that surely are not the same one. */
function isAnother(place: Place, next: Hop): boolean {
  return place.exchange !== undefined && sameOnWire(place, next) === false;
}

/** Was the same asked for? What one side does not know does not speak against it. */
export function sameAsked(left: Exchange | undefined, right: Exchange | undefined): boolean {
  if (left === undefined || right === undefined) return true;
  if (left.request?.method !== undefined && right.request?.method !== undefined && left.request.method !== right.request.method)
    return false;
  const sent = left.request?.path;
  const got = right.request?.path;
  if (sent === undefined || got === undefined) return true;
  const asked = normalisePath(sent);
  return asked === normalisePath(got) || asked === normalisePath(originalPath(right) ?? got);
}

/** The later hop lies within the earlier one in time, as far as the nodes' clocks are known. */
function nested(a: Hop, b: Hop, clocks: Clocks): boolean {
  const outer = a.exchange;
  const inner = b.exchange;
  const left = a.up ?? a.down;
  const right = b.down ?? b.up;
  if (outer?.requestStartNs === undefined || inner?.requestStartNs === undefined || left === undefined || right === undefined) return false;
  const { low, high } = clocks.difference(right, left, inner.requestStartNs);
  if (inner.requestStartNs + high + CLOCK_NS < outer.requestStartNs) return false;
  return (
    outer.responseEndNs === undefined ||
    inner.responseStartNs === undefined ||
    inner.responseStartNs + low <= outer.responseEndNs + CLOCK_NS
  );
}
