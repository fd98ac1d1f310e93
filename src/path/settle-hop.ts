/** Holds what was predicted of a hop against what was seen of it. */
import { type Observed, settle } from '../envoy/settle.ts';
import { cameFromUpstream } from './fit.ts';
import type { Hop } from './hop.ts';

/** Replaces `routed` by what the upstream connection, or its absence, leaves of it. */
export function settleHop(hop: Hop): void {
  const { routed, up, exchange } = hop;
  if (routed === undefined) return;
  const status = exchange?.response?.status;
  const sni = up?.tracker?.tls?.clientHello?.sni;
  const observed: Observed = {
    ...(up === undefined ? {} : { upstream: up.translation.destination }),
    ...(up === undefined || up.tracker?.protocol !== 'tls' || (sni === undefined && up.flow.midstream) ? {} : { upstreamSni: sni ?? '' }),
    ...(status === undefined ? {} : { responseStatus: status }),
    ...(up === undefined && hop.join === undefined && status !== undefined && exchange !== undefined && !cameFromUpstream(exchange)
      ? { noUpstream: true }
      : {}),
  };
  hop.routed = settle(routed, observed);
}
