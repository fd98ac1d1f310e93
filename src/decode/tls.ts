/**
 * What TLS shows in the clear: record headers, ClientHello, ServerHello, and in TLS 1.2 the certificates' URI names.
 *
 * In      bytes of records or of handshake messages.
 * Out     plain values; what is encrypted (in TLS 1.3 everything after ServerHello) is absent.
 * Not     checks no signature, decrypts nothing, keeps no state: joining records is the caller's business.
 * Source  RFC 8446 (TLS 1.3), RFC 5246 (TLS 1.2), RFC 6066 (SNI), RFC 7301 (ALPN), RFC 8701 (GREASE).
 */
import { latin1 } from './header-field.ts';

export const TLS_CHANGE_CIPHER_SPEC = 20;
export const TLS_ALERT = 21;
export const TLS_HANDSHAKE = 22;
export const TLS_APPLICATION_DATA = 23;
export const TLS_RECORD_HEADER_LEN = 5;
/** 2^14 bytes of content and at most 2048 more (TLS 1.2; TLS 1.3 allows 256). */
export const TLS_MAX_RECORD_LEN = 16_384 + 2048;

export const TLS_CLIENT_HELLO = 1;
export const TLS_SERVER_HELLO = 2;
export const TLS_CERTIFICATE = 11;
export const TLS_HANDSHAKE_HEADER_LEN = 4;

export interface TlsRecordHeader {
  readonly type: number;
  /** As in the header: 0x0301 to 0x0303 say little. */
  readonly version: number;
  /** Bytes after the header. */
  readonly length: number;
}

export interface ClientHello {
  /** legacy_version: 0x0303 for TLS 1.2 and 1.3. */
  readonly version: number;
  /** supported_versions without GREASE, as sent; empty when the extension is absent (then `version` is the highest). */
  readonly supportedVersions: readonly number[];
  /** Hexadecimal. */
  readonly random: string;
  readonly sessionIdLength: number;
  /** A non-empty session ticket (TLS 1.2) or a pre-shared key (TLS 1.3) offers resumption. */
  readonly resumption: boolean;
  readonly earlyData: boolean;
  /** Without GREASE, as sent. */
  readonly cipherSuites: readonly number[];
  /** server_name in lower case; with `encryptedClientHello` it is the outer one. */
  readonly sni: string | undefined;
  /** In the order of preference, GREASE kept out; one character per byte. */
  readonly alpn: readonly string[];
  readonly encryptedClientHello: boolean;
  /** The message ended before its length said: what is missing is unknown. */
  readonly cut: boolean;
}

export interface ServerHello {
  /** The version that was chosen: supported_versions, else legacy_version. */
  readonly version: number;
  readonly random: string;
  readonly cipherSuite: number;
  readonly helloRetryRequest: boolean;
  /** TLS 1.2 and older only. */
  readonly alpn: string | undefined;
  /** TLS 1.2: the server echoed the client's non-empty session id. Says nothing in TLS 1.3, where every server does. */
  readonly sessionId: string;
  /** TLS 1.3: a pre-shared key was accepted. */
  readonly preSharedKey: boolean;
  readonly cut: boolean;
}

const HELLO_RETRY_RANDOM = 'cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c';
const MAX_LIST = 64;
const EXTENSION_SERVER_NAME = 0;
const EXTENSION_ALPN = 16;
const EXTENSION_SESSION_TICKET = 35;
const EXTENSION_PRE_SHARED_KEY = 41;
const EXTENSION_EARLY_DATA = 42;
const EXTENSION_SUPPORTED_VERSIONS = 43;
const EXTENSION_ENCRYPTED_CLIENT_HELLO = 0xfe0d;

const versionNames = new Map([
  [0x0300, 'SSLv3'],
  [0x0301, 'TLSv1'],
  [0x0302, 'TLSv1.1'],
  [0x0303, 'TLSv1.2'],
  [0x0304, 'TLSv1.3'],
]);

/** `TLSv1.3`, as Envoy's access log prints it; `0x7f1c` for one without a name. */
export function formatTlsVersion(version: number): string {
  return versionNames.get(version) ?? `0x${version.toString(16).padStart(4, '0')}`;
}

/** RFC 8701: 0x0a0a, 0x1a1a, … 0xfafa. */
function isGrease(value: number): boolean {
  return (value & 0x0f0f) === 0x0a0a && value >>> 8 === (value & 0xff);
}

/**
 * Reads the record header at `start`.
 *
 * @returns `'incomplete'` when fewer than five bytes are there and those fit; `'not-tls'` when no TLS record can begin here
 */
