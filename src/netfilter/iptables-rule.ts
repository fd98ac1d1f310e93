/**
 * One rule as iptables spells it: the words after `-A CHAIN`, in any order, to matches and a target.
 *
 * An option belongs to the match or target opened last that takes it; `-p tcp` alone brings the options of tcp. What is not understood becomes an unknown match or target with its text, never nothing.
 * Source: iptables(8); iptables/xshared.c, do_parse().
 */
import type { Family } from '../net/address.ts';
import { type AddressBlock, parseAddressBlock } from './address-block.ts';
import type { AddressMatch } from './match/address.ts';
import type { FragmentMatch } from './match/fragment.ts';
import type { InterfaceMatch } from './match/interface.ts';
import type { IptablesMatch, Match, Option } from './match/match.ts';
import { optionText } from './match/match.ts';
import { opaqueMatch } from './match/opaque.ts';
import type { ProtocolMatch } from './match/protocol.ts';
import { iptablesMatches } from './matches.ts';
import { isProtocol, protocolName } from './protocol-names.ts';
import type { Part, RuleCounters } from './rule-set.ts';
import type { Word } from './rule-words.ts';
import type { JumpTarget } from './target/jump.ts';
import { opaqueTarget } from './target/opaque.ts';
import type { Target } from './target/target.ts';
import { iptablesTargets } from './targets.ts';

export interface ParsedRule {
  readonly parts: readonly Part[];
  readonly comment?: string;
  readonly counters?: RuleCounters;
  /** `-4` or `-6`: the rule is for one family only. */
  readonly only?: Family;
  /** What was not understood. */
  readonly unknown: readonly string[];
  /** `-s a,b -d c,d` stands for a rule for each pair: the parts of the others. */
  readonly others: readonly (readonly Part[])[];
}

/** Parts of rules by what they say. */
export type KnownParts = Map<string, Part>;

const COUNTER: Part = { part: 'counter' };
/** One line of addresses in lists stands for no more rules than this. */
const MAX_RULES_OF_LINE = 4096;

export class RuleError extends Error {}

const generic: { readonly [option: string]: string } = {
  '-p': 'protocol',
  '--protocol': 'protocol',
  '--proto': 'protocol',
  '-s': 'source',
  '--source': 'source',
  '--src': 'source',
  '-d': 'destination',
  '--destination': 'destination',
  '--dst': 'destination',
  '-i': 'in',
  '--in-interface': 'in',
  '-o': 'out',
  '--out-interface': 'out',
  '-m': 'match',
  '--match': 'match',
  '-j': 'jump',
  '--jump': 'jump',
  '-g': 'goto',
  '--goto': 'goto',
  '-f': 'fragment',
  '--fragment': 'fragment',
  '-c': 'counters',
  '--set-counters': 'counters',
  '-4': 'ipv4',
  '--ipv4': 'ipv4',
  '-6': 'ipv6',
  '--ipv6': 'ipv6',
  '-w': 'wait',
  '--wait': 'wait',
  '-W': 'wait',
  '--wait-interval': 'wait',
  '-v': 'flag',
  '--verbose': 'flag',
  '-n': 'flag',
  '--numeric': 'flag',
};

interface Opened {
  readonly name: string;
  readonly known: IptablesMatch | undefined;
  readonly options: Option[];
}

const matchesByName = new Map(iptablesMatches.flatMap((match) => match.names.map((name) => [name, match] as const)));
const targetsByName = new Map(iptablesTargets.flatMap((target) => target.names.map((name) => [name, target] as const)));

/** Options with their negation and values, in order. `! --dport 80` and the old `--dport ! 80` are the same. */
function optionsOf(words: readonly Word[]): Option[] {
  const options: { name: string; negated: boolean; values: string[] }[] = [];
  let negateNext = false;
  for (const { text, quoted } of words) {
    const last = options.at(-1);
    if (!quoted && text === '!') {
      negateNext = true;
      continue;
    }
    const isOption = !quoted && /^(?:-[a-zA-Z46]|--[a-zA-Z][\w-]*=?.*)$/.test(text);
    if (isOption) {
      const equals = text.startsWith('--') ? text.indexOf('=') : -1;
      options.push({
        name: equals === -1 ? text : text.slice(0, equals),
        negated: negateNext,
        values: equals === -1 ? [] : [text.slice(equals + 1)],
      });
      negateNext = false;
    } else if (last === undefined) throw new RuleError(`an option must come first, it is "${text}"`);
    else {
      if (negateNext && last.values.length === 0) last.negated = !last.negated;
      negateNext = false;
      last.values.push(text);
    }
  }
  return options;
}

