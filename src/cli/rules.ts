/** `sidetrace rules`: each rule in a sentence that a newcomer understands, its hits, and what can never match. */
import { neverWords, ruleWords } from '../netfilter/explain.ts';
import { neverMatches } from '../netfilter/never.ts';
import { parseIptables } from '../netfilter/parse-iptables.ts';
import { parseNft, withoutRepeated } from '../netfilter/parse-nft.ts';
import { parseRules } from '../netfilter/parse-rules.ts';
import type { Chain, RuleCounters, RuleSet } from '../netfilter/rule-set.ts';
import type { Palette } from '../output/color.ts';
import { escapeText } from '../output/escape.ts';
import { formatBytes, formatCount, plural } from '../output/quantity.ts';
import type { RecordedWorld } from '../world/build.ts';
import { answer, answerFormat } from './answer.ts';
import { hooksOfChains } from './chain-hooks.ts';
import type { Describe } from './commands.ts';
import { addDestinationOptions, type DestinationOptions, openDestination } from './destination.ts';
import { UsageError } from './failure.ts';
import { addFileOptions, namedFiles } from './file-options.ts';
import { addLiveOptions, isLive, type LiveOptions, onePod, withLiveEvidence } from './live-evidence.ts';
import { statsOf } from './subject.ts';
import { readText, worldName, worldOfFiles, worldOfSubject } from './world-of.ts';

const EXAMPLES = `
Examples:
  sidetrace rules captures/bookinfo/client                       with the hits during the recording
  iptables-save -c | sidetrace rules -
  sidetrace rules --pod default/client                           live, from the daemon of this node
  sidetrace rules rules.txt --table nat --chain ISTIO_OUTPUT -o json`;

interface RulesOptions extends DestinationOptions, LiveOptions {
  readonly format: string;
  readonly table?: string;
  readonly chain?: string;
}

export interface RuleText {
  readonly index: number;
  readonly text: string;
  readonly words: string;
  readonly packets?: number;
  readonly bytes?: number;
  /** Packets between the first and the last reading of a recording. */
  readonly during?: number;
  readonly never?: string;
}

export interface ChainText {
  readonly chain: string;
  readonly hook?: string;
  readonly policy?: string;
  readonly reachedFrom: readonly string[];
  readonly rules: readonly RuleText[];
}

export interface TableText {
  readonly table: string;
  readonly family: string;
  readonly dialect: string;
  readonly chains: readonly ChainText[];
}

export const describeRules: Describe = (command, finish) => {
  addDestinationOptions(
    command
      .argument(
        '[SUBJECT]',
        'BUNDLE/POD, a rule file of any dialect (iptables-save, iptables -L, nft -j list ruleset), or - for standard input',
      )
      .option('-o, --format <FORMAT>', 'text or json', 'text')
      .option('--table <NAME>', 'of this table only')
      .option('--chain <NAME>', 'of this chain only'),
  );
  addFileOptions(command, ['iptables-save', 'ip6tables-save', 'nft'], 'Files:');
  addLiveOptions(command)
    .addHelpText('after', EXAMPLES)
    .action(async (subject: string | undefined, options: RulesOptions) => {
      const format = answerFormat(options.format);
      const files = namedFiles(options as unknown as { readonly [key: string]: unknown });
      const given = isLive(options)
        ? await withLiveEvidence(options, [onePod(options, subject)], ([path]) => readingsOf(path, files))
        : readingsOf(subject, files);
      const tables = given.sets.flatMap(({ newest, oldest }) => tablesOf(newest, oldest, options));
      // What iptables-save has printed better needs no warning of nft's.
      const warnings = given.sets.flatMap(({ newest }) => (newest.tables.length === 0 ? [] : newest.warnings));
      const lossy = given.sets.some(({ newest }) => newest.lossy);
      const destination = openDestination(options);
      const value = { subject: given.name, ...(lossy ? { lossy } : {}), tables, ...(warnings.length === 0 ? {} : { warnings }) };
      finish(answer(destination, format, value, () => rulesText(tables, warnings, lossy, destination.palette), given.problems));
    });
};

interface Reading {
  readonly newest: RuleSet;
  /** An earlier reading of the same, whose counters were lower. */
  readonly oldest: RuleSet | undefined;
}

interface Readings {
  readonly name: string;
  readonly sets: readonly Reading[];
  readonly problems: readonly string[];
}

function readingsOf(subject: string | undefined, files: ReturnType<typeof namedFiles>): Readings {
  const isFile = subject !== undefined && (subject === '-' || statsOf(subject)?.isFile() === true) && !/\.(tar|tgz|gz|zst)$/.test(subject);
  if (isFile) return { name: subject, sets: [{ newest: parseRules(readText(subject)), oldest: undefined }], problems: [] };
  if (subject === undefined && files.length === 0)
    throw new UsageError('Cannot explain no rules: BUNDLE/POD or a rule file is wanted, none is given');
  const world = subject === undefined ? worldOfFiles(files) : worldOfSubject(subject, files);
  return { name: worldName(world), ...readingsOfWorld(world) };
}

const sources = [
  { kind: 'iptables-save', parse: (text: string) => parseIptables(text, { family: 4 }) },
  { kind: 'iptables-legacy-save', parse: (text: string) => parseIptables(text, { family: 4, variant: 'legacy' }) },
  { kind: 'ip6tables-save', parse: (text: string) => parseIptables(text, { family: 6 }) },
  { kind: 'ip6tables-legacy-save', parse: (text: string) => parseIptables(text, { family: 6, variant: 'legacy' }) },
  { kind: 'nft', parse: parseNft },
] as const;

