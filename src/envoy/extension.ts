/** Which extension a filter is, whatever it was called in this configuration. */
import { type Json, objectAt, textAt, typedConfig } from './json.ts';

/** Types that do not name their extension the usual way. */
const oddTypes: { readonly [type: string]: string } = {
  'stats.PluginConfig': 'istio_stats',
  'envoy.tcp.metadataexchange.config.MetadataExchange': 'metadata_exchange',
};

function typeUrlOf(message: Json): string {
  const typed = objectAt(message, 'typed_config');
  const url = textAt(typed, '@type') ?? '';
  const type = url.endsWith('.TypedStruct') ? (textAt(typed, 'type_url') ?? '') : url;
  return type.slice(type.lastIndexOf('/') + 1);
}

/**
 * The extension of a filter: `rbac`, `http_connection_manager`, `ext_authz`, …
 *
 * The type tells (`envoy.extensions.filters.http.ext_authz.v3.ExtAuthz`, `io.istio.http.peer_metadata.Config`); where there is none (API v2 untyped, or a configuration still
 * to be discovered) the name (`envoy.filters.http.ext_authz`, `envoy.http_connection_manager`, `istio.stats`). A Wasm filter of Istio's that ran inside Envoy counts as `null_wasm`.
 */
export function extensionOf(message: Json): { readonly name: string; readonly extension: string; readonly config: Json } {
  const name = textAt(message, 'name') ?? '';
  const { config } = typedConfig(message);
  const type = typeUrlOf(message);
  const named =
    oddTypes[type] ?? /(?:^|\.)(?:filters?\.(?:http|network|listener)|io\.istio\.(?:http|network))\.([a-z0-9_]+)\./.exec(type)?.[1];
  if (named === 'wasm') return { name, extension: isNullVm(config) ? 'null_wasm' : 'wasm', config };
  const extension =
    named ?? (type === '' ? name.replace(/^(?:envoy\.(?:filters\.(?:http|network|listener)\.)?|istio\.)/, '') : shortened(type));
  return { name, extension, config };
}

/** A type of an unknown family: its last component (`TcpProxy`) in the way extensions are spelt (`tcp_proxy`). */
function shortened(type: string): string {
  return type
    .slice(type.lastIndexOf('.') + 1)
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .toLowerCase();
}

function isNullVm(config: Json): boolean {
  return textAt(objectAt(objectAt(config, 'config'), 'vm_config'), 'runtime') === 'envoy.wasm.runtime.null';
}
