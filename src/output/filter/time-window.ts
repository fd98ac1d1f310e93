/**
 * `--since` and `--until`: a moment, or a time before the end of the recording (`5m`): in a recording, now is its last packet.
 *
 * Moments have the forms that `hubble observe` takes: RFC 3339 with any digits, `2006-01-02`, `2006-01-02T15-07:00`, `2006-01-02T15:04-07:00` (the zone may be missing: UTC),
 * `Mon, 02 Jan 2006 15:04:05 -0700`, and `Jan _2 15:04:05.000` (the year is that of the recording's end).
 */
import { formatTime, parseRfc3339 } from '../../net/time.ts';
import { FilterError } from './filter.ts';

export type Moment =
  | { readonly kind: 'at'; readonly time: string }
  | { readonly kind: 'before-end'; readonly milliseconds: number }
  /** Without its year: everything after `2026-`. */
  | { readonly kind: 'in-year'; readonly rest: string };

const RELATIVE = /^(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?$/;
/** `1h43` is an hour and 43 minutes. */
const HOURS_MINUTES = /^(\d+)h(\d{1,2})$/;
const DATE = /^(\d{4}-\d\d-\d\d)(?:T(\d\d)(?::(\d\d))?(Z|[+-]\d\d:\d\d)?)?$/;
const RFC1123Z = /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (\d\d) (\w{3}) (\d{4}) (\d\d:\d\d:\d\d) ([+-]\d\d)(\d\d)$/;
const STAMP = /^(\w{3}) +(\d{1,2}) (\d\d:\d\d:\d\d(?:\.\d{1,9})?)$/;
const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** @throws {FilterError} when the text is no time */
export function parseMoment(text: string): Moment {
  const short = HOURS_MINUTES.exec(text);
  if (short !== null) return { kind: 'before-end', milliseconds: Number(short[1]) * 3_600_000 + Number(short[2]) * 60_000 };
  const relative = text === '' ? null : RELATIVE.exec(text);
  if (relative !== null) {
    const [days, hours, minutes, seconds, milliseconds] = relative.slice(1).map((part) => Number(part ?? 0)) as [
      number,
      number,
      number,
      number,
      number,
    ];
    return { kind: 'before-end', milliseconds: (((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1000 + milliseconds };
  }
  const stamp = STAMP.exec(text);
  if (stamp !== null && months.includes(stamp[1]!))
    return { kind: 'in-year', rest: `${monthNumber(stamp[1]!)}-${stamp[2]!.padStart(2, '0')}T${stamp[3]}Z` };
  const date = DATE.exec(text);
  const header = RFC1123Z.exec(text);
  const rfc3339 =
    date !== null
      ? `${date[1]}T${date[2] ?? '00'}:${date[3] ?? '00'}:00${date[4] ?? 'Z'}`
      : header !== null && months.includes(header[2]!)
        ? `${header[3]}-${monthNumber(header[2]!)}-${header[1]}T${header[4]}${header[5]}:${header[6]}`
        : text;
  const time = canonicalTime(rfc3339);
  if (time === undefined)
    throw new FilterError(
      `Cannot read the time "${text}": it must be RFC 3339 (2026-11-23T06:22:45Z), a date, or a time before the end of the recording like 90s, 5m or 1h43`,
    );
  return { kind: 'at', time };
}

function monthNumber(name: string): string {
  return String(months.indexOf(name) + 1).padStart(2, '0');
}

/** The form of the records: UTC, nine digits. Such texts compare as the times do. */
function canonicalTime(rfc3339: string): string | undefined {
  if (!/^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d/i.test(rfc3339)) return undefined;
  const at = parseRfc3339(rfc3339);
  return at === undefined ? undefined : formatTime({ epochSeconds: at.seconds }, at.nanoseconds);
}

export class TimeWindow {
  readonly #since: Moment | undefined;
  readonly #until: Moment | undefined;
  #from = '';
  #to = '\uffff';

  constructor(since: Moment | undefined, until: Moment | undefined) {
    this.#since = since;
    this.#until = until;
    if (since?.kind === 'at') this.#from = since.time;
    if (until?.kind === 'at') this.#to = until.time;
  }

  get empty(): boolean {
    return this.#since === undefined && this.#until === undefined;
  }

  /** One of the two counts from the end of the recording, or needs its year. */
  get needsEnd(): boolean {
    return (this.#since !== undefined && this.#since.kind !== 'at') || (this.#until !== undefined && this.#until.kind !== 'at');
  }

  /** Settles what counts from the end, which is the latest time of any record. */
  settle(end: string): void {
    if (this.#since !== undefined) this.#from = settled(this.#since, end) ?? '';
    if (this.#until !== undefined) this.#to = settled(this.#until, end) ?? '\uffff';
  }

  /** Does any of [first, last] lie in the window? */
  touches(first: string, last: string): boolean {
    return last >= this.#from && first <= this.#to;
  }
}

function settled(moment: Moment, end: string): string | undefined {
  if (moment.kind === 'at') return moment.time;
  if (moment.kind === 'in-year') return canonicalTime(`${end.slice(0, 4)}-${moment.rest}`);
  const at = parseRfc3339(end);
  if (at === undefined) return undefined;
  return formatTime({ epochSeconds: at.seconds }, at.nanoseconds - moment.milliseconds * 1e6);
}
