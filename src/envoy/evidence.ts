/** Putting several possibilities into the fields of a record. */
import type { Decision, Evidence } from '../record/record.ts';

type TextField = 'listener' | 'chain' | 'route' | 'virtualHost' | 'cluster' | 'endpoint';
const listed = new Set<string>(['cluster', 'endpoint', 'route', 'chain']);
const MAX_CANDIDATES = 32;

/**
 * Sets a field from what each possibility says of it (absent: it has none).
 *
 * All agree: the value, derived, or ambiguous when in doubt. They differ: no value, ambiguous, the values as candidates. None has any: nothing.
 */
export function mergeField(
  decision: Decision,
  name: TextField,
  values: readonly (string | undefined)[],
  doubtful: boolean,
  evidence: Evidence = 'derived',
): void {
  const distinct = [...new Set(values)];
  const known = distinct.filter((value) => value !== undefined);
  if (known.length === 0) return;
  if (distinct.length === 1) {
    decision[name] = known[0]!;
    decision.evidence[name] = doubtful ? 'ambiguous' : evidence;
    return;
  }
  decision.evidence[name] = 'ambiguous';
  if (listed.has(name)) decision.candidates = { ...decision.candidates, [name]: known.slice(0, MAX_CANDIDATES) };
}
