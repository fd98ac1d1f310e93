/**
 * Our records as the events that users of Hubble know: one trace event per flow, a request and a response per HTTP request or DNS question.
 * The layouts `compact`, `dict` and `table`, the JSON of `hubble`, and the filters `--verdict` and `--type` all look at these.
 *
 * A flow that a rule sent to the proxy is `to-proxy REDIRECTED`, a connection of the proxy's own is `from-proxy FORWARDED`.
 * Source: cilium api/v1/flow/flow.proto (Verdict, TraceObservationPoint), hubble/pkg/printer.
 */
import type { Reason } from '../record/reason.ts';
import type { FlowRecord, Leg, Outcome, PathRecord, Peer, RuleVerdict } from '../record/record.ts';
import { flagNames } from './tcp-flags.ts';
import { formatDuration } from './time-format.ts';

export const hubbleVerdicts = ['FORWARDED', 'DROPPED', 'AUDIT', 'REDIRECTED', 'ERROR', 'TRACED', 'TRANSLATED'] as const;
export type HubbleVerdict = (typeof hubbleVerdicts)[number];

/** Trace points that we use: name, event sub type, name in the enum. */
export const tracePoints = {
  'to-endpoint': { subType: 0, enumName: 'TO_ENDPOINT' },
  'to-proxy': { subType: 1, enumName: 'TO_PROXY' },
  'to-stack': { subType: 3, enumName: 'TO_STACK' },
  'from-proxy': { subType: 6, enumName: 'FROM_PROXY' },
} as const;
export type TracePoint = keyof typeof tracePoints;

export interface HubbleEvent {
  readonly kind: 'trace' | 'drop' | 'http' | 'dns';
  readonly time: string;
  readonly node: string;
  /** As the event's packet travels: an answer goes from the server to the client. */
  readonly source: Peer;
  readonly destination: Peer;
  /** `undefined`: which side opened is not known. */
  readonly reply: boolean | undefined;
  /** What stands in the TYPE column. */
  readonly type: string;
  readonly point: TracePoint | undefined;
  readonly direction: 'INGRESS' | 'EGRESS' | undefined;
  readonly verdict: HubbleVerdict;
  readonly summary: string;
  readonly flow: FlowRecord;
  readonly path: PathRecord | undefined;
  readonly latencyMs: number | undefined;
}

const egress: ReadonlySet<Leg> = new Set<Leg>([
  'app-to-proxy',
  'proxy-to-upstream',
  'app-to-dns-agent',
  'dns-agent-to-resolver',
  'control',
  'telemetry',
]);
const ingress: ReadonlySet<Leg> = new Set<Leg>(['client-to-proxy', 'proxy-to-app', 'probe']);
const toProxy: ReadonlySet<Leg> = new Set<Leg>(['app-to-proxy', 'client-to-proxy', 'app-to-dns-agent']);
const fromProxy: ReadonlySet<Leg> = new Set<Leg>(['proxy-to-upstream', 'proxy-to-app', 'dns-agent-to-resolver']);
const failed: ReadonlySet<FlowRecord['state']> = new Set<FlowRecord['state']>(['refused', 'unanswered', 'unreachable']);

export function hubbleVerdict(flow: FlowRecord): HubbleVerdict {
  switch (flow.rule?.verdict) {
    case 'REDIRECT':
    case 'TPROXY':
      return 'REDIRECTED';
    case 'DROP':
      return 'DROPPED';
    case 'DNAT':
      return failed.has(flow.state) ? 'ERROR' : 'TRANSLATED';
    default:
      return failed.has(flow.state) ? 'ERROR' : 'FORWARDED';
  }
}

function requestVerdict(outcome: Outcome | undefined): HubbleVerdict {
  switch (outcome) {
    case undefined:
    case 'forwarded':
    case 'direct-response':
    case 'redirect':
    case 'unknown':
      return 'FORWARDED';
    case 'denied':
    case 'black-hole':
      return 'DROPPED';
    default:
      return 'ERROR';
  }
}

