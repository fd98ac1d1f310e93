/** All addresses that a proxy may connect to by its configuration. */
import type { EnvoyHistory } from '../envoy/history.ts';
import { formatEndpoint } from '../net/address.ts';

const known = new WeakMap<EnvoyHistory, ReadonlySet<string>>();

function endpointsOf(history: EnvoyHistory): ReadonlySet<string> {
  let set = known.get(history);
  if (set === undefined) {
    const all = new Set<string>();
    for (const config of history.configs)
      for (const versions of config.clusters.values())
        for (const { value } of versions) for (const endpoint of config.endpointsOf(value) ?? []) all.add(endpoint.target);
    set = all;
    known.set(history, set);
  }
  return set;
}

export function isEndpointOf(history: EnvoyHistory | undefined, destination: { readonly ip: string; readonly port: number }): boolean {
  return history !== undefined && endpointsOf(history).has(formatEndpoint(destination.ip, destination.port));
}
