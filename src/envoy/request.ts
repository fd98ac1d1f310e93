/**
 * Which virtual host, route and cluster take a request.
 *
 * In      the decision on its connection, and the request's head.
 * Out     a {@link RoutedDecision}. Weighted clusters, headers that were not seen and matchers that cannot be judged leave several alternatives; `settle` tells them apart by what is seen upstream.
 * Not     follows no retries and no internal redirects: it says where the first attempt goes.
 * Source  source/common/router/config_impl.cc, source/common/http/conn_manager_impl.cc.
 */
import type { Reason } from '../record/reason.ts';
import { type Alternative, makeRouted, type RoutedDecision } from './alternative.ts';
import { type ConnectionDecision, type ConnectionWay, terminalFilter } from './connection.ts';
import { resolveCluster } from './destination.ts';
import { parseFault } from './fault.ts';
import { type RequestHeaders, requestHeaders } from './header-matcher.ts';
import type { HttpConnectionManager } from './http-connection-manager.ts';
import { objectAt } from './json.ts';
import { parseRbac } from './rbac.ts';
import { effectivePath } from './request-path.ts';
import { perFilterFor, type Route, type RouteConfig, type VirtualHost } from './route-config.ts';
import type { RouteRequest } from './route-match.ts';
import { not, type Three } from './three-valued.ts';
import { effectiveAuthority, findVirtualHost } from './virtual-host.ts';

export interface RequestFacts {
  /** When its head arrived, milliseconds of the Unix epoch. */
  readonly atMs: number;
  /** Method, authority and path are absent where the head could not be read. */
  readonly method?: string;
  /** `Host` or `:authority`, as sent. */
  readonly authority?: string;
  /** As sent, with its query. */
  readonly path?: string;
  /** Without pseudo headers. */
  readonly headers: readonly (readonly [string, string])[];
  /** Are these all its headers? Otherwise one that is not listed is unknown. Default true. */
  readonly headersComplete?: boolean;
  /** Was the query cut off or hidden? Default false. */
  readonly queryHidden?: boolean;
  readonly scheme?: string;
}

interface Context {
  readonly connection: ConnectionDecision;
  readonly way: ConnectionWay;
  readonly manager: HttpConnectionManager;
  readonly facts: RequestFacts;
  readonly request: RouteRequest;
  /** As the connection manager leaves it. */
  readonly authority: string | undefined;
}

type Partial = Omit<Alternative, 'way' | 'mirrors'> & { readonly mirrors?: readonly string[] };

function alternative(context: Context, part: Partial): Alternative {
  return { mirrors: [], ...part, way: context.way };
}

function clusterNames(
  route: Route,
  request: RouteRequest,
): { readonly names: readonly string[]; readonly because: Reason | undefined } | undefined {
  switch (route.action.kind) {
    case 'cluster':
      return { names: [route.action.cluster], because: undefined };
    case 'weighted':
      return { names: [...new Set(route.action.clusters.map((cluster) => cluster.name))], because: 'weighted' };
    case 'cluster-header': {
      const header = request.headers.find(route.action.header);
      // Without the header the name is empty, and there is no such cluster.
      return header.known ? { names: [header.text ?? ''], because: undefined } : undefined;
    }
    default:
      return undefined;
  }
}

interface FilterVerdict {
  readonly denied: Three;
  readonly aborted: Three;
  readonly abortStatus: number | undefined;
  readonly unsure: 'outcome' | 'route' | undefined;
}

/** What the HTTP filters in front of the router do. */
function askFilters(context: Context, config: RouteConfig, host: VirtualHost, route: Route, cluster: string): FilterVerdict {
  const { manager, request, connection, way } = context;
  let denied: Three = false;
  let aborted: Three = false;
  let abortStatus: number | undefined;
  let unsure: FilterVerdict['unsure'];
  const { facts } = connection;
  const subject = {
    source: facts.source,
    ...(way.local === undefined ? {} : { destination: way.local }),
    ...(facts.serverName === undefined ? {} : { serverName: facts.serverName }),
    ...(facts.peer === undefined ? {} : { peer: facts.peer }),
    request,
  };
  for (const filter of manager.httpFilters) {
    const own = perFilterFor(filter.name, route, host, config);
    if (own?.disabled === true) continue;
    if (filter.kind === 'rbac') {
      const rbac = own === undefined ? filter.rbac : parseRbac(objectAt(own, 'rbac') ?? {});
      const refused = not(rbac.allows(subject));
      if (denied !== true && refused !== false) denied = refused;
    } else if (filter.kind === 'fault') {
      const fault = own === undefined ? filter.fault : parseFault(own);
      aborted = fault.aborts(request.headers, cluster);
      abortStatus = fault.status;
    } else if (filter.kind === 'cors' && route.hasCors && (request.method ?? 'OPTIONS') === 'OPTIONS') unsure ??= 'outcome';
    else if (filter.kind === 'may-answer') unsure ??= 'outcome';
    else if (filter.kind === 'may-reroute') unsure = 'route';
  }
  return { denied, aborted, abortStatus, unsure };
}

