/**
 * Reads what people paste: `iptables [-t TABLE] -L [-n] [-v] [--line-numbers]`.
 *
 * A listing does not name its table (its builtin chains tell), prints conditions in words of its own, and without -v hides interfaces: such a rule set is lossy, and every rule that might look at an
 * interface is a question. Names of hosts (without -n) are not resolved, save localhost.
 * Source: iptables/iptables.c list_entries(), print_rule(); the print functions of iptables/extensions.
 */
import type { Family } from '../net/address.ts';
import { parseRuleWords, RuleError } from './iptables-rule.ts';
import { hiddenMatch, opaqueMatch } from './match/opaque.ts';
import { protocolName } from './protocol-names.ts';
import {
  builtinChain,
  type Chain,
  MAX_RULES,
  MAX_WARNINGS,
  makeRule,
  type Part,
  type Rule,
  type RuleSet,
  RulesSyntaxError,
  type Table,
  type Variant,
} from './rule-set.ts';
import type { Word } from './rule-words.ts';
import { iptablesTargets } from './targets.ts';

const CHAIN = /^Chain (\S+) \((?:policy (ACCEPT|DROP)(?: (\S+) packets, (\S+) bytes)?|(-?\d+) references)\)/;
const COLUMNS = /^\s*(num\s+)?(pkts\s+bytes\s+)?target\s+prot\s+opt\s+(in\s+out\s+)?source\s+destination\s*$/;

