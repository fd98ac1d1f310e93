/** The listener was changed while a connection stood: the connection keeps the chain and the filters of the old one, so that a new policy does not hold for it. */
import type { Subject } from '../annotate/subject.ts';
import { Drafts, type FindingText } from './drafts.ts';
import { type Finding, playing } from './finding.ts';
import { beganMs, connectionText, placeName } from './quote.ts';

const rule = 'listener-newer-than-connection';
/** Workers take a new listener a moment after it was received. */
const WARMING_MS = 250;

interface Outlived {
  readonly listener: string;
  readonly updatedMs: number;
  /** Was the connection seen to begin before that? Otherwise it may be older. */
  readonly sure: boolean;
}

export const listenerNewerThanConnection: Finding = {
  rule,
  find(input) {
    const drafts = new Drafts(rule);
    for (const subject of playing(input, 'app-to-proxy', 'client-to-proxy')) {
      const outlived = judge(subject);
      if (outlived === undefined) continue;
      const { record, world } = subject;
      drafts.add(world, `${outlived.listener} ${outlived.updatedMs}`, [subject], input.pathsThrough(record.id), () =>
        describe(subject, outlived),
      );
    }
    return drafts.records();
  },
};

function judge(subject: Subject): Outlived | undefined {
  const { connection, flow, world, base, tracker } = subject;
  if (connection === undefined || flow.protocol !== 'tcp') return undefined;
  const names = new Set(connection.ways.flatMap(({ listener }) => (listener === undefined ? [] : [listener.name])));
  const [listener] = names;
  if (listener === undefined || names.size !== 1) return undefined;
  const firstMs = beganMs(subject);
  const lastMs = base.epochSeconds * 1000 + flow.lastNs / 1e6;
  if (!flow.midstream) {
    const after = updatesOf(world, listener).find((ms) => ms > firstMs && ms + WARMING_MS < lastMs);
    return after === undefined ? undefined : { listener, updatedMs: after, sure: true };
  }
  // Which of two versions it began under is not known; only what it carried is worth telling.
  const versions = new Set(connection.ways.map((way) => way.listener?.lastUpdatedMs));
  const newest = updatesOf(world, listener).findLast((ms) => ms <= firstMs);
  if (versions.size < 2 || newest === undefined || tracker === undefined || !flow.payloadToDestination) return undefined;
  return { listener, updatedMs: newest, sure: false };
}

/** When readings say that this listener was updated, in order. */
function updatesOf(world: Subject['world'], name: string): number[] {
  const found = new Set<number>();
  for (const config of world.envoy?.configs ?? [])
    for (const listener of config.listeners)
      if (listener.name === name && listener.state === 'active' && listener.lastUpdatedMs !== undefined) found.add(listener.lastUpdatedMs);
  return [...found].sort((a, b) => a - b);
}

function describe(subject: Subject, { listener, updatedMs, sure }: Outlived): FindingText {
  const at = new Date(updatedMs).toISOString();
  return {
    severity: 'info',
    title: sure
      ? `A connection of ${placeName(subject.world)} is older than its listener "${listener}": what changed does not hold for it`
      : `A connection of ${placeName(subject.world)} may be older than its listener "${listener}": then what changed does not hold for it`,
    proof: [
      `${connectionText(subject)}: ${sure ? `open until ${subject.record.last}` : 'it began before the recording'}.`,
      `Envoy got the listener that now stands at ${at}. A connection keeps the chain, the TLS and the filters (access policies among them) of the time when it was accepted, until it ends or the old listener has drained.`,
    ],
    fix: 'If the change has to hold at once, let the clients connect anew (restart them), or shorten the drain time (drainDuration) of the proxy.',
  };
}
