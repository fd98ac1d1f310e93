/**
 * Rules in words, for somebody who has never read one: what each looks at, what it does, whether it was ever hit, and whether it can be.
 */
import type { Match } from './match/match.ts';
import type { PortsMatch } from './match/ports.ts';
import type { ProtocolMatch } from './match/protocol.ts';
import { matchWords } from './matches.ts';
import { type NeverMatch, neverMatches } from './never.ts';
import { type CapturePorts, proxyPorts } from './ports.ts';
import type { Chain, Rule, RuleCounters, RuleSet, Table } from './rule-set.ts';
import type { JumpTarget } from './target/jump.ts';
import type { NatTarget } from './target/nat.ts';
import type { RedirectTarget } from './target/redirect.ts';
import type { Target } from './target/target.ts';
import type { TproxyTarget } from './target/tproxy.ts';
import type { VerdictTarget } from './target/verdict.ts';
import { targetWords } from './targets.ts';

export interface ExplainedRule {
  readonly index: number;
  readonly text: string;
  /** One sentence, without a full stop. */
  readonly words: string;
  readonly comment?: string;
  readonly counters?: RuleCounters;
  /** Why no packet can ever match it. */
  readonly never?: { readonly because: NeverMatch['because']; readonly words: string };
}

export interface ExplainedChain {
  readonly name: string;
  /** When the kernel asks it, or who calls it. */
  readonly words: string;
  readonly hook?: string;
  readonly priority?: number;
  readonly policy?: 'ACCEPT' | 'DROP';
  readonly rules: readonly ExplainedRule[];
}

export interface ExplainedTable {
  readonly name: string;
  readonly family: Table['family'];
  readonly words: string;
  readonly chains: readonly ExplainedChain[];
}

/** Tables in the order of the rule set; base chains first. */
export function explainRuleSet(ruleSet: RuleSet): ExplainedTable[] {
  const ports = proxyPorts([ruleSet]);
  const never = new Map<string, NeverMatch>();
  for (const each of neverMatches(ruleSet)) never.set(`${each.family} ${each.rule.table} ${each.rule.chain} ${each.rule.index}`, each);
  return ruleSet.tables.map((table) => {
    const callers = callersIn(table);
    const chains = [...table.chains].sort((a, b) => Number(a.hook === undefined) - Number(b.hook === undefined));
    return {
      name: table.name,
      family: table.family,
      words: tableWords(table),
      chains: chains.map((chain) => explainChain(table, chain, callers.get(chain.name) ?? NOBODY, ports, never)),
    };
  });
}

function explainChain(
  table: Table,
  chain: Chain,
  callers: ReadonlySet<string>,
  ports: CapturePorts,
  never: ReadonlyMap<string, NeverMatch>,
): ExplainedChain {
  return {
    name: chain.name,
    words: chainWords(chain, callers),
    ...(chain.hook === undefined ? {} : { hook: chain.hook }),
    ...(chain.priority === undefined ? {} : { priority: chain.priority }),
    ...(chain.policy === undefined ? {} : { policy: chain.policy }),
    rules: chain.rules.map((rule) => {
      const dead = never.get(`${table.family} ${table.name} ${chain.name} ${rule.index}`);
      return {
        index: rule.index,
        text: rule.text,
        words: ruleWords(rule, { ports, base: chain.hook !== undefined }),
        ...(rule.comment === undefined ? {} : { comment: rule.comment }),
        ...(rule.counters === undefined ? {} : { counters: rule.counters }),
        ...(dead === undefined ? {} : { never: { because: dead.because, words: neverWords(dead) } }),
      };
    }),
  };
}

function callersIn(table: Table): Map<string, Set<string>> {
  const callers = new Map<string, Set<string>>();
  for (const chain of table.chains)
    for (const rule of chain.rules) {
      if (rule.target?.kind !== 'jump') continue;
      const name = (rule.target as JumpTarget).chain;
      const list = callers.get(name);
      if (list === undefined) callers.set(name, new Set([chain.name]));
      else list.add(chain.name);
    }
  return callers;
}

const NOBODY: ReadonlySet<string> = new Set();
const MAX_CALLERS_TOLD = 8;

const purposes: readonly (readonly [RegExp, string])[] = [
  [/(?:^|-)raw$/, 'asked first, before connection tracking, for every packet'],
  [/(?:^|-)mangle$/, 'may mark packets; asked for every packet'],
  [/(?:^|-)nat$/, 'may send connections elsewhere; asked only for the first packet of each'],
  [/(?:^|-)filter$/, 'may drop packets; asked for every packet'],
];