export function parseTlsRecordHeader(bytes: Uint8Array, start: number, end: number): TlsRecordHeader | 'incomplete' | 'not-tls' {
  if (start >= end) return 'incomplete';
  const type = bytes[start]!;
  if (type < TLS_CHANGE_CIPHER_SPEC || type > 24) return 'not-tls';
  if (start + 1 < end && bytes[start + 1] !== 3) return 'not-tls';
  if (start + 2 < end && bytes[start + 2]! > 4) return 'not-tls';
  if (end - start < TLS_RECORD_HEADER_LEN) return 'incomplete';
  const length = (bytes[start + 3]! << 8) | bytes[start + 4]!;
  if (length > TLS_MAX_RECORD_LEN) return 'not-tls';
  return { type, version: (bytes[start + 1]! << 8) | bytes[start + 2]!, length };
}

/** Does a connection that begins with these bytes begin with a ClientHello? Envoy's tls_inspector asks the same of its first bytes. */
export function looksLikeClientHello(bytes: Uint8Array, start: number, end: number): boolean | 'incomplete' {
  const header = parseTlsRecordHeader(bytes, start, Math.min(end, start + TLS_RECORD_HEADER_LEN));
  if (header === 'not-tls' || bytes[start] !== TLS_HANDSHAKE) return header === 'incomplete' && start >= end ? 'incomplete' : false;
  if (header === 'incomplete' || end - start <= TLS_RECORD_HEADER_LEN) return 'incomplete';
  return header.length >= TLS_HANDSHAKE_HEADER_LEN && bytes[start + TLS_RECORD_HEADER_LEN] === TLS_CLIENT_HELLO;
}

/** Reads big-endian numbers and vectors within `[at, end)`; past the end it answers 0 and remembers that something was missing. */
class VectorReader {
  readonly bytes: Uint8Array;
  at: number;
  readonly end: number;
  cut = false;

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.bytes = bytes;
    this.at = start;
    this.end = Math.min(end, bytes.length);
  }

  get left(): number {
    return this.end - this.at;
  }

  uint(width: number): number {
    if (this.left < width) {
      this.cut = true;
      this.at = this.end;
      return 0;
    }
    let value = 0;
    for (let i = 0; i < width; i++) value = value * 256 + this.bytes[this.at++]!;
    return value;
  }

  hex(length: number): string {
    const to = Math.min(this.at + length, this.end);
    if (to - this.at < length) this.cut = true;
    let text = '';
    while (this.at < to) text += this.bytes[this.at++]!.toString(16).padStart(2, '0');
    return text;
  }

  text(length: number): string {
    const to = Math.min(this.at + length, this.end);
    const text = latin1(this.bytes, this.at, to);
    if (to - this.at < length) this.cut = true;
    this.at = to;
    return text;
  }

  /** The vector whose length comes first, in `width` bytes. A cut one marks this reader as cut, too. */
  vector(width: number): VectorReader {
    const length = this.uint(width);
    const to = Math.min(this.at + length, this.end);
    const inner = new VectorReader(this.bytes, this.at, to);
    if (to - this.at < length) {
      this.cut = true;
      inner.cut = true;
    }
    this.at = to;
    return inner;
  }
}

function readNumbers(reader: VectorReader, width: number): number[] {
  const list: number[] = [];
  while (reader.left >= width && list.length < MAX_LIST) {
    const value = reader.uint(width);
    if (!isGrease(value)) list.push(value);
  }
  return list;
}

function readProtocols(reader: VectorReader): string[] {
  const list: string[] = [];
  while (reader.left > 0 && list.length < MAX_LIST) {
    const name = reader.vector(1);
    if (name.cut) break;
    const text = name.text(name.left);
    const grease = text.length === 2 && isGrease((text.charCodeAt(0) << 8) | text.charCodeAt(1));
    if (!grease) list.push(text);
  }
  return list;
}

function readServerName(reader: VectorReader): string | undefined {
  const names = reader.vector(2);
  while (names.left > 0) {
    const type = names.uint(1);
    const name = names.vector(2);
    if (type === 0 && !name.cut && name.left > 0 && name.left <= 255) return name.text(name.left).toLowerCase();
  }
  return undefined;
}

/**
 * Parses the body of a ClientHello (after the four bytes of the handshake header). A cut one gives what is there, with `cut`.
 * `undefined` when not even the fixed part is there.
 *
 * @param cut the message goes on after `end`, but was not captured
 */
