/** Which cluster takes a connection that no HTTP connection manager reads. Source: source/common/tcp_proxy/tcp_proxy.cc, source/extensions/filters/network/. */
import type { Reason } from '../record/reason.ts';
import type { Outcome } from '../record/record.ts';
import { type Alternative, makeRouted, type RoutedDecision } from './alternative.ts';
import { type ConnectionDecision, type ConnectionWay, terminalFilter } from './connection.ts';
import { resolveCluster } from './destination.ts';
import type { TcpProxy } from './network-filter.ts';
import { not, type Three } from './three-valued.ts';

/** Cluster names, or `undefined` when something chooses them that is not known. */
function clusterNames(
  proxy: TcpProxy,
  bySni: boolean,
  serverName: string | undefined,
): { names: string[]; because: Reason | undefined } | undefined {
  if (bySni) {
    if (serverName === undefined) return undefined;
    if (serverName !== '') return { names: [serverName], because: undefined };
  }
  if (proxy.weighted.length > 0) return { names: [...new Set(proxy.weighted.map((cluster) => cluster.name))], because: 'weighted' };
  return proxy.cluster === undefined ? undefined : { names: [proxy.cluster], because: undefined };
}

function ends(connection: ConnectionDecision, way: ConnectionWay): Alternative[] {
  const { facts, history } = connection;
  const base = { way, mirrors: [] };
  const last = terminalFilter(way.chain);
  if (last === undefined || last.kind !== 'tcp')
    return [{ ...base, outcome: 'unknown', doubt: way.doubt ?? (last?.kind === 'http' ? 'no-request-seen' : 'filter-unknown') }];
  let denied: Three = false;
  let unsure: 'outcome' | 'route' | undefined;
  let bySni = false;
  const subject = {
    source: facts.source,
    ...(way.local === undefined ? {} : { destination: way.local }),
    ...(facts.serverName === undefined ? {} : { serverName: facts.serverName }),
    ...(facts.peer === undefined ? {} : { peer: facts.peer }),
  };
  for (const filter of way.chain?.filters ?? []) {
    if (filter === last) break;
    if (filter.kind === 'rbac') {
      const refused = not(filter.rbac.allows(subject));
      if (denied !== true && refused !== false) denied = refused;
    } else if (filter.kind === 'sni-cluster') bySni = true;
    else if (filter.kind === 'may-close') unsure ??= 'outcome';
    else if (filter.kind === 'unknown') unsure = 'route';
  }
  const clusters = clusterNames(last.proxy, bySni, facts.serverName);
  if (clusters === undefined)
    return [{ ...base, outcome: 'unknown', doubt: facts.serverName === undefined && bySni ? 'no-client-hello' : 'filter-unknown' }];
  const found = clusters.names.flatMap((cluster) =>
    resolveCluster(history, cluster, { atMs: facts.atMs, local: way.local }).map(
      (end): Alternative => ({
        ...base,
        ...end,
        cluster,
        ...(clusters.because === undefined ? {} : { because: clusters.because }),
        ...(unsure === undefined ? {} : { unsure }),
      }),
    ),
  );
  if (denied === false) return found;
  const refused = found.map((one): Alternative => {
    const { destination, ...rest } = one;
    return { ...rest, outcome: 'denied', otherwise: one };
  });
  return denied === true ? refused : [...refused.map((one) => ({ ...one, because: 'filter-unknown' as const })), ...found];
}

const finished: { readonly [outcome: string]: Outcome } = { 'no-listener': 'no-listener', 'no-chain': 'no-chain' };

/** Judges a connection as bytes: through the TCP proxy that ends its chain. A chain that ends otherwise gives outcome unknown. */
export function decideTcp(connection: ConnectionDecision): RoutedDecision {
  const alternatives = connection.ways.flatMap((way): Alternative[] => {
    const outcome = finished[way.outcome];
    if (outcome !== undefined) return [{ way, outcome, mirrors: [] }];
    if (way.outcome !== 'chain')
      return [
        { way, outcome: 'unknown', mirrors: [], doubt: way.doubt ?? (way.outcome === 'waiting' ? 'no-request-seen' : 'filter-unknown') },
      ];
    return ends(connection, way);
  });
  return makeRouted(connection, alternatives);
}