function tableWords({ name }: Table): string {
  return purposes.find(([pattern]) => pattern.test(name))?.[1] ?? 'asked for every packet';
}

const moments = {
  PREROUTING: 'for packets that come in',
  INPUT: 'for packets that are delivered here',
  FORWARD: 'for packets that pass through',
  OUTPUT: 'for packets that are sent from here',
  POSTROUTING: 'for packets that leave',
} as const;

function chainWords({ hook, policy }: Chain, callers: ReadonlySet<string>): string {
  if (hook !== undefined) return `asked ${moments[hook]}; what no rule decides is ${policy === 'DROP' ? 'dropped' : 'let pass'}`;
  const told = [...callers].slice(0, MAX_CALLERS_TOLD);
  const rest = callers.size - told.length;
  return told.length === 0 ? 'no rule leads here' : `called from ${told.join(', ')}${rest === 0 ? '' : ` and ${rest} more`}`;
}

/**
 * One rule as a sentence: `TCP packets to port 15008: leave this chain and go on where it was called from`.
 *
 * @param where `ports` names the proxy's ports where they are known; `base`: the rule stands in a base chain, which nobody called
 */
export function ruleWords(rule: Rule, where: { ports?: CapturePorts; base?: boolean } = {}): string {
  const conditions: string[] = [];
  let protocol = '';
  for (const match of rule.matches) {
    if (isPlainProtocol(match) && protocol === '') protocol = match.protocols[0]!;
    else {
      const words = matchWords(match);
      if (words !== '') conditions.push(words);
      // `tcp dport` of nft says it by the way.
      const implied = match.kind === 'ports' ? (match as PortsMatch).protocols : [];
      if (protocol === '' && implied.length === 1) protocol = implied[0]!;
    }
  }
  const noun = protocol === '' ? 'Packets' : `${protocol.toUpperCase()} packets`;
  const subject = protocol === '' && conditions.length === 0 ? 'All packets' : noun;
  const actions = rule.parts.flatMap((part) => (part.part === 'target' ? [actionWords(part.target, where)] : []));
  return `${[subject, ...joined(conditions)].join(' ')}: ${actions.length === 0 ? 'only count them' : actions.join(', then ')}`;
}

function actionWords(target: Target, { ports, base }: { ports?: CapturePorts; base?: boolean }): string {
  if (base === true && target.kind === 'verdict' && (target as VerdictTarget).verdict === 'RETURN')
    return 'ask no further rule of this chain';
  return `${targetWords(target)}${portRole(target, ports)}`;
}

function joined(conditions: readonly string[]): string[] {
  return conditions.map((words, i) => (i < conditions.length - 1 ? `${words},` : words));
}

function isPlainProtocol(match: Match): match is ProtocolMatch {
  return match.kind === 'protocol' && !(match as ProtocolMatch).negated && (match as ProtocolMatch).protocols.length === 1;
}

function portRole(target: { kind: string }, ports: CapturePorts | undefined): string {
  if (ports === undefined) return '';
  let port: number | undefined;
  if (target.kind === 'redirect') port = (target as RedirectTarget).ports?.low;
  else if (target.kind === 'tproxy') port = (target as TproxyTarget).port;
  else if (target.kind === 'nat') port = (target as NatTarget).ports?.low;
  if (port === undefined) return '';
  const roles = [
    ports.inbound.includes(port) ? 'what comes in' : '',
    ports.outbound.includes(port) ? 'what the application opens' : '',
    ports.dns.includes(port) ? 'DNS queries' : '',
  ].filter((role) => role !== '');
  return roles.length === 0 ? '' : ` (where the proxy takes ${roles.join(' and ')})`;
}

/** Why no packet can ever match it, as a clause. */
export function neverWords({ because, by, rule }: NeverMatch): string {
  if (because === 'chain-not-reached') return 'no packet ever gets here: no rule leads to this chain';
  if (because === 'contradiction') return 'no packet can match it: what it asks for cannot be, where it stands';
  const places = by.map(({ chain, index }) => (chain === rule.chain ? `rule ${index}` : `${chain} rule ${index}`));
  const list = places.length < 2 ? places.join('') : `${places.slice(0, -1).join(', ')} and ${places.at(-1)}`;
  return `no packet gets this far: ${list} ${places.length === 1 ? 'takes' : 'take'} every packet that it asks for`;
}
