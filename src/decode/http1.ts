/**
 * Heads of HTTP/1.0 and HTTP/1.1 messages: the start line and the header fields, of which those that frame the message are read at once.
 *
 * In      bytes; a head may begin anywhere in them and may be cut.
 * Out     a head, or that it is incomplete, or that this is no HTTP/1.
 * Not     reads no body; how it ends is http1-body.ts, chunks are http1-chunked.ts.
 * Source  RFC 9112 (messages), RFC 9110 (fields).
 */
import { type HeaderField, latin1, MAX_FIELDS, MAX_HEAD_LENGTH } from './header-field.ts';
import {
  type Http1Version,
  isToken,
  lineFeed,
  looksLikeHttp1,
  METHODS,
  parseStartLine,
  type StartLine,
  startLineOf,
} from './http1-start-line.ts';

interface Http1Message {
  readonly protocol: Http1Version;
  /** At most {@link MAX_FIELDS}, in the order of the message. Made when first asked for. */
  readonly fields: readonly HeaderField[];
  /** False when fields may be missing: too many, malformed or cut. An absent field is then unknown, not absent. */
  readonly fieldsComplete: boolean;
  /** Bytes from `start` to the first byte of the body; of a cut head, what was there. */
  readonly headLength: number;
  /** The head ends before its empty line: the body cannot be placed. */
  readonly cut: boolean;
  /** Content-Length; -1 absent, NaN when it is malformed or contradicts itself. */
  readonly contentLength: number;
  /** Transfer-Encoding: none, with `chunked` as the last coding, or something else. */
  readonly transferCoding: 'none' | 'chunked' | 'other';
  /** Upgrade in lower case, when Connection names it too. */
  readonly upgrade: string | undefined;
  readonly host: string | undefined;
  /** x-request-id. */
  readonly requestId: string | undefined;
  /** Expect: 100-continue. */
  readonly expectsContinue: boolean;
}

export interface Http1Request extends Http1Message {
  readonly kind: 'request';
  readonly method: string;
  /** Request target as sent: `/path?query`, `http://host/path`, `host:port` (CONNECT) or `*`; `undefined` when it was cut. */
  readonly target: string | undefined;
}

export interface Http1Response extends Http1Message {
  readonly kind: 'response';
  readonly status: number;
}

export type Http1Head = Http1Request | Http1Response;
const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;
const TAB = 0x09;
const COLON = 0x3a;

/** Names worth sharing: one string for all messages, whatever their case on the wire. */
const names = new Map<string, string>();
for (const name of [
  'Host',
  'User-Agent',
  'Accept',
  'Accept-Encoding',
  'Accept-Language',
  'Content-Length',
  'Content-Type',
  'Transfer-Encoding',
  'Connection',
  'Upgrade',
  'Date',
  'Server',
  'Cookie',
  'Authorization',
  'Location',
  'X-Request-Id',
  'X-Forwarded-Proto',
  'X-Forwarded-For',
  'X-Forwarded-Client-Cert',
  'X-Envoy-Upstream-Service-Time',
  'X-Envoy-Attempt-Count',
  'X-Envoy-Decorator-Operation',
  'X-Envoy-Internal',
  'X-Envoy-Peer-Metadata',
  'X-Envoy-Peer-Metadata-Id',
  'X-B3-TraceId',
  'X-B3-SpanId',
  'X-B3-ParentSpanId',
  'X-B3-Sampled',
  'Traceparent',
  'Tracestate',
]) {
  names.set(name, name.toLowerCase());
  names.set(name.toLowerCase(), name.toLowerCase());
}
/** The index after the empty line that ends a head, or -1. Starts looking at `from`, which may lie up to three bytes before what is new. A line may end with LF alone (RFC 9112 section 2.2). */
export function findHttp1HeadEnd(bytes: Uint8Array, from: number, end: number): number {
  for (let i = from; i < end; i++) {
    if (bytes[i] !== LF) continue;
    if (bytes[i + 1] === LF && i + 1 < end) return i + 2;
    if (bytes[i + 1] === CR && bytes[i + 2] === LF && i + 2 < end) return i + 3;
  }
  return -1;
}
function skipEmptyLines(bytes: Uint8Array, start: number, end: number): number {
  let at = start;
  while (at < end && (bytes[at] === LF || (bytes[at] === CR && bytes[at + 1] === LF && at + 1 < end))) at += bytes[at] === LF ? 1 : 2;
  return at;
}

