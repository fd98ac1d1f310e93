/**
 * Subscribes to one daemon and gives what it sends as events, in order: `for await (const event of new StreamClient(…))`.
 *
 * When the connection breaks it is opened again (after a pause that grows, with some chance in it), and the stream goes on behind the last record received: each record comes once, or is part of the count
 * of a `lost` event. Nothing is read faster than events are taken. Several daemons are several clients.
 */
import { once } from 'node:events';
import type { RawData, WebSocket } from 'ws';
import { backOffMs } from '../net/back-off.ts';
import { formatTime } from '../net/time.ts';
import { escapeText } from '../output/escape.ts';
import { MsgpackBytes } from '../output/msgpack-bytes.ts';
import type { AnyRecord, FlowRecord, LostRecord, TotalRecord } from '../record/record.ts';
import { type ClientSocketOptions, openSocket, StreamError } from './client-socket.ts';
import { type Hello, MessageReader, ProtocolError, type ReadMessage } from './message-reader.ts';
import { closeCodes, type Form, type Subscription } from './protocol.ts';
import { type ServerAddress, serverAddressText } from './server-address.ts';

export type StreamEvent =
  | { readonly type: 'hello'; readonly hello: Hello }
  /** Everything from `seq` to `last` was looked at; `records` are those of them that pass. */
  | { readonly type: 'records'; readonly seq: number; readonly last: number; readonly records: readonly AnyRecord[] }
  /** Flows that do not pass themselves, of paths that follow. */
  | { readonly type: 'context'; readonly records: readonly FlowRecord[] }
  | { readonly type: 'lost'; readonly record: LostRecord }
  | { readonly type: 'status'; readonly seq: number; readonly time: string; readonly state: 'replay' | 'live' }
  | { readonly type: 'bye'; readonly reason: string; readonly totals: TotalRecord | undefined }
  /** The connection has gone, and is opened again after `retryMs`. */
  | { readonly type: 'disconnected'; readonly reason: string; readonly retryMs: number }
  /** Something that can be lived with, in a sentence that is safe to print. */
  | { readonly type: 'problem'; readonly message: string };

export interface StreamClientOptions extends Omit<ClientSocketOptions, 'server' | 'form'> {
  readonly server: ServerAddress;
  /** MessagePack unless said otherwise. */
  readonly form?: Form;
  readonly subscription?: Subscription;
  /** Open a broken connection again; yes, unless the subscription does not follow. */
  readonly reconnect?: boolean;
  /** Also try again when nobody answers the first time. */
  readonly persistent?: boolean;
  /** The pauses between attempts: the first, and the longest; 250 and 10,000 ms. */
  readonly backOffMs?: readonly [first: number, longest: number];
  /** Silence after which a connection counts as dead; a daemon says something every 15 s. */
  readonly silenceMs?: number;
}

/** Messages that wait to be taken; then reading pauses. */
const AHEAD_MESSAGES = 16;
const PROBLEMS_MAX = 25;
const SETTLED_MS = 10_000;
const PONG_BEHIND_BYTES = 64 * 1024;

interface Arrived {
  readonly bytes: Buffer;
  readonly isBinary: boolean;
}

export class StreamClient implements AsyncIterable<StreamEvent> {
  readonly name: string;
  readonly #options: StreamClientOptions;
  readonly #subscription: Subscription;
  readonly #form: Form;
  #socket: WebSocket | undefined;
  readonly #abort = new AbortController();
  #closed = false;
  #wake: (() => void) | undefined;
  #boot: string | undefined;
  #node = '';
  /** Number of the last record that is accounted for; `undefined` before the first. */
  #covered: number | undefined;
  #lost = 0;
  #problems = 0;

  constructor(options: StreamClientOptions) {
    this.#options = options;
    this.#subscription = options.subscription ?? {};
    this.#form = options.form ?? 'msgpack';
    this.name = serverAddressText(options.server);
  }

  /** Where the stream is: what a later client would resume from. */
  get position(): { boot: string; seq: number } | undefined {
    return this.#boot === undefined || this.#covered === undefined ? undefined : { boot: this.#boot, seq: this.#covered };
  }

  /** Ends the iteration. */
  close(): void {
    this.#closed = true;
    this.#abort.abort();
    this.#socket?.terminate();
    this.#wake?.();
  }

