/** The bootstrap, and what /server_info adds: who this Envoy is. Source: envoy/config/bootstrap/v3/bootstrap.proto, envoy/config/core/v3/base.proto (Node), envoy/admin/v3/server_info.proto. */
import { type EnvoyAddress, parseAddress } from './address.ts';
import { asObject, durationMsAt, type Json, numberAt, objectAt, textAt } from './json.ts';

export interface EnvoyNode {
  /** Istio: `sidecar~10.0.0.1~pod.namespace~namespace.svc.cluster.local`. */
  readonly id: string;
  readonly cluster: string;
  readonly metadata: Json;
}

export interface Bootstrap {
  readonly node: EnvoyNode;
  readonly admin: EnvoyAddress;
  /** Version of Envoy, '' when not told. */
  readonly envoyVersion: string;
  /** How long Envoy lets old listeners and chains drain, from Istio's proxy configuration; absent unknown. */
  readonly drainMs?: number;
}

export interface ServerInfo {
  /** `1.40.0`, the bare version. */
  readonly version: string;
  readonly state: string;
  readonly uptimeMs?: number;
  readonly drainMs?: number;
  readonly concurrency?: number;
  readonly node: EnvoyNode;
}

function parseNode(message: Json | undefined): EnvoyNode {
  return { id: textAt(message, 'id') ?? '', cluster: textAt(message, 'cluster') ?? '', metadata: objectAt(message, 'metadata') ?? {} };
}

/** Both spellings of the proxy configuration's drain time: `45s`, or protobuf JSON of a duration. */
function drainOf(node: EnvoyNode): number | undefined {
  return durationMsAt(objectAt(node.metadata, 'PROXY_CONFIG'), 'drainDuration');
}

export function parseBootstrap(message: Json): Bootstrap {
  const node = parseNode(objectAt(message, 'node'));
  const version = objectAt(objectAt(objectAt(message, 'node'), 'user_agent_build_version'), 'version');
  const drainMs = drainOf(node);
  return {
    node,
    admin: parseAddress(objectAt(objectAt(message, 'admin'), 'address')),
    envoyVersion:
      version === undefined ? '' : ['major_number', 'minor_number', 'patch'].map((name) => numberAt(version, name) ?? 0).join('.'),
    ...(drainMs === undefined ? {} : { drainMs }),
  };
}

export function parseServerInfo(value: unknown): ServerInfo | undefined {
  const message = asObject(value);
  if (message === undefined || textAt(message, 'version') === undefined) return undefined;
  const options = objectAt(message, 'command_line_options');
  const uptimeMs = durationMsAt(message, 'uptime_all_epochs');
  const drainMs = durationMsAt(options, 'drain_time');
  const concurrency = numberAt(options, 'concurrency');
  return {
    version: (textAt(message, 'version') ?? '').split('/')[1] ?? '',
    state: textAt(message, 'state') ?? 'LIVE',
    ...(uptimeMs === undefined ? {} : { uptimeMs }),
    ...(drainMs === undefined ? {} : { drainMs }),
    ...(concurrency === undefined ? {} : { concurrency }),
    node: parseNode(objectAt(message, 'node')),
  };
}
