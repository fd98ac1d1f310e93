/**
 * Who has this token, and what may they do: TokenReview and SubjectAccessReview, with their answers kept for a moment.
 *
 * What cannot be asked is not allowed: errors are thrown, never answered with yes. Tokens are kept as digests only.
 * Source: Kubernetes authentication.k8s.io/v1 TokenReview, authorization.k8s.io/v1 SubjectAccessReview.
 */
import { createHash } from 'node:crypto';
import { type JsonObject, listOf, objectOf, textOf } from '../../kube/fields.ts';
import type { KubeApi } from './api.ts';
import { KubeApiError } from './api-error.ts';

export interface KubeUser {
  readonly user: string;
  readonly groups: readonly string[];
  readonly uid?: string;
  readonly extra?: { readonly [key: string]: readonly string[] };
}

export interface KubeResource {
  /** API group, '' for core. */
  readonly group: string;
  readonly resource: string;
  readonly subresource?: string;
  /** Absent: all of them. */
  readonly namespace?: string;
  readonly name?: string;
}

/** Nobody could be asked: the API server is down, or too much was asked. The answer to a caller is 503, never yes. */
export class KubeAccessError extends Error {
  override readonly name = 'KubeAccessError';
}

export interface KubeAccessOptions {
  readonly allowMs?: number;
  readonly denyMs?: number;
  /** Answers that are kept. */
  readonly size?: number;
  readonly inFlight?: number;
  readonly waiting?: number;
  /** Reviews of tokens that were not known to be good: so many at once, and so many a second. */
  readonly burst?: number;
  readonly perSecond?: number;
  readonly timeoutMs?: number;
  /** Milliseconds, monotonic. */
  readonly now?: () => number;
}

const MAX_TOKEN_LENGTH = 16 * 1024;
const MAX_GROUPS = 10_000;

interface Kept<T> {
  readonly value: T;
  readonly untilMs: number;
}

/** Answers by key, those used last last; at most so many. */
class Answers<T> {
  readonly #kept = new Map<string, Kept<T>>();
  readonly #size: number;

  constructor(size: number) {
    this.#size = size;
  }

  get(key: string): Kept<T> | undefined {
    const kept = this.#kept.get(key);
    if (kept === undefined) return undefined;
    this.#kept.delete(key);
    this.#kept.set(key, kept);
    return kept;
  }

  put(key: string, kept: Kept<T>): void {
    this.#kept.delete(key);
    this.#kept.set(key, kept);
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= this.#size) break;
      this.#kept.delete(oldest);
    }
  }

  delete(key: string): void {
    this.#kept.delete(key);
  }
}

export class KubeAccess {
  readonly #api: KubeApi;
  readonly #now: () => number;
  readonly #options: Required<Omit<KubeAccessOptions, 'now'>>;
  /** Good and bad ones apart: ten thousand bad tokens push no good one out. */
  readonly #users: Answers<KubeUser>;
  readonly #strangers: Answers<undefined>;
  readonly #verdicts: Answers<boolean>;
  readonly #underWay = new Map<string, Promise<unknown>>();
  readonly #queue: (() => void)[] = [];
  #busy = 0;
  #allowance: number;
  #allowanceMs: number;
  /** Requests that were sent. */
  reviews = 0;

