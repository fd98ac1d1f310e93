/**
 * One network namespace while it is watched: its flow table, its world, and the state of each of its flows. It is looked at at each tick: flows that changed are judged anew, flows
 * that ended and were told are forgotten.
 */
import { type AnnotateContext, annotate } from '../../annotate/annotate.ts';
import { pairByConntrack } from '../../annotate/halves.ts';
import { findProxyPorts } from '../../annotate/proxy-ports.ts';
import { RuleJudge } from '../../annotate/rule.ts';
import type { Subject } from '../../annotate/subject.ts';
import { isAnswerHalf, isQuestion, readFlow } from '../../flow/flow.ts';
import { LoopMemory } from '../../flow/loop-memory.ts';
import { NamespaceFlows } from '../../flow/namespace-flows.ts';
import { D_LAST, D_PACKETS_A, D_PACKETS_B, SLOT_DOUBLES, SLOT_WORDS, W_OTHER_HALF } from '../../flow/slot.ts';
import { errorText } from '../../net/error-text.ts';
import type { TimeBase } from '../../net/time.ts';
import { hasWaitingRequest } from '../../path/namespace-hops.ts';
import type { FlowRecord } from '../../record/record.ts';
import { PROBE_LINK_TYPES, type ProbeFrames } from '../../source/probe-frames.ts';
import type { World } from '../../world/world.ts';
import { awaitsPath, hasOpenRequest, heldSinceNs, idleLimitNs, type LiveFlow, makeLiveFlow, oldestOpenNs, restore } from './live-flow.ts';

/** A flow takes part in what is joined for so long after something came on it; one that ended and was told, and that no proxy uses for anything unsure, need not. */
const ACTIVE_NS = 4e9;
const ENDED_NS = 2e9;
/** An ended flow is kept so long, for what is still on its way (retransmitted FINs, last acknowledgements). */
const LINGER_NS = 5e9;
/** Requests and turns of encrypted bytes are kept so long after they ended, as places where other requests may lie. */
const RETAIN_NS = 10e9;
/** Requests whose place is not sure take part so long after they ended: others are surer by them. */
const UNSURE_NS = 3e9;
/** What requests and turns are of no use any more is looked for so often. */
const SETTLE_EVERY_NS = 1e9;
/** Room for flows at first: most namespaces have few. */
const FIRST_SLOTS = 512;
/** Flows to forget that make it worth to move the others together. */
const FORGET_MIN = 256;
const FORGET_EVERY_NS = 10e9;
/** A change of the world (names above all) makes all flows be judged anew at most so often. */
const REJUDGE_NS = 1e9;

/** A world that changes. `LiveWorld` (world/live.ts) is one. */
export interface WatchedWorld extends World {
  /** Rises when something that connections are judged by has changed. */
  readonly version: number;
  /** Forgets what is not needed any more. */
  expire(nowNs: number): void;
}

export class EngineNamespace {
  readonly cookie: bigint;
  readonly world: WatchedWorld;
  /** Its captures have ended: everything is told at the next tick. */
  closing = false;
  /** Flows that were given up for want of room since this was last read. */
  evicted = 0;
  readonly #base: TimeBase;
  readonly #flows: NamespaceFlows;
  readonly #frames: ProbeFrames;
  readonly #flowsMax: number;
  #live: (LiveFlow | undefined)[] = [];
  #context: AnnotateContext | undefined;
  #version = -1;
  #judgedAllNs = Number.NEGATIVE_INFINITY;
  #forgotNs = Number.NEGATIVE_INFINITY;
  #settledNs = Number.NEGATIVE_INFINITY;
  #unfollowed = 0;
  #faulty = new Set<number>();
  #faults = { count: 0, reason: '' };

  /** @param frames is filled and emptied within one call: one serves all namespaces */
  constructor(cookie: bigint, world: WatchedWorld, base: TimeBase, frames: ProbeFrames, seed: number, flowsMax: number) {
    this.cookie = cookie;
    this.world = world;
    this.#base = base;
    this.#flowsMax = flowsMax;
    // There may be hundreds of these: none reserves the addresses that the loop of WebAssembly wants.
    this.#flows = new NamespaceFlows({ follow: 'all', seed, memory: new LoopMemory(true, FIRST_SLOTS) });
    this.#frames = frames;
  }

