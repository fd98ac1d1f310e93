/** Clusters. Source: envoy/config/cluster/v3/cluster.proto. */
import { type EnvoyAddress, parseAddress } from './address.ts';
import { type Endpoint, parseEndpoints, parseOldHosts } from './endpoint.ts';
import { booleanAt, type Json, numberAt, objectAt, objectsAt, textAt, textsAt, typedConfig } from './json.ts';

export type ClusterType =
  | 'STATIC'
  | 'STRICT_DNS'
  | 'LOGICAL_DNS'
  | 'EDS'
  | 'ORIGINAL_DST'
  | 'AGGREGATE'
  | 'DYNAMIC_FORWARD_PROXY'
  | 'OTHER';

/** What an upstream connection uses. */
export interface UpstreamTransport {
  readonly tls: boolean | 'unknown';
  /** SNI that Envoy sends; '' none. */
  readonly sni: string;
  readonly alpn: readonly string[];
}

/** What tells where its endpoints stand. */
export interface ClusterHead {
  readonly name: string;
  readonly type: ClusterType;
  /** Name that EDS knows it by. */
  readonly edsName: string;
}

export interface Cluster extends ClusterHead {
  /** Endpoints written in the cluster itself. Addresses may be names to resolve. */
  readonly endpoints: readonly Endpoint[];
  /** Clusters of an aggregate, in their order. */
  readonly children: readonly string[];
  /** Address that Envoy connects from (Istio: 127.0.0.6 towards the application). */
  readonly bindAddress?: EnvoyAddress;
  /** Header that names the endpoint of an ORIGINAL_DST cluster, '' none. */
  readonly originalDstHeader: string;
  /** Another port than the original destination's. */
  readonly originalDstPort?: number;
  /** Something else than the header chooses the address (metadata). */
  readonly originalDstOther: boolean;
  /** Below this percentage of healthy endpoints Envoy uses all of them; 0 never. */
  readonly panicThreshold: number;
  readonly hasSubsets: boolean;
  /** Does Envoy speak HTTP/2 to it? `downstream`: if the client did; `unknown`: the server chooses (ALPN). */
  readonly http2: boolean | 'downstream' | 'unknown';
  /** SNIs that Envoy may send to its endpoints. */
  readonly serverNames: readonly string[];
  /** Transport by endpoint metadata, in order; then the cluster's own. */
  transportFor(transportSocketMatch: Json): UpstreamTransport;
}

const types: readonly string[] = ['STATIC', 'STRICT_DNS', 'LOGICAL_DNS', 'EDS', 'ORIGINAL_DST'];

function parseType(message: Json): ClusterType {
  const custom = objectAt(message, 'cluster_type');
  if (custom !== undefined) {
    const name = textAt(custom, 'name') ?? '';
    if (name.endsWith('aggregate')) return 'AGGREGATE';
    if (name.endsWith('dynamic_forward_proxy')) return 'DYNAMIC_FORWARD_PROXY';
    const { type, config } = typedConfig(custom);
    if (type === 'OriginalDstCluster' || name.endsWith('original_dst')) return 'ORIGINAL_DST';
    if (type === 'DnsCluster') return booleanAt(config, 'all_addresses_in_single_endpoint') === true ? 'LOGICAL_DNS' : 'STRICT_DNS';
    return name.endsWith('.eds') ? 'EDS' : name.endsWith('.static') ? 'STATIC' : 'OTHER';
  }
  const type = textAt(message, 'type') ?? 'STATIC';
  return types.includes(type) ? (type as ClusterType) : 'OTHER';
}

function parseTransport(socket: Json | undefined, olderContext?: Json): UpstreamTransport {
  if (socket === undefined && olderContext === undefined) return { tls: false, sni: '', alpn: [] };
  let { type, config } = olderContext === undefined ? typedConfig(socket) : { type: 'UpstreamTlsContext', config: olderContext };
  for (let depth = 0; depth < 5 && objectAt(config, 'transport_socket') !== undefined; depth++)
    ({ type, config } = typedConfig(objectAt(config, 'transport_socket')));
  if (type === 'UpstreamTlsContext')
    return { tls: true, sni: textAt(config, 'sni') ?? '', alpn: textsAt(objectAt(config, 'common_tls_context'), 'alpn_protocols') };
  const name = textAt(socket, 'name') ?? '';
  return { tls: type === 'RawBuffer' || name.endsWith('raw_buffer') ? false : 'unknown', sni: '', alpn: [] };
}

