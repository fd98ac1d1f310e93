/**
 * Holds records against Envoy's access logs: what a proxy said of each request and connection, after the fact, is the truth; the records never saw it.
 *
 * A request is matched one to one: the entries of a connection in their order with the paths of that connection in theirs, by method and path (without the query, which is redacted).
 * A join (downstream flow, upstream flow) is right if an entry has both; wrong if the proxy's log has each of them but never together; else the log does not judge it: mirrors,
 * retries, connections that were still open.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { formatEndpoint } from '../../src/net/address.ts';
import { sameRequestId } from '../../src/path/fit.ts';
import type { Decision, Evidence, FlowRecord, PathRecord, Peer } from '../../src/record/record.ts';
import { bundlesOf, type Replayed } from './replayed.ts';

/** The fields that the lab's access-log format writes and that are compared here; `-` is none. */
export interface Entry {
  at: string;
  chain: string;
  route: string;
  cluster: string;
  upstream: string;
  upstreamLocal: string;
  local: string;
  directRemote: string;
  method: string;
  path: string;
  protocol: string;
  requestId: string;
}

export interface Named {
  right: number;
  wrong: number;
  unknown: number;
}

export interface Comparison {
  entries: number;
  /** Entries whose downstream connection is no flow. */
  missed: number;
  readonly fields: Record<'cluster' | 'chain' | 'route' | 'endpoint', Named>;
  /** Entries whose both legs were recorded; those that are joined; those that are joined or among the candidates. */
  joinable: number;
  joined: number;
  candidate: number;
  /** Claimed joins within one proxy whose log we have. */
  claimed: number;
  claimedRight: number;
  claimedWrong: number;
  /** Claimed joins of requests whose id the log has too: these are judged one by one, not by connection. */
  byRequest: number;
  /** A sentence each. */
  readonly wrong: string[];
}

const isSure = (evidence: Evidence) => evidence === 'observed' || evidence === 'derived';
const endOf = (peer: Peer) => formatEndpoint(peer.ip, peer.port ?? 0);
const withoutQuery = (path: string) => path.split('?')[0]!;

class Multimap<V> {
  readonly #map = new Map<string, Set<V>>();
  add(key: string, value: V): void {
    const known = this.#map.get(key);
    if (known === undefined) this.#map.set(key, new Set([value]));
    else known.add(value);
  }
  get(key: string): ReadonlySet<V> {
    return this.#map.get(key) ?? new Set();
  }
}

/** The logs of a recording, by the network namespace of the pod whose proxy wrote them. */
export function logsOf(recording: string): Map<string, Entry[]> {
  const netnsOf = new Map<string, string>();
  for (const bundle of bundlesOf(recording)) {
    for (const { netns, pod } of bundle.manifest.namespaces) netnsOf.set(pod?.name ?? netns, netns);
    bundle.close();
  }
  const logs = new Map<string, Entry[]>();
  for (const name of readdirSync(join(recording, 'truth'))) {
    const pod = /^access-log\.(.+)\.jsonl$/.exec(name)?.[1];
    if (pod === undefined) continue;
    const netns = netnsOf.get(pod);
    if (netns === undefined) throw new Error(`Cannot compare with "${name}": a pod of the bundles is wanted, there is no "${pod}"`);
    const lines = readFileSync(join(recording, 'truth', name), 'utf8')
      .split('\n')
      .filter(Boolean);
    logs.set(
      netns,
      lines.map((line): Entry => JSON.parse(line)).sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0)),
    );
  }
  return logs;
}

/** @param recording a folder with `truth/` beside its bundles */
export function compareWithAccessLog(recording: string, records: Replayed): Comparison {
  return compareWithLogs(logsOf(recording), records);
}

/**
 * @param logs by the network namespace of the pod whose proxy wrote them; each in the order of its times
 * @param hasGaps nothing was captured for a while: of a request that is no path nothing was said, whatever its connection's record says of the first
 */