export function parseClientHello(bytes: Uint8Array, start: number, end: number, cut = false): ClientHello | undefined {
  const reader = new VectorReader(bytes, start, end);
  const version = reader.uint(2);
  const random = reader.hex(32);
  if (reader.cut || version >>> 8 !== 3) return undefined;
  const sessionIdLength = reader.vector(1).left;
  const cipherSuites = readNumbers(reader.vector(2), 2);
  reader.vector(1);
  const hello = { version, random, sessionIdLength, cipherSuites, resumption: false, earlyData: false, encryptedClientHello: false };
  let supportedVersions: number[] = [];
  let sni: string | undefined;
  let alpn: string[] = [];
  if (reader.left > 0 && !reader.cut) {
    const extensions = reader.vector(2);
    for (let i = 0; extensions.left >= 4 && i < MAX_LIST; i++) {
      const type = extensions.uint(2);
      const body = extensions.vector(2);
      if (body.cut) break;
      if (type === EXTENSION_SERVER_NAME) sni = readServerName(body);
      else if (type === EXTENSION_ALPN) alpn = readProtocols(body.vector(2));
      else if (type === EXTENSION_SUPPORTED_VERSIONS) supportedVersions = readNumbers(body.vector(1), 2);
      else if (type === EXTENSION_EARLY_DATA) hello.earlyData = true;
      else if (type === EXTENSION_ENCRYPTED_CLIENT_HELLO) hello.encryptedClientHello = true;
      else if (type === EXTENSION_PRE_SHARED_KEY || (type === EXTENSION_SESSION_TICKET && body.left > 0)) hello.resumption = true;
    }
    if (extensions.cut) reader.cut = true;
  }
  return { ...hello, supportedVersions, sni, alpn, cut: cut || reader.cut };
}

/** Parses the body of a ServerHello or HelloRetryRequest as {@link parseClientHello} does; `undefined` when the cipher suite is not there. */
export function parseServerHello(bytes: Uint8Array, start: number, end: number, cut = false): ServerHello | undefined {
  const reader = new VectorReader(bytes, start, end);
  const legacyVersion = reader.uint(2);
  const random = reader.hex(32);
  const id = reader.vector(1);
  const sessionId = id.hex(id.left);
  const cipherSuite = reader.uint(2);
  if (reader.cut || legacyVersion >>> 8 !== 3) return undefined;
  reader.uint(1);
  let version = legacyVersion;
  let alpn: string | undefined;
  let preSharedKey = false;
  if (reader.left > 0) {
    const extensions = reader.vector(2);
    for (let i = 0; extensions.left >= 4 && i < MAX_LIST; i++) {
      const type = extensions.uint(2);
      const body = extensions.vector(2);
      if (body.cut) break;
      if (type === EXTENSION_SUPPORTED_VERSIONS) version = body.uint(2);
      else if (type === EXTENSION_ALPN) alpn = readProtocols(body.vector(2))[0];
      else if (type === EXTENSION_PRE_SHARED_KEY) preSharedKey = true;
    }
    if (extensions.cut) reader.cut = true;
  }
  return {
    version,
    random,
    cipherSuite,
    helloRetryRequest: random === HELLO_RETRY_RANDOM,
    alpn,
    sessionId,
    preSharedKey,
    cut: cut || reader.cut,
  };
}

/** The first certificate of a TLS 1.2 Certificate message's body, as `[start, end)` of its DER bytes; `undefined` when there is none or it is cut. */
export function findLeafCertificate(bytes: Uint8Array, start: number, end: number): { start: number; end: number } | undefined {
  const reader = new VectorReader(bytes, start, end);
  const list = reader.vector(3);
  const leaf = list.vector(3);
  return leaf.cut || leaf.left === 0 ? undefined : { start: leaf.at, end: leaf.end };
}

/** SSL 3.0 to TLS 1.2 over AEAD suites: explicit nonce and tag; ChaCha20-Poly1305 has no explicit nonce. CBC suites pad: -1. */
function tls12Overhead(cipherSuite: number): number {
  if (cipherSuite >= 0xcca8 && cipherSuite <= 0xccae) return 16;
  const gcm = (cipherSuite >= 0x009c && cipherSuite <= 0x00a7) || (cipherSuite >= 0xc02b && cipherSuite <= 0xc032);
  return gcm ? 24 : -1;
}

/**
 * Bytes that encryption adds to the content of one application data record, given version and cipher suite of the ServerHello; -1 when it varies or is not known.
 * TLS 1.3: the tag (16, or 8 for CCM_8) and one byte of content type; padding, which nobody is known to use, would come on top. Source: RFC 8446 section 5.2, RFC 5288.
 */
export function tlsRecordOverhead(version: number, cipherSuite: number): number {
  if (version === 0x0304) return cipherSuite === 0x1305 ? 9 : cipherSuite >= 0x1301 && cipherSuite <= 0x1304 ? 17 : -1;
  return tls12Overhead(cipherSuite);
}