function readingsOfWorld(world: RecordedWorld): Omit<Readings, 'name'> {
  const sets: Reading[] = [];
  const problems: string[] = [];
  for (const { kind, parse } of sources) {
    const texts = world.texts(kind).filter(({ value }) => value.trim() !== '');
    const newest = texts.at(-1);
    if (newest === undefined) continue;
    try {
      const saved = sets.map((reading) => reading.newest);
      const set = kind === 'nft' ? withoutRepeated(parse(newest.value), saved) : parse(newest.value);
      sets.push({ newest: set, oldest: texts.length > 1 ? parse(texts[0]!.value) : undefined });
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      problems.push(error.message);
    }
  }
  return { sets, problems };
}

function tablesOf(set: RuleSet, oldest: RuleSet | undefined, only: RulesOptions): TableText[] {
  const never = new Map(
    neverMatches(set).map((dead) => [`${dead.family} ${dead.rule.table} ${dead.rule.chain} ${dead.rule.index}`, neverWords(dead)]),
  );
  return set.tables
    .filter(({ name }) => only.table === undefined || name === only.table)
    .map((table) => {
      const hooks = hooksOfChains(table);
      const before = oldest?.tables.find(({ name, family }) => name === table.name && family === table.family);
      return {
        table: table.name,
        family: table.family,
        dialect: set.dialect,
        chains: table.chains
          .filter(({ name }) => only.chain === undefined || name === only.chain)
          .map((chain) =>
            chainText(
              chain,
              hooks.get(chain.name) ?? new Set(),
              before?.chains.find(({ name }) => name === chain.name),
              (index) => never.get(`${table.family} ${table.name} ${chain.name} ${index}`),
            ),
          ),
      };
    })
    .filter(({ chains }) => chains.length > 0);
}

function chainText(
  chain: Chain,
  hooks: ReadonlySet<NonNullable<Chain['hook']>>,
  before: Chain | undefined,
  never: (index: number) => string | undefined,
): ChainText {
  return {
    chain: chain.name,
    ...(chain.hook === undefined ? {} : { hook: chain.hook }),
    ...(chain.policy === undefined ? {} : { policy: chain.policy }),
    reachedFrom: [...hooks],
    rules: chain.rules.map((rule, place) => {
      const dead = never(rule.index);
      const earlier = before?.rules[place];
      const same = earlier?.text === rule.text ? earlier.counters : undefined;
      return {
        index: rule.index,
        text: rule.text,
        words: `${ruleWords(rule, { base: chain.hook !== undefined })}.`,
        ...countersOf(rule.counters, same),
        ...(dead === undefined ? {} : { never: dead }),
      };
    }),
  };
}

function countersOf(counters: RuleCounters | undefined, before: RuleCounters | undefined): Pick<RuleText, 'packets' | 'bytes' | 'during'> {
  if (counters === undefined) return {};
  return {
    packets: counters.packets,
    bytes: counters.bytes,
    ...(before === undefined ? {} : { during: counters.packets - before.packets }),
  };
}

function rulesText(tables: readonly TableText[], warnings: readonly string[], lossy: boolean, palette: Palette): string {
  let out = '';
  for (const { table, family, dialect, chains } of tables) {
    if (chains.every(({ rules, policy }) => rules.length === 0 && policy !== 'DROP')) {
      out += `${palette.bold(escapeText(table))}  ${palette.dim(`${dialect} ${family} · no rules`)}\n\n`;
      continue;
    }
    for (const { chain, hook, policy, reachedFrom, rules } of chains) {
      if (rules.length === 0 && hook !== undefined && policy !== 'DROP') continue;
      const about =
        hook === undefined
          ? reachedFrom.length === 0
            ? palette.yellow('nothing leads here')
            : `reached from ${reachedFrom.join(', ')}`
          : `every packet at ${hook}${policy === undefined ? '' : `; when no rule decides: ${policy}`}`;
      out += `${palette.bold(escapeText(`${table} ${chain}`))}  ${palette.dim(`${dialect} ${family} ·`)} ${about}\n`;
      for (const rule of rules) {
        out += `  ${String(rule.index).padStart(3)} ${escapeText(rule.words)}${hitsText(rule, palette)}\n`;
        out += `      ${palette.dim(escapeText(rule.text))}\n`;
        if (rule.never !== undefined)
          out += `      ${palette.yellow(`can never match: ${escapeText(rule.never.replace(/^no packet [^:]*: /, ''))}`)}\n`;
      }
      out += '\n';
    }
  }
  if (tables.length === 0) out += `${palette.dim('no rules')}\n`;
  if (lossy) out += `${palette.yellow('Read from a listing that does not show everything: iptables-save shows more.')}\n`;
  for (const warning of warnings) out += `${palette.yellow(escapeText(warning))}\n`;
  return out;
}

function hitsText({ packets, bytes, during }: RuleText, palette: Palette): string {
  if (packets === undefined) return '';
  if (packets === 0) return palette.dim('  never hit');
  const recorded = during === undefined ? '' : `, ${formatCount(during)} during the recording`;
  return `  ${palette.green(`${plural(packets, 'hit')}${recorded}`)}${palette.dim(` · ${formatBytes(bytes ?? 0)}`)}`;
}
