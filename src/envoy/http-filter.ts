/** HTTP filters: which of them may answer by themselves or change the route. Source: envoy/extensions/filters/http/. */
import { extensionOf } from './extension.ts';
import { type Fault, parseFault } from './fault.ts';
import { asObject, booleanAt, type Json, objectAt } from './json.ts';
import { parseRbac, type Rbac } from './rbac.ts';

export type HttpFilter = { readonly name: string; readonly extension: string } & (
  | { readonly kind: 'router' }
  | { readonly kind: 'fault'; readonly fault: Fault }
  | { readonly kind: 'rbac'; readonly rbac: Rbac }
  | { readonly kind: 'cors' }
  /** Looks on, or changes what does not matter here. */
  | { readonly kind: 'passive' }
  /** May answer instead of the upstream (authorization, rate limits, …), but leaves the route alone. */
  | { readonly kind: 'may-answer' }
  /** May also have the route chosen again: changed headers alone do not, the route is fixed before the first filter. */
  | { readonly kind: 'may-reroute' }
);

const passive: ReadonlySet<string> = new Set([
  ...[
    'grpc_stats',
    'istio_stats',
    'stats',
    'alpn',
    'metadata_exchange',
    'peer_metadata',
    'connect_baggage',
    'connect_authority',
    'null_wasm',
  ],
  ...[
    'compressor',
    'decompressor',
    'gzip',
    'buffer',
    'file_system_buffer',
    'tap',
    'grpc_web',
    'grpc_http1_bridge',
    'connect_grpc_bridge',
    'bandwidth_limit',
  ],
  ...[
    'header_mutation',
    'header_to_metadata',
    'json_to_metadata',
    'set_metadata',
    'set_filter_state',
    'stateful_session',
    'ip_tagging',
    'on_demand',
  ],
  ...[
    'upstream_codec',
    'dynamic_forward_proxy',
    'aws_request_signing',
    'credential_injector',
    'gcp_authn',
    'geoip',
    'original_src',
    'custom_response',
  ],
]);
const mayAnswer: ReadonlySet<string> = new Set([
  ...[
    'ext_authz',
    'jwt_authn',
    'jwt-auth',
    'basic_auth',
    'api_key_auth',
    'oauth2',
    'csrf',
    'authn',
    'istio_authn',
    'mixer',
    'ratelimit',
    'local_ratelimit',
    'rate_limit_quota',
  ],
  ...['health_check', 'admission_control', 'adaptive_concurrency', 'cache', 'cdn_loop', 'aws_lambda', 'kill_request'],
]);

/** Does the filter have the route chosen again after it? */
function clearsRoute(config: Json): boolean {
  if (booleanAt(config, 'clear_route_cache') === true) return true;
  return Object.values(objectAt(config, 'providers') ?? {}).some((provider) => booleanAt(asObject(provider), 'clear_route_cache') === true);
}

/** A filter that we do not know may do anything. */
export function parseHttpFilter(message: Json): HttpFilter {
  const { name, extension, config } = extensionOf(message);
  const base = { name, extension };
  if (extension === 'router' || extension === 'cors') return { ...base, kind: extension };
  if (extension === 'fault') return { ...base, kind: 'fault', fault: parseFault(config) };
  if (extension === 'rbac') return { ...base, kind: 'rbac', rbac: parseRbac(config) };
  if (clearsRoute(config)) return { ...base, kind: 'may-reroute' };
  if (passive.has(extension)) return { ...base, kind: 'passive' };
  return { ...base, kind: mayAnswer.has(extension) ? 'may-answer' : 'may-reroute' };
}
