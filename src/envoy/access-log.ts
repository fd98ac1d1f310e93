/**
 * Envoy's access log: Istio's default text format of any version, Istio's default JSON encoding, and JSON under other names that people choose.
 *
 * Out     entries in the order of the text; lines that are none are counted, the first of them is shown.
 * Not     guesses no format: a line must tell when the request began and between which two ends it came in.
 * Source  Envoy docs, configuration/observability/access_log/usage; istio/istio pilot/pkg/model/telemetry_logging.go (EnvoyTextLogFormat, EnvoyJSONLogFormatIstio).
 */
import { parseEndpoint } from '../net/address.ts';
import { asObject, type Json, parseTimeMs } from './json.ts';

export interface LoggedEnd {
  /** Canonical text. */
  readonly ip: string;
  readonly port: number;
}

/** What one proxy wrote of one request or connection. A field that its format does not have, or that is no address, is absent; `none` is Envoy's `-`. */
export interface AccessLogEntry {
  /** When the first byte of the request, or the connection, came in: milliseconds of the Unix epoch. Formats cut it to milliseconds or seconds. */
  readonly startMs: number;
  /** How fine {@link startMs} is, in milliseconds. */
  readonly precisionMs: number;
  readonly durationMs?: number;
  /** The client as its connection shows it; `remoteIsDirect` is false where the format only tells an address that a header may have changed. */
  readonly remote: LoggedEnd;
  readonly remoteIsDirect: boolean;
  /** Where the client connected to, before any redirect. */
  readonly local: LoggedEnd;
  readonly upstreamLocal?: LoggedEnd | 'none';
  readonly upstream?: LoggedEnd | 'none';
  /** Absent of a connection that is no HTTP. */
  readonly method?: string;
  readonly authority?: string;
  /** As the client sent it, with its query. */
  readonly path?: string;
  readonly protocol?: string;
  /** 0: no response. */
  readonly status?: number;
  /** Short words, as `UF,URX`; absent when there are none. */
  readonly flags?: string;
  readonly requestId?: string;
  readonly chain?: string;
  readonly route?: string;
  readonly cluster?: string;
}

export interface AccessLog {
  readonly entries: readonly AccessLogEntry[];
  /** Lines that look like entries of a format that is not known, or hold less than has to be there. */
  readonly unread: number;
  /** The first of them, cut. */
  readonly firstUnread?: string;
  /** There were more entries than are read. */
  readonly truncated: boolean;
}

const MAX_ENTRIES = 300_000;
const MAX_LINE = 64 * 1024;
const MAX_FIELD = 8192;
const SHOWN = 120;

/** Names of the fields in JSON: Istio's own first, then Envoy's operators in lower case, then short ones. */
const names: { readonly [field: string]: readonly string[] } = {
  start: ['start_time', 'startTime', 'at', 'time', 'timestamp'],
  duration: ['duration', 'duration_ms', 'ms'],
  direct: ['downstream_direct_remote_address', 'downstreamDirectRemoteAddress', 'direct_remote', 'directRemote'],
  remote: ['downstream_remote_address', 'downstreamRemoteAddress', 'remote', 'downstream'],
  local: ['downstream_local_address', 'downstreamLocalAddress', 'local'],
  upstreamLocal: ['upstream_local_address', 'upstreamLocalAddress', 'upstream_local', 'upstreamLocal'],
  upstream: ['upstream_host', 'upstreamHost', 'upstream_remote_address', 'upstreamRemoteAddress', 'upstream'],
  method: ['method'],
  authority: ['authority', 'host'],
  path: ['path'],
  protocol: ['protocol'],
  status: ['response_code', 'responseCode', 'code', 'status'],
  flags: ['response_flags', 'responseFlags', 'flags'],
  requestId: ['request_id', 'requestId', 'x_request_id', 'xRequestId'],
  chain: ['filter_chain_name', 'filterChainName', 'chain'],
  route: ['route_name', 'routeName', 'route'],
  cluster: ['upstream_cluster_raw', 'upstreamClusterRaw', 'upstream_cluster', 'upstreamCluster', 'cluster'],
};

type Fields = { readonly [field in keyof typeof names]?: string };