/**
 * Parses the head of the message that begins at `start`; empty lines before it are skipped.
 *
 * @returns `'incomplete'` when its empty line is not within `[start, end)` and the first {@link MAX_HEAD_LENGTH} bytes, and everything so far fits; `'not-http'` when no HTTP/1.0 or HTTP/1.1 message begins here
 */
export function parseHttp1Head(bytes: Uint8Array, start: number, end: number): Http1Head | 'incomplete' | 'not-http' {
  const at = skipEmptyLines(bytes, start, end);
  if (at === end || (at + 1 === end && bytes[at] === CR)) return 'incomplete';
  const kind = looksLikeHttp1(bytes, at, end);
  if (kind === 'not-http' || kind === 'incomplete') return kind;
  const headEnd = findHttp1HeadEnd(bytes, at, Math.min(end, at + MAX_HEAD_LENGTH));
  if (headEnd !== -1) return parseHeadText(latin1(bytes, at, headEnd), headEnd - start, false) ?? 'not-http';
  const lineEnd = lineFeed(bytes, at, Math.min(end, at + MAX_HEAD_LENGTH));
  if (lineEnd === -1) return 'incomplete';
  return startLineOf(bytes, at, lineEnd) === undefined ? 'not-http' : 'incomplete';
}

/**
 * Parses what there is of a head whose rest is lost (cut by the snapshot length, or missing): whole lines only, `cut` true, `fieldsComplete` false.
 * Of a request line that is cut itself only the method is kept. `undefined` when not even that is there.
 */
export function parseCutHttp1Head(bytes: Uint8Array, start: number, end: number): Http1Head | undefined {
  const at = skipEmptyLines(bytes, start, end);
  const kind = looksLikeHttp1(bytes, at, end);
  if (kind !== 'request' && kind !== 'response') return undefined;
  const lastLine = bytes.subarray(at, end).lastIndexOf(LF);
  if (lastLine !== -1) return parseHeadText(latin1(bytes, at, at + lastLine + 1), end - start, true);
  const text = latin1(bytes, at, end);
  const line: StartLine | undefined =
    kind === 'response'
      ? parseStartLine(`${text.slice(0, 13)}`, 13)
      : { kind, method: text.slice(0, text.indexOf(' ')), target: '', protocol: 'HTTP/1.1' };
  if (line === undefined || (line.kind === 'request' && !METHODS.has(line.method))) return undefined;
  const head = new Head(line, '', 0, end - start, true);
  head.target = undefined;
  return head as Http1Head;
}

function parseHeadText(text: string, headLength: number, cut: boolean): Http1Head | undefined {
  const lineEnd = text.indexOf('\n');
  const line = parseStartLine(text, text.charCodeAt(lineEnd - 1) === CR ? lineEnd - 1 : lineEnd);
  return line === undefined ? undefined : (new Head(line, text, lineEnd + 1, headLength, cut) as Http1Head);
}

/** A head. What frames the message is read at once, the list of its fields when somebody asks for it. */
class Head {
  readonly kind: 'request' | 'response';
  readonly protocol: Http1Version;
  readonly method: string | undefined;
  target: string | undefined;
  readonly status: number | undefined;
  readonly headLength: number;
  readonly cut: boolean;
  contentLength = -1;
  transferCoding: 'none' | 'chunked' | 'other' = 'none';
  upgrade: string | undefined = undefined;
  host: string | undefined = undefined;
  requestId: string | undefined = undefined;
  expectsContinue = false;
  readonly #text: string;
  readonly #start: number;
  #fields: readonly HeaderField[] | undefined;
  #complete: boolean;

  constructor(line: StartLine, text: string, start: number, headLength: number, cut: boolean) {
    this.kind = line.kind;
    this.protocol = line.protocol;
    this.method = line.kind === 'request' ? line.method : undefined;
    this.target = line.kind === 'request' ? line.target : undefined;
    this.status = line.kind === 'response' ? line.status : undefined;
    this.headLength = headLength;
    this.cut = cut;
    this.#text = text;
    this.#start = start;
    this.#complete = !cut;
    this.#readFraming();
  }

  get fields(): readonly HeaderField[] {
    this.#fields ??= this.#readFields();
    return this.#fields;
  }