function throughCluster(
  context: Context,
  config: RouteConfig,
  host: VirtualHost,
  route: Route,
  name: string,
  because: Reason | undefined,
): Alternative[] {
  const { connection, way, facts, request } = context;
  const verdict = askFilters(context, config, host, route, name);
  const mirrors = route.mirrors.map((mirror) => mirror.cluster);
  const input = {
    atMs: facts.atMs,
    local: way.local,
    headers: request.headers,
    ...(route.subset === undefined ? {} : { subset: route.subset }),
  };
  return resolveCluster(connection.history, name, input).flatMap((end) => {
    const forward = alternative(context, {
      ...end,
      virtualHost: host.name,
      route: route.name,
      cluster: name,
      mirrors,
      ...(end.outcome === 'no-cluster' ? { status: route.clusterNotFoundStatus } : end.outcome === 'forwarded' ? {} : { status: 503 }),
      ...(because === undefined ? {} : { because }),
      ...(verdict.unsure === undefined ? {} : { unsure: verdict.unsure }),
    });
    const answered = (outcome: 'denied' | 'fault', status: number | undefined): Alternative => {
      const { destination, status: _, unsure: __, ...rest } = forward;
      return { ...rest, outcome, mirrors: [], otherwise: forward, ...(status === undefined ? {} : { status }) };
    };
    const denial = answered('denied', 403);
    if (verdict.denied === true) return [denial];
    const found: Alternative[] = verdict.denied === 'unknown' ? [{ ...denial, because: 'filter-unknown' }] : [];
    if (verdict.aborted === true) return [...found, answered('fault', verdict.abortStatus)];
    if (verdict.aborted === 'unknown') found.push({ ...answered('fault', verdict.abortStatus), because: 'runtime-fraction' });
    return [...found, forward];
  });
}

function throughRoute(context: Context, config: RouteConfig, host: VirtualHost, route: Route, because: Reason | undefined): Alternative[] {
  const named = { virtualHost: host.name, route: route.name, ...(because === undefined ? {} : { because }) };
  const { action } = route;
  if (action.kind === 'redirect') return [alternative(context, { ...named, outcome: 'redirect' })];
  if (action.kind === 'direct-response') return [alternative(context, { ...named, outcome: 'direct-response', status: action.status })];
  if (action.kind === 'unknown') return [alternative(context, { ...named, outcome: 'unknown', doubt: 'route-unknown-matcher' })];
  const clusters = clusterNames(route, context.request);
  if (clusters === undefined)
    return [
      alternative(context, {
        ...named,
        outcome: 'unknown',
        doubt: context.request.path === undefined ? 'no-request-seen' : 'cluster-from-header',
      }),
    ];
  return clusters.names.flatMap((name) => throughCluster(context, config, host, route, name, clusters.because ?? because));
}

function needsTls(context: Context, host: VirtualHost): Three {
  if (host.requireTls === 'NONE') return false;
  if (host.requireTls === 'EXTERNAL_ONLY') return 'unknown';
  const { manager, way } = context;
  const forwarded = context.request.headers.find('x-forwarded-proto');
  if (!manager.useRemoteAddress && forwarded.known && forwarded.text !== undefined) return forwarded.text !== 'https';
  const tls = way.chain?.tls ?? 'unknown';
  return tls === 'unknown' ? 'unknown' : tls === 'plaintext';
}

function throughHost(context: Context, config: RouteConfig, host: VirtualHost, because: Reason | undefined): Alternative[] {
  const named = { virtualHost: host.name, ...(because === undefined ? {} : { because }) };
  const found: Alternative[] = [];
  const upgrade = needsTls(context, host);
  if (upgrade !== false) found.push(alternative(context, { ...named, outcome: 'redirect', route: '', because: 'route-unknown-matcher' }));
  if (upgrade === true) return found;
  if (host.hasMatcher) return [...found, alternative(context, { ...named, outcome: 'unknown', doubt: 'route-unknown-matcher' })];
  for (const route of host.routes) {
    const verdict = route.match.test(context.request);
    if (verdict.matches === false) continue;
    found.push(...throughRoute(context, config, host, route, verdict.matches === 'unknown' ? verdict.because : because));
    if (verdict.matches === true) return found;
  }
  return [...found, alternative(context, { ...named, outcome: 'no-route', status: 404 })];
}

/** A head that was not read may have taken any route; beyond so many nothing is said. */
const MAX_ALTERNATIVES = 256;

