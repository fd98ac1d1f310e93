/**
 * Owners worth trying where the owner of a socket is not known.
 */
import { namedIn } from './named.ts';
import type { RuleSet } from './rule-set.ts';

const MAX_OWNERS = 1024;

/**
 * One owner of each class that the rules can tell apart: every combination of a named user or somebody else with a named group or any other.
 * Where the rules look at no user (or group) the field is absent. The last one is somebody whom no rule names.
 */
export function ownersNamed(ruleSets: readonly RuleSet[]): { uid?: number; gid?: number }[] {
  const { uids, gids } = namedIn(ruleSets);
  const owners: { uid?: number; gid?: number }[] = [];
  for (const uid of uids.length > 1 ? uids : [undefined])
    for (const gid of gids.length > 1 ? gids : [undefined]) {
      if (owners.length >= MAX_OWNERS) return owners;
      owners.push({ ...(uid === undefined ? {} : { uid }), ...(gid === undefined ? {} : { gid }) });
    }
  return owners;
}
