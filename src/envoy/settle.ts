/**
 * Tells alternatives apart by what was seen: the upstream connection, the SNI on it, the status of the answer.
 *
 * An observed endpoint leaves the alternatives that may go there; an SNI leaves those whose cluster sends it (Istio's name the cluster itself). Where no alternative goes there, that is said
 * (`upstream-not-an-endpoint`) and the prediction is not trusted.
 */
import { formatEndpoint, parseEndpoint } from '../net/address.ts';
import { type Alternative, makeRouted, type RoutedDecision, type Settled } from './alternative.ts';

export interface Observed {
  /** Where the upstream connection went. */
  readonly upstream?: { readonly ip: string; readonly port: number };
  /** SNI in the ClientHello of that connection; '' none. */
  readonly upstreamSni?: string;
  readonly responseStatus?: number;
  /** It is known that Envoy opened and used no upstream connection. */
  readonly noUpstream?: boolean;
}

/** Port of HBONE tunnels: what an internal endpoint leads to is reached through it. */
const HBONE_PORT = 15008;

function leadsTo(alternative: Alternative, upstream: { readonly ip: string; readonly port: number }): boolean {
  const { destination } = alternative;
  if (destination === undefined) return false;
  if (destination.members === undefined) return true;
  const target = formatEndpoint(upstream.ip, upstream.port);
  return destination.members.some(
    (member) => member === target || (upstream.port === HBONE_PORT && parseEndpoint(member)?.ip === upstream.ip),
  );
}

function byStatus(alternatives: readonly Alternative[], status: number | undefined): readonly Alternative[] {
  if (status === undefined) return alternatives;
  const left = alternatives.filter((alternative) => alternative.status === undefined || alternative.status === status);
  return left.length === 0 ? alternatives : left;
}

function withoutUpstream(routed: RoutedDecision, observed: Observed): RoutedDecision {
  if (!observed.noUpstream) return routed;
  const own = routed.alternatives.filter((alternative) => alternative.outcome !== 'forwarded');
  const left = byStatus(own.length === 0 ? routed.alternatives : own, observed.responseStatus);
  return left.length === routed.alternatives.length ? routed : makeRouted(routed.connection, left);
}

/** Looks at the upstream leg. The result can be settled again. */
export function settle(routed: RoutedDecision, observed: Observed): RoutedDecision {
  const { upstream } = observed;
  if (routed.alternatives.length === 0) return routed;
  if (upstream === undefined) return withoutUpstream(routed, observed);
  const target = formatEndpoint(upstream.ip, upstream.port);
  const forwarding = routed.alternatives.flatMap((alternative) => {
    if (alternative.destination !== undefined) return [alternative];
    return alternative.otherwise?.destination === undefined ? [] : [alternative.otherwise];
  });
  const endpoint = { value: target, evidence: 'observed' as const };
  const sni = observed.upstreamSni ?? '';
  const ofName = sni === '' ? [] : forwarding.filter((alternative) => alternative.destination?.serverNames.includes(sni));
  const pool = ofName.length > 0 ? ofName : forwarding;
  const there = pool.filter((alternative) => leadsTo(alternative, upstream));
  if (there.length === 0) {
    const settled: Settled = {
      endpoint,
      cluster: ofName.length > 0 ? 'observed' : 'ambiguous',
      outcome: 'observed',
      reason: 'upstream-not-an-endpoint',
    };
    return makeRouted(routed.connection, pool.length > 0 ? pool : routed.alternatives, settled);
  }
  const clusters = new Set(there.map((alternative) => alternative.cluster));
  // A prediction in doubt that comes true is no longer in doubt.
  const cameTrue = clusters.size === 1 && there.every((alternative) => alternative.destination?.members !== undefined);
  const settled: Settled = {
    endpoint,
    outcome: 'observed',
    ...(ofName.length > 0 ? { cluster: 'observed' } : cameTrue ? { cluster: 'derived' } : {}),
  };
  return makeRouted(
    routed.connection,
    there.map(({ endDoubt: _, ...rest }) => rest),
    settled,
  );
}
