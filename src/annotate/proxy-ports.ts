/** The ports of the proxy and its agent in one namespace: from the rules, from Envoy's configuration, from the sockets; Istio's well-known ones only where a proxy is known to live. */
import type { EnvoyConfig } from '../envoy/config.ts';
import { listenerHead } from '../envoy/listener-index.ts';
import { proxyPorts } from '../netfilter/ports.ts';
import type { RulesHeld, World } from '../world/world.ts';

export interface ProxyPorts {
  /** Where OUTPUT sends what the application opens (15001). */
  readonly outbound: ReadonlySet<number>;
  /** Where what comes in is sent (15006). */
  readonly inbound: ReadonlySet<number>;
  /** Where DNS is sent (15053). */
  readonly dns: ReadonlySet<number>;
  /** Envoy's admin port (15000). */
  readonly admin: ReadonlySet<number>;
  /** Readiness and application probes (15021; 15020 for /app-health). */
  readonly probe: ReadonlySet<number>;
  /** Metrics (15090, 15020). */
  readonly telemetry: ReadonlySet<number>;
  /** Discovery, certificates and monitoring of the control plane (15010, 15012, 15014). */
  readonly control: ReadonlySet<number>;
  /** HBONE (15008). */
  readonly hbone: ReadonlySet<number>;
  /** Ports on which the proxy listens for connections from outside without any redirect (a gateway's). */
  readonly listening: ReadonlySet<number>;
  /** Are there rules that send connections to a proxy? */
  readonly captures: boolean;
  /** Does a proxy live here? */
  readonly hasProxy: boolean;
  /** Addresses that the proxy binds towards the application (127.0.0.6, ::6). */
  readonly inboundBind: ReadonlySet<string>;
}

const HBONE = 15008;
const READINESS = 15021;
const ENVOY_METRICS = 15090;
const AGENT = 15020;
const ADMIN = 15000;
const CONTROL = [15010, 15012, 15014];
/** Source: pilot/pkg/networking/core/cluster_builder.go (upstream_bind_config of inbound clusters), InboundPassthroughBindIpv4 and Ipv6. */
const INBOUND_BIND = ['127.0.0.6', '::6'];

export function findProxyPorts(world: World, rules: readonly RulesHeld[]): ProxyPorts {
  const outbound = new Set<number>();
  const inbound = new Set<number>();
  const dns = new Set<number>();
  for (const held of rules) {
    const found = proxyPorts(held.sets);
    for (const port of found.outbound) outbound.add(port);
    for (const port of found.inbound) inbound.add(port);
    for (const port of found.dns) dns.add(port);
  }
  const captures = outbound.size > 0 || inbound.size > 0;
  const listening = new Set<number>();
  const admin = new Set<number>();
  const well = new Set([READINESS, ENVOY_METRICS, AGENT, ADMIN, HBONE]);
  const bind = new Set<string>();
  for (const config of world.envoy?.configs ?? []) {
    const address = config.bootstrap.admin;
    if (address.kind === 'socket') admin.add(address.port);
    for (const resource of config.listeners) {
      const listener = listenerHead(resource);
      if (!listener.bindToPort) continue;
      for (const bound of listener.addresses)
        if (bound.kind === 'socket' && !inbound.has(bound.port) && !outbound.has(bound.port) && !well.has(bound.port))
          listening.add(bound.port);
    }
    for (const source of bindAddresses(config)) bind.add(source);
  }
  // Without its configuration Envoy's own list of sockets tells the ports at least.
  if (world.envoy === undefined)
    for (const { addresses } of world.listeners ?? [])
      for (const bound of addresses)
        if (bound.kind === 'socket' && !inbound.has(bound.port) && !outbound.has(bound.port) && !well.has(bound.port))
          listening.add(bound.port);
  const hasProxy = captures || world.envoy !== undefined || (world.listeners?.length ?? 0) > 0 || proxyProcess(world);
  if (admin.size === 0 && hasProxy) admin.add(ADMIN);
  if (hasProxy) for (const address of INBOUND_BIND) bind.add(address);
  return {
    outbound,
    inbound,
    dns,
    admin,
    probe: new Set([READINESS, AGENT]),
    telemetry: new Set([ENVOY_METRICS, AGENT]),
    control: new Set(CONTROL),
    hbone: new Set([HBONE]),
    listening,
    captures,
    hasProxy,
    inboundBind: bind,
  };
}

function* bindAddresses(config: EnvoyConfig): Generator<string> {
  for (const versions of config.clusters.values())
    for (const resource of versions) {
      if (!/^(inbound\||InboundPassthrough)/.test(resource.name)) continue;
      const { bindAddress } = resource.value;
      if (bindAddress?.kind === 'socket' && bindAddress.ip !== undefined) yield bindAddress.ip;
    }
}

function proxyProcess(world: World): boolean {
  for (const socket of world.sockets?.listeners() ?? []) if (socket.process === 'envoy' || socket.process === 'pilot-agent') return true;
  return false;
}
