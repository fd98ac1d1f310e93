/** Shares of the requests. Source: envoy/type/v3/percent.proto. */
import { type Json, numberAt, textAt } from './json.ts';
import type { Three } from './three-valued.ts';

const denominators: { readonly [name: string]: number } = { HUNDRED: 100, TEN_THOUSAND: 10_000, MILLION: 1_000_000 };

/** A `FractionalPercent`: all, none, or some of them. */
export function parseFraction(percent: Json | undefined): Three {
  const numerator = numberAt(percent, 'numerator') ?? 0;
  const denominator = denominators[textAt(percent, 'denominator') ?? 'HUNDRED'] ?? 100;
  return numerator <= 0 ? false : numerator >= denominator ? true : 'unknown';
}
