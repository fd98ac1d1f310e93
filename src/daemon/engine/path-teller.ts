/**
 * Tells paths once they are final: a request when its response is over and everything that was on its way has come, a connection when it ended. What lasts is told as open, and takes no
 * part in what is joined from then on.
 *
 * A request and the place where it surely went leave together: every possible assignment has them together, so the others are joined as before.
 */
import type { Subject } from '../../annotate/subject.ts';
import type { Exchange } from '../../flow/http.ts';
import { formatTime } from '../../net/time.ts';
import { CANDIDATES_MAX } from '../../path/http-hops.ts';
import type { Standing } from '../../path/namespace-hops.ts';
import type { FoundPath } from '../../path/paths.ts';
import type { PathJoin, PathRecord } from '../../record/record.ts';
import { addPath, type LiveFlow } from './live-flow.ts';
import { ParentLinks } from './parent-links.ts';

/** A request that lasts longer is told as open; after the second time it takes no part any more. */
const LONG_REQUEST_NS = 5e9;
const STANDING_REQUEST_NS = 60e9;
/** A connection that lasts longer is told as open. */
const LONG_CONNECTION_NS = 2e9;
/** After this nothing is expected to make a join surer. */
const UNSURE_NS = 60e9;
/** What came in from a pod of this node is held back so long for the part of its path that lies there. */
const DEPARTURE_NS = 1.5e9;
/** The legs of a connection end one after the other. */
const LAST_LEG_NS = 2e9;

/** What was decided is told when Envoy's configuration is known to have been that; one that does not answer is waited for this long. */
const CONFIGURATION_NS = 10e9;

/** Connections that are remembered as those on which requests may have gone on. */
const OPEN_MAX = 4096;

interface Told {
  readonly found: FoundPath;
  readonly record: PathRecord;
  readonly head: LiveFlow | undefined;
}

export class PathTeller {
  /** Paths that were told as open and take no part any more, until they end. */
  readonly #standing = new Set<Told>();
  /** What was told last of requests that were told as open. */
  readonly #open = new WeakMap<Exchange, PathRecord>();
  readonly #parents = new ParentLinks();
  readonly #settleNs: number;
  readonly #write: (record: PathRecord) => void;
  #owners: ReadonlyMap<Subject, LiveFlow> = new Map();
  /** The same by the ids of their records, made when it is first asked for. */
  #byId: ReadonlyMap<string, LiveFlow> | undefined;

  constructor(settleNs: number, write: (record: PathRecord) => void) {
    this.#settleNs = settleNs;
    this.#write = write;
  }

  /** What was told and lasts, for the next look at paths. @param owners the flows that take part in it */
  standing(owners: ReadonlyMap<Subject, LiveFlow>): Standing {
    this.#owners = owners;
    this.#byId = undefined;
    return {
      down: (subject) => owners.get(subject)?.standing === 'down',
      up: (subject) => owners.get(subject)?.standing === 'up',
      carried: (subject) => owners.get(subject)?.carried === true,
      unsure: (subject) => owners.get(subject)?.unsure === true,
    };
  }

  /** @param all the node is about to be left: everything is told as it stands */
  tell(found: readonly FoundPath[], nowNs: number, all: boolean): void {
    this.#endStanding(nowNs, all);
    this.#parents.look(found);
    const seconds = secondPasses(found);
    for (const path of found) {
      if (seconds.has(path)) continue;
      const event = path.record.of === 'request' ? this.#requestEvent(path, nowNs, all) : this.#connectionEvent(path, nowNs, all);
      if (event === undefined) continue;
      for (const [second, whole] of seconds) if (whole === path) this.#tellOne(second, event, nowNs, whole);
      this.#tellOne(path, event, nowNs);
    }
    this.#parents.expire(nowNs);
  }

