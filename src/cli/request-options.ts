/** The flags that describe a hypothetical connection and its request: what `explain` and `envoy trace` ask about. */
import type { Command } from 'commander';
import { UsageError } from './failure.ts';

export interface RequestOptions {
  readonly protocol: string;
  readonly uid?: string;
  readonly gid?: string;
  readonly mark?: string;
  readonly method?: string;
  readonly authority?: string;
  readonly path?: string;
  readonly header?: string[];
  readonly http2?: true;
  readonly tcp?: true;
  readonly sni?: string;
  readonly alpn?: string;
}

const HEADING = 'The request:';

export function addRequestOptions(command: Command): Command {
  const add = (flags: string, summary: string): void => {
    command.addOption(command.createOption(flags, summary).helpGroup(HEADING));
  };
  add('--method <METHOD>', 'of an HTTP request (GET)');
  add('--authority <HOST>', 'Host header, or :authority (the destination as given)');
  add('--path <PATH>', 'with its query (/)');
  command.addOption(
    command
      .createOption('--header <NAME: VALUE>', 'a header of the request; may be given several times')
      .argParser((value: string, before: string[] | undefined) => [...(before ?? []), value])
      .helpGroup(HEADING),
  );
  add('--http2', 'HTTP/2 without TLS (h2c, gRPC)');
  add('--tcp', 'bytes that are no HTTP');
  add('--sni <NAME>', 'TLS with this server name');
  add('--alpn <NAME,NAME>', 'TLS with these application protocols');
  return command;
}

/** What the client opens with. `unknown`: the user did not say, and a plain HTTP request is assumed where HTTP is spoken. */
export interface Opening {
  readonly transport: 'raw_buffer' | 'tls';
  readonly http: 'http/1.1' | 'h2c' | 'none' | 'unknown';
  readonly serverName?: string;
  readonly alpn?: readonly string[];
  /** What comes out where this TLS ends; absent where nobody knows. */
  readonly inner?: Opening;
}

export interface AskedRequest {
  readonly method: string;
  readonly authority: string;
  readonly path: string;
  readonly headers: readonly (readonly [string, string])[];
  /** Nobody asked for this request: it stands for any. */
  readonly assumed: boolean;
}

/** @throws {UsageError} for flags that contradict each other, or a header without a colon */
export function parseOpening(options: RequestOptions): Opening {
  const http =
    options.method !== undefined ||
    options.path !== undefined ||
    options.authority !== undefined ||
    options.header !== undefined ||
    options.http2 === true;
  const tls = options.sni !== undefined || options.alpn !== undefined;
  if (options.tcp && http)
    throw new UsageError('Cannot ask about bytes that are no HTTP and about a request: give --tcp, or the request, not both');
  if (options.tcp && tls) throw new UsageError('Cannot ask about plain bytes and about TLS: give --tcp, or --sni and --alpn, not both');
  if (tls)
    return {
      transport: 'tls',
      http: 'none',
      serverName: options.sni ?? '',
      alpn: options.alpn === undefined ? [] : options.alpn.split(',').map((name) => name.trim()),
    };
  return { transport: 'raw_buffer', http: options.tcp ? 'none' : options.http2 ? 'h2c' : http ? 'http/1.1' : 'unknown' };
}

/** @param host what the user called the destination, with its port */
export function parseRequest(options: RequestOptions, host: string): AskedRequest {
  const headers = (options.header ?? []).map((text): readonly [string, string] => {
    const colon = text.indexOf(':', 1);
    if (colon === -1) throw new UsageError(`Cannot take "${text}" for a header: NAME: VALUE is wanted, it has no colon`);
    return [text.slice(0, colon).trim().toLowerCase(), text.slice(colon + 1).trim()];
  });
  const path = options.path ?? '/';
  if (!path.startsWith('/') && path !== '*') throw new UsageError(`Cannot ask for the path "${path}": it must begin with "/"`);
  return {
    method: (options.method ?? 'GET').toUpperCase(),
    authority: options.authority ?? host,
    path,
    headers,
    assumed: options.method === undefined && options.path === undefined && options.authority === undefined && options.header === undefined,
  };
}
