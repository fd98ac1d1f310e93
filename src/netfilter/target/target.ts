/**
 * A target: what a rule does with a packet. Each kind is a file of this folder; `targets.ts` lists them.
 */
import type { Reason } from '../../record/reason.ts';
import type { Option, OptionContext } from '../match/match.ts';
import type { PacketState } from '../packet-state.ts';
import type { Question } from '../truth.ts';

export interface Target {
  readonly kind: string;
  /** As the source spells it. */
  readonly text: string;
}

/** Where to a packet is sent; absent parts stay as they are, or are not known. */
export interface Destination {
  ip?: string;
  port?: number;
}

/** What happens next. */
export type Effect =
  /** The next part of the rule, or the next rule. */
  | { readonly do: 'continue' }
  /** The rule does not apply after all: the next rule (nft's NFT_BREAK). */
  | { readonly do: 'break' }
  /** This table is done with it. */
  | { readonly do: 'accept' }
  | { readonly do: 'drop' }
  | { readonly do: 'return' }
  | { readonly do: 'jump' | 'goto'; readonly chain: string }
  /** Accepted, and sent elsewhere. It ends the table's walk, save TPROXY of nft, which goes on with its rule. */
  | {
      readonly do: 'send';
      readonly verdict: 'REDIRECT' | 'TPROXY' | 'DNAT';
      readonly to: Destination;
      readonly ends: boolean;
    }
  /** Nobody here knows what it does. */
  | { readonly do: 'undecided'; readonly reason: Reason };

export interface TargetType<T extends Target = Target> {
  readonly kind: string;
  apply(target: T, packet: PacketState): Effect | Question;
  /** For a newcomer: `send it to port 15006 of this pod instead`. */
  words(target: T): string;
}

/** How iptables spells a target: the names after `-j`, the options that it takes, and what they come to. */
export interface IptablesTarget {
  readonly names: readonly string[];
  readonly options: readonly string[] | 'any';
  /** @returns `undefined` when a value is not understood: the target is then an unknown one */
  parse(name: string, options: readonly Option[], context: OptionContext): Target | undefined;
}

export const CONTINUE: Effect = { do: 'continue' };
export const ACCEPT: Effect = { do: 'accept' };
export const DROP: Effect = { do: 'drop' };
