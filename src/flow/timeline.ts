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
  /** TLS: application data records in this burst; -1 when their headers were not seen. */
  records: number;
  /** TLS: content of these records without what encryption adds; -1 unknown. */
  plainBytes: number;
  /** TLS 1.3: the record belongs to the handshake (certificates, Finished), judged by its place and length. Session tickets after it are not told apart from data. */
  handshake: boolean;
  /** TLS: sequence number after the last record, as int32 bits. */
  endSeq?: number;
}

const MAX_BURSTS = 4096;
/** A pause longer than this ends a burst. */
const BURST_PAUSE_NS = 100_000;

export class Timeline {
  /** In the order in which they ended; at most 4096 that nobody took. */
  bursts: Burst[] = [];
  /** Bursts that could not be kept. */
  overflow = 0;
  /** Bytes of all bursts, from the client and from the server, kept or not. */
  readonly total: [number, number] = [0, 0];
  #last: Burst | undefined;

  /** Bytes that cannot be read, in one piece at `timeNs`. */
  add(direction: 0 | 1, timeNs: number, bytes: number): void {
    this.total[direction] += bytes;
    const last = this.#last;
    if (last !== undefined && last.records === -1 && last.direction === direction && timeNs - last.endNs <= BURST_PAUSE_NS) {
      last.endNs = timeNs;
      last.bytes += bytes;
    } else this.#begin({ direction, startNs: timeNs, endNs: timeNs, bytes, records: -1, plainBytes: -1, handshake: false });
  }

  /** A whole TLS record. It joins the burst before it where it can. */
  addRecord(record: Burst): void {
    this.total[record.direction] += record.bytes;
    const last = this.#last;
    const joins =
      last !== undefined && last.records > 0 && last.direction === record.direction && record.startNs - last.endNs <= BURST_PAUSE_NS;
    if (!joins) {
      this.#begin(record);
      return;
    }
    last.endNs = record.endNs;
    if (record.endSeq !== undefined) last.endSeq = record.endSeq;
    last.bytes += record.bytes;
    last.records += record.records;
    last.plainBytes = record.plainBytes === -1 || last.plainBytes === -1 ? -1 : last.plainBytes + record.plainBytes;
  }

  /** What comes next begins a new burst. */
  split(): void {
    this.#last = undefined;
  }

  /** Removes and returns the bursts so far. What comes next begins a new one. */
  take(): Burst[] {
    const taken = this.bursts;
    this.bursts = [];
    this.#last = undefined;
    return taken;
  }

  #begin(burst: Burst): void {
    this.#last = burst;
    if (this.bursts.length < MAX_BURSTS) this.bursts.push(burst);
    else this.overflow++;
  }
}
