/**
 * Reads native nftables rules: `nft -j list ruleset` and, as text, `nft list ruleset` or the input of `nft -f`.
 * Source: libnftables-json(5), nft(8).
 */

import { JsonText, JsonTextError } from '../net/json-text.ts';
import { formatRule } from './nft-format.ts';
import { isObject, type Json, type JsonObject, number, onlyKey, text as textOf } from './nft-json.ts';
import type { FindSet } from './nft-match.ts';
import { nftPart } from './nft-statement.ts';
import { type NftCommand, parseNftText } from './nft-text.ts';
import {
  type ChainType,
  familiesIn,
  type Hook,
  hooks,
  MAX_RULES,
  MAX_WARNINGS,
  makeRule,
  type Part,
  type Rule,
  type RuleCounters,
  type RuleSet,
  RulesSyntaxError,
  type Table,
  type TableFamily,
} from './rule-set.ts';

/** Each insertion moves what stands behind it. */
const MAX_INSERTED = 50_000;
/** Deeper than this no rule of nft is nested. */
const MAX_NESTING = 32;

interface ChainDraft {
  name: string;
  hook: Hook | undefined;
  type: ChainType | undefined;
  priority: number | undefined;
  policy: 'ACCEPT' | 'DROP' | undefined;
  rules: JsonObject[];
}

interface TableDraft {
  name: string;
  family: TableFamily;
  chains: Map<string, ChainDraft>;
  sets: Map<string, readonly Json[] | undefined>;
}

/** @throws {RulesSyntaxError} when the text is no nft rule set */
export function parseNft(text: string): RuleSet {
  const begin = /\S/.exec(text)?.[0];
  return begin === '{' || begin === '[' ? build(fromJson(text)) : build(parseNftText(text));
}

const encoder = new TextEncoder();
/** `{"nftables": [{…}]}`: commands are read one at a time. */
const COMMAND_DEPTH = 3;

function openJson(text: string): JsonText {
  try {
    return new JsonText(encoder.encode(text), { what: 'the nft rules', unitDepth: COMMAND_DEPTH });
  } catch (error) {
    if (!(error instanceof JsonTextError)) throw error;
    throw new RulesSyntaxError(`Cannot read the nft rules: the text must be JSON, it is not: ${error.state}`);
  }
}

function fromJson(text: string): NftCommand[] {
  const json = openJson(text);
  const members = json.members(json.start);
  const list = members.get('nftables');
  if (list === undefined || json.kind(list) !== 'list') {
    const names = [...members.keys()].slice(0, 5).join(', ').slice(0, 200);
    const state = json.kind(json.start) === 'object' ? (names === '' ? 'nothing' : `"${names}"`) : `a ${json.kind(json.start)}`;
    throw new RulesSyntaxError(`Cannot read the nft rules: the JSON must hold a list "nftables", it holds ${state}`);
  }
  const commands: NftCommand[] = [];
  for (const at of json.items(list)) {
    if (json.kind(at) !== 'object') continue;
    const object = json.build(at) as JsonObject;
    const command = onlyKey(object);
    const verb = command?.key;
    if ((verb === 'add' || verb === 'insert' || verb === 'flush' || verb === 'delete' || verb === 'create') && isObject(command?.value))
      commands.push({ verb: verb === 'create' ? 'add' : verb, object: command.value, line: 0 });
    else commands.push({ verb: 'add', object, line: 0 });
  }
  return commands;
}

const familyNames: readonly TableFamily[] = ['ip', 'ip6', 'inet', 'arp', 'bridge', 'netdev'];

function familyOf(value: Json | undefined): TableFamily {
  return familyNames.find((name) => name === value) ?? 'ip';
}

