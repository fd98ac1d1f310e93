/** Long sentences and lists for people, in lines. */

function columnsOf(text: string): number {
  let columns = 0;
  for (const _ of text) columns++;
  return columns;
}

/**
 * Lines of at most `width` columns, where the words allow it.
 *
 * @param text    one paragraph, escaped already
 * @param indent  columns that stand before each line but are no part of it
 * @param at      where it may be broken
 */
export function wrapText(text: string, width: number, indent: number, at: ' ' | ', ' = ' '): string[] {
  const room = Math.max(20, width - indent);
  const lines: string[] = [];
  let line = '';
  let used = 0;
  for (const word of text.split(at)) {
    const columns = columnsOf(word);
    if (line !== '' && used + at.length + columns > room) {
      lines.push(`${line}${at.trimEnd()}`);
      line = word;
      used = columns;
    } else {
      used += columns + (line === '' ? 0 : at.length);
      line = line === '' ? word : `${line}${at}${word}`;
    }
  }
  lines.push(line);
  return lines;
}
