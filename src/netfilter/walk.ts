/**
 * One walk of one packet through the base chains of a hook, as the kernel does it, as far as nothing has to be asked.
 * Source: Linux net/ipv4/netfilter/ip_tables.c ipt_do_table(), net/netfilter/nf_tables_core.c nft_do_chain(), net/netfilter/nf_nat_core.c nf_nat_inet_fn().
 */
import type { Reason } from '../record/reason.ts';
import type { RuleStep, Verdict } from '../record/record.ts';
import type { BaseChain } from './base-chains.ts';
import type { Match } from './match/match.ts';
import { testMatch } from './matches.ts';
import type { PacketState } from './packet-state.ts';
import { protocolName } from './protocol-names.ts';
import type { Chain, Rule, Table } from './rule-set.ts';
import type { Destination } from './target/target.ts';
import { applyTarget } from './targets.ts';
import type { Question, Truth } from './truth.ts';
import { isQuestion } from './truth.ts';

export interface Outcome {
  verdict: Verdict;
  to?: Destination;
  steps: RuleStep[];
  reason?: Reason;
  undecidedAt?: RuleStep;
}

export interface Stopped {
  readonly question: Question;
  /** The rule that asks; absent when it is not a rule that does. */
  readonly at?: RuleStep;
}

/** How many rules may still be judged: bounds what a hostile rule set can cost. */
export interface Budget {
  rules: number;
}

/** Priority of conntrack itself: chains before it see a packet that has no connection yet. */
const CONNTRACK_PRIORITY = -200;
const MAX_DEPTH = 1024;

const chainsOf = new WeakMap<Table, Map<string, Chain>>();

function findChain(table: Table, name: string): Chain | undefined {
  let byName = chainsOf.get(table);
  if (byName === undefined) {
    byName = new Map(table.chains.map((chain) => [chain.name, chain]));
    chainsOf.set(table, byName);
  }
  return byName.get(name);
}

export function walk(bases: readonly BaseChain[], packet: PacketState, budget: Budget): Outcome | Stopped {
  const outcome: Outcome = { verdict: 'ACCEPT', steps: [] };
  let translated = false;
  for (const base of bases) {
    if (base.at > CONNTRACK_PRIORITY && packet.tracked !== 'yes') packet.tracked = 'yes';
    if (base.nat) {
      if (translated || base.chain.rules.length === 0) continue;
      const asked = natIsAsked(packet);
      if (isQuestion(asked)) return { question: asked };
      if (!asked) continue;
    }
    const end = walkChain(base, packet, outcome, budget);
    if (typeof end === 'object') return end;
    if (end === 'undecided' || end === 'drop') return outcome;
    if (end === 'sent' && base.nat) translated = true;
  }
  return outcome;
}

/** nat is asked for the first packet of a connection. A packet that comes in again over lo has been asked at OUTPUT already. */
function natIsAsked(packet: PacketState): Truth {
  if (packet.untracked || packet.seenBefore) return false;
  const state = packet.queryState();
  if (typeof state === 'object') return state;
  if (state !== 'RELATED') return state === 'NEW';
  // ICMP errors follow the connection that they quote. Other related connections may carry the translation of their master.
  const icmp = /^icmp/.test(protocolName(packet.protocol));
  return icmp ? false : packet.askTruth('related connection sees nat', 'state', 'state-unknown');
}

type End = 'accepted' | 'sent' | 'drop' | 'undecided' | Stopped;

