/** All addresses that a proxy may connect to by its configuration. */
import type { EnvoyHistory } from '../envoy/history.ts';
import { formatEndpoint } from '../net/address.ts';

export function isEndpointOf(history: EnvoyHistory | undefined, destination: { readonly ip: string; readonly port: number }): boolean {
  const target = formatEndpoint(destination.ip, destination.port);
  return history?.configs.some((config) => config.targets.clusters.has(target)) ?? false;
}

/** Is it certain that the destination is no endpoint? */
export function isNoEndpointOf(history: EnvoyHistory | undefined, destination: { readonly ip: string; readonly port: number }): boolean {
  if (history === undefined) return false;
  return history.configs.every((config) => config.targets.complete) && !isEndpointOf(history, destination);
}