  /**
   * May be asked for once.
   *
   * @throws {StreamError} when it cannot go on
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<StreamEvent, void, void> {
    if (this.#options.insecure === true && !('socketPath' in this.#options.server) && this.#options.server.secure)
      yield {
        type: 'problem',
        message: `The certificate of ${this.name} is not checked: whoever is on the way can read and change what comes`,
      };
    let attempt = 0;
    let everOpen = false;
    try {
      while (!this.#closed) {
        let reason: string;
        let wait = 0;
        const begun = performance.now();
        try {
          const socket = await openSocket({ ...this.#options, form: this.#form }, this.#abort.signal);
          everOpen = true;
          const end = yield* this.#connection(socket);
          if (end === 'done') return;
          reason = end;
        } catch (error) {
          if (!(error instanceof StreamError) || !this.#mayRetry(error, everOpen)) throw error;
          reason = error.message;
          wait = (error.retryAfter ?? 0) * 1000;
        }
        if (this.#closed) return;
        if (performance.now() - begun > SETTLED_MS) attempt = 0;
        const retryMs = Math.max(wait, this.#pause(attempt++));
        yield { type: 'disconnected', reason: escapeText(reason), retryMs };
        await this.#sleep(retryMs);
      }
    } finally {
      this.#socket?.terminate();
    }
  }

  get #reconnects(): boolean {
    return this.#options.reconnect ?? this.#subscription.follow !== false;
  }

  #mayRetry(error: StreamError, everOpen: boolean): boolean {
    if (!everOpen && this.#options.persistent !== true) return false;
    if (!this.#reconnects) return false;
    if (error.kind === 'connect') return true;
    return error.kind === 'refused' && (error.status === 429 || error.status === 503);
  }

  #pause(attempt: number): number {
    const [firstMs, mostMs] = this.#options.backOffMs ?? [250, 10_000];
    return backOffMs({ firstMs, mostMs }, attempt + 1, Math.random());
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** One connection, until it ends. @returns `done` when all that was asked for has come, else why it broke */
  async *#connection(socket: WebSocket): AsyncGenerator<StreamEvent, string, void> {
    this.#socket = socket;
    const arrived: Arrived[] = [];
    let heardAt = performance.now();
    let closedWith: { code: number; reason: string } | undefined;
    let wake: (() => void) | undefined;
    const awaken = (): void => {
      wake?.();
      wake = undefined;
    };
    socket.on('message', (data: RawData, isBinary: boolean) => {
      heardAt = performance.now();
      arrived.push({ bytes: data as Buffer, isBinary });
      if (arrived.length >= AHEAD_MESSAGES) socket.pause();
      awaken();
    });
    socket.on('ping', (data: Buffer) => {
      heardAt = performance.now();
      if (socket.bufferedAmount < PONG_BEHIND_BYTES) socket.pong(data);
    });
    socket.on('close', (code: number, reason: Buffer) => {
      closedWith = { code, reason: reason.toString('utf8') };
      awaken();
    });
    const silenceMs = this.#options.silenceMs ?? 45_000;
    const watch = setInterval(
      () => {
        if (socket.isPaused) heardAt = performance.now();
        else if (performance.now() - heardAt > silenceMs) socket.terminate();
      },
      Math.min(5000, silenceMs / 4),
    );
    const reader = new MessageReader();
    let said = '';
    try {
      socket.resume();
      while (true) {
        const next = arrived.shift();
        if (next !== undefined) {
          const message = this.#read(reader, next);
          if (arrived.length === 0 && socket.isPaused) socket.resume();
          if (message === undefined) continue;
          if (message.message === 'error') said = message.text;
          if (message.message === 'hello') this.#subscribe(socket, message.hello);
          yield* this.#events(message);
          if (message.message === 'bye' && message.reason === 'end') return 'done';
          if (message.message === 'bye') said ||= message.reason;
          continue;
        }
        if (this.#closed) return 'done';
        if (closedWith !== undefined) return this.#ended(closedWith.code, said || closedWith.reason);
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    } finally {
      clearInterval(watch);
      if (socket.readyState !== socket.CLOSED) {
        socket.terminate();
        await once(socket, 'close').catch(() => undefined);
      }
    }
  }

  #read(reader: MessageReader, { bytes, isBinary }: Arrived): ReadMessage | undefined {
    try {
      return reader.read(bytes, isBinary);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      throw new StreamError('protocol', `Cannot understand what ${this.name} sends: ${error.message}`, { cause: error });
    }
  }

