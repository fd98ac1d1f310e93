/**
 * ALPN names by which proxies of the mesh know each other.
 * Source: istio/istio pilot/pkg/networking/util/util.go (ALPNInMesh…), pilot/pkg/xds/endpoints; the alpn filter of the client's proxy.
 */

/** In front of HTTP. */
export const httpProtocols: readonly string[] = ['istio-http/1.0', 'istio-http/1.1', 'istio-h2'];
/** In front of anything else; `istio-peer-exchange` asks for metadata before the bytes. */
export const tcpProtocols: readonly string[] = ['istio-peer-exchange', 'istio'];
/** Inside an HBONE tunnel. */
export const hboneProtocol = 'h2';

/** Is the name one that only a proxy of the mesh sends or picks? */
export function isMeshProtocol(name: string): boolean {
  return name === 'istio' || name.startsWith('istio-');
}

/** What the list says of the client: a proxy with HTTP, with other bytes, or nobody of the mesh. */
export function clientOfAlpn(alpn: readonly string[]): 'mesh-http' | 'mesh-tcp' | 'foreign' {
  if (alpn.some((name) => httpProtocols.includes(name))) return 'mesh-http';
  return alpn.some(isMeshProtocol) ? 'mesh-tcp' : 'foreign';
}