  /** @param whole what the path is the second pass of */
  #tellOne(path: FoundPath, event: PathRecord['event'], nowNs: number, whole?: FoundPath): void {
    const { exchange } = path;
    const openId = this.#openIdOf(path);
    const { parent: _parent, ...rest } = this.#withOpenJoin(path);
    const record: PathRecord = {
      ...rest,
      event,
      ...(openId === undefined ? {} : { id: openId }),
      ...(whole === undefined ? {} : { parent: this.#openIdOf(whole) ?? whole.record.id }),
    };
    if (event !== 'close' && exchange !== undefined) this.#open.set(exchange, record);
    for (const leg of path.legs) {
      const owner = this.#owners.get(leg);
      if (owner !== undefined) owner.wanted = true;
    }
    const isNew = openId === undefined;
    if (isNew) for (const leg of path.legs) this.#addPath(leg, record.id);
    this.#noteViews(path);
    const head = path.legs[0] === undefined ? undefined : this.#owners.get(path.legs[0]);
    for (const hop of path.hops) {
      const owner = hop.down === undefined ? undefined : this.#owners.get(hop.down);
      if (owner !== undefined && hop.routed !== undefined) owner.firstDecision ??= hop.routed.decision;
    }
    // The parts of a second pass are the whole's.
    if (whole === undefined) this.#settle(path, event, nowNs, record, head);
    for (const changed of this.#parents.link(path, record, nowNs)) this.#write(changed);
    if (event !== 'close') return;
    if (whole === undefined) this.#endParts(path, record.id);
    if (exchange !== undefined && exchange !== whole?.exchange) this.#open.delete(exchange);
  }

  #openIdOf({ exchange }: FoundPath): string | undefined {
    return exchange === undefined ? undefined : this.#open.get(exchange)?.id;
  }

  /** What was told as open of its own, before it was found to be a part of this one, ends with it. */
  #endParts({ exchange, hops }: FoundPath, parent: string): void {
    for (const hop of hops) {
      const part = hop.exchange === undefined || hop.exchange === exchange ? undefined : this.#open.get(hop.exchange);
      if (part === undefined || part.id === parent) continue;
      this.#open.delete(hop.exchange!);
      this.#write({ ...part, event: 'close', parent });
    }
  }

