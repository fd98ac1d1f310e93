/**
 * Which rule took (or spared) a connection. Everything that packets do not tell (the owner of the socket, its mark) is left open; the rules' different outcomes are then
 * held against what was seen of the connection, and those that contradict it are struck out.
 *
 * One verdict left is an answer; its steps are given as far as all that is left agree on them. Several verdicts left are none: `unknown`.
 */
import type { FlowEnd } from '../flow/flow.ts';
import { type Evaluation, evaluate } from '../netfilter/evaluate.ts';
import { type NamedOwner, ownersNamed } from '../netfilter/owners.ts';
import type { PacketQuery } from '../netfilter/packet-query.ts';
import type { RuleSet } from '../netfilter/rule-set.ts';
import type { Reason } from '../record/reason.ts';
import type { RuleStep, RuleVerdict, Verdict } from '../record/record.ts';
import type { RulesHeld } from '../world/world.ts';
import type { Place } from './place.ts';

export interface Owner {
  readonly uid?: number;
  readonly gid?: number;
}

/** What was seen of the translation: the port that it was redirected to, or that the tuple stayed as it was; absent when nobody could see. */
export type Seen = { readonly redirectedTo: number } | 'untouched' | undefined;

export interface RuleQuestion {
  readonly protocol: string;
  readonly source: FlowEnd;
  readonly destination: FlowEnd;
  readonly place: Place;
  /** Known owner of the sending socket (OUTPUT). */
  readonly owner?: Owner;
  /** As whom the proxy runs, where its sockets were listed: what only an owner that the rules name can have sent was sent by it. */
  readonly proxyOwner?: Owner;
  /**
   * Somebody is known to listen where TPROXY sends to. Without it nft's `tproxy` may have taken the packet or not; what iptables' target takes is the proxy's, and lost where
   * there is none: the state of the connection tells that.
   */
  readonly transparentListener?: true;
  /** Primary address of the incoming interface. */
  readonly localAddress?: string;
  readonly seen: Seen;
  /** Did conntrack say it, or the wire? */
  readonly seenBy: 'conntrack' | 'wire';
  readonly midstream: boolean;
  /** The bytes show that the proxy sent it (a ClientHello of the mesh). */
  readonly sentByProxy: boolean;
}

export interface Judgement {
  readonly record: RuleVerdict;
  /**
   * Was it sent by an owner that the rules name? They name the proxy's, to spare it. True when every outcome that is left takes such an owner, false when none does.
   */
  readonly byNamedOwner: boolean | 'unknown';
  /** Did the rules look at who sent it? False where nothing that was left asked, and where there are no rules. */
  readonly ownerAsked: boolean;
}

interface Possible {
  readonly verdict: Verdict;
  readonly port: number | undefined;
  readonly steps: readonly RuleStep[];
  readonly reason: Reason | undefined;
  /** What would have had to be known to tell it from the other outcomes for the same sender. */
  readonly open: Reason | undefined;
  /** Those who may have sent it; empty where the rules did not ask. */
  readonly owners: readonly NamedOwner[];
}

const CACHE_MAX = 65_536;
/** Rules that name more users and groups than this are judged without telling them apart. */
const OWNERS_MAX = 128;

/** Judges connections against the rules; keeps outcomes by everything that the rules may look at. */
export class RuleJudge {
  readonly #outcomes = new Map<string, readonly Possible[]>();

  /** @param held `undefined` when no rules of this family were recorded */
  judge(held: RulesHeld | undefined, question: RuleQuestion): Judgement {
    if (held === undefined || question.place.hook === undefined)
      return {
        record: withoutRules(question.seen, held === undefined ? 'no-rules' : 'interface-unknown'),
        byNamedOwner: 'unknown',
        ownerAsked: false,
      };
    const left = sentByProxy(
      this.#possible(held, question).filter((outcome) => fits(outcome, question)),
      question.proxyOwner,
      held.sets,
    );
    const asked = left.filter((outcome) => outcome.owners.length > 0);
    const byNamedOwner =
      asked.length === left.length && left.length > 0
        ? agreed(left.flatMap(({ owners }) => owners.map(({ named }) => named)))
        : knownOwner(held.sets, question.owner);
    return { record: settle(left, question, held), byNamedOwner, ownerAsked: asked.length > 0 };
  }

