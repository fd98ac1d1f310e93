/**
 * What the opener asked for, and what netfilter made of it: the original tuple, the translated one, the zone, and how we know.
 *
 * The wire shows the answers of a redirected connection under the original tuple and its questions under the translated one; conntrack knows both tuples of every connection,
 * also of one that was redirected on its way in, where the wire shows nothing.
 */
import type { Flow, FlowEnd } from '../flow/flow.ts';
import { isLoopback } from '../net/address.ts';
import type { ConntrackEntry } from '../netfilter/conntrack.ts';
import type { Evidence } from '../record/record.ts';
import { type ConntrackView, endOf } from '../world/conntrack-view.ts';

export interface Translation {
  /** The original tuple. */
  readonly source: FlowEnd;
  readonly destination: FlowEnd;
  /** As the other socket sees it: source and destination after netfilter. Absent when nothing is known of a translation. */
  readonly translated?: { readonly source: FlowEnd; readonly destination: FlowEnd; readonly evidence: Evidence };
  /** Did somebody see that the tuple was left as it is? */
  readonly untouched?: Evidence;
  readonly halves?: { readonly by: 'conntrack' | 'sequence'; readonly evidence: Evidence };
  readonly zone?: number;
  /** connmark, as conntrack printed it last. */
  readonly mark?: number;
  /** Was a conntrack entry found? */
  readonly tracked: boolean;
  /** The opener is known from conntrack to be the other side than the flow says. */
  readonly flipped?: true;
}

const equal = (a: { ip: string; port?: number }, b: { ip: string; port?: number }): boolean =>
  a.ip === b.ip && (a.port ?? 0) === (b.port ?? 0);

function rest(entry: ConntrackEntry): { zone?: number; mark?: number; tracked: true } {
  return {
    ...(entry.zone === undefined ? {} : { zone: entry.zone }),
    ...(entry.mark === undefined ? {} : { mark: entry.mark }),
    tracked: true,
  };
}

/** One entry, or several that say the same of the translation. */
function unanimous(entries: readonly ConntrackEntry[]): ConntrackEntry | undefined {
  const first = entries[0];
  if (first === undefined) return undefined;
  for (const entry of entries) {
    if (!equal(entry.reply.source, first.reply.source) || !equal(entry.reply.destination, first.reply.destination)) return undefined;
    if (!equal(entry.original.source, first.original.source) || !equal(entry.original.destination, first.original.destination))
      return undefined;
    if (entry.zone !== first.zone) return undefined;
  }
  return entries.at(-1);
}

/** @param conntrack `undefined` when nothing of it was recorded */
export function findTranslation(flow: Flow, conntrack: ConntrackView | undefined): Translation {
  if (flow.answered !== undefined) {
    const source = flow.answered.to;
    const destination = flow.answered.by;
    const entries = conntrack?.byOriginal({ protocol: flow.protocol, source, destination }) ?? [];
    const entry = unanimous(entries.filter((e) => equal(e.reply.source, flow.destination) && equal(e.reply.destination, flow.source)));
    return {
      source,
      destination,
      translated: { source: flow.source, destination: flow.destination, evidence: entry === undefined ? 'derived' : 'observed' },
      halves: { by: 'sequence', evidence: entry === undefined ? 'derived' : 'observed' },
      ...(entry === undefined ? { tracked: false } : rest(entry)),
    };
  }
  const wire = { protocol: flow.protocol, source: flow.source, destination: flow.destination };
  if (conntrack === undefined) return { source: flow.source, destination: flow.destination, tracked: false };
  if (isLoopback(flow.destination.ip) && !isLoopback(flow.source.ip)) {
    const entry = unanimous(conntrack.byReply(wire).filter((e) => !equal(e.original.destination, flow.destination)));
    if (entry !== undefined)
      return {
        source: endOf(entry.original, 'source'),
        destination: endOf(entry.original, 'destination'),
        translated: { source: flow.source, destination: flow.destination, evidence: 'observed' },
        halves: { by: 'conntrack', evidence: 'observed' },
        ...rest(entry),
      };
  }
  const entry = unanimous(conntrack.byOriginal(wire));
  if (entry === undefined) {
    if (!flow.openerSeen) {
      const other = unanimous(conntrack.byOriginal({ protocol: flow.protocol, source: flow.destination, destination: flow.source }));
      if (other !== undefined) return { ...settled(flow.destination, flow.source, other), flipped: true };
    }
    return { source: flow.source, destination: flow.destination, tracked: false };
  }
  return settled(flow.source, flow.destination, entry);
}

function settled(source: FlowEnd, destination: FlowEnd, entry: ConntrackEntry): Translation {
  const translated = { source: endOf(entry.reply, 'destination'), destination: endOf(entry.reply, 'source') };
  if (equal(translated.source, source) && equal(translated.destination, destination))
    return { source, destination, untouched: 'observed', ...rest(entry) };
  return { source, destination, translated: { ...translated, evidence: 'observed' }, ...rest(entry) };
}
