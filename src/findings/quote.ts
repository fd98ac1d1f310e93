/** How findings quote what was seen: places, connections, rules, times. */
import type { Subject } from '../annotate/subject.ts';
import { formatEndpoint } from '../net/address.ts';
import type { Evidence, Peer, RuleStep } from '../record/record.ts';
import type { Scope } from '../world/world.ts';

/** `default/client`, else the namespace as the node names it. */
export function placeName(scope: Scope): string {
  return scope.pod === undefined ? scope.netns : `${scope.pod.namespace}/${scope.pod.name}`;
}

/** `10.96.33.25:9080 (service default/details)` */
export function peerText(peer: Peer): string {
  const at = peer.port === undefined ? peer.ip : formatEndpoint(peer.ip, peer.port);
  const name = peer.service === undefined ? (peer.pod === undefined ? undefined : `pod ${peer.pod}`) : `service ${peer.service}`;
  return name === undefined ? at : `${at} (${name})`;
}

/** The connection as its opener asked for it, where and when: `At 2026-… in default/client: 10.244.1.14:46198 > 10.96.69.136:8080 (service default/ghost), on lo`. */
export function connectionText(subject: Subject): string {
  const { record, world } = subject;
  return `At ${record.first} in ${placeName(world)}: ${record.protocol} ${peerText(record.source)} > ${peerText(record.destination)}, on ${record.interfaces.join(' and ')}`;
}

/** `nat ISTIO_REDIRECT rule 1: -p tcp -j REDIRECT --to-ports 15001` */
export function stepText({ table, chain, index, text }: RuleStep): string {
  return `${table} ${chain} rule ${index}: ${text}`;
}

/** A rule that sends a connection elsewhere, in either dialect. */
const SENDS = /\b(?:REDIRECT|TPROXY|DNAT|redirect|tproxy|dnat)\b/;

/** What the rules did with a connection, with the deciding rule where one is known. */
export function verdictText(subject: Subject): string {
  const { rule } = subject.record;
  if (rule === undefined) return 'No rules were judged for it';
  const to = rule.port === undefined ? '' : ` to port ${rule.port}`;
  const step = rule.steps.findLast(({ text }) => SENDS.test(text)) ?? rule.steps.at(-1);
  return `Its rules say ${rule.verdict}${to} (${rule.evidence})${step === undefined ? '' : `; the last rule that it met is ${stepText(step)}`}`;
}

export function gradeText(evidence: Evidence | undefined): string {
  return evidence === undefined ? '' : ` (${evidence})`;
}

/** `1.5 s`, `12 ms`, `0.04 ms` */
export function durationText(ns: number): string {
  if (ns >= 1e9) return `${Math.round(ns / 1e8) / 10} s`;
  return ns >= 1e6 ? `${Math.round(ns / 1e6)} ms` : `${Math.round(ns / 1e4) / 100} ms`;
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

/** Things named one after the other; of many the first ones, and how many more. */
export function listText(names: readonly string[], most = 8): string {
  return names.length <= most ? names.join(', ') : `${names.slice(0, most).join(', ')} and ${names.length - most} more`;
}

/** Milliseconds of the Unix epoch, when the first packet was seen. */
export function beganMs({ base, flow }: Subject): number {
  return base.epochSeconds * 1000 + flow.firstNs / 1e6;
}
