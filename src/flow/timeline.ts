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
  /**
   * What was forgotten at the front: turns (bytes of the client and the answer to them), the client's bytes in them, and when the first of them began.
   */
  readonly forgotten = { turns: 0, clientBytes: 0, firstClientNs: undefined as number | undefined };
  /**
   * Turns of which it was told what they carried: by the client's bytes up to their end, counted from the beginning. Whose request was sent on here, and where one that came in here went on:
   * a connection of a pod with itself is on both sides of its proxy.
   */
  readonly settled = { sent: new Set<number>(), came: new Set<number>() };
  #last: Burst | undefined;

  /** Forgets whole turns at the front that ended before a moment. */
  forgetTurns(beforeNs: number): void {
    const { bursts, forgotten } = this;
    let cut = 0;
    let turns = 0;
    let clientBytes = 0;
    let endedNs = 0;
    let answered = true;
    let bytesAtCut = 0;
    let turnsAtCut = 0;
    for (let i = 0; i < bursts.length; i++) {
      const burst = bursts[i]!;
      if (burst.direction === 0 && answered) {
        // A turn begins: all before it is whole.
        if (endedNs >= beforeNs) break;
        cut = i;
        bytesAtCut = clientBytes;
        turnsAtCut = turns;
        turns++;
        answered = false;
      } else if (burst.direction === 1 && turns > 0) answered = true;
      if (burst.direction === 0) clientBytes += burst.bytes;
      endedNs = Math.max(endedNs, burst.endNs);
    }
    if (cut === 0) return;
    forgotten.firstClientNs ??= bursts.find((burst) => burst.direction === 0)?.startNs;
    forgotten.turns += turnsAtCut;
    forgotten.clientBytes += bytesAtCut;
    bursts.splice(0, cut);
    for (const ends of Object.values(this.settled)) for (const end of ends) if (end <= forgotten.clientBytes) ends.delete(end);
  }

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