/**
 * @param words  what follows `-A CHAIN`
 * @param chains is this the name of a chain of the table?
 * @param known  parts that other rules of the text have, too: what is spelled alike is kept once
 * @throws {RuleError} when it is no rule; the message says what is wrong, without the line
 */
export function parseRuleWords(
  words: readonly Word[],
  family: Family,
  chains: (name: string) => boolean,
  known: KnownParts = new Map(),
): ParsedRule {
  const opened: Opened[] = [];
  const builtin: Match[] = [];
  const sources: AddressMatch[] = [];
  const destinations: AddressMatch[] = [];
  const unknown: string[] = [];
  let protocolSeen: string | undefined;
  let target: { name: string; how: 'jump' | 'goto'; options: Option[] } | undefined;
  let counters: RuleCounters | undefined;
  let only: Family | undefined;
  /** The option goes to the target when it was opened after the last match. */
  let targetLast = false;

  for (const option of optionsOf(words)) {
    const { name, negated, values } = option;
    const value = values[0];
    const meaning = Object.hasOwn(generic, name) ? generic[name] : undefined;
    if (
      meaning !== undefined &&
      meaning !== 'wait' &&
      meaning !== 'flag' &&
      meaning !== 'fragment' &&
      !meaning.startsWith('ipv') &&
      value === undefined
    )
      throw new RuleError(`the option "${name}" must have a value, it has none`);
    switch (meaning) {
      case 'protocol': {
        if (!isProtocol(value!) && value !== 'all' && value !== '0')
          throw new RuleError(`a protocol must follow "${name}", it is "${value}"`);
        if (value === 'all' || value === '0') {
          if (negated)
            builtin.push({ kind: 'protocol', negated: false, protocols: [], text: optionText(option) } satisfies ProtocolMatch as Match);
          break;
        }
        if (!negated) protocolSeen = protocolName(value!);
        builtin.push({
          kind: 'protocol',
          negated,
          protocols: [protocolName(value!)],
          text: optionText(option),
        } satisfies ProtocolMatch as Match);
        break;
      }
      case 'source':
      case 'destination': {
        const blocks = value!.split(',').map((text) => addressBlock(text, family, name));
        const list = meaning === 'source' ? sources : destinations;
        for (const block of blocks)
          list.push({ kind: 'address', side: meaning, negated, blocks: [block], text: `${negated ? '! ' : ''}${name} ${block.text}` });
        if (negated && blocks.length > 1) throw new RuleError(`one address must follow "! ${name}", there are ${blocks.length}`);
        break;
      }
      case 'in':
      case 'out':
        builtin.push({
          kind: 'interface',
          direction: meaning,
          negated,
          patterns: [value!],
          text: optionText(option),
        } satisfies InterfaceMatch as Match);
        break;
      case 'fragment':
        builtin.push({ kind: 'fragment', negated, text: optionText(option) } satisfies FragmentMatch as Match);
        break;
      case 'match':
        opened.push({ name: value!, known: matchesByName.get(value!), options: [] });
        targetLast = false;
        break;
      case 'jump':
      case 'goto':
        target = { name: value!, how: meaning, options: [] };
        targetLast = true;
        break;
      case 'counters': {
        const [packets, bytes] = values.length > 1 ? values : value!.split(',');
        counters = { packets: Number(packets), bytes: Number(bytes ?? 0) };
        break;
      }
      case 'ipv4':
        only = 4;
        break;
      case 'ipv6':
        only = 6;
        break;
      case 'wait':
      case 'flag':
        break;
      default:
        assign(option, opened, target, targetLast, protocolSeen);
    }
  }

  const parts: Part[] = [];
  let comment: string | undefined;
  const shared = (match: Match): Part => {
    if (match.kind === 'comment') return { part: 'match', match };
    return once(known, JSON.stringify(match), () => ({ part: 'match', match }));
  };
  const add = (match: Match) => {
    if (match.kind === 'comment' && 'comment' in match) comment = String(match.comment);
    parts.push(shared(match));
  };
  for (const match of builtin) add(match);
  for (const one of opened) {
    const context = { family, protocol: protocolSeen };
    const matches = one.known?.parse(one.options, context);
    if (matches !== undefined) for (const match of matches) add(match);
    else {
      const text = ['-m', one.name, ...one.options.map(optionText)].join(' ');
      const opaque = opaqueMatch(one.name, text);
      if (opaque.reason === 'match-unknown') unknown.push(`the match "${text}" is not known`);
      add(opaque);
    }
  }
  parts.push(COUNTER);
  if (target !== undefined) {
    const parsed = parseTarget(target, family, protocolSeen, chains);
    if (parsed.kind === 'opaque') unknown.push(`the target "${parsed.text}" is not known`);
    parts.push(once(known, `target ${JSON.stringify(parsed)}`, () => ({ part: 'target', target: parsed })));
  }
  if (Math.max(1, sources.length) * Math.max(1, destinations.length) > MAX_RULES_OF_LINE)
    throw new RuleError(`its addresses must make at most ${MAX_RULES_OF_LINE} pairs, they make ${sources.length * destinations.length}`);
  const pairs = (sources.length === 0 ? [undefined] : sources).flatMap((source) =>
    (destinations.length === 0 ? [undefined] : destinations).map((destination) =>
      [source, destination].filter((match) => match !== undefined),
    ),
  );
  const all = pairs.map((addresses) => [...addresses.map(shared), ...parts]);
  return {
    parts: all[0]!,
    others: all.slice(1),
    unknown,
    ...(comment === undefined ? {} : { comment }),
    ...(counters === undefined || Number.isNaN(counters.packets) ? {} : { counters }),
    ...(only === undefined ? {} : { only }),
  };
}

