/** An application that passes x-request-id on links its inbound request with its own calls. */
import type { PathRecord } from '../record/record.ts';
import type { Hop } from './hop.ts';

/**
 * Fills `parent`.
 *
 * @param paths the id of the path that a hop is part of
 */
export function tellParents(hops: readonly Hop[], records: readonly PathRecord[], paths: ReadonlyMap<Hop, string>): void {
  const inbound = new Map<string, Hop | 'several'>();
  for (const hop of hops) {
    const id = hop.exchange?.request?.requestId;
    if (hop.direction !== 'inbound' || hop.readOn !== 'up' || id === undefined) continue;
    const key = `${hop.up!.world.node}\n${hop.up!.record.netns}\n${id}`;
    inbound.set(key, inbound.has(key) ? 'several' : hop);
  }
  const byId = new Map(records.map((record) => [record.id, record]));
  for (const hop of hops) {
    const id = hop.exchange?.request?.requestId;
    if (hop.direction !== 'outbound' || hop.readOn !== 'down' || id === undefined) continue;
    const parent = inbound.get(`${hop.down!.world.node}\n${hop.down!.record.netns}\n${id}`);
    const record = byId.get(paths.get(hop) ?? '');
    const parentId = parent === undefined || parent === 'several' ? undefined : paths.get(parent);
    if (record !== undefined && parentId !== undefined && parentId !== record.id) record.parent = parentId;
  }
}
