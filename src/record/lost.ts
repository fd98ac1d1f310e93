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

export function lostRecord(loss: Loss, scope: LostRecord['scope'], base: TimeBase, before: readonly LostRecord[]): LostRecord {
  const earlier = before
    .filter((record) => record.source === loss.source && record.scope.node === scope.node && record.scope.netns === scope.netns)
    .at(-1);
  const at = formatTime(base, loss.atNs);
  return {
    type: 'lost',
    source: loss.source,
    scope,
    count: loss.count,
    exact: loss.exact,
    total: (earlier?.total ?? 0) + loss.count,
    first: at,
    last: at,
    detail: loss.detail,
  };
}
