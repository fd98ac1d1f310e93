/** From which hooks a chain is reached. */
import type { Chain, Hook, Table } from '../netfilter/rule-set.ts';
import type { JumpTarget } from '../netfilter/target/jump.ts';

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
