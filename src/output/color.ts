/**
 * Colours for people. On a terminal only, unless told otherwise: `--color always|never` first, then FORCE_COLOR, then NO_COLOR (no-color.org), then TERM=dumb, then whether it is a terminal.
 * Colours are put around text that is escaped already.
 */
export type ColorWish = 'auto' | 'always' | 'never';

export interface Palette {
  readonly bold: (text: string) => string;
  readonly dim: (text: string) => string;
  readonly red: (text: string) => string;
  readonly green: (text: string) => string;
  readonly yellow: (text: string) => string;
  readonly blue: (text: string) => string;
  readonly magenta: (text: string) => string;
  readonly cyan: (text: string) => string;
}

export function wantsColor(wish: ColorWish, environment: { readonly [name: string]: string | undefined }, terminal: boolean): boolean {
  if (wish !== 'auto') return wish === 'always';
  const forced = environment.FORCE_COLOR;
  if (forced !== undefined && forced !== '') return forced !== '0' && forced !== 'false';
  if (environment.NO_COLOR !== undefined && environment.NO_COLOR !== '') return false;
  return terminal && environment.TERM !== 'dumb';
}

// Source: ECMA-48 section 8.3.117 (SGR).
const sgr =
  (on: number, off: number) =>
  (text: string): string =>
    text === '' ? '' : `\u001b[${on}m${text}\u001b[${off}m`;
const same = (text: string): string => text;

const colored: Palette = {
  bold: sgr(1, 22),
  dim: sgr(2, 22),
  red: sgr(31, 39),
  green: sgr(32, 39),
  yellow: sgr(33, 39),
  blue: sgr(34, 39),
  magenta: sgr(35, 39),
  cyan: sgr(36, 39),
};
const plain: Palette = { bold: same, dim: same, red: same, green: same, yellow: same, blue: same, magenta: same, cyan: same };

export function palette(color: boolean): Palette {
  return color ? colored : plain;
}
