/**
 * Which listener and which filter chain took a connection.
 *
 * In      the history of one Envoy and what is known of the connection.
 * Out     a {@link ConnectionDecision}: the record's fields, and handles for {@link decideRequest} and {@link decideTcp}. What is not known leaves several candidates, graded ambiguous.
 * Not     says nothing of routes and clusters. An internal listener that a chain hands over to is not followed.
 * Source  source/common/listener_manager/{active_tcp_listener,active_tcp_socket,connection_handler_impl}.cc.
 */
import { parseIp } from '../net/address.ts';
import type { Reason } from '../record/reason.ts';
import type { Decision } from '../record/record.ts';
import type { EnvoyConfig, Resource } from './config.ts';
import type { ConnectionFacts } from './connection-facts.ts';
import { mergeField } from './evidence.ts';
import type { ChainTls, FilterChain } from './filter-chain.ts';
import { type ChainInput, findFilterChains, whyRejected } from './filter-chain-match.ts';
import { asHistory, type EnvoyHistory } from './history.ts';
import { inspectConnection, runs } from './inspection.ts';
import { hasExactAddress, hasWildcardAddress, type Listener, type ListenerHead } from './listener.ts';
import { listenerHead, listenerIndex } from './listener-index.ts';
import type { NetworkFilter } from './network-filter.ts';

export type { ConnectionFacts } from './connection-facts.ts';

/** One way that the connection may have gone. */
export interface ConnectionWay {
  readonly outcome: 'chain' | 'no-listener' | 'no-chain' | 'waiting' | 'unknown';
  readonly listener?: Resource<Listener>;
  readonly chain?: FilterChain;
  /** The local address that Envoy sees: the original destination where it is restored. */
  readonly local?: { readonly ip: string; readonly port: number };
  readonly config: EnvoyConfig;
  readonly doubt?: Reason;
}

export interface ConnectionDecision {
  readonly decision: Decision;
  readonly ways: readonly ConnectionWay[];
  readonly facts: ConnectionFacts;
  readonly history: EnvoyHistory;
  /** The filter that ends the chain, where all candidates agree: HTTP connection manager, TCP proxy, or another. */
  readonly network: 'http' | 'tcp' | 'other' | 'unknown';
  /** RDS name of the HTTP connection manager, or the name of its inline routes. */
  readonly routeConfigName?: string;
  /** What the chain asks of the client, where all candidates agree. */
  readonly tls: ChainTls;
  /** Listener filters that looked at the connection. */
  readonly inspectors: readonly string[];
  readonly direction: 'INBOUND' | 'OUTBOUND' | 'UNSPECIFIED';
}

const MAX_REJECTED = 24;

interface Candidate {
  readonly listener: Resource<Listener>;
  readonly config: EnvoyConfig;
  readonly doubt?: Reason;
}

/** The listeners that may fit, and whether one of them surely stood there. */
function lookUp(
  history: EnvoyHistory,
  facts: ConnectionFacts,
  port: number,
  fits: (listener: ListenerHead) => boolean,
): { found: Candidate[]; sure: boolean } {
  const found: Candidate[] = [];
  let sure = false;
  for (const possible of history.listenersAt(port, facts.atMs, facts.midstream ?? false)) {
    const fitting = possible.options.filter(({ resource }) => resource !== undefined && fits(listenerHead(resource)));
    for (const { resource, config } of fitting)
      found.push({ listener: resource!, config, ...(possible.doubt === undefined ? {} : { doubt: possible.doubt }) });
    if (fitting.length > 0 && fitting.length === possible.options.length) sure = true;
  }
  return { found, sure };
}

/** Exact address first, then any address of the family; further only as long as nothing surely fits. */
function lookUpAddress(
  history: EnvoyHistory,
  facts: ConnectionFacts,
  at: { readonly ip: string; readonly port: number },
  only: (listener: ListenerHead) => boolean,
): { found: Candidate[]; sure: boolean } {
  const exact = lookUp(history, facts, at.port, (listener) => only(listener) && hasExactAddress(listener, at.ip, at.port));
  if (exact.sure) return exact;
  const family = parseIp(at.ip)?.family ?? 4;
  const wildcard = lookUp(history, facts, at.port, (listener) => only(listener) && hasWildcardAddress(listener, family, at.port));
  return { found: [...exact.found, ...wildcard.found], sure: wildcard.sure };
}

function accepting(history: EnvoyHistory, facts: ConnectionFacts): { found: Candidate[]; sure: boolean } {
  const { ip, port } = facts.listener;
  const bound = (listener: ListenerHead) => listener.bindToPort;
  if (ip !== undefined) return lookUpAddress(history, facts, { ip, port }, bound);
  return lookUp(
    history,
    facts,
    port,
    (listener) =>
      listener.bindToPort &&
      listener.addresses.some((address) => address.kind === 'socket' && address.protocol === 'tcp' && address.port === port),
  );
}

