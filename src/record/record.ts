/**
 * The records that leave sidetrace: the public, versioned contract. docs/records.md explains every field; `schema.ts` holds the same as a JSON Schema.
 *
 * Times are RFC 3339, UTC, nanoseconds. An absent field is unknown, and a graded field says why. Bytes are IP total lengths.
 */
import type { Reason } from './reason.ts';

/** How sure we are: the kernel or Envoy said so > rules and packets leave one possibility > several are left > nothing to judge by. */
export type Evidence = 'observed' | 'derived' | 'ambiguous' | 'unavailable';

/** What a connection is in the detour through a sidecar. See docs/records.md for what proves each. */
export type Leg =
  | 'app-to-proxy'
  | 'proxy-to-upstream'
  | 'client-to-proxy'
  | 'proxy-to-app'
  | 'app-to-self'
  | 'direct'
  | 'app-to-dns-agent'
  | 'dns-agent-to-resolver'
  | 'hbone'
  | 'probe'
  | 'control'
  | 'telemetry'
  | 'admin'
  | 'loopback'
  | 'unknown';

export interface Endpoint {
  ip: string;
  port: number;
}

/** One end of a flow. `port` is absent for protocols without ports; names are absent where nobody told us. */
export interface Peer {
  ip: string;
  port?: number;
  /** `namespace/name` */
  pod?: string;
  /** `namespace/name` of the Service that has this address (or, for a pod, that selects it on this port). */
  service?: string;
  /** `namespace/name` of the owner: Deployment, DaemonSet, … */
  workload?: string;
}

export interface Counter {
  packets: number;
  bytes: number;
}

export type Verdict = 'REDIRECT' | 'TPROXY' | 'DNAT' | 'ACCEPT' | 'DROP' | 'unknown';

/** A rule whose counter rises: table, chain, its place within the chain from 1, and its text. Policies are no steps. */
export interface RuleStep {
  table: string;
  chain: string;
  index: number;
  text: string;
}

export interface RuleVerdict {
  verdict: Verdict;
  /** Where REDIRECT, TPROXY or DNAT send it. */
  port?: number;
  evidence: Evidence;
  reason?: Reason;
  steps: RuleStep[];
}

export type Outcome =
  | 'forwarded'
  | 'direct-response'
  | 'redirect'
  | 'no-listener'
  | 'no-chain'
  | 'no-route'
  | 'no-cluster'
  | 'no-endpoint'
  | 'denied'
  | 'fault'
  | 'black-hole'
  | 'unknown';

/** What one proxy did with one connection or request. `''` is a thing without a name; absent is unknown, or none (see `outcome`). */
export interface Decision {
  outcome: Outcome;
  listener?: string;
  chain?: string;
  /** Place of the chain in the listener, from 0; -1 is the default filter chain. */
  chainIndex?: number;
  route?: string;
  virtualHost?: string;
  cluster?: string;
  /** `ip:port` */
  endpoint?: string;
  evidence: { [field: string]: Evidence };
  candidates?: { cluster?: string[]; endpoint?: string[]; route?: string[]; chain?: string[] };
  rejected?: { candidate: string; because: Reason }[];
  configuration?: { version: string; readAt: string };
  reason?: Reason;
}

export type FlowEvent = 'open' | 'update' | 'close';
export type FlowState = 'open' | 'closed' | 'reset' | 'refused' | 'unanswered' | 'unreachable';

export interface FlowRecord {
  type: 'flow';
  id: string;
  event: FlowEvent;
  state: FlowState;
  midstream?: true;
  node: string;
  netns: string;
  pod?: { namespace: string; name: string; uid: string };
  protocol: string;
  first: string;
  last: string;
  source: Peer;
  destination: Peer;
  zone?: number;
  interfaces: string[];
  tunnel?: { kind: string; id?: number; outer: { source: string; destination: string } };
  translated?: { source: Endpoint; destination: Endpoint; evidence: Evidence };
  halves?: { by: 'conntrack' | 'sequence'; evidence: Evidence };
  owner?: { uid?: number; gid?: number; pid?: number; process?: string; evidence: Evidence };
  roles: Leg[];
  counters: { toDestination: Counter; toSource: Counter };
  tcp?: {
    flags: { toDestination: string; toSource: string };
    isn?: { toDestination?: number; toSource?: number };
    rttMs?: number;
    handshakeMs?: number;
    retransmissions: number;
    outOfOrder: number;
    zeroWindows: number;
  };
  icmp?: { type: number; code: number; id?: number };
  dns?: { question: string; kind: string; rcode?: string; answers?: string[] };
  rule?: RuleVerdict;
  envoy?: Decision;
  tls?: { version?: string; sni?: string; alpn?: string[]; mutual?: boolean; peer?: string; evidence: Evidence };
  paths?: string[];
  pathCount?: number;
  findings?: string[];
}

export interface PathLeg {
  flow: string;
  roles: Leg[];
  node: string;
  netns: string;
  /** TCP sequence number at which the request lies (uint32), the same at both ends of the leg: of its first byte in the clear, after its last record in TLS; absent where it is not known or other requests may lie there, too. */
  seq?: number;
}

export interface PathJoin {
  /** Index into `legs`. */
  from: number;
  to: number;
  by: 'tuple' | 'access-log' | 'request-id' | 'order';
  evidence: Evidence;
  candidates?: string[];
  reason?: Reason;
}

export interface RequestRecord {
  method?: string;
  authority?: string;
  path?: string;
  status?: number;
  id?: string;
}

export interface PathRecord {
  type: 'path';
  id: string;
  event: FlowEvent;
  of: 'connection' | 'request';
  first: string;
  last: string;
  complete: boolean;
  parent?: string;
  legs: PathLeg[];
  joins: PathJoin[];
  request?: RequestRecord;
  decisions?: { netns: string; decision: Decision }[];
  latency?: { leg: number; ms: number; evidence: Evidence }[];
}

export interface FindingRecord {
  type: 'finding';
  id: string;
  rule: string;
  severity: 'error' | 'warning' | 'info';
  title: string;
  proof: string[];
  fix: string;
  flows: string[];
  paths: string[];
}

export interface LostRecord {
  type: 'lost';
  source: string;
  scope: { node: string; netns?: string; subscriber?: string };
  count: number;
  exact: boolean;
  total: number;
  first: string;
  last: string;
  /** What happened, in a sentence: act, value, wish, state. */
  detail?: string;
}

/** The last line of a replay. `packets` counts every frame read; `bytes` their lengths on the wire. */
export interface TotalRecord {
  type: 'total';
  packets: number;
  bytes: number;
  flows: number;
  paths: number;
  findings: number;
  lost: number;
  unknown: { [reason: string]: number };
}

export type AnyRecord = FlowRecord | PathRecord | FindingRecord | LostRecord | TotalRecord;
