/**
 * Judges one packet at one hook against the rules of its network namespace, the way the kernel would.
 *
 * In      rule sets (iptables of each family and variant, native nft) and a packet: hook, addresses, ports, interfaces, owner, marks, state.
 * Out     what becomes of it, and the rules whose counters rise, in the kernel's order through raw, conntrack, mangle, nat, filter.
 * Not     reads no kernel state and keeps none; what conntrack does with later packets of a connection is its business.
 *
 * What is not known is tried: every answer that the rules can tell apart. Where all of them lead to the same verdict by the same rules, that is the verdict; else it is `unknown`, with the candidates.
 * Source: iptables(8), iptables-extensions(8), nft(8); the kernel files named in walk.ts and base-chains.ts.
 */
import { type Family, parseIp } from '../net/address.ts';
import type { Reason } from '../record/reason.ts';
import type { RuleStep, Verdict } from '../record/record.ts';
import { baseChains, orderMatters } from './base-chains.ts';
import { type IpRule, ruleForMark } from './ip-rule.ts';
import type { Mark } from './mark.ts';
import { namedIn } from './named.ts';
import type { PacketQuery } from './packet-query.ts';
import { type Named, PacketState } from './packet-state.ts';
import type { RuleSet } from './rule-set.ts';
import type { Destination } from './target/target.ts';
import type { Answer, Input, Question } from './truth.ts';
import { type Budget, type Outcome, walk } from './walk.ts';

export interface Candidate {
  verdict: Verdict;
  to?: Destination;
  steps: RuleStep[];
  /** What would have to be so: `uid=1337`. One of the ways to this outcome. */
  assuming: { key: string; answer: Answer }[];
}

export interface Evaluation {
  verdict: Verdict;
  /** Where REDIRECT, TPROXY or DNAT send it; absent parts stay, or are not known. */
  to?: Destination;
  /** The rules whose counters rise, in order. Policies are no steps. With an `unknown` verdict: those that are sure, up to the first that is not. */
  steps: RuleStep[];
  /** Why it is `unknown`. */
  reason?: Reason;
  /** The first rule that could not be judged. */
  undecidedAt?: RuleStep;
  /** Every different outcome, when the verdict is `unknown` for want of an input; at most {@link MAX_CANDIDATES}. */
  candidates?: Candidate[];
  /** There were more ways than could be tried: `candidates` is not complete. */
  incomplete?: true;
  /** Which inputs were looked at: another packet that agrees on these gets the same verdict. */
  dependsOn: ReadonlySet<Input>;
  mark: number | 'unknown';
  connmark: number | 'unknown';
  /** Conntrack's zone, where a rule or the query names one. */
  zone?: number | 'unknown';
  /** A rule took it out of connection tracking. */
  untracked?: boolean | 'unknown';
  /** With `routing` given: the policy routing rule that the mark selects; absent when none does. */
  route?: IpRule | 'unknown';
}

export const MAX_CANDIDATES = 64;
const MAX_WALKS = 512;
const MAX_RULES_JUDGED = 4_000_000;

interface Trial {
  outcome: Outcome;
  packet: PacketState;
  answers: ReadonlyMap<string, Answer>;
}

const ORDER: Question = { key: 'order', input: 'other', reason: 'match-needs-state', choices: [false, true] };

/** @throws {TypeError} when `source.ip` is no address, or the two are of different families */
export function evaluate(ruleSets: readonly RuleSet[], query: PacketQuery): Evaluation {
  const family = familyOf(query);
  const lookedAt = new Set<Input>();
  let names: Named | undefined;
  const named = () => {
    names ??= namedIn(ruleSets);
    return names;
  };
  const budget: Budget = { rules: MAX_RULES_JUDGED };
  const twoOrders = orderMatters(ruleSets, query.hook, family);
  const trials: Trial[] = [];
  const open: ReadonlyMap<string, Answer>[] = twoOrders ? [new Map([[ORDER.key, true]]), new Map([[ORDER.key, false]])] : [new Map()];
  let first: { question: Question; at?: RuleStep } | undefined = twoOrders ? { question: ORDER } : undefined;
  let walks = 0;
  let incomplete = false;
  for (let answers = open.pop(); answers !== undefined; answers = open.pop()) {
    if (++walks > MAX_WALKS || budget.rules <= 0) {
      incomplete = true;
      break;
    }
    const packet = new PacketState(query, family, named, answers, lookedAt);
    const outcome = walk(baseChains(ruleSets, query.hook, family, answers.get(ORDER.key) === true), packet, budget);
    if (!('question' in outcome)) {
      trials.push({ outcome, packet, answers });
      continue;
    }
    first = first?.question === ORDER || first === undefined ? outcome : first;
    const { key, choices } = outcome.question;
    for (const choice of [...choices].reverse()) open.push(new Map([...answers, [key, choice]]));
  }
  return conclude(trials, first, incomplete, new Set(lookedAt), query);
}

