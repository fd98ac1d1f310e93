/**
 * `-m comment`: says something to people, always matches. Source: iptables-extensions(8) "comment".
 */
import type { IptablesMatch, Match, MatchType } from './match.ts';

export interface CommentMatch extends Match {
  readonly kind: 'comment';
  readonly comment: string;
}

export const comment: MatchType<CommentMatch> = {
  kind: 'comment',
  test() {
    return true;
  },
  words() {
    return '';
  },
};

export const commentOptions: IptablesMatch = {
  names: ['comment'],
  options: ['--comment'],
  parse(options) {
    const text = options[0]?.values.join(' ') ?? '';
    return [{ kind: 'comment', comment: text, text: `--comment ${JSON.stringify(text)}` } satisfies CommentMatch as Match];
  },
};
