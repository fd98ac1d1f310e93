/**
 * What follows from the head of an HTTP/1 message: how its body ends, and whom a request asks for what. Source: RFC 9112 sections 3.2 and 6.3.
 */
import type { Http1Head, Http1Request } from './http1.ts';

/** How a message's body ends. `tunnel`: what follows is no HTTP any more. `invalid`: nobody can say where the next message begins. */
export type Http1Body =
  | { readonly kind: 'none' | 'chunked' | 'until-close' | 'tunnel' | 'invalid' }
  | { readonly kind: 'length'; readonly length: number };

const NONE: Http1Body = { kind: 'none' };
const CHUNKED: Http1Body = { kind: 'chunked' };
const UNTIL_CLOSE: Http1Body = { kind: 'until-close' };
const TUNNEL: Http1Body = { kind: 'tunnel' };
const INVALID: Http1Body = { kind: 'invalid' };

/**
 * How the body after a head ends.
 *
 * @param requestMethod of a response: the method of the request it answers, `undefined` when that is unknown (the answer then is the one for GET)
 *
 * Source: RFC 9112 section 6.3; CONNECT: RFC 9110 section 9.3.6. A CONNECT request is a `tunnel` until its response says otherwise.
 */
export function http1Body(head: Http1Head, requestMethod?: string): Http1Body {
  if (head.cut) return INVALID;
  if (head.kind === 'response') {
    if (head.status === 101) return TUNNEL;
    if (requestMethod === 'HEAD' || head.status < 200 || head.status === 204 || head.status === 304) return NONE;
    if (requestMethod === 'CONNECT' && head.status < 300) return TUNNEL;
  } else if (head.method === 'CONNECT') return TUNNEL;
  if (head.transferCoding === 'chunked') return CHUNKED;
  if (head.transferCoding === 'other') return head.kind === 'response' ? UNTIL_CLOSE : INVALID;
  if (Number.isNaN(head.contentLength)) return INVALID;
  if (head.contentLength === 0) return NONE;
  if (head.contentLength > 0) return { kind: 'length', length: head.contentLength };
  return head.kind === 'response' ? UNTIL_CLOSE : NONE;
}

const ABSOLUTE = /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)(.*)$/i;

/**
 * Whom a request asks and for what: the authority of the target when it has one, else of Host (RFC 9112 section 3.2.2); `path` with its query.
 * `undefined` is unknown or, for the path of CONNECT, none.
 */
export function requestTarget(head: Http1Request): { authority: string | undefined; path: string | undefined } {
  const { host, target } = head;
  if (target === undefined || target.startsWith('/') || target === '*') return { authority: host, path: target };
  if (head.method === 'CONNECT') return { authority: target, path: undefined };
  const absolute = ABSOLUTE.exec(target);
  if (absolute === null) return { authority: host, path: target };
  const rest = absolute[2]!;
  return { authority: absolute[1]!, path: rest.startsWith('/') ? rest : `/${rest}` };
}
