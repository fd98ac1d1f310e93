/**
 * How far a MessagePack value reaches, found without making anything of it. A value whose end is known holds as many elements as it says, so that nothing that decodes it makes room for elements that are not there.
 * Source: github.com/msgpack/msgpack spec.md.
 */

/** Levels of lists and maps; a batch of records has fewer. */
export const DEPTH_MAX = 40;
/** Bytes of one value: a batch ends at 64 KiB, and one record is far smaller than this. */
export const VALUE_BYTES_MAX = 4 * 1024 * 1024;
/** Elements of one value, of whatever level. */
export const ELEMENTS_MAX = 1024 * 1024;

/** What no value of our records has. */
export class ExtentError extends Error {}

/** Bytes of a scalar behind its first one, by that first byte from 0xc0 on; -1 stands for what has a length of its own, -2 for what no record holds. */
const fixed: readonly number[] = [
  // nil, (never used), false, true; bin 8-32, ext 8-32; float 32, 64; uint 8-64; int 8-64
  0, -2, 0, 0, -2, -2, -2, -2, -2, -2, 4, 8, 1, 2, 4, 8, 1, 2, 4, 8,
  // fixext 1-16; str 8-32; array 16, 32; map 16, 32
  -2, -2, -2, -2, -2, -1, -1, -1, -1, -1, -1, -1,
];
const STR8 = 0xd9;
const STR16 = 0xda;
const STR32 = 0xdb;
const ARRAY16 = 0xdc;
const ARRAY32 = 0xdd;
const MAP16 = 0xde;

const left = new Float64Array(DEPTH_MAX);

/**
 * The end of the value that begins at `from`, or `undefined` when it goes on behind `to`.
 *
 * @throws {ExtentError} for a value that is too deep, too long, or of a type that records do not hold
 */
export function valueEnd(bytes: Uint8Array, from: number, to: number): number | undefined {
  let at = from;
  let depth = 0;
  for (let elements = 1; ; elements++) {
    if (elements > ELEMENTS_MAX) throw new ExtentError(`a value of at most ${ELEMENTS_MAX} elements is wanted, it has more`);
    if (at >= to) return undefined;
    const head = bytes[at++]!;
    let children = 0;
    if (head >= 0x80 && head < 0x90) children = (head - 0x80) * 2;
    else if (head >= 0x90 && head < 0xa0) children = head - 0x90;
    else if (head >= 0xa0 && head < 0xc0) at += head - 0xa0;
    else if (head >= 0xc0 && head < 0xe0) {
      const size = fixed[head - 0xc0]!;
      if (size === -2) throw new ExtentError(`text, numbers, lists and maps are wanted, the byte 0x${head.toString(16)} begins none`);
      if (size !== -1) at += size;
      else {
        const width = head === STR8 ? 1 : head === STR16 || head === ARRAY16 || head === MAP16 ? 2 : 4;
        if (at + width > to) return undefined;
        const length = readLength(bytes, at, width);
        at += width;
        if (head <= STR32) {
          if (length > VALUE_BYTES_MAX) throw new ExtentError(`text of at most ${VALUE_BYTES_MAX} bytes is wanted, it has ${length}`);
          at += length;
        } else {
          children = head <= ARRAY32 ? length : length * 2;
          if (children > ELEMENTS_MAX) throw new ExtentError(`at most ${ELEMENTS_MAX} elements are wanted, there are ${children}`);
        }
      }
    }
    if (at > to) return undefined;
    if (children > 0) {
      if (depth === DEPTH_MAX) throw new ExtentError(`a value of at most ${DEPTH_MAX} levels is wanted, it has more`);
      left[depth++] = children;
      continue;
    }
    while (depth > 0 && --left[depth - 1]! === 0) depth--;
    if (depth === 0) return at;
  }
}

function readLength(bytes: Uint8Array, at: number, width: number): number {
  let length = 0;
  for (let i = 0; i < width; i++) length = length * 256 + bytes[at + i]!;
  return length;
}
