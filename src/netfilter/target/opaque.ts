/**
 * Targets that are not known here, or that leave the decision to somebody else (NFQUEUE). What comes after them is undecided.
 */
import type { Reason } from '../../record/reason.ts';
import type { Target, TargetType } from './target.ts';

export interface OpaqueTarget extends Target {
  readonly kind: 'opaque';
  readonly name: string;
  readonly reason: Reason;
}

export function opaqueTarget(name: string, text: string, reason: Reason = 'target-unknown'): OpaqueTarget {
  return { kind: 'opaque', name, text, reason };
}

export const opaque: TargetType<OpaqueTarget> = {
  kind: 'opaque',
  apply({ reason }) {
    return { do: 'undecided', reason };
  },
  words({ text }) {
    return `do something that sidetrace does not know (${text})`;
  },
};
