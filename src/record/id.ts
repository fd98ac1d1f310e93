/**
 * Ids of records: 16 hexadecimal digits, a hash of what makes the thing itself, so that the same input gives the same id. Not secret, not cryptographic; 64 bits.
 *
 * Method: two multiply-xorshift accumulators over UTF-16 code units with different constants, finished as MurmurHash3 does its 32-bit results.
 */
function finish(h: number): number {
  let x = h;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

export function idOf(text: string): string {
  let a = 0x811c9dc5;
  let b = 0x9747b28c;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    a = Math.imul(a ^ unit, 0x01000193);
    b = Math.imul(b ^ unit, 0x5bd1e995);
    b ^= b >>> 15;
  }
  return (
    finish(a).toString(16).padStart(8, '0') +
    finish(b ^ text.length)
      .toString(16)
      .padStart(8, '0')
  );
}
