/** A rule at the head of a filter chain drops all TCP or UDP of the pod: the guardrails that istio-iptables sets up while it replaces its rules, left behind or met at that moment. */
import type { ProtocolMatch } from '../netfilter/match/protocol.ts';
import type { Chain, Rule } from '../netfilter/rule-set.ts';
import type { VerdictTarget } from '../netfilter/target/verdict.ts';
import { Drafts } from './drafts.ts';
import type { Finding } from './finding.ts';
import { connectionText, placeName, plural } from './quote.ts';

const rule = 'guardrail-drop';
/** Filter chains begin with the guardrails: for TCP and UDP. */
const FIRST_RULES = 4;

export const guardrailDrop: Finding = {
  rule,
  find(input) {
    const drafts = new Drafts(rule);
    for (const { world, subjects } of input.namespaces) {
      const moments = [subjects[0]?.flow.firstNs ?? 0, subjects.at(-1)?.flow.lastNs ?? 0];
      const seen = new Set<number>();
      for (const family of [4, 6] as const)
        for (const at of moments) {
          const held = world.rulesAt(family, at);
          if (held === undefined || seen.has(held.generation)) continue;
          seen.add(held.generation);
          for (const { tables } of held.sets)
            for (const table of tables)
              for (const chain of table.chains)
                for (const dropping of guardrails(chain)) {
                  const silent = subjects.filter(
                    ({ flow, place }) => flow.family === family && flow.state === 'unanswered' && place.hook !== undefined,
                  );
                  drafts.add(world, `${family} ${chain.hook}`, silent, [], () => ({
                    severity: 'error',
                    title: `A rule drops all ${protocolsOf(dropping).join(' and ')} of ${placeName(world)} (${chain.hook})`,
                    proof: [
                      `${table.name} ${chain.name} rule ${dropping.index}: ${dropping.text} (read at ${held.readAt === '' ? 'an unknown time' : held.readAt}).`,
                      ...(dropping.counters === undefined ? [] : [`It has dropped ${plural(dropping.counters.packets, 'packet')}.`]),
                      ...(silent[0] === undefined
                        ? []
                        : [`${plural(silent.length, 'connection')} got no answer. ${connectionText(silent[0])}.`]),
                    ],
                    fix: 'istio-iptables puts such rules there while it replaces its rules, and takes them away again: if they stay, it was stopped half-way. Let istio-init or the CNI plugin run again (restart the pod).',
                  }));
                }
        }
    }
    return drafts.records();
  },
};

function guardrails(chain: Chain): Rule[] {
  if (chain.type !== 'filter' || chain.priority !== 0 || (chain.hook !== 'INPUT' && chain.hook !== 'OUTPUT' && chain.hook !== 'FORWARD'))
    return [];
  return chain.rules.slice(0, FIRST_RULES).filter(({ target, matches }) => {
    if (target?.kind !== 'verdict' || (target as VerdictTarget).verdict !== 'DROP') return false;
    return matches.length === 1 && matches.every((match) => match.kind === 'protocol' && !(match as ProtocolMatch).negated);
  });
}

function protocolsOf({ matches }: Rule): string[] {
  return matches.flatMap((match) =>
    match.kind === 'protocol' ? (match as ProtocolMatch).protocols.map((name) => name.toUpperCase()) : [],
  );
}
