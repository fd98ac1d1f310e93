/**
 * The words of nft's text: blanks and signs separate them, a newline or `;` ends a statement, `\` at the end of a line goes on, `#` begins a comment. Source: nft(8) "LEXICAL CONVENTIONS".
 */
import { RulesSyntaxError } from './rule-set.ts';

export interface Token {
  readonly kind: 'word' | 'string' | 'sign' | 'end';
  readonly text: string;
  readonly line: number;
}

const SIGNS = ['!=', '==', '<=', '>=', '<<', '>>', '{', '}', '(', ')', ',', '=', '<', '>', '&', '|', '^'];
const MAX_TOKENS = 20_000_000;

export function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  let line = 1;
  const pattern = /(\n)|(;)|\\\r?\n|[ \t\r]+|#[^\n]*|"([^"\n]*)"|(!=|==|<=|>=|<<|>>|[{}(),=<>&|^])|([^\s;{}(),=<>&|^!"#\\]+)|([\s\S])/g;
  for (const m of text.matchAll(pattern)) {
    if (tokens.length > MAX_TOKENS)
      throw new RulesSyntaxError(`Cannot read the nft rules: there must be at most ${MAX_TOKENS} words, there are more`, line);
    if (m[1] !== undefined) tokens.push({ kind: 'end', text: '\n', line: line++ });
    else if (m[2] !== undefined) tokens.push({ kind: 'end', text: ';', line });
    else if (m[3] !== undefined) tokens.push({ kind: 'string', text: m[3], line });
    else if (m[4] !== undefined && SIGNS.includes(m[4])) tokens.push({ kind: 'sign', text: m[4], line });
    else if (m[5] !== undefined) tokens.push({ kind: 'word', text: m[5], line });
    else if (m[6] !== undefined)
      throw new RulesSyntaxError(`Cannot read the nft rules: a word must follow, there is ${JSON.stringify(m[6])}`, line);
    else if (m[0].startsWith('\\')) line++;
  }
  return tokens;
}
