/** What every request on a connection would get, whatever it asks for: where nobody could read the request, and the routes leave nothing to it. */
import type { RoutedDecision } from './alternative.ts';
import { type ConnectionDecision, terminalFilter } from './connection.ts';
import { decideRequest } from './request.ts';
import type { RouteConfig } from './route-config.ts';

/** One virtual host for all domains whose first route takes everything. */
function takesAll(config: RouteConfig): boolean {
  const [host, ...others] = config.virtualHosts;
  return (
    host !== undefined &&
    others.length === 0 &&
    !config.onDemand &&
    !host.hasMatcher &&
    host.domains.includes('*') &&
    host.routes[0]?.match.unconditional === true
  );
}

/**
 * @param carriesRequests it is known that requests came over the connection: chains that end in anything but an HTTP connection manager were not taken
 * @returns `undefined` when the routes look at requests, or are not known
 */
export function decideAnyRequest(connection: ConnectionDecision, atMs: number, carriesRequests: boolean): RoutedDecision | undefined {
  const managed = connection.ways.filter((way) => terminalFilter(way.chain)?.kind === 'http');
  if (managed.length === 0 || (managed.length < connection.ways.length && !carriesRequests)) return undefined;
  for (const way of managed) {
    const filter = terminalFilter(way.chain);
    if (filter?.kind !== 'http') return undefined;
    const { routes } = filter.manager;
    if (routes.kind === 'inline') {
      if (!takesAll(way.config.inlineRoutes(routes.message))) return undefined;
    } else if (routes.kind === 'rds') {
      const { options, doubt } = connection.history.routesAt(routes.name, atMs);
      if (
        doubt !== undefined ||
        options.length === 0 ||
        !options.every(({ resource }) => resource !== undefined && takesAll(resource.value))
      )
        return undefined;
    } else return undefined;
  }
  // Nothing of this request is looked at by the routes; filters that look at headers are told that they are not known.
  return decideRequest(connection, {
    atMs,
    method: 'GET',
    authority: '',
    path: '/',
    headers: [],
    headersComplete: false,
    queryHidden: true,
  });
}
