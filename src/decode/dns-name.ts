/**
 * Domain names on the wire: labels, and pointers to labels that came before. Source: RFC 1035 sections 3.1, 4.1.4 and 5.1; RFC 4343 section 2.1.
 */

/** Pointers lead behind the header. */
const DNS_HEADER_LEN = 12;
const MAX_NAME_OCTETS = 255;
const MAX_POINTERS = 32;
const POINTER = 0xc0;

/** How reading ended: the next byte after the field, or a fault. `cut` needs bytes that are not there; `bad` cannot be right. */
export type NameEnd = number | 'cut' | 'bad';

/**
 * Reads the name at `at` of the message [start, end) of `bytes`.
 *
 * @returns the name in presentation form, without the final dot (the root is `.`): every octet outside printable ASCII, and the space, as `\DDD`, a dot or backslash within a label behind
 * a backslash; with the offset after it. Pointers must point backwards, so that a name ends; names above 255 octets and labels of unknown kinds are `bad`.
 */
export function decodeName(bytes: Uint8Array, start: number, end: number, at: number): { text: string; next: number } | 'cut' | 'bad' {
  const plain = decodePlainName(bytes, end, at);
  if (plain !== undefined) return plain;
  let text = '';
  let octets = 1;
  let next = -1;
  let pointers = 0;
  let pos = at;
  for (;;) {
    if (pos >= end) return 'cut';
    const length = bytes[pos]!;
    if (length === 0) return { text: text === '' ? '.' : text, next: next === -1 ? pos + 1 : next };
    if (length >= POINTER) {
      if (pos + 1 >= end) return 'cut';
      const target = start + (((length & 0x3f) << 8) | bytes[pos + 1]!);
      if (target >= pos || target < start + DNS_HEADER_LEN || ++pointers > MAX_POINTERS) return 'bad';
      if (next === -1) next = pos + 2;
      pos = target;
      continue;
    }
    octets += length + 1;
    if (length > 63 || octets > MAX_NAME_OCTETS) return 'bad';
    if (pos + 1 + length > end) return 'cut';
    if (text !== '') text += '.';
    text += escapeLabel(bytes, pos + 1, pos + 1 + length);
    pos += 1 + length;
  }
}

const plainText = Buffer.alloc(MAX_NAME_OCTETS);

/** Most names: labels of printable characters, none of which needs an escape, without a pointer, and wholly there. */
function decodePlainName(bytes: Uint8Array, end: number, at: number): { text: string; next: number } | undefined {
  let length = 0;
  let pos = at;
  for (;;) {
    if (pos >= end) return undefined;
    const next = pos + 1 + bytes[pos]!;
    if (next === pos + 1) break;
    if (next - pos > 64 || next > end || length + next - pos > MAX_NAME_OCTETS - 2) return undefined;
    if (length > 0) plainText[length++] = 0x2e;
    for (pos++; pos < next; pos++) {
      const byte = bytes[pos]!;
      if (byte <= 0x20 || byte >= 0x7f || byte === 0x2e || byte === 0x5c) return undefined;
      plainText[length++] = byte;
    }
  }
  return length === 0 ? undefined : { text: plainText.toString('latin1', 0, length), next: pos + 1 };
}

/** The offset after the name at `at`, without following pointers. */
export function skipName(bytes: Uint8Array, end: number, at: number): NameEnd {
  let pos = at;
  for (;;) {
    if (pos >= end) return 'cut';
    const length = bytes[pos]!;
    if (length === 0) return pos + 1;
    if (length >= POINTER) return pos + 2 > end ? 'cut' : pos + 2;
    if (length > 63 || pos - at > MAX_NAME_OCTETS) return 'bad';
    pos += 1 + length;
  }
}

function escapeLabel(bytes: Uint8Array, from: number, to: number): string {
  let text = '';
  for (let i = from; i < to; i++) {
    const byte = bytes[i]!;
    if (byte === 0x2e || byte === 0x5c) text += `\\${String.fromCharCode(byte)}`;
    else text += byte > 0x20 && byte < 0x7f ? String.fromCharCode(byte) : escapeOctet(byte);
  }
  return text;
}

/** A character-string in quotes: spaces stay, quotes and backslashes are escaped, the rest as in labels. Source: RFC 1035 section 5.1. */
export function quoteString(bytes: Uint8Array, from: number, to: number): string {
  let text = '"';
  for (let i = from; i < to; i++) {
    const byte = bytes[i]!;
    if (byte === 0x22 || byte === 0x5c) text += `\\${String.fromCharCode(byte)}`;
    else text += byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : escapeOctet(byte);
  }
  return `${text}"`;
}

function escapeOctet(byte: number): string {
  return `\\${String(byte).padStart(3, '0')}`;
}
