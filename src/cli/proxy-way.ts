/** What one proxy does with one connection: listener, chain, route, cluster, endpoints. */

import type { EnvoyConfig } from '../envoy/config.ts';
import { decideConnection } from '../envoy/connection.ts';
import type { EnvoyHistory } from '../envoy/history.ts';
import { decideRequest } from '../envoy/request.ts';
import { decideTcp } from '../envoy/tcp.ts';
import { parseEndpoint } from '../net/address.ts';
import type { Decision, Endpoint } from '../record/record.ts';
import type { AskedRequest, Opening } from './request-options.ts';
import { endMs } from './world-of.ts';

export interface ProxyQuestion {
  readonly listener: { readonly ip?: string; readonly port: number };
  readonly source: Endpoint;
  readonly destination: Endpoint;
  readonly opening: Opening;
  readonly request: AskedRequest;
  /** URI of the client's certificate. */
  readonly peer?: string;
}

/** Where the proxy may go on to, and how it speaks there. */
export interface Target {
  readonly endpoint: Endpoint;
  readonly cluster: string;
  readonly opening: Opening;
}

export interface ProxyAnswer {
  readonly decision: Decision;
  readonly direction: 'INBOUND' | 'OUTBOUND' | 'UNSPECIFIED';
  readonly network: 'http' | 'tcp' | 'other' | 'unknown';
  /** Set where an HTTP request was judged. */
  readonly request?: AskedRequest;
  readonly targets: readonly Target[];
  readonly mirrors: readonly string[];
  /** Upstream connections carry the client's address (TPROXY). */
  readonly keepsSource: boolean;
}

/** Asks the newest configuration of a history. */
export function askProxy(history: EnvoyHistory, { listener, source, destination, opening, request, peer }: ProxyQuestion): ProxyAnswer {
  const config = history.configs.at(-1)!;
  const atMs = endMs(config.readAt);
  const connection = decideConnection(history, {
    atMs,
    listener,
    source,
    destination,
    transport: opening.transport,
    ...(opening.serverName === undefined ? {} : { serverName: opening.serverName }),
    ...(opening.alpn === undefined ? {} : { alpn: opening.alpn }),
    http: opening.http === 'unknown' ? 'http/1.1' : opening.http,
    ...(peer === undefined ? {} : { peer }),
  });
  const keepsSource = connection.ways.some(
    ({ listener: taken }) => taken?.value.listenerFilters.some(({ kind }) => kind === 'original_src') ?? false,
  );
  const about = { direction: connection.direction, network: connection.network, keepsSource };
  if (connection.network !== 'http' && connection.network !== 'tcp')
    return { ...about, decision: connection.decision, targets: [], mirrors: [] };
  const routed =
    connection.network === 'tcp'
      ? decideTcp(connection)
      : decideRequest(connection, {
          atMs,
          method: request.method,
          authority: request.authority,
          path: request.path,
          headers: request.headers,
          scheme: opening.transport === 'tls' ? 'https' : 'http',
        });
  // A chain with TLS takes it off; a TCP proxy without passes it on as it is.
  const within = connection.tls === 'plaintext' ? opening : (opening.inner ?? unknownBytes);
  const content: Opening =
    connection.network === 'http' ? { transport: 'raw_buffer', http: within.http === 'h2c' ? 'h2c' : 'http/1.1' } : within;
  const targets = new Map<string, Target>();
  for (const { cluster, destination: to } of routed.alternatives) {
    if (cluster === undefined || to === undefined) continue;
    for (const text of to.targets ?? []) {
      const endpoint = parseEndpoint(text);
      if (endpoint !== undefined)
        targets.set(`${cluster} ${text}`, {
          endpoint,
          cluster,
          opening: upstreamOpening(config, cluster, text, connection.network, content),
        });
    }
  }
  return {
    ...about,
    decision: routed.decision,
    ...(connection.network === 'http' ? { request } : {}),
    targets: [...targets.values()],
    mirrors: routed.mirrors,
  };
}

const unknownBytes: Opening = { transport: 'raw_buffer', http: 'unknown' };

/** How the cluster speaks to one of its endpoints: TLS with its SNI and ALPN, or plain. `content` is what the proxy has to send. */
function upstreamOpening(config: EnvoyConfig, name: string, target: string, network: 'http' | 'tcp', content: Opening): Opening {
  const cluster = config.clusters.get(name)?.[0]?.value;
  if (cluster === undefined) return content;
  const match = config.endpointsOf(cluster)?.find((endpoint) => endpoint.target === target)?.transportSocketMatch ?? {};
  const transport = cluster.transportFor(match);
  if (transport.tls !== true) return content;
  return {
    transport: 'tls',
    http: 'none',
    serverName: transport.sni,
    alpn: network === 'http' ? withHttpAlpn(transport.alpn, content) : transport.alpn,
    inner: content,
  };
}

/** Istio's ALPN filter puts the protocol of the request in front, where the cluster speaks as a member of the mesh. Source: istio/proxy source/extensions/filters/http/alpn; istio/istio mTLS ALPN protocols. */
function withHttpAlpn(alpn: readonly string[], content: Opening): readonly string[] {
  if (!alpn.includes('istio')) return alpn;
  return content.http === 'h2c' ? ['istio-h2', 'istio', 'h2'] : ['istio-http/1.1', 'istio', 'http/1.1'];
}
