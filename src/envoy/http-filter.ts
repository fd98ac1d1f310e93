/** HTTP filters: which of them may answer by themselves or change the route. Source: envoy/extensions/filters/http/. */
import { type Fault, parseFault } from './fault.ts';
import { booleanAt, type Json, objectAt, textAt, typedConfig } from './json.ts';
import { parseRbac, type Rbac } from './rbac.ts';

export type HttpFilter = { readonly name: string; readonly type: string } & (
  | { readonly kind: 'router' }
  | { readonly kind: 'fault'; readonly fault: Fault }
  | { readonly kind: 'rbac'; readonly rbac: Rbac }
  | { readonly kind: 'cors' }
  /** Looks on, or changes what does not matter here. */
  | { readonly kind: 'passive' }
  /** May answer instead of the upstream (authorization, rate limits, …), but leaves the route alone. */
  | { readonly kind: 'may-answer' }
  /** May also change headers and have the route chosen again. */
  | { readonly kind: 'may-reroute' }
);

const passive = new Set([
  'FilterConfig', 'PluginConfig', 'Compressor', 'Decompressor', 'Gzip', 'Tap', 'GrpcWeb', 'Buffer', 'HeaderMutation', 'AlpnFilter', 'Config', 'PeerMetadataConfig', 'BandwidthLimit', 'IPTagging', 'StatefulSession',
  'OnDemand', 'SetFilterState', 'Upstream', 'UpstreamCodec', 'FileSystemBufferFilterConfig', 'GrpcStats', 'FilterConfigPerRoute', 'CredentialInjector',
]); // biome-ignore format: a list
const passiveNames = new Set([
  'istio.alpn',
  'istio.stats',
  'istio.metadata_exchange',
  'envoy.filters.http.grpc_stats',
  'envoy.filters.http.upstream_codec',
  'connect_baggage',
  'connect_authority',
  'istio_authn',
  'mixer',
  'waypoint_upstream_peer_metadata',
  'waypoint_downstream_peer_metadata',
  'envoy.grpc_web',
  'envoy.gzip',
]);
const mayReroute = new Set([
  'Lua',
  'LuaPerRoute',
  'Wasm',
  'ExternalProcessor',
  'HeaderToMetadata',
  'Composite',
  'GolangFilter',
  'DynamicModuleFilter',
  'JsonToMetadata',
]);
const mayAnswer = new Set([
  'JwtAuthentication',
  'RateLimit',
  'LocalRateLimit',
  'OAuth2',
  'CsrfPolicy',
  'HealthCheck',
  'AdmissionControl',
  'AdaptiveConcurrency',
  'BasicAuth',
  'ApiKeyAuth',
  'CacheConfig',
  'GrpcJsonTranscoder',
  'ExtAuthz',
  'GeoIP',
  'RateLimitQuota',
]);

/** Istio's own filters once ran in Envoy's built-in "null" virtual machine. */
function isNullVm(config: Json): boolean {
  const vm = objectAt(objectAt(config, 'config'), 'vm_config');
  return textAt(vm, 'runtime') === 'envoy.wasm.runtime.null';
}

export function parseHttpFilter(message: Json): HttpFilter {
  const name = textAt(message, 'name') ?? '';
  const { type, config } = typedConfig(message);
  const base = { name, type };
  if (type === 'Router' || name === 'envoy.router' || name === 'envoy.filters.http.router') return { ...base, kind: 'router' };
  if (type === 'HTTPFault' || name === 'envoy.fault' || name === 'envoy.filters.http.fault')
    return { ...base, kind: 'fault', fault: parseFault(config) };
  if (type === 'RBAC' || name === 'envoy.filters.http.rbac') return { ...base, kind: 'rbac', rbac: parseRbac(config) };
  if (type === 'Cors' || name === 'envoy.cors' || name === 'envoy.filters.http.cors') return { ...base, kind: 'cors' };
  if (passiveNames.has(name) || (type === 'Wasm' && isNullVm(config))) return { ...base, kind: 'passive' };
  if (mayReroute.has(type)) return { ...base, kind: 'may-reroute' };
  if (type === 'ExtAuthz' && booleanAt(config, 'clear_route_cache') === true) return { ...base, kind: 'may-reroute' };
  if (mayAnswer.has(type) || name === 'jwt-auth') return { ...base, kind: 'may-answer' };
  if (passive.has(type)) return { ...base, kind: 'passive' };
  return { ...base, kind: 'may-reroute' };
}
