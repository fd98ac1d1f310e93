/** How long to wait after so many failures in a row: doubled each time up to a limit, and spread so that many do not come back together. */
export interface BackOff {
  /** Milliseconds. */
  readonly firstMs: number;
  readonly mostMs: number;
}

/**
 * @param failures in a row, 1 after the first
 * @param random 0 to below 1
 * @returns milliseconds, between half of the doubled time and all of it
 */
export function backOffMs({ firstMs, mostMs }: BackOff, failures: number, random: number): number {
  const full = Math.min(mostMs, firstMs * 2 ** Math.min(Math.max(failures - 1, 0), 30));
  return Math.round(full / 2 + (full / 2) * random);
}
