/** Names that Istio gives clusters, as far as the proxy's own decisions need them; istio/cluster-name.ts holds the whole. */

/** `outbound_.9080_.v1_.reviews.default.svc.cluster.local` is `outbound|9080|v1|reviews.default.svc.cluster.local`; `undefined` for any other SNI. */
export function clusterOfServerName(serverName: string): string | undefined {
  const m = /^(outbound|inbound)_\.(\d{1,5})_\.([^_]*)_\.(.*)$/.exec(serverName);
  return m === null ? undefined : `${m[1]}|${m[2]}|${m[3]}|${m[4]}`;
}
