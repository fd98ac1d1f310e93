/**
 * The pipeline of the daemon: what replay does with a whole recording, done a tick at a time with what is still there of each namespace.
 *
 * In      frames of each namespace, in the order of their rings; what is known of it, in its world; the time, by `tick`
 * Out     records: flows (open, update, close), then paths when they are final, then findings; losses when they are told
 * Bounds  flows a namespace (those that nobody answered give way first), and what hangs on them; everything that was told and ended is forgotten
 *
 * It reads no clock: the same frames, worlds and ticks give the same records.
 */
import type { Subject } from '../../annotate/subject.ts';
import { errorText } from '../../net/error-text.ts';
import type { TimeBase } from '../../net/time.ts';
import { assemblePaths } from '../../path/paths.ts';
import { addLoss, type LastLosses, type Loss } from '../../record/lost.ts';
import type { AnyRecord, LostRecord, TotalRecord } from '../../record/record.ts';
import { noRedaction, redaction } from '../../record/redact.ts';
import { Tally } from '../../record/tally.ts';
import { ProbeFrames } from '../../source/probe-frames.ts';
import { EngineNamespace, type WatchedWorld } from './engine-namespace.ts';
import { FindingTeller } from './finding-teller.ts';
import { FlowTeller } from './flow-teller.ts';
import { giveUpPaths, type LiveFlow } from './live-flow.ts';
import { PathTeller } from './path-teller.ts';

export interface EngineOptions {
  readonly node: string;
  readonly redact: boolean;
  readonly base: TimeBase;
  /** Of the hash of flows: random, against tuples that were made to collide. */
  readonly seed: number;
  /** How long nothing may come before an ending is taken for one; 400 ms. */
  readonly settleNs?: number;
  /** How old a flow is when it is told as open; 500 ms. A shorter one is told once, when it ended. */
  readonly openNs?: number;
  /** How often a flow that goes on is told; 10 s. */
  readonly updateNs?: number;
  /** Flows a namespace; 262,144. */
  readonly flowsMax?: number;
}

const SETTLE_NS = 400e6;
const OPEN_NS = 500e6;
const UPDATE_NS = 10e9;
const FLOWS_MAX = 262_144;
/** Joining is the larger part of the work: every second tick. */
const PATHS_EVERY_NS = 450e6;
const FINDINGS_EVERY_NS = 2e9;
const FAILURES_MAX = 3;
/** Longer than anything waits to be told (path-teller.ts), and what lies before it that may belong to it. */
const HELD_MAX_NS = 15e9;
const HELD_MARGIN_NS = 1e9;

export class Engine {
  readonly #options: EngineOptions;
  readonly #write: (record: AnyRecord) => void;
  readonly #namespaces = new Set<EngineNamespace>();
  readonly #frames: ProbeFrames;
  readonly #tally = new Tally();
  /** The last of each source in each scope. */
  readonly #losses: LastLosses = new Map();
  readonly #paths: PathTeller;
  readonly #findings: FindingTeller;
  readonly #flows: FlowTeller;
  /** Times in a row that joining failed. */
  #failures = 0;
  #finishing = false;
  /** Paths and findings of a tick: they follow the flows that they name. */
  #behind: AnyRecord[] = [];
  #joinedNs = Number.NEGATIVE_INFINITY;
  #foundNs = Number.NEGATIVE_INFINITY;
  /** Frames and bytes of namespaces that are gone. */
  #gone = { packets: 0, bytes: 0 };

