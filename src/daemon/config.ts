/**
 * The daemon's configuration: every key with its bounds, default and meaning, as one schema. `config-sources.ts` fills it from a file, the environment and flags;
 * the table in docs/operations.md is checked against it.
 */
import { hostname } from 'node:os';
import * as v from 'valibot';

const TEXT_LIMIT = 4096;
const LIST_LIMIT = 64;
const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;
/** sun_path of unix(7) with its final 0. */
const SOCKET_PATH_LIMIT = 108;
const UNITS: Readonly<Record<string, number>> = { '': 1, KiB: KIB, MiB: MIB, GiB: GIB, ms: 1, s: 1000, min: 60_000 };

/** What the tables and messages need to know of a key beside its check. */
interface Notes {
  /** What fits, as a message says it: `a whole number from 1 to 10`. */
  readonly wish: string;
  /** Takes effect on SIGHUP, without a restart. */
  readonly reload?: true;
}

function named(count: number, unit: 'bytes' | 'time'): string {
  if (unit === 'time')
    return count % 60_000 === 0 && count > 0
      ? `${count / 60_000} min`
      : count % 1000 === 0 && count > 0
        ? `${count / 1000} s`
        : `${count} ms`;
  for (const [name, size] of [
    ['GiB', GIB],
    ['MiB', MIB],
    ['KiB', KIB],
  ] as const)
    if (count >= size && count % size === 0) return `${count / size} ${name}`;
  return String(count);
}

/** A number with a unit or without, as `64MiB`, `64 MiB`, `500ms`; undefined where it is something else. */
function quantity(input: unknown, units: readonly string[]): number | undefined {
  if (typeof input === 'number') return Number.isSafeInteger(input) && input >= 0 ? input : undefined;
  const parts = typeof input === 'string' ? /^(\d{1,15}) ?([A-Za-z]*)$/.exec(input) : null;
  if (parts === null || (parts[2] !== '' && !units.includes(parts[2]!))) return undefined;
  const value = Number(parts[1]) * UNITS[parts[2]!]!;
  return Number.isSafeInteger(value) ? value : undefined;
}

function checked<T>(fits: (input: unknown) => T | undefined, notes: Notes, description: string) {
  return v.pipe(
    v.unknown(),
    v.rawTransform<unknown, T>(({ dataset, addIssue, NEVER }) => {
      const value = fits(dataset.value);
      if (value !== undefined) return value;
      addIssue({ message: notes.wish, expected: notes.wish });
      return NEVER;
    }),
    v.metadata({ ...notes }),
    v.description(description),
  );
}

const bytes = (least: number, most: number, description: string, notes?: { reload: true }) =>
  checked(
    (input) => within(quantity(input, ['KiB', 'MiB', 'GiB']), least, most),
    { wish: `a size from ${named(least, 'bytes')} to ${named(most, 'bytes')} (bytes, or with KiB, MiB, GiB)`, ...notes },
    description,
  );
const time = (least: number, most: number, description: string, notes?: { reload: true }) =>
  checked(
    (input) => within(quantity(input, ['ms', 's', 'min']), least, most),
    { wish: `a time from ${named(least, 'time')} to ${named(most, 'time')} (milliseconds, or with ms, s, min)`, ...notes },
    description,
  );
const count = (least: number, most: number, description: string, notes?: { reload: true }) =>
  checked((input) => within(quantity(input, []), least, most), { wish: `a whole number from ${least} to ${most}`, ...notes }, description);
const text = (description: string) =>
  checked(
    (input) => (isText(input) ? input : undefined),
    { wish: `a text of at most ${TEXT_LIMIT} bytes without control characters` },
    description,
  );
const flag = (description: string) =>
  checked(
    (input) =>
      input === true || input === 'true' || input === 'yes' || input === '1'
        ? true
        : input === false || input === 'false' || input === 'no' || input === '0'
          ? false
          : undefined,
    { wish: 'true or false' },
    description,
  );
const choice = <const T extends string>(words: readonly T[], description: string, notes?: { reload: true }) =>
  checked((input) => words.find((word) => word === input), { wish: `one of ${words.join(', ')}`, ...notes }, description);
const list = <T>(fits: (item: string) => T | undefined, wish: string, description: string, notes?: { reload: true }) =>
  checked<readonly T[]>(
    (input) => {
      const items = typeof input === 'string' ? (input === '' ? [] : input.split(',').map((item) => item.trim())) : input;
      if (!Array.isArray(items) || items.length > LIST_LIMIT) return undefined;
      const fitting = items.map((item: unknown) => (isText(item) || typeof item === 'number' ? fits(String(item)) : undefined));
      return fitting.every((item): item is Exclude<typeof item, undefined> => item !== undefined) ? (fitting as T[]) : undefined;
    },
    { wish: `a list of at most ${LIST_LIMIT}: ${wish}`, ...notes },
    description,
  );

