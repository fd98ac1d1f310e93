/**
 * Tokens of the cluster's accounts: a TokenReview says whose they are, a SubjectAccessReview what they may: the verb on `flows.sidetrace.dev`.
 *
 * Fails closed: who cannot be asked about is not let in, and a stream whose holder could not be asked about for {@link GRACE_MS} ends.
 * Tokens that nobody knows cost the API server few requests: no more than {@link BURST} at once and {@link PER_SECOND} a second, and none for a token that says itself that it has expired or is meant for somebody else.
 */
import { createHash } from 'node:crypto';
import { errorText } from '../net/error-text.ts';
import type { Authenticator, Credentials, Principal, Refusal, Verb } from './authenticator.ts';
import { unknownPrincipal } from './authenticator.ts';

export const GRACE_MS = 60_000;
const BURST = 8;
const PER_SECOND = 3;
/** Digests of tokens that were good, so that they are never held back by bad ones. */
const KNOWN_MAX = 1000;

export interface ReviewedUser {
  readonly user: string;
  readonly groups: readonly string[];
}

/** Asks the API server; throws when it cannot be asked. */
export interface Reviewer<User extends ReviewedUser> {
  review(token: string, audiences: readonly string[]): Promise<User | undefined>;
  allowed(user: User, verb: string, resource: { readonly group: string; readonly resource: string }): Promise<boolean>;
}

export const kubeResource = { group: 'sidetrace.dev', resource: 'flows' } as const;

interface Held<User> {
  readonly token: string;
  user: User;
  /** When the API server last said yes. */
  allowedAt: number;
}

export interface KubeAuthenticatorOptions {
  readonly audience: string;
  readonly graceMs?: number;
}

export class KubeAuthenticator<User extends ReviewedUser> implements Authenticator {
  readonly wants = 'a Kubernetes token (Authorization: Bearer …)';
  readonly #reviewer: Reviewer<User>;
  readonly #audience: string;
  readonly #graceMs: number;
  readonly #held = new WeakMap<Principal, Held<User>>();
  readonly #known = new Set<string>();
  #allowance = BURST;
  #allowanceAt = performance.now();

  constructor(reviewer: Reviewer<User>, options: KubeAuthenticatorOptions) {
    this.#reviewer = reviewer;
    this.#audience = options.audience;
    this.#graceMs = options.graceMs ?? GRACE_MS;
  }

  async authenticate({ token }: Credentials): Promise<Principal | Refusal | undefined> {
    if (token === undefined) return undefined;
    const claims = claimsOf(token);
    const expires = typeof claims?.exp === 'number' ? claims.exp * 1000 : undefined;
    if (expires !== undefined && expires <= Date.now()) return this.#unauthenticated('expired-token', 'the token given has expired');
    const audiences = claims?.aud === undefined ? undefined : [claims.aud].flat();
    if (audiences !== undefined && !audiences.includes(this.#audience))
      return this.#unauthenticated('wrong-audience', 'the token given is meant for somebody else');
    const digest = createHash('sha256').update(token, 'utf8').digest('base64');
    if (!this.#known.has(digest) && !this.#take())
      return {
        refused: 429,
        reason: 'too-many-tokens',
        message: `Cannot review the token now: at most ${PER_SECOND} unknown tokens a second are reviewed, there are more`,
        retryAfter: 2,
      };
    let user: User | undefined;
    try {
      user = await this.#reviewer.review(token, [this.#audience]);
    } catch (error) {
      return cannotAsk(error);
    }
    if (user === undefined) {
      this.#known.delete(digest);
      return this.#unauthenticated('unknown-token', 'the API server does not accept the token given');
    }
    if (this.#known.size >= KNOWN_MAX) this.#known.clear();
    this.#known.add(digest);
    const principal: Principal = { name: user.user, groups: user.groups, by: 'kubernetes', ...(expires === undefined ? {} : { expires }) };
    this.#held.set(principal, { token, user, allowedAt: Number.NEGATIVE_INFINITY });
    return principal;
  }

  async authorize(principal: Principal, verb: Verb): Promise<true | Refusal> {
    const held = this.#held.get(principal);
    if (held === undefined) return unknownPrincipal(principal);
    try {
      const user = await this.#reviewer.review(held.token, [this.#audience]);
      if (user === undefined) return this.#unauthenticated('unknown-token', 'the API server does not accept the token any more');
      held.user = user;
      if (await this.#reviewer.allowed(user, verb, kubeResource)) {
        held.allowedAt = performance.now();
        return true;
      }
    } catch (error) {
      return performance.now() - held.allowedAt < this.#graceMs ? true : cannotAsk(error);
    }
    const { group, resource } = kubeResource;
    return {
      refused: 403,
      reason: 'not-allowed',
      message: `Cannot let "${principal.name}" do this: the verb "${verb}" on the resource "${resource}" of the API group "${group}" is wanted, RBAC does not grant it`,
      wanted: { verb, group, resource },
    };
  }

  #take(): boolean {
    const now = performance.now();
    this.#allowance = Math.min(BURST, this.#allowance + ((now - this.#allowanceAt) / 1000) * PER_SECOND);
    this.#allowanceAt = now;
    if (this.#allowance < 1) return false;
    this.#allowance--;
    return true;
  }

  #unauthenticated(reason: string, what: string): Refusal {
    return {
      refused: 401,
      reason,
      message: `Cannot tell who you are: a Kubernetes token for the audience "${this.#audience}" is wanted, ${what}`,
      wanted: { scheme: 'Bearer', audience: this.#audience },
    };
  }
}

function cannotAsk(error: unknown): Refusal {
  const why = errorText(error);
  return {
    refused: 503,
    reason: 'cannot-ask',
    message: `Cannot tell what you may do: the API server must be asked, it cannot be now (${why.slice(0, 300)})`,
    retryAfter: 5,
  };
}

/** What a JWT says of itself. It proves nothing: it only spares asking about what refuses itself, and tells when a good one ends. */
function claimsOf(token: string): { readonly exp?: unknown; readonly aud?: unknown } | undefined {
  const parts = token.split('.');
  if (parts.length !== 3 || token.length > 16_384) return undefined;
  try {
    const claims: unknown = JSON.parse(Buffer.from(parts[1]!, 'base64url').toString('utf8'));
    return typeof claims === 'object' && claims !== null ? claims : undefined;
  } catch {
    return undefined;
  }
}
