/** What the API server says against a request. */
import { objectOf, textOf } from '../../kube/fields.ts';

/** The API server did not give what was asked for, or could not be asked. */
export class KubeApiError extends Error {
  override readonly name = 'KubeApiError';
  /** Absent: there was no answer that could be read. */
  readonly status?: number;
  /** As the server wishes, milliseconds. */
  readonly retryAfterMs?: number;
  /** Was it a connection of an earlier request that ended before an answer came? */
  onKeptConnection = false;

  constructor(message: string, status?: number, retryAfterMs?: number) {
    super(message);
    if (status !== undefined) this.status = status;
    if (retryAfterMs !== undefined) this.retryAfterMs = retryAfterMs;
  }
}

/** In words: the message of a Status object; of other texts the beginning. */
export function saidBy(body: Buffer): string {
  const text = body.toString('utf8');
  try {
    const { message } = objectOf(JSON.parse(text));
    if (textOf(message) !== undefined) return String(message).slice(0, 400);
  } catch {}
  return text.slice(0, 200);
}
