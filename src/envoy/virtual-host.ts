/** Choosing the virtual host of a request. Source: source/common/router/config_impl.cc (RouteMatcher::findVirtualHost), source/common/http/header_utility.cc. */
import type { HttpConnectionManager } from './http-connection-manager.ts';
import type { RouteConfig, VirtualHost } from './route-config.ts';

/** The authority without its port; an IPv6 address keeps its brackets. */
export function stripPort(authority: string): string {
  const m = /^(\[[^\]]*\]|[^:]*):\d*$/.exec(authority);
  return m === null ? authority : m[1]!;
}

/** What the connection manager makes of the authority before it is looked up. */
export function effectiveAuthority(
  manager: HttpConnectionManager,
  authority: string,
  method: string,
  localPort: number | undefined,
): string {
  let host = authority;
  if (manager.stripAnyHostPort) host = stripPort(host);
  else if (manager.stripMatchingHostPort && method !== 'CONNECT' && localPort !== undefined && host.endsWith(`:${localPort}`))
    host = stripPort(host);
  if (!manager.stripTrailingHostDot) return host;
  const bare = stripPort(host);
  return bare.endsWith('.') ? bare.slice(0, -1) + host.slice(bare.length) : host;
}

interface DomainIndex {
  readonly exact: ReadonlyMap<string, VirtualHost>;
  /** Longest first. */
  readonly suffixes: readonly [string, VirtualHost][];
  readonly prefixes: readonly [string, VirtualHost][];
  readonly any: VirtualHost | undefined;
}

const indexes = new WeakMap<RouteConfig, DomainIndex>();

function indexOf(config: RouteConfig): DomainIndex {
  const known = indexes.get(config);
  if (known !== undefined) return known;
  const exact = new Map<string, VirtualHost>();
  const suffixes: [string, VirtualHost][] = [];
  const prefixes: [string, VirtualHost][] = [];
  let any: VirtualHost | undefined;
  for (const host of config.virtualHosts)
    for (const domain of host.domains) {
      if (domain === '*') any ??= host;
      else if (domain.startsWith('*')) suffixes.push([domain.slice(1), host]);
      else if (domain.endsWith('*')) prefixes.push([domain.slice(0, -1), host]);
      else if (!exact.has(domain)) exact.set(domain, host);
    }
  const longestFirst = (a: [string, VirtualHost], b: [string, VirtualHost]) => b[0].length - a[0].length;
  const index = { exact, suffixes: suffixes.sort(longestFirst), prefixes: prefixes.sort(longestFirst), any };
  indexes.set(config, index);
  return index;
}

/**
 * Exact domain, longest `*.suffix`, longest `prefix.*`, `*`. The wildcard stands for at least one character; letters of either case are one.
 *
 * @param authority as {@link effectiveAuthority} leaves it; '' when the request has none
 */
export function findVirtualHost(config: RouteConfig, authority: string): VirtualHost | undefined {
  const index = indexOf(config);
  if (authority === '') return index.any;
  const host = (config.ignorePortInHostMatching ? stripPort(authority) : authority).toLowerCase();
  return (
    index.exact.get(host) ??
    index.suffixes.find(([suffix]) => suffix.length < host.length && host.endsWith(suffix))?.[1] ??
    index.prefixes.find(([prefix]) => prefix.length < host.length && host.startsWith(prefix))?.[1] ??
    index.any
  );
}
