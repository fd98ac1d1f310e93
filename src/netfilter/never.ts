/**
 * Rules that no packet can ever match: in chains that nothing leads to, with conditions that exclude each other, or behind rules that took every packet already. Only what is sure is told.
 *
 * A rule is alive when its conditions, those of the jumps that lead to it, and the failure of every earlier rule that ends the walk can hold together: a small search, given up (alive) when it grows too large.
 */
import type { RuleStep } from '../record/record.ts';
import { consistent, type Literal, literalsOf, negate } from './literal.ts';
import type { Chain, Hook, Rule, RuleSet, Table } from './rule-set.ts';
import type { JumpTarget } from './target/jump.ts';
import type { TproxyTarget } from './target/tproxy.ts';
import type { VerdictTarget } from './target/verdict.ts';

export interface NeverMatch {
  readonly family: Table['family'];
  readonly rule: RuleStep;
  readonly because: 'chain-not-reached' | 'contradiction' | 'taken-earlier';
  /** The earlier rules that leave nothing, where `because` is `taken-earlier`. */
  readonly by: readonly RuleStep[];
}

/** An earlier rule that ends the walk: when all its literals hold, the packet is gone. */
interface Taken {
  readonly at: RuleStep;
  readonly literals: readonly Literal[];
}

interface Way {
  readonly hook: Hook;
  readonly literals: readonly Literal[];
  readonly taken: readonly Taken[];
}

const MAX_WAYS = 32;
const MAX_DEPTH = 16;
const MAX_SEARCH = 5000;
/** Chains longer than this are judged against their first rules only. */
const MAX_TAKEN = 400;
/** Of one table: comparisons of a rule with an earlier one. What comes after is not judged. */
const MAX_COMPARED = 100_000;
/** Of one table: ways kept. */
const MAX_ALL_WAYS = 10_000;

export function neverMatches(ruleSet: RuleSet): NeverMatch[] {
  return ruleSet.tables.flatMap((table) => new TableSearch(table).run());
}

class TableSearch {
  readonly #table: Table;
  readonly #chains: ReadonlyMap<string, Chain>;
  readonly #callers = new Map<string, { chain: Chain; rule: Rule }[]>();
  readonly #ways = new Map<string, Way[] | 'too many'>();
  readonly #taken = new Map<string, { readonly index: number; readonly taken: Taken }[]>();
  #wayCount = 0;
  /** Rules of the table write marks: what an earlier rule saw need not hold later. */
  readonly #marksChange: boolean;
  #compared = 0;

  constructor(table: Table) {
    this.#table = table;
    this.#chains = new Map(table.chains.map((chain) => [chain.name, chain]));
    let marksChange = false;
    for (const chain of table.chains)
      for (const rule of chain.rules)
        for (const part of rule.parts) {
          if (part.part !== 'target') continue;
          if (part.target.kind === 'mark' || part.target.kind === 'tproxy' || part.target.kind === 'opaque') marksChange = true;
          if (part.target.kind !== 'jump') continue;
          const name = (part.target as JumpTarget).chain;
          const callers = this.#callers.get(name);
          if (callers === undefined) this.#callers.set(name, [{ chain, rule }]);
          else callers.push({ chain, rule });
        }
    this.#marksChange = marksChange;
  }