  #possible(held: RulesHeld, question: RuleQuestion): readonly Possible[] {
    const { place, source, destination, owner } = question;
    const port = looksAtSourcePorts(held.sets) ? source.port : '';
    const sender = owner === undefined ? '' : `${owner.uid ?? '?'}:${owner.gid ?? '?'}`;
    const key = `${held.generation} ${question.protocol} ${place.hook} ${place.in ?? '?'} ${place.out ?? '?'} ${source.ip} ${port} ${destination.ip} ${destination.port} ${sender} ${question.sentByProxy} ${question.transparentListener ?? '?'}`;
    const kept = this.#outcomes.get(key);
    if (kept !== undefined) return kept;
    const outcomes = outcomesOf(held, question);
    if (this.#outcomes.size >= CACHE_MAX) this.#outcomes.clear();
    this.#outcomes.set(key, outcomes);
    return outcomes;
  }
}

const sourcePorts = new WeakMap<readonly RuleSet[], boolean>();

/** Rules that look at source ports are rare (answers of DNS in raw); elsewhere the opener's port does not tell connections apart. */
function looksAtSourcePorts(sets: readonly RuleSet[]): boolean {
  let looks = sourcePorts.get(sets);
  if (looks === undefined) {
    looks = sets.some((set) =>
      set.tables.some((table) => table.chains.some((chain) => chain.rules.some((rule) => /sport|(?<!to)-ports\b/.test(rule.text)))),
    );
    sourcePorts.set(sets, looks);
  }
  return looks;
}

/** Every outcome that the rules can come to, with all who may have sent what came to it. */
function outcomesOf(held: RulesHeld, question: RuleQuestion): readonly Possible[] {
  const { sets } = held;
  const query = queryOf(held, question);
  const whoever = evaluate(sets, query);
  const tries = ownersNamed(sets);
  if (query.owner === 'none' || tries.length > OWNERS_MAX || !(whoever.dependsOn.has('owner.uid') || whoever.dependsOn.has('owner.gid')))
    return possibilities(whoever, []).map((outcome) => loopedIn(outcome, held, question, tries));
  const outcomes = new Map<string, Possible & { owners: NamedOwner[] }>();
  for (const tried of tries) {
    const owner = meant(tried, question.owner, sets);
    if (owner === undefined) continue;
    for (const found of possibilities(evaluate(sets, { ...query, owner }), [owner])) {
      const outcome = loopedIn(found, held, question, [owner]);
      const key = `${outcome.verdict} ${outcome.port} ${outcome.steps.map(({ table, chain, index }) => `${table} ${chain} ${index}`).join('|')}`;
      const known = outcomes.get(key);
      if (known === undefined) outcomes.set(key, { ...outcome, owners: [owner] });
      else if (!known.owners.includes(owner)) known.owners.push(owner);
    }
  }
  return [...outcomes.values()];
}

/**
 * What leaves over lo comes in again, with the mark that it was given: TPROXY takes it there. (nat has been asked already and is not asked again.)
 * A foreign source is the proxy's transparent socket, which marks what it sends by itself.
 * Source: Linux drivers/net/loopback.c loopback_xmit() keeps skb->mark; the rules of istio-iptables for TPROXY.
 */
function loopedIn(outcome: Possible, held: RulesHeld, question: RuleQuestion, owners: readonly NamedOwner[]): Possible {
  const { source, destination, place } = question;
  if (place.hook !== 'OUTPUT' || place.out !== 'lo' || !place.sourceIsOurs) return outcome;
  if (outcome.verdict !== 'ACCEPT' || question.protocol !== 'tcp' || !held.sets.some(hasTproxy)) return outcome;
  const packet = {
    protocol: question.protocol,
    source: { ip: source.ip, port: source.port },
    destination: { ip: destination.ip, port: destination.port },
    tcpFlags: 0x02,
    state: 'NEW' as const,
  };
  const listener = question.transparentListener === undefined ? {} : { transparentListener: question.transparentListener };
  for (const owner of owners) {
    const sent = evaluate(held.sets, { ...packet, hook: 'OUTPUT', out: 'lo', owner, mark: 0 });
    if (typeof sent.mark !== 'number' || sent.mark === 0 || !sameSteps(sent.steps, outcome.steps)) continue;
    const back = evaluate(held.sets, {
      ...packet,
      hook: 'PREROUTING',
      in: 'lo',
      owner: 'none',
      mark: sent.mark,
      routing: held.routing,
      ...listener,
    });
    if (back.verdict !== 'TPROXY') continue;
    return {
      ...outcome,
      verdict: 'TPROXY',
      port: back.to?.port,
      steps: [...outcome.steps, ...back.steps.filter((step) => step.table !== 'nat')],
    };
  }
  return outcome;
}