function throughRoutes(context: Context, config: RouteConfig): Alternative[] {
  const unknown = (doubt: Reason) => [alternative(context, { outcome: 'unknown', doubt })];
  if (context.authority === undefined) {
    const found: Alternative[] = [];
    for (const host of config.virtualHosts) {
      found.push(...throughHost(context, config, host, 'no-request-seen'));
      if (found.length > MAX_ALTERNATIVES) return unknown('no-request-seen');
    }
    if (!config.virtualHosts.some((host) => host.domains.includes('*')))
      found.push(alternative(context, { outcome: 'no-route', status: 404, because: 'no-request-seen' }));
    return found;
  }
  const host = findVirtualHost(config, context.authority);
  if (host !== undefined) return throughHost(context, config, host, undefined);
  return config.onDemand ? unknown('route-unknown-matcher') : [alternative(context, { outcome: 'no-route', status: 404 })];
}

/** A request line with a whole URL (as to a forward proxy): its host counts, not the header's. Source: RFC 9112 section 3.2.2. */
function fromAbsolute(facts: RequestFacts): RequestFacts {
  const m = /^https?:\/\/([^/?#]+)(.*)$/is.exec(facts.path ?? '');
  if (m === null) return facts;
  const rest = m[2]!;
  return { ...facts, authority: m[1]!, path: rest.startsWith('/') ? rest : `/${rest}` };
}

function throughManager(
  connection: ConnectionDecision,
  way: ConnectionWay,
  manager: HttpConnectionManager,
  asSent: RequestFacts,
): Alternative[] {
  const facts = fromAbsolute(asSent);
  const { method } = facts;
  const effective = facts.path === undefined ? undefined : effectivePath(manager, facts.path);
  const path = effective?.kind === 'path' ? effective.path : facts.path;
  const authority =
    facts.authority === undefined ? undefined : effectiveAuthority(manager, facts.authority, method ?? 'GET', way.local?.port);
  const headers: RequestHeaders = requestHeaders(facts.headers, facts.headersComplete ?? true, {
    ':method': method,
    ':authority': authority,
    ':path': path,
    ':scheme': facts.scheme ?? (way.chain?.tls === 'plaintext' ? 'http' : way.chain?.tls === 'unknown' ? undefined : 'https'),
  });
  const mutual = way.chain?.tls === 'mutual';
  const tls =
    way.chain?.tls === 'plaintext'
      ? ({ presented: false, validated: false } as const)
      : mutual
        ? ({ presented: true, validated: true } as const)
        : ({ presented: 'unknown', validated: 'unknown' } as const);
  const request: RouteRequest = {
    ...(method === undefined ? {} : { method }),
    ...(path === undefined ? {} : { path }),
    queryHidden: facts.queryHidden ?? false,
    headers,
    tls,
  };
  const context: Context = { connection, way, manager, facts, request, authority };
  if (effective?.kind === 'rejected') return [alternative(context, { outcome: 'direct-response', status: 400 })];
  if (effective?.kind === 'redirected') return [alternative(context, { outcome: 'redirect', status: 307 })];
  const { routes } = manager;
  if (routes.kind === 'inline') return throughRoutes(context, way.config.inlineRoutes(routes.message));
  if (routes.kind !== 'rds') return [alternative(context, { outcome: 'unknown', doubt: 'route-unknown-matcher' })];
  const possible = connection.history.routesAt(routes.name, facts.atMs);
  if (possible.options.length === 0) return [alternative(context, { outcome: 'unknown', doubt: 'no-config-dump' })];
  return possible.options.flatMap(({ resource }) => {
    const found =
      resource === undefined ? [alternative(context, { outcome: 'no-route', status: 404 })] : throughRoutes(context, resource.value);
    return possible.doubt === undefined ? found : found.map((one) => ({ ...one, doubt: one.doubt ?? possible.doubt! }));
  });
}

/** Judges one request by the configuration that its connection was accepted with, and the routes and clusters of its own time. */
export function decideRequest(connection: ConnectionDecision, facts: RequestFacts): RoutedDecision {
  const alternatives = connection.ways.flatMap((way): Alternative[] => {
    const filter = terminalFilter(way.chain);
    if (filter?.kind === 'http') return throughManager(connection, way, filter.manager, facts);
    // A request was read, so a way that ends before any connection manager was not taken, unless nothing else is left.
    return [];
  });
  if (alternatives.length > 0) return makeRouted(connection, alternatives);
  return { decision: connection.decision, alternatives: [], connection, mirrors: [] };
}

/** What a request of the connection may become whose head was not read: encrypted, cut, or not there. */
export function decideUnread(connection: ConnectionDecision, atMs: number): RoutedDecision {
  return decideRequest(connection, { atMs, headers: [], headersComplete: false });
}
