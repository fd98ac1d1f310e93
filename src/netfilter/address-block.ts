/**
 * Sets of addresses as rules write them: CIDR blocks, address/mask with holes, ranges.
 */
import { type Family, formatIp, type Ip, parseCidr, parseIp } from '../net/address.ts';

export type Words = readonly [number, number, number, number];

/** All addresses that agree with `words` in the bits of `mask`, or those from `low` to `high`. Both ends are in. */
export type AddressBlock =
  | { readonly family: Family; readonly words: Words; readonly mask: Words; readonly text: string }
  | { readonly family: Family; readonly low: Words; readonly high: Words; readonly text: string };

function maskOf(family: Family, prefix: number): Words {
  let left = family === 4 ? 96 + prefix : prefix;
  const word = () => {
    const bits = Math.min(32, Math.max(0, left));
    left -= 32;
    return bits === 0 ? 0 : -1 << (32 - bits);
  };
  return [word(), word(), word(), word()];
}

/** `10.0.0.0/8`, `fd00::/8`, `10.0.0.1/255.0.255.0`, a bare address; `undefined` when it is none. */
export function parseAddressBlock(text: string): AddressBlock | undefined {
  const cidr = parseCidr(text);
  if (cidr !== undefined) return { family: cidr.family, words: cidr.words, mask: maskOf(cidr.family, cidr.prefix), text };
  const slash = text.indexOf('/');
  if (slash === -1) return undefined;
  const ip = parseIp(text.slice(0, slash));
  const mask = parseIp(text.slice(slash + 1));
  if (ip === undefined || mask === undefined || ip.family !== mask.family) return undefined;
  const words: Words = ip.family === 4 ? [-1, -1, -1, mask.words[3]] : mask.words;
  return { family: ip.family, words: ip.words, mask: words, text };
}

/** `10.0.0.1-10.0.0.9`; a single address is a range of one. */
export function parseAddressRange(text: string): AddressBlock | undefined {
  const dash = text.indexOf('-');
  const low = parseIp(dash === -1 ? text : text.slice(0, dash));
  const high = dash === -1 ? low : parseIp(text.slice(dash + 1));
  if (low === undefined || high === undefined || low.family !== high.family) return undefined;
  return { family: low.family, low: low.words, high: high.words, text };
}

function compare(a: Words, b: Words): number {
  for (let i = 0; i < 4; i++) if (a[i] !== b[i]) return (a[i]! >>> 0) - (b[i]! >>> 0);
  return 0;
}

export function blockContains(block: AddressBlock, ip: Ip): boolean {
  if (block.family !== ip.family) return false;
  if ('low' in block) return compare(block.low, ip.words) <= 0 && compare(ip.words, block.high) <= 0;
  for (let i = 0; i < 4; i++) if (((block.words[i]! ^ ip.words[i]!) & block.mask[i]!) !== 0) return false;
  return true;
}

/** Does `outer` hold every address of `inner`? May say no where only a closer look would say yes. */
export function blockCovers(outer: AddressBlock, inner: AddressBlock): boolean {
  if (outer.family !== inner.family) return false;
  if ('low' in inner) {
    if ('low' in outer) return compare(outer.low, inner.low) <= 0 && compare(inner.high, outer.high) <= 0;
    return compare(inner.low, inner.high) === 0 && blockContains(outer, { family: inner.family, words: inner.low });
  }
  if ('low' in outer) return isSingle(inner) && blockContains(outer, { family: inner.family, words: inner.words });
  for (let i = 0; i < 4; i++) {
    if ((outer.mask[i]! & ~inner.mask[i]!) !== 0) return false;
    if (((outer.words[i]! ^ inner.words[i]!) & outer.mask[i]!) !== 0) return false;
  }
  return true;
}

function isSingle(block: AddressBlock): boolean {
  return 'mask' in block && block.mask.every((word) => word === -1);
}

/** For a newcomer: without the length of a full prefix. */
export function blockWords(block: AddressBlock): string {
  if ('low' in block) return compare(block.low, block.high) === 0 ? formatIp({ family: block.family, words: block.low }) : block.text;
  return isSingle(block) ? formatIp({ family: block.family, words: block.words }) : block.text;
}
