/**
 * What was read of one thing, several times: a short history. A connection is judged by the snapshot that held when it began: the newest that was read before it, else the oldest
 * (then `later` is true and the grade is weaker).
 */
export interface Snapshot<T> {
  /** Nanoseconds since the time base. */
  readonly atNs: number;
  /** RFC 3339, as recorded. */
  readonly readAt: string;
  readonly value: T;
}

export interface Held<T> {
  readonly snapshot: Snapshot<T>;
  /** Was it read only after the moment asked for? */
  readonly later: boolean;
}

export class History<T> {
  readonly #snapshots: readonly Snapshot<T>[];

  constructor(snapshots: readonly Snapshot<T>[]) {
    this.#snapshots = [...snapshots].sort((a, b) => a.atNs - b.atNs);
  }

  get snapshots(): readonly Snapshot<T>[] {
    return this.#snapshots;
  }

  /** The snapshot that held at a moment; `undefined` when there is none at all. */
  at(timeNs: number): Held<T> | undefined {
    let best: Snapshot<T> | undefined;
    for (const snapshot of this.#snapshots) if (snapshot.atNs <= timeNs) best = snapshot;
    if (best !== undefined) return { snapshot: best, later: false };
    const first = this.#snapshots[0];
    return first === undefined ? undefined : { snapshot: first, later: true };
  }
}