function within(value: number | undefined, least: number, most: number): number | undefined {
  return value !== undefined && value >= least && value <= most ? value : undefined;
}
function isText(input: unknown): input is string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return typeof input === 'string' && Buffer.byteLength(input) <= TEXT_LIMIT && !/[\u0000-\u001f\u007f]/.test(input);
}

/** `unix:/path`, `127.0.0.1:4280`, `[::1]:4280`, `:4280` (every address; no host, so that Node.js takes IPv4 alone where there is no IPv6): as `Server.listen` takes it. */
export function parseListen(address: string): { readonly path: string } | { readonly host?: string; readonly port: number } | undefined {
  if (address.startsWith('unix:'))
    return address[5] === '/' && address.length > 6 && Buffer.byteLength(address) - 5 < SOCKET_PATH_LIMIT
      ? { path: address.slice(5) }
      : undefined;
  const parts = /^(?:\[([0-9a-fA-F:.]{2,45})\]|([0-9.]{7,15})|(localhost)|):(\d{1,5})$/.exec(address);
  const port = Number(parts?.[4]);
  if (parts === null || port > 65535) return undefined;
  const host = parts[1] ?? parts[2] ?? parts[3];
  return host === undefined ? { port } : { host, port };
}

/** Whether only processes of this machine (of this pod) reach an address. */
export function isLocal(address: string): boolean {
  const parsed = parseListen(address);
  return parsed !== undefined && ('path' in parsed || /^(127\..*|::1|localhost)$/.test(parsed.host ?? ''));
}

const listenAddress = (item: string) => (parseListen(item) === undefined ? undefined : item);
const LISTEN_WISH = 'unix:/path, 127.0.0.1:4280, [::1]:4280, :4280 (every address)';
const port = (item: string) => (/^\d{1,5}$/.test(item) ? within(Number(item), 1, 65535) : undefined);
const group = <const T extends v.ObjectEntries>(entries: T) => v.optional(v.strictObject(entries), {} as never);

