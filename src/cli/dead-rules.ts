/**
 * Rules that can never match, told from the rules alone: nothing leads to their chain, an earlier rule takes everything that they could, or they ask for what no packet has at the hooks that lead there.
 * Says nothing where it is not sure.
 */
import type { InterfaceMatch } from '../netfilter/match/interface.ts';
import type { Match } from '../netfilter/match/match.ts';
import type { Chain, Hook, Rule, Table } from '../netfilter/rule-set.ts';
import type { JumpTarget } from '../netfilter/target/jump.ts';
import type { VerdictTarget } from '../netfilter/target/verdict.ts';

/** Hooks that lead to each chain of a table, through jumps, by the chain's name. */
export function hooksOfChains(table: Table): Map<string, ReadonlySet<Hook>> {
  const byName = new Map(table.chains.map((chain) => [chain.name, chain]));
  const found = new Map<string, Set<Hook>>(table.chains.map(({ name }) => [name, new Set()]));
  for (const base of table.chains) {
    if (base.hook === undefined) continue;
    const open: Chain[] = [base];
    for (let chain = open.pop(); chain !== undefined; chain = open.pop()) {
      const hooks = found.get(chain.name)!;
      if (hooks.has(base.hook)) continue;
      hooks.add(base.hook);
      for (const next of jumpsOf(chain)) {
        const target = byName.get(next);
        if (target !== undefined) open.push(target);
      }
    }
  }
  return found;
}

function jumpsOf(chain: Chain): string[] {
  const names: string[] = [];
  for (const rule of chain.rules)
    for (const part of rule.parts) if (part.part === 'target' && part.target.kind === 'jump') names.push((part.target as JumpTarget).chain);
  return names;
}

/** Does the rule keep what matches it from the rules behind it? */
function ends({ parts, target }: Rule): boolean {
  // A rule of nft may stop in the middle of its parts; only what is plain is judged.
  if (target === undefined || parts.filter(({ part }) => part === 'target').length !== 1) return false;
  switch (target.kind) {
    case 'verdict':
      return (target as VerdictTarget).verdict !== 'CONTINUE';
    case 'jump':
      return (target as JumpTarget).how === 'goto';
    case 'redirect':
    case 'nat':
      return true;
    default:
      return false;
  }
}

/** Conditions whose answer depends on the packet alone: asked twice, they answer the same. */
const repeatable: ReadonlySet<string> = new Set([
  'protocol',
  'address',
  'ports',
  'interface',
  'owner',
  'family',
  'multiport',
  'tcp',
  'icmp',
  'iprange',
  'fragment',
]);
const saysNothing = (match: Match): boolean =>
  match.kind === 'comment' || match.text === '' || /^-m (tcp|udp|comment|owner|mark|conntrack)$/.test(match.text);

/** Why rule `place` (from 0) of the chain can never match; `undefined` when it may. */
export function whyNever(chain: Chain, place: number, hooks: ReadonlySet<Hook>): string | undefined {
  if (hooks.size === 0) return 'no rule leads to this chain';
  const rule = chain.rules[place]!;
  for (const match of rule.matches) {
    const impossible = neverAt(match, hooks);
    if (impossible !== undefined) return impossible;
  }
  const own = new Set(rule.matches.map(({ text }) => text));
  for (let i = 0; i < place; i++) {
    const earlier = chain.rules[i]!;
    if (!ends(earlier)) continue;
    const asked = earlier.matches.filter((match) => !saysNothing(match));
    if (asked.every((match) => repeatable.has(match.kind) && own.has(match.text)))
      return asked.length === 0
        ? `rule ${earlier.index} takes every packet before it`
        : `rule ${earlier.index} takes the same packets before it`;
  }
  return undefined;
}

/** What a packet does not have at any of these hooks. Source: iptables(8) "--in-interface", "--out-interface"; iptables-extensions(8) "owner". */
function neverAt(match: Match, hooks: ReadonlySet<Hook>): string | undefined {
  if (match.kind !== 'interface') return undefined;
  const { direction, negated } = match as InterfaceMatch;
  if (negated) return undefined;
  const without: readonly Hook[] = direction === 'in' ? ['OUTPUT', 'POSTROUTING'] : ['PREROUTING', 'INPUT'];
  if (![...hooks].every((hook) => without.includes(hook))) return undefined;
  return `at ${[...hooks].join(' and ')} a packet has no ${direction === 'in' ? 'incoming' : 'outgoing'} interface`;
}
