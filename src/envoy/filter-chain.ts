/** Filter chains of a listener: what they match, what TLS they ask for, which network filter ends them. Source: envoy/config/listener/v3/listener_components.proto. */
import { type Cidr, parseCidr } from '../net/address.ts';
import { arrayAt, booleanAt, type Json, numberAt, objectAt, objectsAt, textAt, textsAt, typedConfig } from './json.ts';
import { type NetworkFilter, parseNetworkFilter } from './network-filter.ts';

export type SourceType = 'ANY' | 'SAME_IP_OR_LOOPBACK' | 'EXTERNAL';

/** Empty lists and absent values match everything. */
export interface FilterChainMatch {
  readonly destinationPort?: number;
  readonly prefixRanges: readonly Cidr[];
  /** Lower case; a leading dot stands for a wildcard (`.example.com` is `*.example.com`). */
  readonly serverNames: readonly string[];
  readonly transportProtocol: string;
  readonly applicationProtocols: readonly string[];
  readonly directSourcePrefixRanges: readonly Cidr[];
  readonly sourceType: SourceType;
  readonly sourcePrefixRanges: readonly Cidr[];
  readonly sourcePorts: readonly number[];
}

/** What the chain asks of its client: no TLS, TLS, or TLS with a client certificate. */
export type ChainTls = 'plaintext' | 'tls' | 'mutual' | 'unknown';

export interface FilterChain {
  /** '' when it has none. */
  readonly name: string;
  /** Place in the listener, from 0; -1 is the default filter chain. */
  readonly index: number;
  readonly match: FilterChainMatch;
  readonly tls: ChainTls;
  /** ALPN protocols that the chain offers, in its order. */
  readonly alpn: readonly string[];
  /** SDS secrets that hold its certificates. */
  readonly certificates: readonly string[];
  readonly filters: readonly NetworkFilter[];
}

function cidrs(match: Json | undefined, name: string): Cidr[] {
  return objectsAt(match, name)
    .map((range) => parseCidr(`${textAt(range, 'address_prefix') ?? ''}/${numberAt(range, 'prefix_len') ?? 0}`))
    .filter((range) => range !== undefined);
}

function parseServerName(text: string): string {
  const name = text.toLowerCase();
  return name.startsWith('*.') ? name.slice(1) : name === '*' ? '' : name;
}

export function parseFilterChainMatch(match: Json | undefined): FilterChainMatch {
  const port = numberAt(match, 'destination_port');
  const sourceType = textAt(match, 'source_type');
  const serverNames = textsAt(match, 'server_names');
  return {
    ...(port === undefined || port === 0 ? {} : { destinationPort: port }),
    prefixRanges: cidrs(match, 'prefix_ranges'),
    serverNames: (serverNames.length > 0 ? serverNames : textsAt(match, 'sni_domains')).map(parseServerName),
    transportProtocol: textAt(match, 'transport_protocol') ?? '',
    applicationProtocols: textsAt(match, 'application_protocols'),
    directSourcePrefixRanges: cidrs(match, 'direct_source_prefix_ranges'),
    sourceType:
      sourceType === 'SAME_IP_OR_LOOPBACK' || sourceType === 'LOCAL'
        ? 'SAME_IP_OR_LOOPBACK'
        : sourceType === 'EXTERNAL'
          ? 'EXTERNAL'
          : 'ANY',
    sourcePrefixRanges: cidrs(match, 'source_prefix_ranges'),
    sourcePorts: arrayAt(match, 'source_ports').filter((p) => typeof p === 'number'),
  };
}

function tlsContext(chain: Json): { tls: ChainTls; context?: Json } {
  const older = objectAt(chain, 'tls_context');
  const socket = objectAt(chain, 'transport_socket');
  if (older === undefined && socket === undefined) return { tls: 'plaintext' };
  let { type, config } = older === undefined ? typedConfig(socket) : { type: 'DownstreamTlsContext', config: older };
  // Transport sockets that wrap another one.
  for (let depth = 0; depth < 5 && objectAt(config, 'transport_socket') !== undefined; depth++)
    ({ type, config } = typedConfig(objectAt(config, 'transport_socket')));
  const name = textAt(socket, 'name') ?? '';
  if (type === 'DownstreamTlsContext' || (type === '' && /(^|\.)tls$/.test(name)))
    return { tls: booleanAt(config, 'require_client_certificate') === true ? 'mutual' : 'tls', context: config };
  if (type === 'RawBuffer' || name.endsWith('raw_buffer')) return { tls: 'plaintext' };
  return { tls: 'unknown' };
}

export function parseFilterChain(message: Json, index: number): FilterChain {
  const { tls, context } = tlsContext(message);
  const common = objectAt(context, 'common_tls_context');
  return {
    name: textAt(message, 'name') ?? '',
    index,
    match: parseFilterChainMatch(objectAt(message, 'filter_chain_match')),
    tls,
    alpn: textsAt(common, 'alpn_protocols'),
    certificates: objectsAt(common, 'tls_certificate_sds_secret_configs').map((secret) => textAt(secret, 'name') ?? ''),
    filters: objectsAt(message, 'filters').map(parseNetworkFilter),
  };
}