/** Every key. The order is that of the documentation. */
export const configSchema = v.strictObject({
  node: v.optional(text('the name of this node in records; in Kubernetes the name of the Node object'), hostname()),
  probe: group({
    socket: v.optional(text('the Unix socket of the probe'), '/run/sidetrace/probe.sock'),
    spawn: v.optional(text('a program to start as the probe, instead of connecting to a socket; needs root'), ''),
    ringBudget: v.optional(
      bytes(MIB, 64 * GIB, 'kernel memory for all capture rings together: what a spawned probe gets, and the most that is asked of one'),
      '64MiB',
    ),
    snapLength: v.optional(count(128, 262_144, 'bytes of each frame that are captured, the 20 of its SLL2 header among them'), 65_535),
    filter: v.optional(text('what is captured, as pcap-filter(7) has it, with numbers; empty: everything'), ''),
  }),
  namespaces: group({
    directory: v.optional(text('where network namespaces are bound; for a spawned probe'), '/run/netns'),
    processes: v.optional(flag('look for the namespaces of processes too; for a spawned probe, which then needs SYS_PTRACE'), false),
    home: v.optional(flag("capture the probe's own network namespace too: the node's, where it runs in that"), false),
  }),
  stream: group({
    listen: v.optional(
      list(listenAddress, LISTEN_WISH, 'where the stream is served; an address that others reach needs TLS and one kind of authentication'),
      ['unix:/run/sidetrace/daemon.sock', '127.0.0.1:4280'],
    ),
    tls: group({
      cert: v.optional(text('PEM file of the certificate and its chain; read again when it changes'), ''),
      key: v.optional(text('PEM file of the private key; read again when it changes'), ''),
      clientCa: v.optional(text('PEM file of the authorities whose client certificates are accepted; read again when it changes'), ''),
    }),
    auth: group({
      tokens: v.optional(text('file of bearer tokens and what each may do; read again when it changes'), ''),
      kubernetes: group({
        audience: v.optional(
          text(
            "accept tokens of the cluster's accounts that name this audience (TokenReview), and ask what they may do (SubjectAccessReview); empty: do not",
          ),
          '',
        ),
      }),
    }),
    ringBytes: v.optional(bytes(MIB, 4 * GIB, 'records that are kept for "last", "since" and those who come back'), '64MiB'),
    subscriberQueueBytes: v.optional(bytes(64 * KIB, GIB, 'what may wait for one subscriber, whatever waits for others'), '4MiB'),
    sharedQueueBytes: v.optional(
      bytes(0, 8 * GIB, 'what may wait beyond that for all subscribers together, before one that falls behind is told that it lost some'),
      '32MiB',
    ),
    maxSubscribers: v.optional(count(1, 65_536, 'subscribers at once'), 256),
    origins: v.optional(
      list(
        (item) => (/^https?:\/\/[^/]+$/.test(item) ? item : undefined),
        'https://host, https://host:port',
        'origins from which a web page may subscribe; none by default',
      ),
      [],
    ),
  }),
  health: group({
    listen: v.optional(
      checked(
        (input) => (input === '' ? '' : isText(input) ? listenAddress(input) : undefined),
        { wish: `one of ${LISTEN_WISH}, or nothing` },
        'where /healthz, /readyz and /metrics are served; empty: nowhere',
      ),
      '127.0.0.1:4281',
    ),
  }),
  kubernetes: group({
    source: v.optional(
      choice(
        ['auto', 'in-cluster', 'kubeconfig', 'files', 'none'],
        'where pods, services and endpoint slices come from; auto: the service account where there is one, else a kubeconfig, else none',
      ),
      'auto',
    ),
    kubeconfig: v.optional(text('the kubeconfig file; empty: $KUBECONFIG, else ~/.kube/config'), ''),
    context: v.optional(text("the kubeconfig's context; empty: its current one"), ''),
    files: group({
      pods: v.optional(text('pods, as "kubectl get -o json" prints them; for the source "files"'), ''),
      services: v.optional(text('services, in the same way'), ''),
      endpointSlices: v.optional(text('endpoint slices, in the same way'), ''),
    }),
    allPods: v.optional(flag("watch the pods of all nodes, so that peers have their names; without it only this node's"), true),
  }),
  envoy: group({
    ports: v.optional(
      list(
        port,
        'a port from 1 to 65535',
        "ports of Envoy's administration interface, tried in this order; the probe must allow them (--tunnel-port)",
      ),
      ['15000'],
    ),
    intervalMs: v.optional(time(500, 3_600_000, "how often each proxy is asked for its configuration's version"), '5s'),
    maxDumpBytes: v.optional(bytes(MIB, 2 * GIB, 'the largest configuration dump that is read'), '256MiB'),
  }),
  records: group({
    redact: v.optional(flag('leave out what may be private: query texts, and the values of headers'), true),
    settleMs: v.optional(time(0, 60_000, 'how long nothing may come before an ending is taken for one, and what ended is told'), '400ms'),
    updateMs: v.optional(time(1000, 3_600_000, 'how often an open flow is told again'), '10s'),
  }),
  flows: group({
    max: v.optional(
      count(1024, 16_777_216, 'flows that are followed at once in one namespace; beyond it the one silent for longest ends'),
      262_144,
    ),
  }),
  log: group({
    level: v.optional(
      choice(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'], 'the least that is logged', { reload: true }),
      'info',
    ),
  }),
});

export type DaemonConfig = v.InferOutput<typeof configSchema>;

/** One key, as flags, environment and documentation name it. */
export interface Setting {
  /** `stream.tls.cert` */
  readonly key: string;
  /** `--stream-tls-cert` */
  readonly flag: string;
  /** `SIDETRACE_STREAM_TLS_CERT` */
  readonly environment: string;
  readonly description: string;
  /** What fits. */
  readonly wish: string;
  /** As it would be written in a flag; the host's name has none. */
  readonly fallback: string;
  readonly reload: boolean;
}

type Entry = v.GenericSchema & { readonly wrapped?: Entry; readonly default?: unknown; readonly entries?: Readonly<Record<string, Entry>> };

function* settingsOf(entries: Readonly<Record<string, Entry>>, path: readonly string[]): Generator<Setting> {
  for (const [name, entry] of Object.entries(entries)) {
    const inner = entry.wrapped!;
    const keys = [...path, name];
    if (inner.entries !== undefined) {
      yield* settingsOf(inner.entries, keys);
      continue;
    }
    const words = keys.map((part) => part.replace(/[A-Z]/g, '-$&').toLowerCase());
    const notes = v.getMetadata(inner as never) as unknown as Notes;
    yield {
      key: keys.join('.'),
      flag: `--${words.join('-')}`,
      environment: `SIDETRACE_${words.join('_').replaceAll('-', '_').toUpperCase()}`,
      description: v.getDescription(inner as never) ?? '',
      wish: notes.wish,
      fallback: keys.join('.') === 'node' ? '' : String(entry.default),
      reload: notes.reload === true,
    };
  }
}

/** Every key, in the order of the schema. */
export const settings: readonly Setting[] = [...settingsOf(configSchema.entries as unknown as Readonly<Record<string, Entry>>, [])];
