/**
 * Questions to the administration interface of one Envoy. Whoever answers may be anybody: a pod can listen on that port itself.
 *
 * Only GET of {@link adminPaths}; one question at a time; no redirects, no compression, no connection is used twice; everything is bounded in length and time.
 * An answer may take ten seconds, and a second more for each mebibyte that has come, up to a minute.
 */
import { type ClientRequest, type IncomingMessage, request as requestHttp } from 'node:http';
import type { Duplex } from 'node:stream';
import { errorText } from '../../net/error-text.ts';
import { Turns } from '../turns.ts';
import { checkAdminPath } from './admin-path.ts';
import { type AdminSlots, nodeSlots } from './slots.ts';

/** Envoy did not give what was asked for. */
export class AdminError extends Error {
  override readonly name = 'AdminError';
  /** Was there no connection at all? Then nobody listens. */
  readonly unreachable: boolean;

  constructor(message: string, unreachable = false) {
    super(message);
    this.unreachable = unreachable;
  }
}

export interface AdminTimes {
  /** For the connection, for the head, and between two parts of a body. Milliseconds, as all of these. */
  readonly idle: number;
  /** For all of it, and a second more for each {@link AdminTimes.rate} bytes. */
  readonly first: number;
  readonly whole: number;
  /** Bytes a second. */
  readonly rate: number;
}

export const adminTimes: AdminTimes = { idle: 10_000, first: 10_000, whole: 60_000, rate: 1024 * 1024 };

export interface AdminHead {
  readonly status: number;
  /** Without parameters, lower case. */
  readonly type: string;
}

export interface AdminClientOptions {
  /** A connection to that port inside the pod. */
  readonly open: (port: number) => Promise<Duplex>;
  readonly slots?: AdminSlots;
  readonly times?: Partial<AdminTimes>;
}

const MAX_HEAD = 16 * 1024;
/** With what waits to be handed out. */
const MAX_FRAMING = 2 * 1024 * 1024;
const MAX_INTERIM = 4;
const MEBIBYTE = 1024 * 1024;

export class AdminClient {
  readonly #open: AdminClientOptions['open'];
  readonly #slots: AdminSlots;
  readonly #times: AdminTimes;
  readonly #stopped = new AbortController();
  #turn: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  /** Did the last question fail after a connection was there? */
  #suspect = false;

  constructor({ open, slots = nodeSlots, times = {} }: AdminClientOptions) {
    this.#open = open;
    this.#slots = slots;
    this.#times = { ...adminTimes, ...times };
  }

  /** The whole body, whatever the status. @throws {AdminError} @throws {AdminPathError} */
  async get(port: number, path: string, limit: number): Promise<AdminHead & { body: Buffer }> {
    const chunks: Buffer[] = [];
    const head = await this.read(port, path, limit, () => (chunk) => {
      chunks.push(chunk);
    });
    return { ...head, body: await joined(chunks) };
  }

  /**
   * Hands out a body as it comes.
   *
   * @param limit bytes
   * @param begin given the head, says who takes the chunks; a promise holds back what follows. What either throws ends it
   * @throws {AdminError} @throws {AdminPathError}
   */
  async read(
    port: number,
    path: string,
    limit: number,
    begin: (head: AdminHead) => (chunk: Buffer) => void | Promise<void>,
  ): Promise<AdminHead> {
    const checked = checkAdminPath(path);
    if (this.#waiting >= 32)
      throw new AdminError(`Cannot ask Envoy for ${checked}: at most 32 questions wait for each other, there are more`);
    this.#waiting++;
    const before = this.#turn;
    const asked = (async () => {
      await before.catch(() => {});
      this.#waiting--;
      return this.#ask(port, checked, limit, begin);
    })();
    this.#turn = asked.catch(() => {});
    return asked;
  }

  /** Ends what is under way. */
  close(): void {
    this.#stopped.abort(new AdminError('Cannot ask Envoy: its pod is not followed any more'));
  }

  async #ask(port: number, path: string, limit: number, begin: Parameters<AdminClient['read']>[3]): Promise<AdminHead> {
    const stopped = this.#stopped.signal;
    if (stopped.aborted) throw stopped.reason;
    const giveBack = await this.#slots.take(this.#suspect, stopped);
    const where = `Envoy's ${path.split('?', 1)[0]} on port ${port}`;
    try {
      const socket = await this.#connect(port, where);
      this.#suspect = true;
      try {
        const head = await this.#exchange(socket, port, path, limit, where, begin);
        this.#suspect = false;
        return head;
      } finally {
        socket.destroy();
      }
    } finally {
      giveBack();
    }
  }

