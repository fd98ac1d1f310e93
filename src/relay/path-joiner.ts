/**
 * Completes paths across nodes. A daemon tells the part of a path that lies on its node; where the last leg of one part and the first leg of another are one connection, seen by two nodes, they may be one path:
 *
 * - requests, when they end at the same sequence number of that connection (`legs[].seq`); where that is not known on one side, when method, path and time leave exactly one on either side,
 *   the clocks' offset is known and nothing was lost meanwhile (then the join is of `order`, `derived`); else the connection is the last that is known, with what fits as candidates;
 * - connections, when each side has only one.
 *
 * A part waits for its others a bounded time, then goes as far as it is known. Everything else passes as it comes. Times of waiting are the caller's clock, times in records are the nodes'.
 */
import { parseTimeNs, type TimeBase } from '../net/time.ts';
import { isMirrored } from '../path/fit.ts';
import { CANDIDATES_MAX } from '../path/http-hops.ts';
import { normalisePath } from '../path/request-path.ts';
import type { AnyRecord, FlowRecord, Leg, LostRecord, PathRecord } from '../record/record.ts';
import { ClockOffsets } from './clock-offset.ts';
import { type ConnectionView, ConnectionViews } from './connection-views.ts';
import { DueQueue } from './due-queue.ts';
import { composePath, type Link, type OuterLeg } from './merged-path.ts';
import { RecentMap } from './recent-map.ts';

/** Parts that are kept at once; beyond, the oldest go as they are. */
const PARTS_MAX = 50_000;
/** Ids that are remembered after their path was told. */
const IDS_MAX = 100_000;
/** Paths that are remembered after they were told for good. */
const DONE_MAX = 10_000;
const FLOWS_MAX = 100_000;
const LOSSES_MAX = 1_024;
/** What was lost had happened so long before, at most: records are told when they are final, and rings are asked now and then. */
const LOST_LATE_NS = 15e9;
/** Where it is known that more may come, a part waits so many times longer: a node that is busy tells late. */
const PATIENCE = 3;
/** Paths of one connection that are remembered as candidates. */
const ALONE_MAX = 64;

interface Part {
  path: PathRecord;
  /** It changed since it was told. */
  fresh: boolean;
  deadlineMs: number;
  next: Part | undefined;
  previous: Part | undefined;
  /** How `next` was found. */
  link: Link | undefined;
  /** Under which its path was told. */
  toldAs: string | undefined;
}

/** The parts that begin, or end, on one flow. */
interface Ends {
  /** Neither joined nor told for good. */
  readonly open: Set<Part>;
  readonly bySeq: Map<number, Set<Part>>;
  /** Paths that ever were; and those of them that are more than the flow itself. */
  total: number;
  more: number;
  requests: number;
  /** The last that were told without what came before them (of parts that begin here), or without what comes after them (of parts that end here). */
  readonly alone: PathRecord[];
  /** Of those that are not remembered any more, the last moment. */
  forgottenNs: number;
}

const mayLeave: ReadonlySet<Leg> = new Set<Leg>([
  'proxy-to-upstream',
  'dns-agent-to-resolver',
  'direct',
  'control',
  'telemetry',
  'hbone',
  'unknown',
]);
const mayArrive: ReadonlySet<Leg> = new Set<Leg>(['client-to-proxy', 'probe', 'direct', 'control', 'telemetry', 'hbone', 'unknown']);

export interface JoinerOptions {
  readonly base: TimeBase;
  /** Milliseconds that a part waits for its others. */
  readonly waitMs: number;
}

