/**
 * Private keys and tokens in what others wrote: Envoy takes keys out of its dumps itself; what slipped through (a bootstrap with an inline key, a token in a header that a route adds)
 * is overwritten here before it leaves.
 *
 * Known: PEM private keys, as text, within JSON text, and in base64; JSON Web Tokens. Lengths stay, so that nothing has to be parsed.
 */
import { setImmediate as turn } from 'node:timers/promises';

interface Secret {
  /** How it begins. */
  readonly mark: Buffer;
  /** Bytes that belong to it from there on. */
  readonly extent: (bytes: Buffer, at: number) => number;
}

const LONGEST = 64 * 1024;
const LONGEST_TOKEN = 8 * 1024;
const PEM_END = /-----END [A-Z ]*PRIVATE KEY-----/;

/** Up to the end line; where there is none, all that may be part of it. */
function pemExtent(bytes: Buffer, at: number): number {
  const text = bytes.toString('latin1', at, at + LONGEST);
  const end = PEM_END.exec(text);
  if (end !== null) return end.index + end[0].length;
  let to = at;
  while (to < bytes.length && /[\w+/=\\\s:,.-]/.test(String.fromCharCode(bytes[to]!))) to++;
  return to - at;
}

function base64Extent(bytes: Buffer, at: number): number {
  let end = at;
  while (end < bytes.length && /[\w+/=-]/.test(String.fromCharCode(bytes[end]!))) end++;
  return end - at;
}

/** Three parts of base64url with dots between. */
function tokenExtent(bytes: Buffer, at: number): number {
  const text = bytes.toString('latin1', at, at + LONGEST_TOKEN);
  return /^eyJ[\w-]{5,}\.[\w-]{5,}\.[\w-]*/.exec(text)?.[0].length ?? 0;
}

/** `-----BEGIN … PRIVATE KEY` begins so in each of the kinds that there are; in base64 a text stands at one of three places. */
const secrets: readonly Secret[] = [
  ...['', 'RSA ', 'EC ', 'DSA ', 'ENCRYPTED ', 'OPENSSH '].map((kind) => ({
    mark: Buffer.from(`-----BEGIN ${kind}PRIVATE KEY`),
    extent: pemExtent,
  })),
  ...['', 'RSA ', 'EC ', 'ENCRYPTED ', 'OPENSSH '].map((kind) => ({
    // whole groups of three bytes only: the last ones depend on what follows
    mark: Buffer.from(wholeGroups(`-----BEGIN ${kind}PRIVATE KEY`)),
    extent: base64Extent,
  })),
  { mark: Buffer.from('eyJ'), extent: tokenExtent },
];

function wholeGroups(text: string): string {
  return Buffer.from(text.slice(0, text.length - (text.length % 3))).toString('base64');
}

const SLICE = 8 * 1024 * 1024;
const HIDDEN = 0x2a;

/**
 * Overwrites secrets with asterisks, in place, and gives way to others now and then.
 * @returns how many there were
 */
export async function hideSecrets(given: Uint8Array): Promise<number> {
  const bytes = Buffer.from(given.buffer, given.byteOffset, given.length);
  let found = 0;
  for (const { mark, extent } of secrets) {
    let from = 0;
    for (let begin = 0; begin < bytes.length; begin += SLICE) {
      const window = bytes.subarray(0, Math.min(bytes.length, begin + SLICE + mark.length - 1));
      for (let at = window.indexOf(mark, Math.max(from, begin)); at !== -1; at = window.indexOf(mark, from)) {
        const length = extent(bytes, at);
        if (length > 0) {
          bytes.fill(HIDDEN, at, at + length);
          found++;
        }
        from = at + Math.max(length, mark.length);
      }
      if (bytes.length > SLICE) await turn();
    }
  }
  return found;
}