export function tracePoint(flow: FlowRecord): TracePoint {
  if (flow.roles.some((role) => toProxy.has(role))) return 'to-proxy';
  if (flow.roles.some((role) => fromProxy.has(role))) return 'from-proxy';
  return flow.pod !== undefined && flow.destination.pod === `${flow.pod.namespace}/${flow.pod.name}` ? 'to-endpoint' : 'to-stack';
}

export function trafficDirection(flow: FlowRecord): 'INGRESS' | 'EGRESS' | undefined {
  if (flow.roles.some((role) => egress.has(role))) return 'EGRESS';
  if (flow.roles.some((role) => ingress.has(role))) return 'INGRESS';
  if (flow.pod === undefined) return undefined;
  const pod = `${flow.pod.namespace}/${flow.pod.name}`;
  if (flow.source.pod === pod && flow.destination.pod !== pod) return 'EGRESS';
  return flow.destination.pod === pod && flow.source.pod !== pod ? 'INGRESS' : undefined;
}

function transportSummary(flow: FlowRecord): string {
  switch (flow.protocol) {
    case 'tcp':
      return `TCP Flags: ${flagNames(flow.tcp?.flags.toDestination ?? '').join(', ') || 'none'}`;
    case 'icmp':
      return `ICMPv4 ${icmpName(flow, { 0: 'EchoReply', 3: 'DestinationUnreachable', 8: 'EchoRequest', 11: 'TimeExceeded' })}`;
    case 'icmpv6':
      return `ICMPv6 ${icmpName(flow, { 1: 'DestinationUnreachable', 2: 'PacketTooBig', 3: 'TimeExceeded', 128: 'EchoRequest', 129: 'EchoReply', 135: 'NeighborSolicitation', 136: 'NeighborAdvertisement' })}`;
    default:
      return flow.protocol.toUpperCase();
  }
}

function icmpName(flow: FlowRecord, names: { readonly [type: number]: string }): string {
  if (flow.icmp === undefined) return '';
  return names[flow.icmp.type] ?? `type ${flow.icmp.type} code ${flow.icmp.code}`;
}

/** Reasons for which a rule further on may have decided: the steps of such a verdict are those that are sure. */
const open: ReadonlySet<Reason | undefined> = new Set<Reason | undefined>([
  'owner-unknown',
  'mark-unknown',
  'state-unknown',
  'interface-unknown',
  'match-unknown',
  'match-random',
  'match-needs-state',
  'target-unknown',
]);

/** Are the steps of the verdict all that were taken? Otherwise they end where something is not known. */
export function stepsAreComplete(rule: RuleVerdict): boolean {
  return !open.has(rule.reason);
}

/** `ISTIO_REDIRECT/1`: the rule that decided, by chain and place. `undefined` when no rule did (a policy), or it is not known which. */
export function decidingRule(flow: FlowRecord): string | undefined {
  const step = flow.rule !== undefined && stepsAreComplete(flow.rule) ? flow.rule.steps.at(-1) : undefined;
  return step === undefined ? undefined : `${step.chain}/${step.index}`;
}

/** The part of the summary that Hubble does not have: state, rule, cluster. */
function ownSummary(flow: FlowRecord): string {
  let out = flow.state === 'open' ? '' : `; ${flow.state}`;
  const { rule, envoy } = flow;
  if (rule !== undefined && rule.verdict !== 'ACCEPT') {
    const by = decidingRule(flow);
    out += `; ${rule.verdict}${rule.port === undefined ? '' : ` ${rule.port}`}${by === undefined ? '' : ` by ${by}`}${rule.reason === undefined ? '' : ` (${rule.reason})`}`;
  }
  if (envoy?.cluster) out += `; cluster ${envoy.cluster}`;
  else if (envoy !== undefined && envoy.outcome !== 'forwarded') out += `; ${envoy.outcome}`;
  return out;
}

