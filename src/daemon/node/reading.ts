/** What the readers of one namespace's state share. */
import { errorText } from '../../net/error-text.ts';
import { formatTime, type TimeBase } from '../../net/time.ts';
import type { Loss } from '../../record/lost.ts';
import type { LiveWorld } from '../../world/live.ts';
import type { Log } from '../log.ts';
import { nowNs } from './engine-boundary.ts';
import { ProbeLinkError } from './probe-end.ts';
import type { ProbeLink } from './probe-link.ts';

/** How often things happened since the daemon began. */
export interface ReadingCounters {
  rulesRead: number;
  toolsFailed: number;
  conntrackEvents: number;
}

export interface ReadingScope {
  readonly cookie: bigint;
  readonly link: ProbeLink;
  readonly world: LiveWorld;
  readonly base: TimeBase;
  readonly log: Log;
  readonly counters: ReadingCounters;
  lose(loss: Omit<Loss, 'atNs'>): void;
}

/** RFC 3339 of now. */
export function stampNow(base: TimeBase): string {
  return formatTime(base, nowNs(base));
}

/** A part of the world could not be read: it is unavailable, with the reason. A namespace that has gone and a lost connection are told by their own records. */
export function partFailed(scope: ReadingScope, part: string, error: unknown): void {
  if (error instanceof ProbeLinkError) {
    const { code } = error.end;
    if (code === 'gone' || code === 'disconnected' || code === 'shutdown') return;
  }
  const reason = errorText(error);
  scope.counters.toolsFailed++;
  scope.world.setUnavailable(part, reason);
  scope.log.warn({ what: part, err: error }, 'a part of the state of a namespace could not be read');
}
