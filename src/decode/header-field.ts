/**
 * One HTTP header field as the decoders of HTTP/1 and HTTP/2 give it.
 *
 * `name` is in lower case (HTTP/2 pseudo fields keep their colon). `value` holds one character per byte (ISO 8859-1), without the white space around it.
 * Source: RFC 9110 section 5.
 */
export interface HeaderField {
  readonly name: string;
  readonly value: string;
}

/** At most this many fields of one head are kept; the list of a head with more is not complete. */
export const MAX_FIELDS = 64;

/** A head longer than this is cut here. Bytes. */
export const MAX_HEAD_LENGTH = 16_384;

/** The value of the first field of that name (lower case); `undefined` when it is not there. */
export function findField(fields: readonly HeaderField[], name: string): string | undefined {
  for (const field of fields) if (field.name === name) return field.value;
  return undefined;
}

/** Bytes `[start, end)` as text, one character per byte. */
export function latin1(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('latin1');
}
