/**
 * A match: one condition of a rule. Each kind is a file of this folder; `matches.ts` lists them.
 */
import type { Family } from '../../net/address.ts';
import type { PacketState } from '../packet-state.ts';
import type { Truth } from '../truth.ts';

export interface Match {
  readonly kind: string;
  /** As the source spells it. */
  readonly text: string;
}

/** What one kind of match means. */
export interface MatchType<M extends Match = Match> {
  readonly kind: string;
  /** Would the kernel say yes? A question where something would have to be known. */
  test(match: M, packet: PacketState): Truth;
  /** For a newcomer, to follow "packets": `from user 1337`. */
  words(match: M): string;
}

/** One option of a rule as iptables takes it: `! --dport 80`. */
export interface Option {
  /** With its dashes. */
  readonly name: string;
  readonly negated: boolean;
  readonly values: readonly string[];
}

export interface OptionContext {
  readonly family: Family;
  /** Of the rule's `-p`, in lower case and without negation. */
  readonly protocol: string | undefined;
}

/** How iptables spells a match: the names after `-m`, the options that it takes, and what they come to. */
export interface IptablesMatch {
  readonly names: readonly string[];
  readonly options: readonly string[];
  /** @returns `undefined` when a value is not understood: the match is then an unknown one */
  parse(options: readonly Option[], context: OptionContext): readonly Match[] | undefined;
}

export function optionText(option: Option): string {
  return `${option.negated ? '! ' : ''}${[option.name, ...option.values].join(' ')}`;
}
