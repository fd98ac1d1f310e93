/** All addresses that a proxy may connect to by its configuration. */
import type { EnvoyHistory } from '../envoy/history.ts';
import { formatEndpoint } from '../net/address.ts';

interface Endpoints {
  readonly targets: ReadonlySet<string>;
  /** Is there no cluster whose endpoints nobody told? */
  readonly complete: boolean;
}

const known = new WeakMap<EnvoyHistory, Endpoints>();

function endpointsOf(history: EnvoyHistory): Endpoints {
  let found = known.get(history);
  if (found === undefined) {
    const targets = new Set<string>();
    let complete = true;
    for (const config of history.configs)
      for (const versions of config.clusters.values())
        for (const { value } of versions) {
          const endpoints = config.endpointsOf(value);
          for (const { target } of endpoints ?? []) targets.add(target);
          // An original-destination cluster has none of its own: it goes where the captured connection went.
          if (endpoints === undefined && value.type !== 'ORIGINAL_DST') complete = false;
        }
    found = { targets, complete };
    known.set(history, found);
  }
  return found;
}

export function isEndpointOf(history: EnvoyHistory | undefined, destination: { readonly ip: string; readonly port: number }): boolean {
  return history !== undefined && endpointsOf(history).targets.has(formatEndpoint(destination.ip, destination.port));
}

/** Is it certain that the destination is no endpoint? */
export function isNoEndpointOf(history: EnvoyHistory | undefined, destination: { readonly ip: string; readonly port: number }): boolean {
  return history !== undefined && endpointsOf(history).complete && !isEndpointOf(history, destination);
}
