/** Listeners. Source: envoy/config/listener/v3/listener.proto; source/common/listener_manager/listener_impl.cc. */
import { type EnvoyAddress, formatAddress, parseAddress } from './address.ts';
import { type FilterChain, parseFilterChain } from './filter-chain.ts';
import { booleanAt, durationMsAt, field, type Json, objectAt, objectsAt, textAt } from './json.ts';
import { type ListenerFilter, parseListenerFilter } from './listener-filter.ts';

export type TrafficDirection = 'INBOUND' | 'OUTBOUND' | 'UNSPECIFIED';

/** Where a listener is reached. */
export interface ListenerHead {
  /** '' when it has none. */
  readonly name: string;
  /** The first address, then the additional ones. */
  readonly addresses: readonly EnvoyAddress[];
  /** Is there a socket? Otherwise connections reach it by hand-over only. */
  readonly bindToPort: boolean;
  /** An internal listener: reached through `envoy_internal_address`. */
  readonly internal: boolean;
  /** Hand connections over to the listener of their original destination. */
  readonly useOriginalDst: boolean;
}

export interface Listener extends ListenerHead {
  readonly transparent: boolean;
  readonly trafficDirection: TrafficDirection;
  readonly listenerFilters: readonly ListenerFilter[];
  /** 0 waits for ever. */
  readonly listenerFiltersTimeoutMs: number;
  readonly continueOnListenerFiltersTimeout: boolean;
  readonly filterChains: readonly FilterChain[];
  readonly defaultFilterChain?: FilterChain;
  /** A unified matcher (`filter_chain_matcher`) chooses the chain instead of the chains' own matches. */
  readonly hasFilterChainMatcher: boolean;
}

/** The fields of the message that a {@link ListenerHead} is read from. */
export const LISTENER_HEAD: readonly string[] = [
  'name',
  'address',
  'additional_addresses',
  'internal_listener',
  'bind_to_port',
  'deprecated_v1',
  'use_original_dst',
  'hidden_envoy_deprecated_use_original_dst',
];

export function parseListenerHead(message: Json): ListenerHead {
  const addresses = [
    parseAddress(objectAt(message, 'address')),
    ...objectsAt(message, 'additional_addresses').map((more) => parseAddress(objectAt(more, 'address'))),
  ];
  const internal = field(message, 'internal_listener') !== undefined;
  return {
    name: textAt(message, 'name') ?? '',
    addresses: internal ? addresses.filter((address) => address.kind !== 'unknown') : addresses,
    bindToPort: !internal && (booleanAt(message, 'bind_to_port') ?? booleanAt(objectAt(message, 'deprecated_v1'), 'bind_to_port') ?? true),
    internal,
    useOriginalDst: booleanAt(message, 'use_original_dst') ?? booleanAt(message, 'hidden_envoy_deprecated_use_original_dst') ?? false,
  };
}

export function parseListener(message: Json): Listener {
  const fallback = objectAt(message, 'default_filter_chain');
  const direction = textAt(message, 'traffic_direction');
  return {
    ...parseListenerHead(message),
    transparent: booleanAt(message, 'transparent') ?? false,
    trafficDirection: direction === 'INBOUND' || direction === 'OUTBOUND' ? direction : 'UNSPECIFIED',
    listenerFilters: objectsAt(message, 'listener_filters').map(parseListenerFilter),
    listenerFiltersTimeoutMs: durationMsAt(message, 'listener_filters_timeout') ?? 15_000,
    continueOnListenerFiltersTimeout: booleanAt(message, 'continue_on_listener_filters_timeout') ?? false,
    filterChains: objectsAt(message, 'filter_chains').map(parseFilterChain),
    ...(fallback === undefined ? {} : { defaultFilterChain: parseFilterChain(fallback, -1) }),
    hasFilterChainMatcher: objectAt(message, 'filter_chain_matcher') !== undefined,
  };
}

/** The name, or the address of a listener that has none. */
export function listenerLabel(listener: ListenerHead): string {
  return listener.name !== '' ? listener.name : formatAddress(listener.addresses[0] ?? { kind: 'unknown' });
}

/** Does it take connections to exactly this address? `ip` in canonical text. */
export function hasExactAddress(listener: ListenerHead, ip: string, port: number): boolean {
  return listener.addresses.some(
    (address) => address.kind === 'socket' && address.protocol === 'tcp' && address.ip === ip && address.port === port,
  );
}

/** Does it take connections to this port on any address of the family? */
export function hasWildcardAddress(listener: ListenerHead, family: 4 | 6, port: number): boolean {
  return listener.addresses.some(
    (address) =>
      address.kind === 'socket' &&
      address.protocol === 'tcp' &&
      address.port === port &&
      (family === 4 ? address.ip === '0.0.0.0' || (address.ip === '::' && address.ipv4Compat) : address.ip === '::'),
  );
}