export function compareWithLogs(
  logs: ReadonlyMap<string, readonly Entry[]>,
  { flows, paths }: { readonly flows: readonly FlowRecord[]; readonly paths: readonly PathRecord[] },
  hasGaps = false,
): Comparison {
  const none = (): Named => ({ right: 0, wrong: 0, unknown: 0 });
  const result: Comparison = {
    entries: 0,
    missed: 0,
    fields: { cluster: none(), chain: none(), route: none(), endpoint: none() },
    joinable: 0,
    joined: 0,
    candidate: 0,
    claimed: 0,
    claimedRight: 0,
    claimedWrong: 0,
    byRequest: 0,
    wrong: [],
  };
  const byEnds = new Multimap<FlowRecord>();
  for (const flow of flows) {
    if (flow.protocol !== 'tcp') continue;
    byEnds.add(`${flow.netns} ${endOf(flow.source)} ${endOf(flow.destination)}`, flow);
    // On a collision of ports Envoy sees the rewritten source.
    if (flow.translated !== undefined) byEnds.add(`${flow.netns} ${endOf(flow.translated.source)} ${endOf(flow.destination)}`, flow);
  }
  const byFlow = new Multimap<PathRecord>();
  for (const path of paths) for (const leg of path.legs) byFlow.add(leg.flow, path);
  const together = new Set<string>();
  const isDown = new Set<string>();
  const isUp = new Set<string>();
  const requests = new Multimap<Logged>();
  for (const [netns, entries] of logs) {
    const used = new Set<string>();
    for (const entry of entries) {
      const downs = byEnds.get(`${netns} ${entry.directRemote} ${entry.local}`);
      const ups = byEnds.get(`${netns} ${entry.upstreamLocal} ${entry.upstream}`);
      for (const down of downs) {
        isDown.add(down.id);
        for (const up of ups) together.add(`${down.id} ${up.id}`);
      }
      for (const up of ups) isUp.add(up.id);
      result.entries++;
      if (downs.size === 0) {
        result.missed++;
        continue;
      }
      const hop = matching(
        entry,
        [...downs].flatMap((down) => [...byFlow.get(down.id)].map((path) => ({ path, down }))),
        used,
      );
      judgeNames(result, netns, entry, hop, hasGaps && entry.protocol.startsWith('HTTP') ? new Set() : downs);
      if (ups.size > 0) judgeJoin(result, entry, downs, ups, byFlow);
      const { method, path: asked, requestId } = entry;
      requests.add(`${netns} ${method} ${withoutQuery(asked)}`, { requestId, downs, ups });
    }
  }
  for (const path of paths) judgeRequest(result, path, requests);
  for (const path of paths) judgeClaims(result, path, logs, { together, isDown, isUp });
  return result;
}

/** A path as the log of one proxy on it sees it: it came in on this flow. A pod that calls itself is on its path twice. */
interface PathHop {
  readonly path: PathRecord;
  readonly down: FlowRecord;
}

function matching(entry: Entry, all: readonly PathHop[], used: Set<string>): PathHop | undefined {
  const isHttp = entry.protocol.startsWith('HTTP');
  const hop = all
    .filter(({ path, down }) => !used.has(`${path.id} ${down.id}`))
    .filter(({ path }) => {
      if (!isHttp) return path.of === 'connection';
      return path.request?.method === entry.method && withoutQuery(path.request.path ?? '') === withoutQuery(entry.path);
    })
    .sort((a, b) => (a.path.first < b.path.first ? -1 : a.path.first > b.path.first ? 1 : 0))[0];
  if (hop !== undefined) used.add(`${hop.path.id} ${hop.down.id}`);
  return hop;
}

/** The decision of the proxy that took the path in on this flow: each proxy's, in the order of travel. */
function decisionOf({ path, down }: PathHop): Decision | undefined {
  const here = path.legs.filter((leg) => leg.netns === down.netns);
  return path.decisions?.filter((decided) => decided.netns === down.netns)[here.findIndex((leg) => leg.flow === down.id)]?.decision;
}

function judgeNames(result: Comparison, netns: string, entry: Entry, hop: PathHop | undefined, downs: ReadonlySet<FlowRecord>): void {
  const said: Partial<Decision> =
    (hop === undefined ? undefined : decisionOf(hop)) ?? [...downs].find((down) => down.envoy !== undefined)?.envoy ?? {};
  const truth = { cluster: entry.cluster, chain: entry.chain, route: entry.route, endpoint: entry.upstream };
  for (const field of ['cluster', 'chain', 'route', 'endpoint'] as const) {
    if (truth[field] === '-') continue;
    const named = result.fields[field];
    const evidence = said.evidence?.[field];
    const answer = said[field];
    if (answer === undefined || evidence === 'ambiguous' || evidence === 'unavailable') named.unknown++;
    else if (answer === truth[field]) named.right++;
    else {
      named.wrong++;
      result.wrong.push(
        `${netns} ${entry.directRemote} > ${entry.local} ${entry.method} ${entry.path}: ${field} is "${truth[field]}", it was said to be "${answer}"`,
      );
    }
  }
}