  constructor(api: KubeApi, options: KubeAccessOptions = {}) {
    this.#api = api;
    this.#now = options.now ?? (() => performance.now());
    this.#options = {
      allowMs: 60_000,
      denyMs: 5000,
      size: 4096,
      inFlight: 4,
      waiting: 64,
      burst: 8,
      perSecond: 4,
      timeoutMs: 10_000,
      ...options,
    };
    this.#users = new Answers(this.#options.size);
    this.#strangers = new Answers(this.#options.size);
    this.#verdicts = new Answers(this.#options.size);
    this.#allowance = this.#options.burst;
    this.#allowanceMs = this.#now();
  }

  /**
   * @param audiences the token must be meant for one of these; none given: for the API server itself
   * @returns `undefined`: the token is nobody's
   * @throws {KubeAccessError}
   */
  async review(token: string, audiences: readonly string[] = []): Promise<KubeUser | undefined> {
    if (token === '' || token.length > MAX_TOKEN_LENGTH || !/^[\x21-\x7e]+$/.test(token)) return undefined;
    const key = digestOf([token, audiences]);
    const user = this.#users.get(key);
    if (user !== undefined && this.#now() < user.untilMs) return user.value;
    const stranger = this.#strangers.get(key);
    if (stranger !== undefined && this.#now() < stranger.untilMs) return undefined;
    return this.#once(`token ${key}`, async () => {
      // One that was good is likely to be good still, and asks once a minute at most.
      if (user === undefined) this.#take();
      const found = await this.#reviewToken(token, audiences);
      if (found === undefined) {
        this.#users.delete(key);
        this.#strangers.put(key, { value: undefined, untilMs: this.#now() + this.#options.denyMs });
      } else this.#users.put(key, { value: found, untilMs: this.#now() + this.#options.allowMs });
      return found;
    });
  }

  /**
   * May they? The contract of the API server's own authorisation: RBAC and whatever else it asks.
   *
   * @throws {KubeAccessError}
   */
  async allowed(user: KubeUser, verb: string, resource: KubeResource): Promise<boolean> {
    const key = digestOf([user, verb, resource]);
    const known = this.#verdicts.get(key);
    if (known !== undefined && this.#now() < known.untilMs) return known.value;
    return this.#once(`access ${key}`, async () => {
      const may = await this.#reviewAccess(user, verb, resource);
      this.#verdicts.put(key, { value: may, untilMs: this.#now() + (may ? this.#options.allowMs : this.#options.denyMs) });
      return may;
    });
  }

  /** Takes one from the allowance. */
  #take(): void {
    const { burst, perSecond } = this.#options;
    const nowMs = this.#now();
    this.#allowance = Math.min(burst, this.#allowance + ((nowMs - this.#allowanceMs) / 1000) * perSecond);
    this.#allowanceMs = nowMs;
    if (this.#allowance < 1)
      throw new KubeAccessError(`Cannot review the token: at most ${perSecond} unknown tokens a second are reviewed, there are more`);
    this.#allowance--;
  }

  /** Who asks the same at the same time waits for the same answer. */
  #once<T>(key: string, ask: () => Promise<T>): Promise<T> {
    const running = this.#underWay.get(key);
    if (running !== undefined) return running as Promise<T>;
    const promise = ask().finally(() => this.#underWay.delete(key));
    this.#underWay.set(key, promise);
    return promise;
  }

  async #post(path: string, body: JsonObject): Promise<JsonObject> {
    const { inFlight, waiting, timeoutMs } = this.#options;
    if (this.#busy >= inFlight) {
      if (this.#queue.length >= waiting)
        throw new KubeAccessError(`Cannot ask the API server: at most ${waiting} reviews wait for others, there are more`);
      await new Promise<void>((resolve) => this.#queue.push(resolve));
    } else this.#busy++;
    try {
      this.reviews++;
      return objectOf(objectOf(await this.#api.post(path, body, AbortSignal.timeout(timeoutMs))).status);
    } catch (error) {
      if (!(error instanceof KubeApiError)) throw error;
      throw new KubeAccessError(error.message);
    } finally {
      const next = this.#queue.shift();
      if (next === undefined) this.#busy--;
      else next();
    }
  }

  async #reviewToken(token: string, audiences: readonly string[]): Promise<KubeUser | undefined> {
    const status = await this.#post('/apis/authentication.k8s.io/v1/tokenreviews', {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenReview',
      spec: { token, ...(audiences.length === 0 ? {} : { audiences }) },
    });
    if (status.authenticated !== true) return undefined;
    // An authenticator that knows nothing of audiences answers without any: then the token may be meant for anybody.
    const meant = listOf(status.audiences, MAX_GROUPS);
    if (audiences.length > 0 && !audiences.some((audience) => meant.includes(audience))) return undefined;
    const given = objectOf(status.user);
    const user = textOf(given.username);
    if (user === undefined || user === '') return undefined;
    const uid = textOf(given.uid);
    const extra = Object.entries(objectOf(given.extra)).map(([key, values]) => [key, texts(values)] as const);
    return {
      user,
      groups: texts(given.groups),
      ...(uid === undefined ? {} : { uid }),
      ...(extra.length === 0 ? {} : { extra: Object.fromEntries(extra) }),
    };
  }

  async #reviewAccess({ user, groups, uid, extra }: KubeUser, verb: string, resource: KubeResource): Promise<boolean> {
    const status = await this.#post('/apis/authorization.k8s.io/v1/subjectaccessreviews', {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SubjectAccessReview',
      spec: {
        user,
        groups,
        ...(uid === undefined ? {} : { uid }),
        ...(extra === undefined ? {} : { extra }),
        resourceAttributes: { verb, ...resource },
      },
    });
    return status.allowed === true && status.denied !== true;
  }
}

function texts(values: unknown): string[] {
  return listOf(values, MAX_GROUPS).flatMap((value) => textOf(value) ?? []);
}

/** What an answer is kept by: no token is. */
function digestOf(asked: readonly unknown[]): string {
  return createHash('sha256').update(JSON.stringify(asked)).digest('base64');
}