function familyOf({ source, destination }: PacketQuery): Family {
  const from = parseIp(source.ip);
  const to = parseIp(destination.ip);
  if (from === undefined || to === undefined || from.family !== to.family)
    throw new TypeError(
      `Cannot evaluate a packet from "${source.ip}" to "${destination.ip}": both must be addresses of one family, they are not`,
    );
  return from.family;
}

function conclude(
  trials: readonly Trial[],
  first: { question: Question; at?: RuleStep } | undefined,
  incomplete: boolean,
  dependsOn: ReadonlySet<Input>,
  query: PacketQuery,
): Evaluation {
  const distinct = new Map<string, Trial>();
  for (const trial of trials) {
    const key = outcomeKey(trial.outcome);
    if (!distinct.has(key)) distinct.set(key, trial);
  }
  const one = distinct.size === 1 && !incomplete ? trials[0] : undefined;
  const marks = (which: 'mark' | 'connmark') => agreed(trials.map(({ packet }) => wholeMark(packet.mark(which))));
  const common = { dependsOn, mark: marks('mark') ?? 'unknown', connmark: marks('connmark') ?? 'unknown' };
  const zone = agreed(trials.map(({ packet }) => packet.zone));
  const untracked = agreed(trials.map(({ packet }) => packet.untracked));
  const rest = { ...(zone === undefined ? {} : { zone }), ...(untracked === false ? {} : { untracked }), ...routeOf(query, common.mark) };
  if (one !== undefined) {
    const { verdict, to, steps, reason, undecidedAt } = one.outcome;
    return {
      verdict,
      ...(to === undefined ? {} : { to }),
      steps,
      ...(reason === undefined ? {} : { reason }),
      ...(undecidedAt === undefined ? {} : { undecidedAt }),
      ...common,
      ...rest,
    };
  }
  return {
    verdict: 'unknown',
    steps: commonSteps([...distinct.values()]),
    reason: first?.question.reason ?? 'target-unknown',
    ...(first?.at === undefined ? {} : { undecidedAt: first.at }),
    candidates: [...distinct.values()].slice(0, MAX_CANDIDATES).map(({ outcome, answers }) => ({
      verdict: outcome.verdict,
      ...(outcome.to === undefined ? {} : { to: outcome.to }),
      steps: outcome.steps,
      assuming: [...answers].map(([key, answer]) => ({ key, answer })),
    })),
    ...(incomplete || distinct.size > MAX_CANDIDATES ? { incomplete: true as const } : {}),
    ...common,
    ...rest,
  };
}

function outcomeKey({ verdict, to, steps }: Outcome): string {
  return `${verdict} ${to?.ip} ${to?.port} ${steps.map(({ table, chain, index }) => `${table} ${chain} ${index}`).join('|')}`;
}

function commonSteps(trials: readonly Trial[]): RuleStep[] {
  const steps: RuleStep[] = [];
  const [head, ...others] = trials.map(({ outcome }) => outcome.steps);
  for (const [i, step] of (head ?? []).entries()) {
    const same = others.every((other) => {
      const at = other[i];
      return at !== undefined && at.table === step.table && at.chain === step.chain && at.index === step.index;
    });
    if (!same) break;
    steps.push(step);
  }
  return steps;
}

function wholeMark({ value, known }: Mark): number | 'unknown' {
  return known >>> 0 === 0xffffffff ? value : 'unknown';
}

function agreed<T>(values: readonly T[]): T | 'unknown' {
  return values.length > 0 && values.every((value) => value === values[0]) ? values[0]! : 'unknown';
}

function routeOf(query: PacketQuery, mark: number | 'unknown'): { route?: IpRule | 'unknown' } {
  if (query.routing === undefined) return {};
  if (mark === 'unknown') return query.routing.some((rule) => rule.fwmark !== undefined) ? { route: 'unknown' } : {};
  const packet = { mark, source: query.source.ip, destination: query.destination.ip, ...(query.in === undefined ? {} : { in: query.in }) };
  const route = ruleForMark(query.routing, packet);
  return route === undefined ? {} : { route };
}