function judgeJoin(
  result: Comparison,
  entry: Entry,
  downs: ReadonlySet<FlowRecord>,
  ups: ReadonlySet<FlowRecord>,
  byFlow: Multimap<PathRecord>,
): void {
  const downIds = new Set([...downs].map((flow) => flow.id));
  const upIds = new Set([...ups].map((flow) => flow.id));
  let sure = false;
  let open = false;
  for (const id of downIds)
    for (const path of byFlow.get(id)) {
      const down = path.legs.findIndex((leg) => downIds.has(leg.flow));
      const up = path.legs.findIndex((leg) => upIds.has(leg.flow));
      for (const { from, to, evidence, candidates } of path.joins) {
        if (up !== -1 && ((from === down && to === up) || (from === up && to === down))) {
          sure ||= isSure(evidence);
          open = true;
        }
        open ||= candidates?.some((candidate) => upIds.has(candidate)) === true;
      }
    }
  // A request that was read behind the proxy names the connections on which it may have come in.
  for (const id of upIds)
    for (const { request, joins } of byFlow.get(id))
      open ||=
        request?.method === entry.method &&
        withoutQuery(request.path ?? '') === withoutQuery(entry.path) &&
        joins.some(({ candidates }) => candidates?.some((candidate) => downIds.has(candidate)) === true);
  result.joinable++;
  if (sure) result.joined++;
  if (sure || open) result.candidate++;
}

interface Logged {
  readonly requestId: string;
  readonly downs: ReadonlySet<FlowRecord>;
  readonly ups: ReadonlySet<FlowRecord>;
}

/** The log says of each request by which connections it came and went; ids are passed on by applications, so several entries may have the same. */
function judgeRequest(result: Comparison, path: PathRecord, requests: Multimap<Logged>): void {
  const { request } = path;
  if (request?.id === undefined || request.path === undefined) return;
  const { id } = request;
  for (const { from, to, by, evidence } of path.joins) {
    const a = path.legs[from]!;
    const b = path.legs[to]!;
    if (from === to || a.netns !== b.netns || !isSure(evidence)) continue;
    const alike = [...requests.get(`${a.netns} ${request.method} ${withoutQuery(request.path)}`)].filter(({ requestId }) =>
      sameRequestId(requestId, id),
    );
    const has = (flows: ReadonlySet<FlowRecord>, flow: string) => [...flows].some((known) => known.id === flow);
    if (alike.length === 0 || !alike.some(({ downs, ups }) => downs.size > 0 && ups.size > 0)) continue;
    result.byRequest++;
    if (alike.some(({ downs, ups }) => has(downs, a.flow) && has(ups, b.flow))) continue;
    result.wrong.push(
      `${a.netns} request ${id} ${request.method} ${request.path}: joined by ${by} (${evidence}) to connections that the proxy did not use for it`,
    );
  }
}

interface Pairs {
  readonly together: ReadonlySet<string>;
  readonly isDown: ReadonlySet<string>;
  readonly isUp: ReadonlySet<string>;
}

function judgeClaims(result: Comparison, path: PathRecord, logs: ReadonlyMap<string, unknown>, { together, isDown, isUp }: Pairs): void {
  for (const { from, to, by, evidence } of path.joins) {
    const a = path.legs[from]!;
    const b = path.legs[to]!;
    if (from === to || a.netns !== b.netns || !logs.has(a.netns) || !isSure(evidence)) continue;
    result.claimed++;
    if (together.has(`${a.flow} ${b.flow}`) || together.has(`${b.flow} ${a.flow}`)) result.claimedRight++;
    else if ((isDown.has(a.flow) && isUp.has(b.flow)) || (isDown.has(b.flow) && isUp.has(a.flow))) {
      result.claimedWrong++;
      result.wrong.push(
        `${a.netns} path ${path.id}: ${a.flow} and ${b.flow} were joined by ${by} (${evidence}), and the proxy never joined them`,
      );
    }
  }
}