function hasTproxy(set: RuleSet): boolean {
  return set.tables.some((table) =>
    table.chains.some((chain) =>
      chain.rules.some((rule) => rule.parts.some((part) => part.part === 'target' && part.target.kind === 'tproxy')),
    ),
  );
}

function sameSteps(a: readonly RuleStep[], b: readonly RuleStep[]): boolean {
  return (
    a.length === b.length && a.every((step, i) => step.table === b[i]!.table && step.chain === b[i]!.chain && step.index === b[i]!.index)
  );
}

function queryOf(held: RulesHeld, question: RuleQuestion): PacketQuery {
  const { place, source, destination, owner } = question;
  const output = place.hook === 'OUTPUT';
  return {
    hook: output ? 'OUTPUT' : 'PREROUTING',
    protocol: question.protocol,
    source: { ip: source.ip, port: source.port },
    destination: { ip: destination.ip, port: destination.port },
    ...(place.in === undefined ? {} : { in: place.in }),
    ...(place.out === undefined ? {} : { out: place.out }),
    // What arrives from outside has no socket and no mark yet; what is sent here has both, and packets do not show them.
    // (Istio's proxy marks what it opens towards the application, in the clear; not what it encrypts for another proxy.)
    ...(output
      ? { mark: question.sentByProxy ? 0 : ('unknown' as const), ...(owner === undefined ? {} : { owner }) }
      : { owner: 'none' as const, mark: 0 }),
    ...(question.localAddress === undefined ? {} : { localAddress: question.localAddress }),
    ...(question.protocol === 'tcp' ? { tcpFlags: 0x02 } : {}),
    ...(question.transparentListener === undefined ? {} : { transparentListener: question.transparentListener }),
    state: 'NEW',
    routing: held.routing,
  };
}

/** The owner to try, if what is known of the sender does not speak against it: each known part is either the one tried, or one that no rule names where one such is tried. */
function meant(tried: NamedOwner, known: Owner | undefined, sets: readonly RuleSet[]): NamedOwner | undefined {
  if (known === undefined) return tried;
  const owners = ownersNamed(sets);
  const nobody = owners.at(-1);
  const agrees = (part: 'uid' | 'gid') => {
    const value = known[part];
    if (value === undefined || tried[part] === undefined || tried[part] === value) return true;
    return tried[part] === nobody?.[part] && !owners.some((named) => named[part] === value && value !== nobody?.[part]);
  };
  return agrees('uid') && agrees('gid') ? { ...tried, ...known } : undefined;
}

function possibilities(evaluation: Evaluation, owners: readonly NamedOwner[]): readonly Possible[] {
  if (evaluation.candidates === undefined || evaluation.incomplete === true)
    return [
      {
        verdict: evaluation.verdict,
        port: evaluation.to?.port,
        steps: evaluation.steps,
        reason: evaluation.reason,
        open: undefined,
        owners,
      },
    ];
  return evaluation.candidates.map((candidate) => ({
    verdict: candidate.verdict,
    port: candidate.to?.port,
    steps: candidate.steps,
    reason: candidate.verdict === 'unknown' ? evaluation.reason : undefined,
    open: evaluation.reason,
    owners,
  }));
}

/** Is the known sender one of those that the rules name? `unknown` where nobody told enough. */
function knownOwner(sets: readonly RuleSet[], owner: Owner | undefined): boolean | 'unknown' {
  if (owner === undefined) return 'unknown';
  const left = ownersNamed(sets).filter((tried) => meant(tried, owner, sets) !== undefined);
  return agreed(left.map(({ named }) => named));
}

/** Where only somebody whom the rules name can have sent it, that is the proxy: outcomes for users and groups that are not its own cannot be. */
function sentByProxy(left: readonly Possible[], proxy: Owner | undefined, sets: readonly RuleSet[]): readonly Possible[] {
  if (proxy === undefined || !left.every(({ owners }) => owners.length > 0 && owners.every(({ named }) => named))) return left;
  const own = left.flatMap((outcome) => {
    const owners = outcome.owners.filter((owner) => meant(owner, proxy, sets) !== undefined);
    return owners.length === 0 ? [] : [{ ...outcome, owners }];
  });
  return own.length === 0 ? left : own;
}