const anyListener = () => true;

function isRestored(facts: ConnectionFacts): boolean {
  return facts.destination.port !== facts.listener.port || (facts.listener.ip !== undefined && facts.destination.ip !== facts.listener.ip);
}

/** After the accepting listener: the one that it hands over to, or itself. */
function handedOver(history: EnvoyHistory, facts: ConnectionFacts, candidate: Candidate): Candidate[] {
  if (!listenerHead(candidate.listener).useOriginalDst || !isRestored(facts)) return [candidate];
  const { found, sure } = lookUpAddress(history, facts, facts.destination, anyListener);
  return sure ? found : [...found, candidate];
}

function localAddress(listener: Listener, facts: ConnectionFacts, handed: boolean): ConnectionWay['local'] | undefined {
  if (handed || listener.useOriginalDst || listener.transparent || runs(listener, 'original_dst', facts.destination.port) !== false)
    return facts.destination;
  if (facts.listener.ip !== undefined) return { ip: facts.listener.ip, port: facts.listener.port };
  return facts.destination.port === facts.listener.port ? facts.destination : undefined;
}

function waysThrough(candidate: Candidate, facts: ConnectionFacts, handed: boolean): { ways: ConnectionWay[]; inputs: ChainInput[] } {
  const listener = candidate.listener.value;
  const local = localAddress(listener, facts, handed);
  const base = {
    listener: candidate.listener,
    config: candidate.config,
    ...(local === undefined ? {} : { local }),
    ...(candidate.doubt === undefined ? {} : { doubt: candidate.doubt }),
  };
  if (listener.hasFilterChainMatcher) return { ways: [{ ...base, outcome: 'unknown' }], inputs: [] };
  const inspection = inspectConnection(listener, facts, local?.port);
  if (inspection.kind === 'waiting') return { ways: [{ ...base, outcome: 'waiting' }], inputs: [] };
  if (inspection.kind === 'timed-out') return { ways: [{ ...base, outcome: 'no-chain' }], inputs: [] };
  const proxied = runs(listener, 'proxy_protocol', local?.port) !== false;
  const inputs = inspection.possible.map(
    (found): ChainInput => ({
      ...found,
      ...(local === undefined || proxied ? {} : { destination: local }),
      ...(proxied ? { directSource: facts.source } : { source: facts.source }),
    }),
  );
  const chains = new Set(inputs.flatMap((input) => findFilterChains(listener, input)));
  return {
    ways: [...chains].map((chain) =>
      chain === undefined ? { ...base, outcome: 'no-chain' as const } : { ...base, outcome: 'chain' as const, chain },
    ),
    inputs,
  };
}

const chainLabel = (chain: FilterChain) => (chain.name !== '' ? `${chain.name}[${chain.index}]` : `[${chain.index}]`);

/** Chains of the listeners that were looked through, then listeners of the same port or address. */
function rejections(
  history: EnvoyHistory,
  facts: ConnectionFacts,
  ways: readonly ConnectionWay[],
  inputs: ReadonlyMap<Resource<Listener>, readonly ChainInput[]>,
): Decision['rejected'] & object {
  const rejected: { candidate: string; because: Reason }[] = [];
  const taken = new Set(ways.map((way) => way.chain));
  for (const [resource, [input]] of inputs) {
    if (input === undefined) continue;
    const listener = resource.value;
    for (const chain of [...listener.filterChains, ...(listener.defaultFilterChain === undefined ? [] : [listener.defaultFilterChain])])
      if (!taken.has(chain) && rejected.length < MAX_REJECTED)
        rejected.push({ candidate: chainLabel(chain), because: whyRejected(chain, input) });
  }
  const used = new Set(ways.map((way) => way.listener?.name));
  const { ip, port } = facts.destination;
  const family = parseIp(ip)?.family ?? 4;
  const { byPort, byIp } = listenerIndex(history.nearest(facts.atMs));
  for (const { name, state, value } of new Set([...(byPort.get(port) ?? []), ...(byIp.get(ip) ?? [])])) {
    if (rejected.length >= MAX_REJECTED) break;
    if (used.has(name) || (state !== 'active' && state !== 'static')) continue;
    const sockets = value.addresses.filter((address) => address.kind === 'socket');
    if (hasWildcardAddress(value, family, port)) rejected.push({ candidate: name, because: 'earlier-match' });
    else
      rejected.push({ candidate: name, because: sockets.some((address) => address.port === port) ? 'address-mismatch' : 'port-mismatch' });
  }
  return rejected;
}

