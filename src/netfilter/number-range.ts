/**
 * Sets of numbers as rules write them: `80`, `1000:2000` (iptables), `1000-2000` (nft), lists of these.
 */
export interface NumberRange {
  readonly low: number;
  readonly high: number;
}

/**
 * @param separator between the ends; with `:` an end may be left out (`:1023`, `1024:`)
 * @returns `undefined` when it is no range of numbers from 0 to `limit`
 */
export function parseNumberRange(text: string, separator: ':' | '-', limit: number): NumberRange | undefined {
  const at = text.indexOf(separator);
  if (at === -1) {
    const only = parseNumber(text, limit);
    return only === undefined ? undefined : { low: only, high: only };
  }
  const low = separator === ':' && at === 0 ? 0 : parseNumber(text.slice(0, at), limit);
  const high = separator === ':' && at === text.length - 1 ? limit : parseNumber(text.slice(at + 1), limit);
  return low === undefined || high === undefined || low > high ? undefined : { low, high };
}

function parseNumber(text: string, limit: number): number | undefined {
  if (!/^(?:\d{1,10}|0[xX][0-9a-fA-F]{1,8})$/.test(text)) return undefined;
  const number = Number(text);
  return number <= limit ? number : undefined;
}

export function inRanges(ranges: readonly NumberRange[], number: number): boolean {
  return ranges.some(({ low, high }) => number >= low && number <= high);
}

/** Is every number of `inner` in one of `outer`? Adjacent ranges are not joined. */
export function rangesCover(outer: readonly NumberRange[], inner: readonly NumberRange[]): boolean {
  return inner.every((range) => outer.some(({ low, high }) => low <= range.low && range.high <= high));
}

export function rangeWords(ranges: readonly NumberRange[]): string {
  const words = ranges.map(({ low, high }) => (low === high ? String(low) : `${low}-${high}`));
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`;
}
