/** What a proxy wrote of a request, in place of what was derived: its own words are observed. */
import { formatEndpoint } from '../net/address.ts';
import type { Decision } from '../record/record.ts';
import type { AccessLogEntry } from './access-log.ts';
import type { RoutedDecision } from './alternative.ts';

/** Flags of an answer that Envoy gave without any upstream, and the outcome that they stand for. Source: Envoy docs, access log, RESPONSE_FLAGS. */
const outcomes: { readonly [flag: string]: Decision['outcome'] } = {
  NR: 'no-route',
  NC: 'no-cluster',
  UH: 'no-endpoint',
  FI: 'fault',
};

function outcomeOf(entry: AccessLogEntry, derived: Decision['outcome']): Decision['outcome'] | undefined {
  if (entry.upstream !== undefined && entry.upstream !== 'none') return 'forwarded';
  for (const flag of entry.flags?.split(',') ?? []) {
    // NR of a connection without a chain is no-chain.
    if (flag === 'NR' && (derived === 'no-chain' || entry.method === undefined)) return undefined;
    if (Object.hasOwn(outcomes, flag)) return outcomes[flag];
  }
  return undefined;
}

/** The decision with the names that the entry gives, graded `observed`. What the entry does not tell stays as it was. */
export function observeDecision(decision: Decision, entry: AccessLogEntry): Decision {
  const observed: Decision = { ...decision, evidence: { ...decision.evidence } };
  const { upstream } = entry;
  const told = {
    chain: entry.chain,
    route: entry.route,
    cluster: entry.cluster,
    endpoint: upstream === undefined || upstream === 'none' ? undefined : formatEndpoint(upstream.ip, upstream.port),
  };
  for (const [field, value] of Object.entries(told) as ['chain' | 'route' | 'cluster' | 'endpoint', string | undefined][]) {
    if (value === undefined) continue;
    if (field === 'chain' && observed.chain !== value) delete observed.chainIndex;
    observed[field] = value;
    observed.evidence[field] = 'observed';
  }
  const outcome = outcomeOf(entry, decision.outcome);
  if (outcome !== undefined) {
    observed.outcome = outcome;
    observed.evidence.outcome = 'observed';
  }
  if (told.cluster !== undefined || told.endpoint !== undefined) {
    const { cluster, endpoint, ...rest } = observed.candidates ?? {};
    const left = {
      ...rest,
      ...(cluster === undefined || told.cluster !== undefined ? {} : { cluster }),
      ...(endpoint === undefined || told.endpoint !== undefined ? {} : { endpoint }),
    };
    if (Object.keys(left).length > 0) observed.candidates = left;
    else delete observed.candidates;
  }
  if (Object.values(observed.evidence).every((evidence) => evidence === 'observed' || evidence === 'derived')) delete observed.reason;
  return observed;
}

/** As {@link observeDecision}, of a decision that can still be settled. */
export function observeRouted(routed: RoutedDecision, entry: AccessLogEntry): RoutedDecision {
  return { ...routed, decision: observeDecision(routed.decision, entry) };
}
