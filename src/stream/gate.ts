/** Counts connections: how many have not said who they are, how many there are in all, how many one user has; and how often strangers have failed of late. */
import type { Socket } from 'node:net';

export interface GateLimits {
  /** Connections that have not been let in yet: so many that have waited for {@link PATIENCE_MS}, four times as many in all. The oldest goes when one more comes. */
  readonly unauthenticated: number;
  readonly connections: number;
  readonly perUser: number;
}

/** Who is in earnest is through by then. */
export const PATIENCE_MS = 250;

/** Failures of one address: so many at once, and so many a second, before the answer is 429. */
const FAILURE_BURST = 20;
const FAILURES_PER_SECOND = 2;
const ADDRESSES_MAX = 1024;

export class Gate {
  readonly #limits: GateLimits;
  /** In the order in which they came. */
  readonly #waiting = new Map<string | Socket, { readonly turnAway: () => void; readonly since: number }>();
  readonly #users = new Map<string, number>();
  readonly #failures = new Map<string, { allowance: number; at: number }>();
  #admitted = 0;

  constructor(limits: GateLimits) {
    this.#limits = limits;
  }

  get unauthenticated(): number {
    return this.#waiting.size;
  }

  get connections(): number {
    return this.#admitted;
  }

  /** Somebody has connected. @param turnAway lets them go when there are too many */
  arrive(key: string | Socket, turnAway: () => void): void {
    const now = performance.now();
    this.#waiting.set(key, { turnAway, since: now });
    const { unauthenticated } = this.#limits;
    if (this.#waiting.size <= unauthenticated) return;
    const [oldest, waiting] = this.#waiting.entries().next().value!;
    // Two hundred who come at the same moment are no attack.
    if (this.#waiting.size <= 4 * unauthenticated && now - waiting.since < PATIENCE_MS) return;
    this.#waiting.delete(oldest);
    waiting.turnAway();
  }

  /** It has gone, or has been answered. */
  leave(key: string | Socket): void {
    this.#waiting.delete(key);
  }

  /** Lets a user in. @param user absent: one of whom nothing is known. @returns how to let them out again, or why there is no room */
  admit(user: string | undefined): (() => void) | 'full' | 'user-full' {
    if (this.#admitted >= this.#limits.connections) return 'full';
    const own = user === undefined ? 0 : (this.#users.get(user) ?? 0);
    if (own >= this.#limits.perUser) return 'user-full';
    this.#admitted++;
    if (user !== undefined) this.#users.set(user, own + 1);
    let inside = true;
    return () => {
      if (!inside) return;
      inside = false;
      this.#admitted--;
      if (user === undefined) return;
      const left = this.#users.get(user)! - 1;
      if (left === 0) this.#users.delete(user);
      else this.#users.set(user, left);
    };
  }

  /** Somebody failed to say who they are. @returns whether they try too often */
  failed(address: string): boolean {
    const now = performance.now();
    const known = this.#failures.get(address) ?? { allowance: FAILURE_BURST, at: now };
    known.allowance = Math.min(FAILURE_BURST, known.allowance + ((now - known.at) / 1000) * FAILURES_PER_SECOND);
    known.at = now;
    if (!this.#failures.has(address) && this.#failures.size >= ADDRESSES_MAX) this.#failures.clear();
    this.#failures.set(address, known);
    if (known.allowance < 1) return true;
    known.allowance--;
    return false;
  }
}
