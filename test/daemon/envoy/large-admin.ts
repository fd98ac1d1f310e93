/**
 * An administration port with a large configuration, in a process of its own: `node large-admin.js MEBIBYTES`. Prints its port. Its version is the number that the last
 * line of standard input held; with each version the endpoints of one cluster are others.
 */
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

const wanted = Number(process.argv[2]) * 1024 * 1024;
let version = '1';

const type = (name: string) => `type.googleapis.com/envoy.${name}`;
const host = (i: number) => `service-${i}.namespace-${i % 50}.svc.cluster.local`;

function clusterEntry(i: number): string {
  const name = `outbound|80||${host(i)}`;
  const tls = {
    '@type': type('extensions.transport_sockets.tls.v3.UpstreamTlsContext'),
    common_tls_context: {
      tls_params: { tls_minimum_protocol_version: 'TLSv1_2', tls_maximum_protocol_version: 'TLSv1_3' },
      alpn_protocols: ['istio-peer-exchange', 'istio'],
      tls_certificate_sds_secret_configs: [
        { name: 'default', sds_config: { api_config_source: { api_type: 'GRPC', transport_api_version: 'V3' } } },
      ],
      combined_validation_context: {
        default_validation_context: {
          match_typed_subject_alt_names: [
            { san_type: 'URI', matcher: { exact: `spiffe://cluster.local/ns/namespace-${i % 50}/sa/default` } },
          ],
        },
        validation_context_sds_secret_config: {
          name: 'ROOTCA',
          sds_config: { api_config_source: { api_type: 'GRPC', transport_api_version: 'V3' } },
        },
      },
    },
    sni: `outbound_.80_._.${host(i)}`,
  };
  return JSON.stringify(
    {
      version_info: '2026-11-30T11:29:49Z/11',
      cluster: {
        '@type': type('config.cluster.v3.Cluster'),
        name,
        type: 'EDS',
        eds_cluster_config: { eds_config: { ads: {}, initial_fetch_timeout: '0s', resource_api_version: 'V3' }, service_name: name },
        connect_timeout: '10s',
        lb_policy: 'LEAST_REQUEST',
        circuit_breakers: { thresholds: [{ max_connections: 4294967295, max_pending_requests: 4294967295, max_requests: 4294967295 }] },
        metadata: { filter_metadata: { istio: { services: [{ name: `service-${i}`, host: host(i), namespace: `namespace-${i % 50}` }] } } },
        transport_socket_matches: [
          {
            name: 'tlsMode-istio',
            match: { tlsMode: 'istio' },
            transport_socket: { name: 'envoy.transport_sockets.tls', typed_config: tls },
          },
          { name: 'tlsMode-disabled', match: {}, transport_socket: { name: 'envoy.transport_sockets.raw_buffer' } },
        ],
      },
      last_updated: '2026-11-30T11:29:49.901Z',
    },
    undefined,
    1,
  );
}

function endpointEntry(i: number, of: string): string {
  const one = (k: number) => ({
    endpoint: {
      address: { socket_address: { address: `10.${i % 200}.${(i >> 8) % 250}.${k + 1}`, port_value: i === 0 ? 8000 + Number(of) : 8080 } },
    },
    health_status: 'HEALTHY',
    metadata: { filter_metadata: { istio: { workload: `service-${i};namespace-${i % 50};service-${i};v1;Kubernetes` } } },
    load_balancing_weight: 1,
  });
  return JSON.stringify(
    {
      endpoint_config: {
        '@type': type('config.endpoint.v3.ClusterLoadAssignment'),
        cluster_name: `outbound|80||${host(i)}`,
        endpoints: [{ locality: {}, lb_endpoints: [0, 1, 2].map(one) }],
      },
    },
    undefined,
    1,
  );
}

function listenerEntry(i: number): string {
  const name = `10.96.${i >> 8}.${i & 255}_80`;
  const chain = (k: number) => ({
    filters: [
      {
        name: 'envoy.filters.network.tcp_proxy',
        typed_config: {
          '@type': type('extensions.filters.network.tcp_proxy.v3.TcpProxy'),
          stat_prefix: `x${k}`,
          cluster: `outbound|80||${host(i)}`,
        },
      },
    ],
  });
  const listener = {
    '@type': type('config.listener.v3.Listener'),
    name,
    address: { socket_address: { address: name.slice(0, -3), port_value: 80 } },
    filter_chains: Array.from({ length: 10 }, (_, k) => chain(k)),
  };
  return JSON.stringify(
    { name, active_state: { version_info: version, listener, last_updated: '2026-11-30T11:29:49.901Z' } },
    undefined,
    1,
  );
}

/** In parts: as a whole it would not fit into a string. */
function* dump(): Generator<string> {
  const count = Math.floor(wanted / 4150);
  const section = (name: string, list: string) =>
    `{\n "@type": "${type(`admin.v3.${name}`)}",\n "version_info": "${version}",\n "${list}": [\n`;
  yield `{\n "configs": [\n${section('ClustersConfigDump', 'dynamic_active_clusters')}`;
  for (let i = 0; i < count; i++) yield `${i === 0 ? '' : ',\n'}${clusterEntry(i)}`;
  yield `]},\n${section('EndpointsConfigDump', 'dynamic_endpoint_configs')}`;
  for (let i = 0; i < count; i++) yield `${i === 0 ? '' : ',\n'}${endpointEntry(i, version)}`;
  yield `]},\n${section('ListenersConfigDump', 'dynamic_listeners')}`;
  for (let i = 0; i < count / 40; i++) yield `${i === 0 ? '' : ',\n'}${listenerEntry(i)}`;
  yield ']}\n]}\n';
}

async function sendDump(response: ServerResponse): Promise<void> {
  response.writeHead(200, { 'content-type': 'application/json' });
  let text = '';
  for (const part of dump()) {
    text += part;
    if (text.length < 256 * 1024) continue;
    if (!response.write(text)) await new Promise((resolve) => response.once('drain', resolve));
    text = '';
  }
  response.end(text);
}

const server = createServer((request, response) => {
  const url = request.url ?? '';
  if (url.startsWith('/stats')) response.end(`listener_manager.lds.version_text: "${version}"\nserver.uptime: 5\n`);
  else if (url.startsWith('/config_dump')) void sendDump(response);
  else if (url.startsWith('/clusters')) response.end('{"cluster_statuses": []}');
  else if (url.startsWith('/listeners')) response.end('{"listener_statuses": []}');
  else response.end('{"version": "a/1.40.0/c", "state": "LIVE"}');
});
server.listen(0, '127.0.0.1', () => process.stdout.write(`${(server.address() as AddressInfo).port}\n`));
process.stdin.on('data', (data) => {
  version = String(data).trim();
});
process.stdin.on('end', () => process.exit());
