/** A small API server that speaks real HTTP on loopback: lists in pages, watches, reviews, and every way to fail that a test asks for. */
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { KubeCluster } from '../../../src/daemon/kube/kubeconfig.ts';

export interface SmallObject {
  readonly metadata: { readonly namespace: string; readonly name: string; readonly [field: string]: unknown };
  readonly [field: string]: unknown;
}

interface Change {
  readonly version: number;
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly path: string;
  readonly object: SmallObject;
}

/** Answers in its own way; false: as usual. */
export type Fault = (request: IncomingMessage, response: ServerResponse, url: URL) => boolean;

const paths: { readonly [path: string]: string } = {
  '/api/v1/pods': 'PodList',
  '/api/v1/services': 'ServiceList',
  '/apis/discovery.k8s.io/v1/endpointslices': 'EndpointSliceList',
};

export class SmallApiServer {
  /** Asked first, if any. */
  fault: Fault | undefined;
  /** Tokens that are taken; none: anybody is. */
  readonly tokens = new Set<string>();
  readonly requests: { method: string; path: string; query: URLSearchParams; authorization: string | undefined }[] = [];
  readonly bodies: unknown[] = [];
  /** What a review answers. */
  review: (path: string, body: { spec: { [field: string]: unknown } }) => unknown = () => ({});
  #version = 1;
  /** Versions before this one are forgotten. */
  #oldest = 0;
  readonly #objects = new Map<string, Map<string, SmallObject>>();
  readonly #changes: Change[] = [];
  readonly #watchers = new Set<{ path: string; response: ServerResponse }>();
  readonly #sockets = new Set<Socket>();
  #server: ReturnType<typeof createServer> | undefined;
  #port = 0;
  readonly #tls: { cert: string; key: string } | undefined;

  constructor(tls?: { cert: string; key: string }) {
    this.#tls = tls;
  }