/** `[%START_TIME%] "METHOD PATH PROTOCOL" CODE FLAGS …`: the same in all versions. */
const HEAD = /^\[([0-9TZ:.+-]{10,40})\] "(\S+) (.*?) (\S+)" (\d{1,3}) (\S+) /;
/** `… "REQUEST ID" "AUTHORITY" "UPSTREAM HOST" CLUSTER UPSTREAM-LOCAL LOCAL REMOTE SNI ROUTE`: the same in all versions, the route since 1.3. */
const TAIL = /"([^"]*)" "([^"]*)" "([^"]*)" ([^\s"]+) ([^\s"]+) ([^\s"]+) ([^\s"]+) ([^\s"]+)(?: ([^\s"]+))?$/;
/** What stands between them holds the sizes and the duration: `RECEIVED SENT DURATION UPSTREAM-TIME`. */
const DURATION = / \d+ \d+ (\d+) (?:\d+|-) "/;

function textFields(line: string): Fields | undefined {
  const head = HEAD.exec(line);
  const tail = head === null ? null : TAIL.exec(line);
  if (head === null || tail === null || tail.index < head[0].length) return undefined;
  const duration = DURATION.exec(line.slice(head[0].length - 1, tail.index + 1))?.[1];
  return {
    start: head[1]!,
    method: head[2]!,
    path: head[3]!,
    protocol: head[4]!,
    status: head[5]!,
    flags: head[6]!,
    requestId: tail[1]!,
    authority: tail[2]!,
    upstream: tail[3]!,
    cluster: tail[4]!,
    upstreamLocal: tail[5]!,
    local: tail[6]!,
    remote: tail[7]!,
    ...(tail[9] === undefined ? {} : { route: tail[9] }),
    ...(duration === undefined ? {} : { duration }),
  };
}

function jsonFields(line: string): Fields | undefined {
  let message: Json | undefined;
  try {
    message = asObject(JSON.parse(line));
  } catch {
    return undefined;
  }
  if (message === undefined) return undefined;
  const fields: { [field: string]: string } = {};
  for (const [field, list] of Object.entries(names)) {
    const name = list.find((each) => Object.hasOwn(message, each));
    if (name === undefined) continue;
    const value = message[name];
    // Istio's JSON writes null for what text writes as `-`.
    if (value === null) fields[field] = '-';
    else if (typeof value === 'string' || typeof value === 'number') fields[field] = String(value);
  }
  return fields;
}

function wordOf(text: string | undefined): string | undefined {
  return text === undefined || text === '-' || text === '' || text.length > MAX_FIELD ? undefined : text;
}

function upstreamOf(text: string | undefined): LoggedEnd | 'none' | undefined {
  return text === '-' ? 'none' : parseEndpoint(text ?? '');
}

function countOf(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,12}$/.test(text) ? Number(text) : undefined;
}

/** The property where its value is known. */
function known<K extends string, T>(key: K, value: T | undefined): { readonly [P in K]?: T } {
  return value === undefined ? {} : ({ [key]: value } as { readonly [P in K]?: T });
}

function entryOf(fields: Fields): AccessLogEntry | undefined {
  const startMs = parseTimeMs(fields.start);
  const direct = parseEndpoint(fields.direct ?? '');
  const remote = direct ?? parseEndpoint(fields.remote ?? '');
  const local = parseEndpoint(fields.local ?? '');
  if (startMs === undefined || remote === undefined || local === undefined) return undefined;
  const digits = /\.(\d+)/.exec(fields.start ?? '')?.[1]?.length ?? 0;
  return {
    startMs,
    precisionMs: digits >= 3 ? 1 : 10 ** (3 - digits),
    remote,
    remoteIsDirect: direct !== undefined,
    local,
    ...known('durationMs', countOf(fields.duration)),
    ...known('upstreamLocal', upstreamOf(fields.upstreamLocal)),
    ...known('upstream', upstreamOf(fields.upstream)),
    ...known('method', wordOf(fields.method)),
    ...known('authority', wordOf(fields.authority)),
    ...known('path', wordOf(fields.path)),
    ...known('protocol', wordOf(fields.protocol)),
    ...known('status', countOf(fields.status)),
    ...known('flags', wordOf(fields.flags)),
    ...known('requestId', wordOf(fields.requestId)),
    ...known('chain', wordOf(fields.chain)),
    ...known('route', wordOf(fields.route)),
    ...known('cluster', wordOf(fields.cluster)),
  };
}

/** Reads a log; never throws. Lines that are no entries at all (what the proxy's own logger wrote between them) are passed over. */
export function parseAccessLog(text: string): AccessLog {
  const entries: AccessLogEntry[] = [];
  let unread = 0;
  let firstUnread: string | undefined;
  for (let from = 0; from < text.length; ) {
    const newline = text.indexOf('\n', from);
    const to = newline === -1 ? text.length : newline;
    const line = text.slice(from, Math.min(to, from + MAX_LINE)).trim();
    from = to + 1;
    if (line === '') continue;
    const fields = line.startsWith('{') ? jsonFields(line) : line.startsWith('[') ? textFields(line) : undefined;
    const entry = fields === undefined ? undefined : entryOf(fields);
    if (entry === undefined) {
      if (!isOwnLog(line)) {
        unread++;
        firstUnread ??= line.slice(0, SHOWN);
      }
      continue;
    }
    if (entries.length >= MAX_ENTRIES) return { entries, unread, ...known('firstUnread', firstUnread), truncated: true };
    entries.push(entry);
  }
  return { entries, unread, ...known('firstUnread', firstUnread), truncated: false };
}

/** `2026-11-23T06:22:41.601088Z	info	…`, and its JSON form: what `kubectl logs` shows between the entries. */
function isOwnLog(line: string): boolean {
  return (
    /^\d{4}-\d\d-\d\dT\S+\s+(?:trace|debug|info|warning|warn|error|critical|fatal)\s/.test(line) || /^\{.{0,200}"level":"\w+"/.test(line)
  );
}