/** Does every field of the match stand in the endpoint's metadata? An empty match fits all. */
function fits(match: Json | undefined, metadata: Json): boolean {
  return Object.entries(match ?? {}).every(([key, value]) => Object.hasOwn(metadata, key) && metadata[key] === value);
}

/** Source: envoy/extensions/upstreams/http/v3/http_protocol_options.proto; without any the protocol is HTTP/1.1. */
function parseHttp2(message: Json): Cluster['http2'] {
  const options = objectAt(objectAt(message, 'typed_extension_protocol_options'), 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions');
  if (options === undefined) return objectAt(message, 'http2_protocol_options') !== undefined;
  const explicit = objectAt(options, 'explicit_http_config');
  if (explicit !== undefined)
    return objectAt(explicit, 'http2_protocol_options') !== undefined
      ? true
      : objectAt(explicit, 'http3_protocol_options') !== undefined
        ? 'unknown'
        : false;
  if (objectAt(options, 'use_downstream_protocol_config') !== undefined) return 'downstream';
  return objectAt(options, 'auto_config') !== undefined ? 'unknown' : false;
}

/** The fields of the message that a {@link ClusterHead} is read from. */
export const CLUSTER_HEAD: readonly string[] = ['name', 'type', 'cluster_type', 'eds_cluster_config'];

export function parseClusterHead(message: Json): ClusterHead {
  const name = textAt(message, 'name') ?? '';
  return { name, type: parseType(message), edsName: textAt(objectAt(message, 'eds_cluster_config'), 'service_name') || name };
}

export function parseCluster(message: Json): Cluster {
  const head = parseClusterHead(message);
  const { type } = head;
  const custom = typedConfig(objectAt(message, 'cluster_type')).config;
  const assignment = objectAt(message, 'load_assignment');
  const bind = objectAt(objectAt(message, 'upstream_bind_config'), 'source_address');
  const originalDst = objectAt(message, 'original_dst_lb_config') ?? custom;
  const port = numberAt(originalDst, 'upstream_port_override');
  const panic = objectAt(objectAt(message, 'common_lb_config'), 'healthy_panic_threshold');
  const matches = objectsAt(message, 'transport_socket_matches').map((entry) => ({
    match: objectAt(entry, 'match'),
    transport: parseTransport(objectAt(entry, 'transport_socket')),
  }));
  const own = parseTransport(objectAt(message, 'transport_socket'), objectAt(message, 'tls_context'));
  return {
    ...head,
    endpoints: assignment === undefined ? parseOldHosts(message) : parseEndpoints(assignment),
    children: type === 'AGGREGATE' ? textsAt(custom, 'clusters') : [],
    ...(bind === undefined ? {} : { bindAddress: parseAddress({ socket_address: bind }) }),
    originalDstHeader:
      booleanAt(originalDst, 'use_http_header') === true
        ? (textAt(originalDst, 'http_header_name') || 'x-envoy-original-dst-host').toLowerCase()
        : '',
    ...(port === undefined ? {} : { originalDstPort: port }),
    originalDstOther: objectAt(originalDst, 'metadata_key') !== undefined,
    panicThreshold: panic === undefined ? 50 : (numberAt(panic, 'value') ?? 0),
    hasSubsets: objectAt(message, 'lb_subset_config') !== undefined,
    http2: parseHttp2(message),
    serverNames: [...new Set([...matches.map((entry) => entry.transport.sni), own.sni].filter((sni) => sni !== ''))],
    transportFor: (metadata) => matches.find((entry) => fits(entry.match, metadata))?.transport ?? own,
  };
}