  /** Requests on a leg of which no proxy of its namespace took part were told with this path. */
  #noteViews({ hops, legs }: FoundPath): void {
    const passed = new Set(hops.flatMap(({ down, up, attempts }) => [down, up, ...(attempts ?? [])]));
    if (passed.size === 0) passed.add(legs[0]);
    for (const leg of legs) {
      const owner = passed.has(leg) ? undefined : this.#owners.get(leg);
      if (owner !== undefined) owner.viewed = true;
    }
  }

  #addPath(leg: Subject, id: string): void {
    const owner = this.#owners.get(leg);
    if (owner === undefined) return;
    addPath(owner, id);
    // A join may have told what a leg is.
    owner.roles = leg.record.roles;
  }

  #settle(path: FoundPath, event: PathRecord['event'], nowNs: number, record: PathRecord, head: LiveFlow | undefined): void {
    if (path.record.of === 'connection') {
      for (const leg of path.legs) {
        const owner = this.#owners.get(leg);
        if (owner === undefined) continue;
        if (event === 'close') {
          owner.pathTold = true;
          // What was told to be nobody's does not become that of who remains.
          if (path.hops.length === 0) owner.carried = true;
        } else if (leg !== path.hops[0]?.up || path.hops[0]?.down === undefined) owner.standing = 'down';
      }
      for (const hop of path.hops) {
        for (const leg of hop.join?.candidates ?? []) this.#note(leg, 'carried');
        const owner = hop.up === undefined || hop.join?.evidence === 'ambiguous' ? undefined : this.#owners.get(hop.up);
        if (owner !== undefined && owner.subject !== path.legs[0]) owner.standing = 'up';
      }
      if (event !== 'close') this.#standing.add({ found: path, record, head });
      return;
    }
    const stays = event !== 'close' && nowNs - startOf(path) < STANDING_REQUEST_NS;
    if (stays) return;
    const lasts = event !== 'close';
    if (path.exchange !== undefined) {
      path.exchange.told = true;
      if (path.hops.length === 0 || lasts) path.exchange.settled = true;
    }
    for (const { exchange, join, place, mayLie, readOn, down, up } of path.hops) {
      if (exchange !== undefined) exchange.told = true;
      if (readOn !== undefined) for (const leg of [up, ...(join?.candidates ?? [])]) this.#note(leg, 'carried');
      // What may lie in the same place as another goes on to compete for it.
      const sure = join === undefined || (join.evidence !== 'ambiguous' && mayLie === undefined);
      if (exchange !== undefined && (sure || lasts)) settleSide(exchange, 'came', readOn === 'down' ? down : up);
      // … and what came in and is one of these is told with it.
      if (readOn === 'up') for (const one of mayLie ?? []) if (one.exchange !== undefined) one.exchange.told = true;
      if (!sure) {
        for (const leg of [down, up, ...(join.candidates ?? [])]) this.#note(leg, 'unsure');
        if (down === undefined) this.#noteOpen(join.candidates ?? [], up);
      }
      if (place === undefined || join === undefined || !sure) continue;
      const side = readOn === 'down' ? 'sent' : 'came';
      const other = side === 'sent' ? up : down;
      if (place.exchange === undefined) {
        if (!place.shared) other?.tracker?.timeline?.settled[side].add(place.clientEnd);
      } else settleSide(place.exchange, side, other);
    }
    if (event !== 'close') this.#standing.add({ found: path, record, head });
  }

  #note(leg: Subject | undefined, what: 'unsure' | 'carried'): void {
    const owner = leg === undefined ? undefined : this.#owners.get(leg);
    if (owner !== undefined) owner[what] = true;
  }

  /** It came in on one of these connections, and went on on `up`. */
  #noteOpen(candidates: readonly Subject[], up: Subject | undefined): void {
    for (const down of candidates) {
      const owner = this.#owners.get(down);
      if (owner !== undefined && up !== undefined && owner.mayGoOn.size < OPEN_MAX) owner.mayGoOn.add(up.record.id);
    }
  }

  #requestEvent(path: FoundPath, nowNs: number, all: boolean): PathRecord['event'] | undefined {
    const { exchange } = path;
    if (exchange === undefined || exchange.told || exchange.settled) return undefined;
    if (path.hops.length === 0 && this.#owners.get(path.legs[0]!)?.viewed === true) {
      if (exchange.done) exchange.told = exchange.settled = true;
      return undefined;
    }
    const exchanges = [exchange, ...path.hops.flatMap((hop) => hop.exchange ?? [])];
    const reader = path.hops[0]?.readOn === 'up' ? path.hops[0].up : (path.hops[0]?.down ?? path.legs[0]);
    const over = exchanges.every((one) => one.done || one.responseDone) || this.#hasEnded(reader);
    const lastNs = Math.max(
      ...exchanges.map((one) => one.responseEndNs ?? one.responseStartNs ?? one.requestEndNs ?? one.requestStartNs ?? 0),
    );
    if (all) return over ? 'close' : 'update';
    const decidedNs = Math.max(...exchanges.map(({ requestStartNs }) => requestStartNs ?? 0));
    const awaits = this.#awaitsConfiguration(path, decidedNs, nowNs);
    if (over) return nowNs - lastNs >= this.#settleNs && !awaits && !this.#awaitsDeparture(path, nowNs - lastNs) ? 'close' : undefined;
    if (awaits) return undefined;
    const age = nowNs - startOf(path);
    const told = this.#open.has(exchange);
    if (age >= STANDING_REQUEST_NS || (age >= LONG_REQUEST_NS && !told)) return told ? 'update' : 'open';
    return undefined;
  }

  #connectionEvent(path: FoundPath, nowNs: number, all: boolean): PathRecord['event'] | undefined {
    const headSubject = path.hops[0]?.down ?? path.legs[0];
    const head = headSubject === undefined ? undefined : this.#owners.get(headSubject);
    if (headSubject === undefined || head === undefined || head.pathTold || head.standing !== 'no') return undefined;
    const lastNs = Math.max(...path.legs.map(({ flow }) => flow.lastNs));
    const quiet = nowNs - lastNs;
    if (head.pathCount > 0) return this.#openEvent(path, quiet, all);
    if (all) return head.ended ? 'close' : 'update';
    const awaits = this.#awaitsConfiguration(path, headSubject.flow.firstNs, nowNs);
    if (head.ended) {
      const rest = path.legs.every((leg) => this.#hasEnded(leg)) || quiet >= LAST_LEG_NS;
      return rest && quiet >= this.#settleNs && !awaits && !this.#awaitsDeparture(path, quiet) ? 'close' : undefined;
    }
    if (awaits) return undefined;
    const protocol = headSubject.tracker?.protocol;
    if (protocol === 'http1' || protocol === 'http2') return undefined;
    const age = nowNs - headSubject.flow.firstNs;
    const sure = path.record.joins.every(({ evidence }) => evidence === 'observed' || evidence === 'derived');
    // Of what comes in encrypted the requests may still be found.
    const settled = path.hops.length === 0 || path.hops.every((hop) => hop.up !== undefined || hop.join !== undefined);
    return age >= (sure && settled ? LONG_CONNECTION_NS : UNSURE_NS) ? 'open' : undefined;
  }

  /** Its requests were told: they are its paths. But those that could not be told apart came over it, too. */
  #openEvent(path: FoundPath, quietNs: number, all: boolean): PathRecord['event'] | undefined {
    const last = path.legs.at(-1);
    const owner = last === undefined ? undefined : this.#owners.get(last);
    if (owner === undefined || path.hops.some(({ up }) => up !== undefined)) return undefined;
    if (all && owner.mayGoOn.size > 0 && !owner.pathTold) return owner.ended ? 'close' : 'update';
    if (!owner.ended || quietNs < this.#settleNs) return undefined;
    if (owner.mayGoOn.size > 0 && !owner.pathTold) return 'close';
    for (const leg of path.legs) {
      const own = this.#owners.get(leg);
      if (own?.ended === true && own.mayGoOn.size === 0) own.pathTold = true;
    }
    return undefined;
  }

  /** Names the connections on which requests that came in on the last leg may have gone on. */
  #withOpenJoin({ record, legs }: FoundPath): PathRecord {
    const last = legs.at(-1);
    const open = last === undefined ? undefined : this.#owners.get(last)?.mayGoOn;
    if (record.of !== 'connection' || open === undefined || open.size === 0) return record;
    const from = legs.length - 1;
    const isOpen = (join: PathJoin) => join.from === from && join.candidates !== undefined;
    // Those of now, and those of requests that were told long ago.
    const now = record.joins.find(isOpen);
    const candidates = [...new Set([...(now?.candidates ?? []), ...open])].slice(0, CANDIDATES_MAX);
    const reason = candidates.length === 1 && now?.reason !== undefined ? now.reason : 'several-upstreams';
    const join: PathJoin = { from, to: from, by: 'order', evidence: 'ambiguous', candidates, reason };
    return { ...record, complete: false, joins: [...record.joins.filter((one) => !isOpen(one)), join] };
  }

  #hasEnded(subject: Subject | undefined): boolean {
    return subject === undefined || (this.#owners.get(subject)?.ended ?? subject.flow.ended);
  }

  /** It came from a pod of this node, whose own part of the path was not found yet. */
  #awaitsDeparture(path: FoundPath, quietNs: number): boolean {
    const first = path.hops[0]?.down;
    return first !== undefined && path.legs[0] !== first && path.legs[0]?.ports.hasProxy === true && quietNs < DEPARTURE_NS;
  }

  /** A proxy on its way may have had a newer configuration by then than is known of. */
  #awaitsConfiguration({ legs }: FoundPath, decidedNs: number, nowNs: number): boolean {
    let awaits = false;
    for (const { world, ports } of legs) {
      if (!ports.hasProxy || world.envoyKnownUntilNs === undefined || world.envoyKnownUntilNs > decidedNs) continue;
      world.wantEnvoy?.();
      awaits ||= nowNs - decidedNs < CONFIGURATION_NS;
    }
    return awaits;
  }

  #endStanding(nowNs: number, all: boolean): void {
    for (const told of this.#standing) {
      const { found, record, head } = told;
      const { exchange } = found;
      if (record.of === 'request') {
        const over = exchange === undefined || exchange.done || exchange.responseDone || head === undefined || head.ended;
        if (!over && !all) continue;
        this.#standing.delete(told);
        if (all && !over) continue;
        this.#write(requestEnd(found, record));
        this.#endParts(found, record.id);
        continue;
      }
      if (head === undefined || (!head.ended && !all)) continue;
      if (!all && nowNs - head.subject.flow.lastNs < this.#settleNs) continue;
      this.#standing.delete(told);
      for (const leg of found.legs) {
        const owner = this.#ownerOf(leg, head);
        if (owner !== undefined) owner.pathTold = true;
      }
      if (head.ended) this.#write({ ...record, event: 'close', last: head.subject.record.last });
    }
  }

  /** Subjects are made anew when something comes on their flow; its id stays. */
  #ownerOf(leg: Subject, head: LiveFlow): LiveFlow | undefined {
    if (leg.record.id === head.subject.record.id) return head;
    this.#byId ??= new Map([...this.#owners.values()].map((owner) => [owner.subject.record.id, owner]));
    return this.#byId.get(leg.record.id);
  }
}

