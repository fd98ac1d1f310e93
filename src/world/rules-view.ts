/**
 * The rules of one namespace over time, put together from what each tool printed: iptables of both kinds and families, native nftables, the routing rules beside them.
 * What is judged by a moment's rules may be kept by their `generation`: the same number means the same rules.
 */
import type { IpRule } from '../netfilter/ip-rule.ts';
import { parseIptables } from '../netfilter/parse-iptables.ts';
import { parseNft, withoutRepeated } from '../netfilter/parse-nft.ts';
import type { RuleSet } from '../netfilter/rule-set.ts';
import { type Held, History, type Snapshot } from './history.ts';
import type { RulesHeld } from './world.ts';

export type RulesKindName = 'iptables-save' | 'ip6tables-save' | 'iptables-legacy-save' | 'ip6tables-legacy-save' | 'nft';

export interface RulesKind {
  readonly kind: RulesKindName;
  /** `undefined`: both. */
  readonly family: 4 | 6 | undefined;
  /** @throws {SyntaxError} */
  readonly parse: (text: string) => readonly RuleSet[];
}

export const rulesKinds: readonly RulesKind[] = [
  { kind: 'iptables-save', family: 4, parse: (text) => [parseIptables(text, { family: 4 })] },
  { kind: 'ip6tables-save', family: 6, parse: (text) => [parseIptables(text, { family: 6 })] },
  { kind: 'iptables-legacy-save', family: 4, parse: (text) => [parseIptables(text, { family: 4, variant: 'legacy' })] },
  { kind: 'ip6tables-legacy-save', family: 6, parse: (text) => [parseIptables(text, { family: 6, variant: 'legacy' })] },
  { kind: 'nft', family: undefined, parse: (text) => [parseNft(text)] },
];

/** The text without what differs from reading to reading although the rules are the same: counters and comments. */
export function bareRules(text: string): string {
  return text.replace(/\[\d+:\d+\]|"(packets|bytes)": ?\d+/g, '').replace(/^#.*$/gm, '');
}

const NO_ROUTING: readonly IpRule[] = [];

/** Combinations that are remembered; then all are made anew. */
const HELD_MAX = 256;

export class RulesView {
  readonly #rules = new Map<RulesKindName, History<readonly RuleSet[]>>();
  readonly #routing = new Map<4 | 6, History<readonly IpRule[]>>();
  readonly #held = new Map<string, RulesHeld>();
  readonly #numbers = new WeakMap<object, number>();
  #numbered = 0;
  #generations = 0;

  /** Replaces what is known of one kind. An object that stands for the same rules as before means the same verdicts. */
  setRules(kind: RulesKindName, snapshots: readonly Snapshot<readonly RuleSet[]>[]): void {
    this.#rules.set(kind, new History(snapshots));
  }

  setRouting(family: 4 | 6, snapshots: readonly Snapshot<readonly IpRule[]>[]): void {
    this.#routing.set(family, new History(snapshots));
  }

  /** The rules of a family that held at a moment; `undefined` when none were read. */
  at(family: 4 | 6, timeNs: number): RulesHeld | undefined {
    const parts: { held: Held<readonly RuleSet[]>; native: boolean }[] = [];
    for (const { kind, family: only } of rulesKinds) {
      if (only !== undefined && only !== family) continue;
      const held = this.#rules.get(kind)?.at(timeNs);
      if (held !== undefined) parts.push({ held, native: kind === 'nft' });
    }
    if (parts.length === 0) return undefined;
    const routing = this.#routing.get(family)?.at(timeNs)?.snapshot.value ?? NO_ROUTING;
    const key = `${family} ${parts.map(({ held }) => `${this.#numberOf(held.snapshot.value)}${held.later ? '+' : ''}`).join(' ')} by ${this.#numberOf(routing)}`;
    let rules = this.#held.get(key);
    if (rules === undefined) {
      const iptables = parts.filter((part) => !part.native).flatMap((part) => part.held.snapshot.value);
      const nft = parts
        .filter((part) => part.native)
        .flatMap((part) => part.held.snapshot.value.map((set) => withoutRepeated(set, iptables)));
      rules = {
        sets: [...iptables, ...nft].filter((set) => set.families.includes(family)),
        routing,
        readAt: parts.map(({ held }) => held.snapshot.readAt).sort()[0] ?? '',
        later: parts.some(({ held }) => held.later),
        generation: this.#generations++,
      };
      if (this.#held.size >= HELD_MAX) this.#held.clear();
      this.#held.set(key, rules);
    }
    return rules;
  }

  #numberOf(thing: object): number {
    let number = this.#numbers.get(thing);
    if (number === undefined) {
      number = this.#numbered++;
      this.#numbers.set(thing, number);
    }
    return number;
  }
}
