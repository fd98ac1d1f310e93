/** Where the newest state of each flow and path lies in the ring, which paths go through a flow, and what was found: what filters and paths ask for. */
import type { AnyRecord, FlowRecord, PathRecord } from '../record/record.ts';
import type { Batch } from './batch.ts';
import type { Ring } from './ring.ts';

/** As many paths of one flow are looked at; a flow record names no more. */
const PATHS_MAX = 16;
/** Decoded records that are kept for the next who asks. */
const DECODED_MAX = 4096;
/** Findings that filters know by their rule. */
const FINDINGS_MAX = 10_000;

export class RecordIndex {
  readonly #ring: Ring;
  readonly #flows = new Map<string, number>();
  readonly #paths = new Map<string, number>();
  readonly #pathsOfFlow = new Map<string, string[]>();
  readonly #findings = new Map<string, Set<string>>();
  readonly #decoded = new Map<number, AnyRecord>();
  #findingCount = 0;
  #cleanAt = 10_000;

  constructor(ring: Ring) {
    this.#ring = ring;
  }

  add(batch: Batch, records: readonly AnyRecord[]): void {
    let { seq } = batch;
    for (const record of records) {
      if (record.type === 'flow') this.#flows.set(record.id, seq);
      else if (record.type === 'path') this.#addPath(record, seq);
      else if (record.type === 'finding') this.#addFinding(record.rule, record.id);
      seq++;
    }
    if (this.#flows.size + this.#paths.size > this.#cleanAt) this.#clean();
  }

  #addPath(path: PathRecord, seq: number): void {
    if (!this.#paths.has(path.id))
      for (const { flow } of path.legs) {
        const of = this.#pathsOfFlow.get(flow);
        if (of === undefined) this.#pathsOfFlow.set(flow, [path.id]);
        else if (!of.includes(path.id)) {
          if (of.length >= PATHS_MAX) of.shift();
          of.push(path.id);
        }
      }
    this.#paths.set(path.id, seq);
  }

  #addFinding(rule: string, id: string): void {
    if (this.#findingCount >= FINDINGS_MAX) {
      this.#findings.clear();
      this.#findingCount = 0;
    }
    const known = this.#findings.get(rule);
    if (known === undefined) this.#findings.set(rule, new Set([id]));
    else known.add(id);
    this.#findingCount++;
  }

  /** What the ring has let go is let go here, once in a while. */
  #clean(): void {
    const { oldest } = this.#ring;
    for (const [id, seq] of this.#flows) if (seq < oldest) this.#flows.delete(id);
    for (const [id, seq] of this.#paths) if (seq < oldest) this.#paths.delete(id);
    for (const [flow, paths] of this.#pathsOfFlow) {
      const left = paths.filter((path) => this.#paths.has(path));
      if (left.length === 0) this.#pathsOfFlow.delete(flow);
      else if (left.length < paths.length) this.#pathsOfFlow.set(flow, left);
    }
    this.#cleanAt = Math.max(10_000, 2 * (this.#flows.size + this.#paths.size));
  }

  /** Entries, for those who count memory. */
  get size(): number {
    return this.#flows.size + this.#paths.size + this.#pathsOfFlow.size;
  }

  /** Number of the newest record of a flow that is still in the ring. */
  flowSeq(id: string): number | undefined {
    return this.#kept(this.#flows.get(id));
  }

  /** The newest state of a flow. */
  flow(id: string): FlowRecord | undefined {
    return this.#record(this.#flows.get(id)) as FlowRecord | undefined;
  }

  /** The newest state of a flow, as its encoded row. */
  flowRow(id: string): Buffer | undefined {
    const seq = this.flowSeq(id);
    const batch = seq === undefined ? undefined : this.#ring.find(seq);
    return batch?.row(seq! - batch.seq);
  }

  /** The newest state of a path. */
  path(id: string): PathRecord | undefined {
    return this.#record(this.#paths.get(id)) as PathRecord | undefined;
  }

  /** Paths that go through a flow, the newest {@link PATHS_MAX} of them. */
  pathsOf(flow: string): readonly PathRecord[] {
    const ids = this.#pathsOfFlow.get(flow);
    return ids === undefined ? [] : ids.map((id) => this.path(id)).filter((path) => path !== undefined);
  }

  findingsOf(rule: string): ReadonlySet<string> {
    return this.#findings.get(rule) ?? none;
  }

  #kept(seq: number | undefined): number | undefined {
    return seq !== undefined && seq >= this.#ring.oldest ? seq : undefined;
  }

  #record(seq: number | undefined): AnyRecord | undefined {
    const kept = this.#kept(seq);
    if (kept === undefined) return undefined;
    const known = this.#decoded.get(kept);
    if (known !== undefined) return known;
    const batch = this.#ring.find(kept);
    if (batch === undefined) return undefined;
    const record = batch.record(kept - batch.seq);
    if (batch.records === undefined) {
      if (this.#decoded.size >= DECODED_MAX) this.#decoded.clear();
      this.#decoded.set(kept, record);
    }
    return record;
  }
}

const none: ReadonlySet<string> = new Set();
