/** Envoy's addresses. Source: envoy/config/core/v3/address.proto. */
import { canonicalIp, formatEndpoint } from '../net/address.ts';
import { booleanAt, type Json, numberAt, objectAt, textAt } from './json.ts';

export type EnvoyAddress =
  /** `host` is an IP address in canonical text, or a name still to be resolved (then `ip` is absent). */
  | {
      readonly kind: 'socket';
      readonly protocol: 'tcp' | 'udp';
      readonly host: string;
      readonly ip?: string;
      readonly port: number;
      readonly ipv4Compat: boolean;
    }
  | { readonly kind: 'pipe'; readonly path: string }
  /** An internal listener of the same Envoy; `endpointId` names what lies behind it (HBONE: the real `ip:port`). */
  | { readonly kind: 'internal'; readonly listener: string; readonly endpointId: string }
  | { readonly kind: 'unknown' };

/** Reads an `Address` message. */
export function parseAddress(address: Json | undefined): EnvoyAddress {
  const socket = objectAt(address, 'socket_address');
  if (socket !== undefined) {
    const host = textAt(socket, 'address') ?? '';
    const ip = canonicalIp(host);
    return {
      kind: 'socket',
      protocol: textAt(socket, 'protocol') === 'UDP' ? 'udp' : 'tcp',
      host: ip ?? host,
      ...(ip === undefined ? {} : { ip }),
      port: numberAt(socket, 'port_value') ?? 0,
      ipv4Compat: booleanAt(socket, 'ipv4_compat') ?? false,
    };
  }
  const pipe = objectAt(address, 'pipe');
  if (pipe !== undefined) return { kind: 'pipe', path: textAt(pipe, 'path') ?? '' };
  const internal = objectAt(address, 'envoy_internal_address');
  if (internal !== undefined)
    return {
      kind: 'internal',
      listener: textAt(internal, 'server_listener_name') ?? '',
      endpointId: textAt(internal, 'endpoint_id') ?? '',
    };
  return { kind: 'unknown' };
}

/** `10.0.0.1:80`, a path, `envoy://main_internal/10.0.0.1:80`, or '' when unknown. */
export function formatAddress(address: EnvoyAddress): string {
  switch (address.kind) {
    case 'socket':
      return formatEndpoint(address.host, address.port);
    case 'pipe':
      return address.path;
    case 'internal':
      return `envoy://${address.listener}/${address.endpointId}`;
    case 'unknown':
      return '';
  }
}
