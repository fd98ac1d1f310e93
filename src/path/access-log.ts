/**
 * Joins by what the proxy itself wrote: an access-log entry names both connections of a request. It proves a join, and where a join that was derived says otherwise, the entry is right.
 *
 * A hop is held against the entries of its connection, by method, path, request id and time; it takes part only when exactly one pair of connections is left. On a collision of ports
 * Envoy sees the translated source.
 */
import { epochMs, requestFacts } from '../annotate/envoy.ts';
import type { Subject } from '../annotate/subject.ts';
import type { AccessLogEntry, LoggedEnd } from '../envoy/access-log.ts';
import { decideRequest } from '../envoy/request.ts';
import type { Exchange } from '../flow/http.ts';
import { formatEndpoint } from '../net/address.ts';
import { originalPath, sameRequestId } from './fit.ts';
import type { Hop } from './hop.ts';
import { push } from './multi-map.ts';
import type { Place } from './place.ts';
import { normalisePath } from './request-path.ts';

/** Stamps of packets and of Envoy are of one clock; Envoy reads its own once for a whole round of its event loop. */
const EARLY_MS = 2;
const LATE_MS = 20;

const keyOf = (from: LoggedEnd, to: LoggedEnd) => `${formatEndpoint(from.ip, from.port)} ${formatEndpoint(to.ip, to.port)}`;

/** The connection as an entry may name it. */
function keysOf(subject: Subject): Set<string> {
  const { source, destination, translated } = subject.translation;
  return new Set([keyOf(source, destination), ...(translated === undefined ? [] : [keyOf(translated.source, destination)])]);
}

interface Found {
  readonly entry: AccessLogEntry;
  /** Of several that name the same connections none is known to be the request's own. */
  readonly only: boolean;
}

class Log {
  readonly #byDown = new Map<string, AccessLogEntry[]>();
  readonly #byUp = new Map<string, AccessLogEntry[]>();
  readonly #subjects = new Map<string, Subject[]>();
  readonly #used = new Set<AccessLogEntry>();