  /** @throws {StreamError} where trying again is of no use */
  #ended(code: number, reason: string): string {
    const text = `The stream of ${this.name} has ended: ${reason === '' ? `closed with code ${code}` : reason}`;
    switch (code) {
      case closeCodes.badRequest:
      case closeCodes.noSubscribe:
      case closeCodes.tooExpensive:
      case closeCodes.policy:
        throw new StreamError('request', text, { status: code });
      case closeCodes.forbidden:
        throw new StreamError('refused', text, { status: code });
      case closeCodes.unauthenticated:
        // A file may hold a newer token by now.
        if (this.#options.tokenFile === undefined) throw new StreamError('refused', text, { status: code });
        return text;
      case closeCodes.done:
        return 'done';
      default:
        if (this.#reconnects) return text;
        if (code === closeCodes.goingAway) return 'done';
        throw new StreamError('connect', text, { status: code });
    }
  }

  #subscribe(socket: WebSocket, hello: Hello): void {
    const { last, since, until, ...rest } = this.#subscription;
    const isNew = this.#boot !== hello.boot;
    const past = last !== undefined || since !== undefined || until !== undefined || rest.follow === false || rest.resume !== undefined;
    let resume = rest.resume;
    if (this.#boot !== undefined && this.#covered !== undefined) resume = { boot: this.#boot, seq: this.#covered };
    // What is published between hello and subscribe belongs to it, too.
    else if (!past) resume = { boot: hello.boot, seq: hello.seq };
    if (resume !== undefined && resume.boot === hello.boot) this.#covered = resume.seq;
    else if (isNew) this.#covered = undefined;
    this.#boot = hello.boot;
    this.#node = hello.node;
    const message = {
      message: 'subscribe',
      ...rest,
      ...(resume === undefined ? (last === undefined ? {} : { last }) : { resume }),
      ...(since === undefined ? {} : { since }),
      ...(until === undefined ? {} : { until }),
    };
    if (this.#form === 'json') socket.send(JSON.stringify(message));
    else {
      const out = new MsgpackBytes(1024);
      out.value(message);
      socket.send(out.view());
    }
  }

  *#events(message: ReadMessage): Generator<StreamEvent> {
    switch (message.message) {
      case 'hello':
        yield { type: 'hello', hello: message.hello };
        break;
      case 'records': {
        const { seq, last, records, problems } = message;
        // Received before the connection broke.
        if (this.#covered !== undefined && last <= this.#covered) break;
        yield* this.#gap(seq);
        this.#covered = last;
        yield* this.#tell(problems);
        yield { type: 'records', seq, last, records };
        break;
      }
      case 'context':
        yield* this.#tell(message.problems);
        yield { type: 'context', records: message.records };
        break;
      case 'lost':
        yield* this.#gap(message.seq);
        this.#covered = Math.max(this.#covered ?? 0, message.last);
        this.#lost += message.record.count;
        yield { type: 'lost', record: message.record };
        break;
      case 'status':
        this.#covered = Math.max(this.#covered ?? 0, message.seq);
        yield { type: 'status', seq: message.seq, time: message.time, state: message.state };
        break;
      case 'bye':
        yield { type: 'bye', reason: message.reason, totals: message.totals };
        break;
      case 'error':
        break;
    }
  }

  /** Numbers that nobody accounted for. */
  *#gap(seq: number): Generator<StreamEvent> {
    if (this.#covered === undefined || seq <= this.#covered + 1) return;
    const count = seq - this.#covered - 1;
    this.#lost += count;
    const now = Date.now();
    const base = { epochSeconds: Math.floor(now / 1000) };
    const at = formatTime(base, (now - base.epochSeconds * 1000) * 1e6);
    const detail = `Records ${this.#covered + 1} to ${seq - 1} did not come, and the daemon did not say why`;
    const scope = { node: this.#node };
    yield {
      type: 'lost',
      record: { type: 'lost', source: 'gap', scope, count, exact: true, total: this.#lost, first: at, last: at, detail },
    };
  }

  *#tell(problems: readonly string[]): Generator<StreamEvent> {
    for (const problem of problems)
      if (this.#problems++ < PROBLEMS_MAX) yield { type: 'problem', message: escapeText(`Cannot use a row of ${this.name}: ${problem}`) };
  }
}