/** Can this have happened, given what was seen? */
function fits(outcome: Possible, question: RuleQuestion): boolean {
  const { seen, destination } = question;
  if (question.sentByProxy && outcome.owners.length > 0 && outcome.owners.every(({ named }) => !named)) return false;
  if (seen === undefined || outcome.verdict === 'unknown') return true;
  if (seen === 'untouched') {
    // A redirect to the port that it had anyway leaves the tuple alone; TPROXY always does.
    if (outcome.verdict === 'REDIRECT') return outcome.port === destination.port;
    return outcome.verdict !== 'DNAT';
  }
  return (
    (outcome.verdict === 'REDIRECT' || outcome.verdict === 'DNAT') && (outcome.port === undefined || outcome.port === seen.redirectedTo)
  );
}

function settle(left: readonly Possible[], question: RuleQuestion, held: RulesHeld): RuleVerdict {
  const { seen } = question;
  if (left.length === 0) return withoutRules(seen, question.midstream ? 'begun-before-recording' : 'rules-contradicted');
  const first = left[0]!;
  const steps = commonSteps(left);
  const undecided = left.find((outcome) => outcome.verdict === 'unknown');
  if (undecided !== undefined || left.some((outcome) => outcome.verdict !== first.verdict || outcome.port !== first.port)) {
    const reason = undecided?.reason ?? dependence(left);
    // That the tuple stayed tells ACCEPT from REDIRECT, not from TPROXY.
    const told =
      seen !== undefined &&
      (seen !== 'untouched' || left.every((outcome) => outcome.verdict === 'ACCEPT' || outcome.verdict === 'unknown'));
    return told ? { ...withoutRules(seen, reason), steps } : { verdict: 'unknown', evidence: 'ambiguous', reason, steps };
  }
  const lossy = held.sets.some((set) => set.lossy);
  const reason: Reason | undefined = left.some((outcome) => outcome.steps.length !== steps.length)
    ? dependence(left)
    : question.midstream
      ? 'begun-before-recording'
      : held.later
        ? 'rules-newer-than-connection'
        : lossy
          ? 'rules-lossy'
          : undefined;
  const weak = seen === undefined && (held.later || lossy || question.midstream);
  return {
    verdict: first.verdict,
    ...(first.port === undefined ? {} : { port: first.port }),
    evidence: seen !== undefined && question.seenBy === 'conntrack' ? 'observed' : weak ? 'ambiguous' : 'derived',
    ...(reason === undefined ? {} : { reason }),
    steps,
  };
}

/** The verdict where there is no rule to name for it. */
function withoutRules(seen: Seen, reason: Reason): RuleVerdict {
  if (seen === undefined) return { verdict: 'unknown', evidence: 'unavailable', reason, steps: [] };
  if (seen === 'untouched') return { verdict: 'ACCEPT', evidence: 'observed', reason, steps: [] };
  return { verdict: 'REDIRECT', port: seen.redirectedTo, evidence: 'observed', reason, steps: [] };
}

/** Why the outcomes that are left differ: they are of different owners, or something else decides for each. */
function dependence(left: readonly Possible[]): Reason {
  const same = left.every(
    ({ owners }) => owners.length === left[0]!.owners.length && owners.every((owner, i) => owner === left[0]!.owners[i]),
  );
  return same ? (left.find(({ open }) => open !== undefined)?.open ?? 'mark-unknown') : 'owner-unknown';
}

function agreed(values: readonly (boolean | 'unknown')[]): boolean | 'unknown' {
  const first = values[0];
  return first !== undefined && values.every((value) => value === first) ? first : 'unknown';
}

/**
 * The steps that all have: of each table up to the first difference. A later table is consulted whatever an earlier one did, short of a drop, which is a different verdict.
 */
function commonSteps(all: readonly Possible[]): RuleStep[] {
  const [head, ...others] = all.map((outcome) => byTable(outcome.steps));
  const shared = new Set<RuleStep>();
  for (const [table, own] of head ?? [])
    for (const [i, step] of own.entries()) {
      if (
        !others.every((other) => {
          const there = other.get(table)?.[i];
          return there !== undefined && there.chain === step.chain && there.index === step.index;
        })
      )
        break;
      shared.add(step);
    }
  return (all[0]?.steps ?? []).filter((step) => shared.has(step));
}

function byTable(steps: readonly RuleStep[]): Map<string, RuleStep[]> {
  const tables = new Map<string, RuleStep[]>();
  for (const step of steps) {
    const list = tables.get(step.table);
    if (list === undefined) tables.set(step.table, [step]);
    else list.push(step);
  }
  return tables;
}