  async start(): Promise<void> {
    const listener: RequestListener = (request, response) => this.#answer(request, response);
    const server = this.#tls === undefined ? createServer(listener) : createTlsServer(this.#tls, listener);
    this.#server = server as ReturnType<typeof createServer>;
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => this.#sockets.delete(socket));
    });
    await new Promise<void>((resolve) => server.listen(this.#port, '127.0.0.1', resolve));
    this.#port = (server.address() as AddressInfo).port;
  }

  /** As if it were killed; it may be started again, on the same port. */
  async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.#server?.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    this.#watchers.clear();
    await closed;
  }

  get openSockets(): number {
    return this.#sockets.size;
  }

  cluster(more: Partial<KubeCluster> = {}): KubeCluster {
    const scheme = this.#tls === undefined ? 'http' : 'https';
    return { name: 'a test', server: `${scheme}://127.0.0.1:${this.#port}`, insecure: false, ...more };
  }

  put(path: string, object: SmallObject): void {
    const all = this.#of(path);
    const key = `${object.metadata.namespace}/${object.metadata.name}`;
    this.#change(path, all.has(key) ? 'MODIFIED' : 'ADDED', object, (stamped) => all.set(key, stamped));
  }

  delete(path: string, namespace: string, name: string): void {
    const all = this.#of(path);
    const object = all.get(`${namespace}/${name}`);
    if (object !== undefined) this.#change(path, 'DELETED', object, () => all.delete(`${namespace}/${name}`));
  }

  /** Changes so far can no longer be watched from. */
  forget(): void {
    this.#oldest = ++this.#version;
  }

  /** Ends the watches, as a server does from time to time. */
  endWatches(): void {
    for (const { response } of this.#watchers) response.end();
    this.#watchers.clear();
  }

  bookmark(): void {
    for (const { response } of this.#watchers)
      response.write(`${JSON.stringify({ type: 'BOOKMARK', object: { metadata: { resourceVersion: String(this.#version) } } })}\n`);
  }

  get watchers(): number {
    return this.#watchers.size;
  }

  #of(path: string): Map<string, SmallObject> {
    let all = this.#objects.get(path);
    if (all === undefined) {
      all = new Map();
      this.#objects.set(path, all);
    }
    return all;
  }

  #change(path: string, type: Change['type'], object: SmallObject, keep: (stamped: SmallObject) => void): void {
    const version = ++this.#version;
    const stamped = { ...object, metadata: { ...object.metadata, resourceVersion: String(version) } };
    keep(stamped);
    const change = { version, type, path, object: stamped };
    this.#changes.push(change);
    for (const watcher of this.#watchers) if (watcher.path === path) watcher.response.write(line(change));
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '/', 'http://x');
    const { authorization } = request.headers;
    this.requests.push({ method: request.method ?? '', path: url.pathname, query: url.searchParams, authorization });
    response.on('error', () => {});
    if (this.fault?.(request, response, url) === true) return;
    if (this.tokens.size > 0 && !this.tokens.has(authorization?.replace(/^Bearer /, '') ?? '')) {
      send(response, 401, { kind: 'Status', message: 'Unauthorized', code: 401 });
      return;
    }
    if (request.method === 'POST') this.#review(request, response, url);
    else if (paths[url.pathname] === undefined) send(response, 404, { kind: 'Status', message: 'not found', code: 404 });
    else if (url.searchParams.get('watch') === '1') this.#watch(response, url);
    else this.#list(response, url);
  }

  #review(request: IncomingMessage, response: ServerResponse, url: URL): void {
    let text = '';
    request.on('data', (chunk) => {
      text += chunk;
    });
    request.on('end', () => {
      const body = JSON.parse(text);
      this.bodies.push(body);
      send(response, 201, { ...body, status: this.review(url.pathname, body) });
    });
  }

  #list(response: ServerResponse, url: URL): void {
    const all = [...this.#of(url.pathname).values()];
    const from = Number(url.searchParams.get('continue') ?? 0);
    const limit = Number(url.searchParams.get('limit') ?? all.length);
    const more = from + limit < all.length ? { continue: String(from + limit) } : {};
    send(response, 200, {
      kind: paths[url.pathname],
      apiVersion: 'v1',
      metadata: { resourceVersion: String(this.#version), ...more },
      items: all.slice(from, from + limit),
    });
  }

  #watch(response: ServerResponse, url: URL): void {
    const from = Number(url.searchParams.get('resourceVersion'));
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    if (from < this.#oldest) {
      response.end(`${JSON.stringify({ type: 'ERROR', object: { kind: 'Status', code: 410, message: 'too old resource version' } })}\n`);
      return;
    }
    for (const change of this.#changes) if (change.path === url.pathname && change.version > from) response.write(line(change));
    const watcher = { path: url.pathname, response };
    this.#watchers.add(watcher);
    response.on('close', () => this.#watchers.delete(watcher));
  }
}

function line({ type, object }: Change): string {
  return `${JSON.stringify({ type, object })}\n`;
}

export function send(response: ServerResponse, status: number, value: unknown, headers: { [name: string]: string } = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify(value));
}

export const podsPath = '/api/v1/pods';
export const servicesPath = '/api/v1/services';
export const slicesPath = '/apis/discovery.k8s.io/v1/endpointslices';

export function makePod(
  name: string,
  ip: string,
  more: { node?: string; uid?: string; startTime?: string; deletionTimestamp?: string; phase?: string; hostNetwork?: boolean } = {},
): SmallObject {
  const { node = 'node-a', uid = `uid-${name}`, startTime, deletionTimestamp, phase = 'Running', hostNetwork = false } = more;
  return {
    metadata: {
      namespace: 'shop',
      name,
      uid,
      ...(deletionTimestamp === undefined ? {} : { deletionTimestamp, deletionGracePeriodSeconds: 30 }),
    },
    spec: { nodeName: node, hostNetwork, containers: [] },
    status: { phase, podIP: ip, podIPs: [{ ip }], ...(startTime === undefined ? {} : { startTime }) },
  };
}

export async function until(what: string, condition: () => boolean, ms = 10_000): Promise<void> {
  const endMs = Date.now() + ms;
  while (!condition()) {
    if (Date.now() > endMs) throw new Error(`gave up waiting for ${what} after ${ms} ms`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
