/**
 * /healthz, /readyz and /metrics, on a plain HTTP listener of their own that holds no data of connections: what answers here tells nothing that a pod may not know. Small limits
 * on everything, since a kubelet and a Prometheus are all that is expected.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { parseListen } from './config.ts';

const CONNECTION_LIMIT = 64;
const HEADER_BYTES = 8192;
const REQUEST_MS = 5000;
const KEPT_ALIVE_MS = 15_000;

export interface Readiness {
  readonly ready: boolean;
  /** One sentence each: what is not ready; or what is, for whoever looks. */
  readonly reasons: readonly string[];
}

export interface HealthServerOptions {
  /** As in the configuration: `127.0.0.1:4281`, `unix:/path`. */
  readonly listen: string;
  /** Ready: a capture is open in at least one namespace, or there are none and the probe answers. */
  readonly ready: () => Readiness;
  readonly metrics: { readonly contentType: string; read(): Promise<string> };
}

export interface HealthServer {
  /** Where it listens; a port of 0 has become a real one. */
  readonly address: { readonly host: string; readonly port: number } | { readonly path: string };
  close(): Promise<void>;
}

/** @throws {Error} with the system's code when it cannot listen */
export async function serveHealth(options: HealthServerOptions): Promise<HealthServer> {
  const at = parseListen(options.listen);
  if (at === undefined) throw new RangeError(`Cannot serve health at "${options.listen}": an address such as 127.0.0.1:4281 is wanted`);
  const server = createServer(
    {
      maxHeaderSize: HEADER_BYTES,
      headersTimeout: REQUEST_MS,
      requestTimeout: REQUEST_MS,
      keepAliveTimeout: KEPT_ALIVE_MS,
      connectionsCheckingInterval: 1000,
    },
    (request, response) => {
      void answer(request, response, options);
    },
  );
  server.maxConnections = CONNECTION_LIMIT;
  server.maxRequestsPerSocket = 1000;
  server.on('clientError', (_error, socket) => socket.destroy());
  await listen(server, at);
  const bound = server.address();
  return {
    address: typeof bound === 'object' && bound !== null ? { host: bound.address, port: bound.port } : { path: bound ?? '' },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function listen(server: Server, at: NonNullable<ReturnType<typeof parseListen>>): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const where = 'path' in at ? at.path : `${at.host ?? ''}:${at.port}`;
      reject(
        new Error(`Cannot serve health at "${where}": an address that is free is wanted, the system says ${error.code}`, { cause: error }),
      );
    });
    server.listen(at, () => {
      server.removeAllListeners('error');
      server.on('error', () => {});
      resolve();
    });
  });
}

async function answer(request: IncomingMessage, response: ServerResponse, options: HealthServerOptions): Promise<void> {
  const path = (request.url ?? '').split('?', 1)[0];
  if (request.method !== 'GET' && request.method !== 'HEAD') return end(response, 405, 'GET is wanted\n', { allow: 'GET, HEAD' });
  if (path === '/healthz') return end(response, 200, 'ok\n');
  if (path === '/readyz') {
    const { ready, reasons } = options.ready();
    return end(response, ready ? 200 : 503, `${[ready ? 'ready' : 'not ready', ...reasons].join('\n')}\n`);
  }
  if (path !== '/metrics') return end(response, 404, '/healthz, /readyz and /metrics are here\n');
  try {
    return end(response, 200, await options.metrics.read(), { 'content-type': options.metrics.contentType });
  } catch {
    return end(response, 500, 'the metrics cannot be read\n');
  }
}

function end(response: ServerResponse, status: number, text: string, headers: Readonly<Record<string, string>> = {}): void {
  response.writeHead(status, {
    'content-type': 'text/plain; charset=utf-8',
    'cache-control': 'no-store',
    'content-length': Buffer.byteLength(text),
    ...headers,
  });
  // HEAD: Node.js leaves the body out.
  response.end(text);
}
