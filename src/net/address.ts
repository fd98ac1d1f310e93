/**
 * IP addresses as text, as 32-bit words and as CIDR blocks.
 *
 * The flow table and the packet hold addresses as four signed 32-bit words in network order; an IPv4 address is `[0, 0, 0, word]` together with `ipVersion` 4.
 * Everything else holds canonical text: dotted quad, or RFC 5952.
 */
export type Family = 4 | 6;

export interface Ip {
  readonly family: Family;
  /** Four signed 32-bit words, most significant first; IPv4 uses the last only. */
  readonly words: readonly [number, number, number, number];
}

export interface Cidr extends Ip {
  /** Prefix length, 0 to 32 or 0 to 128. */
  readonly prefix: number;
}

const V4 = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/;

function parseV4(text: string): number | undefined {
  const m = V4.exec(text);
  if (m === null) return undefined;
  let word = 0;
  for (let i = 1; i <= 4; i++) {
    const byte = Number(m[i]);
    if (byte > 255) return undefined;
    word = (word << 8) | byte;
  }
  return word;
}

/** Parses an address; accepts brackets and a zone (`fe80::1%eth0`, the zone is dropped). `undefined` when it is none. Source: RFC 4291 section 2.2. */
export function parseIp(text: string): Ip | undefined {
  const v4 = parseV4(text);
  if (v4 !== undefined) return { family: 4, words: [0, 0, 0, v4] };
  let body = text.startsWith('[') && text.endsWith(']') ? text.slice(1, -1) : text;
  const zone = body.indexOf('%');
  if (zone !== -1) body = body.slice(0, zone);
  if (!body.includes(':') || body.length > 45) return undefined;
  const halves = body.split('::');
  if (halves.length > 2) return undefined;
  const groups: number[][] = [];
  for (const half of halves) {
    const words: number[] = [];
    if (half !== '') {
      const parts = half.split(':');
      for (let i = 0; i < parts.length; i++) {
        const part = parts[i]!;
        if (i === parts.length - 1 && part.includes('.') && half === halves.at(-1)) {
          const quad = parseV4(part);
          if (quad === undefined) return undefined;
          words.push((quad >>> 16) & 0xffff, quad & 0xffff);
        } else if (/^[0-9a-fA-F]{1,4}$/.test(part)) words.push(Number.parseInt(part, 16));
        else return undefined;
      }
    }
    groups.push(words);
  }
  const head = groups[0]!;
  const tail = groups[1];
  const given = head.length + (tail?.length ?? 0);
  if (tail === undefined ? given !== 8 : given > 7) return undefined;
  const all = tail === undefined ? head : [...head, ...new Array<number>(8 - given).fill(0), ...tail];
  const word = (i: number) => (all[i]! << 16) | all[i + 1]! | 0;
  return { family: 6, words: [word(0), word(2), word(4), word(6)] };
}

/** Dotted quad of one signed or unsigned 32-bit word. */
export function formatV4(word: number): string {
  return `${word >>> 24}.${(word >>> 16) & 255}.${(word >>> 8) & 255}.${word & 255}`;
}

/** Canonical IPv6 text. Source: RFC 5952 section 4; IPv4-mapped addresses print as `::ffff:a.b.c.d` (section 5). */
export function formatV6(a: number, b: number, c: number, d: number): string {
  if (a === 0 && b === 0 && c === 0xffff) return `::ffff:${formatV4(d)}`;
  const groups = [a >>> 16, a & 0xffff, b >>> 16, b & 0xffff, c >>> 16, c & 0xffff, d >>> 16, d & 0xffff];
  let best = -1;
  let bestLength = 1;
  for (let i = 0; i < 8; i++) {
    let n = 0;
    while (i + n < 8 && groups[i + n] === 0) n++;
    if (n > bestLength) {
      best = i;
      bestLength = n;
    }
  }
  const hex = groups.map((g) => g.toString(16));
  if (best === -1) return hex.join(':');
  return `${hex.slice(0, best).join(':')}::${hex.slice(best + bestLength).join(':')}`;
}

export function formatIp(ip: Ip): string {
  return ip.family === 4 ? formatV4(ip.words[3]) : formatV6(ip.words[0], ip.words[1], ip.words[2], ip.words[3]);
}

/** The same address in canonical text; `undefined` when it is none. */
export function canonicalIp(text: string): string | undefined {
  const ip = parseIp(text);
  return ip === undefined ? undefined : formatIp(ip);
}

/** Parses `10.0.0.0/8`, `10.0.0.0/255.0.0.0`, `fd00::/8` or a bare address (full prefix). Host bits are kept; {@link cidrContains} ignores them. */
export function parseCidr(text: string): Cidr | undefined {
  const slash = text.indexOf('/');
  const ip = parseIp(slash === -1 ? text : text.slice(0, slash));
  if (ip === undefined) return undefined;
  const full = ip.family === 4 ? 32 : 128;
  if (slash === -1) return { ...ip, prefix: full };
  const rest = text.slice(slash + 1);
  if (/^\d{1,3}$/.test(rest)) {
    const prefix = Number(rest);
    return prefix > full ? undefined : { ...ip, prefix };
  }
  const mask = parseIp(rest);
  if (mask === undefined || mask.family !== ip.family) return undefined;
  let prefix = 0;
  let ended = false;
  for (const word of ip.family === 4 ? [mask.words[3]] : mask.words)
    for (let bit = 31; bit >= 0; bit--) {
      const set = ((word >>> bit) & 1) === 1;
      if (set && ended) return undefined;
      if (set) prefix++;
      else ended = true;
    }
  return { ...ip, prefix };
}

/** Does the block hold the address? Families never mix. */
export function cidrContains(cidr: Cidr, ip: Ip): boolean {
  if (cidr.family !== ip.family) return false;
  let left = cidr.prefix;
  for (let i = cidr.family === 4 ? 3 : 0; i < 4 && left > 0; i++) {
    const bits = Math.min(32, left);
    const mask = bits === 32 ? -1 : ~(-1 >>> bits);
    if (((cidr.words[i]! ^ ip.words[i]!) & mask) !== 0) return false;
    left -= bits;
  }
  return true;
}

/** 127.0.0.0/8 or ::1. */
export function isLoopback(text: string): boolean {
  return text === '::1' || text.startsWith('127.');
}

/** `10.0.0.1:80`, `[::1]:80`. */
export function formatEndpoint(ip: string, port: number): string {
  return ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;
}

/** Splits `10.0.0.1:80` or `[::1]:80`; `undefined` when it is neither. */
export function parseEndpoint(text: string): { ip: string; port: number } | undefined {
  const colon = text.lastIndexOf(':');
  if (colon === -1) return undefined;
  const host = text.slice(0, colon);
  const portText = text.slice(colon + 1);
  if (!/^\d{1,5}$/.test(portText) || Number(portText) > 65535) return undefined;
  if (host.includes(':') && !host.startsWith('[')) return undefined;
  const ip = canonicalIp(host);
  return ip === undefined ? undefined : { ip, port: Number(portText) };
}
