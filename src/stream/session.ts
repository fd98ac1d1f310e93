/** One WebSocket after its handshake: hello, the one message of the client, pings, and the end. */
import type { RawData, WebSocket } from 'ws';
import type { Principal } from './authenticator.ts';
import { readSubscribe } from './client-message.ts';
import type { Hub } from './hub.ts';
import { Outgoing } from './outgoing.ts';
import { closeCodes, type Form, type SubscribeMessage } from './protocol.ts';
import type { QueuePool } from './queue-pool.ts';
import { SubscribeError } from './selection.ts';
import { Subscriber } from './subscriber.ts';

export interface SessionOptions {
  readonly id: string;
  readonly node: string;
  readonly form: Form;
  readonly principal: Principal;
  readonly queueBytes: number;
  readonly pool: QueuePool;
  readonly stallMs: number;
  readonly subscribeMs: number;
  readonly pingMs: number;
  onSubscribed(message: SubscribeMessage): void;
  onEnd(session: Session): void;
}

/** Pings and pongs in a second; more are no sign of life but work. */
const PINGS_PER_SECOND = 10;
/** Pongs are not put behind so many bytes that the client does not take. */
const PONG_BEHIND_BYTES = 64 * 1024;
const PINGS_MISSED = 2;
const CLOSE_MS = 5000;

export class Session {
  readonly options: SessionOptions;
  readonly subscriber: Subscriber;
  /** Why it ended, for counters and the log. */
  endReason = '';
  readonly #socket: WebSocket;
  readonly #hub: Hub;
  readonly #subscribeTimer: NodeJS.Timeout;
  readonly #pingTimer: NodeJS.Timeout;
  #subscribed = false;
  #unanswered = 0;
  #pings = 0;
  #pingsSince = 0;

  constructor(socket: WebSocket, hub: Hub, options: SessionOptions) {
    this.#socket = socket;
    this.#hub = hub;
    this.options = options;
    const { id, node, form, principal, queueBytes, pool, stallMs } = options;
    this.subscriber = new Subscriber(socket, {
      id,
      node,
      form,
      principal: principal.name,
      queueBytes,
      pool,
      stallMs,
      timeText: () => hub.timeText(),
      clock: () => hub.clock(),
    });
    this.#subscribeTimer = setTimeout(() => this.#noSubscribe(), options.subscribeMs);
    this.#pingTimer = setInterval(() => this.#ping(), options.pingMs);
    socket.on('error', () => {
      this.endReason ||= 'protocol';
    });
    socket.on('close', () => this.#closed());
    socket.on('message', (data, isBinary) => this.#message(data, isBinary));
    socket.on('ping', (data) => this.#pinged(data));
    socket.on('pong', () => {
      this.#unanswered = 0;
      this.#countPing();
    });
    socket.send(Outgoing.of(hub.hello()).bytes(form), { binary: form === 'msgpack' });
  }

  /** Says why, and closes. */
  end(code: number, reason: string, text: string): void {
    this.endReason ||= reason;
    if (this.subscriber.ended) return;
    this.subscriber.end(code, reason, { error: { code: reason, text } });
    setTimeout(() => this.#socket.terminate(), CLOSE_MS).unref();
  }

  #message(data: RawData, isBinary: boolean): void {
    if (this.subscriber.ended) return;
    if (this.#subscribed) {
      this.end(closeCodes.policy, 'message', 'Cannot take a second message: one subscribe is wanted on a connection');
      return;
    }
    this.#subscribed = true;
    clearTimeout(this.#subscribeTimer);
    try {
      // The data of a message arrive as one Buffer: binaryType is nodebuffer.
      const message = readSubscribe(data as Buffer, isBinary);
      this.#hub.subscribe(this.subscriber, message);
      this.options.onSubscribed(message);
    } catch (error) {
      if (!(error instanceof SubscribeError)) throw error;
      this.end(closeCodes.badRequest, 'bad-request', error.message);
    }
  }

  #noSubscribe(): void {
    this.end(closeCodes.noSubscribe, 'no-subscribe', `Cannot wait longer: a subscribe is wanted within ${this.options.subscribeMs} ms`);
  }

  #ping(): void {
    if (this.#unanswered >= PINGS_MISSED) {
      this.endReason ||= 'dead';
      this.#socket.terminate();
      return;
    }
    this.#unanswered++;
    if (this.#socket.readyState === this.#socket.OPEN) this.#socket.ping();
  }

  #pinged(data: Buffer): void {
    this.#countPing();
    if (!this.subscriber.ended && this.#socket.bufferedAmount < PONG_BEHIND_BYTES) this.#socket.pong(data);
  }

  #countPing(): void {
    const now = this.#hub.clock();
    if (now - this.#pingsSince >= 1000) {
      this.#pingsSince = now;
      this.#pings = 0;
    }
    if (++this.#pings > PINGS_PER_SECOND)
      this.end(closeCodes.policy, 'pings', `Cannot take more than ${PINGS_PER_SECOND} pings or pongs a second`);
  }

  #closed(): void {
    clearTimeout(this.#subscribeTimer);
    clearInterval(this.#pingTimer);
    this.endReason ||= this.subscriber.endedBecause || 'client';
    this.subscriber.gone();
    this.#hub.remove(this.subscriber);
    this.options.onEnd(this);
  }
}
