/**
 * Splits a line of a rule file into words: blanks separate, `"…"` and `'…'` keep them together, a backslash takes the next character as it is, ` #` begins a comment.
 */
export interface Word {
  readonly text: string;
  /** A quoted word is a value, never an option. */
  readonly quoted: boolean;
  /** Where the word begins in the line. */
  readonly at: number;
}

export interface RuleLine {
  readonly words: readonly Word[];
  /** What follows an unquoted `#`. */
  readonly comment?: string;
  /** Where the words end: before the comment. */
  readonly end: number;
  /** A quote was not closed. */
  readonly open: boolean;
}

export function splitWords(line: string): RuleLine {
  const words: Word[] = [];
  let i = 0;
  const { length } = line;
  while (i < length) {
    const c = line[i]!;
    if (c === ' ' || c === '\t' || c === '\r') {
      i++;
      continue;
    }
    if (c === '#') return { words, comment: line.slice(i + 1).trim(), end: i, open: false };
    const at = i;
    let text = '';
    let quoted = false;
    while (i < length) {
      const d = line[i]!;
      if (d === ' ' || d === '\t' || d === '\r') break;
      if (d === '"' || d === "'") {
        quoted = true;
        i++;
        const from = i;
        let escaped = '';
        let plain = from;
        while (i < length && line[i] !== d) {
          if (line[i] === '\\' && d === '"' && i + 1 < length) {
            escaped += line.slice(plain, i) + line[i + 1];
            i += 2;
            plain = i;
          } else i++;
        }
        text += escaped + line.slice(plain, i);
        if (i >= length) {
          words.push({ text, quoted, at });
          return { words, end: length, open: true };
        }
        i++;
      } else if (d === '\\' && i + 1 < length) {
        text += line[i + 1];
        i += 2;
      } else {
        text += d;
        i++;
      }
    }
    words.push({ text, quoted, at });
  }
  return { words, end: length, open: false };
}
