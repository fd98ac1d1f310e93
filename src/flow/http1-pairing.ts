/**
 * Which request a response of HTTP/1 answers.
 *
 * Responses come in the order of the requests (RFC 9112 section 9.3.2), and each begins with the byte after what the server had sent when its request came, or after the
 * response before it. So a response that begins elsewhere answers a request that was not seen, and is paired with none.
 */
import type { Exchange } from './http.ts';

const MAX_WAITING = 1024;

interface Waiting {
  readonly exchange: Exchange;
  /** Where in the server's stream the response begins at the earliest. */
  responseOffset: number;
}

export class Http1Pairing {
  /** Requests without a final response, oldest first. */
  #waiting: Waiting[] = [];
  /** Older requests than those, whose responses will come first. */
  #forgotten = 0;
  /** Where in the server's stream the response to any request must at least begin. */
  #earliest = 0;

  /** A request came when the server had sent `sent` bytes. */
  ask(exchange: Exchange, sent: number): void {
    if (this.#waiting.length >= MAX_WAITING) {
      this.#waiting.shift()!.exchange.done = true;
      this.#forgotten++;
    }
    this.#waiting.push({ exchange, responseOffset: sent });
  }

  /**
   * A response begins at `offset` of the server's stream. Returns what it answers, if that is known; a final response is the last one. Requests that should have been answered
   * before are given up.
   *
   * @param options `follows`: nothing was lost since the end of the response before. `final`: it is no interim response
   */
  answer(offset: number, options: { readonly follows: boolean; readonly final: boolean }): Exchange | undefined {
    const { follows, final } = options;
    if (this.#forgotten > 0 && follows) {
      if (final) this.#forgotten--;
      return undefined;
    }
    this.#forgotten = 0;
    const earliest = follows ? this.#earliest : offset;
    while (this.#waiting.length > 0 && this.#waiting[0]!.responseOffset < earliest) this.#waiting.shift()!.exchange.done = true;
    const first = this.#waiting[0];
    const asked = first !== undefined && first.responseOffset <= offset ? first.exchange : undefined;
    if (final) this.#answered(offset, asked !== undefined);
    return asked;
  }

  /** The responses to all that wait were missed, or will not come. */
  giveUp(): Exchange[] {
    const given = this.#waiting.map(({ exchange }) => exchange);
    this.#waiting = [];
    return given;
  }

  #answered(offset: number, paired: boolean): void {
    // a request that comes to light only now, and was sent before a response to nobody known, may be the one that was answered
    this.#earliest = paired ? offset : offset + 1;
    if (!paired) return;
    this.#waiting.shift();
    for (const waiting of this.#waiting) waiting.responseOffset = Math.max(waiting.responseOffset, offset);
  }
}
