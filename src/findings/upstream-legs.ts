/** Requests and connections that a proxy forwarded, with the connection that it used: the raw material of the rules on upstream failures. */
import type { Subject } from '../annotate/subject.ts';
import type { Exchange } from '../flow/http.ts';
import { formatTime } from '../net/time.ts';
import type { Decision, PathRecord } from '../record/record.ts';
import type { FindingInput } from './finding.ts';

export interface Forwarded {
  readonly path: PathRecord;
  readonly down: Subject;
  readonly up: Subject;
  readonly decision: Decision;
}

/** Legs that follow each other within one proxy, by a join that is more than a guess. */
export function* forwarded(input: FindingInput): Generator<Forwarded> {
  for (const path of input.paths)
    for (const { from, to, by, evidence } of path.joins) {
      if (from === to || by === 'tuple' || (evidence !== 'observed' && evidence !== 'derived')) continue;
      const down = input.subjectOf(path.legs[from]?.flow ?? '');
      const up = input.subjectOf(path.legs[to]?.flow ?? '');
      if (down === undefined || up === undefined || down.world !== up.world) continue;
      const decision = path.decisions?.find(({ netns }) => netns === down.record.netns)?.decision;
      if (decision?.outcome === 'forwarded') yield { path, down, up, decision };
    }
}

const byStart = new WeakMap<Subject, ReadonlyMap<string, Exchange | 'several'>>();

/** Exchanges by the time of their first byte, as records write it. */
function exchangesOf(subject: Subject): ReadonlyMap<string, Exchange | 'several'> {
  const known = byStart.get(subject);
  if (known !== undefined) return known;
  const found = new Map<string, Exchange | 'several'>();
  for (const exchange of subject.tracker?.exchanges ?? []) {
    if (exchange.requestStartNs === undefined) continue;
    const first = formatTime(subject.base, exchange.requestStartNs);
    found.set(first, found.has(first) ? 'several' : exchange);
  }
  byStart.set(subject, found);
  return found;
}

/** The exchange that a request path is about, where its first leg is read in the clear. */
export function exchangeOf(path: PathRecord, down: Subject): Exchange | undefined {
  const found = exchangesOf(down).get(path.first);
  return found === undefined || found === 'several' || found.request?.method !== path.request?.method ? undefined : found;
}

/** Did the proxy make up this response itself? What came from an upstream bears how long that took. Source: Envoy docs, router filter, x-envoy-upstream-service-time. */
export function answeredByProxy({ response }: Exchange, status: number): boolean {
  return (
    response?.status === status &&
    response.headersComplete &&
    !response.headers.some(({ name }) => name === 'x-envoy-upstream-service-time')
  );
}

/** Was the client's side the last to say something? `undefined` when the bytes do not tell. */
export function isUnanswered({ tracker }: Subject): boolean | undefined {
  if (tracker === undefined || tracker.missingBytes > 0) return undefined;
  if (tracker.protocol === 'http1') {
    const last = tracker.exchanges.at(-1);
    return last === undefined ? undefined : last.request !== undefined && last.response === undefined;
  }
  const last = tracker.timeline?.bursts.at(-1);
  if (last === undefined || (tracker.timeline?.overflow ?? 0) > 0) return undefined;
  return last.direction === 0 && !last.handshake;
}
