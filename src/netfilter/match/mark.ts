/**
 * `-m mark`, `-m connmark`: the packet's or the connection's mark under a mask. Without a connection a connmark match says no, negated or not.
 * Source: iptables-extensions(8) "mark", "connmark"; Linux net/netfilter/xt_mark.c, xt_connmark.c connmark_mt().
 */
import { formatMark, parseMark } from '../mark.ts';
import { isQuestion, negateIf } from '../truth.ts';
import type { IptablesMatch, Match, MatchType } from './match.ts';
import { optionText } from './match.ts';

export interface MarkMatch extends Match {
  readonly kind: 'mark';
  readonly of: 'mark' | 'connmark';
  readonly negated: boolean;
  /** One of them is enough. */
  readonly values: readonly { readonly value: number; readonly mask: number }[];
}

export const mark: MatchType<MarkMatch> = {
  kind: 'mark',
  test({ of, negated, values }, packet) {
    if (of === 'connmark') {
      const connection = packet.hasConnection();
      if (connection !== true) return connection;
    }
    for (const { value, mask } of values) {
      const truth = (value & ~mask) !== 0 ? false : packet.markIs(of, mask, value);
      if (isQuestion(truth)) return truth;
      if (truth) return !negated;
    }
    return negateIf(negated, false);
  },
  words({ of, negated, values }) {
    const marks = values.map(({ value, mask }) => formatMark(value, mask)).join(' or ');
    return `${of === 'mark' ? 'marked' : 'of a connection marked'} ${negated ? 'anything but ' : ''}${marks}`;
  },
};

function parser(of: MarkMatch['of']): IptablesMatch {
  return {
    names: [of],
    options: ['--mark'],
    parse(options) {
      const matches: MarkMatch[] = [];
      for (const option of options) {
        const parsed = parseMark(option.values[0] ?? '');
        if (parsed === undefined) return undefined;
        matches.push({ kind: 'mark', of, negated: option.negated, values: [parsed], text: optionText(option) });
      }
      return matches.length === 0 ? undefined : matches;
    },
  };
}

export const markOptions: IptablesMatch = parser('mark');
export const connmarkOptions: IptablesMatch = parser('connmark');
