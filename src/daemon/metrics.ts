/**
 * What /metrics tells. The parts of the daemon keep their own counters, or write into a `DaemonMetrics`; nothing is computed per packet for the sake of a metric. All sets of
 * labels are closed or bounded, since a label whose values come off the wire would grow without end. docs/operations.md describes each; a test holds the two together.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';

/** Where something can be lost: the sources of lost records. */
export const LOSS_STAGES = [
  'kernel_ring',
  'undrained',
  'conntrack_events',
  'flow_table',
  'requests',
  'engine',
  'gap',
  'stream_row',
  'subscriber_queue',
] as const;

export const NAMESPACE_STATES = ['opening', 'capturing', 'failed'] as const;
export const POLL_RESULTS = ['same', 'changed', 'failed'] as const;
const SERIES_LIMIT = 128;

interface MetricShape {
  readonly type: 'counter' | 'gauge';
  readonly help: string;
  /** The name of the one label, where it has one; then its value in `DaemonMetrics` is a record by the label's values. */
  readonly label?: string;
}

/** Every metric of ours: the field of `DaemonMetrics` and what is told about it. The name is `sidetrace_` and the field in snake_case, counters with `_total`. */
export const METRICS = {
  packets: { type: 'counter', help: 'Frames that the probe delivered' },
  bytes: { type: 'counter', help: 'Bytes of these frames, as they were on the wire' },
  lost: { type: 'counter', help: 'What was lost, by stage: frames, events or records', label: 'stage' },
  namespaces: { type: 'gauge', help: 'Network namespaces by the state of their capture', label: 'state' },
  ringBytes: { type: 'gauge', help: "Kernel memory of the capture rings; it is in no control group's account" },
  ringBudgetBytes: { type: 'gauge', help: 'The most that all capture rings together may take' },
  probeUp: { type: 'gauge', help: '1 while the probe is connected' },
  probeRestarts: { type: 'counter', help: 'Connections to the probe after the first' },
  flowsOpen: { type: 'gauge', help: 'Flows that are followed now' },
  flows: { type: 'counter', help: 'Flows that were told' },
  paths: { type: 'counter', help: 'Paths that ended, by whether every leg is known', label: 'complete' },
  findings: { type: 'counter', help: 'Finding records by rule', label: 'rule' },
  unknown: { type: 'counter', help: 'Answers that stayed unknown, by reason', label: 'reason' },
  records: { type: 'counter', help: 'Records that were published, by type', label: 'type' },
  rulesRead: { type: 'counter', help: 'Readings of netfilter rules' },
  toolsFailed: { type: 'counter', help: 'Tools and dumps of the probe that failed' },
  conntrackEvents: { type: 'counter', help: 'Events of connection tracking' },
  envoyPolls: { type: 'counter', help: "Questions for the version of an Envoy's configuration, by result", label: 'result' },
  envoyDumpBytes: { type: 'counter', help: 'Bytes of configuration dumps that were read' },
  kubernetesSynced: { type: 'gauge', help: '1 while pods, services and endpoint slices are all known' },
  kubernetesStaleSeconds: { type: 'gauge', help: 'Seconds since the API server last answered a watch; 0 while it does' },
  subscribers: { type: 'gauge', help: 'Subscribers that are connected' },
  subscribersEnded: { type: 'counter', help: 'Subscribers that are gone, by why', label: 'why' },
  subscriberQueueBytes: { type: 'gauge', help: 'Bytes that wait for subscribers, of all together' },
  streamRingBytes: { type: 'gauge', help: 'Bytes of records that are kept for "last", "since" and resumption' },
  recordsSent: { type: 'counter', help: 'Records that were given to subscribers, to each counted' },
  requestsRejected: { type: 'counter', help: 'Requests that the stream turned away, by reason', label: 'reason' },
  logLinesDropped: { type: 'counter', help: 'Lines of the log that its reader was too slow for' },
  logLinesLeftOut: { type: 'counter', help: 'Messages of the log that were left out as repetitions' },
} as const satisfies Record<string, MetricShape>;