function once(known: KnownParts, key: string, make: () => Part): Part {
  const found = known.get(key);
  if (found !== undefined) return found;
  const part = make();
  known.set(key, part);
  return part;
}

function addressBlock(text: string, family: Family, option: string): AddressBlock {
  if (text === '0/0' || text === 'any' || text === 'anywhere') return parseAddressBlock(family === 4 ? '0.0.0.0/0' : '::/0')!;
  const block = parseAddressBlock(text);
  if (block === undefined) throw new RuleError(`an address must follow "${option}", it is "${text}"`);
  return block;
}

function assign(
  option: Option,
  opened: Opened[],
  target: { name: string; options: Option[] } | undefined,
  targetLast: boolean,
  protocol: string | undefined,
): void {
  const takes = target === undefined ? undefined : targetsByName.get(target.name)?.options;
  const targetTakes = takes !== undefined && takes !== 'any' && takes.includes(option.name);
  if (target !== undefined && targetTakes && targetLast) {
    target.options.push(option);
    return;
  }
  for (let i = opened.length - 1; i >= 0; i--) {
    const one = opened[i]!;
    if (one.known?.options.includes(option.name)) {
      one.options.push(option);
      return;
    }
  }
  const implied = protocol === undefined ? undefined : matchesByName.get(protocol);
  if (implied?.options.includes(option.name) && !opened.some(({ known }) => known === implied)) {
    opened.push({ name: protocol!, known: implied, options: [option] });
    return;
  }
  if (target !== undefined && (targetTakes || targetLast)) {
    target.options.push(option);
    return;
  }
  const last = opened.at(-1);
  if (last === undefined) {
    if (target !== undefined) target.options.push(option);
    else opened.push({ name: option.name, known: undefined, options: [option] });
    return;
  }
  last.options.push(option);
  // An option that the match does not have here: what it means is not known, so the whole match is not.
  if (last.known !== undefined) opened[opened.length - 1] = { ...last, known: undefined };
}

function parseTarget(
  { name, how, options }: { name: string; how: 'jump' | 'goto'; options: Option[] },
  family: Family,
  protocol: string | undefined,
  chains: (name: string) => boolean,
): Target {
  const known = targetsByName.get(name);
  if (how === 'goto' || (chains(name) && known === undefined))
    return { kind: 'jump', how, chain: name, text: name } satisfies JumpTarget as Target;
  const text = [name, ...options.map(optionText)].join(' ');
  if (known === undefined) return opaqueTarget(name, text);
  const strange = known.options !== 'any' && options.some((option) => !known.options.includes(option.name));
  const parsed = strange ? undefined : known.parse(name, options, { family, protocol });
  return parsed ?? opaqueTarget(name, text);
}
