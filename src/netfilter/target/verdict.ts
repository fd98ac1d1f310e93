/**
 * ACCEPT, DROP, REJECT, RETURN, CONTINUE: targets that only decide. REJECT drops and tells the sender.
 * Source: iptables(8) "TARGETS"; nft(8) "VERDICT STATEMENT".
 */
import type { Effect, IptablesTarget, Target, TargetType } from './target.ts';

export interface VerdictTarget extends Target {
  readonly kind: 'verdict';
  readonly verdict: 'ACCEPT' | 'DROP' | 'REJECT' | 'RETURN' | 'CONTINUE';
}

const effects: { readonly [verdict in VerdictTarget['verdict']]: Effect } = {
  ACCEPT: { do: 'accept' },
  DROP: { do: 'drop' },
  REJECT: { do: 'drop' },
  RETURN: { do: 'return' },
  CONTINUE: { do: 'continue' },
};

const words: { readonly [verdict in VerdictTarget['verdict']]: string } = {
  ACCEPT: 'let them pass, and ask no further rule of this table',
  DROP: 'drop them in silence',
  REJECT: 'drop them and tell the sender',
  RETURN: 'leave this chain and go on where it was called from',
  CONTINUE: 'go on with the next rule',
};

export const verdict: TargetType<VerdictTarget> = {
  kind: 'verdict',
  apply(target) {
    return effects[target.verdict];
  },
  words(target) {
    return words[target.verdict];
  },
};

export const verdictOptions: IptablesTarget = {
  names: ['ACCEPT', 'DROP', 'REJECT', 'RETURN', 'CONTINUE'],
  options: ['--reject-with'],
  parse(name) {
    return { kind: 'verdict', verdict: name as VerdictTarget['verdict'], text: name } satisfies VerdictTarget as Target;
  },
};
