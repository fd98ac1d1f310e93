/** What following a node's namespaces asks of the engine that annotates what they do. */
import type { TimeBase } from '../../net/time.ts';
import type { Loss } from '../../record/lost.ts';
import type { LostRecord } from '../../record/record.ts';
import type { LiveWorld } from '../../world/live.ts';

/** One namespace, as the engine sees it. */
export interface EngineView {
  /** The payload of a FRAMES message, in the order of arrival. */
  observeProbeFrames(payload: Uint8Array): void;
}

export interface FollowerEngine<View extends EngineView = EngineView> {
  open(cookie: bigint, world: LiveWorld): View;
  /** The flows of the namespace end; every frame has been handed over. */
  close(view: View): void;
  /** Becomes a lost record, in order with the others. */
  lose(loss: Loss, scope: LostRecord['scope']): void;
}

/** Nanoseconds since the base, of now. */
export function nowNs(base: TimeBase): number {
  return (Date.now() - base.epochSeconds * 1000) * 1_000_000;
}
