/** The rule that spared a connection because of where it goes: by port or by address, not by who sent it. */
import type { Subject } from '../annotate/subject.ts';
import type { AddressMatch } from '../netfilter/match/address.ts';
import type { InterfaceMatch } from '../netfilter/match/interface.ts';
import type { PortsMatch } from '../netfilter/match/ports.ts';
import type { Rule, RuleSet, Table } from '../netfilter/rule-set.ts';
import type { VerdictTarget } from '../netfilter/target/verdict.ts';
import type { RuleStep } from '../record/record.ts';

/** The step that spared it, of the table that would have sent it on; `undefined` when no such rule is among the steps that it surely took. */
export function sparingStep(subject: Subject): RuleStep | undefined {
  const { record, world, flow } = subject;
  const steps = record.rule?.steps ?? [];
  return steps.findLast((step) => {
    let spares = known.get(step);
    if (spares === undefined) {
      spares = judge(world.rulesAt(flow.family, flow.firstNs)?.sets ?? [], step);
      known.set(step, spares);
    }
    return spares;
  });
}

/** Steps are made once for all connections that go the same way. */
const known = new WeakMap<RuleStep, boolean>();

function judge(sets: readonly RuleSet[], { table, chain, index, text }: RuleStep): boolean {
  for (const set of sets)
    for (const candidate of set.tables) {
      const rule = candidate.name === table ? candidate.chains.find(({ name }) => name === chain)?.rules[index - 1] : undefined;
      if (rule?.text === text) return sends(candidate) && sparesByDestination(rule);
    }
  return false;
}

/** Is it a table that sends connections elsewhere? */
function sends({ chains }: Table): boolean {
  return chains.some(({ type, rules }) => type === 'nat' || rules.some(({ target }) => target?.kind === 'tproxy'));
}

function sparesByDestination(rule: Rule): boolean {
  if (rule.target?.kind !== 'verdict') return false;
  const { verdict } = rule.target as VerdictTarget;
  if (verdict !== 'RETURN' && verdict !== 'ACCEPT') return false;
  let named = false;
  for (const match of rule.matches) {
    if (match.kind === 'owner' || match.kind === 'mark' || match.kind === 'conntrack') return false;
    if (match.kind === 'ports') named ||= (match as PortsMatch).side === 'destination' && !(match as PortsMatch).negated;
    else if (match.kind === 'address') named ||= (match as AddressMatch).side === 'destination' && !(match as AddressMatch).negated;
    else if (match.kind === 'interface') named ||= !(match as InterfaceMatch).patterns.includes('lo');
  }
  return named;
}
