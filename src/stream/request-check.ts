/** What a request must look like before anybody asks who sent it: no page of a stranger, no name of a stranger, no secret in a URL. */
import type { IncomingMessage } from 'node:http';
import { parseIp } from '../net/address.ts';
import type { Transport } from './authenticator.ts';

export interface RequestRules {
  /** Origins of pages that may: `https://host`. None by default: programs send no Origin. */
  readonly origins: ReadonlySet<string>;
  /** Names beside `localhost` and addresses that a Host header may have. */
  readonly hosts: ReadonlySet<string>;
}

export interface Fault {
  readonly status: 400 | 403 | 404 | 405 | 426;
  readonly reason: string;
  readonly message: string;
}

const SECRETS = /^(access_?token|token|authorization|auth|bearer|jwt|id_?token|api_?key|password)$/i;
const BEARER = /^Bearer +([\x21-\x7e]{1,16384})$/i;

/** @returns what is wrong with it; `undefined` when nothing is */
export function requestFault(request: IncomingMessage, transport: Transport, encrypted: boolean, rules: RequestRules): Fault | undefined {
  for (const header of ['host', 'origin', 'authorization', 'sec-websocket-protocol']) {
    const times = countHeader(request, header);
    if (times > 1 && header !== 'sec-websocket-protocol')
      return { status: 400, reason: 'header-twice', message: `Cannot take the header "${header}" ${times} times: one is wanted` };
  }
  const { origin, host } = request.headers;
  if (origin !== undefined && !rules.origins.has(origin))
    return {
      status: 403,
      reason: 'origin',
      message: `Cannot serve a page of the origin ${JSON.stringify(origin.slice(0, 200))}: one of the listed origins is wanted, or none at all`,
    };
  // A browser can be led to a loopback address by a name of its attacker's; not so through TLS, nor to a Unix socket.
  if (transport !== 'unix' && !encrypted && !isOwnHost(host, rules.hosts))
    return {
      status: 403,
      reason: 'host',
      message: `Cannot answer for the host ${JSON.stringify((host ?? '').split('@').at(-1)!.slice(0, 200))}: localhost, an address, or one of the listed names is wanted`,
    };
  const query = request.url?.split('?', 2)[1];
  if (query !== undefined && [...new URLSearchParams(query).keys()].some((key) => SECRETS.test(key)))
    return {
      status: 400,
      reason: 'token-in-url',
      message: 'Cannot take a token from the URL, where logs would keep it: the header "Authorization: Bearer …" is wanted',
    };
  return undefined;
}

/** The bearer token; `undefined` when there is none, and `false` when the header is something else. */
export function bearerToken(request: IncomingMessage): string | undefined | false {
  const { authorization } = request.headers;
  return authorization === undefined ? undefined : (BEARER.exec(authorization)?.[1] ?? false);
}

function isOwnHost(host: string | undefined, names: ReadonlySet<string>): boolean {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]@/\s]+))(?::\d{1,5})?$/.exec(host ?? '');
  if (match === null) return false;
  const name = (match[1] ?? match[2]!).toLowerCase().replace(/\.$/, '');
  return name === 'localhost' || parseIp(name) !== undefined || names.has(name);
}

function countHeader(request: IncomingMessage, name: string): number {
  let times = 0;
  for (let i = 0; i < request.rawHeaders.length; i += 2) if (request.rawHeaders[i]!.toLowerCase() === name) times++;
  return times;
}
