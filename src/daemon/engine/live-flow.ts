/** One flow while it is watched: what is known of it now, and what of that was told. */
import type { Subject } from '../../annotate/subject.ts';
import { IPPROTO_TCP, IPPROTO_UDP } from '../../decode/packet.ts';
import type { KubeNames } from '../../kube/names.ts';
import type { Decision, FlowRecord, Leg } from '../../record/record.ts';

const NS_PER_S = 1e9;

/** Idle times after which a flow is taken for ended, by what it is. Source: Linux nf_conntrack's time-outs, where they are of use: half-open 120 s, UDP 30 s and 120 s, others 30 s. */
const IDLE_TCP_NS = 3600 * NS_PER_S;
const IDLE_HALF_OPEN_NS = 120 * NS_PER_S;
const IDLE_UDP_NS = 30 * NS_PER_S;
const IDLE_UDP_STREAM_NS = 120 * NS_PER_S;
const IDLE_OTHER_NS = 30 * NS_PER_S;

/** Paths named in one flow record; then only their number. */
const PATHS_NAMED_MAX = 16;

export interface LiveFlow {
  slot: number;
  /** Packets of both directions when it was looked at last. */
  packets: number;
  /** When it was last found to have changed, by the engine's time. */
  touchedNs: number;
  subject: Subject;
  /** Whose names it carries. */
  names: KubeNames;
  /** As they were judged without regard to paths. */
  roles: Leg[];
  envoy: Decision | undefined;
  /** What was decided for the first of its requests. */
  firstDecision: Decision | undefined;
  readonly paths: string[];
  pathCount: number;
  /** Ids of findings that name it. */
  readonly findings: Set<string>;
  /** Nothing will come any more: by its packets, or because nothing came for long. */
  ended: boolean;
  told: 'no' | 'open' | 'close';
  toldNs: number;
  toldPackets: number;
  toldAs: string;
  /** Its own path (of the connection, not of a request) was told to its end. */
  pathTold: boolean;
  /** Encrypted, with requests of which it is not known on which of these connections they went on. */
  readonly mayGoOn: Set<string>;
  /** A path with it is told in this tick: whoever reads that wants to know the flow. */
  wanted: boolean;
  /** It is or may be a leg of a request that could not be told apart from others. */
  unsure: boolean;
  /** A request that was told and takes no part any more went on here, or may have; a connection may have. */
  carried: boolean;
  /** The other view of a connection whose requests are told where it comes to a proxy. */
  viewed: boolean;
  /** Carried as bytes and told: `down`; surely the upstream connection of such a one: `up`. */
  standing: 'no' | 'down' | 'up';
}

export function makeLiveFlow(slot: number, subject: Subject): LiveFlow {
  return {
    slot,
    packets: 0,
    touchedNs: 0,
    subject,
    names: subject.world.names,
    roles: subject.record.roles,
    envoy: subject.record.envoy,
    firstDecision: undefined,
    paths: [],
    pathCount: 0,
    findings: new Set(),
    ended: false,
    told: 'no',
    toldNs: 0,
    toldPackets: 0,
    toldAs: '',
    pathTold: false,
    mayGoOn: new Set(),
    wanted: false,
    unsure: false,
    carried: false,
    viewed: false,
    standing: 'no',
  };
}

/** How long nothing may come on it before it counts as ended. */
export function idleLimitNs({ flow }: Subject): number {
  if (flow.protocolNumber === IPPROTO_TCP)
    return flow.packetsToSource === 0 || flow.packetsToDestination === 0 ? IDLE_HALF_OPEN_NS : IDLE_TCP_NS;
  if (flow.protocolNumber === IPPROTO_UDP) return flow.packetsToSource > 0 ? IDLE_UDP_STREAM_NS : IDLE_UDP_NS;
  return IDLE_OTHER_NS;
}

