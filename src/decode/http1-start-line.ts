/**
 * The start line of an HTTP/1.0 or HTTP/1.1 message: recognising one, whole or begun, and reading it. Source: RFC 9112 sections 3 and 4.
 */
import { latin1, MAX_HEAD_LENGTH } from './header-field.ts';

export type Http1Version = 'HTTP/1.0' | 'HTTP/1.1';

const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;
const MAX_METHOD_LENGTH = 32;

/** Those of RFC 9110 section 9 and WebDAV. */
export const METHODS = new Set(
  'GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH PROPFIND PROPPATCH MKCOL COPY MOVE LOCK UNLOCK SEARCH REPORT PURGE'.split(' '),
);
function isTokenByte(byte: number): boolean {
  if (byte < 0x21 || byte > 0x7e) return false;
  if (byte >= 0x61) return byte !== 0x7b && byte !== 0x7d;
  if (byte >= 0x5b && byte <= 0x5d) return false;
  // "(),/:;<=>?@ are separators
  return byte !== 0x22 && byte !== 0x28 && byte !== 0x29 && byte !== 0x2c && byte !== 0x2f && !(byte >= 0x3a && byte <= 0x40);
}

/** `HTTP/1.` or as much of it as there is. */
function isVersionPrefix(bytes: Uint8Array, start: number, end: number): boolean {
  const text = 'HTTP/1.';
  for (let i = 0; i < text.length && start + i < end; i++) if (bytes[start + i] !== text.charCodeAt(i)) return false;
  return true;
}

/**
 * Could an HTTP/1 message begin at `start`? Looks at the method, or at `HTTP/1.`, only.
 *
 * @returns `'incomplete'` while every byte so far fits and more are needed
 */
export function looksLikeHttp1(bytes: Uint8Array, start: number, end: number): 'request' | 'response' | 'incomplete' | 'not-http' {
  if (isVersionPrefix(bytes, start, end)) return end - start >= 7 ? 'response' : 'incomplete';
  const limit = Math.min(end, start + MAX_METHOD_LENGTH + 1);
  for (let i = start; i < limit; i++) {
    const byte = bytes[i]!;
    if (byte === SPACE) return i === start ? 'not-http' : 'request';
    if (!isTokenByte(byte)) return 'not-http';
  }
  return limit === end ? 'incomplete' : 'not-http';
}

/**
 * Does a message with a whole and well-formed start line begin at `start`? Stricter than {@link looksLikeHttp1}: for finding the place again after something was lost.
 * Methods must be registered ones (RFC 9110 section 9, WebDAV).
 */
export function isHttp1Start(bytes: Uint8Array, start: number, end: number): 'request' | 'response' | undefined {
  const kind = looksLikeHttp1(bytes, start, end);
  if (kind !== 'request' && kind !== 'response') return undefined;
  const lineEnd = lineFeed(bytes, start, Math.min(end, start + MAX_HEAD_LENGTH));
  if (lineEnd === -1) return undefined;
  const line = startLineOf(bytes, start, lineEnd);
  if (line === undefined) return undefined;
  return line.kind === 'response' || METHODS.has(line.method) ? line.kind : undefined;
}

export type StartLine =
  | { kind: 'request'; method: string; target: string; protocol: Http1Version }
  | { kind: 'response'; status: number; protocol: Http1Version };

function versionOf(digit: number): Http1Version | undefined {
  return digit === 0x31 ? 'HTTP/1.1' : digit === 0x30 ? 'HTTP/1.0' : undefined;
}

/** The start line in `text[0, end)`, without its line end. */
export function parseStartLine(text: string, end: number): StartLine | undefined {
  if (text.startsWith('HTTP/1.')) {
    const protocol = versionOf(text.charCodeAt(7));
    const status = Number(text.slice(9, 12));
    const after = text.charCodeAt(12);
    const fits = text.charCodeAt(8) === SPACE && status >= 100 && status <= 999 && (end === 12 || (end > 12 && after === SPACE));
    return protocol === undefined || !fits ? undefined : { kind: 'response', status, protocol };
  }
  const versionAt = end - 9;
  const space = text.indexOf(' ');
  if (space < 1 || space > MAX_METHOD_LENGTH || versionAt <= space + 1 || !text.startsWith(' HTTP/1.', versionAt)) return undefined;
  const protocol = versionOf(text.charCodeAt(end - 1));
  const method = text.slice(0, space);
  if (protocol === undefined || text.indexOf(' ', space + 1) !== versionAt || !isToken(method)) return undefined;
  return { kind: 'request', method, target: text.slice(space + 1, versionAt), protocol };
}

/** Index of the next LF, or -1. */
export function lineFeed(bytes: Uint8Array, start: number, end: number): number {
  for (let i = start; i < end; i++) if (bytes[i] === LF) return i;
  return -1;
}

/** The start line in `bytes[start, lineEnd)`, with or without CR at its end. */
export function startLineOf(bytes: Uint8Array, start: number, lineEnd: number): StartLine | undefined {
  const end = lineEnd > start && bytes[lineEnd - 1] === CR ? lineEnd - 1 : lineEnd;
  return parseStartLine(latin1(bytes, start, end), end - start);
}

/** Is `bytes[start, lineEnd)`, with or without CR at its end, a request line of HTTP/1.0 or HTTP/1.1? */
export function isHttp1RequestLine(bytes: Uint8Array, start: number, lineEnd: number): boolean {
  return startLineOf(bytes, start, lineEnd)?.kind === 'request';
}

/** Source: RFC 9110 section 5.6.2. */
export function isToken(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (!isTokenByte(text.charCodeAt(i))) return false;
  return text.length > 0;
}
