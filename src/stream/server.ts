/**
 * The daemon's door: WebSocket and GET routes on Unix sockets and TCP, who comes in, and for how long.
 *
 * Every request passes the same way: shape (method, Host, Origin), who it is (401), what they may (403), how many there are (429, 503). Only then a WebSocket is opened or a route asked.
 * What goes on longer is asked about again every {@link StreamServerOptions.recheckMs}.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import { WebSocketServer } from 'ws';
import type { AnyRecord, TotalRecord } from '../record/record.ts';
import {
  type Authenticator,
  Authenticators,
  type ClientCertificate,
  type Credentials,
  isRefusal,
  type Principal,
  type Refusal,
  type Transport,
  type Verb,
} from './authenticator.ts';
import { Gate, type GateLimits } from './gate.ts';
import { Hub, type HubOptions, type HubState } from './hub.ts';
import { addressText, checkAddress, createListener, isLoopback, type ListenAddress, listenOn } from './listener.ts';
import { LocalAuthenticator, type LocalTrust } from './local-authenticator.ts';
import { bounds, closeCodes, type Form, subprotocols } from './protocol.ts';
import { QueuePool } from './queue-pool.ts';
import { bearerToken, type Fault, type RequestRules, requestFault } from './request-check.ts';
import { answer, errorBody, makeRoute, type Route, RouteError, type RouteHandler } from './route.ts';
import { Session } from './session.ts';
import type { Subscriber } from './subscriber.ts';
import { type TlsFileNames, TlsFiles } from './tls-files.ts';

/** What the log of the daemon offers: a constant sentence, and what varies as fields. */
export interface StreamLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface StreamServerOptions extends HubOptions {
  /** Asked in this order; none: only local connections, as `trust` has it. */
  readonly authenticators?: readonly Authenticator[];
  /** Whether a connection is enough. Unix sockets: yes unless said otherwise; loopback: only where there is no authenticator. */
  readonly trust?: Partial<LocalTrust>;
  /** For every TCP address. */
  readonly tls?: TlsFileNames;
  readonly origins?: readonly string[];
  /** Names that a Host header may have beside localhost and addresses. */
  readonly hosts?: readonly string[];
  readonly limits?: Partial<GateLimits>;
  /** Bytes that may wait for one subscriber; 4 MiB. */
  readonly queueBytes?: number;
  /** Bytes beyond that which may wait for all subscribers together; 32 MiB. */
  readonly sharedQueueBytes?: number;
  /** How long one may take nothing; 10 s. */
  readonly stallMs?: number;
  /** From connecting to being let in; 5 s. */
  readonly handshakeMs?: number;
  /** From hello to subscribe; 10 s. */
  readonly subscribeMs?: number;
  readonly pingMs?: number;
  /** How often it is asked again whether somebody may; 30 s. */
  readonly recheckMs?: number;
  readonly log?: StreamLog;
}

/** Something that goes on: a stream, or the answer of a route. */
interface Lasting {
  readonly principal: Principal;
  readonly verb: Verb;
  checkedAt: number;
  checking: boolean;
  end(code: number, reason: string, text: string): void;
}

interface Admitted {
  readonly principal: Principal;
  readonly leave: () => void;
}

interface Rejection {
  readonly status: number;
  readonly reason: string;
  readonly message: string;
  readonly wanted?: { readonly [key: string]: string };
  readonly retryAfter?: number;
}

export interface StreamServerState extends HubState {
  readonly connections: number;
  readonly unauthenticated: number;
  /** Requests that were turned away, by reason. */
  readonly rejected: { readonly [reason: string]: number };
  /** Streams that ended, by reason. */
  readonly ended: { readonly [reason: string]: number };
}

const defaults = {
  queueBytes: 4 * 1024 * 1024,
  sharedQueueBytes: 32 * 1024 * 1024,
  stallMs: 10_000,
  handshakeMs: 5000,
  subscribeMs: 10_000,
  pingMs: 15_000,
  recheckMs: 30_000,
};
const defaultLimits: GateLimits = { unauthenticated: 64, connections: 256, perUser: 16 };
const STREAM_PATH = '/v1/stream';
/** How long everybody has to take the last words when the daemon ends. */
const CLOSE_MS = 3000;

const statusTexts: { readonly [status: number]: string } = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  408: 'Request Timeout',
  426: 'Upgrade Required',
  429: 'Too Many Requests',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
};

