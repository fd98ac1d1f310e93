/**
 * Which base chains a packet meets at a hook, in the kernel's order.
 *
 * The kernel keeps hooks sorted by priority, and puts what registers later before what is there with the same priority. nat chains are called by the kernel's own NAT hook (-100 at PREROUTING and
 * OUTPUT, 100 at INPUT and POSTROUTING), whatever priority they gave, in the order of those.
 * Source: Linux net/netfilter/core.c nf_hook_entries_grow(), net/netfilter/nf_nat_core.c nf_nat_register_fn(), nf_nat_inet_fn().
 */
import type { Family } from '../net/address.ts';
import type { Chain, Hook, RuleSet, Table } from './rule-set.ts';
import { tableFamilies } from './rule-set.ts';

export interface BaseChain {
  readonly table: Table;
  readonly chain: Chain;
  readonly nat: boolean;
  /** Where the hook runs. */
  readonly at: number;
  /** Among chains at the same place. */
  readonly priority: number;
}

const cache = new WeakMap<RuleSet, Map<string, readonly BaseChain[]>>();

function ofOne(ruleSet: RuleSet, hook: Hook, family: Family): readonly BaseChain[] {
  let byHook = cache.get(ruleSet);
  if (byHook === undefined) {
    byHook = new Map();
    cache.set(ruleSet, byHook);
  }
  const key = `${hook} ${family}`;
  const known = byHook.get(key);
  if (known !== undefined) return known;
  const found: BaseChain[] = [];
  for (const table of ruleSet.tables) {
    if (!tableFamilies(table.family).includes(family)) continue;
    for (const chain of table.chains) {
      if (chain.hook !== hook || chain.priority === undefined) continue;
      const nat = chain.type === 'nat';
      const natAt = hook === 'PREROUTING' || hook === 'OUTPUT' ? -100 : 100;
      found.push({ table, chain, nat, at: nat ? natAt : chain.priority, priority: chain.priority });
    }
  }
  // Later registered first: the sort keeps the reversed order among equals.
  const sorted = found.reverse().sort((a, b) => a.at - b.at || a.priority - b.priority);
  byHook.set(key, sorted);
  return sorted;
}

/** Of several rule sets in one namespace (iptables-nft, legacy, native nft) it is not known which registered first: in the order given, or in the opposite one. */
export function baseChains(ruleSets: readonly RuleSet[], hook: Hook, family: Family, opposite = false): readonly BaseChain[] {
  if (ruleSets.length === 1) return ofOne(ruleSets[0]!, hook, family);
  const sets = opposite ? [...ruleSets].reverse() : ruleSets;
  return sets.flatMap((set) => ofOne(set, hook, family)).sort((a, b) => a.at - b.at || a.priority - b.priority);
}

/** Do two rule sets have rules at the same place, so that their order could matter? */
export function orderMatters(ruleSets: readonly RuleSet[], hook: Hook, family: Family): boolean {
  if (ruleSets.length < 2) return false;
  const seen = new Map<string, number>();
  for (const [index, ruleSet] of ruleSets.entries())
    for (const { at, priority, chain } of ofOne(ruleSet, hook, family)) {
      if (chain.rules.length === 0) continue;
      const key = `${at} ${priority}`;
      const before = seen.get(key);
      if (before !== undefined && before !== index) return true;
      seen.set(key, index);
    }
  return false;
}
