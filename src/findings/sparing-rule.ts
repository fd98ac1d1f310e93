/** The rule that spared a connection because of where it goes: by port or by address, not by who sent it. */
import type { Subject } from '../annotate/subject.ts';
import type { AddressMatch } from '../netfilter/match/address.ts';
import type { InterfaceMatch } from '../netfilter/match/interface.ts';
import type { PortsMatch } from '../netfilter/match/ports.ts';
import type { Rule, RuleSet } from '../netfilter/rule-set.ts';
import type { VerdictTarget } from '../netfilter/target/verdict.ts';
import type { RuleStep } from '../record/record.ts';

/** `undefined` when no such rule is among the steps that it surely took. */
export function sparingStep(subject: Subject): RuleStep | undefined {
  const { record, world, flow } = subject;
  const steps = record.rule?.steps ?? [];
  if (steps.length === 0) return undefined;
  const sets = world.rulesAt(flow.family, flow.firstNs)?.sets ?? [];
  return steps.findLast((step) => {
    const rule = findRule(sets, step);
    return rule !== undefined && sparesByDestination(rule);
  });
}

export function findRule(sets: readonly RuleSet[], { table, chain, index, text }: RuleStep): Rule | undefined {
  for (const set of sets)
    for (const candidate of set.tables) {
      if (candidate.name !== table) continue;
      const rule = candidate.chains.find(({ name }) => name === chain)?.rules[index - 1];
      if (rule?.text === text) return rule;
    }
  return undefined;
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