  constructor(entries: readonly AccessLogEntry[], subjects: readonly Subject[]) {
    for (const entry of [...entries].sort((a, b) => a.startMs - b.startMs)) {
      push(this.#byDown, keyOf(entry.remote, entry.local), entry);
      const { upstreamLocal, upstream } = entry;
      if (upstreamLocal !== undefined && upstreamLocal !== 'none' && upstream !== undefined && upstream !== 'none')
        push(this.#byUp, keyOf(upstreamLocal, upstream), entry);
    }
    for (const subject of subjects)
      if (subject.flow.protocol === 'tcp') for (const key of keysOf(subject)) push(this.#subjects, key, subject);
  }

  /** The one connection with these ends that was there during the entry. */
  #connection(from: LoggedEnd, to: LoggedEnd, entry: AccessLogEntry): Subject | undefined {
    const until = entry.startMs + entry.precisionMs + (entry.durationMs ?? 0) + LATE_MS;
    const found = (this.#subjects.get(keyOf(from, to)) ?? []).filter(
      (subject) =>
        epochMs(subject.base, subject.flow.firstNs) <= until && epochMs(subject.base, subject.flow.lastNs) >= entry.startMs - EARLY_MS,
    );
    return found.length === 1 ? found[0] : undefined;
  }

  upOf(entry: AccessLogEntry): Subject | undefined {
    const { upstreamLocal, upstream } = entry;
    if (upstreamLocal === undefined || upstreamLocal === 'none' || upstream === undefined || upstream === 'none') return undefined;
    return this.#connection(upstreamLocal, upstream, entry);
  }

  downOf(entry: AccessLogEntry): Subject | undefined {
    return this.#connection(entry.remote, entry.local, entry);
  }

  /** The entry of a hop, where exactly one fits, or all that fit name the same other connection. */
  find(hop: Hop): Found | undefined {
    const read = hop.of === 'connection' || hop.readOn === 'down' ? hop.down : hop.up;
    if (read === undefined || (hop.of === 'request' && hop.exchange === undefined)) return undefined;
    const index = hop.of === 'request' && hop.readOn === 'up' ? this.#byUp : this.#byDown;
    const all = [...keysOf(read)]
      .flatMap((key) => index.get(key) ?? [])
      .filter((entry) => (hop.of === 'request' ? fitsRequest(entry, hop, read) : fitsConnection(entry, read)));
    const fitting = all.filter((entry) => !this.#used.has(entry));
    const [first] = fitting;
    if (first === undefined || !fitting.every((entry) => sameConnections(entry, first))) return undefined;
    if (hop.of === 'request') this.#used.add(first);
    return { entry: first, only: all.length === 1 };
  }
}

const textOf = (end: AccessLogEntry['upstream']): string =>
  end === undefined || end === 'none' ? `${end}` : formatEndpoint(end.ip, end.port);

function sameConnections(a: AccessLogEntry, b: AccessLogEntry): boolean {
  return (
    keyOf(a.remote, a.local) === keyOf(b.remote, b.local) &&
    textOf(a.upstreamLocal) === textOf(b.upstreamLocal) &&
    textOf(a.upstream) === textOf(b.upstream)
  );
}

function samePath(logged: string, sent: string): boolean {
  const bare = logged.includes('?') ? sent : sent.replace(/\?.*$/s, '');
  return logged === bare || normalisePath(logged) === normalisePath(bare);
}

function fitsRequest(entry: AccessLogEntry, hop: Hop, read: Subject): boolean {
  const { request } = hop.exchange!;
  if (request === undefined || entry.method === undefined) return false;
  if (request.method !== undefined && request.method !== entry.method) return false;
  const sent = originalPath(hop.exchange!);
  if (sent !== undefined && entry.path !== undefined && !samePath(entry.path, sent)) return false;
  if (request.requestId !== undefined && entry.requestId !== undefined && !sameRequestId(request.requestId, entry.requestId)) return false;
  return fitsTime(entry, hop.exchange!, read, hop.readOn === 'up');
}

/** Read on its way in, the entry begins with the request; read on its way out, the request lies within the entry. */
function fitsTime(entry: AccessLogEntry, exchange: Exchange, read: Subject, isUpstream: boolean): boolean {
  if (exchange.requestStartNs === undefined) return false;
  const from = epochMs(read.base, exchange.requestStartNs);
  const latest = entry.startMs + entry.precisionMs;
  if (isUpstream) {
    const until = entry.durationMs === undefined ? Number.POSITIVE_INFINITY : latest + entry.durationMs + LATE_MS;
    return entry.startMs <= from + EARLY_MS && from <= until;
  }
  const end = exchange.responseStartNs ?? exchange.requestEndNs ?? exchange.requestStartNs;
  return latest + EARLY_MS >= from && entry.startMs <= Math.max(epochMs(read.base, end), from + LATE_MS) + EARLY_MS;
}

function fitsConnection(entry: AccessLogEntry, down: Subject): boolean {
  if (entry.method !== undefined) return false;
  const first = epochMs(down.base, down.flow.firstNs);
  const last = epochMs(down.base, down.flow.lastNs);
  return entry.startMs + entry.precisionMs + EARLY_MS >= first && entry.startMs <= last + LATE_MS;
}

const startOf = (hop: Hop): number => hop.exchange?.requestStartNs ?? hop.down?.flow.firstNs ?? hop.up?.flow.firstNs ?? 0;

/**
 * The hops of one namespace with what its proxy's access log says of them: `logged`, and the join that it proves. Without a log they are returned as they are.
 *
 * @param subjects all connections of the namespace
 */
export function joinByAccessLog(hops: readonly Hop[], subjects: readonly Subject[]): Hop[] {
  const entries = subjects[0]?.world.accessLog?.entries ?? [];
  if (entries.length === 0) return [...hops];
  const log = new Log(entries, subjects);
  const joined = new Map<Hop, Hop>();
  // Requests first, those that were read on the application's side before those that were read as they came in: the log has one entry for both.
  const rank = (hop: Hop) => (hop.of === 'connection' ? 2 : hop.direction === 'inbound' && hop.readOn === 'down' ? 1 : 0);
  for (const hop of [...hops].sort((a, b) => rank(a) - rank(b) || startOf(a) - startOf(b))) {
    const found = log.find(hop);
    if (found !== undefined) joined.set(hop, withEntry(hop, found, log));
  }
  const all = hops.map((hop) => joined.get(hop) ?? hop);
  return withoutRepeated(all, new Set(joined.values()));
}

function withEntry(hop: Hop, found: Found, log: Log): Hop {
  const { entry } = found;
  if (hop.of === 'request' && hop.readOn === 'up') {
    const down = log.downOf(entry);
    return down === undefined ? withoutOther(hop, 'down', entry) : withDown(hop, down, found);
  }
  const up = log.upOf(entry);
  if (up !== undefined) return withUp(hop, up, found);
  // Of an attempt that failed Envoy may tell where to, but not from where: then nothing contradicts what was derived.
  const open =
    entry.upstream === undefined || entry.upstreamLocal === undefined || (entry.upstream !== 'none' && entry.upstreamLocal === 'none');
  return open ? { ...hop, logged: entry } : withoutOther(hop, 'up', entry);
}

const proven = { by: 'access-log', evidence: 'observed' } as const;

function withUp(hop: Hop, up: Subject, found: Found): Hop {
  const { place: _place, mayLie: _mayLie, ...rest } = hop;
  return { ...rest, ...(hop.up === up ? lying(hop, found) : {}), up, join: proven, logged: found.entry };
}

/** Where a request lies on the connection that the log names, too: of several places that with its id. */
function lying({ place, mayLie }: Hop, { entry: { requestId }, only }: Found): Pick<Hop, 'place' | 'mayLie'> {
  const idOf = ({ exchange }: Place) => exchange?.request?.requestId;
  const isNamed = (one: Place) => requestId !== undefined && idOf(one) !== undefined && sameRequestId(idOf(one)!, requestId);
  if (place !== undefined) return only && requestId !== undefined && idOf(place) !== undefined && !isNamed(place) ? {} : { place };
  if (mayLie === undefined) return {};
  const named = only ? mayLie.filter(isNamed) : [];
  return named.length === 1 ? { place: named[0]! } : { mayLie };
}

function withDown(hop: Hop, down: Subject, found: Found): Hop {
  const { place: _place, mayLie: _mayLie, ...unplaced } = hop;
  if (hop.down === down) return { ...unplaced, ...lying(hop, found), join: proven, logged: found.entry };
  const { routed: _routed, ...rest } = unplaced;
  const facts = requestFacts(hop.exchange!, hop.up!.base, originalPath(hop.exchange!));
  const routed = down.connection === undefined || facts === undefined ? undefined : decideRequest(down.connection, facts);
  return { ...rest, down, join: proven, logged: found.entry, ...(routed === undefined ? {} : { routed }) };
}

/** The other connection was none of those that were recorded, or there was none: what was derived is wrong. */
function withoutOther(hop: Hop, side: 'up' | 'down', entry: AccessLogEntry): Hop {
  if (hop.join === undefined) return { ...hop, logged: entry };
  const { join: _join, place: _place, mayLie: _mayLie, ...rest } = hop;
  const left: { up?: Subject; down?: Subject } & Hop = { ...rest, logged: entry };
  delete left[side];
  return left;
}

/** What was told of a connection as long as nobody knew that its requests are these. */
function withoutRepeated(hops: readonly Hop[], joined: ReadonlySet<Hop>): Hop[] {
  const told = new Map<string, number>();
  const served = new Set<Subject>();
  for (const hop of joined) {
    if (hop.join !== proven || hop.of !== 'request' || hop.readOn !== 'up') continue;
    served.add(hop.down!);
    const key = requestKey(hop);
    told.set(key, (told.get(key) ?? 0) + 1);
  }
  return hops.filter((hop) => {
    if (hop.up !== undefined || hop.down === undefined || hop.direction !== 'inbound') return true;
    if (hop.of === 'connection') return !served.has(hop.down);
    if (hop.readOn !== 'down') return true;
    const key = requestKey(hop);
    const count = told.get(key) ?? 0;
    told.set(key, count - 1);
    return count <= 0;
  });
}

function requestKey({ down, exchange }: Hop): string {
  return `${down!.record.id} ${exchange!.request?.method} ${originalPath(exchange!)} ${exchange!.request?.requestId}`;
}
