/** A byte tunnel through the probe to a port of 127.0.0.1 inside a pod, as a stream of Node. */
import { Duplex } from 'node:stream';
import { LARGEST_REQUEST, TUNNEL_SEND_WINDOW, TUNNEL_WINDOW } from '../../source/probe-protocol.ts';
import { describeEnd, type ProbeEnd, ProbeLinkError } from './probe-end.ts';

/** What a tunnel asks of the link that carries it. */
export interface TunnelCarrier {
  data(bytes: Uint8Array): void;
  credit(bytes: number): void;
  close(): void;
}

/** Credit is given in pieces of this size: a message each read would cost more than it says. */
const CREDIT_PIECE = TUNNEL_WINDOW / 4;

/**
 * Reading slowly holds the pod's side back, and nobody else: at most {@link TUNNEL_WINDOW} bytes lie here. Writing waits for the pod's side in the same way. Neither
 * side can be closed alone: after `end()` the answer may still be read.
 */
export class ProbeTunnel extends Duplex {
  readonly #carrier: TunnelCarrier;
  readonly #what: string;
  #taken = 0;
  #room = TUNNEL_SEND_WINDOW;
  #waiting: { bytes: Uint8Array; done: (error?: Error | null) => void } | undefined;
  #over = false;

  constructor(carrier: TunnelCarrier, what: string) {
    super({ allowHalfOpen: true, readableHighWaterMark: CREDIT_PIECE });
    this.#carrier = carrier;
    this.#what = what;
  }

  /** From the link: bytes of the pod. */
  received(bytes: Uint8Array): void {
    this.#taken += bytes.length;
    if (this.push(bytes)) this.#giveCredit();
  }

  /** From the link: as many bytes more may be sent. */
  credited(bytes: number): void {
    this.#room = Math.min(this.#room + bytes, TUNNEL_SEND_WINDOW);
    this.#send();
  }

  /** From the link: nothing more comes. */
  ended(end: ProbeEnd): void {
    this.#over = true;
    if (end.code === 'done' || end.code === 'closed') {
      this.push(null);
      if (this.#waiting !== undefined) this.destroy(new ProbeLinkError(`Cannot write to ${this.#what}: the other side has closed it`, end));
    } else this.destroy(new ProbeLinkError(`Cannot go on with ${this.#what}: ${describeEnd(end)}`, end));
  }

  override _read(): void {
    this.#giveCredit();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#waiting = { bytes: chunk, done };
    this.#send();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (!this.#over) this.#carrier.close();
    this.#over = true;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.done(error);
    done(error);
  }

  #giveCredit(): void {
    if (this.#taken < CREDIT_PIECE || this.#over) return;
    this.#carrier.credit(this.#taken);
    this.#taken = 0;
  }

  #send(): void {
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    if (this.#over) {
      this.#waiting = undefined;
      waiting.done(new Error(`Cannot write to ${this.#what}: it has ended`));
      return;
    }
    let { bytes } = waiting;
    while (bytes.length > 0 && this.#room > 0) {
      const piece = bytes.subarray(0, Math.min(this.#room, LARGEST_REQUEST));
      this.#carrier.data(piece);
      this.#room -= piece.length;
      bytes = bytes.subarray(piece.length);
    }
    waiting.bytes = bytes;
    if (bytes.length > 0) return;
    this.#waiting = undefined;
    waiting.done();
  }
}
