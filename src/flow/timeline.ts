/**
 * When how much was sent which way on a connection whose requests cannot be read. Requests on TLS legs are joined by it.
 */

/** What one side sent without the other saying anything in between, and without a pause. */
export interface Burst {
  /** 0: from the client, 1: from the server. */
  readonly direction: 0 | 1;
  /** First and last byte. */
  readonly startNs: number;
  endNs: number;
  /** Bytes of the stream; of TLS, records with their headers. */
  bytes: number;
  /** TLS: application data records that ended in this burst; -1 when their headers were not seen. */
  records: number;
  /** TLS: content of these records without what encryption adds; -1 unknown. */
  plainBytes: number;
}

const MAX_BURSTS = 4096;
/** A pause longer than this ends a burst. */
const BURST_PAUSE_NS = 100_000;

export class Timeline {
  /** In the order of their first bytes; at most 4096 that nobody took. */
  bursts: Burst[] = [];
  /** Bursts that could not be kept. */
  overflow = 0;
  /** Bytes of all bursts, from the client and from the server, kept or not. */
  readonly total: [number, number] = [0, 0];
  #last: Burst | undefined;

  add(direction: 0 | 1, startNs: number, endNs: number, bytes: number, records: number, plainBytes: number): void {
    this.total[direction] += bytes;
    const last = this.#last;
    if (last !== undefined && last.direction === direction && startNs - last.endNs <= BURST_PAUSE_NS) {
      last.endNs = Math.max(last.endNs, endNs);
      last.bytes += bytes;
      last.records = records === -1 || last.records === -1 ? -1 : last.records + records;
      last.plainBytes = plainBytes === -1 || last.plainBytes === -1 ? -1 : last.plainBytes + plainBytes;
      return;
    }
    this.#last = { direction, startNs, endNs, bytes, records, plainBytes };
    if (this.bursts.length < MAX_BURSTS) this.bursts.push(this.#last);
    else this.overflow++;
  }

  /** Removes and returns the bursts so far. The next bytes begin a new one. */
  take(): Burst[] {
    const taken = this.bursts;
    this.bursts = [];
    this.#last = undefined;
    return taken;
  }
}
