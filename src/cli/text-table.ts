/** Tables for people: columns as wide as their widest cell, two spaces apart, a bold header. Cells are escaped here; the last column is never padded, and a column without a single entry is left out. */
import type { Palette } from '../output/color.ts';
import { escapeText } from '../output/escape.ts';

const GAP = 2;
/** A wider cell does not push the others out: its row sticks out instead. */
const WIDTH_MAX = 72;

function columnsOf(text: string): number {
  let columns = 0;
  for (const _ of text) columns++;
  return columns;
}

export function textTable(titles: readonly string[], rows: readonly (readonly string[])[], palette: Palette): string {
  const used = titles.map((_, i) => rows.length === 0 || rows.some((row) => (row[i] ?? '') !== ''));
  const header = titles.filter((_, i) => used[i]);
  const cells = rows.map((row) => row.filter((_, i) => used[i]).map(escapeText));
  const widths = header.map((name, i) => Math.min(WIDTH_MAX, Math.max(columnsOf(name), ...cells.map((row) => columnsOf(row[i] ?? '')))));
  const line = (row: readonly string[], paint: (cell: string) => string): string =>
    `${row
      .map((cell, i) => (i === header.length - 1 ? paint(cell) : paint(cell) + ' '.repeat(Math.max(0, widths[i]! - columnsOf(cell)) + GAP)))
      .join('')
      .trimEnd()}\n`;
  return line(header, palette.bold) + cells.map((row) => line(row, (cell) => cell)).join('');
}