export class PathJoiner {
  readonly offsets = new ClockOffsets();
  readonly #base: TimeBase;
  readonly #waitMs: number;
  readonly #emit: (record: AnyRecord) => void;
  readonly #views: ConnectionViews;
  readonly #parts = new RecentMap<string, Part>(PARTS_MAX, (part) => this.#letGo(part));
  /** Those that are fresh; a part that became so again is there again. */
  readonly #waiting = new DueQueue<Part>();
  /** Those of which it is known, or may be, that the other node has more to tell. */
  readonly #patient = new DueQueue<Part>();
  readonly #outs = new RecentMap<string, Ends>(FLOWS_MAX);
  readonly #ins = new RecentMap<string, Ends>(FLOWS_MAX);
  /** Of a connection that came in: the flows on which what came with it may have gone on, and no more is known of which. */
  readonly #mayGoOn = new RecentMap<string, Set<string>>(FLOWS_MAX);
  /** When a flow was first heard of: nobody waits for ever for its other end. */
  readonly #heardMs = new RecentMap<string, number>(FLOWS_MAX);
  /** Of parts that were told for good: what was told. */
  readonly #done = new RecentMap<string, PathRecord>(DONE_MAX);
  readonly #aliases = new RecentMap<string, string>(IDS_MAX);
  /** Parts that were told for good, longer than what was told of them is remembered. */
  readonly #over = new RecentMap<string, true>(IDS_MAX);
  readonly #losses: { readonly node: string; readonly firstNs: number; readonly lastNs: number }[] = [];

  constructor({ base, waitMs }: JoinerOptions, emit: (record: AnyRecord) => void) {
    this.#base = base;
    this.#waitMs = waitMs;
    this.#emit = emit;
    this.#views = new ConnectionViews(base, this.offsets);
  }

  write(record: AnyRecord, nowMs: number): void {
    switch (record.type) {
      case 'flow':
        this.#flow(record, nowMs);
        break;
      case 'path':
        this.#path(record, nowMs);
        break;
      case 'finding':
        this.#emit({ ...record, paths: record.paths.map((id) => this.#nameOf(id)) });
        break;
      case 'lost':
        this.#lost(record);
        this.#emit(record);
        break;
      case 'total':
        this.#emit(record);
        break;
    }
  }

  /** Tells the parts that have waited long enough. */
  tick(nowMs: number): void {
    for (let due = this.#waiting.take(nowMs); due !== undefined; due = this.#waiting.take(nowMs)) {
      const { item, dueMs } = due;
      if (!item.fresh || item.deadlineMs !== dueMs) continue;
      if (nowMs === Number.POSITIVE_INFINITY || !this.#expectsMore(item)) this.#settle(item);
      else {
        item.deadlineMs = dueMs + (PATIENCE - 1) * this.#waitMs;
        this.#patient.put(item, item.deadlineMs);
      }
    }
    for (let due = this.#patient.take(nowMs); due !== undefined; due = this.#patient.take(nowMs))
      if (due.item.fresh && due.item.deadlineMs === due.dueMs) this.#settle(due.item);
  }

  /** Both nodes saw the connection on which it came in or went on, and the other has not told what it did there; or nothing is known of that connection yet. */
  #expectsMore(part: Part): boolean {
    const chain = chainOf(part);
    return this.#awaits(inFlow(chain[0]!.path), this.#outs) || this.#awaits(outFlow(chain.at(-1)!.path), this.#ins);
  }

  #awaits(flow: string | undefined, there: RecentMap<string, Ends>): boolean {
    if (flow === undefined) return false;
    const view = this.#views.find(flow);
    if (view === undefined) return true;
    const ends = view.other === undefined ? undefined : there.get(view.other.id);
    // What has its connection told as a whole there, needs no more than that.
    return view.other !== undefined && (ends === undefined || ends.requests > 0 || ends.total === 0);
  }

  /** Nothing more will come. */
  end(): void {
    this.tick(Number.POSITIVE_INFINITY);
  }

  /** A flow that is told for the sake of the paths that follow: it was told to others before. */
  context(flow: FlowRecord, nowMs: number): void {
    this.#know(flow, nowMs);
  }

