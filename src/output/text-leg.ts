/**
 * The lines of one leg in the `text` layout: who talks to whom, then what took the connection there: rule, listener and chain, route, cluster and endpoint.
 * A field that is observed or derived stands without a mark; a weaker one says its grade and why.
 */
import { formatEndpoint } from '../net/address.ts';
import type { Decision, Endpoint, Evidence, FlowRecord, Leg, Peer, RuleVerdict } from '../record/record.ts';
import type { Palette } from './color.ts';
import { escapeShort, escapeText } from './escape.ts';
import { stepsAreComplete } from './hubble-event.ts';
import { formatBytes, plural } from './quantity.ts';
import type { SinkOptions } from './sink.ts';
import { formatDuration } from './time-format.ts';

/** Roles as people say them. */
export const roleNames: { readonly [leg in Leg]: string } = {
  'app-to-proxy': 'app → proxy',
  'proxy-to-upstream': 'proxy → upstream',
  'client-to-proxy': 'client → proxy',
  'proxy-to-app': 'proxy → app',
  'app-to-self': 'app → itself',
  direct: 'direct',
  'app-to-dns-agent': 'app → DNS agent',
  'dns-agent-to-resolver': 'DNS agent → resolver',
  hbone: 'HBONE tunnel',
  probe: 'probe',
  control: 'control plane',
  telemetry: 'telemetry',
  admin: 'Envoy admin',
  loopback: 'loopback',
  unknown: 'role unknown',
};

export function rolesText(roles: readonly Leg[]): string {
  return roles.map((role) => roleNames[role]).join(' + ') || roleNames.unknown;
}

/** `default/productpage:9080 (10.96.141.2)`; the namespace's own pod, whose name stands above, by address alone. */
export function peerText(peer: Peer, own: string | undefined, { numeric, palette }: SinkOptions): string {
  const name = numeric ? undefined : (peer.pod ?? peer.service);
  const port = peer.port === undefined ? '' : `:${palette.yellow(String(peer.port))}`;
  if (name === undefined || name === own)
    return palette.cyan(escapeText(peer.ip.includes(':') && port !== '' ? `[${peer.ip}]` : peer.ip)) + port;
  return `${palette.cyan(escapeText(name))}${port} ${palette.dim(`(${escapeText(peer.ip)})`)}`;
}

const badStates: ReadonlySet<FlowRecord['state']> = new Set<FlowRecord['state']>(['reset', 'refused', 'unanswered', 'unreachable']);

/** `reset`, `refused`, …: how a connection ended that did not end well. */
export function badState(flow: FlowRecord, palette: Palette): string {
  return badStates.has(flow.state) ? palette.red(flow.state) : '';
}

/** What the wire shows: interfaces, bytes each way, round trip, TLS, trouble. */
export function wireText(flow: FlowRecord, { palette }: SinkOptions): string {
  const { toDestination, toSource } = flow.counters;
  const parts: string[] = [];
  if (flow.interfaces.length > 0) parts.push(palette.dim(escapeText(flow.interfaces.join('+'))));
  parts.push(palette.dim(`${formatBytes(toDestination.bytes)} ⇄ ${formatBytes(toSource.bytes)}`));
  if (flow.tcp?.rttMs !== undefined) parts.push(palette.dim(`rtt ${formatDuration(flow.tcp.rttMs)}`));
  if (flow.tls !== undefined) parts.push(palette.green(tlsText(flow.tls)));
  if (flow.midstream) parts.push(palette.yellow('begun before the recording'));
  if (flow.tcp !== undefined && flow.tcp.retransmissions > 0)
    parts.push(palette.yellow(plural(flow.tcp.retransmissions, 'retransmission')));
  return parts.join(palette.dim(' · '));
}

function tlsText(tls: NonNullable<FlowRecord['tls']>): string {
  const version = tls.version === undefined ? '' : ` ${escapeText(tls.version.replace(/^TLSv?/, ''))}`;
  return tls.mutual ? `mutual TLS${version}` : `TLS${version}`;
}

const weak = (evidence: Evidence | undefined): boolean => evidence === 'ambiguous' || evidence === 'unavailable';

function grade(evidence: Evidence | undefined, reason: string | undefined, palette: Palette): string {
  if (!weak(evidence) && reason === undefined) return '';
  return ` ${palette.yellow(`(${[weak(evidence) ? evidence : undefined, reason].filter((part) => part !== undefined).join(': ')})`)}`;
}

/** `label     value`: the lines below a leg. */
export interface Detail {
  readonly label: string;
  readonly value: string;
}