type Field = keyof typeof METRICS;
type Labelled = { [F in Field]: (typeof METRICS)[F] extends { readonly label: string } ? F : never }[Field];

/** A plain object: numbers, and for metrics with a label a record of numbers. Counters are totals since the start and only rise. */
export type DaemonMetrics = { [F in Exclude<Field, Labelled>]: number } & { readonly [F in Labelled]: Record<string, number> } & {
  /** Called before each scrape: copies into this object what the parts count themselves. One that throws is left out. */
  readonly onScrape: (() => void)[];
};

/** All zero; records with their closed labels, so that every series is there from the start. */
export function makeMetrics(): DaemonMetrics {
  const zero = (labels: readonly string[]) => Object.fromEntries(labels.map((label) => [label, 0]));
  const labels: Partial<Record<Field, readonly string[]>> = {
    lost: LOSS_STAGES,
    namespaces: NAMESPACE_STATES,
    envoyPolls: POLL_RESULTS,
    paths: ['yes', 'no'],
    records: ['flow', 'path', 'finding', 'lost'],
  };
  const entries = Object.entries(METRICS).map(([field, shape]) => [field, 'label' in shape ? zero(labels[field as Field] ?? []) : 0]);
  return { ...Object.fromEntries(entries), onScrape: [] } as DaemonMetrics;
}

/** The name under which a field is told: `flowsOpen` is `sidetrace_flows_open`, the counter `packets` is `sidetrace_packets_total`. */
export function metricName(field: string): string {
  const shape: MetricShape | undefined = METRICS[field as Field];
  return `sidetrace_${field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}${shape?.type === 'counter' ? '_total' : ''}`;
}

export interface Exposition {
  readonly contentType: string;
  /** The text of a scrape. */
  read(): Promise<string>;
  /** The longest that the event loop was held up since the last call, in ms. */
  loopLagMs(): number;
  close(): void;
}

/** Makes the text of /metrics from a `DaemonMetrics`; adds Node.js's own metrics (`process_*`, `nodejs_*`) and a build's version. */
export function exposeMetrics(metrics: DaemonMetrics, version: string): Exposition {
  const registry = new Registry();
  const delay = monitorEventLoopDelay({ resolution: 10 });
  delay.enable();
  // `nodejs_eventloop_lag_*` of the default set tells the loop's lag, by the same means.
  collectDefaultMetrics({ register: registry });
  new Gauge({ name: 'sidetrace_build_info', help: 'Always 1', labelNames: ['version'], registers: [registry] }).set({ version }, 1);
  const fill: (() => void)[] = [];
  for (const [field, shape] of Object.entries(METRICS) as [Field, MetricShape][]) {
    const options = {
      name: metricName(field),
      help: shape.help,
      registers: [registry],
      labelNames: shape.label === undefined ? [] : [shape.label],
    };
    const value = () => metrics[field] as number | Record<string, number>;
    const metric = shape.type === 'counter' ? new Counter(options) : new Gauge(options);
    fill.push(() => {
      metric.reset();
      const now = value();
      if (typeof now === 'number') metric.inc(positive(now));
      else for (const [label, count] of bounded(now)) metric.inc({ [shape.label!]: label }, positive(count));
    });
  }
  return {
    contentType: registry.contentType,
    async read() {
      for (const copy of metrics.onScrape) {
        try {
          copy();
        } catch {
          // A part that is ending has nothing to tell; the others have.
        }
      }
      for (const set of fill) set();
      return registry.metrics();
    },
    loopLagMs() {
      const worst = delay.max / 1e6;
      delay.reset();
      return worst;
    },
    close: () => delay.disable(),
  };
}

function positive(value: number): number {
  return Number.isFinite(value) && value > 0 ? value : 0;
}

/** At most 128 series; the rest is told together as `other`. */
function bounded(values: Record<string, number>): [string, number][] {
  const entries = Object.entries(values);
  if (entries.length <= SERIES_LIMIT) return entries;
  const rest = entries.slice(SERIES_LIMIT - 1).reduce((sum, [, count]) => sum + count, 0);
  return [...entries.slice(0, SERIES_LIMIT - 1), ['other', rest]];
}