/** Is something of it still to be told as a path? */
export function awaitsPath(live: LiveFlow): boolean {
  return (!live.pathTold && (live.pathCount === 0 || live.mayGoOn.size > 0)) || hasOpenRequest(live);
}

/** Is a request of it read, and not yet told? */
export function hasOpenRequest({ subject: { tracker } }: LiveFlow): boolean {
  if (tracker === undefined) return false;
  for (const exchange of tracker.exchanges) if (!exchange.told && !exchange.settled && exchange.request !== undefined) return true;
  return false;
}

/** When the first of its requests began of which not all is told; Infinity when there is none. @param overNs those that ended before it are only places that could not be told apart */
export function oldestOpenNs({ subject: { tracker } }: LiveFlow, overNs: number): number {
  let oldest = Number.POSITIVE_INFINITY;
  for (const exchange of tracker?.exchanges ?? [])
    if (
      !exchange.settled &&
      !(exchange.done && exchange.lastNs < overNs) &&
      exchange.requestStartNs !== undefined &&
      exchange.requestStartNs < oldest
    )
      oldest = exchange.requestStartNs;
  return oldest;
}

/** Takes back what the last look at paths wrote into the record, since paths are looked at again and again. */
export function restore({ subject, roles, envoy, firstDecision }: LiveFlow): void {
  const { record } = subject;
  record.roles = roles;
  if (firstDecision !== undefined) record.envoy = firstDecision;
  else if (envoy === undefined) delete record.envoy;
  else record.envoy = envoy;
  delete record.findings;
}

/** When the first of its requests began that are over and still to be told; Infinity when there is none. @param fromNs those that began before it are waited for no longer */
export function heldSinceNs({ subject: { tracker } }: LiveFlow, fromNs: number): number {
  let since = Number.POSITIVE_INFINITY;
  for (const { told, settled, done, responseDone, requestStartNs } of tracker?.exchanges ?? [])
    if (!told && !settled && (done || responseDone) && requestStartNs !== undefined && requestStartNs >= fromNs && requestStartNs < since)
      since = requestStartNs;
  return since;
}

export function addPath(flow: LiveFlow, id: string): void {
  flow.pathCount++;
  if (flow.paths.length < PATHS_NAMED_MAX) flow.paths.push(id);
}

/** The record as it leaves: a copy, with what was told of its paths. */
export function recordOf(flow: LiveFlow, event: FlowRecord['event']): FlowRecord {
  const { record } = flow.subject;
  return {
    ...record,
    event,
    ...(flow.firstDecision === undefined ? {} : { envoy: flow.firstDecision }),
    ...(flow.paths.length === 0 ? {} : { paths: [...flow.paths] }),
    ...(flow.pathCount > PATHS_NAMED_MAX ? { pathCount: flow.pathCount } : {}),
    ...(flow.findings.size === 0 ? {} : { findings: [...flow.findings] }),
  };
}

/** What is worth telling again when it changes, apart from counters. */
export function signatureOf({ subject: { record }, findings }: LiveFlow): string {
  const { rule, envoy, tls, state } = record;
  return [
    state,
    record.roles.join(),
    rule?.verdict,
    rule?.port,
    rule?.evidence,
    envoy?.outcome,
    envoy?.listener,
    envoy?.chainIndex,
    envoy?.route,
    envoy?.cluster,
    envoy?.endpoint,
    tls?.sni,
    record.translated?.evidence,
    record.pod?.uid,
    record.source.pod,
    record.destination.pod,
    record.destination.service,
    findings.size,
  ].join('\n');
}

/** Their paths will not be told. @returns how many had some to tell */
export function giveUpPaths(flows: readonly LiveFlow[]): number {
  let count = 0;
  for (const live of flows) {
    if (awaitsPath(live)) count++;
    live.pathTold = true;
    live.mayGoOn.clear();
    for (const exchange of live.subject.tracker?.exchanges ?? []) exchange.told = exchange.settled = true;
  }
  return count;
}
