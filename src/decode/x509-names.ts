/**
 * URI names of an X.509 certificate: where SPIFFE puts the identity of a workload (`spiffe://cluster.local/ns/default/sa/bookinfo`).
 *
 * Walks DER just deep enough: Certificate, TBSCertificate, extensions, subjectAltName. Checks no signature.
 * Source: RFC 5280 sections 4.1 and 4.2.1.6, ITU-T X.690.
 */
import { latin1 } from './header-field.ts';

const SEQUENCE = 0x30;
const OBJECT_IDENTIFIER = 0x06;
const BOOLEAN = 0x01;
const OCTET_STRING = 0x04;
const EXTENSIONS = 0xa3;
const URI_NAME = 0x86;
/** 2.5.29.17 */
const SUBJECT_ALT_NAME = [0x55, 0x1d, 0x11];
const MAX_NAMES = 16;
const MAX_NAME_LENGTH = 2048;
const MAX_EXTENSIONS = 64;

interface Element {
  readonly tag: number;
  readonly start: number;
  readonly end: number;
}

/** The element at `at`, wholly within `end`; long forms of up to three length bytes. */
function element(bytes: Uint8Array, at: number, end: number): Element | undefined {
  if (at + 2 > end) return undefined;
  let length = bytes[at + 1]!;
  let start = at + 2;
  if (length >= 0x80) {
    const width = length & 0x7f;
    if (width === 0 || width > 3 || start + width > end) return undefined;
    length = 0;
    for (let i = 0; i < width; i++) length = length * 256 + bytes[start++]!;
  }
  return start + length > end ? undefined : { tag: bytes[at]!, start, end: start + length };
}

function findExtensions(bytes: Uint8Array, start: number, end: number): Element | undefined {
  const certificate = element(bytes, start, end);
  if (certificate?.tag !== SEQUENCE) return undefined;
  const body = element(bytes, certificate.start, certificate.end);
  if (body?.tag !== SEQUENCE) return undefined;
  let at = body.start;
  for (let i = 0; i < 12 && at < body.end; i++) {
    const field = element(bytes, at, body.end);
    if (field === undefined) return undefined;
    if (field.tag === EXTENSIONS) return element(bytes, field.start, field.end);
    at = field.end;
  }
  return undefined;
}

function isSubjectAltName(bytes: Uint8Array, id: Element): boolean {
  return id.tag === OBJECT_IDENTIFIER && id.end - id.start === 3 && SUBJECT_ALT_NAME.every((byte, i) => bytes[id.start + i] === byte);
}

function readUris(bytes: Uint8Array, names: Element | undefined): string[] {
  const uris: string[] = [];
  if (names?.tag !== SEQUENCE) return uris;
  let at = names.start;
  while (at < names.end && uris.length < MAX_NAMES) {
    const name = element(bytes, at, names.end);
    if (name === undefined) break;
    if (name.tag === URI_NAME && name.end - name.start <= MAX_NAME_LENGTH) uris.push(latin1(bytes, name.start, name.end));
    at = name.end;
  }
  return uris;
}

/** The URI subject alternative names of the DER certificate in `[start, end)`, in its order; empty when it has none or cannot be read. */
export function certificateUris(bytes: Uint8Array, start: number, end: number): string[] {
  const extensions = findExtensions(bytes, start, end);
  if (extensions?.tag !== SEQUENCE) return [];
  let at = extensions.start;
  for (let i = 0; i < MAX_EXTENSIONS && at < extensions.end; i++) {
    const extension = element(bytes, at, extensions.end);
    if (extension === undefined) return [];
    at = extension.end;
    const id = element(bytes, extension.start, extension.end);
    if (id === undefined || !isSubjectAltName(bytes, id)) continue;
    let value = element(bytes, id.end, extension.end);
    if (value?.tag === BOOLEAN) value = element(bytes, value.end, extension.end);
    return value?.tag === OCTET_STRING ? readUris(bytes, element(bytes, value.start, value.end)) : [];
  }
  return [];
}