  #flow(flow: FlowRecord, nowMs: number): void {
    this.#emit(flow.paths === undefined ? flow : { ...flow, paths: flow.paths.map((id) => this.#nameOf(id)) });
    this.#know(flow, nowMs);
  }

  #know(flow: FlowRecord, nowMs: number): void {
    const before = this.#views.find(flow.id)?.other;
    const view = this.#views.take(flow);
    if (view === undefined) return;
    if (!this.#heardMs.has(flow.id)) this.#heardMs.set(flow.id, nowMs);
    if (view.other === undefined || before !== undefined) return;
    const leaver = view.way === 'leaves' ? view : view.other;
    for (const out of [...(this.#outs.get(leaver.id)?.open ?? [])]) this.#meet(leaver, out, undefined);
    for (const part of [...(this.#outs.get(leaver.id)?.open ?? []), ...(this.#ins.get(leaver.other!.id)?.open ?? [])])
      this.#tellIfWhole(part, nowMs);
  }

  #lost({ scope, first, last }: LostRecord): void {
    const [firstNs, lastNs] = [parseTimeNs(this.#base, first), parseTimeNs(this.#base, last)];
    if (firstNs === undefined || lastNs === undefined) return;
    this.#losses.push({ node: scope.node, firstNs, lastNs });
    if (this.#losses.length > LOSSES_MAX) this.#losses.shift();
  }

  #path(path: PathRecord, nowMs: number): void {
    const told = this.#done.get(path.id);
    if (told !== undefined) {
      this.#tellParent(path, told);
      return;
    }
    if (this.#over.has(path.id)) return;
    let part = this.#parts.get(path.id);
    if (part === undefined) {
      part = { path, fresh: true, deadlineMs: 0, next: undefined, previous: undefined, link: undefined, toldAs: undefined };
      this.#parts.set(path.id, part);
      this.#register(part);
    } else {
      this.#unindex(part);
      const before = part.path;
      part.path = path;
      this.#register(part, before);
    }
    this.#noteOpen(path);
    part.fresh = true;
    part.deadlineMs = nowMs + this.#waitMs;
    this.#waiting.put(part, part.deadlineMs);
    const leaver = this.#views.find(outFlow(path) ?? '');
    if (leaver?.way === 'leaves' && leaver.other !== undefined && part.next === undefined) this.#meet(leaver, part, undefined);
    const arriver = this.#views.find(inFlow(path) ?? '');
    if (arriver?.way === 'arrives' && arriver.other !== undefined && part.previous === undefined)
      this.#meet(arriver.other, undefined, part);
    this.#tellIfWhole(part, nowMs);
  }

  /** A request that was read behind a proxy, of which it is not known on which connection it came in. */
  #noteOpen({ legs, joins }: PathRecord): void {
    const [first] = legs;
    for (const { from, to, candidates } of joins) {
      if (first === undefined || from !== 0 || to !== 0 || candidates === undefined || !first.roles.includes('proxy-to-app')) continue;
      for (const flow of candidates) {
        const on = this.#mayGoOn.get(flow) ?? new Set();
        if (on.size < CANDIDATES_MAX) on.add(first.flow);
        this.#mayGoOn.set(flow, on);
      }
    }
  }

  /** There are too many parts: this one goes as it is. */
  #letGo(part: Part): void {
    if (part.fresh) this.#settle(part);
    for (const one of chainOf(part)) this.#finish(one, part.path);
  }

  // The ends of parts, by flow.

  /** @param before what it was when it was registered last */
  #register(part: Part, before?: PathRecord): void {
    const { path } = part;
    this.#count(this.#outs, path, before, outFlow);
    this.#count(this.#ins, path, before, inFlow);
    this.#index(part);
  }

  #count(
    map: RecentMap<string, Ends>,
    path: PathRecord,
    before: PathRecord | undefined,
    flowOf: (path: PathRecord) => string | undefined,
  ): void {
    const flow = flowOf(path);
    if (flow === undefined) return;
    let ends = map.get(flow);
    if (ends === undefined) {
      ends = { open: new Set(), bySeq: new Map(), total: 0, more: 0, requests: 0, alone: [], forgottenNs: Number.NEGATIVE_INFINITY };
      map.set(flow, ends);
    }
    const known = before !== undefined && flowOf(before) === flow;
    if (!known) {
      ends.total++;
      if (path.of === 'request') ends.requests++;
    }
    if (!isOnlyFlow(path) && (!known || isOnlyFlow(before))) ends.more++;
  }

  #index(part: Part): void {
    const { path } = part;
    if (part.next === undefined) addEnd(this.#outs.get(outFlow(path) ?? ''), part, path.legs.at(-1)?.seq);
    if (part.previous === undefined) addEnd(this.#ins.get(inFlow(path) ?? ''), part, path.legs[0]?.seq);
  }

  #unindex(part: Part): void {
    const { path } = part;
    removeEnd(this.#outs.get(outFlow(path) ?? ''), part, path.legs.at(-1)?.seq);
    removeEnd(this.#ins.get(inFlow(path) ?? ''), part, path.legs[0]?.seq);
  }

  // Joining.

  /** One of the two has come: is the other there, beyond doubt? */
  #meet(leaver: ConnectionView, out: Part | undefined, into: Part | undefined): void {
    const outs = this.#outs.get(leaver.id);
    const ins = this.#ins.get(leaver.other!.id);
    if (outs === undefined || ins === undefined) return;
    const one = (out ?? into)!;
    if (one.path.of === 'connection') {
      const [from, to] = [onlyConnection(outs), onlyConnection(ins)];
      if (from !== undefined && to !== undefined && (from === out || to === into)) this.#link(leaver, from, to, 'tuple');
      return;
    }
    const seq = out === undefined ? one.path.legs[0]?.seq : one.path.legs.at(-1)?.seq;
    if (seq === undefined) return;
    const [left, right] = [outs.bySeq.get(seq), ins.bySeq.get(seq)];
    if (left?.size !== 1 || right?.size !== 1) return;
    const [from] = left;
    const [to] = right;
    if (from!.path.of === 'request' && to!.path.of === 'request' && sameMethod(from!.path, to!.path))
      this.#link(leaver, from!, to!, 'tuple');
  }

  #link(leaver: ConnectionView, out: Part, into: Part, by: Link['by']): boolean {
    if (out === into || !endsSurely(out.path) || !beginsSurely(into.path) || chainOf(out).includes(into)) return false;
    removeEnd(this.#outs.get(leaver.id), out, out.path.legs.at(-1)?.seq);
    removeEnd(this.#ins.get(leaver.other!.id), into, into.path.legs[0]?.seq);
    out.next = into;
    into.previous = out;
    out.link = { by, evidence: by === 'order' ? 'derived' : leaver.evidence };
    if (by === 'tuple' && out.path.of === 'request') this.#tellClocks(out.path, into.path);
    return true;
  }

  #tellClocks(outer: PathRecord, inner: PathRecord): void {
    // One that was given up ends before its server has answered.
    if (outer.event !== 'close' || inner.event !== 'close' || outer.request?.status === undefined || !sameStatus(outer, inner)) return;
    const [a, b] = [this.#span(outer), this.#span(inner)];
    this.offsets.nested(outer.legs.at(-1)!.node, a.firstNs, a.lastNs, inner.legs[0]!.node, b.firstNs, b.lastNs);
  }

  #span({ first, last }: PathRecord): { readonly firstNs: number; readonly lastNs: number } {
    return { firstNs: parseTimeNs(this.#base, first) ?? Number.NaN, lastNs: parseTimeNs(this.#base, last) ?? Number.NaN };
  }

  /** Time is up on this connection: what do method, path and time leave? */
  #decide(leaver: ConnectionView, out: Part | undefined, into: Part | undefined): void {
    const outs = this.#outs.get(leaver.id);
    const ins = this.#ins.get(leaver.other!.id);
    if (outs === undefined || ins === undefined) return;
    const from = out ?? this.#only([...outs.open].filter((other) => this.#fits(leaver, other.path, into!.path)));
    if (from === undefined) return;
    const to = into ?? this.#only([...ins.open].filter((other) => this.#fits(leaver, from.path, other.path)));
    if (to === undefined) return;
    if (from.path.of === 'request' && to.path.of === 'connection') {
      // Nobody could read what came in there. If this was the only request on that connection, what is known of the connection is known of the request.
      if (outs.total === 1 && ins.total === 1 && leaver.pathCount <= 1 && !isOnlyFlow(to.path)) this.#link(leaver, from, to, 'tuple');
      return;
    }
    if (from.path.of !== 'request' || to.path.of !== 'request' || this.#lostDuring(leaver, from.path)) return;
    const unique =
      this.#only([...outs.open].filter((other) => this.#fits(leaver, other.path, to.path))) === from &&
      this.#only([...ins.open].filter((other) => this.#fits(leaver, from.path, other.path))) === to;
    if (unique && isSurelyAsked(from.path, to.path) && !this.#fitsToldAlone(leaver, outs, ins, from.path, to.path))
      this.#link(leaver, from, to, 'order');
  }

  /** Parts whose time was up earlier may belong to one of these just as well. */
  #fitsToldAlone(leaver: ConnectionView, outs: Ends, ins: Ends, from: PathRecord, to: PathRecord): boolean {
    if (
      outs.alone.some((path) => this.#fits(leaver, path, to)) ||
      ins.alone.some((path) => path.of === 'request' && this.#fits(leaver, from, path))
    )
      return true;
    const offset = this.offsets.between(leaver.node, leaver.other!.node)?.ns ?? 0;
    const { firstNs } = this.#span(from);
    return outs.forgottenNs >= firstNs || ins.forgottenNs - offset >= firstNs;
  }

  #only(parts: readonly Part[]): Part | undefined {
    return parts.length === 1 ? parts[0] : undefined;
  }

  /** May the one have gone on in the other? */
  #fits(leaver: ConnectionView, out: PathRecord, into: PathRecord): boolean {
    if (out.of !== 'request') return false;
    if (into.of !== 'request') return true;
    return sameSeq(out, into) ?? (mayBeOne(out, into) && this.#within(leaver, out, into));
  }

  /** Does the inner one lie within the outer one, by clocks whose offset is known? */
  #within(leaver: ConnectionView, outer: PathRecord, inner: PathRecord): boolean {
    const [a, b] = [this.#span(outer), this.#span(inner)];
    const offset = this.offsets.between(leaver.node, leaver.other!.node, a.lastNs);
    if (offset === undefined) return false;
    const [firstNs, lastNs] = [b.firstNs - offset.ns, b.lastNs - offset.ns];
    return firstNs + offset.errorNs >= a.firstNs && lastNs - offset.errorNs <= a.lastNs;
  }

  #lostDuring(leaver: ConnectionView, path: PathRecord): boolean {
    const { firstNs, lastNs } = this.#span(path);
    const offset = this.offsets.between(leaver.node, leaver.other!.node)?.ns ?? 0;
    const touches = (node: string, shift: number): boolean =>
      this.#losses.some((loss) => loss.node === node && loss.firstNs - shift - LOST_LATE_NS <= lastNs && loss.lastNs - shift >= firstNs);
    return touches(leaver.node, 0) || touches(leaver.other!.node, offset);
  }

  // Telling.

  #tellIfWhole(part: Part, nowMs: number): void {
    const chain = chainOf(part);
    const head = chain[0]!.path;
    const tail = chain.at(-1)!.path;
    if (chain.some(({ path }) => path.event !== 'close')) return;
    if (this.#mayBeElsewhere(inFlow(head), 'arrives', nowMs) || this.#mayBeElsewhere(outFlow(tail), 'leaves', nowMs)) return;
    this.#tell(chain);
  }

  /** May another node still tell of this flow's other side? */
  #mayBeElsewhere(flow: string | undefined, way: 'arrives' | 'leaves', nowMs: number): boolean {
    if (flow === undefined) return false;
    const view = this.#views.find(flow);
    if (view === undefined) return (this.#heardMs.get(flow) ?? nowMs) + this.#waitMs > nowMs;
    if (view.way !== way && view.way !== 'unknown') return false;
    return view.other !== undefined || (this.#heardMs.get(flow) ?? nowMs) + this.#waitMs > nowMs;
  }

  /** Time is up for a part: it is joined as far as what is known allows, and told. */
  #settle(part: Part): void {
    for (const one of chainOf(part)) {
      const leaver = one.next === undefined ? this.#views.find(outFlow(one.path) ?? '') : undefined;
      if (leaver?.way === 'leaves' && leaver.other !== undefined) this.#decide(leaver, one, undefined);
      const arriver = one.previous === undefined ? this.#views.find(inFlow(one.path) ?? '') : undefined;
      if (arriver?.way === 'arrives' && arriver.other !== undefined) this.#decide(arriver.other, undefined, one);
    }
    this.#tell(chainOf(part));
  }

  #tell(chain: readonly Part[]): void {
    const head = chain[0]!;
    const tail = chain.at(-1)!;
    const over = head.path.event === 'close';
    const before = this.#otherSide(inFlow(head.path), 'arrives');
    const after = this.#otherSide(outFlow(tail.path), 'leaves');
    // As the last of several parts: the paths of which it is the parent name that one.
    const id = chain.find((part) => part.toldAs !== undefined)?.toldAs ?? tail.path.id;
    const composed = composePath({
      id,
      event: over ? 'close' : chain.some((part) => part.toldAs !== undefined) ? 'update' : head.path.event,
      parts: chain.map((part) => part.path),
      links: chain.slice(0, -1).map((part) => part.link!),
      ...(before === undefined ? {} : { before: outerLeg(before) }),
      ...(after === undefined ? {} : { after: outerLeg(after), candidates: this.#candidates(tail, after) }),
    });
    const path = composed.parent === undefined ? composed : { ...composed, parent: this.#nameOf(composed.parent) };
    if (!this.#isToldElsewhere(chain, before, after)) this.#emit(path);
    for (const part of chain) {
      part.fresh = false;
      part.toldAs = id;
      if (part.path.id !== id) this.#aliases.set(part.path.id, id);
    }
    if (over) for (const part of chain) this.#finish(part, path);
  }

  /** A part that is nothing but the flow itself is left out where the other node's parts tell more of it, or have it as a leg. */
  #isToldElsewhere(chain: readonly Part[], before: ConnectionView | undefined, after: ConnectionView | undefined): boolean {
    const [only] = chain;
    if (chain.length !== 1 || only === undefined || only.path.of !== 'connection' || !isOnlyFlow(only.path)) return false;
    if (after !== undefined) return (this.#ins.get(after.id)?.more ?? 0) > 0;
    return before !== undefined && (this.#outs.get(before.id)?.total ?? 0) > 0;
  }

  /** Of a flow at which a part ends: the same connection as the other node saw it. */
  #otherSide(flow: string | undefined, way: 'arrives' | 'leaves'): ConnectionView | undefined {
    const view = flow === undefined ? undefined : this.#views.find(flow);
    return view?.way === way ? view.other : undefined;
  }

  /** The flows on which a request may have gone on that ends on the connection `arrived`. */
  #candidates(out: Part, arrived: ConnectionView): string[] {
    if (out.path.of !== 'request' || arrived.other === undefined) return [];
    const flows = new Set<string>(this.#mayGoOn.get(arrived.id) ?? []);
    const ins = this.#ins.get(arrived.id);
    for (const path of [...(ins?.alone ?? []), ...[...(ins?.open ?? [])].map((into) => into.path)]) {
      const on = path.legs[1]?.flow;
      if (path.of === 'request' && on !== undefined && mayBeOne(out.path, path)) flows.add(on);
    }
    return [...flows];
  }

  /** A call is told before the request on whose behalf it was made, and once more when that is known. */
  #tellParent({ parent, id }: PathRecord, told: PathRecord): void {
    if (parent === undefined || told.parent !== undefined) return;
    const record: PathRecord = { ...told, event: 'update', parent: this.#nameOf(parent) };
    this.#done.set(id, record);
    this.#emit(record);
  }

  #finish(part: Part, told: PathRecord): void {
    part.fresh = false;
    if (part.previous === undefined) this.#noteAlone(this.#ins.get(inFlow(part.path) ?? ''), part.path);
    if (part.next === undefined) this.#noteAlone(this.#outs.get(outFlow(part.path) ?? ''), part.path);
    this.#unindex(part);
    this.#parts.delete(part.path.id);
    this.#done.set(part.path.id, told);
    this.#over.set(part.path.id, true);
  }

  #noteAlone(ends: Ends | undefined, path: PathRecord): void {
    if (ends === undefined || ends.alone.push(path) <= ALONE_MAX) return;
    ends.forgottenNs = Math.max(ends.forgottenNs, this.#span(ends.alone.shift()!).lastNs || Number.NEGATIVE_INFINITY);
  }

  /** The id under which a path is told. */
  #nameOf(id: string): string {
    return this.#aliases.get(id) ?? id;
  }
}

function outFlow({ legs }: PathRecord): string | undefined {
  const leg = legs.at(-1);
  return leg?.roles.some((role) => mayLeave.has(role)) ? leg.flow : undefined;
}

function inFlow({ legs }: PathRecord): string | undefined {
  const leg = legs[0];
  return leg?.roles.some((role) => mayArrive.has(role)) ? leg.flow : undefined;
}

/** A path of one leg that no proxy's work is known of. */
function isOnlyFlow({ of, legs, joins, decisions }: PathRecord): boolean {
  return of === 'connection' && legs.length === 1 && joins.length === 0 && decisions === undefined;
}

/** Is it known that it left on its last leg? */
function endsSurely({ legs, joins }: PathRecord): boolean {
  return !joins.some(({ to, evidence }) => to === legs.length - 1 && evidence === 'ambiguous');
}

/** Is it known that it came in on its first leg? */
function beginsSurely({ joins }: PathRecord): boolean {
  return !joins.some(({ from, to, evidence }) => from === 0 && to !== 0 && evidence === 'ambiguous');
}

function sameMethod(a: PathRecord, b: PathRecord): boolean {
  const [left, right] = [a.request?.method, b.request?.method];
  return left === undefined || right === undefined || left === right;
}

/** Where one was not read, it may have been the other. */
function maySharePath(a: PathRecord, b: PathRecord): boolean {
  const [left, right] = [a.request?.path, b.request?.path];
  return left === undefined || right === undefined || normalisePath(left) === normalisePath(right);
}

function sameStatus(a: PathRecord, b: PathRecord): boolean {
  return a.request?.status === b.request?.status;
}

/** Of two that may be one: was the same read on both sides? What the next proxy answers itself has no part there, and what was mirrored or tried again there has none here. */
function isSurelyAsked(out: PathRecord, into: PathRecord): boolean {
  if (out.request?.path === undefined || into.request?.path === undefined) return false;
  if (isMirrored(out.request.authority, into.request.authority)) return false;
  return out.request.status === undefined || into.request.status === undefined || sameStatus(out, into);
}

/** Does nothing that both know speak against it? */
function mayBeOne(out: PathRecord, into: PathRecord): boolean {
  return sameSeq(out, into) ?? (sameMethod(out, into) && maySharePath(out, into));
}

/** Do they end and begin at the same place of their connection? `undefined` where one of them does not know. */
function sameSeq(out: PathRecord, into: PathRecord): boolean | undefined {
  const [left, right] = [out.legs.at(-1)?.seq, into.legs[0]?.seq];
  return left === undefined || right === undefined ? undefined : left === right;
}

function outerLeg({ id, roles, node, netns, other, evidence }: ConnectionView): OuterLeg {
  return { leg: { flow: id, roles, node, netns }, evidence: other === undefined ? 'unavailable' : evidence };
}

function chainOf(part: Part): Part[] {
  let head = part;
  while (head.previous !== undefined) head = head.previous;
  const chain = [head];
  for (let next = head.next; next !== undefined; next = next.next) chain.push(next);
  return chain;
}

/** The one path of the connection itself, when it carries no requests that are paths: the one that tells most. */
function onlyConnection({ open, requests, total, more }: Ends): Part | undefined {
  if (requests > 0) return undefined;
  const parts = [...open];
  if (total === 1) return parts[0];
  const proper = parts.filter(({ path }) => !isOnlyFlow(path));
  return more === 1 ? proper[0] : undefined;
}

function addEnd(ends: Ends | undefined, part: Part, seq: number | undefined): void {
  if (ends === undefined) return;
  ends.open.add(part);
  if (seq === undefined) return;
  const same = ends.bySeq.get(seq);
  if (same === undefined) ends.bySeq.set(seq, new Set([part]));
  else same.add(part);
}

function removeEnd(ends: Ends | undefined, part: Part, seq: number | undefined): void {
  if (ends === undefined) return;
  ends.open.delete(part);
  if (seq === undefined) return;
  const same = ends.bySeq.get(seq);
  same?.delete(part);
  if (same?.size === 0) ends.bySeq.delete(seq);
}
