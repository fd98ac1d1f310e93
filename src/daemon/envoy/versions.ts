/**
 * Whether an Envoy's configuration has become another one, by a few of its statistics.
 *
 * Istio lets Envoy keep few statistics: versions of listeners and clusters are among them, those of routes and endpoints are not. That anything came from the control plane is
 * seen by the bytes that came, and that endpoints changed by the count of cluster updates.
 * Source: Envoy, "Cluster manager", "Listener manager", "RDS" and "Server" statistics; Istio's bootstrap, stats_matcher.
 */
export interface EnvoyVersions {
  /** What was told of versions: another text, another configuration. */
  readonly strong: string;
  /** Counters that may mean a change of routes, endpoints or secrets. */
  readonly weak: string;
  /** Seconds since the process began; absent when it is not told. */
  readonly uptime?: number;
  /** Of a hot restart. */
  readonly epoch: string;
  /** Was there anything that an Envoy tells? */
  readonly known: boolean;
}

const strong = /^(?:listener_manager\.lds|cluster_manager\.cds|.*\.rds\..*|.*\.srds\..*)\.version_text$/;
const weak =
  /^(?:cluster_manager\.cluster_updated|cluster_manager\.cluster_updated_via_merge|cluster_manager\.warming_clusters|listener_manager\.total_listeners_warming|listener_manager\.total_listeners_draining|cluster\..*\.update_success|cluster\.xds-grpc;?\.upstream_cx_rx_bytes_total)$/;

/** Asked for all that {@link parseVersions} reads. */
export const versionsPath = `/stats?filter=${encodeURIComponent(
  '(\\.version_text$)|(^cluster_manager\\.(cluster_updated|warming_clusters))|(^listener_manager\\.total_listeners_(warming|draining)$)|(^cluster\\..*\\.update_success$)|(^cluster\\.xds-grpc;?\\.upstream_cx_rx_bytes_total$)|(^server\\.(live|state|uptime|hot_restart_epoch)$)',
)}`;

const MAX_LINES = 200_000;

/** Reads the text of /stats: `name: value` lines. */
export function parseVersions(text: string): EnvoyVersions {
  const strongs: string[] = [];
  const weaks: string[] = [];
  let uptime: number | undefined;
  let epoch = '';
  let known = false;
  for (const line of text.split('\n', MAX_LINES)) {
    const colon = line.indexOf(': ');
    if (colon === -1) continue;
    const name = line.slice(0, colon);
    const value = line.slice(colon + 2);
    if (strong.test(name)) strongs.push(line);
    else if (weak.test(name)) weaks.push(line);
    else if (name === 'server.uptime' && /^\d+$/.test(value)) uptime = Number(value);
    else if (name === 'server.hot_restart_epoch') epoch = value;
    else if (name !== 'server.live' && name !== 'server.state') continue;
    known = true;
  }
  return {
    strong: strongs.sort().join('\n'),
    weak: weaks.sort().join('\n'),
    epoch,
    known,
    ...(uptime === undefined ? {} : { uptime }),
  };
}

/** What to do about a new reading of the versions. */
export type VersionsChange = 'first' | 'restarted' | 'changed' | 'perhaps' | 'same';

export function compareVersions(before: EnvoyVersions | undefined, now: EnvoyVersions): VersionsChange {
  if (before === undefined) return 'first';
  if (now.epoch !== before.epoch || (now.uptime ?? 0) < (before.uptime ?? 0)) return 'restarted';
  if (now.strong !== before.strong) return 'changed';
  // Where no versions are told at all nothing proves that all is as it was.
  return now.weak !== before.weak || now.strong === '' ? 'perhaps' : 'same';
}