function build(commands: readonly NftCommand[]): RuleSet {
  const tables = new Map<string, TableDraft>();
  const warnings: string[] = [];
  let rules = 0;
  let inserted = 0;
  const table = (family: Json | undefined, name: Json | undefined): TableDraft => {
    const key = `${familyOf(family)} ${textOf(name) ?? ''}`;
    let found = tables.get(key);
    if (found === undefined) {
      found = { name: textOf(name) ?? '', family: familyOf(family), chains: new Map(), sets: new Map() };
      tables.set(key, found);
    }
    return found;
  };
  const chain = (of: TableDraft, name: string): ChainDraft => {
    let found = of.chains.get(name);
    if (found === undefined) {
      found = { name, hook: undefined, type: undefined, priority: undefined, policy: undefined, rules: [] };
      of.chains.set(name, found);
    }
    return found;
  };
  for (const { verb, object } of commands) {
    const one = onlyKey(object);
    if (one === undefined || (!isObject(one.value) && one.key !== 'ruleset')) continue;
    const value = isObject(one.value) ? one.value : {};
    if (verb === 'flush' || verb === 'delete') {
      if (one.key === 'ruleset') tables.clear();
      else if (one.key === 'table') {
        const key = `${familyOf(value.family)} ${textOf(value.name) ?? ''}`;
        if (verb === 'delete') tables.delete(key);
        else for (const each of tables.get(key)?.chains.values() ?? []) each.rules = [];
      } else if (one.key === 'chain') {
        const of = table(value.family, value.table);
        if (verb === 'delete') of.chains.delete(textOf(value.name) ?? '');
        else chain(of, textOf(value.name) ?? '').rules = [];
      }
      continue;
    }
    if (one.key === 'table') table(value.family, value.name);
    else if (one.key === 'set' || one.key === 'map') {
      const flags = Array.isArray(value.flags) ? value.flags : [value.flags ?? null];
      const changing = flags.some((flag) => flag === 'dynamic' || flag === 'timeout') || one.key === 'map' || value.map !== undefined;
      const elements = Array.isArray(value.elem) ? value.elem : [];
      table(value.family, value.table).sets.set(textOf(value.name) ?? '', changing ? undefined : elements);
    } else if (one.key === 'chain') {
      const draft = chain(table(value.family, value.table), textOf(value.name) ?? '');
      const hook = textOf(value.hook)?.toUpperCase();
      draft.hook = hooks.find((name) => name === hook) ?? draft.hook;
      const type = textOf(value.type);
      if (type === 'nat' || type === 'filter' || type === 'route') draft.type = type;
      draft.priority = number(value.prio) ?? draft.priority ?? (draft.hook === undefined ? undefined : 0);
      if (value.policy === 'accept' || value.policy === 'drop') draft.policy = value.policy === 'accept' ? 'ACCEPT' : 'DROP';
    } else if (one.key === 'rule') {
      if (++rules > MAX_RULES) throw new RulesSyntaxError(`Cannot read the nft rules: there must be at most ${MAX_RULES}, there are more`);
      if ((verb === 'insert' || value.index !== undefined) && ++inserted > MAX_INSERTED)
        throw new RulesSyntaxError(`Cannot read the nft rules: at most ${MAX_INSERTED} rules may be inserted, there are more`);
      place(chain(table(value.family, value.table), textOf(value.chain) ?? '').rules, value, verb === 'insert');
    }
  }
  const built = [...tables.values()].map((draft) => finish(draft, warnings));
  return { dialect: 'nft', families: familiesIn(built), tables: built, lossy: false, warnings };
}

/** `insert` puts before the rule of that index (or first), `add` after it (or last). */
function place(rules: JsonObject[], rule: JsonObject, insert: boolean): void {
  const index = number(rule.index);
  if (insert) rules.splice(Math.min(index ?? 0, rules.length), 0, rule);
  else if (index !== undefined) rules.splice(Math.min(index + 1, rules.length), 0, rule);
  else rules.push(rule);
}

function finish(draft: TableDraft, warnings: string[]): Table {
  const findSet: FindSet = (name) => draft.sets.get(name);
  const chains = [...draft.chains.values()].map(({ name, hook, type, priority, policy, rules }) => ({
    name,
    ...(hook === undefined
      ? {}
      : { hook, type: type ?? ('filter' as const), priority: priority ?? 0, policy: policy ?? ('ACCEPT' as const) }),
    rules: rules.map((rule, i) => readRule(rule, i + 1, findSet, `${draft.family} ${draft.name} ${name}`, warnings)),
  }));
  return { name: draft.name, family: draft.family, chains };
}

function nestedWithin(value: Json, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return true;
  if (levels === 0) return false;
  return Object.values(value).every((inner) => nestedWithin(inner, levels - 1));
}

function readRule(rule: JsonObject, index: number, findSet: FindSet, where: string, warnings: string[]): Rule {
  const expressions = Array.isArray(rule.expr) ? rule.expr : [];
  const parts: Part[] = [];
  let counters: RuleCounters | undefined;
  for (const expression of expressions) {
    const part = nestedWithin(expression, MAX_NESTING) ? nftPart(expression, findSet) : nftPart({ unread: '(nested too deep)' }, findSet);
    parts.push(part);
    const one = onlyKey(expression);
    if (part.part === 'counter' && isObject(one?.value))
      counters ??= { packets: number(one.value.packets) ?? 0, bytes: number(one.value.bytes) ?? 0 };
    const opaque = part.part === 'match' ? part.match : part.part === 'target' ? part.target : undefined;
    if (opaque?.kind === 'opaque' && warnings.length < MAX_WARNINGS)
      warnings.push(`Rule ${index} of ${where}: "${opaque.text}" is not known`);
  }
  const spelled =
    textOf(rule.text) ??
    formatRule(expressions.map((expression) => (nestedWithin(expression, MAX_NESTING) ? expression : { unread: '(nested too deep)' })));
  const comment = textOf(rule.comment);
  return makeRule(index, spelled, parts, {
    ...(comment === undefined ? {} : { comment }),
    ...(counters === undefined ? {} : { counters }),
  });
}

/**
 * `nft -j list ruleset` repeats the tables of iptables-nft, with the parts that only iptables can name left opaque. Leaves out those that an iptables-save of the nf_tables variant printed.
 *
 * @param nft   the rule set read from nft
 * @param saved the rule sets read from iptables-save and ip6tables-save
 */
export function withoutRepeated(nft: RuleSet, saved: readonly RuleSet[]): RuleSet {
  const printed = new Set<string>();
  for (const set of saved) {
    if (set.dialect !== 'iptables' || set.variant === 'legacy') continue;
    for (const table of set.tables) printed.add(`${table.family} ${table.name}`);
  }
  const tables = nft.tables.filter((table) => !printed.has(`${table.family} ${table.name}`));
  if (tables.length === nft.tables.length) return nft;
  return { ...nft, tables, families: familiesIn(tables) };
}