  run(): NeverMatch[] {
    const found: NeverMatch[] = [];
    for (const chain of this.#table.chains) {
      const ways = this.#waysTo(chain, []);
      if (ways === 'too many') continue;
      for (const rule of chain.rules) {
        const never = this.#judge(chain, rule, ways);
        if (never !== undefined) found.push({ family: this.#table.family, rule: this.#step(chain, rule), ...never });
      }
    }
    return found;
  }

  #step(chain: Chain, rule: Rule): RuleStep {
    return { table: this.#table.name, chain: chain.name, index: rule.index, text: rule.text };
  }

  #judge(chain: Chain, rule: Rule, ways: readonly Way[]): Pick<NeverMatch, 'because' | 'by'> | undefined {
    if (ways.length === 0) return { because: 'chain-not-reached', by: [] };
    if (this.#compared > MAX_COMPARED) return undefined;
    const own = this.#conditions(chain, rule);
    const before = this.#takenBefore(chain, rule);
    const by = new Map<Taken, RuleStep>();
    for (const way of ways) {
      const literals = [...way.literals, ...own, ...atHook(way.hook)];
      if (!consistent(literals)) continue;
      this.#compared += way.taken.length + before.length;
      if (this.#compared > MAX_COMPARED) return undefined;
      const taken = [...way.taken, ...before].filter((each) => consistent([...literals, ...each.literals]));
      if (taken.length === 0 || canHold(literals, taken, { left: MAX_SEARCH })) return undefined;
      for (const each of core(literals, taken)) by.set(each, each.at);
    }
    return by.size === 0 ? { because: 'contradiction', by: [] } : { because: 'taken-earlier', by: [...by.values()] };
  }

  /** What must hold for the rule to match, up to its counter or target. */
  #conditions(chain: Chain, rule: Rule): Literal[] {
    const literals: Literal[] = [];
    for (const [i, part] of rule.parts.entries()) {
      if (part.part === 'counter') break;
      if (part.part === 'match')
        literals.push(
          ...literalsOf(part.match, (match) => (match.kind === 'mark' && !this.#marksChange ? '' : `${chain.name} ${rule.index} ${i}`)),
        );
      // nft's tproxy may not apply: whether it does is one more condition.
      else if (isTproxy(part.target))
        literals.push({ dimension: `${chain.name} ${rule.index} ${i}`, set: { of: 'truth' }, negated: false });
    }
    return literals;
  }

  /** Everything that the whole rule needs, also after its counter. */
  #allConditions(chain: Chain, rule: Rule): Literal[] | undefined {
    const counter = rule.parts.findIndex((part) => part.part === 'counter');
    const late =
      counter !== -1 && rule.parts.slice(counter).some((part) => part.part === 'match' || (part.part === 'target' && breaks(part.target)));
    return late ? undefined : this.#conditions(chain, rule);
  }

  #takenBefore(chain: Chain, rule: Rule): Taken[] {
    let taken = this.#taken.get(chain.name);
    if (taken === undefined) {
      taken = [];
      for (const each of chain.rules) {
        if (taken.length >= MAX_TAKEN) break;
        for (const one of this.#takes(chain, each, true, 0)) taken.push({ index: each.index, taken: one });
      }
      this.#taken.set(chain.name, taken);
    }
    const before: Taken[] = [];
    for (const each of taken) {
      if (each.index >= rule.index) break;
      before.push(each.taken);
    }
    return before;
  }

  /** Which packets does the rule keep from going on in its chain? With `leaves`, RETURN and goto do so too. */
  #takes(chain: Chain, rule: Rule, leaves: boolean, depth: number): Taken[] {
    const { target } = rule;
    const literals = target === undefined ? undefined : this.#allConditions(chain, rule);
    if (target === undefined || literals === undefined) return [];
    const at = this.#step(chain, rule);
    if (ends(target)) return [{ at, literals }];
    if (target.kind === 'verdict' && (target as VerdictTarget).verdict === 'RETURN') return leaves ? [{ at, literals }] : [];
    if (target.kind !== 'jump') return [];
    const { how, chain: name } = target as JumpTarget;
    if (how === 'goto' && leaves) return [{ at, literals }];
    const called = this.#chains.get(name);
    if (called === undefined || depth >= 3) return [];
    const taken: Taken[] = [];
    for (const inner of called.rules) {
      // What comes after a way out need not be reached.
      if (inner.target?.kind === 'verdict' && (inner.target as VerdictTarget).verdict === 'RETURN') break;
      if (inner.target?.kind === 'jump' && (inner.target as JumpTarget).how === 'goto') break;
      for (const each of this.#takes(called, inner, false, depth + 1))
        taken.push({ at: each.at, literals: [...literals, ...each.literals] });
      if (inner.target?.kind === 'jump' && this.#mayLeave((inner.target as JumpTarget).chain)) break;
      if (taken.length >= MAX_TAKEN) break;
    }
    return taken;
  }

  /** A chain may only end the walk or come back: no way out of the caller. */
  #mayLeave(name: string): boolean {
    return (this.#chains.get(name)?.rules ?? []).some((rule) => rule.target?.kind === 'jump' && (rule.target as JumpTarget).how === 'goto');
  }

  #waysTo(chain: Chain, trail: readonly string[]): Way[] | 'too many' {
    const known = this.#ways.get(chain.name);
    if (known !== undefined) return known;
    if (trail.length > MAX_DEPTH || trail.includes(chain.name)) return 'too many';
    const ways: Way[] = [];
    if (chain.hook !== undefined) ways.push({ hook: chain.hook, literals: [], taken: [] });
    for (const { chain: caller, rule } of this.#callers.get(chain.name) ?? []) {
      const before = this.#waysTo(caller, [...trail, chain.name]);
      if (before === 'too many') return before;
      if (before.length === 0) continue;
      const literals = this.#allConditions(caller, rule) ?? this.#conditions(caller, rule);
      const taken = this.#takenBefore(caller, rule);
      for (const way of before) {
        if (ways.length >= MAX_WAYS || ++this.#wayCount > MAX_ALL_WAYS) return 'too many';
        ways.push({ hook: way.hook, literals: [...way.literals, ...literals], taken: [...way.taken, ...taken].slice(0, MAX_TAKEN) });
      }
    }
    this.#ways.set(chain.name, ways);
    return ways;
  }
}

function isTproxy(target: { kind: string }): boolean {
  return target.kind === 'tproxy' && (target as TproxyTarget).dialect === 'nft';
}

/** Targets after which the rest of an nft rule need not be reached. */
function breaks(target: { kind: string }): boolean {
  return isTproxy(target) || target.kind === 'mark';
}

function ends(target: { kind: string }): boolean {
  if (target.kind === 'verdict') return ['ACCEPT', 'DROP', 'REJECT'].includes((target as VerdictTarget).verdict);
  return target.kind === 'redirect' || target.kind === 'nat' || (target.kind === 'tproxy' && !isTproxy(target));
}

/** Where a hook has no incoming or outgoing interface, no name fits; where nothing is sent from here, there is no owner. */
function atHook(hook: Hook): Literal[] {
  const none = (dimension: 'in' | 'out'): Literal => ({ dimension, set: { of: 'interfaces', patterns: [''] }, negated: false });
  const noOwner = (dimension: 'uid' | 'gid'): Literal => ({
    dimension,
    set: { of: 'numbers', ranges: [{ low: -1, high: -1 }] },
    negated: false,
  });
  switch (hook) {
    case 'PREROUTING':
      return [none('out'), noOwner('uid'), noOwner('gid'), { dimension: 'socket', set: { of: 'truth' }, negated: true }];
    case 'INPUT':
      return [none('out')];
    case 'OUTPUT':
    case 'POSTROUTING':
      return [none('in')];
    default:
      return [];
  }
}

/** Is there a packet for which all literals hold and none of the rules takes it? Also true when the search is given up. */
function canHold(literals: readonly Literal[], taken: readonly Taken[], budget: { left: number }): boolean {
  if (--budget.left < 0) return true;
  // The rule with the fewest ways to fail first: the search ends sooner.
  let chosen: { rest: Taken[]; ways: Literal[] } | undefined;
  for (const each of taken) {
    if (!consistent([...literals, ...each.literals])) continue;
    const ways = each.literals.map(negate).filter((literal) => consistent([...literals, literal]));
    if (ways.length === 0) return false;
    if (chosen === undefined || ways.length < chosen.ways.length) chosen = { rest: taken.filter((other) => other !== each), ways };
  }
  if (chosen === undefined) return true;
  return chosen.ways.some((literal) => canHold([...literals, literal], chosen.rest, budget));
}

/** The rules without which something would be left. */
function core(literals: readonly Literal[], taken: readonly Taken[]): Taken[] {
  let kept = [...taken];
  for (const each of taken) {
    const rest = kept.filter((other) => other !== each);
    if (!canHold(literals, rest, { left: MAX_SEARCH })) kept = rest;
  }
  return kept;
}
