/**
 * What protocol a connection speaks, judged by its first bytes, as Envoy's inspectors judge it; and, of a connection that was joined late, by the first segment that cannot be mistaken.
 */
import { isHttp1RequestLine, isHttp1Start, looksLikeHttp1 } from '../decode/http1-start-line.ts';
import { isHttp2Frames, looksLikeHttp2Preface } from '../decode/http2.ts';
import { looksLikeClientHello, parseTlsRecordHeader, TLS_APPLICATION_DATA, TLS_RECORD_HEADER_LEN } from '../decode/tls.ts';

export type Detected = 'http1' | 'http2' | 'tls' | 'other';

/** At most this many bytes are looked at before a connection counts as something else. */
export const MAX_DETECTION = 8192;

/**
 * The protocol of a client that begins with these bytes; `'incomplete'` while more of them are needed.
 *
 * @param cut nothing more will come: what is there must do
 */
export function detect(bytes: Uint8Array, start: number, end: number, cut: boolean): Detected | 'incomplete' {
  const tls = looksLikeClientHello(bytes, start, end);
  if (tls === true || (cut && bytes[start] === 0x16 && end - start > 2 && tls === 'incomplete')) return 'tls';
  const preface = looksLikeHttp2Preface(bytes, start, end);
  // "PRI" is no method that anybody sends
  if (preface === true || (cut && preface === 'incomplete' && end - start >= 4)) return 'http2';
  if (!cut && (preface === 'incomplete' || tls === 'incomplete')) return 'incomplete';
  let at = start;
  while (at < end && (bytes[at] === 0x0d || bytes[at] === 0x0a)) at++;
  const kind = looksLikeHttp1(bytes, at, end);
  if (kind !== 'request' && (cut || kind !== 'incomplete')) return 'other';
  let lineEnd = at;
  while (lineEnd < end && bytes[lineEnd] !== 0x0a) lineEnd++;
  if (lineEnd < end) return kind === 'request' && isHttp1RequestLine(bytes, at, lineEnd) ? 'http1' : 'other';
  if (cut) return isCutRequestLine(bytes, at, end) ? 'http1' : 'other';
  return end - start >= MAX_DETECTION ? 'other' : 'incomplete';
}

const CUT_REQUEST = /^(?:GET|HEAD|POST|PUT|DELETE|OPTIONS|TRACE|PATCH) (?:\/|https?:\/\/)|^CONNECT \S|^OPTIONS \*/;

function isCutRequestLine(bytes: Uint8Array, start: number, end: number): boolean {
  return CUT_REQUEST.test(String.fromCharCode(...bytes.subarray(start, Math.min(end, start + 24))));
}

export interface MidstreamProtocol {
  readonly protocol: Detected;
  /** The sides were taken wrongly. */
  readonly reversed: boolean;
  /** The segment is the very first of its protocol: nothing before it matters. */
  readonly fromStart: boolean;
}

/**
 * The protocol of a segment from the middle of a connection, sent by the side that is taken for the client (direction 0) or the server (1); `undefined` when it may be anything.
 */
export function detectMidstream(direction: 0 | 1, bytes: Uint8Array, start: number, end: number): MidstreamProtocol | undefined {
  const kind = isHttp1Start(bytes, start, end);
  if (kind !== undefined) return { protocol: 'http1', reversed: (kind === 'request') !== (direction === 0), fromStart: false };
  if (looksLikeHttp2Preface(bytes, start, end) === true) return { protocol: 'http2', reversed: direction === 1, fromStart: true };
  if (looksLikeClientHello(bytes, start, end) === true) return { protocol: 'tls', reversed: direction === 1, fromStart: true };
  if (isTlsRecords(bytes, start, end)) return { protocol: 'tls', reversed: false, fromStart: false };
  return isHttp2Frames(bytes, start, end) ? { protocol: 'http2', reversed: false, fromStart: false } : undefined;
}

/** A row of application data records, the last of which may go on in the next segment. */
function isTlsRecords(bytes: Uint8Array, start: number, end: number): boolean {
  let at = start;
  while (end - at >= TLS_RECORD_HEADER_LEN) {
    const header = parseTlsRecordHeader(bytes, at, end);
    if (typeof header === 'string' || header.type !== TLS_APPLICATION_DATA || header.version !== 0x0303 || header.length < 17) return false;
    at += TLS_RECORD_HEADER_LEN + header.length;
  }
  return at > start && (at >= end || bytes[at] === TLS_APPLICATION_DATA);
}
