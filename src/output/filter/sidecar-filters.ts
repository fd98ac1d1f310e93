/** Filters on what only we know: leg, rule, Envoy's decision, path, finding. `*` stands for any run of characters. */
import type { Decision, Leg, Outcome } from '../../record/record.ts';
import { choices, decisionsOf, type Filter, FilterError, globTest } from './filter.ts';

const legs: readonly Leg[] = [
  'app-to-proxy',
  'proxy-to-upstream',
  'client-to-proxy',
  'proxy-to-app',
  'app-to-self',
  'direct',
  'app-to-dns-agent',
  'dns-agent-to-resolver',
  'hbone',
  'probe',
  'control',
  'telemetry',
  'admin',
  'loopback',
  'unknown',
];

export const leg: Filter = {
  name: 'leg',
  value: 'ROLE',
  summary: `flows that are this leg: ${legs.join(', ')}`,
  looksAt: 'flow',
  parse: (value) => {
    if (!(legs as readonly string[]).includes(value))
      throw new FilterError(`Cannot filter by the leg "${value}": it must be ${choices(legs)}`);
    return ({ flow }) => flow.roles.includes(value as Leg);
  },
};

export const rule: Filter = {
  name: 'rule',
  value: '[TABLE:]CHAIN[/PLACE]',
  summary: 'flows that took this rule, or any of this chain: ISTIO_OUTPUT/4, nat:ISTIO_REDIRECT',
  looksAt: 'flow',
  parse: (value) => {
    const [, table, chain, place] = /^(?:([^:/]+):)?([^:/]+)(?:\/(\d+))?$/.exec(value) ?? [];
    if (chain === undefined)
      throw new FilterError(`Cannot filter by the rule "${value}": it must be a chain, or chain/place, like ISTIO_OUTPUT/4`);
    const [inTable, inChain] = [globTest(table ?? '*'), globTest(chain)];
    return ({ flow }) =>
      flow.rule?.steps.some(
        (step) => inTable(step.table) && inChain(step.chain) && (place === undefined || step.index === Number(place)),
      ) ?? false;
  },
};

function decisionFilter(
  name: 'listener' | 'chain' | 'route' | 'virtual-host' | 'cluster' | 'endpoint',
  field: keyof Decision & string,
  what: string,
): Filter {
  return {
    name,
    value: 'NAME',
    summary: `flows and requests that ${what} (* for any run of characters)`,
    looksAt: 'path',
    parse: (value) => {
      const test = globTest(value);
      return (subject) =>
        decisionsOf(subject).some((decision) => {
          const named = decision[field];
          if (typeof named === 'string') return test(named);
          const candidates =
            field === 'listener' || field === 'virtualHost'
              ? undefined
              : decision.candidates?.[field as 'cluster' | 'endpoint' | 'route' | 'chain'];
          return candidates?.some(test) ?? false;
        });
    },
  };
}

export const decisions: readonly Filter[] = [
  decisionFilter('listener', 'listener', 'this Envoy listener took'),
  decisionFilter('chain', 'chain', 'this filter chain took'),
  decisionFilter('route', 'route', 'this route took'),
  decisionFilter('virtual-host', 'virtualHost', 'this virtual host took'),
  decisionFilter('cluster', 'cluster', 'went, or may have gone, to this Envoy cluster'),
  decisionFilter('endpoint', 'endpoint', 'went, or may have gone, to this endpoint (IP:PORT)'),
];

const outcomes: readonly Outcome[] = [
  'forwarded',
  'direct-response',
  'redirect',
  'no-listener',
  'no-chain',
  'no-route',
  'no-cluster',
  'no-endpoint',
  'denied',
  'fault',
  'black-hole',
  'unknown',
];

export const outcome: Filter = {
  name: 'outcome',
  value: 'OUTCOME',
  summary: `flows and requests that Envoy dealt with so: ${outcomes.join(', ')}`,
  looksAt: 'path',
  parse: (value) => {
    if (!(outcomes as readonly string[]).includes(value))
      throw new FilterError(`Cannot filter by the outcome "${value}": it must be ${choices(outcomes)}`);
    return (subject) => decisionsOf(subject).some((decision) => decision.outcome === value);
  },
};

export const path: Filter = {
  name: 'path',
  value: 'ID',
  summary: 'the path with this id, and its flows',
  looksAt: 'path',
  parse:
    (value) =>
    ({ flow, path: of }) =>
      of?.id === value || (flow.paths?.includes(value) ?? false),
};

export const finding: Filter = {
  name: 'finding',
  value: 'RULE|ID',
  summary: 'flows in which this was found: a finding rule, or the id of one finding',
  looksAt: 'path',
  parse: (value) => (subject, context) => {
    const ids = context.findingsOf(value);
    return subject.flow.findings?.some((id) => id === value || ids.has(id)) ?? false;
  },
};
