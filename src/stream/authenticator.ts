/** Who asks, and what they may. An authenticator knows one kind of proof; {@link Authenticators} asks several. */

/** What somebody wants to do. `packets` shows payload, the others do not. */
export const verbs = ['observe', 'evidence', 'packets', 'status'] as const;
export type Verb = (typeof verbs)[number];

/** Where a connection came in. */
export type Transport = 'unix' | 'loopback' | 'network';

export interface ClientCertificate {
  /** Common name of the subject, '' when it has none. */
  readonly commonName: string;
  /** Organisations of the subject: Kubernetes takes them for groups. */
  readonly organizations: readonly string[];
  /** Subject alternative names: `DNS:…`, `URI:…`. */
  readonly names: readonly string[];
  /** SHA-256 of the certificate, hexadecimal. */
  readonly fingerprint: string;
  /** Milliseconds since the epoch. */
  readonly expires: number;
}

export interface Credentials {
  readonly transport: Transport;
  /** Of the header `Authorization: Bearer …`. */
  readonly token?: string;
  /** Verified against the client CA. */
  readonly clientCertificate?: ClientCertificate;
  /** Path of the request, without its query. */
  readonly url: string;
}

export interface Principal {
  readonly name: string;
  readonly groups: readonly string[];
  /** What proved it: `unix`, `loopback`, `token-file`, `certificate`, `kubernetes`. */
  readonly by: string;
  /** Milliseconds since the epoch after which it is good no longer. */
  readonly expires?: number;
}

/** Why not. 401: we do not know who you are; 403: we do, and you may not; 429: too many attempts; 503: nobody can be asked now. */
export interface Refusal {
  readonly refused: 401 | 403 | 429 | 503;
  /** Closed list, for counters: `no-token`, `unknown-token`, … */
  readonly reason: string;
  /** For people; never holds a credential. */
  readonly message: string;
  /** What would be needed, for programs. */
  readonly wanted?: { readonly [key: string]: string };
  /** Seconds. */
  readonly retryAfter?: number;
}

export interface Authenticator {
  /** @returns `undefined` when these credentials are none of its kind */
  authenticate(credentials: Credentials): Promise<Principal | Refusal | undefined>;
  /** Asked before each act, and every half minute while it lasts. @returns `true`, or why not (401: the proof is good no longer) */
  authorize(principal: Principal, verb: Verb): Promise<true | Refusal>;
  /** What it takes, for the refusal of one who brought nothing. */
  readonly wants: string;
}

export function isRefusal(answer: Principal | Refusal | true): answer is Refusal {
  return typeof answer === 'object' && 'refused' in answer;
}

export class Authenticators implements Authenticator {
  readonly #all: readonly Authenticator[];
  readonly #of = new WeakMap<Principal, Authenticator>();

  constructor(all: readonly Authenticator[]) {
    this.#all = all;
  }

  get wants(): string {
    return this.#all.map(({ wants }) => wants).join(', or ');
  }

  async authenticate(credentials: Credentials): Promise<Principal | Refusal> {
    let refusal: Refusal | undefined;
    for (const authenticator of this.#all) {
      const answer = await authenticator.authenticate(credentials);
      if (answer === undefined) continue;
      if (!isRefusal(answer)) {
        this.#of.set(answer, authenticator);
        return answer;
      }
      // That nobody could be asked, or too often, says more than that a proof is unknown.
      if (refusal === undefined || answer.refused > refusal.refused) refusal = answer;
    }
    return (
      refusal ?? {
        refused: 401,
        reason: credentials.token === undefined ? 'no-credentials' : 'token-not-taken',
        message: `Cannot tell who you are: ${this.wants || 'nothing that is taken here'} is wanted, ${credentials.token === undefined ? 'there is none' : 'a token is taken from nobody here'}`,
        wanted: { scheme: 'Bearer' },
      }
    );
  }

  async authorize(principal: Principal, verb: Verb): Promise<true | Refusal> {
    const authenticator = this.#of.get(principal);
    if (authenticator === undefined) return unknownPrincipal(principal);
    return authenticator.authorize(principal, verb);
  }
}

export function unknownPrincipal({ name }: Principal): Refusal {
  return { refused: 401, reason: 'unknown-principal', message: `Cannot tell any more who "${name}" is: prove it again` };
}
