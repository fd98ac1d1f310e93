/**
 * Time in the pipeline: a `number` of nanoseconds since the run's base, a whole second of the Unix epoch fixed by the first frame or snapshot read.
 *
 * A double is exact up to 2^53, so nanoseconds stay exact for 104 days either side of the base and are good to a microsecond for 285 years.
 * Field and variable names carry the suffix `Ns`. RFC 3339 text is made only when a record leaves.
 */
export interface TimeBase {
  /** Seconds since 1970-01-01T00:00:00Z (may be negative). */
  readonly epochSeconds: number;
}

const NS = 1_000_000_000;

/** Nanoseconds since `base` of a stamp given as whole seconds of the epoch and nanoseconds within them. */
export function toNs(base: TimeBase, seconds: number, nanoseconds: number): number {
  return (seconds - base.epochSeconds) * NS + nanoseconds;
}

const RFC3339 = /^(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9})\d*)?(?:[Zz]|([+-])(\d\d):?(\d\d))$/;

/** Parses an RFC 3339 stamp (`2026-11-23T06:22:41.601088Z`, any offset, up to nine digits) to whole seconds and nanoseconds; `undefined` when it is none. Source: RFC 3339 section 5.6. */
export function parseRfc3339(text: string): { seconds: number; nanoseconds: number } | undefined {
  const m = RFC3339.exec(text);
  if (m === null) return undefined;
  const ms = Date.UTC(Number(m[1]), Number(m[2]) - 1, Number(m[3]), Number(m[4]), Number(m[5]), Number(m[6]));
  // Date.UTC lets months and days run over.
  if (Number.isNaN(ms) || new Date(ms).getUTCDate() !== Number(m[3]) || new Date(ms).getUTCHours() !== Number(m[4])) return undefined;
  const offset = m[8] === undefined ? 0 : (m[8] === '-' ? -1 : 1) * (Number(m[9]) * 3600 + Number(m[10]) * 60);
  return { seconds: ms / 1000 - offset, nanoseconds: Number((m[7] ?? '').padEnd(9, '0')) };
}

/** {@link parseRfc3339}, as nanoseconds since `base`. */
export function parseTimeNs(base: TimeBase, text: string): number | undefined {
  const at = parseRfc3339(text);
  return at === undefined ? undefined : toNs(base, at.seconds, at.nanoseconds);
}

let cachedSecond = Number.NaN;
let cachedText = '';

/** RFC 3339, UTC, nine digits: `2026-11-23T06:22:41.601088000Z`. Years outside 0000-9999 are clamped to the nearest of them. */
export function formatTime(base: TimeBase, timeNs: number): string {
  const whole = Math.round(timeNs);
  let second = Math.floor(whole / NS);
  const nanoseconds = whole - second * NS;
  second += base.epochSeconds;
  if (second !== cachedSecond) {
    const clamped = Math.min(Math.max(second, -62_167_219_200), 253_402_300_799);
    cachedText = new Date(clamped * 1000).toISOString().slice(0, 20);
    cachedSecond = second;
  }
  return `${cachedText}${String(nanoseconds).padStart(9, '0')}Z`;
}

/** The same of milliseconds of the Unix epoch. */
export function formatEpochMs(epochMs: number): string {
  const epochSeconds = Math.floor(epochMs / 1000);
  return formatTime({ epochSeconds }, (epochMs - epochSeconds * 1000) * 1e6);
}