function walkChain({ table, chain: base }: BaseChain, packet: PacketState, outcome: Outcome, budget: Budget): End {
  const stack: { chain: Chain; next: number }[] = [];
  let chain = base;
  let next = 0;
  let sent = false;
  for (;;) {
    const rule = chain.rules[next++];
    if (rule === undefined) {
      const caller = stack.pop();
      if (caller === undefined) break;
      ({ chain, next } = caller);
      continue;
    }
    if (--budget.rules < 0) return undecided(outcome, 'target-unknown', stepOf(table, chain, rule));
    const end = runRule(table, chain, rule, packet, outcome, budget);
    if (typeof end === 'string') {
      if (end === 'next') continue;
      if (end === 'sent') {
        sent = true;
        continue;
      }
      if (end === 'accept' || end === 'sent-accept') return sent || end === 'sent-accept' ? 'sent' : 'accepted';
      if (end === 'drop') return drop(outcome);
      if (end === 'undecided') return 'undecided';
      const caller = stack.pop();
      if (caller === undefined) break;
      ({ chain, next } = caller);
      continue;
    }
    if ('question' in end) return end;
    const target = findChain(table, end.chain);
    if (target === undefined || stack.length >= MAX_DEPTH) return undecided(outcome, 'target-unknown', stepOf(table, chain, rule));
    if (end.do === 'jump') stack.push({ chain, next });
    chain = target;
    next = 0;
  }
  if (base.policy === 'DROP') return drop(outcome);
  return sent ? 'sent' : 'accepted';
}

type RuleEnd =
  | 'next'
  | 'accept'
  | 'sent-accept'
  | 'sent'
  | 'drop'
  | 'return'
  | 'undecided'
  | { do: 'jump' | 'goto'; chain: string }
  | Stopped;

/** A large set costs as much as some rules. */
function costOf(match: { blocks?: readonly unknown[] } | Match): number {
  return 'blocks' in match && match.blocks !== undefined ? match.blocks.length >>> 5 : 0;
}

function runRule(table: Table, chain: Chain, rule: Rule, packet: PacketState, outcome: Outcome, budget: Budget): RuleEnd {
  let counted = false;
  let open: Question | undefined;
  let sent = false;
  const { parts } = rule;
  const hasCounter = parts.some((part) => part.part === 'counter');
  for (let i = 0; i <= parts.length; i++) {
    const part = parts[i];
    if (part?.part === 'match') {
      packet.place = `${table.family} ${table.name} ${chain.name} ${rule.index} ${i}`;
      budget.rules -= costOf(part.match);
      const truth = testMatch(part.match, packet);
      if (truth === false) return sent ? 'sent' : 'next';
      if (truth !== true) open ??= truth;
      continue;
    }
    if (open !== undefined) return { question: open, at: stepOf(table, chain, rule) };
    if (part === undefined || part.part === 'counter') {
      if (part !== undefined || !(hasCounter || counted)) {
        outcome.steps.push(stepOf(table, chain, rule));
        counted = true;
      }
      continue;
    }
    const effect = applyTarget(part.target, packet);
    if (isQuestion(effect)) return { question: effect, at: stepOf(table, chain, rule) };
    if (effect.do === 'break') return sent ? 'sent' : 'next';
    if (!hasCounter && !counted) {
      outcome.steps.push(stepOf(table, chain, rule));
      counted = true;
    }
    switch (effect.do) {
      case 'continue':
        break;
      case 'send':
        outcome.verdict = effect.verdict;
        outcome.to = effect.to;
        if (effect.ends) return 'sent-accept';
        sent = true;
        break;
      case 'undecided':
        undecided(outcome, effect.reason, stepOf(table, chain, rule));
        return 'undecided';
      case 'accept':
        return sent ? 'sent-accept' : 'accept';
      case 'drop':
        return 'drop';
      case 'return':
        return 'return';
      default:
        return effect;
    }
  }
  return sent ? 'sent' : 'next';
}

function stepOf(table: Table, chain: Chain, rule: Rule): RuleStep {
  return { table: table.name, chain: chain.name, index: rule.index, text: rule.text };
}

function drop(outcome: Outcome): 'drop' {
  outcome.verdict = 'DROP';
  delete outcome.to;
  return 'drop';
}

function undecided(outcome: Outcome, reason: Reason, at: RuleStep): 'undecided' {
  outcome.verdict = 'unknown';
  delete outcome.to;
  outcome.reason = reason;
  outcome.undecidedAt = at;
  return 'undecided';
}
