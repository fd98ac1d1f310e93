/** Sockets that the stream listens on: Unix sockets with their mode, TCP with or without TLS. What may be listened on at all is decided here. */
import { constants } from 'node:crypto';
import { chmodSync, existsSync, lstatSync, unlinkSync } from 'node:fs';
import { createServer as createHttpServer, type Server, type ServerOptions } from 'node:http';
import { createServer as createHttpsServer, type Server as HttpsServer } from 'node:https';
import { connect } from 'node:net';
import type { TlsFiles } from './tls-files.ts';

/** A Unix socket, or a TCP address; no host: every address. */
export type ListenAddress = { readonly path: string } | { readonly host?: string; readonly port: number };

/** Whoever may open it may observe: the owner and the group. */
export const SOCKET_MODE = 0o660;

export function addressText(address: ListenAddress): string {
  if ('path' in address) return `unix:${address.path}`;
  const { host = '', port } = address;
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

export function isLoopback(host: string | undefined): boolean {
  return host !== undefined && /^(127\.\d+\.\d+\.\d+|::1|::ffff:127\.\d+\.\d+\.\d+|localhost)$/i.test(host);
}

/** @throws {TypeError} when the address may be reached by strangers and they could not be told apart, or could be listened to */
export function checkAddress(address: ListenAddress, { encrypted, authenticated }: { encrypted: boolean; authenticated: boolean }): void {
  if ('path' in address || isLoopback(address.host)) return;
  const missing = [
    ...(encrypted ? [] : ['a TLS certificate and key']),
    ...(authenticated ? [] : ['an authenticator (tokens, client CA or Kubernetes)']),
  ];
  if (missing.length > 0)
    throw new TypeError(
      `Cannot listen on "${addressText(address)}": an address that other machines reach needs TLS and authentication, ${missing.join(' and ')} ${missing.length > 1 ? 'are' : 'is'} missing`,
    );
}

export interface HandshakeLimits {
  readonly handshakeMs: number;
}

const HEADER_BYTES = 16 * 1024;

/** An HTTP server that is strict about time and size; with TLS when files are given. */
export function createListener(tls: TlsFiles | undefined, { handshakeMs }: HandshakeLimits): Server | HttpsServer {
  const options: ServerOptions = {
    maxHeaderSize: HEADER_BYTES,
    headersTimeout: handshakeMs,
    requestTimeout: handshakeMs,
    connectionsCheckingInterval: Math.min(250, handshakeMs),
    keepAlive: false,
    requireHostHeader: true,
    insecureHTTPParser: false,
  };
  const server =
    tls === undefined
      ? createHttpServer(options)
      : createHttpsServer({
          ...options,
          ...tls.options,
          handshakeTimeout: handshakeMs,
          requestCert: tls.takesClientCertificates,
          // Who brings none may bring a token: what it is worth is decided for each request.
          rejectUnauthorized: false,
          // A resumed session would be good beyond a change of the client CA.
          secureOptions: constants.SSL_OP_NO_TICKET,
          ALPNProtocols: ['http/1.1'],
        });
  // Bounded in bytes: headers beyond a count would be dropped without a word, an Origin among them.
  server.maxHeadersCount = 0;
  return server;
}

/** @throws {Error} that names the address and what the system says */
export async function listenOn(server: Server, address: ListenAddress): Promise<void> {
  if ('path' in address) await removeStale(address.path);
  await new Promise<void>((resolve, reject) => {
    const fail = (error: Error): void => reject(new Error(`Cannot listen on "${addressText(address)}": ${error.message}`));
    server.once('error', fail);
    const done = (): void => {
      server.off('error', fail);
      resolve();
    };
    if (!('path' in address)) {
      server.listen({ port: address.port, ...(address.host === undefined ? {} : { host: address.host }) }, done);
      return;
    }
    // The socket never exists with a wider mode, not even for a moment.
    const before = process.umask(0o777 & ~SOCKET_MODE);
    try {
      server.listen({ path: address.path }, done);
    } finally {
      process.umask(before);
    }
  });
  if ('path' in address) chmodSync(address.path, SOCKET_MODE);
}

/** A socket that nobody listens on any more is in the way. @throws {Error} when somebody does, or something else lies there */
async function removeStale(path: string): Promise<void> {
  if (!existsSync(path)) return;
  if (!lstatSync(path).isSocket())
    throw new Error(`Cannot listen on "unix:${path}": a socket, or nothing, must be there, it is something else`);
  const answers = await new Promise<boolean>((resolve) => {
    const probe = connect({ path });
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => resolve(false));
  });
  if (answers) throw new Error(`Cannot listen on "unix:${path}": another process listens there`);
  unlinkSync(path);
}
