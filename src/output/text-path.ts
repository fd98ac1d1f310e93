/**
 * One path as a block of the `text` layout: what was asked and what came back, then its legs in the order of travel, grouped by the pod that they were seen in.
 *
 *     06:22:45.519  GET productpage:9080/productpage → 200 in 13.1 ms
 *       in default/client on node-a
 *       ├─ app → proxy       10.244.1.12:58050 → default/productpage:9080 (10.96.141.2) · 13.1 ms
 *       │    rule      REDIRECT 15001 by nat ISTIO_REDIRECT/1
 *       │    listener  0.0.0.0_9080 · chain (nameless) #0
 */
import type { Decision, FlowRecord, PathJoin, PathRecord } from '../record/record.ts';
import { escapeShort, escapeText } from './escape.ts';
import { pathLatency } from './hubble-event.ts';
import { formatBytes, plural } from './quantity.ts';
import type { SinkOptions } from './sink.ts';
import { badState, type Detail, decisionDetails, peerText, rolesText, ruleDetails, translatedDetails, wireText } from './text-leg.ts';
import { formatDuration, millisecondsBetween } from './time-format.ts';

const ROLE_WIDTH = 16;
const LABEL_WIDTH = 10;

/** The block of one path, lines ending with a line feed, an empty line behind. `find` knows the flows of its legs. */
export function pathBlock(path: PathRecord, find: (id: string) => FlowRecord | undefined, options: SinkOptions): string {
  const { palette } = options;
  const flows = path.legs.map((leg) => find(leg.flow));
  const decisions = assignDecisions(path, flows);
  let out = `${palette.dim(path.first.slice(11, 23))}  ${headline(path, flows[0], options)}\n`;
  const roleWidth = Math.max(ROLE_WIDTH, ...path.legs.map((leg) => rolesText(leg.roles).length));
  let where = '';
  path.legs.forEach((leg, i) => {
    const flow = flows[i];
    const pod = flow?.pod === undefined ? undefined : `${flow.pod.namespace}/${flow.pod.name}`;
    const here = `${pod === undefined ? `namespace ${escapeText(leg.netns)}` : palette.bold(escapeText(pod))} on ${escapeText(leg.node)}`;
    if (here !== where) out += `  ${palette.dim('in')} ${here}\n`;
    where = here;
    const last = i === path.legs.length - 1;
    const role = rolesText(leg.roles);
    const spent = path.latency?.find((latency) => latency.leg === i);
    const took = spent === undefined ? '' : `${palette.dim(' · ')}${formatDuration(spent.ms)}`;
    const who =
      flow === undefined
        ? palette.yellow(`flow ${escapeText(leg.flow)} (not shown)`)
        : `${peerText(flow.source, pod, options)} ${palette.dim('→')} ${peerText(flow.destination, pod, options)}${bad(flow, options)}${took}`;
    out += `  ${palette.dim(last ? '└─' : '├─')} ${palette.bold(role)}${' '.repeat(roleWidth - role.length + 2)}${who}\n`;
    const bar = palette.dim(last ? ' ' : '│');
    for (const { label, value } of legDetails(path, i, flow, decisions[i], options))
      out += `  ${bar}    ${palette.dim(label.padEnd(LABEL_WIDTH))}${value}\n`;
  });
  return `${out}\n`;
}

function bad(flow: FlowRecord, { palette }: SinkOptions): string {
  const state = badState(flow, palette);
  return state === '' ? '' : ` ${palette.dim('·')} ${state}`;
}

function headline(path: PathRecord, first: FlowRecord | undefined, options: SinkOptions): string {
  const { palette } = options;
  const incomplete = path.complete ? '' : `  ${palette.yellow('incomplete')}`;
  const answered = path.of === 'connection' || path.request?.status !== undefined;
  const took = pathLatency(path)?.ms ?? (path.event === 'close' && answered ? millisecondsBetween(path.first, path.last) : undefined);
  const inTime = took === undefined ? '' : ` ${palette.dim('in')} ${formatDuration(took)}`;
  if (path.of === 'request') {
    const { method, authority, path: target, status } = path.request ?? {};
    const asked = `${palette.bold(escapeShort(method ?? '?', 24))} ${escapeShort(authority ?? '')}${escapeShort(target ?? '')}`;
    return `${asked} ${palette.dim('→')} ${statusText(status, palette)}${inTime}${incomplete}`;
  }
  if (first === undefined) return `${palette.bold('connection')}${inTime}${incomplete}`;
  const { toDestination, toSource } = first.counters;
  const bytes = `${formatBytes(toDestination.bytes)} ⇄ ${formatBytes(toSource.bytes)}`;
  const to = peerText(first.destination, undefined, options);
  return `${palette.bold(escapeText(first.protocol))} ${peerText(first.source, undefined, options)} ${palette.dim('→')} ${to} ${palette.dim(`· ${first.state} ·`)} ${bytes}${inTime}${incomplete}`;
}

function statusText(status: number | undefined, palette: SinkOptions['palette']): string {
  if (status === undefined) return palette.yellow('no answer seen');
  return (status < 400 ? palette.green : status < 500 ? palette.yellow : palette.red)(String(status));
}

/** Which proxy's decision belongs to which leg: that of a namespace stands at the leg by which the connection came to the proxy. */
export function assignDecisions(path: PathRecord, flows: readonly (FlowRecord | undefined)[]): (Decision | undefined)[] {
  const left = [...(path.decisions ?? [])];
  return path.legs.map((leg, i) => {
    if (!leg.roles.includes('app-to-proxy') && !leg.roles.includes('client-to-proxy')) return undefined;
    const at = left.findIndex((decision) => decision.netns === leg.netns);
    if (at === -1) return flows[i]?.envoy;
    return left.splice(at, 1)[0]!.decision;
  });
}

function legDetails(
  path: PathRecord,
  leg: number,
  flow: FlowRecord | undefined,
  decision: Decision | undefined,
  options: SinkOptions,
): Detail[] {
  const details: Detail[] = path.joins
    .filter((join) => join.to === leg || (join.from === leg && join.to < join.from && join.to !== leg))
    .map((join) => joinDetail(join, leg, options));
  if (flow !== undefined) {
    if (flow.rule !== undefined) details.push(...ruleDetails(flow.rule, options));
    details.push(...translatedDetails(flow, options));
    details.push({ label: 'wire', value: wireText(flow, options) });
    if (flow.tls?.sni !== undefined && (decision === undefined || options.why))
      details.push({ label: 'sni', value: escapeShort(flow.tls.sni) });
  }
  if (decision !== undefined) details.push(...decisionDetails(decision, options));
  return details;
}

const proofs: { readonly [by in PathJoin['by']]: string } = {
  tuple: 'the same connection, seen on the other side',
  'access-log': "by Envoy's access log",
  'request-id': 'by x-request-id',
  order: 'by order, bytes and time',
};

function joinDetail(join: PathJoin, leg: number, { palette }: SinkOptions): Detail {
  const other = join.to === leg ? join.from : join.to;
  const beside = other === leg - 1 ? '' : ` to leg ${other + 1}`;
  const strong = join.evidence === 'observed' || join.evidence === 'derived';
  const graded = (strong ? palette.green : palette.yellow)(join.evidence);
  const candidates = join.candidates === undefined ? '' : `, ${plural(join.candidates.length, 'candidate')}`;
  const reason = join.reason === undefined ? '' : ` ${palette.yellow(`(${join.reason})`)}`;
  return { label: 'joined', value: `${proofs[join.by]}${beside} ${palette.dim('·')} ${graded}${candidates}${reason}` };
}
