/** Opens the WebSocket to a daemon: Unix socket or TCP, with or without TLS, and says why it cannot be opened. */
import { readFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { connect as connectNet } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { type ClientOptions, WebSocket } from 'ws';
import { escapeText } from '../output/escape.ts';
import { MESSAGE_BYTES_MAX } from './message-reader.ts';
import { type Form, subprotocols } from './protocol.ts';
import { type ServerAddress, serverAddressText } from './server-address.ts';

export interface ClientSocketOptions {
  readonly server: ServerAddress;
  readonly form: Form;
  readonly token?: string;
  /** Read anew for each connection: tokens are renewed. */
  readonly tokenFile?: string;
  /** PEM of who signs the daemon's certificate. */
  readonly ca?: string | Uint8Array;
  /** PEM of our own certificate and its key. */
  readonly cert?: string | Uint8Array;
  readonly key?: string | Uint8Array;
  /** Take any certificate. */
  readonly insecure?: boolean;
  /** The name that the certificate must have, where it is not the host. */
  readonly serverName?: string;
}

export type StreamErrorKind =
  /** Nobody answers. */
  | 'connect'
  /** The certificate is none that we trust. */
  | 'certificate'
  /** Not let in, or not any more: `status` tells. */
  | 'refused'
  /** What was asked for means nothing to the daemon. */
  | 'request'
  /** What the daemon sends is not the protocol. */
  | 'protocol';

/** The message may quote what the daemon says, and is safe to print. */
export class StreamError extends Error {
  override readonly name = 'StreamError';
  readonly kind: StreamErrorKind;
  /** Of HTTP, or the close code. */
  readonly status: number | undefined;
  /** Seconds that the daemon asks to wait. */
  readonly retryAfter: number | undefined;

  constructor(kind: StreamErrorKind, message: string, more: { status?: number; retryAfter?: number; cause?: unknown } = {}) {
    super(escapeText(message), { cause: more.cause });
    this.kind = kind;
    this.status = more.status;
    this.retryAfter = more.retryAfter;
  }
}

const HANDSHAKE_MS = 10_000;
const REFUSAL_BYTES_MAX = 8192;
const TOKEN = /^[\x21-\x7e]{1,16384}$/;

/**
 * Resolves with an open socket that is paused: nothing is lost before somebody listens.
 *
 * @param signal gives up
 * @throws {StreamError}
 */
export function openSocket(options: ClientSocketOptions, signal: AbortSignal): Promise<WebSocket> {
  const { server, form } = options;
  const name = serverAddressText(server);
  const token = tokenOf(options);
  const socket = new WebSocket(urlOf(server), subprotocols[form], { ...connectionOf(options), ...headersOf(token) });
  const giveUp = (): void => socket.terminate();
  signal.addEventListener('abort', giveUp, { once: true });
  return new Promise<WebSocket>((resolve, reject) => {
    socket.once('open', () => {
      socket.pause();
      socket.removeAllListeners('error');
      socket.on('error', () => {});
      resolve(socket);
    });
    socket.once('unexpected-response', (request, response) => {
      readRefusal(response, name).then((error) => {
        request.destroy();
        reject(error);
      }, reject);
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      describeFailure(error, options, name).then(reject, reject);
    });
  }).finally(() => signal.removeEventListener('abort', giveUp));
}

function urlOf(server: ServerAddress): string {
  return `${'socketPath' in server ? 'ws://localhost' : serverAddressText(server)}/v1/stream`;
}

function connectionOf({ server, ca, cert, key, insecure, serverName }: ClientSocketOptions): ClientOptions {
  const general: ClientOptions = {
    handshakeTimeout: HANDSHAKE_MS,
    maxPayload: MESSAGE_BYTES_MAX,
    perMessageDeflate: false,
    followRedirects: false,
    autoPong: false,
  };
  if ('socketPath' in server) return { ...general, createConnection: () => connectNet({ path: server.socketPath }) };
  if (!server.secure) return general;
  return {
    ...general,
    minVersion: 'TLSv1.2',
    rejectUnauthorized: insecure !== true,
    ...(serverName === undefined ? {} : { servername: serverName }),
    ...(ca === undefined ? {} : { ca: Buffer.from(ca) }),
    ...(cert === undefined ? {} : { cert: Buffer.from(cert) }),
    ...(key === undefined ? {} : { key: Buffer.from(key) }),
  };
}

function headersOf(token: string | undefined): ClientOptions {
  return token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } };
}

/** @throws {StreamError} */
function tokenOf({ token, tokenFile }: ClientSocketOptions): string | undefined {
  if (tokenFile === undefined && token === undefined) return undefined;
  let text = token;
  if (tokenFile !== undefined)
    try {
      text = readFileSync(tokenFile, 'utf8').trim();
    } catch (cause) {
      throw new StreamError('refused', `Cannot read the token file "${tokenFile}": ${(cause as Error).message}`, { cause });
    }
  if (!TOKEN.test(text!))
    throw new StreamError(
      'refused',
      `Cannot use the token${tokenFile === undefined ? '' : ` in "${tokenFile}"`}: one line of printable characters is wanted`,
    );
  return text;
}

async function readRefusal(response: IncomingMessage, name: string): Promise<StreamError> {
  const status = response.statusCode ?? 0;
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      length += chunk.length;
      if (length > REFUSAL_BYTES_MAX) break;
    }
  } catch {
    // What came before it broke off is enough.
  }
  const body = Buffer.concat(chunks).toString('utf8');
  const retryAfter = Number(response.headers['retry-after']);
  return new StreamError('refused', `Cannot open the stream of ${name}: ${status} ${messageOf(body)}`.trim(), {
    status,
    ...(Number.isFinite(retryAfter) && retryAfter > 0 ? { retryAfter: Math.min(retryAfter, 600) } : {}),
  });
}

function messageOf(body: string): string {
  try {
    const { message } = JSON.parse(body) as { message?: unknown };
    if (typeof message === 'string') return message.slice(0, 1000);
  } catch {
    // Whoever answered is no daemon of ours.
  }
  return body.slice(0, 200).trim();
}

const CERTIFICATE = /^(ERR_TLS_|CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERR_SSL_.*CERT|HOSTNAME_MISMATCH)/;

async function describeFailure(error: NodeJS.ErrnoException, options: ClientSocketOptions, name: string): Promise<StreamError> {
  const code = error.code ?? '';
  if (!CERTIFICATE.test(code)) return new StreamError('connect', `Cannot connect to ${name}: ${error.message || code}`, { cause: error });
  const fingerprint = await fingerprintOf(options);
  const shown = fingerprint === undefined ? '' : ` (SHA-256 ${fingerprint})`;
  return new StreamError(
    'certificate',
    `Cannot trust the certificate of ${name}${shown}: ${error.message}. Name the CA that signed it, or take it unchecked`,
    { cause: error },
  );
}

/** Of whatever certificate the server shows; `undefined` when it shows none in time. */
function fingerprintOf({ server }: ClientSocketOptions): Promise<string | undefined> {
  if ('socketPath' in server) return Promise.resolve(undefined);
  return new Promise((resolve) => {
    const socket = connectTls({ host: server.host, port: server.port, rejectUnauthorized: false, timeout: 3000 }, () => {
      resolve(socket.getPeerCertificate().fingerprint256);
      socket.destroy();
    });
    const give = (): void => {
      socket.destroy();
      resolve(undefined);
    };
    socket.once('error', give);
    socket.once('timeout', give);
  });
}