/** What the rules did with the connection, named by the rule that decided; with `--why`, every rule that it took. */
export function ruleDetails(rule: RuleVerdict, { palette, why }: SinkOptions): Detail[] {
  const last = rule.steps.at(-1);
  const named = last === undefined ? '' : `${escapeText(`${last.table} ${last.chain}`)}${palette.dim('/')}${last.index}`;
  const sure = last === undefined ? palette.dim('· no rule matched') : `by ${named}`;
  const partly = palette.dim(last === undefined ? '· by a rule that is not known' : `· by a rule after ${named}`);
  const by = rule.reason === 'no-rules' ? '' : ` ${stepsAreComplete(rule) ? sure : partly}`;
  const port = rule.port === undefined ? '' : ` ${palette.yellow(String(rule.port))}`;
  const verdict =
    rule.verdict === 'DROP'
      ? palette.red(rule.verdict)
      : rule.verdict === 'unknown'
        ? palette.yellow(rule.verdict)
        : palette.green(rule.verdict);
  const details = [{ label: 'rule', value: `${verdict}${port}${by}${grade(rule.evidence, rule.reason, palette)}` }];
  if (why)
    for (const step of rule.steps)
      details.push({
        label: '',
        value: palette.dim(`${escapeText(`${step.table} ${step.chain}`)}/${step.index}  ${escapeText(step.text)}`),
      });
  return details;
}

/** The rewritten addresses, where the rule's verdict does not say them already. */
export function translatedDetails(flow: FlowRecord, { palette }: SinkOptions): Detail[] {
  const { translated, source, rule } = flow;
  if (translated === undefined) return [];
  const end = ({ ip, port }: Endpoint): string => `${palette.cyan(formatEndpoint(ip, port))}`;
  const parts: string[] = [];
  if (translated.source.ip !== source.ip || translated.source.port !== source.port) parts.push(`source became ${end(translated.source)}`);
  if (rule?.verdict === 'DNAT' || rule === undefined) parts.push(`destination became ${end(translated.destination)}`);
  return parts.length === 0 ? [] : [{ label: 'nat', value: `${parts.join(', ')}${grade(translated.evidence, undefined, palette)}` }];
}

const nameless = (name: string): string => (name === '' ? '(nameless)' : escapeText(name));

/** What Envoy did: listener and chain, route and virtual host, cluster and endpoint, each with its grade where that is weak. */
export function decisionDetails(decision: Decision, { palette, why }: SinkOptions): Detail[] {
  const details: Detail[] = [];
  const { evidence, candidates } = decision;
  const mark = (field: string): string => grade(evidence[field], weak(evidence[field]) ? decision.reason : undefined, palette);
  if (decision.listener !== undefined) {
    const index =
      decision.chainIndex === undefined ? '' : decision.chainIndex === -1 ? ' (default chain)' : palette.dim(` #${decision.chainIndex}`);
    const chain =
      decision.chain === undefined
        ? oneOf(candidates?.chain, ' · chain ')
        : ` ${palette.dim('· chain')} ${nameless(decision.chain)}${index}`;
    details.push({ label: 'listener', value: `${nameless(decision.listener)}${mark('listener')}${chain}${mark('chain')}` });
  }
  if (decision.route !== undefined || decision.virtualHost !== undefined || candidates?.route !== undefined) {
    const route = decision.route === undefined ? oneOf(candidates?.route, '') : nameless(decision.route);
    const host = decision.virtualHost === undefined ? '' : `${palette.dim('virtual host')} ${nameless(decision.virtualHost)}`;
    const parts = [`${route}${mark('route')}`.trimStart(), host].filter((part) => part !== '');
    details.push({ label: 'route', value: parts.join(palette.dim(' · ')) });
  }
  if (decision.cluster !== undefined || candidates?.cluster !== undefined) {
    const cluster = decision.cluster === undefined ? oneOf(candidates?.cluster, '') : palette.bold(nameless(decision.cluster));
    const endpoint =
      decision.endpoint === undefined
        ? oneOf(candidates?.endpoint, ` ${palette.dim('→')} `)
        : ` ${palette.dim('→')} ${palette.cyan(escapeText(decision.endpoint))}`;
    details.push({ label: 'cluster', value: `${cluster}${mark('cluster')}${endpoint}${mark('endpoint')}` });
  }
  if (decision.outcome !== 'forwarded') {
    const color =
      decision.outcome === 'unknown'
        ? palette.yellow
        : decision.outcome === 'direct-response' || decision.outcome === 'redirect'
          ? palette.green
          : palette.red;
    details.push({
      label: 'outcome',
      value: `${color(decision.outcome)}${decision.reason === undefined ? '' : ` ${palette.yellow(`(${decision.reason})`)}`}`,
    });
  }
  if (why) {
    for (const { candidate, because } of decision.rejected ?? [])
      details.push({ label: '', value: palette.dim(`not ${escapeShort(candidate)}: ${because}`) });
    const grades = Object.entries(evidence).map(([field, value]) => `${escapeText(field)} ${value}`);
    if (grades.length > 0) details.push({ label: 'evidence', value: palette.dim(grades.join(', ')) });
    if (decision.configuration !== undefined)
      details.push({
        label: 'config',
        value: palette.dim(`version ${escapeText(decision.configuration.version)}, read ${escapeText(decision.configuration.readAt)}`),
      });
  }
  return details;
}

/** Candidates shown before the rest is only counted. */
const SHOWN = 3;

function oneOf(names: readonly string[] | undefined, before: string): string {
  if (names === undefined || names.length === 0) return '';
  const shown = names.slice(0, SHOWN).map(nameless).join(', ');
  return `${before}${names.length === 1 ? '' : 'one of '}${shown}${names.length > SHOWN ? ` and ${names.length - SHOWN} more` : ''}`;
}
