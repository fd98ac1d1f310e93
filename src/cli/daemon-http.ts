/** GET requests to a daemon: where it listens, who we are, and answers of bounded length. The stream itself is not asked for here. */
import { readFileSync } from 'node:fs';
import { type IncomingMessage, request as plainRequest } from 'node:http';
import { request as tlsRequest } from 'node:https';
import type { Command } from 'commander';
import { InputError, UsageError } from './failure.ts';

export const DEFAULT_SOCKET = '/run/sidetrace/daemon.sock';

export interface ServerOptions {
  readonly server?: string;
  readonly tokenFile?: string;
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
}

/** Adds the options that say which daemon, and who asks. */
export function addServerOptions(command: Command): Command {
  const heading = 'Which daemon:';
  const add = (flags: string, text: string): void => {
    const option = command.createOption(flags, text);
    option.helpGroup(heading);
    command.addOption(option);
  };
  add('--server <ADDRESS>', `a path or unix:PATH (${DEFAULT_SOCKET}), http://HOST:PORT, https://HOST:PORT`);
  add('--token-file <FILE>', 'a bearer token for it');
  add('--ca-file <FILE>', 'who signs its certificate (PEM)');
  add('--cert-file <FILE>', 'our own certificate (PEM)');
  add('--key-file <FILE>', 'and its key');
  return command;
}

export interface Server {
  /** As people call it. */
  readonly name: string;
  readonly socketPath?: string;
  readonly secure: boolean;
  readonly host: string;
  readonly port: number;
  readonly token?: string;
  readonly ca?: Buffer;
  readonly cert?: Buffer;
  readonly key?: Buffer;
}

/** @throws {UsageError} for an address that is none, {InputError} for a file that cannot be read */
export function parseServer(options: ServerOptions): Server {
  const address = options.server ?? DEFAULT_SOCKET;
  const token = options.tokenFile === undefined ? undefined : file(options.tokenFile, 'a token').toString('utf8').trim();
  if (token !== undefined && !/^[\x21-\x7e]{1,16384}$/.test(token))
    throw new InputError(`Cannot take "${options.tokenFile}" as a token: one line of printable characters is wanted`);
  const about = {
    ...(token === undefined ? {} : { token }),
    ...(options.caFile === undefined ? {} : { ca: file(options.caFile, 'certificates') }),
    ...(options.certFile === undefined ? {} : { cert: file(options.certFile, 'a certificate') }),
    ...(options.keyFile === undefined ? {} : { key: file(options.keyFile, 'a key') }),
  };
  const path = address.startsWith('unix:') ? address.slice(5).replace(/^\/\/(?=\/)/, '') : address.startsWith('/') ? address : undefined;
  if (path !== undefined) return { name: path, socketPath: path, secure: false, host: 'localhost', port: 0, ...about };
  const url = parseUrl(/^https?:\/\//.test(address) ? address : `http://${address}`);
  if (url === undefined || url.port === '' || (url.pathname !== '/' && url.pathname !== ''))
    throw new UsageError(`Cannot ask the daemon at "${address}": a path, unix:PATH, http://HOST:PORT or https://HOST:PORT is wanted`);
  return {
    name: address,
    secure: url.protocol === 'https:',
    host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: Number(url.port),
    ...about,
  };
}

function parseUrl(text: string): URL | undefined {
  try {
    const url = new URL(text);
    // the URL class drops the port that a scheme has by default
    if (url.port === '' && /:\d+\/?$/.test(text)) url.port = String(/:(\d+)\/?$/.exec(text)?.[1]);
    return url;
  } catch {
    return undefined;
  }
}

function file(path: string, wish: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new InputError(
      `Cannot read "${path}": ${wish} is wanted, the system says ${(cause as NodeJS.ErrnoException).code ?? String(cause)}`,
      { cause },
    );
  }
}

const ANSWER_MS = 30_000;
const FAULT_LIMIT = 4096;

/** The answer was no: 401, 403, 404, 503, … */
export class DaemonRefusal extends Error {
  override readonly name = 'DaemonRefusal';
  readonly status: number;
  constructor(message: string, status: number) {
    super(message);
    this.status = status;
  }
}

/**
 * Asks for a path and gives the answer as a stream, once it has begun with 200.
 * @param about.signal ends it; without one an answer has 30 s to begin
 * @throws {DaemonRefusal} with another status; {Error} with the system's code as cause where nobody answers
 */
export function askDaemon(server: Server, path: string, about: { readonly signal?: AbortSignal } = {}): Promise<IncomingMessage> {
  const cannot = (state: string): string => `Cannot ask the daemon at "${server.name}" for "${path}": ${state}`;
  return new Promise((resolve, reject) => {
    const to =
      server.socketPath === undefined
        ? {
            host: server.host,
            port: server.port,
            ...(server.secure ? { ca: server.ca, cert: server.cert, key: server.key } : {}),
          }
        : { socketPath: server.socketPath };
    const asked = (server.secure ? tlsRequest : plainRequest)({
      ...to,
      path,
      method: 'GET',
      agent: false,
      headers: {
        host:
          server.socketPath === undefined ? `${server.host.includes(':') ? `[${server.host}]` : server.host}:${server.port}` : 'localhost',
        ...(server.token === undefined ? {} : { authorization: `Bearer ${server.token}` }),
      },
      ...(about.signal === undefined ? {} : { signal: about.signal }),
    });
    asked.setTimeout(ANSWER_MS, () => asked.destroy(Object.assign(new Error('no answer'), { code: 'ETIMEDOUT', syscall: 'connect' })));
    asked.on('error', (cause: NodeJS.ErrnoException) => {
      reject(Object.assign(new InputError(cannot(`an answer is wanted, the system says ${cause.code ?? cause.message}`), { cause })));
    });
    asked.on('response', (answer) => {
      asked.setTimeout(0);
      if (answer.statusCode === 200) {
        resolve(answer);
        return;
      }
      readAll(answer, FAULT_LIMIT).then(
        (body) => {
          const said = body.toString('utf8').trim();
          reject(
            new DaemonRefusal(
              cannot(`200 is wanted, it answers ${answer.statusCode}${said === '' ? '' : `: ${said.slice(0, 500)}`}`),
              answer.statusCode ?? 0,
            ),
          );
        },
        () => reject(new DaemonRefusal(cannot(`200 is wanted, it answers ${answer.statusCode}`), answer.statusCode ?? 0)),
      );
    });
    asked.end();
  });
}

/** All of an answer. @throws {InputError} when it is longer than `limit`, is cut, or does not end within `ms` */
export async function readAll(answer: IncomingMessage, limit: number, ms = ANSWER_MS): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  const timer = setTimeout(() => answer.destroy(new InputError(`Cannot read the answer: an end within ${ms / 1000} s is wanted`)), ms);
  try {
    for await (const chunk of answer) {
      length += (chunk as Buffer).length;
      if (length > limit) throw new InputError(`Cannot read the answer: at most ${limit} bytes are wanted, there are more`);
      chunks.push(chunk as Buffer);
    }
    if (!answer.complete) throw new InputError(`Cannot read the answer: it was cut after ${length} bytes`);
  } catch (cause) {
    if (cause instanceof InputError) throw cause;
    throw new InputError(`Cannot read the answer: it was cut after ${length} bytes`, { cause });
  } finally {
    clearTimeout(timer);
  }
  return Buffer.concat(chunks);
}
