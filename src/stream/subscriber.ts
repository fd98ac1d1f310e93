/**
 * One subscriber: the queue in front of its socket, bounded in bytes, and the account of what it got and what it lost.
 * What does not fit into the queue waits in room that all share (queue-pool.ts), while there is some.
 *
 * What does not fit is counted, and told in its place as soon as half of the queue is free again. Who takes nothing for `stallMs`, or loses and takes less than half of its queue in that
 * time, is told the sum and closed.
 */
import type { LostRecord, TotalRecord } from '../record/record.ts';
import { Outgoing } from './outgoing.ts';
import { type ByeMessage, closeCodes, type ErrorMessage, type Form } from './protocol.ts';
import type { QueuePool } from './queue-pool.ts';

/** What a subscriber needs of a WebSocket. */
export interface Connection {
  /** `done` is called when the operating system has taken it. */
  send(bytes: Buffer, options: { binary: boolean }, done: (error?: Error | null) => void): void;
  close(code: number, reason: string): void;
  terminate(): void;
}

export interface SubscriberOptions {
  readonly id: string;
  readonly node: string;
  readonly form: Form;
  readonly principal: string;
  /** Bytes that are its own, those in the socket included. */
  readonly queueBytes: number;
  readonly pool: QueuePool;
  readonly stallMs: number;
  /** Time as in records. */
  timeText(): string;
  /** Milliseconds of a clock that never goes back. */
  clock(): number;
}

/** So many bytes are handed to the socket at once: they are out of reach afterwards. */
const SOCKET_BYTES = 256 * 1024;
/** How long nothing may move while the last words are on their way. */
const CLOSE_MS = 5000;

export class Subscriber {
  readonly options: SubscriberOptions;
  readonly since: string;
  /** Called when the queue has room for who fills it from the past. */
  onRoom: (() => void) | undefined;
  sent = 0;
  lost = 0;
  ended = false;
  /** Why it was closed, for the log. */
  endedBecause = '';
  readonly #connection: Connection;
  #queue: Outgoing[] = [];
  #next = 0;
  #queued = 0;
  #inSocket = 0;
  #borrowed = 0;
  #dropped = 0;
  #droppedTo = 0;
  #droppedExact = true;
  #droppedSince = '';
  /** While records are being lost: a moment, and the bytes that waited then. Each half of its queue that it takes moves them on. */
  #losing: { readonly atMs: number; readonly bytes: number } | undefined;
  #accounted = 0;
  #movedAt: number;
  #pumping = false;

  constructor(connection: Connection, options: SubscriberOptions) {
    this.#connection = connection;
    this.options = options;
    this.since = options.timeText();
    this.#movedAt = options.clock();
  }

  /** Bytes that wait for it. */
  get queuedBytes(): number {
    return this.#queued + this.#inSocket;
  }

  /** Whether records are being lost now. */
  get drops(): boolean {
    return this.#losing !== undefined;
  }

  /** Where accounting begins: the records up to this one are not asked for. */
  begin(covered: number): void {
    this.#accounted = covered;
  }

  /** The connection has gone: nothing is sent any more. */
  gone(): void {
    this.ended = true;
    this.#queue = [];
    this.#next = 0;
    this.options.pool.giveBack(this.#borrowed);
    this.#borrowed = 0;
  }

  /** Whether so many bytes more may wait: in its own queue, or in what all share. */
  #fits(bytes: number): boolean {
    const more = this.queuedBytes + bytes - this.options.queueBytes - this.#borrowed;
    if (more <= 0) return true;
    if (!this.options.pool.borrow(more)) return false;
    this.#borrowed += more;
    return true;
  }

