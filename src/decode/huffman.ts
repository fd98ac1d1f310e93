/**
 * The Huffman code of HPACK strings. Source: RFC 7541 section 5.2 and appendix B.
 *
 * The code is canonical: codes of one length follow each other in the order of their symbols, and shorter codes come first. So the lengths are all of it.
 */

/** Code length of the symbols 0 to 255 and of EOS (256), a base-36 digit each. */
const LENGTHS =
  'dnsssssssoussussssssssusssssssss6aacd68baa8b8666555666666678f6ca' +
  'd67777777777777777777777878djde6f56565666577666567655677777fbeds' +
  'kmkkmmmnmnnnnnonoomnonnnnlmnmnnomlkmmnnlnmmolmnnllmlnmnnkmmmnmmn' +
  'qqkjmnmpqqqrrqopjlqrrqrollqqsrrrkoklmllnmmppooqnqrqqrrrrrsrrrrrq' +
  'u';
const EOS = 256;
const MIN_LENGTH = 5;
const MAX_LENGTH = 30;

/** By code length: the first code, how many there are, and where their symbols begin in `symbols`. */
const firstCode = new Float64Array(MAX_LENGTH + 1);
const codeCount = new Int32Array(MAX_LENGTH + 1);
const symbolStart = new Int32Array(MAX_LENGTH + 1);
const symbols = new Int16Array(EOS + 1);

let code = 0;
let placed = 0;
for (let length = 1; length <= MAX_LENGTH; length++) {
  code *= 2;
  firstCode[length] = code;
  symbolStart[length] = placed;
  for (let symbol = 0; symbol <= EOS; symbol++) if (Number.parseInt(LENGTHS[symbol]!, 36) === length) symbols[placed++] = symbol;
  codeCount[length] = placed - symbolStart[length]!;
  code += codeCount[length]!;
}

/**
 * Decodes `bytes[start, end)`, one character per byte. `undefined` when it is no valid code: EOS within, padding of a byte or more, or padding that is not all ones.
 */
export function decodeHuffman(bytes: Uint8Array, start: number, end: number): string | undefined {
  let text = '';
  let value = 0;
  let length = 0;
  for (let i = start; i < end; i++) {
    const byte = bytes[i]!;
    for (let bit = 7; bit >= 0; bit--) {
      value = value * 2 + ((byte >> bit) & 1);
      length++;
      if (length < MIN_LENGTH) continue;
      if (length > MAX_LENGTH) return undefined;
      const offset = value - firstCode[length]!;
      if (offset >= codeCount[length]!) continue;
      const symbol = symbols[symbolStart[length]! + offset]!;
      if (symbol === EOS) return undefined;
      text += String.fromCharCode(symbol);
      value = 0;
      length = 0;
    }
  }
  return length < 8 && value === 2 ** length - 1 ? text : undefined;
}