  async #connect(port: number, where: string): Promise<Duplex> {
    const fault = (state: string) => new AdminError(`Cannot read ${where}: ${state}`, true);
    const opening = this.#open(port);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(fault(`a connection is wanted within ${this.#times.idle} ms`)), this.#times.idle);
    });
    try {
      const socket = await Promise.race([opening, late]);
      socket.on('error', () => {});
      return socket;
    } catch (error) {
      // One that comes after all is not wanted any more.
      opening.then(
        (socket) => {
          socket.on('error', () => {});
          socket.destroy();
        },
        () => {},
      );
      throw error instanceof AdminError ? error : fault(errorText(error));
    } finally {
      clearTimeout(timer);
    }
  }

  #exchange(
    socket: Duplex,
    port: number,
    path: string,
    limit: number,
    where: string,
    begin: Parameters<AdminClient['read']>[3],
  ): Promise<AdminHead> {
    const { idle, first, whole, rate } = this.#times;
    return new Promise((resolve, reject) => {
      let length = 0;
      let interim = 0;
      /** Since when the other side is waited for; absent: it waits for us. */
      let quietSinceMs: number | undefined = performance.now();
      let waitedMs = 0;
      let request: ClientRequest | undefined;
      const fail = (state: string | Error) => {
        clearInterval(clock);
        this.#stopped.signal.removeEventListener('abort', stop);
        reject(state instanceof Error ? state : new AdminError(`Cannot read ${where}: ${state}`));
        request?.destroy();
        socket.destroy();
      };
      const stop = () => fail(this.#stopped.signal.reason as Error);
      const clock = setInterval(
        () => {
          if (quietSinceMs === undefined) return;
          const quietMs = performance.now() - quietSinceMs;
          const allowedMs = Math.min(whole, first + (length / rate) * 1000);
          if (quietMs > idle) fail(`more of it is wanted within ${idle} ms`);
          else if (waitedMs + quietMs > allowedMs)
            fail(`all of it is wanted within ${Math.round(allowedMs)} ms, ${length} bytes have come`);
        },
        Math.min(250, idle / 4),
      );
      this.#stopped.signal.addEventListener('abort', stop, { once: true });
      request = requestHttp({
        method: 'GET',
        path,
        createConnection: () => socket as never,
        maxHeaderSize: MAX_HEAD,
        headers: {
          host: `127.0.0.1:${port}`,
          accept: '*/*',
          'accept-encoding': 'identity',
          'user-agent': 'sidetrace',
          connection: 'close',
        },
      });
      request.on('error', (error) => fail(error.message));
      // Not all that is read is body: the size of a chunk may have any number of zeros before it.
      request.on('socket', (given: Duplex) => {
        let raw = 0;
        given.on('data', (chunk: Buffer) => {
          raw += chunk.length;
          if (raw > MAX_FRAMING + 2 * length) fail(`at most ${MAX_FRAMING} bytes that are no body are wanted, there are more`);
        });
      });
      request.on('information', () => {
        if (++interim > MAX_INTERIM) fail(`at most ${MAX_INTERIM} interim answers are wanted, there are more`);
      });
      request.on('upgrade', () => fail('another protocol was offered'));
      request.on('response', (message: IncomingMessage) => {
        message.on('error', () => {});
        const status = message.statusCode ?? 0;
        const head = { status, type: (message.headers['content-type'] ?? '').split(';', 1)[0]!.trim().toLowerCase() };
        const { 'content-encoding': encoding, 'content-length': told } = message.headers;
        if (status >= 300 && status < 400) fail(`redirects are not followed, it answers ${status}`);
        else if (encoding !== undefined && encoding !== 'identity')
          fail(`the answer must not be packed, it is ${JSON.stringify(encoding.slice(0, 40))}`);
        else if (told !== undefined && Number(told) > limit) fail(tooLong(limit));
        else
          void (async () => {
            const take = begin(head);
            for await (const chunk of message as AsyncIterable<Buffer>) {
              waitedMs += performance.now() - (quietSinceMs ?? performance.now());
              quietSinceMs = undefined;
              length += chunk.length;
              if (length > limit) throw new AdminError(`Cannot read ${where}: ${tooLong(limit)}`);
              await take(chunk);
              quietSinceMs = performance.now();
            }
            if (!message.complete) throw new AdminError(`Cannot read ${where}: it was cut after ${length} bytes`);
            clearInterval(clock);
            this.#stopped.signal.removeEventListener('abort', stop);
            resolve(head);
          })().catch((error: unknown) => {
            const known = error instanceof AdminError || error instanceof SyntaxError;
            fail(known ? error : `it was cut after ${length} bytes, ${errorText(error)}`);
          });
      });
      request.end();
    });
  }
}

/** One after the other, in turns: there may be hundreds of mebibytes. */
async function joined(chunks: readonly Buffer[]): Promise<Buffer> {
  const whole = Buffer.allocUnsafeSlow(chunks.reduce((sum, { length }) => sum + length, 0));
  const turns = new Turns();
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
    if (turns.over) await turns.rest();
  }
  return whole;
}

function tooLong(limit: number): string {
  return limit >= MEBIBYTE
    ? `at most ${Math.round(limit / MEBIBYTE)} MiB are wanted, it has more`
    : `at most ${limit} bytes are wanted, it has more`;
}
