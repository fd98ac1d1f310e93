/** The answer of `GET /v1/status` for people: the daemon, then each namespace that it follows. */
import type { Palette } from '../output/color.ts';
import { escapeText } from '../output/escape.ts';
import { formatBytes, formatCount, plural } from '../output/quantity.ts';
import { millisecondsBetween } from '../output/time-format.ts';
import type { DaemonStatus, NamespaceStatus } from '../stream/status-shape.ts';
import { textTable } from './text-table.ts';

const LABEL_WIDTH = 14;

/** What of Envoy is read; a pod without a proxy has none of it. */
const ofEnvoy: ReadonlySet<string> = new Set(['config_dump', 'clusters', 'listeners', 'certs', 'server_info', 'stats']);

function missing({ envoy, unavailable }: NamespaceStatus): NamespaceStatus['unavailable'] {
  return envoy === undefined ? unavailable.filter(({ part }) => !ofEnvoy.has(part)) : unavailable;
}

/** Is there something to be looked at: something was lost, is missing, or does not run? Pods without a proxy are no trouble. */
export function isTroubled({ lost, namespaces, probe, kubernetes }: DaemonStatus): boolean {
  return (
    lost.some(({ count }) => count > 0) ||
    namespaces.some(
      (namespace) =>
        namespace.state === 'failed' || namespace.lost > 0 || namespace.envoy?.staleSince !== undefined || missing(namespace).length > 0,
    ) ||
    !probe.connected ||
    kubernetes.staleSince !== undefined
  );
}

/** `3h 12m`, `5m 07s`, `12s`: how long ago, or how long. */
export function formatAge(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds}s`;
  const [minutes, hours, days] = [Math.floor(seconds / 60), Math.floor(seconds / 3600), Math.floor(seconds / 86_400)];
  if (hours < 1) return `${minutes}m ${String(seconds % 60).padStart(2, '0')}s`;
  return days < 1 ? `${hours}h ${String(minutes % 60).padStart(2, '0')}m` : `${days}d ${String(hours % 24).padStart(2, '0')}h`;
}

/** @param server as people call it */
export function statusText(server: string, status: DaemonStatus, palette: Palette): string {
  const { node, version, began, now, probe, kubernetes, stream, lost, subscribers, namespaces } = status;
  const ago = (time: string): string => formatAge(millisecondsBetween(time, now));
  let out = `${palette.bold(escapeText(node))}  sidetrace ${escapeText(version)}, up ${ago(began)} ${palette.dim(`(${escapeText(server)})`)}\n`;
  const line = (label: string, value: string): void => {
    out += `  ${palette.dim(label.padEnd(LABEL_WIDTH))}${value}\n`;
  };
  const because = (reason: string | undefined): string => (reason === undefined ? '' : `: ${escapeText(reason)}`);
  line(
    'probe',
    probe.connected
      ? `${palette.green('connected')}, ${plural(probe.restarts, 'restart')}, rings of ${formatBytes(probe.ringBytes)}`
      : `${palette.red('not connected')}${because(probe.reason)}, ${plural(probe.restarts, 'restart')}`,
  );
  line('kubernetes', kubernetesText(kubernetes, ago, palette));
  const oldest = stream.oldest === undefined ? '' : `, back to ${ago(stream.oldest)} ago`;
  line('stream', `${plural(stream.seq, 'record')} so far, ${formatBytes(stream.ringBytes)} kept${oldest}`);
  const losses = lost.filter(({ count }) => count > 0);
  const lossText = losses.map(
    ({ source, count, exact }) => `${escapeText(source)} ${exact === false ? 'at least ' : ''}${formatCount(count)}`,
  );
  line('lost', losses.length === 0 ? palette.green('nothing') : palette.red(lossText.join(', ')));
  line('subscribers', subscribers.length === 0 ? 'none' : formatCount(subscribers.length));
  for (const { id, principal, since, sent, lost, queued } of subscribers)
    line(
      '',
      `${escapeText(id)}${principal === undefined ? '' : ` ${escapeText(principal)}`} since ${ago(since)}: ${plural(sent, 'record')} sent, ${
        lost === 0 ? 'nothing lost' : palette.red(`${formatCount(lost)} lost`)
      }, ${formatBytes(queued)} waiting`,
    );
  line('namespaces', countsText(namespaces, palette));
  if (namespaces.length === 0) return out;
  out += '\n';
  const rows = namespaces.map((namespace) => rowOf(namespace, ago));
  const titles = ['POD', 'STATE', 'FOR', 'FLOWS', 'PACKETS', 'BYTES', 'LOST', 'ENVOY', 'RULES', 'WHY'];
  out += indented(textTable(titles, rows, palette));
  const parts = namespaces.flatMap((namespace) => missing(namespace).map((part) => ({ namespace, ...part })));
  const bare = namespaces.filter((namespace) => missing(namespace).length < namespace.unavailable.length).length;
  if (bare > 0)
    out += `\n  ${palette.dim(`${plural(bare, 'namespace')} without Envoy, or whose Envoy does not answer (-o json says why)`)}\n`;
  if (parts.length === 0) return out;
  out += `\n  ${palette.bold('not available')}\n`;
  for (const { namespace, part, reason, since } of parts)
    out += `  ${palette.yellow('!')} ${escapeText(nameOf(namespace))}  ${escapeText(part)}: ${escapeText(reason)}${since === undefined ? '' : palette.dim(` (for ${ago(since)})`)}\n`;
  return out;
}

function kubernetesText(
  { source, synced, staleSince }: DaemonStatus['kubernetes'],
  ago: (time: string) => string,
  palette: Palette,
): string {
  if (source === 'none') return palette.dim('none: pods have no names');
  const state =
    staleSince !== undefined
      ? palette.yellow(`stale for ${ago(staleSince)}`)
      : synced
        ? palette.green('synced')
        : palette.yellow('not synced yet');
  return `${escapeText(source)}, ${state}`;
}

function countsText(namespaces: readonly NamespaceStatus[], palette: Palette): string {
  const counts = new Map<NamespaceStatus['state'], number>();
  for (const { state } of namespaces) counts.set(state, (counts.get(state) ?? 0) + 1);
  if (counts.size === 0) return palette.yellow('none is followed');
  return [...counts].map(([state, count]) => (state === 'failed' ? palette.red(`${count} ${state}`) : `${count} ${state}`)).join(', ');
}

function nameOf({ pod, netns }: NamespaceStatus): string {
  return pod === undefined ? netns : `${pod.namespace}/${pod.name}`;
}

function rowOf(namespace: NamespaceStatus, ago: (time: string) => string): string[] {
  const { state, since, flows, packets, bytes, lost, envoy, rules, reason } = namespace;
  const stale = envoy?.staleSince === undefined ? '' : ` (stale for ${ago(envoy.staleSince)})`;
  return [
    nameOf(namespace),
    state,
    ago(since),
    formatCount(flows),
    formatCount(packets),
    formatBytes(bytes),
    lost === 0 ? '' : formatCount(lost),
    envoy === undefined ? '' : `${envoy.version}${stale}`,
    rules === undefined ? '' : `read ${ago(rules.readAt)} ago, change ${rules.generation}`,
    reason ?? '',
  ];
}

function indented(text: string): string {
  return text.replaceAll(/^(?=.)/gm, '  ');
}