/** Does the text hold a chain of `iptables -L`? */
export function isListing(text: string): boolean {
  return /^Chain \S+ \((?:policy |-?\d+ references)/m.test(text);
}

const MAX_LINE = 10_000;

interface Layout {
  readonly numbers: boolean;
  readonly counters: boolean;
  readonly interfaces: boolean;
}

interface ChainDraft {
  readonly name: string;
  readonly policy: 'ACCEPT' | 'DROP' | undefined;
  readonly lines: { readonly text: string; readonly number: number; readonly layout: Layout }[];
}

/** @throws {RulesSyntaxError} when a line is no part of a listing */
export function parseListing(text: string, options: { family?: Family; variant?: Variant }): RuleSet {
  const groups: { table: string | undefined; family: Family | undefined; chains: ChainDraft[] }[] = [];
  let group: (typeof groups)[number] | undefined;
  let chain: ChainDraft | undefined;
  let layout: Layout = { numbers: false, counters: false, interfaces: false };
  let number = 0;
  let pending: { table: string | undefined; family: Family | undefined } | undefined;
  for (const line of text.split('\n')) {
    number++;
    const trimmed = line.trim();
    if (trimmed === '' || trimmed.startsWith('# Warning')) continue;
    const command = /(?:^|\s|\/)(ip6?tables)(?:-legacy|-nft)?\s(.*)$/.exec(trimmed);
    const head = CHAIN.exec(trimmed);
    if (head === null && command !== null && /(?:^|\s)(?:-\w*L|--list)/.test(command[2]!)) {
      pending = { table: /(?:-t|--table)[ =](\w+)/.exec(command[2]!)?.[1] ?? 'filter', family: command[1] === 'ip6tables' ? 6 : 4 };
      continue;
    }
    if (head !== null) {
      const name = head[1]!;
      if (group === undefined || pending !== undefined || group.chains.some((one) => one.name === name)) {
        group = { table: pending?.table, family: pending?.family, chains: [] };
        groups.push(group);
        pending = undefined;
      }
      chain = { name, policy: head[2] === 'ACCEPT' || head[2] === 'DROP' ? head[2] : undefined, lines: [] };
      group.chains.push(chain);
      continue;
    }
    const columns = COLUMNS.exec(line);
    if (columns !== null) {
      layout = { numbers: columns[1] !== undefined, counters: columns[2] !== undefined, interfaces: columns[3] !== undefined };
      continue;
    }
    if (chain === undefined) {
      if (trimmed.startsWith('#')) continue;
      throw new RulesSyntaxError(
        `Cannot read the listing: a chain ("Chain NAME (policy …)") must come first, there is "${trimmed.slice(0, 60)}"`,
        number,
      );
    }
    if (line.length > MAX_LINE)
      throw new RulesSyntaxError(`Cannot read the listing: a line must have at most ${MAX_LINE} characters, it has ${line.length}`, number);
    chain.lines.push({ text: line, number, layout });
    if (number > MAX_RULES)
      throw new RulesSyntaxError(`Cannot read the listing: it must have at most ${MAX_RULES} lines, it has more`, number);
  }
  const guessed: Family = /^.*(?:::\/0|\sip6tables\s)/m.test(text) ? 6 : 4;
  const family = options.family ?? groups.find((one) => one.family !== undefined)?.family ?? guessed;
  const warnings: string[] = [];
  const lossy = { hidden: false };
  const tables: Table[] = [];
  for (const one of groups) {
    if ((one.family ?? (groups.length > 1 ? undefined : family) ?? family) !== family) continue;
    const name = one.table ?? tableOf(one.chains);
    const names = new Set(one.chains.map((each) => each.name));
    const chains = one.chains.map((draft) => finish(name, draft, family, names, warnings, lossy));
    const again = tables.findIndex((table) => table.name === name);
    if (again === -1) tables.push({ name, family: family === 4 ? 'ip' : 'ip6', chains });
    else tables[again] = { name, family: family === 4 ? 'ip' : 'ip6', chains };
  }
  return {
    dialect: 'iptables',
    ...(options.variant === undefined ? {} : { variant: options.variant }),
    families: [family],
    tables,
    lossy: lossy.hidden,
    warnings,
  };
}

/** Its builtin chains tell the table; raw and the nat of old kernels are told apart by POSTROUTING. */
function tableOf(chains: readonly ChainDraft[]): string {
  const has = (name: string) => chains.some((chain) => chain.name === name && chain.policy !== undefined);
  if (has('FORWARD')) return has('PREROUTING') || has('POSTROUTING') ? 'mangle' : 'filter';
  if (has('POSTROUTING')) return 'nat';
  if (has('PREROUTING')) return has('INPUT') ? 'nat' : 'raw';
  return has('INPUT') ? 'filter' : 'nat';
}

function finish(
  table: string,
  draft: ChainDraft,
  family: Family,
  chains: ReadonlySet<string>,
  warnings: string[],
  lossy: { hidden: boolean },
): Chain {
  const base = builtinChain(table, draft.name);
  const rules: Rule[] = [];
  for (const { text, number, layout } of draft.lines) {
    const parsed = readRule(text, layout, family, chains);
    if (parsed === undefined)
      throw new RulesSyntaxError(`Cannot read the listing: a rule must follow its columns, there is "${text.trim().slice(0, 60)}"`, number);
    if (parsed.hidden) lossy.hidden = true;
    for (const unknown of parsed.unknown) if (warnings.length < MAX_WARNINGS) warnings.push(`Line ${number}: ${unknown}`);
    rules.push(
      makeRule(rules.length + 1, parsed.text, parsed.parts, {
        ...(parsed.comment === undefined ? {} : { comment: parsed.comment }),
        ...(parsed.counters === undefined ? {} : { counters: parsed.counters }),
      }),
    );
  }
  return { name: draft.name, ...(base === undefined ? {} : { ...base, policy: draft.policy ?? 'ACCEPT' }), rules };
}

interface Row {
  readonly parts: readonly Part[];
  readonly text: string;
  readonly hidden: boolean;
  readonly unknown: readonly string[];
  readonly comment?: string;
  readonly counters?: { packets: number; bytes: number };
}

/** `12K` is what -v prints without -x. */
function count(text: string): number | undefined {
  const m = /^(\d+)([KMGT]?)$/.exec(text);
  if (m === null) return undefined;
  return Number(m[1]) * { '': 1, K: 1e3, M: 1e6, G: 1e9, T: 1e12 }[m[2] as '' | 'K']!;
}

function readRule(line: string, layout: Layout, family: Family, chains: ReadonlySet<string>): Row | undefined {
  let rest = line.trimStart();
  const take = (): string | undefined => {
    const m = /^(\S+)\s*/.exec(rest);
    if (m === null) return undefined;
    rest = rest.slice(m[0].length);
    return m[1];
  };
  if (layout.numbers && take() === undefined) return undefined;
  let counters: { packets: number; bytes: number } | undefined;
  if (layout.counters) {
    const packets = count(take() ?? '');
    const bytes = count(take() ?? '');
    if (packets === undefined || bytes === undefined) return undefined;
    counters = { packets, bytes };
  }
  // A rule without a target leaves its column empty: then the protocol comes first, followed by the fragment column.
  const bare = /^!?(?:\S+)\s+(?:--|-f|!f)\s/.test(rest);
  const target = bare ? undefined : take();
  let protocol = take();
  if (protocol === undefined) return undefined;
  const fragment = /^(?:--|-f|!f)\s/.test(rest) ? take() : undefined;
  const [incoming, outgoing] = layout.interfaces ? [take(), take()] : [undefined, undefined];
  const source = take();
  const destination = take();
  if (source === undefined || destination === undefined) return undefined;

  const words: Word[] = [];
  const put = (...texts: string[]) => {
    for (const text of texts) words.push({ text, quoted: false, at: 0 });
  };
  const value = (text: string) => words.push({ text, quoted: true, at: 0 });
  const option = (name: string, text: string) => {
    if (text.startsWith('!')) put('!');
    put(name);
    value(text.replace(/^!\s*/, ''));
  };
  const hidden: string[] = [];
  if (!layout.interfaces) hidden.push('interface');
  protocol = protocol.replace(/^!(.*)$/, '!$1');
  if (!/^!?(?:all|0)$/.test(protocol)) option('-p', protocol);
  if (fragment === '-f') put('-f');
  if (fragment === '!f') put('!', '-f');
  if (incoming !== undefined && incoming !== '*' && incoming !== 'any') option('-i', incoming);
  if (outgoing !== undefined && outgoing !== '*' && outgoing !== 'any') option('-o', outgoing);
  for (const [name, text] of [['-s', source] as const, ['-d', destination] as const]) {
    const host = text.replace(/^!/, '');
    if (host === 'anywhere' || host === '0.0.0.0/0' || host === '::/0') continue;
    const numeric = host === 'localhost' ? (family === 4 ? '127.0.0.1' : '::1') : host;
    if (/^[\da-f:.]+(?:\/[\da-f:.]+)?$/i.test(numeric) && /[.:]/.test(numeric))
      option(name, text.startsWith('!') ? `!${numeric}` : numeric);
    else hidden.push(`the address of ${host}`);
  }
  const { extra, goto, unread } = readExtra(rest, protocol.replace(/^!/, ''), target);
  for (const { text, quoted } of extra.matches) words.push({ text, quoted, at: 0 });
  if (target !== undefined) {
    put(goto ? '-g' : '-j', target === 'NOTRACK' ? 'CT' : target);
    for (const { text, quoted } of extra.target) words.push({ text, quoted, at: 0 });
  }
  let parsed: ReturnType<typeof parseRuleWords>;
  try {
    parsed = parseRuleWords(words, family, (name) => chains.has(name));
  } catch (error) {
    if (error instanceof RuleError) return undefined;
    throw error;
  }
  const parts: Part[] = [
    ...hidden.map((what) => ({ part: 'match', match: hiddenMatch(what) }) as const),
    ...(unread === '' ? [] : [{ part: 'match', match: opaqueMatch(unread.split(' ')[0]!, unread) } as const]),
    ...parsed.parts,
  ];
  return {
    parts,
    text: spelled(words),
    hidden: hidden.length > 0,
    unknown: [...parsed.unknown, ...(unread === '' ? [] : [`"${unread}" is not understood`])],
    ...(parsed.comment === undefined ? {} : { comment: parsed.comment }),
    ...(counters === undefined ? {} : { counters }),
  };
}

function spelled(words: readonly Word[]): string {
  return words.map(({ text }) => (/[\s"]/.test(text) ? JSON.stringify(text) : text)).join(' ');
}

type Extra = { text: string; quoted: boolean }[];

/** What the extensions print, to the options that they stand for. `$1` … are the groups; `!` before a value negates. */
const phrases: readonly {
  readonly pattern: RegExp;
  readonly options: (m: RegExpExecArray, protocol: string) => string[];
  readonly of?: 'target';
}[] = [
  { pattern: /^\/\*(.*?)\*\//, options: (m) => ['-m', 'comment', '--comment', m[1]!.trim()] },
  { pattern: /^(?:tcp|udp|udplite|sctp|dccp)(?=\s|$)/, options: () => [] },
  { pattern: /^(dpts?|spts?):(!?)(\S+)/, options: (m) => [...not(m[2]), m[1]!.startsWith('d') ? '--dport' : '--sport', m[3]!] },
  { pattern: /^flags:(!?)([^\s/]+)\/(\S+)/, options: (m) => [...not(m[1]), '--tcp-flags', m[2]!, m[3]!] },
  {
    pattern: /^multiport (dports|sports|ports)\s+(!?)(\S+)/,
    options: (m) => ['-m', 'multiport', ...not(m[2]), `--${m[1]}`, m[3]!],
  },
  { pattern: /^(!?)\s*owner socket exists/, options: (m) => ['-m', 'owner', ...not(m[1]), '--socket-exists'] },
  {
    pattern: /^(!?)\s*owner (UID|GID) match (\S+)/,
    options: (m) => ['-m', 'owner', ...not(m[1]), m[2] === 'UID' ? '--uid-owner' : '--gid-owner', m[3]!],
  },
  { pattern: /^(mark|connmark) match\s+(!?)\s*(\S+)/, options: (m) => ['-m', m[1]!, ...not(m[2]), '--mark', m[3]!] },
  {
    pattern: /^(!?)\s*(ctstate|ctdir|ctproto|ctorigsrc|ctorigdst) (\S+)/,
    options: (m) => ['-m', 'conntrack', ...not(m[1]), `--${m[2]}`, m[3]!],
  },
  { pattern: /^(!?)\s*state ([A-Z,]+)/, options: (m) => ['-m', 'state', ...not(m[1]), '--state', m[2]!] },
  { pattern: /^ADDRTYPE match (dst|src)-type (!?)(\S+)/, options: (m) => ['-m', 'addrtype', ...not(m[2]), `--${m[1]}-type`, m[3]!] },
  { pattern: /^(!?)\s*source IP range (!?)\s*(\S+)/, options: (m) => ['-m', 'iprange', ...not(m[1] || m[2]), '--src-range', m[3]!] },
  { pattern: /^(!?)\s*destination IP range (!?)\s*(\S+)/, options: (m) => ['-m', 'iprange', ...not(m[1] || m[2]), '--dst-range', m[3]!] },
  {
    pattern: /^(!?)icmptype (\d+)(?: code (\d+))?/,
    options: (m) => ['-m', 'icmp', ...not(m[1]), '--icmp-type', m[3] === undefined ? m[2]! : `${m[2]}/${m[3]}`],
  },
  { pattern: /^icmp (!?)([a-z-]+)/, options: (m) => ['-m', 'icmp', ...not(m[1]), '--icmp-type', m[2]!] },
  {
    pattern: /^(!?)ipv6-icmptype (\d+)(?: code (\d+))?/,
    options: (m) => ['-m', 'icmp6', ...not(m[1]), '--icmpv6-type', m[3] === undefined ? m[2]! : `${m[2]}/${m[3]}`],
  },
  { pattern: /^ipv6-icmp (!?)([a-z-]+)/, options: (m) => ['-m', 'icmp6', ...not(m[1]), '--icmpv6-type', m[2]!] },
  {
    pattern: /^statistic mode (?:random(?: !)? probability \S+|nth(?: !)? every \d+(?: packet \d+)?)/,
    options: (m) => ['-m', 'statistic', '--mode', m[0]],
  },
  { pattern: /^limit: avg \S+ burst \d+/, options: (m) => ['-m', 'limit', '--limit', m[0]] },
  { pattern: /^(?:!\s*)?match-set \S+ \S+/, options: (m) => ['-m', 'set', '--match-set', m[0]] },
  {
    pattern: /^redir ports (\S+)( random)?/,
    options: (m) => ['--to-ports', m[1]!, ...(m[2] === undefined ? [] : ['--random'])],
    of: 'target',
  },
  { pattern: /^to:(\S+)/, options: (m) => ['to', m[1]!], of: 'target' },
  { pattern: /^(?:random-fully|random|persistent)(?=\s|$)/, options: (m) => [`--${m[0]}`], of: 'target' },
  {
    pattern: /^TPROXY redirect (\S+):(\d+) mark (\S+)/,
    options: (m) => ['--on-port', m[2]!, '--on-ip', m[1]!, '--tproxy-mark', m[3]!],
    of: 'target',
  },
  {
    pattern: /^(?:CONN)?MARK (set|xset|and|or|xor) (\S+)/,
    options: (m) => [`--${m[1] === 'xset' ? 'set-xmark' : `${m[1]}-mark`}`, m[2]!],
    of: 'target',
  },
  { pattern: /^CONNMARK (save|restore)(?: nfmask (\S+) ctmask ~?(\S+)| mask (\S+))?/, options: (m) => connmark(m), of: 'target' },
  { pattern: /^CT ((?:zone|zone-orig|zone-reply)) (\S+)/, options: (m) => [`--${m[1]}`, m[2]!], of: 'target' },
  { pattern: /^(?:CT notrack|NOTRACK)/, options: () => ['--notrack'], of: 'target' },
  { pattern: /^reject-with (\S+)/, options: (m) => ['--reject-with', m[1]!], of: 'target' },
  {
    pattern: /^LOG flags \d+ level \d+(?: prefix "((?:[^"\\]|\\.)*)")?/,
    options: (m) => (m[1] === undefined ? [] : ['--log-prefix', m[1]]),
    of: 'target',
  },
  { pattern: /^nflog-prefix\s+"?((?:[^"\\]|\\.)*?)"?(?=\s+nflog-|$)/, options: (m) => ['--nflog-prefix', m[1]!], of: 'target' },
  { pattern: /^nflog-(group|size|threshold|range) (\d+)/, options: (m) => [`--nflog-${m[1]}`, m[2]!], of: 'target' },
];

function not(mark: string | undefined): string[] {
  return mark === '!' ? ['!'] : [];
}

function connmark(m: RegExpExecArray): string[] {
  const masks = m[4] !== undefined ? ['--nfmask', m[4], '--ctmask', m[4]] : m[2] === undefined ? [] : ['--nfmask', m[2], '--ctmask', m[3]!];
  return [`--${m[1]}-mark`, ...masks];
}

/** Reads the last column; what it does not understand is returned as it stands. */
function readExtra(
  text: string,
  protocol: string,
  target: string | undefined,
): { extra: { matches: Extra; target: Extra }; goto: boolean; unread: string } {
  const extra = { matches: [] as Extra, target: [] as Extra };
  const unread: string[] = [];
  let goto = false;
  let rest = text.trim();
  if (rest.startsWith('[goto]')) {
    goto = true;
    rest = rest.slice(6).trimStart();
  }
  const opaqueTarget = target !== undefined && !iptablesTargets.some(({ names }) => names.includes(target));
  while (rest !== '') {
    let found = false;
    for (const { pattern, options, of } of phrases) {
      const m = pattern.exec(rest);
      if (m === null || m[0] === '' || (of === 'target' && opaqueTarget)) continue;
      const list = of === 'target' ? extra.target : extra.matches;
      for (const [i, word] of options(m, protocolName(protocol)).entries()) {
        const name =
          word === 'to' && i === 0 && of === 'target'
            ? target === 'SNAT'
              ? '--to-source'
              : target === 'NETMAP'
                ? '--to'
                : '--to-destination'
            : word;
        list.push({ text: name, quoted: !(name === '!' || name === '-m' || name.startsWith('--')) });
      }
      rest = rest.slice(m[0].length).trimStart();
      found = true;
      break;
    }
    if (found) continue;
    const word = /^\S+\s*/.exec(rest)!;
    unread.push(word[0].trim());
    rest = rest.slice(word[0].length);
  }
  return { extra, goto, unread: unread.join(' ') };
}
