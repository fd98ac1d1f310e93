/** What a file that is no capture probably is, so that the message can say so. Source: the formats' own magic numbers, as in file(1). */
const magics: readonly { readonly magic: readonly number[]; readonly what: string }[] = [
  { magic: [0x42, 0x5a, 0x68], what: 'bzip2 data: unpack it first' },
  { magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a], what: 'xz data: unpack it first' },
  { magic: [0x04, 0x22, 0x4d, 0x18], what: 'LZ4 data: unpack it first' },
  { magic: [0x50, 0x4b, 0x03, 0x04], what: 'a zip archive: unpack it first' },
  { magic: [0x73, 0x6e, 0x6f, 0x6f, 0x70], what: 'a snoop capture: convert it with editcap' },
  { magic: [0x54, 0x52, 0x53, 0x4e], what: 'a NetXRay capture: convert it with editcap' },
  { magic: [0x47, 0x4d, 0x42, 0x55], what: 'a Network Monitor capture: convert it with editcap' },
  { magic: [0x0a, 0x0d, 0x0d, 0x0a], what: 'the beginning of a pcapng file that was cut or damaged' },
  { magic: [0x7f, 0x45, 0x4c, 0x46], what: 'an ELF program' },
  { magic: [0x7b], what: 'JSON' },
  { magic: [0x5b], what: 'JSON' },
];

const MEANT_LEN = 16;

function startsWith(head: Uint8Array, magic: readonly number[]): boolean {
  return head.length >= magic.length && magic.every((byte, i) => head[i] === byte);
}

/** `JSON`, `text that begins "…"`, or the first bytes in hexadecimal. */
export function describeBytes(head: Uint8Array): string {
  for (const { magic, what } of magics) if (startsWith(head, magic)) return what;
  const first = head.subarray(0, MEANT_LEN);
  const printable = first.every((byte) => (byte >= 0x20 && byte < 0x7f) || byte === 0x0a || byte === 0x0d || byte === 0x09);
  if (printable && first.length > 0) return `text that begins ${JSON.stringify(String.fromCharCode(...first))}`;
  return `bytes that begin ${Array.from(first, (byte) => byte.toString(16).padStart(2, '0')).join(' ')}`;
}