  /** Frames and bytes on the wire so far. */
  get packets(): number {
    return this.#flows.frames;
  }
  get bytes(): number {
    return this.#flows.bytes;
  }
  get flowCount(): number {
    return this.#flows.table.count;
  }

  /** Counts the frames of one FRAMES payload of the probe. @throws {ProbeProtocolError} */
  observeProbeFrames(payload: Uint8Array): void {
    for (const batch of this.#frames.read(payload)) this.#flows.observeBlock(batch, batch.count, PROBE_LINK_TYPES);
    if (this.#flows.table.count > this.#flowsMax) this.#evict();
  }

  /** Connections whose requests could not be followed since this was last asked. */
  takeUnfollowed(): number {
    const more = this.#flows.unfollowed - this.#unfollowed;
    this.#unfollowed = this.#flows.unfollowed;
    return more;
  }

  /** Judges what changed since the last tick. */
  look(nowNs: number): void {
    const { table } = this.#flows;
    this.world.expire(nowNs);
    if (this.closing) this.#flows.finish();
    const anew = this.#worldChanged(nowNs);
    const { conntrack } = this.world;
    if (conntrack !== undefined) pairByConntrack(this.#flows, conntrack, this.#unpaired());
    for (let slot = 0; slot < table.count; slot++) {
      const live = this.#live[slot];
      if (this.#faulty.has(slot)) continue;
      if (isAnswerHalf(table, slot)) {
        // It was taken for a flow of its own before its other half came.
        if (live !== undefined) this.#live[slot] = undefined;
        continue;
      }
      const packets = this.#packetsOf(slot);
      if (live !== undefined && live.packets === packets) {
        // Until it is told a flow may still get the names of those who have its addresses now.
        if ((anew && live.told !== 'close') || (live.told === 'no' && live.names !== this.world.names))
          if (this.#tryJudge(slot, live) === undefined) continue;
        if (!live.ended && (this.closing || nowNs - Math.max(live.subject.flow.lastNs, live.touchedNs) > idleLimitNs(live.subject)))
          live.ended = true;
        continue;
      }
      const judged = this.#tryJudge(slot, live);
      if (judged === undefined) continue;
      judged.packets = packets;
      judged.touchedNs = nowNs;
      judged.ended = judged.subject.flow.ended || this.closing;
      // It was only idle, and goes on.
      if (judged.told === 'close' && !judged.ended) judged.told = 'open';
    }
  }

  /** Flows that could not be judged since this was last asked, and why one of them could not. */
  takeFaults(): { readonly count: number; readonly reason: string } {
    const faults = this.#faults;
    this.#faults = { count: 0, reason: '' };
    return faults;
  }

  /** All flows. */
  *flows(): Generator<LiveFlow> {
    for (const live of this.#live) if (live !== undefined) yield live;
  }

  /** When the first request began that is over and still to be told; Infinity when there is none. */
  heldSinceNs(fromNs: number): number {
    let since = Number.POSITIVE_INFINITY;
    for (const live of this.#live) if (live !== undefined) since = Math.min(since, heldSinceNs(live, fromNs));
    return since;
  }

  /**
   * Those that take part in what is joined now, without what an earlier look at paths wrote into them.
   *
   * @param sinceNs whatever came since then may be a part of what is still to be told
   */
  active(nowNs: number, sinceNs: number): LiveFlow[] {
    const found: LiveFlow[] = [];
    for (const live of this.#live) {
      if (live === undefined || !this.#isActive(live, nowNs, sinceNs)) continue;
      restore(live);
      found.push(live);
    }
    return found;
  }

  /** Forgets flows that ended and were told, and what of the others is of no use any more. */
  forget(nowNs: number, sinceNs: number): void {
    let beforeNs = nowNs - RETAIN_NS;
    let ended = this.#faulty.size;
    for (const live of this.#live) {
      if (live === undefined) continue;
      beforeNs = Math.min(beforeNs, oldestOpenNs(live, nowNs - 2 * RETAIN_NS));
      if (isForgettable(live, nowNs, sinceNs)) ended++;
    }
    if (nowNs - this.#settledNs >= SETTLE_EVERY_NS) {
      this.#settledNs = nowNs;
      for (const live of this.#live)
        if (live !== undefined && nowNs - live.touchedNs < 2 * RETAIN_NS)
          live.subject.tracker?.forget(beforeNs, Math.min(nowNs - UNSURE_NS, sinceNs));
    }
    const worth = ended > Math.max(FORGET_MIN, this.flowCount / 4) || (ended > 0 && nowNs - this.#forgotNs > FORGET_EVERY_NS);
    if (!worth) return;
    this.#forgotNs = nowNs;
    const keep = new Uint8Array(this.flowCount).fill(1);
    for (const live of this.#live) if (live !== undefined && isForgettable(live, nowNs, sinceNs)) this.#strike(keep, live.slot);
    const { doubles } = this.#flows.table;
    for (const slot of this.#faulty) if (nowNs - doubles[slot * SLOT_DOUBLES + D_LAST]! > LINGER_NS) this.#strike(keep, slot);
    this.#renumber(keep);
  }

  #isActive(live: LiveFlow, nowNs: number, sinceNs: number): boolean {
    if (this.closing) return true;
    const { touchedNs } = live;
    if (live.told === 'close' && !live.unsure && !awaitsPath(live))
      return live.subject.ports.hasProxy && touchedNs > Math.min(nowNs - ENDED_NS, sinceNs);
    if (touchedNs > Math.min(nowNs - ACTIVE_NS, sinceNs)) return true;
    if (live.ended) return awaitsPath(live);
    if (live.standing === 'down' || hasOpenRequest(live) || hasWaitingRequest(live.subject)) return true;
    const { subject } = live;
    if (subject.flow.protocolNumber !== 6) return false;
    // What is carried as bytes stands for whatever may have been sent because of it.
    const protocol = subject.tracker?.protocol;
    return protocol !== 'http1' && protocol !== 'http2' && live.pathCount === 0 && live.standing === 'no';
  }

  #packetsOf(slot: number): number {
    const { words, doubles } = this.#flows.table;
    const d = slot * SLOT_DOUBLES;
    const packets = doubles[d + D_PACKETS_A]! + doubles[d + D_PACKETS_B]!;
    const other = words[slot * SLOT_WORDS + W_OTHER_HALF]!;
    if (other === -1) return packets;
    const o = other * SLOT_DOUBLES;
    return packets + doubles[o + D_PACKETS_A]! + doubles[o + D_PACKETS_B]!;
  }

  /** Flows without another half that were not told yet, where any of them is the questions' half of a redirected connection. */
  #unpaired(): number[] {
    const { table } = this.#flows;
    const { words } = table;
    const fresh: number[] = [];
    let questions = false;
    for (let slot = 0; slot < table.count; slot++) {
      const live = this.#live[slot];
      const w = slot * SLOT_WORDS;
      if ((live !== undefined && live.told !== 'no') || words[w + W_OTHER_HALF] !== -1) continue;
      fresh.push(slot);
      questions ||= isQuestion(table, slot);
    }
    return questions ? fresh : [];
  }

  #worldChanged(nowNs: number): boolean {
    if (this.#context !== undefined && this.#version === this.world.version) return false;
    const rules = ([4, 6] as const).flatMap((family) => this.world.rulesAt(family, nowNs) ?? []);
    this.#context = {
      world: this.world,
      base: this.#base,
      judge: new RuleJudge(),
      ports: findProxyPorts(this.world, rules),
      fileInterfaces: () => undefined,
    };
    if (nowNs - this.#judgedAllNs < REJUDGE_NS) return false;
    this.#judgedAllNs = nowNs;
    this.#version = this.world.version;
    return true;
  }

  /** A flow that makes a judge fail is left out from then on, so that the others are told. */
  #tryJudge(slot: number, live: LiveFlow | undefined): LiveFlow | undefined {
    try {
      return this.#judge(slot, live);
    } catch (error) {
      this.#faulty.add(slot);
      this.#giveUp(slot);
      this.#faults = { count: this.#faults.count + 1, reason: errorText(error) };
      return undefined;
    }
  }

  #judge(slot: number, live: LiveFlow | undefined): LiveFlow {
    const flow = readFlow(this.#flows.table, slot);
    const subject = annotate(flow, this.#flows.extraOf(slot), this.#flows.trackerOf(slot), this.#context!);
    if (live === undefined) {
      const made = makeLiveFlow(slot, subject);
      this.#live[slot] = made;
      return made;
    }
    // What was told has its name already.
    if (live.told !== 'no' || live.pathCount > 0) subject.record.id = live.subject.record.id;
    const before = live.subject.record;
    live.subject = live.subject.translation.tracked && !subject.translation.tracked ? refreshed(live.subject, subject) : subject;
    if (live.told !== 'no') keepNames(before, live.subject.record);
    live.names = this.world.names;
    live.roles = live.subject.record.roles;
    live.envoy = live.subject.record.envoy;
    restore(live);
    return live;
  }

  /** Too many flows: those give way that nobody answered, then those that are idle the longest. */
  #evict(): void {
    const { table } = this.#flows;
    const excess = table.count - Math.floor(this.#flowsMax * 0.75);
    const slots: number[] = [];
    for (let slot = 0; slot < table.count; slot++) if (!isAnswerHalf(table, slot)) slots.push(slot);
    const oneSided = (slot: number) => {
      const d = slot * SLOT_DOUBLES;
      return (
        table.words[slot * SLOT_WORDS + W_OTHER_HALF] === -1 &&
        (table.doubles[d + D_PACKETS_A] === 0 || table.doubles[d + D_PACKETS_B] === 0)
      );
    };
    const weight = slots.map((slot) => ({ slot, oneSided: oneSided(slot), lastNs: table.doubles[slot * SLOT_DOUBLES + D_LAST]! }));
    weight.sort((a, b) => Number(b.oneSided) - Number(a.oneSided) || a.lastNs - b.lastNs);
    const keep = new Uint8Array(table.count).fill(1);
    for (const { slot } of weight.slice(0, excess)) {
      this.#strike(keep, slot);
      if (this.#live[slot]?.told !== 'close') this.evicted++;
      this.#giveUp(slot);
    }
    this.#renumber(keep);
  }

  /** Nothing more will be known of it: a path of it that was told as open has its end. */
  #giveUp(slot: number): void {
    const live = this.#live[slot];
    if (live !== undefined) live.ended = true;
    this.#live[slot] = undefined;
  }

  /** Both halves of a connection go. */
  #strike(keep: Uint8Array, slot: number): void {
    keep[slot] = 0;
    const other = this.#flows.table.words[slot * SLOT_WORDS + W_OTHER_HALF]!;
    if (other !== -1) keep[other] = 0;
  }

  #renumber(keep: Uint8Array): void {
    const moved = this.#flows.forget(keep);
    const live: (LiveFlow | undefined)[] = [];
    for (const flow of this.#live) {
      const slot = flow === undefined ? -1 : (moved[flow.slot] ?? -1);
      if (flow === undefined || slot === -1) continue;
      flow.slot = slot;
      live[slot] = flow;
    }
    this.#live = live;
    this.#faulty = new Set([...this.#faulty].flatMap((slot) => (moved[slot] === -1 ? [] : moved[slot]!)));
  }
}

function isForgettable(live: LiveFlow, nowNs: number, sinceNs: number): boolean {
  return (
    live.told === 'close' && !awaitsPath(live) && Math.max(live.subject.flow.lastNs, live.touchedNs) < Math.min(nowNs - LINGER_NS, sinceNs)
  );
}

/** Conntrack forgets connections before the last of their packets came by: what was judged with it stays, what packets tell is new. */
function refreshed(before: Subject, now: Subject): Subject {
  const { counters, tcp, last, state, event } = now.record;
  return {
    ...before,
    flow: now.flow,
    tracker: now.tracker,
    record: { ...before.record, counters, last, state, event, ...(tcp === undefined ? {} : { tcp }) },
  };
}

/** Addresses are used again: what a flow was called when it was told stays, whoever has its addresses by now. */
function keepNames(before: FlowRecord, now: FlowRecord): void {
  if (before.pod !== undefined) now.pod = before.pod;
  for (const side of ['source', 'destination'] as const) {
    const { pod, service, workload } = before[side];
    if (pod === undefined && service === undefined) continue;
    const peer = now[side];
    delete peer.pod;
    delete peer.service;
    delete peer.workload;
    if (pod !== undefined) peer.pod = pod;
    if (service !== undefined) peer.service = service;
    if (workload !== undefined) peer.workload = workload;
  }
}
