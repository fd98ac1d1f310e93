/**
 * The options at the end of a pcapng block: 16-bit code, 16-bit length, value padded to 32 bits, until opt_endofopt or the end of the block.
 * Source: draft-ietf-opsawg-pcapng section 3.5.
 */
export const OPT_ENDOFOPT = 0;
export const OPT_COMMENT = 1;
export const IF_NAME = 2;
export const IF_TSRESOL = 9;
export const IF_FILTER = 11;
export const IF_TSOFFSET = 14;
export const EPB_FLAGS = 2;
export const EPB_DROPCOUNT = 4;
export const ISB_IFDROP = 5;
export const ISB_OSDROP = 7;

const decoder = new TextDecoder();

/** Calls `take` for each option between two places of a block; a length that leaves the block ends the walk. Returns false in that case. */
export function walkOptions(
  view: DataView,
  from: number,
  to: number,
  little: boolean,
  take: (code: number, at: number, length: number) => void,
): boolean {
  let position = from;
  while (to - position >= 4) {
    const code = view.getUint16(position, little);
    const length = view.getUint16(position + 2, little);
    if (code === OPT_ENDOFOPT) return true;
    if (length > to - position - 4) return false;
    take(code, position + 4, length);
    position += 4 + ((length + 3) & ~3);
  }
  return true;
}

/** UTF-8 text of an option, cut at `limit` bytes; trailing NULs, which some writers add, are dropped. */
export function optionText(bytes: Uint8Array, at: number, length: number, limit: number): string {
  let end = at + Math.min(length, limit);
  while (end > at && bytes[end - 1] === 0) end--;
  return decoder.decode(bytes.subarray(at, end));
}