  constructor(options: EngineOptions, write: (record: AnyRecord) => void) {
    this.#options = options;
    this.#write = (record) => {
      // What lasts is told several times: it counts at its end.
      if ((record.type !== 'flow' && record.type !== 'path') || record.event === 'close' || this.#finishing) this.#tally.add(record);
      write(record);
    };
    this.#frames = new ProbeFrames(options.base);
    const settleNs = options.settleNs ?? SETTLE_NS;
    this.#findings = new FindingTeller((record) => this.#behind.push(record));
    this.#paths = new PathTeller(settleNs, (record) => {
      this.#findings.addPath(record);
      this.#behind.push(record);
    });
    this.#flows = new FlowTeller({ settleNs, openNs: options.openNs ?? OPEN_NS, updateNs: options.updateNs ?? UPDATE_NS }, this.#write);
  }

  open(cookie: bigint, world: WatchedWorld): EngineNamespace {
    const { base, seed, flowsMax } = this.#options;
    const namespace = new EngineNamespace(cookie, world, base, this.#frames, seed, flowsMax ?? FLOWS_MAX);
    this.#namespaces.add(namespace);
    return namespace;
  }

  /** Its flows end; all of them are told at the next tick. Everything that its ring held must have been given before. */
  close(namespace: EngineNamespace): void {
    namespace.closing = true;
  }

  /** @param nowNs by the clock that stamps the frames, since the base; never less than before */
  tick(nowNs: number): void {
    this.#run(nowNs, false);
  }

  /** Tells everything as it stands, and the totals. Nothing may come after it. */
  finish(nowNs: number): TotalRecord {
    for (const namespace of this.#namespaces) namespace.closing = true;
    this.#finishing = true;
    this.#run(nowNs, true);
    return this.total();
  }

  /** What was told so far. */
  total(): TotalRecord {
    let { packets, bytes } = this.#gone;
    for (const namespace of this.#namespaces) {
      packets += namespace.packets;
      bytes += namespace.bytes;
    }
    return { ...this.#tally.record(), packets, bytes };
  }

  /** A loss becomes a record, in order with the others. */
  lose(loss: Loss, scope: LostRecord['scope']): void {
    this.#write(addLoss(this.#losses, loss, scope, this.#options.base));
  }

  /** What was lost so far, by source. */
  lost(): Map<string, number> {
    const sums = new Map<string, number>();
    for (const { source, total } of this.#losses.values()) sums.set(source, (sums.get(source) ?? 0) + total);
    return sums;
  }

  #run(nowNs: number, all: boolean): void {
    const namespaces = [...this.#namespaces];
    for (const namespace of namespaces) {
      this.#told(namespace, nowNs);
      namespace.look(nowNs);
      this.#toldFaults(namespace, nowNs);
    }
    if (all || nowNs - this.#joinedNs >= PATHS_EVERY_NS || namespaces.some(({ closing }) => closing)) {
      this.#joinedNs = nowNs;
      this.#tryPaths(namespaces, nowNs, all);
    }
    if (all || nowNs - this.#foundNs >= FINDINGS_EVERY_NS) {
      this.#foundNs = nowNs;
      this.#tryFindings(namespaces, nowNs, all);
    }
    for (const namespace of namespaces) for (const live of namespace.flows()) this.#flows.tell(live, nowNs, all);
    for (const record of this.#behind) this.#write(record);
    this.#behind = [];
    const sinceNs = this.#heldSinceNs(namespaces, nowNs);
    for (const namespace of namespaces) {
      if (namespace.closing) this.#drop(namespace);
      else namespace.forget(nowNs, sinceNs);
    }
  }

  /** Nothing that came since then is left out or forgotten: a request that is over waits for its proxy's configuration to be confirmed, and is joined with all that was there when it was. */
  #heldSinceNs(namespaces: readonly EngineNamespace[], nowNs: number): number {
    let since = nowNs;
    for (const namespace of namespaces) since = Math.min(since, namespace.heldSinceNs(nowNs - HELD_MAX_NS));
    return Math.max(since - HELD_MARGIN_NS, nowNs - HELD_MAX_NS);
  }

  /** What makes joining fail again and again is told without its paths, so that the rest goes on. */
  #tryPaths(namespaces: readonly EngineNamespace[], nowNs: number, all: boolean): void {
    try {
      this.#tellPaths(namespaces, nowNs, all);
      this.#failures = 0;
    } catch (error) {
      if (++this.#failures < FAILURES_MAX && !all) return;
      this.#failures = 0;
      let count = 0;
      for (const namespace of namespaces) count += giveUpPaths(namespace.active(nowNs, nowNs - HELD_MAX_NS));
      this.#fail(count, `Cannot join ${count} flows to paths: ${errorText(error)}`, nowNs);
    }
  }

  #tryFindings(namespaces: readonly EngineNamespace[], nowNs: number, all: boolean): void {
    const { base } = this.#options;
    try {
      this.#findings.look(
        namespaces.map((namespace) => ({ world: namespace.world, base, flows: [...namespace.flows()] })),
        nowNs,
        all,
      );
    } catch (error) {
      this.#fail(1, `Cannot look for what is wrong: ${errorText(error)}`, nowNs);
    }
  }

  #fail(count: number, detail: string, nowNs: number): void {
    this.lose({ source: 'engine', count, exact: true, atNs: nowNs, detail }, { node: this.#options.node });
  }

  #tellPaths(namespaces: readonly EngineNamespace[], nowNs: number, all: boolean): void {
    const sinceNs = this.#heldSinceNs(namespaces, nowNs);
    const active = namespaces.map((namespace) => namespace.active(nowNs, sinceNs));
    const owners = new Map<Subject, LiveFlow>();
    for (const flows of active) for (const live of flows) owners.set(live.subject, live);
    const standing = this.#paths.standing(owners);
    const found =
      owners.size === 0
        ? []
        : assemblePaths(
            active.map((flows) => flows.map(({ subject }) => subject)),
            this.#options.redact ? redaction : noRedaction,
            standing,
          );
    this.#paths.tell(found, nowNs, all);
  }

  #told(namespace: EngineNamespace, nowNs: number): void {
    const scope = { node: this.#options.node, netns: namespace.world.netns };
    const { evicted } = namespace;
    if (evicted > 0) {
      namespace.evicted = 0;
      const detail = `Cannot keep ${evicted} more flows: there are as many as are kept for one namespace`;
      this.lose({ source: 'flow_table', count: evicted, exact: true, atNs: nowNs, detail }, scope);
    }
    const unfollowed = namespace.takeUnfollowed();
    if (unfollowed > 0) {
      const detail = `Cannot read the requests of ${unfollowed} connections: there are more than can be followed at once`;
      this.lose({ source: 'requests', count: unfollowed, exact: true, atNs: nowNs, detail }, scope);
    }
  }

  #toldFaults(namespace: EngineNamespace, nowNs: number): void {
    const { count, reason } = namespace.takeFaults();
    if (count === 0) return;
    const detail = `Cannot judge ${count} flows: ${reason}`;
    this.lose({ source: 'engine', count, exact: true, atNs: nowNs, detail }, { node: this.#options.node, netns: namespace.world.netns });
  }

  /** Waits for the last of its flows: what other namespaces saw of them may take a moment more. */
  #drop(namespace: EngineNamespace): void {
    for (const live of namespace.flows()) if (live.told !== 'close') return;
    this.#gone.packets += namespace.packets;
    this.#gone.bytes += namespace.bytes;
    this.#namespaces.delete(namespace);
  }
}
