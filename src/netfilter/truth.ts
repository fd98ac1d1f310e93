/**
 * Yes, no, or a question: what would have to be known to say. "We do not know" is an answer that carries its reason.
 */
import type { Reason } from '../record/reason.ts';

/** What a rule may look at. A verdict holds for every packet that agrees on the inputs it looked at. */
export type Input =
  | 'protocol'
  | 'source.ip'
  | 'source.port'
  | 'destination.ip'
  | 'destination.port'
  | 'in'
  | 'out'
  | 'owner.uid'
  | 'owner.gid'
  | 'mark'
  | 'connmark'
  | 'state'
  | 'tcpFlags'
  | 'icmp'
  | 'other';

export type Answer = string | number | boolean;

export interface Question {
  /** Questions with the same key have the same answer for one packet. */
  readonly key: string;
  readonly input: Input;
  readonly reason: Reason;
  /** Every answer that the rules can tell apart. */
  readonly choices: readonly Answer[];
}

export type Truth = boolean | Question;

export function isQuestion(value: unknown): value is Question {
  return typeof value === 'object' && value !== null && 'choices' in value;
}

/** The opposite where it is known; `answer` must be a yes-no question. */
export function negateIf(negated: boolean, truth: Truth): Truth {
  return typeof truth === 'boolean' ? truth !== negated : truth;
}