/** The events of one flow: itself, and its DNS question and answer if it was one. */
export function eventsOfFlow(flow: FlowRecord): HubbleEvent[] {
  const point = tracePoint(flow);
  const direction = trafficDirection(flow);
  const verdict = hubbleVerdict(flow);
  const dropped = verdict === 'DROPPED';
  const both = { node: flow.node, direction, flow, path: undefined };
  const events: HubbleEvent[] = [
    {
      ...both,
      kind: dropped ? 'drop' : 'trace',
      time: flow.first,
      source: flow.source,
      destination: flow.destination,
      reply: flow.midstream ? undefined : false,
      type: dropped ? 'drop' : point,
      point: dropped ? undefined : point,
      verdict,
      summary: transportSummary(flow) + ownSummary(flow),
      latencyMs: undefined,
    },
  ];
  if (flow.dns !== undefined) {
    const { question, kind, rcode, answers } = flow.dns;
    const dns = { ...both, kind: 'dns', point: undefined, verdict: 'FORWARDED' } as const;
    events.push({
      ...dns,
      time: flow.first,
      source: flow.source,
      destination: flow.destination,
      reply: false,
      type: 'dns-request proxy',
      summary: `DNS Query ${question} ${kind}`,
      latencyMs: undefined,
    });
    if (rcode !== undefined)
      events.push({
        ...dns,
        time: flow.last,
        source: flow.destination,
        destination: flow.source,
        reply: true,
        type: 'dns-response proxy',
        summary: `DNS Answer ${rcode === 'NOERROR' ? `"${(answers ?? []).join(',')}"` : `RCode: ${rcode}`} (Query ${question} ${kind})`,
        latencyMs: undefined,
      });
  }
  return events;
}

/** Milliseconds that the whole path took: what its first leg says. */
export function pathLatency(path: PathRecord): { ms: number; evidence: string } | undefined {
  let first: { leg: number; ms: number; evidence: string } | undefined;
  for (const latency of path.latency ?? []) if (first === undefined || latency.leg < first.leg) first = latency;
  return first;
}

/** `http://productpage:9080/productpage`. */
export function requestUrl(path: PathRecord): string {
  return `http://${path.request?.authority ?? ''}${path.request?.path ?? ''}`;
}

/** The request and its answer, as seen on the first leg of a request's path; none for other paths or where the leg is not known. */
export function eventsOfPath(path: PathRecord, first: FlowRecord | undefined): HubbleEvent[] {
  const { request } = path;
  if (path.of !== 'request' || request === undefined || first === undefined) return [];
  const decision = path.decisions?.[0]?.decision;
  const verdict = requestVerdict(
    (path.decisions?.find(({ decision }) => requestVerdict(decision.outcome) !== 'FORWARDED') ?? path.decisions?.[0])?.decision.outcome,
  );
  const latencyMs = pathLatency(path)?.ms;
  const what = `${request.method ?? '?'} ${requestUrl(path)}`;
  const behind = decision?.cluster ? `; cluster ${decision.cluster}` : '';
  const both = {
    kind: 'http',
    node: first.node,
    point: undefined,
    direction: trafficDirection(first),
    flow: first,
    path,
    verdict,
  } as const;
  const events: HubbleEvent[] = [
    {
      ...both,
      time: path.first,
      source: first.source,
      destination: first.destination,
      reply: false,
      type: 'http-request',
      summary: `HTTP ${what}${behind}`,
      latencyMs: undefined,
    },
  ];
  if (request.status !== undefined)
    events.push({
      ...both,
      time: path.last,
      source: first.destination,
      destination: first.source,
      reply: true,
      type: 'http-response',
      summary: `HTTP ${request.status}${latencyMs === undefined ? '' : ` ${formatDuration(latencyMs)}`} (${what})${behind}`,
      latencyMs,
    });
  return events;
}
