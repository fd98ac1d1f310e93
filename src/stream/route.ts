/** Further GET routes beside the stream: what others answer, under the same authentication and limits. */
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { Principal, Verb } from './authenticator.ts';

export interface RouteRequest {
  /** What stood in the place of `{name}`, decoded. */
  readonly params: { readonly [name: string]: string };
  readonly query: URLSearchParams;
  readonly principal: Principal;
  /** Ends when the client has gone, or may not any more. */
  readonly signal: AbortSignal;
}

/** Either a body at once, or a stream that is read no faster than the client takes it. */
export type RouteAnswer = {
  /** 200 when absent. */
  readonly status?: number;
  /** Content-Type. */
  readonly type: string;
  readonly headers?: { readonly [name: string]: string };
} & ({ readonly body: string | Uint8Array } | { readonly stream: AsyncIterable<Uint8Array> });

export type RouteHandler = (request: RouteRequest) => RouteAnswer | Promise<RouteAnswer>;

/** What a handler throws for an answer that is none: the message goes to the client. */
export class RouteError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export interface Route {
  readonly verb: Verb;
  readonly handler: RouteHandler;
  /** @returns the parameters when the path is one of this route */
  match(path: string): { [name: string]: string } | undefined;
}

const SEGMENT_MAX = 512;

/**
 * A route for a pattern like `/v1/pods/{namespace}/{name}/evidence`; a last `{path...}` takes everything that is left.
 *
 * @throws {TypeError} for a pattern that is none
 */
export function makeRoute(pattern: string, verb: Verb, handler: RouteHandler): Route {
  const wanted = pattern.split('/');
  if (wanted[0] !== '' || wanted.slice(0, -1).some((part) => part.endsWith('...}')))
    throw new TypeError(`Cannot route "${pattern}": it must begin with /, and only its last part may be {name...}`);
  const rest = wanted.at(-1)!.endsWith('...}') ? wanted.pop()!.slice(1, -4) : undefined;
  const match = (path: string): { [name: string]: string } | undefined => {
    const parts = path.split('/');
    if (rest === undefined ? parts.length !== wanted.length : parts.length <= wanted.length) return undefined;
    const params: { [name: string]: string } = {};
    for (const [i, part] of wanted.entries()) {
      const given = parts[i]!;
      if (!part.startsWith('{')) {
        if (part !== given) return undefined;
        continue;
      }
      const value = decoded(given);
      if (value === undefined || value === '') return undefined;
      params[part.slice(1, -1)] = value;
    }
    if (rest !== undefined) {
      const value = decoded(parts.slice(wanted.length).join('/'));
      if (value === undefined) return undefined;
      params[rest] = value;
    }
    return params;
  };
  return { verb, handler, match };
}

function decoded(text: string): string | undefined {
  if (text.length > SEGMENT_MAX) return undefined;
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

const safe = { 'x-content-type-options': 'nosniff', 'cache-control': 'no-store', connection: 'close' };

const CHUNK_BYTES = 64 * 1024;

/**
 * Sends an answer no faster than the client takes it, and resolves when the system has all of it.
 *
 * @throws {Error} when the client takes nothing for `stallMs`, or has gone
 */
export async function answer(response: ServerResponse, given: RouteAnswer, signal: AbortSignal, stallMs: number): Promise<void> {
  const { status = 200, type, headers } = given;
  const bounded = (): { signal: AbortSignal } => ({ signal: AbortSignal.any([signal, AbortSignal.timeout(stallMs)]) });
  let chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
  if ('body' in given) {
    const body = typeof given.body === 'string' ? Buffer.from(given.body, 'utf8') : given.body;
    response.writeHead(status, { ...headers, ...safe, 'content-type': type, 'content-length': body.length });
    chunks = pieces(body);
  } else {
    response.writeHead(status, { ...headers, ...safe, 'content-type': type });
    response.flushHeaders();
    chunks = given.stream;
  }
  for await (const chunk of chunks) {
    if (signal.aborted) return;
    if (!response.write(chunk)) await once(response, 'drain', bounded());
  }
  const finished = once(response, 'finish', bounded());
  response.end();
  await finished;
}

function* pieces(body: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < body.length; at += CHUNK_BYTES) yield body.subarray(at, at + CHUNK_BYTES);
}

/** A refusal or an error, as JSON that says what is missing. */
export function errorBody(error: string, message: string, wanted?: { readonly [key: string]: string }): string {
  return `${JSON.stringify({ error, message, ...(wanted === undefined ? {} : { wanted }) })}\n`;
}
