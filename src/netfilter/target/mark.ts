/**
 * MARK, CONNMARK, nft's `meta mark set` and `ct mark set`: writes a mark; the walk goes on. Without a connection CONNMARK does nothing.
 * Source: iptables-extensions(8) "MARK", "CONNMARK"; Linux net/netfilter/xt_mark.c mark_tg(), xt_connmark.c connmark_tg_shift(), nft_ct.c.
 */
import { constant, evaluateMark, formatMark, type MarkExpression, maskedXor, parseMark, parseWord } from '../mark.ts';
import type { Option } from '../match/match.ts';
import { isQuestion } from '../truth.ts';
import type { IptablesTarget, Target, TargetType } from './target.ts';
import { CONTINUE } from './target.ts';

export interface MarkTarget extends Target {
  readonly kind: 'mark';
  readonly of: 'mark' | 'connmark';
  readonly value: MarkExpression;
  /** Where there is no connection to read a mark from: nft leaves the rule, iptables goes on with it. */
  readonly withoutConnection: 'break' | 'continue';
}

const ALL = 0xffffffff;

function reads(expression: MarkExpression, which: 'mark' | 'connmark'): boolean {
  if (expression.op === which) return true;
  if ('right' in expression) return reads(expression.left, which) || reads(expression.right, which);
  return 'left' in expression ? reads(expression.left, which) : false;
}

export const mark: TargetType<MarkTarget> = {
  kind: 'mark',
  apply({ of, value, withoutConnection }, packet) {
    const reading = reads(value, 'connmark');
    if (of === 'connmark' || reading) {
      const connection = packet.hasConnection();
      if (isQuestion(connection)) return connection;
      if (!connection) return reading && withoutConnection === 'break' ? { do: 'break' } : CONTINUE;
    }
    const read = (which: 'mark' | 'connmark') => (reads(value, which) ? packet.mark(which) : { value: 0, known: ALL, origin: '' });
    packet.setMark(of, evaluateMark(value, read('mark'), read('connmark')));
    return CONTINUE;
  },
  words({ of, value }) {
    const what = of === 'mark' ? 'them' : 'their connection';
    if (value.op === 'constant') return `mark ${what} ${formatMark(value.value)}`;
    if (of === 'connmark' && reads(value, 'mark')) return "keep their mark as the connection's";
    if (of === 'mark' && reads(value, 'connmark')) return "give them the connection's mark";
    return `change some bits of the mark of ${what}`;
  },
};

/** `--set-mark v/m` sets the bits of value and mask; `--set-xmark v/m` clears the mask's bits, then flips the value's. */
function masked(of: MarkTarget['of'], option: Option): MarkExpression | undefined {
  const value = option.values[0] ?? '';
  const parsed = parseMark(value);
  const word = parseWord(value);
  switch (option.name) {
    case '--set-xmark':
      return parsed === undefined ? undefined : maskedXor(of, parsed.mask, parsed.value);
    case '--set-mark':
      return parsed === undefined ? undefined : maskedXor(of, (parsed.mask | parsed.value) >>> 0, parsed.value);
    case '--and-mark':
      return word === undefined ? undefined : maskedXor(of, ~word >>> 0, 0);
    case '--or-mark':
      return word === undefined ? undefined : maskedXor(of, word, word);
    case '--xor-mark':
      return word === undefined ? undefined : maskedXor(of, 0, word);
    default:
      return undefined;
  }
}

/** CONNMARK `--save-mark`, `--restore-mark`: `(to & ~toMask) ^ (from & fromMask)`. */
function copied(of: MarkTarget['of'], options: readonly Option[]): MarkExpression | undefined {
  let nfmask = ALL;
  let ctmask = ALL;
  for (const { name, values } of options) {
    if (name !== '--nfmask' && name !== '--ctmask' && name !== '--mask') continue;
    const word = parseWord(values[0] ?? '');
    if (word === undefined) return undefined;
    if (name !== '--ctmask') nfmask = word;
    if (name !== '--nfmask') ctmask = word;
  }
  const [toMask, fromMask] = of === 'mark' ? [nfmask, ctmask] : [ctmask, nfmask];
  const from: MarkExpression = { op: of === 'mark' ? 'connmark' : 'mark' };
  const part: MarkExpression = fromMask === ALL ? from : { op: '&', left: from, right: constant(fromMask) };
  if (toMask === ALL) return part;
  return { op: '^', left: { op: '&', left: { op: of }, right: constant(~toMask) }, right: part };
}

const setOptions = ['--set-xmark', '--set-mark', '--and-mark', '--or-mark', '--xor-mark'];

export const markTargetOptions: IptablesTarget = {
  names: ['MARK', 'CONNMARK'],
  options: [...setOptions, '--save-mark', '--restore-mark', '--nfmask', '--ctmask', '--mask', '--left-shift-mark', '--right-shift-mark'],
  parse(name, options) {
    const of = name === 'MARK' ? 'mark' : 'connmark';
    const text = [name, ...options.flatMap((option) => [option.name, ...option.values])].join(' ');
    const first = options.find((option) => setOptions.includes(option.name));
    if (options.some((option) => option.name.endsWith('-shift-mark'))) return undefined;
    if (first !== undefined) {
      const value = masked(of, first);
      return value === undefined
        ? undefined
        : ({ kind: 'mark', of, value, withoutConnection: 'continue', text } satisfies MarkTarget as Target);
    }
    const save = options.some((option) => option.name === '--save-mark');
    if (name === 'MARK' || (!save && !options.some((option) => option.name === '--restore-mark'))) return undefined;
    const value = copied(save ? 'connmark' : 'mark', options);
    return value === undefined
      ? undefined
      : ({ kind: 'mark', of: save ? 'connmark' : 'mark', value, withoutConnection: 'continue', text } satisfies MarkTarget as Target);
  },
};
