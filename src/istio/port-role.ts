/**
 * What a port is for in a pod with a proxy, by Istio's defaults. To show, not to decide by: the real ports are in the rules and in Envoy's own configuration.
 * Source: istio.io "Application requirements", ports used by Istio; istio/istio pkg/config/constants.
 */
export interface PortRole {
  readonly port: number;
  readonly protocol: 'tcp' | 'udp';
  /** In a pod with a proxy, or at istiod. */
  readonly where: 'sidecar' | 'control';
  readonly name: string;
  readonly text: string;
}

export const portRoles: readonly PortRole[] = [
  { port: 15000, protocol: 'tcp', where: 'sidecar', name: 'admin', text: "Envoy's admin interface" },
  {
    port: 15001,
    protocol: 'tcp',
    where: 'sidecar',
    name: 'outbound',
    text: 'Envoy, outbound traffic of the application (virtualOutbound)',
  },
  { port: 15002, protocol: 'tcp', where: 'sidecar', name: 'probe', text: 'Listener that the check of the iptables rules dials' },
  { port: 15004, protocol: 'tcp', where: 'sidecar', name: 'debug', text: 'Debug interface of pilot-agent' },
  { port: 15006, protocol: 'tcp', where: 'sidecar', name: 'inbound', text: 'Envoy, inbound traffic to the application (virtualInbound)' },
  { port: 15008, protocol: 'tcp', where: 'sidecar', name: 'hbone', text: 'HBONE: tunnelled mutual TLS' },
  { port: 15009, protocol: 'tcp', where: 'sidecar', name: 'hbone-fallback', text: 'HBONE inside the pod, before it reaches the proxy' },
  { port: 15010, protocol: 'tcp', where: 'control', name: 'xds-plaintext', text: 'istiod: configuration and certificates, plain text' },
  { port: 15012, protocol: 'tcp', where: 'control', name: 'xds', text: 'istiod: configuration and certificates, TLS' },
  { port: 15014, protocol: 'tcp', where: 'control', name: 'monitoring', text: 'istiod: metrics and debug' },
  { port: 15017, protocol: 'tcp', where: 'control', name: 'webhook', text: 'istiod: admission webhooks' },
  { port: 15020, protocol: 'tcp', where: 'sidecar', name: 'agent', text: 'pilot-agent: merged metrics, application probes' },
  { port: 15021, protocol: 'tcp', where: 'sidecar', name: 'health', text: 'Health of the proxy, for the kubelet' },
  { port: 15053, protocol: 'tcp', where: 'sidecar', name: 'dns', text: 'pilot-agent: DNS of the application' },
  { port: 15053, protocol: 'udp', where: 'sidecar', name: 'dns', text: 'pilot-agent: DNS of the application' },
  { port: 15080, protocol: 'tcp', where: 'sidecar', name: 'ztunnel-socks', text: 'ztunnel: SOCKS5' },
  { port: 15090, protocol: 'tcp', where: 'sidecar', name: 'telemetry', text: "Envoy's own metrics for Prometheus" },
];

/** The default role of a port, if it has one. */
export function roleOfPort(port: number, protocol: 'tcp' | 'udp' = 'tcp'): PortRole | undefined {
  return portRoles.find((role) => role.port === port && role.protocol === protocol);
}
