/** The ways that one request or TCP connection may take through a proxy, and the record made of them. */
import type { Reason } from '../record/reason.ts';
import type { Decision, Evidence, Outcome } from '../record/record.ts';
import type { ConnectionDecision, ConnectionWay } from './connection.ts';
import type { Destination } from './destination.ts';
import { mergeField } from './evidence.ts';

export interface Alternative {
  readonly way: ConnectionWay;
  readonly outcome: Outcome;
  readonly virtualHost?: string;
  readonly route?: string;
  readonly cluster?: string;
  /** Where the cluster sends it; absent when nothing is sent. */
  readonly destination?: Destination;
  /** Status of an answer that Envoy gives by itself, where it is fixed. */
  readonly status?: number;
  /** The same without the filter that answers: what holds if an upstream connection is seen all the same. */
  readonly otherwise?: Alternative;
  /** Clusters that get a copy. */
  readonly mirrors: readonly string[];
  /** Something may answer instead, or choose the route again. */
  readonly unsure?: 'outcome' | 'route';
  /** Why only its end is doubted: the cluster's name stands, but not what the cluster was then. */
  readonly endDoubt?: Reason;
  /** Why this one is doubted. */
  readonly doubt?: Reason;
  /** Why there are others. */
  readonly because?: Reason;
}

/** What became of a request or a TCP connection, and what could still be told apart by what is seen upstream. */
export interface RoutedDecision {
  readonly decision: Decision;
  readonly alternatives: readonly Alternative[];
  readonly connection: ConnectionDecision;
  /** Clusters that get a copy of the request. */
  readonly mirrors: readonly string[];
}

/** What was settled by looking: overrides the grade of a field. */
export interface Settled {
  readonly cluster?: Evidence;
  readonly endpoint?: { readonly value: string; readonly evidence: Evidence };
  readonly outcome?: Evidence;
  readonly reason?: Reason;
}

function pickReason(alternatives: readonly Alternative[]): Reason | undefined {
  const doubt = alternatives.find((alternative) => alternative.doubt !== undefined)?.doubt;
  if (doubt !== undefined) return doubt;
  const wayDoubt = alternatives.find((alternative) => alternative.way.doubt !== undefined)?.way.doubt;
  if (wayDoubt !== undefined) return wayDoubt;
  const endDoubt = alternatives.find((alternative) => alternative.endDoubt !== undefined)?.endDoubt;
  if (endDoubt !== undefined) return endDoubt;
  if (alternatives.length > 1) return alternatives.find((alternative) => alternative.because !== undefined)?.because;
  return undefined;
}

function mergeEndpoint(decision: Decision, alternatives: readonly Alternative[], settled: Settled): void {
  if (settled.endpoint !== undefined) {
    decision.endpoint = settled.endpoint.value;
    decision.evidence.endpoint = settled.endpoint.evidence;
    return;
  }
  const sending = alternatives.filter((alternative) => alternative.destination !== undefined);
  if (sending.length === 0) return;
  const targets = sending.map((alternative) => alternative.destination!.targets);
  if (targets.some((list) => list === undefined)) {
    decision.evidence.endpoint = 'unavailable';
    return;
  }
  const values = targets.flatMap((list) => list ?? []);
  if (values.length === 0) return;
  mergeField(
    decision,
    'endpoint',
    values,
    sending.some((alternative) => alternative.destination!.doubtful || alternative.endDoubt !== undefined),
  );
  if (decision.endpoint === undefined) decision.reason ??= 'load-balanced';
}

/** Makes the record of what is left. */
export function makeRouted(connection: ConnectionDecision, alternatives: readonly Alternative[], settled: Settled = {}): RoutedDecision {
  const { decision: accepted } = connection;
  const outcomes = [...new Set(alternatives.map((alternative) => alternative.outcome))];
  const decision: Decision = { outcome: outcomes.length === 1 ? outcomes[0]! : 'unknown', evidence: {} };
  const wayDoubt = alternatives.some((alternative) => alternative.way.doubt !== undefined);
  const doubt = alternatives.some((alternative) => alternative.doubt !== undefined || alternative.unsure === 'route');
  mergeField(
    decision,
    'listener',
    alternatives.map((alternative) => alternative.way.listener?.name),
    wayDoubt,
  );
  mergeField(
    decision,
    'chain',
    alternatives.map((alternative) => alternative.way.chain?.name),
    wayDoubt,
  );
  const indexes = new Set(alternatives.map((alternative) => alternative.way.chain?.index));
  const index = indexes.size === 1 ? [...indexes][0] : undefined;
  if (index !== undefined) decision.chainIndex = index;
  mergeField(
    decision,
    'virtualHost',
    alternatives.map((alternative) => alternative.virtualHost),
    wayDoubt || doubt,
  );
  mergeField(
    decision,
    'route',
    alternatives.map((alternative) => alternative.route),
    wayDoubt || doubt,
  );
  mergeField(
    decision,
    'cluster',
    alternatives.map((alternative) => alternative.cluster),
    wayDoubt || doubt,
  );
  if (settled.cluster !== undefined && decision.cluster !== undefined) decision.evidence.cluster = settled.cluster;
  const reason = settled.reason ?? pickReason(alternatives) ?? (alternatives.length === 0 ? accepted.reason : undefined);
  if (reason !== undefined) decision.reason = reason;
  mergeEndpoint(decision, alternatives, settled);
  const unsure =
    wayDoubt || doubt || alternatives.some((alternative) => alternative.unsure !== undefined || alternative.endDoubt !== undefined);
  if (alternatives.length > 0) decision.evidence.outcome = settled.outcome ?? (outcomes.length > 1 || unsure ? 'ambiguous' : 'derived');
  if (alternatives.some((alternative) => alternative.unsure !== undefined)) decision.reason ??= 'filter-unknown';
  if (accepted.rejected !== undefined) decision.rejected = accepted.rejected;
  if (accepted.configuration !== undefined) decision.configuration = accepted.configuration;
  return { decision, alternatives, connection, mirrors: [...new Set(alternatives.flatMap((alternative) => alternative.mirrors))] };
}
