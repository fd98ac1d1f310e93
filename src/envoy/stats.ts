/**
 * /stats/prometheus: samples, and those of them that tell of trouble.
 * Source: Prometheus text exposition format 0.0.4; Envoy's statistics of listeners, clusters and listener manager; Istio's `istio_requests_total`.
 */
export interface Sample {
  readonly name: string;
  readonly labels: { readonly [name: string]: string };
  readonly value: number;
}

const MAX_LABELS = 100;

/** Reads `a="x",b="y"` up to the closing brace; `undefined` when it is none. */
function parseLabels(text: string): { labels: { [name: string]: string }; length: number } | undefined {
  const labels: { [name: string]: string } = {};
  const pattern = /\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\\n]|\\.)*)"\s*(,|(?=\}))/y;
  let at = 0;
  for (let count = 0; count < MAX_LABELS && text[at] !== '}'; count++) {
    pattern.lastIndex = at;
    const m = pattern.exec(text);
    if (m === null) return undefined;
    labels[m[1]!] = m[2]!.replace(/\\(.)/g, (_, c: string) => (c === 'n' ? '\n' : c));
    at = pattern.lastIndex;
  }
  return text[at] === '}' ? { labels, length: at + 1 } : undefined;
}

function parseSample(line: string): Sample | undefined {
  const name = /^[a-zA-Z_:][a-zA-Z0-9_:]*/.exec(line)?.[0];
  if (name === undefined) return undefined;
  let rest = line.slice(name.length);
  let labels: Sample['labels'] = {};
  if (rest.startsWith('{')) {
    const parsed = parseLabels(rest.slice(1));
    if (parsed === undefined) return undefined;
    labels = parsed.labels;
    rest = rest.slice(1 + parsed.length);
  }
  const text = rest.trim().split(/\s+/)[0] ?? '';
  const value = text === '+Inf' ? Number.POSITIVE_INFINITY : text === '-Inf' ? Number.NEGATIVE_INFINITY : Number(text);
  return text === '' || (Number.isNaN(value) && text !== 'NaN') ? undefined : { name, labels, value };
}

/** Samples in the order of the text; comments and lines that are none are left out. */
export function parseStats(text: string): Sample[] {
  const samples: Sample[] = [];
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const sample = parseSample(line);
    if (sample !== undefined) samples.push(sample);
  }
  return samples;
}

/** What a statistic above zero tells, in words. */
export const telling: readonly { readonly name: string; readonly text: string }[] = [
  { name: 'envoy_listener_no_filter_chain_match', text: 'connections for which no filter chain fits' },
  { name: 'envoy_listener_downstream_cx_overflow', text: 'connections refused for too many' },
  { name: 'envoy_listener_downstream_pre_cx_timeout', text: 'connections that sent nothing until the listener filters gave up' },
  { name: 'envoy_listener_ssl_connection_error', text: 'TLS handshakes that failed' },
  { name: 'envoy_listener_ssl_fail_verify_no_cert', text: 'TLS handshakes without a client certificate' },
  { name: 'envoy_listener_ssl_fail_verify_error', text: 'client certificates that did not verify' },
  { name: 'envoy_listener_ssl_fail_verify_san', text: 'client certificates with another identity' },
  { name: 'envoy_listener_manager_lds_update_rejected', text: 'listener updates that Envoy refused' },
  { name: 'envoy_listener_manager_listener_create_failure', text: 'listeners that could not be made' },
  { name: 'envoy_listener_manager_total_listeners_warming', text: 'listeners not yet ready' },
  { name: 'envoy_listener_manager_total_filter_chains_draining', text: 'filter chains that drain' },
  { name: 'envoy_cluster_manager_cds_update_rejected', text: 'cluster updates that Envoy refused' },
  { name: 'envoy_cluster_manager_warming_clusters', text: 'clusters not yet ready' },
  { name: 'envoy_cluster_upstream_cx_connect_fail', text: 'upstream connections that failed' },
  { name: 'envoy_cluster_upstream_cx_connect_timeout', text: 'upstream connections that timed out' },
  { name: 'envoy_cluster_upstream_cx_none_healthy', text: 'connections for which no endpoint was healthy' },
  { name: 'envoy_cluster_upstream_cx_overflow', text: 'upstream connections refused by the circuit breaker' },
  {
    name: 'envoy_cluster_upstream_cx_destroy_remote_with_active_rq',
    text: 'upstream connections closed by the other side during a request',
  },
  { name: 'envoy_cluster_upstream_rq_pending_overflow', text: 'requests refused by the circuit breaker' },
  { name: 'envoy_cluster_upstream_rq_timeout', text: 'requests that timed out' },
  { name: 'envoy_cluster_bind_errors', text: 'upstream connections without a local port' },
  { name: 'envoy_cluster_update_rejected', text: 'endpoint updates that Envoy refused' },
  { name: 'envoy_http_rds_update_rejected', text: 'route updates that Envoy refused' },
  { name: 'envoy_http_rbac_denied', text: 'requests denied by policy' },
  { name: 'envoy_rbac_denied', text: 'connections or requests denied by policy' },
  { name: 'envoy_server_envoy_bug_failures', text: 'internal errors of Envoy' },
];

export interface StatRow {
  statistic: string;
  of: string;
  value: number;
  text: string;
}

const texts = new Map(telling.map(({ name, text }) => [name, text]));

/** Statistics that tell of trouble and are not zero, and Istio's requests with a response flag. */
export function statRows(samples: readonly Sample[]): StatRow[] {
  return samples.flatMap(({ name, labels, value }): StatRow[] => {
    const flags = labels.response_flags ?? '-';
    if (name === 'istio_requests_total' && flags !== '-' && value > 0)
      return [
        {
          statistic: name,
          of: `${labels.source_workload ?? ''} > ${labels.destination_service ?? ''}`,
          value,
          text: `requests with ${labels.response_code ?? ''} ${flags}`,
        },
      ];
    const text = texts.get(name);
    if (text === undefined || value === 0 || Number.isNaN(value)) return [];
    return [{ statistic: name, of: Object.values(labels).join(' '), value, text }];
  });
}