/** On a connection of a pod with itself whose request lies there and where it went on are settled each for itself. */
function settleSide(exchange: Exchange, side: 'sent' | 'came', subject: Subject | undefined): void {
  const roles = subject?.record.roles ?? [];
  const both = roles.includes('client-to-proxy') && subject?.place.sourceIsOurs === true;
  if (both) exchange[side === 'sent' ? 'sentSettled' : 'cameSettled'] = true;
  if (!both || (exchange.sentSettled && exchange.cameSettled)) exchange.settled = true;
}

/** Second passes of pods that call themselves, which are told with the whole. */
function secondPasses(found: readonly FoundPath[]): Map<FoundPath, FoundPath> {
  const seconds = new Map<FoundPath, FoundPath>();
  const wholes = new Map<string, FoundPath>();
  for (const path of found) if (path.hops.length > 0) wholes.set(path.record.id, path);
  for (const path of found) {
    const whole = path.record.parent === undefined ? undefined : wholes.get(path.record.parent);
    if (whole !== undefined && path.hops[0] !== undefined && whole.hops.includes(path.hops[0])) seconds.set(path, whole);
  }
  return seconds;
}

function startOf(path: FoundPath): number {
  return path.exchange?.requestStartNs ?? path.legs[0]?.flow.firstNs ?? 0;
}

/** A request that was told while it lasted, with what is known at its end. */
function requestEnd({ exchange, legs }: FoundPath, record: PathRecord): PathRecord {
  const status = exchange?.response?.status;
  const endNs = exchange?.responseEndNs;
  const base = legs[0]?.base;
  return {
    ...record,
    event: 'close',
    ...(endNs === undefined || base === undefined ? {} : { last: formatTime(base, endNs) }),
    ...(status === undefined ? {} : { request: { ...record.request, status } }),
  };
}
