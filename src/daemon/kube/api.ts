/**
 * Requests to the API server: JSON over HTTPS, connections kept, everything bounded in length and time; no redirects, no compression.
 *
 * Token, CA and client certificate are read again for each request, and once more where the server does not know them: they are renewed in place (a kubelet renews tokens at 80 % of their life).
 * Source: Kubernetes API concepts; RFC 9110.
 */
import { Agent as HttpAgent, type IncomingMessage, request as requestHttp } from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { KubeApiError, saidBy } from './api-error.ts';
import { type Credentials, readCredentials, sameCredentials, tlsOptions } from './credentials.ts';
import type { KubeCluster } from './kubeconfig.ts';
import { LineSplitter } from './line-splitter.ts';

export interface KubeApiTimes {
  /** Until the head of the answer is there. Milliseconds, as all of these. */
  readonly head: number;
  /** Between two parts of a body. */
  readonly idle: number;
  readonly whole: number;
  /** Between two lines of a watch; bookmarks come about once a minute. */
  readonly watchIdle: number;
}

export const defaultTimes: KubeApiTimes = { head: 15_000, idle: 10_000, whole: 60_000, watchIdle: 150_000 };

const MAX_BODY = 64 * 1024 * 1024;
const MAX_ERROR_BODY = 64 * 1024;
/** An object in etcd has at most 1.5 MiB; with its fields managed by others and as JSON, more. */
const MAX_LINE = 16 * 1024 * 1024;
const MAX_HEAD = 16 * 1024;
const MAX_SOCKETS = 16;
/** With credentials that are others each time. */
const MAX_TRIES = 3;
/** Where it is a person or a service that is asked for others. */
const MAX_TRIES_ISSUED = 2;
const RENEWAL_MS = 20;
const MAX_RETRY_AFTER_MS = 60_000;

function retryAfter(message: IncomingMessage): number | undefined {
  const seconds = Number(message.headers['retry-after']);
  return Number.isFinite(seconds) && seconds >= 0 ? Math.min(seconds * 1000, MAX_RETRY_AFTER_MS) : undefined;
}

/** An answer whose head is there. */
interface Answer {
  readonly message: IncomingMessage;
  /** Ends everything. */
  abort(reason: KubeApiError): void;
}

export class KubeApi {
  readonly cluster: KubeCluster;
  readonly #times: KubeApiTimes;
  #agent: HttpAgent | HttpsAgent | undefined;
  #tls = '';
  #closed = false;
  readonly #open = new Set<(reason: KubeApiError) => void>();

  constructor(cluster: KubeCluster, times: Partial<KubeApiTimes> = {}) {
    this.cluster = cluster;
    this.#times = { ...defaultTimes, ...times };
  }

  /** @param path with query @throws {KubeApiError} */
  get(path: string, signal?: AbortSignal): Promise<{ value: unknown; length: number }> {
    return this.#json('GET', path, undefined, signal);
  }

