/**
 * Into another chain: `-j CHAIN` comes back when that chain ends, `-g CHAIN` goes back to where this chain was called from.
 * Source: iptables(8) "--jump", "--goto"; nft(8) "jump", "goto".
 */
import type { Target, TargetType } from './target.ts';

export interface JumpTarget extends Target {
  readonly kind: 'jump';
  readonly how: 'jump' | 'goto';
  readonly chain: string;
}

export const jump: TargetType<JumpTarget> = {
  kind: 'jump',
  apply({ how, chain }) {
    return { do: how, chain };
  },
  words({ how, chain }) {
    return how === 'jump' ? `ask the rules of ${chain}, then go on here` : `go over to the rules of ${chain} and do not come back here`;
  },
};