export class StreamServer {
  readonly hub: Hub;
  readonly #options: StreamServerOptions & typeof defaults;
  readonly #auth: Authenticators;
  readonly #rules: RequestRules;
  readonly #gate: Gate;
  readonly #tls: TlsFiles | undefined;
  readonly #routes: Route[] = [];
  readonly #servers: { server: Server; address: ListenAddress; encrypted: boolean }[] = [];
  readonly #sockets = new Set<Socket>();
  readonly #lasting = new Set<Lasting>();
  readonly #sessions = new Set<Session>();
  readonly #handshakes = new Map<ConnectionKey, NodeJS.Timeout>();
  readonly #rejected = new Map<string, number>();
  readonly #ended = new Map<string, number>();
  readonly #ws = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: bounds.message,
    maxFragments: 16,
    maxBufferedChunks: 64,
    autoPong: false,
    handleProtocols: (offered) => Object.values(subprotocols).find((name) => offered.has(name)) ?? false,
  });
  #timer: NodeJS.Timeout | undefined;
  readonly #pool: QueuePool;
  #nextId = 1;
  #closing = false;
  #tlsProblem: string | undefined;

  /** @throws {Error} when the TLS files cannot be used */
  constructor(options: StreamServerOptions) {
    this.#options = { ...defaults, ...options };
    const authenticators = options.authenticators ?? [];
    const trust = { unix: options.trust?.unix ?? true, loopback: options.trust?.loopback ?? authenticators.length === 0 };
    this.#auth = new Authenticators(trust.unix || trust.loopback ? [...authenticators, new LocalAuthenticator(trust)] : authenticators);
    this.#rules = {
      origins: new Set(options.origins ?? []),
      hosts: new Set((options.hosts ?? []).map((name) => name.toLowerCase())),
    };
    this.#gate = new Gate({ ...defaultLimits, ...options.limits });
    this.#tls = options.tls === undefined ? undefined : new TlsFiles(options.tls);
    this.#pool = new QueuePool(this.#options.sharedQueueBytes);
    this.hub = new Hub(options);
  }

  /** Gives records to everybody who wants them, and keeps them. Records are not changed afterwards. */
  publish(records: readonly AnyRecord[]): void {
    this.hub.publish(records);
  }

  /**
   * Serves a further path. Of two that match, the first counts.
   *
   * @param pattern `/v1/pods/{namespace}/{name}/evidence`; a last `{path...}` takes the rest
   * @throws {TypeError} for a pattern that is none
   */
  handle(_method: 'GET', pattern: string, verb: Verb, handler: RouteHandler): void {
    this.#routes.push(makeRoute(pattern, verb, handler));
  }

  /**
   * Begins to listen on all of them, or on none.
   *
   * @throws {TypeError} for an address that strangers reach without TLS and authentication; {Error} when the system refuses
   */
  async listen(addresses: readonly ListenAddress[]): Promise<void> {
    const authenticated = (this.#options.authenticators ?? []).length > 0;
    for (const address of addresses) checkAddress(address, { encrypted: this.#tls !== undefined, authenticated });
    try {
      for (const address of addresses) {
        const tls = 'path' in address ? undefined : this.#tls;
        const server = createListener(tls, this.#options);
        this.#serve(server, address, tls !== undefined);
        await listenOn(server, address);
        this.#servers.push({ server, address, encrypted: tls !== undefined });
      }
    } catch (error) {
      for (const { server } of this.#servers.splice(0)) server.close();
      throw error;
    }
    this.#timer = setInterval(() => this.#sweep(), 1000);
    this.#timer.unref();
  }

  /** Where it listens, ports that the system chose included. */
  get addresses(): readonly ListenAddress[] {
    return this.#servers.map(({ server, address }) => {
      if ('path' in address) return address;
      const { port } = server.address() as AddressInfo;
      return { ...address, port };
    });
  }

  get state(): StreamServerState {
    return {
      ...this.hub.state(),
      connections: this.#gate.connections,
      unauthenticated: this.#gate.unauthenticated,
      rejected: Object.fromEntries(this.#rejected),
      ended: Object.fromEntries(this.#ended),
    };
  }

  /** For the status of the daemon. */
  *subscribers(): Generator<Subscriber> {
    yield* this.hub.subscribers();
  }

  #serve(server: Server, address: ListenAddress, encrypted: boolean): void {
    server.on('connection', (socket) => this.#arrive(socket, encrypted));
    server.on('request', (request, response) => {
      this.#request(request, response).catch((error: unknown) => {
        this.#options.log?.warn({ error: String(error), path: pathOf(request) }, 'a request failed');
        response.destroy();
      });
    });
    server.on('upgrade', (request, socket, head) => {
      socket.on('error', () => {});
      this.#upgrade(request, socket, head).catch((error: unknown) => {
        this.#options.log?.warn({ error: String(error), path: pathOf(request) }, 'a request failed');
        socket.destroy();
      });
    });
    server.on('clientError', (error: NodeJS.ErrnoException, socket) => this.#clientError(error, socket));
    server.on('tlsClientError', (_error, socket) => {
      this.#count(this.#rejected, 'tls');
      socket.destroy();
    });
    server.on('error', (error) => this.#options.log?.warn({ error: error.message, address: addressText(address) }, 'a listener failed'));
  }

  #arrive(socket: Socket, encrypted: boolean): void {
    const key = connectionKey(socket, encrypted);
    this.#sockets.add(socket);
    // Beyond the times of HTTP: from the first byte of TLS to having been let in.
    const timer = setTimeout(() => {
      this.#count(this.#rejected, 'handshake-time');
      socket.destroy();
    }, this.#options.handshakeMs + 1000);
    this.#handshakes.set(key, timer);
    socket.on('close', () => {
      this.#sockets.delete(socket);
      this.#known(key);
    });
    socket.on('error', () => {});
    const turnAway = (): void => {
      this.#count(this.#rejected, 'too-many-waiting');
      if (encrypted) socket.destroy();
      else
        endRaw(socket, {
          status: 503,
          reason: 'too-many-waiting',
          message: 'Cannot wait for you any longer: too many connections have not said who they are',
          retryAfter: 1,
        });
    };
    this.#gate.arrive(key, turnAway);
  }

  /** It has gone, has been answered, or let in: it does not count as waiting any more. */
  #known(key: ConnectionKey): void {
    this.#gate.leave(key);
    clearTimeout(this.#handshakes.get(key));
    this.#handshakes.delete(key);
  }

  #clientError(error: NodeJS.ErrnoException, socket: Duplex): void {
    const late = error.code === 'ERR_HTTP_REQUEST_TIMEOUT';
    const large = error.code === 'HPE_HEADER_OVERFLOW';
    const reason = late ? 'slow-request' : large ? 'large-header' : 'no-http';
    this.#count(this.#rejected, reason);
    if (error.code === 'ECONNRESET' || !socket.writable) {
      socket.destroy();
      return;
    }
    const message = late
      ? `Cannot wait longer: a whole request is wanted within ${this.#options.handshakeMs} ms`
      : large
        ? 'Cannot read the request: at most 16 KiB of header are wanted'
        : 'Cannot read the request: HTTP/1.1 is wanted';
    endRaw(socket, { status: late ? 408 : large ? 431 : 400, reason, message });
  }

  async #request(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = pathOf(request);
    const found = this.#find(path);
    const fault =
      this.#fault(request) ??
      (request.method !== 'GET'
        ? { status: 405 as const, reason: 'method', message: 'Cannot take this method: GET is wanted' }
        : path === STREAM_PATH
          ? {
              status: 426 as const,
              reason: 'no-upgrade',
              message: 'Cannot serve the stream over plain HTTP: an upgrade to WebSocket is wanted',
            }
          : found === undefined
            ? { status: 404 as const, reason: 'no-path', message: 'Cannot find this path: /v1/stream or one of the others is wanted' }
            : undefined);
    if (fault !== undefined) {
      this.#reject(response, fault);
      return;
    }
    const { route, params } = found!;
    const admitted = await this.#admit(request, route.verb, path);
    if (!('principal' in admitted)) {
      this.#reject(response, admitted);
      return;
    }
    await this.#answer(request, response, admitted, route, params);
  }

  async #answer(
    request: IncomingMessage,
    response: ServerResponse,
    { principal, leave }: Admitted,
    route: Route,
    params: { readonly [name: string]: string },
  ): Promise<void> {
    this.#known(keyOf(request.socket));
    const abort = new AbortController();
    const lasting: Lasting = {
      principal,
      verb: route.verb,
      checkedAt: this.hub.clock(),
      checking: false,
      end: () => {
        abort.abort();
        response.destroy();
      },
    };
    this.#lasting.add(lasting);
    response.on('close', () => abort.abort());
    const query = new URLSearchParams(request.url?.split('?', 2)[1] ?? '');
    try {
      const given = await route.handler({ params, query, principal, signal: abort.signal });
      await answer(response, given, abort.signal, this.#options.stallMs * 3);
    } catch (error) {
      if (abort.signal.aborted || response.headersSent) response.destroy();
      else {
        const known = error instanceof RouteError;
        if (!known) this.#options.log?.warn({ error: String(error), path: pathOf(request) }, 'a route failed');
        const message = known ? error.message : 'Cannot answer: something went wrong here, the log of the daemon says what';
        const body = errorBody(known ? 'refused' : 'failed', message);
        await answer(response, { status: known ? error.status : 500, type: 'application/json', body }, abort.signal, this.#options.stallMs);
      }
    } finally {
      this.#lasting.delete(lasting);
      leave();
    }
  }

  #find(path: string): { route: Route; params: { [name: string]: string } } | undefined {
    for (const route of this.#routes) {
      const params = route.match(path);
      if (params !== undefined) return { route, params };
    }
    return undefined;
  }

  async #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const path = pathOf(request);
    const fault =
      this.#fault(request) ??
      (path !== STREAM_PATH
        ? { status: 404 as const, reason: 'no-path', message: `Cannot open a WebSocket on this path: ${STREAM_PATH} is wanted` }
        : upgradeFault(request));
    if (fault !== undefined) {
      this.#rejectRaw(socket, fault);
      return;
    }
    const admitted = await this.#admit(request, 'observe', path);
    if (!('principal' in admitted)) {
      this.#rejectRaw(socket, admitted);
      return;
    }
    if (socket.destroyed) {
      admitted.leave();
      return;
    }
    socket.once('close', admitted.leave);
    this.#known(keyOf(request.socket));
    this.#ws.handleUpgrade(request, socket, head, (websocket) => {
      const form: Form = websocket.protocol === subprotocols.json ? 'json' : 'msgpack';
      const { principal } = admitted;
      const session = new Session(websocket, this.hub, {
        id: `s${this.#nextId++}`,
        node: this.#options.node,
        form,
        principal,
        queueBytes: this.#options.queueBytes,
        pool: this.#pool,
        stallMs: this.#options.stallMs,
        subscribeMs: this.#options.subscribeMs,
        pingMs: this.#options.pingMs,
        onSubscribed: ({ filter, types, last, since, until, follow }) =>
          this.#options.log?.info(
            { subscriber: session.options.id, principal: principal.name, by: principal.by, filter, types, last, since, until, follow },
            'a subscriber came',
          ),
        onEnd: () => this.#sessionEnded(session, lasting),
      });
      const lasting: Lasting = {
        principal,
        verb: 'observe',
        checkedAt: this.hub.clock(),
        checking: false,
        end: (code, reason, text) => session.end(code, reason, text),
      };
      this.#lasting.add(lasting);
      this.#sessions.add(session);
    });
  }

  #sessionEnded(session: Session, lasting: Lasting): void {
    this.#lasting.delete(lasting);
    this.#sessions.delete(session);
    this.#count(this.#ended, session.endReason);
    const { id, principal } = session.options;
    const { sent, lost } = session.subscriber;
    this.#options.log?.info({ subscriber: id, principal: principal.name, reason: session.endReason, sent, lost }, 'a subscriber left');
  }

  #fault(request: IncomingMessage): Fault | undefined {
    const { socket } = request;
    const encrypted = socket instanceof TLSSocket;
    const fault = requestFault(request, transportOf(socket), encrypted, this.#rules);
    if (fault !== undefined) return fault;
    if (request.headers['transfer-encoding'] !== undefined || Number(request.headers['content-length'] ?? 0) > 0)
      return { status: 400, reason: 'body', message: 'Cannot take a body: a GET without one is wanted' };
    return undefined;
  }

  /** Who it is, whether they may, and whether there is room. */
  async #admit(request: IncomingMessage, verb: Verb, url: string): Promise<Admitted | Rejection> {
    if (this.#closing) return { status: 503, reason: 'closing', message: 'Cannot let you in: the daemon is going down', retryAfter: 5 };
    const { socket } = request;
    const token = bearerToken(request);
    if (token === false)
      return {
        status: 401,
        reason: 'no-bearer',
        message: 'Cannot use the header Authorization: "Bearer TOKEN" is wanted',
        wanted: { scheme: 'Bearer' },
      };
    const clientCertificate = certificateOf(socket);
    const transport = transportOf(socket);
    const credentials: Credentials = {
      transport,
      url,
      ...(token === undefined ? {} : { token }),
      ...(clientCertificate === undefined ? {} : { clientCertificate }),
    };
    const principal = await this.#auth.authenticate(credentials);
    if (isRefusal(principal)) return this.#refusal(principal, socket.remoteAddress ?? 'unix');
    if (principal.expires !== undefined && principal.expires <= Date.now())
      return { status: 401, reason: 'expired', message: `Cannot let "${principal.name}" in: the token or certificate has expired` };
    const allowed = await this.#auth.authorize(principal, verb);
    if (allowed !== true) return this.#refusal(allowed, socket.remoteAddress ?? 'unix');
    // Whoever comes through the Unix socket or loopback is not one user.
    const leave = this.#gate.admit(transport === principal.by ? undefined : `${principal.by} ${principal.name}`);
    if (leave === 'full') return { status: 503, reason: 'full', message: 'Cannot let more in: all connections are taken', retryAfter: 5 };
    if (leave === 'user-full')
      return {
        status: 429,
        reason: 'user-full',
        message: `Cannot let "${principal.name}" in once more: all connections of one user are taken`,
        retryAfter: 5,
      };
    return { principal, leave };
  }

  #refusal({ refused, reason, message, wanted, retryAfter }: Refusal, address: string): Rejection {
    if (refused === 401 && this.#gate.failed(address))
      return {
        status: 429,
        reason: 'too-many-failures',
        message: 'Cannot let you try again now: too many attempts have failed',
        retryAfter: 10,
      };
    return {
      status: refused,
      reason,
      message,
      ...(wanted === undefined ? {} : { wanted }),
      ...(retryAfter === undefined ? {} : { retryAfter }),
    };
  }

  #reject(response: ServerResponse, rejection: Rejection): void {
    this.#count(this.#rejected, rejection.reason);
    this.#options.log?.info({ status: rejection.status, reason: rejection.reason }, 'a request was turned away');
    const { body, headers } = rejectionParts(rejection);
    response.writeHead(rejection.status, headers);
    response.end(body);
  }

  #rejectRaw(socket: Duplex, rejection: Rejection): void {
    this.#count(this.#rejected, rejection.reason);
    this.#options.log?.info({ status: rejection.status, reason: rejection.reason }, 'a request was turned away');
    endRaw(socket, rejection);
  }

  #count(counts: Map<string, number>, reason: string): void {
    counts.set(reason, (counts.get(reason) ?? 0) + 1);
  }

  /** Once a second: certificates, and who may still. */
  #sweep(): void {
    this.#reloadTls();
    const now = this.hub.clock();
    for (const lasting of this.#lasting) {
      const { principal, checking, checkedAt } = lasting;
      if (principal.expires !== undefined && principal.expires <= Date.now())
        lasting.end(closeCodes.unauthenticated, 'expired', 'Cannot go on: the token or certificate has expired');
      else if (!checking && now - checkedAt >= this.#options.recheckMs) void this.#recheck(lasting);
    }
  }

  async #recheck(lasting: Lasting): Promise<void> {
    lasting.checking = true;
    const answered = await this.#auth.authorize(lasting.principal, lasting.verb);
    lasting.checking = false;
    lasting.checkedAt = this.hub.clock();
    if (answered === true) return;
    if (answered.refused === 401) lasting.end(closeCodes.unauthenticated, 'expired', answered.message);
    else lasting.end(closeCodes.forbidden, 'revoked', answered.message);
  }

  #reloadTls(): void {
    const changed = this.#tls?.refresh();
    if (changed !== undefined) {
      for (const { server, encrypted } of this.#servers)
        if (encrypted) (server as unknown as { setSecureContext(options: object): void }).setSecureContext(changed);
      this.#options.log?.info({}, 'certificates were read again');
    }
    const problem = this.#tls?.problem;
    if (problem !== undefined && problem !== this.#tlsProblem) this.#options.log?.warn({ problem }, 'certificates cannot be read again');
    this.#tlsProblem = problem;
  }

  /** Says goodbye to everybody, with the totals; nothing is published afterwards. Takes at most about three seconds. */
  async close(totals?: TotalRecord): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    clearInterval(this.#timer);
    for (const { server } of this.#servers) server.close();
    this.hub.close(totals);
    for (const session of this.#sessions)
      if (!session.subscriber.ended) session.end(closeCodes.goingAway, 'shutdown', 'The daemon goes down');
    const until = this.hub.clock() + CLOSE_MS;
    while (this.#sessions.size > 0 && this.hub.clock() < until) await new Promise((resolve) => setTimeout(resolve, 20));
    for (const lasting of this.#lasting) lasting.end(closeCodes.goingAway, 'shutdown', 'The daemon goes down');
    for (const socket of this.#sockets) socket.destroy();
  }
}

/** A TLS socket and the TCP socket under it have the same peer; Unix sockets have none, and no TLS. */
type ConnectionKey = string | Socket;

function connectionKey(socket: Socket, encrypted: boolean): ConnectionKey {
  return encrypted ? `${socket.remoteAddress} ${socket.remotePort}` : socket;
}

function keyOf(socket: Socket): ConnectionKey {
  return connectionKey(socket, socket instanceof TLSSocket);
}

function transportOf(socket: Socket): Transport {
  if (socket.remoteAddress === undefined) return 'unix';
  return isLoopback(socket.remoteAddress) ? 'loopback' : 'network';
}

function certificateOf(socket: Socket): ClientCertificate | undefined {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined;
  const { subject, subjectaltname, fingerprint256, valid_to } = socket.getPeerCertificate();
  if (fingerprint256 === undefined) return undefined;
  const organizations = subject?.O as string | string[] | undefined;
  const commonName = subject?.CN as string | string[] | undefined;
  return {
    commonName: [commonName ?? ''].flat()[0]!,
    organizations: organizations === undefined ? [] : [organizations].flat(),
    names: subjectaltname === undefined ? [] : subjectaltname.split(', '),
    fingerprint: fingerprint256.replaceAll(':', '').toLowerCase(),
    expires: Date.parse(valid_to),
  };
}

/** The path without its query: nothing else of a URL is ever logged. */
function pathOf(request: IncomingMessage): string {
  return (request.url ?? '').split('?', 1)[0]!;
}

function upgradeFault(request: IncomingMessage): Fault | undefined {
  if (request.method !== 'GET') return { status: 405, reason: 'method', message: 'Cannot take this method: GET is wanted' };
  if (request.headers.upgrade?.toLowerCase() !== 'websocket')
    return { status: 426, reason: 'no-websocket', message: 'Cannot upgrade to this: websocket is wanted' };
  const offered = request.headers['sec-websocket-protocol'];
  const known = Object.values(subprotocols);
  if (offered !== undefined && !offered.split(',').some((name) => known.includes(name.trim())))
    return { status: 400, reason: 'subprotocol', message: `Cannot speak any of the subprotocols offered: ${known.join(' or ')} is wanted` };
  return undefined;
}

function rejectionParts({ status, reason, message, wanted, retryAfter }: Rejection): { body: string; headers: { [name: string]: string } } {
  const body = errorBody(reason, message, wanted);
  return {
    body,
    headers: {
      'content-type': 'application/json',
      'content-length': String(Buffer.byteLength(body)),
      'cache-control': 'no-store',
      connection: 'close',
      ...(status === 401 ? { 'www-authenticate': 'Bearer realm="sidetrace"' } : {}),
      ...(status === 405 ? { allow: 'GET' } : {}),
      ...(status === 426 ? { upgrade: 'websocket' } : {}),
      ...(retryAfter === undefined ? {} : { 'retry-after': String(retryAfter) }),
    },
  };
}

/** Answers on a socket that speaks no HTTP for us any more, and lets it go. */
function endRaw(socket: Duplex, rejection: Rejection): void {
  const { body, headers } = rejectionParts(rejection);
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.end(`HTTP/1.1 ${rejection.status} ${statusTexts[rejection.status] ?? 'Refused'}\r\n${lines.join('')}\r\n${body}`);
  setTimeout(() => socket.destroy(), 1000).unref();
}