  /** What it does not need any more. */
  #giveBack(): void {
    if (this.#borrowed === 0) return;
    const needed = Math.min(this.#borrowed, Math.max(0, this.queuedBytes - this.options.queueBytes));
    this.options.pool.giveBack(this.#borrowed - needed);
    this.#borrowed = needed;
  }

  /** A message with records, or without: sent, queued, or counted as lost. */
  offer(message: Outgoing): void {
    if (this.ended) return;
    if (this.drops || !this.#fits(message.bytes(this.options.form).length)) this.#drop(message.records, message.last, true);
    else {
      this.#append(message);
      if (message.last > 0) this.#accounted = message.last;
      this.sent += message.records;
    }
    this.#pump();
  }

  /** Records up to `last` that could not be kept for it. @param exact all of them would have passed */
  miss(count: number, last: number, exact: boolean, source: 'gap' | 'subscriber_queue', detail: string): void {
    if (this.ended || (count === 0 && exact)) return;
    this.#tell(count, last, exact, source, detail, this.options.timeText());
    this.#pump();
  }

  #append(message: Outgoing): void {
    this.#queue.push(message);
    this.#queued += message.bytes(this.options.form).length;
  }

  #drop(records: number, last: number, exact: boolean): void {
    if (this.#losing === undefined) {
      this.#losing = { atMs: this.options.clock(), bytes: this.queuedBytes };
      this.#droppedSince = this.options.timeText();
    }
    this.#dropped += records;
    this.#droppedExact &&= exact;
    if (last > this.#droppedTo) this.#droppedTo = last;
  }

  #tellDropped(): void {
    const detail = 'The subscriber did not read as fast as records came: what did not fit into its queue was left out';
    const last = Math.max(this.#droppedTo, this.#accounted);
    if (this.#dropped > 0) this.#tell(this.#dropped, last, this.#droppedExact, 'subscriber_queue', detail, this.#droppedSince);
    this.#dropped = 0;
    this.#droppedTo = 0;
    this.#droppedExact = true;
    this.#losing = undefined;
  }

  #tell(count: number, last: number, exact: boolean, source: string, detail: string, first: string): void {
    const { id, node, timeText } = this.options;
    this.lost += count;
    const scope = { node, subscriber: id };
    const record: LostRecord = { type: 'lost', source, scope, count, exact, total: this.lost, first, last: timeText(), detail };
    this.#append(Outgoing.of({ message: 'lost', seq: Math.min(this.#accounted + 1, last), last, record }));
    this.#accounted = Math.max(this.#accounted, last);
  }

  #pump(): void {
    if (this.#pumping || this.ended) return;
    this.#pumping = true;
    while (this.#next < this.#queue.length && this.#inSocket < SOCKET_BYTES) {
      const message = this.#queue[this.#next]!;
      this.#queue[this.#next++] = undefined as unknown as Outgoing;
      this.#hand(message.bytes(this.options.form));
    }
    if (this.#next > 256 && this.#next * 2 > this.#queue.length) {
      this.#queue = this.#queue.slice(this.#next);
      this.#next = 0;
    }
    this.#pumping = false;
  }

  #hand(bytes: Buffer): void {
    const { length } = bytes;
    if (this.#inSocket === 0) this.#movedAt = this.options.clock();
    this.#queued -= length;
    this.#inSocket += length;
    this.#connection.send(bytes, { binary: this.options.form === 'msgpack' }, () => {
      this.#inSocket -= length;
      this.#giveBack();
      this.#movedAt = this.options.clock();
      this.#drained();
    });
  }

  #drained(): void {
    if (this.ended) return;
    if (this.drops && this.queuedBytes <= this.options.queueBytes / 2) this.#tellDropped();
    this.#pump();
    if (!this.drops) this.onRoom?.();
  }

  /** Looks at the clock: closes who has stalled, and cuts off who does not take his leave. @returns whether it has ended */
  checkStall(): boolean {
    const now = this.options.clock();
    if (this.ended) {
      if (now - this.#movedAt > CLOSE_MS) this.#connection.terminate();
      return true;
    }
    if (this.#losing !== undefined && this.#losing.bytes - this.queuedBytes >= this.options.queueBytes / 2)
      this.#losing = { atMs: now, bytes: this.queuedBytes };
    const stalled = this.queuedBytes > 0 && now - this.#movedAt > this.options.stallMs;
    const losing = this.#losing !== undefined && now - this.#losing.atMs > this.options.stallMs;
    if (!stalled && !losing) return false;
    this.#discard();
    this.end(closeCodes.slow, 'slow');
    return true;
  }

  /** What waits in our own queue will not be read any more: it counts as lost. */
  #discard(): void {
    let records = 0;
    let last = 0;
    for (let i = this.#next; i < this.#queue.length; i++) {
      const message = this.#queue[i]!;
      records += message.records;
      last = Math.max(last, message.last);
      if (message.records > 0) this.#accounted = Math.min(this.#accounted, message.seq - 1);
    }
    this.#queue = [];
    this.#next = 0;
    this.#queued = 0;
    this.#giveBack();
    this.sent -= records;
    this.#drop(records, last, true);
    this.#tellDropped();
  }

  /** Everything that was asked for was sent, or it has to go: says so, and closes. */
  end(code: number, reason: string, more: { error?: Pick<ErrorMessage, 'code' | 'text'>; totals?: TotalRecord } = {}): void {
    if (this.ended) return;
    if (this.drops) this.#tellDropped();
    const { totals } = more;
    const bye: ByeMessage = {
      message: 'bye',
      reason,
      sent: this.sent,
      lost: this.lost,
      ...(totals === undefined ? {} : { totals }),
    };
    if (more.error !== undefined) this.#append(Outgoing.of({ message: 'error', ...more.error }));
    this.#append(Outgoing.of(bye));
    this.ended = true;
    this.endedBecause = reason;
    const rest = this.#queue.slice(this.#next);
    this.#queue = [];
    this.#next = 0;
    for (const message of rest) this.#hand(message.bytes(this.options.form));
    this.#connection.close(code, reason);
    this.#movedAt = this.options.clock();
  }
}
