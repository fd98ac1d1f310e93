/** Paths that came before some of their flows: a path's later legs begin after it does. Each is given back when the last of its flows has come. */
import type { PathRecord } from '../record/record.ts';

interface Waiting {
  readonly path: PathRecord;
  missing: number;
}

export class PathWaiting {
  readonly #byFlow = new Map<string, Waiting[]>();
  /** In the order of arrival. */
  readonly #all = new Set<Waiting>();

  /** @returns whether the path has to wait for a flow that is not known */
  add(path: PathRecord, isKnown: (flow: string) => boolean): boolean {
    const missing = new Set(path.legs.map(({ flow }) => flow).filter((flow) => !isKnown(flow)));
    if (missing.size === 0) return false;
    const waiting = { path, missing: missing.size };
    this.#all.add(waiting);
    for (const flow of missing) {
      const list = this.#byFlow.get(flow);
      if (list === undefined) this.#byFlow.set(flow, [waiting]);
      else list.push(waiting);
    }
    return true;
  }

  /** A flow has come: the paths that waited for nothing else. */
  arrived(flow: string): readonly PathRecord[] {
    const list = this.#byFlow.get(flow);
    if (list === undefined) return none;
    this.#byFlow.delete(flow);
    const ready: PathRecord[] = [];
    for (const waiting of list)
      if (--waiting.missing === 0) {
        this.#all.delete(waiting);
        ready.push(waiting.path);
      }
    return ready;
  }

  /** Nothing more will come: all that still wait. */
  rest(): PathRecord[] {
    const paths = [...this.#all].map(({ path }) => path);
    this.#all.clear();
    this.#byFlow.clear();
    return paths;
  }
}

const none: readonly PathRecord[] = [];
