/**
 * What rules name: the users, groups and interfaces that they can tell apart. One representative of each class is enough to try when an input is unknown.
 */

import type { InterfaceMatch } from './match/interface.ts';
import type { OwnerMatch } from './match/owner.ts';
import type { NumberRange } from './number-range.ts';
import type { Named } from './packet-state.ts';
import type { RuleSet } from './rule-set.ts';

const MAX_CLASSES = 256;

interface Raw {
  readonly uids: readonly NumberRange[];
  readonly gids: readonly NumberRange[];
  readonly patterns: ReadonlySet<string>;
}

const cache = new WeakMap<RuleSet, Raw>();

function collect(ruleSet: RuleSet): Raw {
  const known = cache.get(ruleSet);
  if (known !== undefined) return known;
  const uids = new Map<string, NumberRange>();
  const gids = new Map<string, NumberRange>();
  const patterns = new Set<string>();
  for (const table of ruleSet.tables)
    for (const chain of table.chains)
      for (const rule of chain.rules)
        for (const match of rule.matches) {
          if (match.kind === 'owner') {
            for (const { field, ranges } of (match as OwnerMatch).options)
              for (const range of ranges) (field === 'gid' ? gids : uids).set(`${range.low}-${range.high}`, range);
          } else if (match.kind === 'interface') for (const pattern of (match as InterfaceMatch).patterns) patterns.add(pattern);
        }
  const raw = { uids: [...uids.values()], gids: [...gids.values()], patterns };
  cache.set(ruleSet, raw);
  return raw;
}

/** The lowest number of each class, then one that no rule names: the lowest from 1000 on. */
function representatives(ranges: readonly NumberRange[]): number[] {
  const bounds = new Set<number>();
  for (const { low, high } of ranges) {
    bounds.add(low);
    if (high < 0xffffffff) bounds.add(high + 1);
  }
  const within = [...bounds].sort((a, b) => a - b).filter((bound) => ranges.some(({ low, high }) => low <= bound && bound <= high));
  let other = 1000;
  for (const { low, high } of [...ranges].sort((a, b) => a.low - b.low)) if (low <= other && other <= high) other = high + 1;
  return [...within.slice(0, MAX_CLASSES), ...(other <= 0xffffffff ? [other] : [])];
}

export function namedIn(ruleSets: readonly RuleSet[]): Named {
  const raws = ruleSets.map(collect);
  const interfaces = new Set<string>(['lo']);
  for (const { patterns } of raws)
    for (const pattern of patterns) interfaces.add(pattern.endsWith('+') ? `${pattern.slice(0, -1)}~` : pattern);
  return {
    uids: representatives(raws.flatMap(({ uids }) => uids)),
    gids: representatives(raws.flatMap(({ gids }) => gids)),
    interfaces: [...[...interfaces].slice(0, MAX_CLASSES), '(other)'],
  };
}
