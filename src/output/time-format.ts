/**
 * Time stamps as people ask for them. In: RFC 3339, UTC, nine digits (the form of every record). Out: the layouts that `hubble observe --time-format` names, in UTC.
 * Source: Go package time, constants StampMilli, RFC3339, RFC1123Z.
 */
import type { TimeFormat } from './sink.ts';

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const days = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];

/** `Nov 23 06:22:45.519`, and the other forms by their Go names. Digits are cut, not rounded, as Go does. */
export function formatStamp(time: string, format: TimeFormat): string {
  switch (format) {
    case 'RFC3339Nano':
      return withFraction(time, 29);
    case 'RFC3339Micro':
      return withFraction(time, 26);
    case 'RFC3339Milli':
      return withFraction(time, 23);
    case 'RFC3339':
      return `${time.slice(0, 19)}Z`;
    case 'RFC1123Z': {
      const day = days[new Date(`${time.slice(0, 10)}T00:00:00Z`).getUTCDay()];
      return `${day}, ${time.slice(8, 10)} ${monthOf(time)} ${time.slice(0, 4)} ${time.slice(11, 19)} +0000`;
    }
    case 'StampMilli':
      return `${monthOf(time)} ${time[8] === '0' ? ' ' : time[8]}${time[9]} ${time.slice(11, 23)}`;
  }
}

function withFraction(time: string, end: number): string {
  return `${time.slice(0, 19)}${time.slice(19, end).replace(/\.?0+$/, '')}Z`;
}

function monthOf(time: string): string {
  return months[Number(time.slice(5, 7)) - 1] ?? '???';
}

/** `13.1 ms`, `870 µs`, `2.4 s`, `3m 05s`. */
export function formatDuration(ms: number): string {
  const size = Math.abs(ms);
  if (size < 0.9995) return `${Math.round(ms * 1000)} µs`;
  if (size < 9.995) return `${ms.toFixed(2)} ms`;
  if (size < 99.95) return `${ms.toFixed(1)} ms`;
  if (size < 999.5) return `${Math.round(ms)} ms`;
  if (size < 59_995) return `${(ms / 1000).toFixed(2)} s`;
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)}m ${String(seconds % 60).padStart(2, '0')}s`;
}

/** Milliseconds between two stamps of the record form, to the nanosecond; 0 when one is unreadable. */
export function millisecondsBetween(from: string, to: string): number {
  const seconds = (Date.parse(`${to.slice(0, 19)}Z`) - Date.parse(`${from.slice(0, 19)}Z`)) / 1000;
  const nanoseconds = Number(to.slice(20, 29)) - Number(from.slice(20, 29));
  const ms = seconds * 1000 + nanoseconds / 1e6;
  return Number.isFinite(ms) ? ms : 0;
}
