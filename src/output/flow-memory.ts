/**
 * Flows that paths will ask for: a path names its legs by flow id, and what a person wants to read stands in the flows.
 *
 * A flow that says in `paths` that it belongs to some is kept until as many paths (`pathCount`) have gone through it; other flows are not kept. Paths may come before their flows.
 */
import type { FlowRecord, PathRecord } from '../record/record.ts';

interface Kept {
  flow: FlowRecord;
  left: number;
}

export class FlowMemory {
  readonly #flows = new Map<string, Kept>();

  /** Keeps a flow, or the newer state of one. */
  remember(flow: FlowRecord): void {
    const kept = this.#flows.get(flow.id);
    if (kept !== undefined) kept.flow = flow;
    else if (flow.paths !== undefined && flow.paths.length > 0)
      this.#flows.set(flow.id, { flow, left: flow.pathCount ?? flow.paths.length });
  }

  find(id: string): FlowRecord | undefined {
    return this.#flows.get(id)?.flow;
  }

  has(id: string): boolean {
    return this.#flows.has(id);
  }

  /** The path has ended and was shown: its flows are let go when no other path needs them. */
  release(path: PathRecord): void {
    if (path.event !== 'close') return;
    for (const { flow } of path.legs) {
      const kept = this.#flows.get(flow);
      if (kept !== undefined && --kept.left <= 0) this.#flows.delete(flow);
    }
  }

  get size(): number {
    return this.#flows.size;
  }
}
