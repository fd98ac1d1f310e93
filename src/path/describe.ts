/** Describes a chain of hops and its legs: when, what was asked for, how long each took, whether it is over, whether anything is missing. */
import type { Subject } from '../annotate/subject.ts';
import { roundMs } from '../flow/flow-record.ts';
import { formatTime } from '../net/time.ts';
import type { Decision, PathJoin, PathRecord, RequestRecord } from '../record/record.ts';
import type { Redaction } from '../record/redact.ts';
import { originalPath } from './fit.ts';
import type { Hop } from './hop.ts';

/** From the first byte of the request (or packet of the connection) to the last of the response, on the leg where it was read first. */
export function spanOf(chain: readonly Hop[], legs: readonly Subject[]): { first: string; last: string } {
  const head = chain[0]!;
  const { exchange } = head;
  if (head.of === 'connection' || exchange?.requestStartNs === undefined)
    return { first: legs[0]!.record.first, last: legs[0]!.record.last };
  const reader = (head.readOn === 'up' ? head.up : head.down)!;
  const started =
    head.readOn === 'up' && head.place !== undefined && !head.place.shared
      ? Math.min(head.place.firstClientNs, exchange.requestStartNs)
      : exchange.requestStartNs;
  const ended = exchange.responseEndNs ?? exchange.responseStartNs ?? exchange.requestEndNs ?? exchange.requestStartNs;
  return { first: formatTime(reader.base, started), last: formatTime(reader.base, Math.max(ended, started)) };
}

export function requestOf(chain: readonly Hop[], redaction: Redaction): RequestRecord {
  const read = chain.find((hop) => hop.readOn === 'down') ?? chain[0]!;
  const request = read.exchange?.request;
  const path = read.readOn === 'up' && read.exchange !== undefined ? originalPath(read.exchange) : request?.path;
  const status = chain.find((hop) => hop.exchange?.response?.status !== undefined)?.exchange?.response?.status;
  const id = chain.map((hop) => hop.exchange?.request?.requestId).find((value) => value !== undefined);
  return {
    ...(request?.method === undefined ? {} : { method: request.method }),
    ...(request?.authority === undefined ? {} : { authority: redaction.authority(request.authority) }),
    ...(path === undefined ? {} : { path: redaction.path(path) }),
    ...(status === undefined ? {} : { status }),
    ...(id === undefined ? {} : { id }),
  };
}

export function latencyOf(chain: readonly Hop[], legs: readonly Subject[]): NonNullable<PathRecord['latency']> {
  const latency: NonNullable<PathRecord['latency']> = [];
  for (const hop of chain) {
    const { exchange, place } = hop;
    if (hop.of !== 'request' || exchange === undefined) continue;
    const reader = hop.readOn === 'up' ? hop.up : hop.down;
    const other = hop.readOn === 'up' ? hop.down : hop.up;
    if (
      reader !== undefined &&
      exchange.requestStartNs !== undefined &&
      exchange.responseEndNs !== undefined &&
      exchange.response !== undefined
    )
      latency.push({
        leg: legs.indexOf(reader),
        ms: roundMs((exchange.responseEndNs - exchange.requestStartNs) / 1e6),
        evidence: 'observed',
      });
    if (
      other !== undefined &&
      place !== undefined &&
      !place.shared &&
      !place.loose &&
      place.exchange === undefined &&
      place.lastServerNs !== undefined
    )
      latency.push({ leg: legs.indexOf(other), ms: roundMs((place.lastServerNs - place.firstClientNs) / 1e6), evidence: 'derived' });
  }
  const seen = new Set<number>();
  return latency.filter(({ leg, ms }) => leg !== -1 && ms >= 0 && !seen.has(leg) && seen.add(leg)).sort((a, b) => a.leg - b.leg);
}

export function isOver(chain: readonly Hop[], legs: readonly Subject[]): boolean {
  const head = chain[0]!;
  return head.of === 'request' ? head.exchange?.done === true || head.exchange?.responseDone === true : legs[0]!.flow.ended;
}

const ENDS: ReadonlySet<Decision['outcome']> = new Set([
  'direct-response',
  'redirect',
  'no-route',
  'no-cluster',
  'no-endpoint',
  'no-chain',
  'no-listener',
  'denied',
  'fault',
  'black-hole',
]);

/** Nothing is missing between the opener and the one who answered, as far as was recorded. */
export function isComplete(chain: readonly Hop[], legs: readonly Subject[], joins: readonly PathJoin[]): boolean {
  if (joins.some((join) => join.evidence === 'ambiguous' || join.evidence === 'unavailable')) return false;
  const last = chain.at(-1)!;
  if (chain.some((hop) => hop.down === undefined)) return false;
  if (last.up === undefined) return ENDS.has(last.routed?.decision.outcome ?? 'unknown');
  const end = legs.at(-1)!;
  return last.direction === 'inbound' || !end.place.destinationIsOurs;
}
