/** Something was lost: the record of it. `total` counts what its source lost in its scope so far. */
import { formatTime, type TimeBase } from '../net/time.ts';
import type { LostRecord } from './record.ts';

export interface Loss {
  readonly source: string;
  readonly count: number;
  readonly exact: boolean;
  readonly atNs: number;
  readonly detail: string;
}

/** What was lost last, by source and scope. */
export type LastLosses = Map<string, LostRecord>;

/** The record of a loss, which becomes the last of its source and scope. */
export function addLoss(lasts: LastLosses, loss: Loss, scope: LostRecord['scope'], base: TimeBase): LostRecord {
  const key = `${loss.source}\n${scope.node}\n${scope.netns ?? ''}\n${scope.subscriber ?? ''}`;
  const at = formatTime(base, loss.atNs);
  const record: LostRecord = {
    type: 'lost',
    source: loss.source,
    scope,
    count: loss.count,
    exact: loss.exact,
    total: (lasts.get(key)?.total ?? 0) + loss.count,
    first: at,
    last: at,
    detail: loss.detail,
  };
  lasts.set(key, record);
  return record;
}
