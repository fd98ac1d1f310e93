/** The HTTP connection manager. Source: envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.proto. */
import { type HttpFilter, parseHttpFilter } from './http-filter.ts';
import { asObject, booleanAt, field, type Json, objectAt, objectsAt, textAt } from './json.ts';

export type RouteSource =
  | { readonly kind: 'rds'; readonly name: string }
  /** The route configuration stands in the listener itself; kept raw, read when asked for. */
  | { readonly kind: 'inline'; readonly message: Json }
  | { readonly kind: 'scoped' }
  | { readonly kind: 'none' };

export type EscapedSlashesAction = 'KEEP_UNCHANGED' | 'REJECT_REQUEST' | 'UNESCAPE_AND_REDIRECT' | 'UNESCAPE_AND_FORWARD';

export interface HttpConnectionManager {
  readonly statPrefix: string;
  readonly routes: RouteSource;
  readonly httpFilters: readonly HttpFilter[];
  readonly useRemoteAddress: boolean;
  readonly normalizePath: boolean;
  readonly mergeSlashes: boolean;
  readonly escapedSlashes: EscapedSlashesAction;
  readonly stripMatchingHostPort: boolean;
  readonly stripAnyHostPort: boolean;
  readonly stripTrailingHostDot: boolean;
}

const escapedSlashesActions: readonly string[] = ['REJECT_REQUEST', 'UNESCAPE_AND_REDIRECT', 'UNESCAPE_AND_FORWARD'];

function parseRouteSource(config: Json): RouteSource {
  const inline = objectAt(config, 'route_config');
  if (inline !== undefined) return { kind: 'inline', message: inline };
  const rds = objectAt(config, 'rds');
  if (rds !== undefined) return { kind: 'rds', name: textAt(rds, 'route_config_name') ?? '' };
  return { kind: objectAt(config, 'scoped_routes') === undefined ? 'none' : 'scoped' };
}

/** Path normalization is off unless asked for; a runtime switch (`http_connection_manager.normalize_path`) is not followed. */
export function parseHttpConnectionManager(config: Json): HttpConnectionManager {
  const filters = field(config, 'http_filters');
  const action = textAt(config, 'path_with_escaped_slashes_action') ?? '';
  return {
    statPrefix: textAt(config, 'stat_prefix') ?? '',
    routes: parseRouteSource(config),
    // API v2 in its untyped form prints a single filter without its list.
    httpFilters: (Array.isArray(filters) ? objectsAt(config, 'http_filters') : [asObject(filters) ?? {}])
      .filter((filter) => Object.keys(filter).length > 0)
      .map(parseHttpFilter),
    useRemoteAddress: booleanAt(config, 'use_remote_address') ?? false,
    normalizePath: booleanAt(config, 'normalize_path') ?? false,
    mergeSlashes: booleanAt(config, 'merge_slashes') ?? false,
    escapedSlashes: escapedSlashesActions.includes(action) ? (action as EscapedSlashesAction) : 'KEEP_UNCHANGED',
    stripMatchingHostPort: booleanAt(config, 'strip_matching_host_port') ?? false,
    stripAnyHostPort: booleanAt(config, 'strip_any_host_port') ?? false,
    stripTrailingHostDot: booleanAt(config, 'strip_trailing_host_dot') ?? false,
  };
}
