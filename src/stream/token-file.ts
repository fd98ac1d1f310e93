/**
 * Static bearer tokens from a file, one a line: `TOKEN`, `NAME TOKEN`, or `NAME TOKEN VERB,VERB` for one that may not everything. Empty lines and those that begin with `#` are skipped.
 * The file is read again within {@link REREAD_MS} of a change; a token that is gone from it closes what was opened with it. Tokens are compared by digest in constant time.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { type Authenticator, type Credentials, type Principal, type Refusal, type Verb, verbs } from './authenticator.ts';
import { WatchedFile } from './watched-file.ts';

export const REREAD_MS = 5000;
const TOKENS_MAX = 1000;
/** Shorter ones can be guessed. */
const LENGTH_MIN = 16;
const LENGTH_MAX = 8192;
const LINE = /^(?:([\w.@:/-]{1,128})[ \t]+)?([!-~]+)$/;
const LIMITED = /^([\w.@:/-]{1,128})[ \t]+([!-~]+)[ \t]+([a-z,]+)$/;

interface Entry {
  readonly name: string;
  readonly digest: Buffer;
  /** Absent: everything. */
  readonly verbs: ReadonlySet<string> | undefined;
}

export class TokenFileAuthenticator implements Authenticator {
  readonly wants = 'a token of the token file (Authorization: Bearer …)';
  readonly #file: WatchedFile;
  readonly #digests = new WeakMap<Principal, Buffer>();
  #entries: readonly Entry[];
  /** Why the file as it is now is not used; the tokens read before still hold. */
  problem: string | undefined;

  /** @throws {Error} when the file cannot be read, or holds no token or something that is none */
  constructor(path: string, rereadMs: number = REREAD_MS) {
    this.#file = new WatchedFile(path, rereadMs);
    this.#entries = parseTokens(this.#file.bytes.toString('utf8'), path);
  }

  #refresh(): void {
    const changed = this.#file.refresh();
    if (this.#file.problem !== undefined) this.problem = this.#file.problem;
    if (!changed) return;
    try {
      this.#entries = parseTokens(this.#file.bytes.toString('utf8'), this.#file.path);
      this.problem = undefined;
    } catch (error) {
      // A file in the middle of being written says nothing; one that was emptied says that nobody may.
      this.problem = (error as Error).message;
      if (this.#file.bytes.toString('utf8').trim() === '') this.#entries = [];
    }
  }

  #find(digest: Buffer): Entry | undefined {
    let found: Entry | undefined;
    // All are compared, whichever it is.
    for (const entry of this.#entries) if (timingSafeEqual(entry.digest, digest)) found = entry;
    return found;
  }

  async authenticate({ token }: Credentials): Promise<Principal | Refusal | undefined> {
    if (token === undefined) return undefined;
    this.#refresh();
    const digest = digestOf(token);
    const entry = this.#find(digest);
    if (entry === undefined)
      return {
        refused: 401,
        reason: 'unknown-token',
        message: 'Cannot tell who you are: one of the tokens of the token file is wanted, the token given is none of them',
        wanted: { scheme: 'Bearer' },
      };
    const principal: Principal = { name: entry.name, groups: [], by: 'token-file' };
    this.#digests.set(principal, digest);
    return principal;
  }

  async authorize(principal: Principal, verb: Verb): Promise<true | Refusal> {
    this.#refresh();
    const { name } = principal;
    const digest = this.#digests.get(principal);
    const entry = digest === undefined ? undefined : this.#find(digest);
    if (entry === undefined)
      return { refused: 403, reason: 'revoked', message: `Cannot go on for "${name}": its token is no longer in the token file` };
    if (entry.verbs === undefined || entry.verbs.has(verb)) return true;
    return {
      refused: 403,
      reason: 'not-allowed',
      message: `Cannot let "${name}" do this: the verb "${verb}" is wanted behind its token in the token file, there ${entry.verbs.size === 1 ? 'is' : 'are'} ${[...entry.verbs].join(', ')}`,
      wanted: { verb },
    };
  }
}

function digestOf(token: string): Buffer {
  return createHash('sha256').update(token, 'utf8').digest();
}

function parseTokens(text: string, path: string): Entry[] {
  const entries: Entry[] = [];
  text.split(/\r?\n/).forEach((raw, i) => {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) return;
    const limited = LIMITED.exec(line);
    const match = limited ?? LINE.exec(line);
    const token = match?.[2];
    // What stands there may be a secret: it is not repeated.
    if (token === undefined || token.length < LENGTH_MIN || token.length > LENGTH_MAX)
      throw new TypeError(
        `Cannot use line ${i + 1} of the token file "${path}": it must be TOKEN, NAME TOKEN or NAME TOKEN VERB,VERB, with a token of ${LENGTH_MIN} to ${LENGTH_MAX} printable characters`,
      );
    const given = limited?.[3]?.split(',');
    const strange = given?.find((verb) => !(verbs as readonly string[]).includes(verb));
    if (strange !== undefined)
      throw new TypeError(`Cannot use line ${i + 1} of the token file "${path}": "${strange}" must be one of ${verbs.join(', ')}`);
    entries.push({
      name: match![1] ?? `token-${entries.length + 1}`,
      digest: digestOf(token),
      verbs: given === undefined ? undefined : new Set(given),
    });
    if (entries.length > TOKENS_MAX) throw new TypeError(`Cannot use the token file "${path}": it must hold at most ${TOKENS_MAX} tokens`);
  });
  if (entries.length === 0) throw new TypeError(`Cannot use the token file "${path}": it must hold a token, it has none`);
  return entries;
}
