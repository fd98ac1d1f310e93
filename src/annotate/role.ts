/**
 * What a connection is in the detour: its leg, told by what netfilter did with it, who sent it, and what the proxy's configuration and sockets say of its ends.
 *
 * Ports are those of the rules, of Envoy's configuration and of the sockets; the well-known ones only name what nobody else names.
 */
import type { Flow, FlowEnd } from '../flow/flow.ts';
import { isLoopback } from '../net/address.ts';
import type { Leg, RuleVerdict } from '../record/record.ts';
import { isHalf, type Place } from './place.ts';
import type { ProxyPorts } from './proxy-ports.ts';

export interface RoleFacts {
  readonly flow: Flow;
  readonly source: FlowEnd;
  readonly destination: FlowEnd;
  readonly place: Place;
  readonly rule: RuleVerdict;
  /** Was it sent by the proxy (or its agent)? */
  readonly byProxy: boolean | 'unknown';
  /** Was it sent by Istio's agent? It carries nobody else's connections. */
  readonly byAgent: boolean;
  /** Did the rules look at who sent it? */
  readonly ownerAsked: boolean;
  readonly ports: ProxyPorts;
  /** Path of the first HTTP request, where one was read. */
  readonly requestPath?: string;
  /** Is the destination an endpoint of Envoy's configuration? */
  readonly isEndpoint: boolean;
  /** Is it certain that it is none? */
  readonly isNoEndpoint: boolean;
  /** conntrack kept a mark for it: with TPROXY and ambient the proxy marks what it opens towards the application. */
  readonly marked: boolean;
}

/** The roles of a connection, mostly one; `unknown` where several fit. */
export function findRoles(facts: RoleFacts): Leg[] {
  const { rule, place, ports, destination, source } = facts;
  if (ports.hbone.has(destination.port) && facts.flow.protocol === 'tcp') return ['hbone'];
  if (rule.verdict === 'REDIRECT' || rule.verdict === 'TPROXY' || rule.verdict === 'DNAT') {
    const port = rule.port ?? destination.port;
    if (ports.dns.has(port)) return ['app-to-dns-agent'];
    if (place.hook === 'OUTPUT') {
      if (ports.inbound.has(port)) return facts.byProxy === false ? ['client-to-proxy'] : ['proxy-to-upstream', 'client-to-proxy'];
      if (ports.outbound.has(port)) return ['app-to-proxy'];
      return ['unknown'];
    }
    if (ports.inbound.has(port)) return ['client-to-proxy'];
    if (ports.outbound.has(port)) return ['app-to-proxy'];
    return ['unknown'];
  }
  if (facts.ports.inboundBind.has(source.ip)) return ['proxy-to-app'];
  if (place.onLoopback) return [onLoopback(facts)];
  if (place.destinationIsOurs && !place.sourceIsOurs) return [incoming(facts)];
  if (place.sourceIsOurs) return [outgoing(facts)];
  return ['unknown'];
}

function onLoopback(facts: RoleFacts): Leg {
  const { ports, source, destination, place } = facts;
  // A foreign source on lo is the proxy's transparent socket towards the application.
  if (!place.sourceIsOurs && place.destinationIsOurs && facts.ports.hasProxy && !isHalf(facts.flow, place)) return 'proxy-to-app';
  if (isLoopback(destination.ip)) {
    if (facts.ports.hasProxy) {
      if (ports.admin.has(destination.port)) return 'admin';
      if (ports.dns.has(destination.port)) return 'app-to-dns-agent';
      if (isHalf(facts.flow, place)) return 'unknown';
      const known = probeOrTelemetry(facts);
      if (known !== undefined) return known;
    }
    return 'loopback';
  }
  if (isHalf(facts.flow, place)) return 'unknown';
  if (facts.ports.hasProxy) {
    const known = probeOrTelemetry(facts);
    if (known !== undefined) return known;
  }
  if (facts.marked && ports.captures) return 'proxy-to-app';
  if (facts.rule.verdict === 'unknown') return 'unknown';
  if (source.ip === destination.ip || (place.sourceIsOurs && place.destinationIsOurs)) return 'app-to-self';
  return 'unknown';
}

function probeOrTelemetry(facts: RoleFacts): Leg | undefined {
  const { ports, destination, requestPath } = facts;
  const probe = ports.probe.has(destination.port);
  const telemetry = ports.telemetry.has(destination.port);
  if (probe && telemetry) return requestPath !== undefined && /^\/(app-health|healthz)/.test(requestPath) ? 'probe' : 'telemetry';
  if (probe) return 'probe';
  if (telemetry) return 'telemetry';
  return undefined;
}

function incoming(facts: RoleFacts): Leg {
  const { ports, destination, rule } = facts;
  if (rule.verdict === 'unknown' && facts.ports.captures) return 'unknown';
  if (facts.ports.hasProxy) {
    const known = probeOrTelemetry(facts);
    if (known !== undefined) return known;
    if (ports.listening.has(destination.port)) return 'client-to-proxy';
  }
  return 'direct';
}

function outgoing(facts: RoleFacts): Leg {
  const { ports, destination, byProxy, rule } = facts;
  const { hasProxy, captures } = ports;
  if (!hasProxy && !captures) return 'direct';
  if (byProxy !== false && ports.control.has(destination.port)) return 'control';
  if (byProxy === true && destination.port === 53) return 'dns-agent-to-resolver';
  if (facts.byAgent) return 'direct';
  // The agent, too, runs as the proxy's user: an upstream leg goes to an endpoint, or is joined to what came in for it.
  if (byProxy === true) return facts.isEndpoint ? 'proxy-to-upstream' : 'unknown';
  // Without capture rules (a gateway) the only one who opens connections to Envoy's endpoints is Envoy.
  if (!captures && facts.isEndpoint && facts.flow.protocol === 'tcp') return 'proxy-to-upstream';
  if (byProxy === false) return 'direct';
  // The rules spare this destination whoever asks, and the proxy has no endpoint there: what is captured never goes there.
  if (captures && rule.verdict === 'ACCEPT' && !facts.ownerAsked && facts.isNoEndpoint) return 'direct';
  if (facts.flow.protocol !== 'tcp' && ports.dns.size === 0) return 'direct';
  return 'unknown';
}