  get fieldsComplete(): boolean {
    return this.fields.length >= 0 && this.#complete;
  }

  #readFraming(): void {
    const text = this.#text;
    let codings = '';
    let connection = '';
    for (let at = this.#start; at < text.length; ) {
      const found = text.indexOf('\n', at);
      const lineEnd = found === -1 ? text.length : found;
      const name = framingName(text, at);
      if (name !== undefined) {
        const value = trimField(text, at + name.length + 1, text.charCodeAt(lineEnd - 1) === CR ? lineEnd - 1 : lineEnd);
        if (name === 'content-length') this.contentLength = combineLength(this.contentLength, value);
        else if (name === 'transfer-encoding') codings = codings === '' ? value : `${codings},${value}`;
        else if (name === 'connection') connection += `,${value}`;
        else if (name === 'upgrade') this.upgrade = value.toLowerCase();
        else if (name === 'host') this.host ??= value;
        else if (name === 'x-request-id') this.requestId ??= value;
        else if (value.toLowerCase() === '100-continue') this.expectsContinue = true;
      }
      at = lineEnd + 1;
    }
    if (this.upgrade !== undefined && !hasToken(connection, 'upgrade')) this.upgrade = undefined;
    if (codings !== '') this.transferCoding = /(?:^|,)\s*chunked\s*$/i.test(codings) ? 'chunked' : 'other';
  }

  #readFields(): HeaderField[] {
    const text = this.#text;
    const fields: { name: string; value: string }[] = [];
    for (let at = this.#start; at < text.length; ) {
      const found = text.indexOf('\n', at);
      const next = found === -1 ? text.length : found + 1;
      let lineEnd = found === -1 ? text.length : found;
      if (text.charCodeAt(lineEnd - 1) === CR) lineEnd -= 1;
      if (lineEnd <= at) break;
      const first = text.charCodeAt(at);
      const colon = text.indexOf(':', at);
      if (first === SPACE || first === TAB) {
        // obs-fold: the line belongs to the value before it
        const last = fields.at(-1);
        if (last === undefined) this.#complete = false;
        else last.value = `${last.value} ${trimField(text, at, lineEnd)}`.trim();
      } else if (colon === -1 || colon >= lineEnd || !isToken(text.slice(at, colon)) || fields.length >= MAX_FIELDS) this.#complete = false;
      else {
        const raw = text.slice(at, colon);
        fields.push({ name: names.get(raw) ?? raw.toLowerCase(), value: trimField(text, colon + 1, lineEnd) });
      }
      at = next;
    }
    return fields;
  }
}

const FRAMING_NAMES = ['content-length', 'transfer-encoding', 'connection', 'upgrade', 'host', 'x-request-id', 'expect'] as const;

/** The name of the field in the line at `at`, if it is one of those that are read at once. */
function framingName(text: string, at: number): (typeof FRAMING_NAMES)[number] | undefined {
  const first = text.charCodeAt(at) | 0x20;
  // c, e, h, t, u, x
  if (first !== 0x63 && first !== 0x65 && first !== 0x68 && first !== 0x74 && first !== 0x75 && first !== 0x78) return undefined;
  for (const name of FRAMING_NAMES)
    if (
      name.charCodeAt(0) === first &&
      text.charCodeAt(at + name.length) === COLON &&
      text.slice(at, at + name.length).toLowerCase() === name
    )
      return name;
  return undefined;
}
function trimField(text: string, start: number, end: number): string {
  let from = start;
  let to = end;
  while (from < to && (text.charCodeAt(from) === SPACE || text.charCodeAt(from) === TAB)) from++;
  while (to > from && (text.charCodeAt(to - 1) === SPACE || text.charCodeAt(to - 1) === TAB)) to--;
  return text.slice(from, to);
}

function hasToken(list: string, token: string): boolean {
  return list.split(',').some((item) => item.trim().toLowerCase() === token);
}

/** Content-Length may come several times with one and the same value (RFC 9112 section 6.3, rule 5). */
function combineLength(before: number, value: string): number {
  let length = before;
  for (const item of value.split(',')) {
    const digits = item.trim();
    const given = /^\d{1,15}$/.test(digits) ? Number(digits) : Number.NaN;
    length = length === -1 || length === given ? given : Number.NaN;
  }
  return length;
}