export function terminalFilter(chain: FilterChain | undefined): NetworkFilter | undefined {
  return chain?.filters.find((filter) => filter.kind === 'http' || filter.kind === 'tcp' || filter.kind === 'terminal');
}

function agreed<T>(values: readonly T[]): T | undefined {
  return new Set(values).size === 1 ? values[0] : undefined;
}

function outcomeOf(ways: readonly ConnectionWay[]): Decision['outcome'] {
  const outcome = agreed(ways.map((way) => way.outcome));
  return outcome === 'no-listener' || outcome === 'no-chain' ? outcome : 'unknown';
}

function reasonOf(ways: readonly ConnectionWay[], facts: ConnectionFacts): Reason | undefined {
  if (ways.some((way) => way.outcome === 'unknown')) return 'filter-unknown';
  const doubt = ways.find((way) => way.doubt !== undefined)?.doubt;
  if (doubt !== undefined) return doubt;
  if (ways.length < 2) return ways[0]?.outcome === 'waiting' ? 'no-request-seen' : undefined;
  if (agreed(ways.map((way) => way.listener)) === undefined) return 'listener-newer-than-connection';
  return facts.transport === 'unknown' || facts.alpn === undefined ? 'no-client-hello' : 'no-request-seen';
}

function makeDecision(ways: readonly ConnectionWay[], facts: ConnectionFacts, rejected: NonNullable<Decision['rejected']>): Decision {
  const outcome = outcomeOf(ways);
  const decision: Decision = { outcome, evidence: {} };
  const doubtful = ways.some((way) => way.doubt !== undefined);
  mergeField(
    decision,
    'listener',
    ways.map((way) => way.listener?.name),
    doubtful,
  );
  mergeField(
    decision,
    'chain',
    ways.map((way) => way.chain?.name),
    doubtful,
  );
  const index = agreed(ways.map((way) => way.chain?.index));
  if (index !== undefined) decision.chainIndex = index;
  if (outcome !== 'unknown') decision.evidence.outcome = doubtful ? 'ambiguous' : 'derived';
  const reason = reasonOf(ways, facts);
  if (reason !== undefined) decision.reason = reason;
  if (rejected.length > 0) decision.rejected = rejected;
  const way = ways[0];
  if (way !== undefined)
    decision.configuration = { version: way.listener?.version || way.config.versionOf('listeners'), readAt: way.config.readAt };
  return decision;
}

/** Judges a connection by the configuration that held when it was accepted. */
export function decideConnection(of: EnvoyHistory | EnvoyConfig, facts: ConnectionFacts): ConnectionDecision {
  const history = asHistory(of);
  const none = { facts, history, network: 'unknown', tls: 'unknown', inspectors: [], direction: 'UNSPECIFIED' } as const;
  if (!history.has('listeners'))
    return { ...none, decision: { outcome: 'unknown', evidence: { listener: 'unavailable' }, reason: 'no-config-dump' }, ways: [] };
  const first = accepting(history, facts);
  const ways: ConnectionWay[] = [];
  const inputs = new Map<Resource<Listener>, readonly ChainInput[]>();
  for (const candidate of first.found)
    for (const final of handedOver(history, facts, candidate)) {
      if (inputs.has(final.listener)) continue;
      const through = waysThrough(final, facts, final.listener !== candidate.listener);
      inputs.set(final.listener, through.inputs);
      ways.push(...through.ways);
    }
  if (!first.sure && first.found.every((candidate) => candidate.doubt === undefined))
    ways.push({ outcome: 'no-listener', config: history.nearest(facts.atMs) });
  const terminals = ways.map((way) => terminalFilter(way.chain));
  const kind = agreed(terminals.map((filter) => filter?.kind));
  const routeNames = terminals.map((filter) =>
    filter?.kind !== 'http'
      ? undefined
      : filter.manager.routes.kind === 'rds'
        ? filter.manager.routes.name
        : filter.manager.routes.kind === 'inline'
          ? String(filter.manager.routes.message.name ?? '')
          : undefined,
  );
  const routeConfigName = agreed(routeNames);
  const listener = ways[0]?.listener?.value;
  return {
    ...none,
    decision: makeDecision(ways, facts, rejections(history, facts, ways, inputs)),
    ways,
    network: kind === 'http' || kind === 'tcp' ? kind : kind === 'terminal' ? 'other' : 'unknown',
    ...(routeConfigName === undefined ? {} : { routeConfigName }),
    tls: agreed(ways.map((way) => way.chain?.tls)) ?? 'unknown',
    inspectors:
      listener === undefined
        ? []
        : listener.listenerFilters.filter((filter) => filter.disabledFor(ways[0]?.local?.port) === false).map((filter) => filter.name),
    direction: agreed(ways.map((way) => way.listener?.value.trafficDirection)) ?? 'UNSPECIFIED',
  };
}
