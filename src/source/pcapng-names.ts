/**
 * Name Resolution Blocks: which names the capture's author gave to addresses.
 * Source: draft-ietf-opsawg-pcapng section 4.5.
 */
import { formatV4, formatV6 } from '../net/address.ts';

const NRB_RECORD_END = 0;
const NRB_RECORD_IPV4 = 1;
const NRB_RECORD_IPV6 = 2;
const ADDRESS_LIMIT = 65_536;
const NAMES_LIMIT = 4;
const NAME_LENGTH_LIMIT = 255;
const decoder = new TextDecoder();

/** Adds the records between two places of a block to `names`; what is cut or beyond the bounds is left out. */
export function readNames(view: DataView, from: number, to: number, little: boolean, names: Map<string, string[]>): void {
  const bytes = new Uint8Array(view.buffer, view.byteOffset);
  let position = from;
  while (to - position >= 4) {
    const type = view.getUint16(position, little);
    const length = view.getUint16(position + 2, little);
    if (type === NRB_RECORD_END || length > to - position - 4) return;
    const at = position + 4;
    position = at + ((length + 3) & ~3);
    const addressLength = type === NRB_RECORD_IPV4 ? 4 : type === NRB_RECORD_IPV6 ? 16 : 0;
    if (addressLength === 0 || length <= addressLength) continue;
    const ip =
      type === NRB_RECORD_IPV4
        ? formatV4(view.getInt32(at))
        : formatV6(view.getInt32(at), view.getInt32(at + 4), view.getInt32(at + 8), view.getInt32(at + 12));
    const known = names.get(ip) ?? [];
    if (known.length === 0) {
      if (names.size >= ADDRESS_LIMIT) return;
      names.set(ip, known);
    }
    addNames(bytes.subarray(at + addressLength, at + length), known);
  }
}

/** NUL-terminated names, one after another. */
function addNames(bytes: Uint8Array, known: string[]): void {
  let start = 0;
  while (start < bytes.length && known.length < NAMES_LIMIT) {
    const nul = bytes.indexOf(0, start);
    const end = nul === -1 ? bytes.length : nul;
    if (end > start && end - start <= NAME_LENGTH_LIMIT) {
      const name = decoder.decode(bytes.subarray(start, end));
      if (!known.includes(name)) known.push(name);
    }
    start = end + 1;
  }
}
