/**
 * Owners and marks worth trying where they are not known: one of each class that the rules can tell apart.
 */
import type { MarkMatch } from './match/mark.ts';
import { namedIn } from './named.ts';
import type { RuleSet } from './rule-set.ts';

const MAX_TRIED = 1024;

export interface NamedOwner {
  uid?: number;
  gid?: number;
  /** The rules name this user or this group; `false`: somebody else. */
  named: boolean;
}

/**
 * Every combination of a named user or somebody else with a named group or any other. Where the rules look at no user (or group) the field is absent.
 * The last one is somebody whom no rule names.
 */
export function ownersNamed(ruleSets: readonly RuleSet[]): NamedOwner[] {
  const { uids, gids } = namedIn(ruleSets);
  const owners: NamedOwner[] = [];
  const users = uids.length > 1 ? uids : [undefined];
  const groups = gids.length > 1 ? gids : [undefined];
  for (const [u, uid] of users.entries())
    for (const [g, gid] of groups.entries()) {
      if (owners.length >= MAX_TRIED) break;
      const named = (uid !== undefined && u < users.length - 1) || (gid !== undefined && g < groups.length - 1);
      owners.push({ ...(uid === undefined ? {} : { uid }), ...(gid === undefined ? {} : { gid }), named });
    }
  return owners;
}

const cache = new WeakMap<RuleSet, readonly number[]>();

function marksOf(ruleSet: RuleSet): readonly number[] {
  let marks = cache.get(ruleSet);
  if (marks === undefined) {
    const found = new Set<number>();
    for (const table of ruleSet.tables)
      for (const chain of table.chains)
        for (const rule of chain.rules)
          for (const match of rule.matches)
            if (match.kind === 'mark' && (match as MarkMatch).of === 'mark')
              for (const { value } of (match as MarkMatch).values) found.add(value);
    marks = [...found];
    cache.set(ruleSet, marks);
  }
  return marks;
}

/** The packet marks that rules look for, and 0, which comes first. */
export function marksNamed(ruleSets: readonly RuleSet[]): number[] {
  return [...new Set([0, ...ruleSets.flatMap(marksOf)])].slice(0, MAX_TRIED);
}
