/**
 * One model of netfilter rules for both dialects: what iptables-save, iptables-restore, `iptables -L` and `nft -j list ruleset` say.
 *
 * A rule is a sequence of parts, as the kernel runs them: matches, the place where its counter rises, and what it does. iptables counts after all matches and has one target;
 * an nft rule may mix them, and may have no counter.
 * Source: iptables(8), nft(8); Linux net/ipv4/netfilter/ip_tables.c ipt_do_table(), net/netfilter/nf_tables_core.c nft_do_chain().
 */
import type { Family } from '../net/address.ts';
import type { Match } from './match/match.ts';
import type { Target } from './target/target.ts';

export type Dialect = 'iptables' | 'nft';
/** iptables keeps its rules in one of two kernel interfaces; both can hold rules at the same time. */
export type Variant = 'nf_tables' | 'legacy';
export type TableFamily = 'ip' | 'ip6' | 'inet' | 'arp' | 'bridge' | 'netdev';
export type Hook = 'PREROUTING' | 'INPUT' | 'FORWARD' | 'OUTPUT' | 'POSTROUTING';
export type ChainType = 'filter' | 'nat' | 'route';

export const hooks: readonly Hook[] = ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'];

export interface RuleCounters {
  packets: number;
  bytes: number;
}

export type Part =
  | { readonly part: 'match'; readonly match: Match }
  | { readonly part: 'counter' }
  | { readonly part: 'target'; readonly target: Target };

export interface Rule {
  /** Place within the chain, from 1. */
  readonly index: number;
  /** As the source spells it, without table, chain and counters: `-p tcp -m tcp --dport 15008 -j RETURN`. */
  readonly text: string;
  /** In the order in which the kernel runs them. */
  readonly parts: readonly Part[];
  /** The matches among the parts. */
  readonly matches: readonly Match[];
  /** What the rule ends with: the last of the targets among the parts. A rule without one only counts. */
  readonly target?: Target;
  readonly comment?: string;
  readonly counters?: RuleCounters;
}

export interface Chain {
  readonly name: string;
  /** Base chains only, as are `type`, `priority` and `policy`. */
  readonly hook?: Hook;
  readonly type?: ChainType;
  readonly priority?: number;
  readonly policy?: 'ACCEPT' | 'DROP';
  readonly rules: readonly Rule[];
  /** Of the policy. */
  readonly counters?: RuleCounters;
}

export interface Table {
  readonly name: string;
  readonly family: TableFamily;
  readonly chains: readonly Chain[];
}

export interface RuleSet {
  readonly dialect: Dialect;
  readonly variant?: Variant;
  /** The families that its tables judge. */
  readonly families: readonly Family[];
  readonly tables: readonly Table[];
  /** Read from a listing that does not show everything. */
  readonly lossy: boolean;
  /** What was read but not understood, or left out: one sentence each, at most {@link MAX_WARNINGS}. */
  readonly warnings: readonly string[];
}

export const MAX_WARNINGS = 100;
/** More rules than this in one text is not a rule set that a kernel answers in time; the reader stops there and says so. */
export const MAX_RULES = 200_000;

/** The text is no rule set, or breaks off inside one. `line` counts from 1; absent where the text has no lines (JSON). */
export class RulesSyntaxError extends SyntaxError {
  readonly line: number | undefined;

  constructor(message: string, line?: number) {
    super(line === undefined ? message : `${message} (line ${line})`);
    this.name = 'RulesSyntaxError';
    this.line = line;
  }
}

const familiesOf: { readonly [family in TableFamily]: readonly Family[] } = {
  ip: [4],
  ip6: [6],
  inet: [4, 6],
  arp: [],
  bridge: [],
  netdev: [],
};

/** Which packets a table of this family sees; arp, bridge and netdev tables see none that we follow. */
export function tableFamilies(family: TableFamily): readonly Family[] {
  return familiesOf[family];
}

export function makeRule(
  index: number,
  text: string,
  parts: readonly Part[],
  extra: { comment?: string; counters?: RuleCounters } = {},
): Rule {
  const matches: Match[] = [];
  let target: Target | undefined;
  for (const part of parts) {
    if (part.part === 'match') matches.push(part.match);
    else if (part.part === 'target') target = part.target;
  }
  return {
    index,
    text,
    parts,
    matches,
    ...(target === undefined ? {} : { target }),
    ...(extra.comment === undefined ? {} : { comment: extra.comment }),
    ...(extra.counters === undefined ? {} : { counters: extra.counters }),
  };
}

/** The hook and priority of iptables' builtin chains. Source: Linux include/uapi/linux/netfilter_ipv4.h, enum nf_ip_hook_priorities. */
const builtin: { readonly [table: string]: { readonly priority: number; readonly type: ChainType; readonly hooks: readonly Hook[] } } = {
  raw: { priority: -300, type: 'filter', hooks: ['PREROUTING', 'OUTPUT'] },
  mangle: { priority: -150, type: 'filter', hooks: ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'] },
  nat: { priority: -100, type: 'nat', hooks: ['PREROUTING', 'INPUT', 'OUTPUT', 'POSTROUTING'] },
  filter: { priority: 0, type: 'filter', hooks: ['INPUT', 'FORWARD', 'OUTPUT'] },
  security: { priority: 50, type: 'filter', hooks: ['INPUT', 'FORWARD', 'OUTPUT'] },
};

/** Base chain properties of a builtin chain of an iptables table; `undefined` for a user's chain. nat: 100 at INPUT and POSTROUTING. */
export function builtinChain(table: string, chain: string): { hook: Hook; type: ChainType; priority: number } | undefined {
  const known = builtin[table];
  const hook = known?.hooks.find((name) => name === chain);
  if (known === undefined || hook === undefined) return undefined;
  const late = table === 'nat' && (hook === 'INPUT' || hook === 'POSTROUTING');
  return { hook, type: table === 'mangle' && hook === 'OUTPUT' ? 'route' : known.type, priority: late ? 100 : known.priority };
}

export function isBuiltinTable(table: string): boolean {
  return Object.hasOwn(builtin, table);
}

export function familiesIn(tables: readonly Table[]): Family[] {
  const seen = new Set<Family>();
  for (const table of tables) for (const family of tableFamilies(table.family)) seen.add(family);
  return [...seen].sort();
}