  /** @throws {KubeApiError} */
  async post(path: string, body: unknown, signal?: AbortSignal): Promise<unknown> {
    return (await this.#json('POST', path, JSON.stringify(body), signal)).value;
  }

  /**
   * Follows a watch until the server ends it.
   *
   * @param onLine one event, its bytes valid until it returns; what it throws ends the watch
   * @param onOpen the server has taken the watch
   * @throws {KubeApiError}
   */
  async watch(path: string, onOpen: () => void, onLine: (line: Buffer) => void, signal: AbortSignal): Promise<void> {
    const answer = await this.#send('GET', path, undefined, signal);
    const { message } = answer;
    if (message.statusCode !== 200) throw await this.#refusal(answer, 'GET', path);
    onOpen();
    const splitter = new LineSplitter(MAX_LINE);
    await this.#consume(answer, path, Number.POSITIVE_INFINITY, this.#times.watchIdle, (chunk) => {
      if (!splitter.add(chunk, onLine))
        throw new KubeApiError(`Cannot follow ${this.#place(path)}: at most ${MAX_LINE} bytes of one event are wanted, there are more`);
    });
  }

  /** Ends what is under way; further requests are refused. */
  close(): void {
    this.#closed = true;
    for (const abort of [...this.#open]) abort(new KubeApiError('Cannot ask the API server: it was closed here'));
    this.#agent?.destroy();
  }

  #place(path: string): string {
    return `${this.cluster.server}${path.split('?')[0]}`;
  }

  async #json(
    method: 'GET' | 'POST',
    path: string,
    body: string | undefined,
    signal: AbortSignal | undefined,
  ): Promise<{ value: unknown; length: number }> {
    const answer = await this.#send(method, path, body, signal);
    const status = answer.message.statusCode ?? 0;
    if (status < 200 || status > 299) throw await this.#refusal(answer, method, path);
    const bytes = await this.#body(answer, path, MAX_BODY);
    try {
      return { value: JSON.parse(bytes.toString('utf8')), length: bytes.length };
    } catch {
      throw new KubeApiError(`Cannot read ${this.#place(path)}: JSON is wanted, ${JSON.stringify(bytes.toString('utf8', 0, 80))} is there`);
    }
  }

  async #refusal(answer: Answer, method: string, path: string): Promise<KubeApiError> {
    const status = answer.message.statusCode ?? 0;
    const wait = retryAfter(answer.message);
    const body = status >= 300 && status < 400 ? undefined : await this.#body(answer, path, MAX_ERROR_BODY).catch(() => undefined);
    answer.abort(new KubeApiError('refused'));
    const said = status >= 300 && status < 400 ? 'redirects are not followed' : saidBy(body ?? Buffer.alloc(0));
    return new KubeApiError(`Cannot ${method} ${this.#place(path)}: ${status}${said === '' ? '' : `, ${said}`}`, status, wait);
  }

  async #body(answer: Answer, path: string, limit: number): Promise<Buffer> {
    const chunks: Buffer[] = [];
    let length = 0;
    await this.#consume(answer, path, this.#times.whole, this.#times.idle, (chunk) => {
      length += chunk.length;
      if (length > limit) throw new KubeApiError(`Cannot read ${this.#place(path)}: at most ${limit} bytes are wanted, there are more`);
      chunks.push(chunk);
    });
    return Buffer.concat(chunks, length);
  }

  /** Hands out a body as it comes. Ends at its end; fails when it is cut, or rests for too long. */
  #consume({ message, abort }: Answer, path: string, wholeMs: number, idleMs: number, take: (chunk: Buffer) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const late = (what: string, ms: number) =>
        abort(new KubeApiError(`Cannot read ${this.#place(path)}: ${what} is wanted within ${ms} ms`));
      let idle = setTimeout(late, idleMs, 'more of it', idleMs);
      const whole = wholeMs === Number.POSITIVE_INFINITY ? undefined : setTimeout(late, wholeMs, 'all of it', wholeMs);
      const end = (error?: unknown) => {
        clearTimeout(idle);
        clearTimeout(whole);
        if (error === undefined) resolve();
        else reject(error);
      };
      message.on('data', (chunk: Buffer) => {
        clearTimeout(idle);
        idle = setTimeout(late, idleMs, 'more of it', idleMs);
        try {
          take(chunk);
        } catch (error) {
          end(error);
          abort(error instanceof KubeApiError ? error : new KubeApiError(String(error)));
        }
      });
      message.on('end', () => end(message.complete ? undefined : new KubeApiError(`Cannot read ${this.#place(path)}: it was cut`)));
      message.on('error', (error) =>
        end(error instanceof KubeApiError ? error : new KubeApiError(`Cannot read ${this.#place(path)}: ${error.message}`)),
      );
      message.on('close', () => end(new KubeApiError(`Cannot read ${this.#place(path)}: it was cut`)));
    });
  }

  /** Sends it, again with what the files hold now where the server does not know the credentials. */
  async #send(method: 'GET' | 'POST', path: string, body: string | undefined, signal: AbortSignal | undefined): Promise<Answer> {
    let credentials = await readCredentials(this.cluster);
    for (let tries = 1; ; tries++) {
      const answer = await this.#request(method, path, body, credentials, signal).catch((error: unknown) => {
        // A kept connection may end while a request is on its way; all that is sent here may be sent twice.
        if (error instanceof KubeApiError && error.onKeptConnection) return this.#request(method, path, body, credentials, signal);
        throw error;
      });
      const { token, issued } = credentials;
      if (answer.message.statusCode !== 401 || tries === (issued === undefined ? MAX_TRIES : MAX_TRIES_ISSUED)) return answer;
      if (token === undefined && issued === undefined) return answer;
      // A token may be renewed between the reading and the request.
      await sleep(RENEWAL_MS);
      const renewed = await readCredentials(this.cluster, credentials).catch((error: unknown) => {
        answer.abort(new KubeApiError('others are not to be had'));
        throw error;
      });
      if (sameCredentials(renewed, credentials)) return answer;
      answer.abort(new KubeApiError('asked again'));
      credentials = renewed;
    }
  }

  #agentFor(credentials: Credentials): HttpAgent | HttpsAgent {
    const same = JSON.stringify([credentials.ca, credentials.certificate]);
    if (this.#agent !== undefined && this.#tls === same) return this.#agent;
    // What runs over the former one may end; a destroyed agent would cut it.
    const kept = { keepAlive: true, keepAliveMsecs: 15_000, maxSockets: MAX_SOCKETS, timeout: this.#times.watchIdle };
    this.#agent = this.cluster.server.startsWith('http:')
      ? new HttpAgent(kept)
      : new HttpsAgent({ ...kept, ...tlsOptions(this.cluster, credentials) });
    this.#tls = same;
    return this.#agent;
  }

  #request(
    method: string,
    path: string,
    body: string | undefined,
    credentials: Credentials,
    signal: AbortSignal | undefined,
  ): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const fault = (state: string) => new KubeApiError(`Cannot ${method} ${this.#place(path)}: ${state}`);
      if (this.#closed || signal?.aborted === true) {
        reject(fault('it was closed here'));
        return;
      }
      const { server } = this.cluster;
      const send = server.startsWith('http:') ? requestHttp : requestHttps;
      const request = send(`${server}${path}`, {
        method,
        agent: this.#agentFor(credentials) as HttpsAgent,
        maxHeaderSize: MAX_HEAD,
        headers: {
          accept: 'application/json',
          'accept-encoding': 'identity',
          'user-agent': 'sidetrace',
          ...(credentials.token === undefined ? {} : { authorization: `Bearer ${credentials.token}` }),
          ...(body === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
        },
      });
      let message: IncomingMessage | undefined;
      const abort = (reason: KubeApiError) => {
        if (message === undefined) request.destroy(reason);
        else message.destroy(reason);
      };
      const cancelled = () => abort(fault('it was closed here'));
      const head = setTimeout(() => abort(fault(`an answer is wanted within ${this.#times.head} ms`)), this.#times.head);
      this.#open.add(abort);
      signal?.addEventListener('abort', cancelled, { once: true });
      request.on('response', (given) => {
        clearTimeout(head);
        message = given;
        // Someone must listen, or an error ends the process; #consume does, unless nobody reads the body.
        given.on('error', () => {});
        const encoding = given.headers['content-encoding'];
        if (encoding !== undefined && encoding !== 'identity') {
          const error = fault(`the answer must not be packed, it is ${JSON.stringify(encoding).slice(0, 80)}`);
          given.destroy();
          reject(error);
          return;
        }
        resolve({ message: given, abort });
      });
      request.on('error', (error) => {
        const told = error instanceof KubeApiError ? error : fault(error.message);
        told.onKeptConnection = !(error instanceof KubeApiError) && request.reusedSocket && message === undefined;
        reject(told);
      });
      request.on('close', () => {
        clearTimeout(head);
        this.#open.delete(abort);
        signal?.removeEventListener('abort', cancelled);
        reject(fault('the connection was closed'));
      });
      request.end(body);
    });
  }
}
