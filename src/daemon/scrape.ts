/** Brings the counters of the daemon's parts into a `DaemonMetrics`: most when somebody asks for /metrics, a few with each record. */
import type { AnyRecord, TotalRecord } from '../record/record.ts';
import type { DaemonMetrics } from './metrics.ts';

/** What is read of each part; a part that is not there is left out. */
export interface CountingParts {
  readonly engine: { total(): TotalRecord; lost(): ReadonlyMap<string, number> };
  readonly follower: {
    readonly ringBytes: number;
    readonly counters: { readonly rulesRead: number; readonly toolsFailed: number; readonly conntrackEvents: number };
    namespaces(): readonly { readonly status: string }[];
  };
  /** Flows that are followed now, in all namespaces. */
  readonly flowsOpen: () => number;
  readonly link: { readonly hello: { readonly ringBudget: number | bigint } | undefined; readonly losses: number };
  readonly server: {
    readonly state: {
      readonly subscribers: number;
      readonly sent: number;
      readonly lost: number;
      readonly queuedBytes: number;
      readonly ringBytes: number;
      readonly rejected: { readonly [reason: string]: number };
      readonly ended: { readonly [reason: string]: number };
    };
  };
  /** Of each Envoy, and of those that are gone. */
  readonly envoys: () => Iterable<{ readonly same: number; readonly changed: number; readonly failed: number; readonly dumpBytes: number }>;
  readonly kubernetes?: { readonly synced: boolean; readonly staleSince?: string } | undefined;
  readonly log: { readonly dropped: number; readonly suppressed: number };
}

/** @param nowMs the clock of `staleSince`, milliseconds of the Unix epoch */
export function copyCounters(metrics: DaemonMetrics, parts: CountingParts, nowMs: number): void {
  const { engine, follower, link, server, kubernetes, log } = parts;
  const total = engine.total();
  metrics.packets = total.packets;
  metrics.bytes = total.bytes;
  metrics.flows = total.flows;
  Object.assign(metrics.unknown, total.unknown);
  for (const [source, count] of engine.lost()) metrics.lost[source] = count;
  metrics.flowsOpen = parts.flowsOpen();

  for (const state of Object.keys(metrics.namespaces)) metrics.namespaces[state] = 0;
  for (const { status } of follower.namespaces())
    if (status in metrics.namespaces) metrics.namespaces[status] = (metrics.namespaces[status] ?? 0) + 1;
  metrics.ringBytes = follower.ringBytes;
  metrics.rulesRead = follower.counters.rulesRead;
  metrics.toolsFailed = follower.counters.toolsFailed;
  metrics.conntrackEvents = follower.counters.conntrackEvents;
  metrics.probeUp = link.hello === undefined ? 0 : 1;
  if (link.hello !== undefined) metrics.ringBudgetBytes = Number(link.hello.ringBudget);
  metrics.probeRestarts = link.losses;

  const { state } = server;
  metrics.subscribers = state.subscribers;
  metrics.recordsSent = state.sent;
  metrics.lost.subscriber_queue = state.lost;
  metrics.subscriberQueueBytes = state.queuedBytes;
  metrics.streamRingBytes = state.ringBytes;
  Object.assign(metrics.requestsRejected, state.rejected);
  Object.assign(metrics.subscribersEnded, state.ended);

  const polls = { same: 0, changed: 0, failed: 0 };
  let dumpBytes = 0;
  for (const envoy of parts.envoys()) {
    polls.same += envoy.same;
    polls.changed += envoy.changed;
    polls.failed += envoy.failed;
    dumpBytes += envoy.dumpBytes;
  }
  Object.assign(metrics.envoyPolls, polls);
  metrics.envoyDumpBytes = dumpBytes;

  metrics.kubernetesSynced = kubernetes?.synced === true ? 1 : 0;
  metrics.kubernetesStaleSeconds =
    kubernetes?.staleSince === undefined ? 0 : Math.max(0, (nowMs - Date.parse(kubernetes.staleSince)) / 1000);
  metrics.logLinesDropped = log.dropped;
  metrics.logLinesLeftOut = log.suppressed;
}

/** Counts a record as it is published. */
export function countRecord(metrics: DaemonMetrics, record: AnyRecord): void {
  metrics.records[record.type] = (metrics.records[record.type] ?? 0) + 1;
  if (record.type === 'finding') metrics.findings[record.rule] = (metrics.findings[record.rule] ?? 0) + 1;
  if (record.type !== 'path' || record.event !== 'close') return;
  const complete = record.complete ? 'yes' : 'no';
  metrics.paths[complete] = (metrics.paths[complete] ?? 0) + 1;
}
