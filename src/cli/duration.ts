/** Lengths of time and sizes on the command line. */
import { UsageError } from './failure.ts';

const units: { readonly [unit: string]: number } = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** `90s`, `5m`, `1h30m`, `500ms`, in milliseconds. @throws {UsageError} for anything else, and for nothing or more than a year */
export function durationMs(flag: string, text: string): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)];
  const ms = parts.reduce((sum, [, count, unit]) => sum + Number(count) * units[unit!]!, 0);
  if (parts.map(([part]) => part).join('') !== text || ms < 1 || ms > 365 * 86_400_000)
    throw new UsageError(`Cannot take "${text}" for ${flag}: a time like 90s, 5m or 1h30m is wanted`);
  return Math.round(ms);
}

const sizes: { readonly [unit: string]: number } = { '': 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };

/** `64MiB`, in bytes. @throws {UsageError} for anything else, and for less than `least` */
export function sizeBytes(flag: string, text: string, least: number): number {
  const match = /^(\d{1,12})(KiB|MiB|GiB|)$/.exec(text);
  const bytes = match === null ? Number.NaN : Number(match[1]) * sizes[match[2]!]!;
  if (!(bytes >= least && Number.isSafeInteger(bytes)))
    throw new UsageError(`Cannot take "${text}" for ${flag}: a size like 64MiB is wanted, ${least} bytes or more`);
  return bytes;
}
