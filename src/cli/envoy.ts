/** `sidetrace envoy`: one proxy's configuration as tables, or what it does with one request. */
import { parseCertificates } from '../envoy/certificate.ts';
import type { EnvoyConfig } from '../envoy/config.ts';
import { parseStats, statRows } from '../envoy/stats.ts';
import { certificateRows, chainRows, clusterRows, endpointRows, listenerRows, rejectedRows, routeRows } from '../envoy/table.ts';
import { parseProxy } from '../istio/proxy.ts';
import type { Palette } from '../output/color.ts';
import { escapeText } from '../output/escape.ts';
import type { RecordedWorld } from '../world/build.ts';
import { answer, answerFormat } from './answer.ts';
import type { Describe } from './commands.ts';
import { addDestinationOptions, type DestinationOptions, openDestination } from './destination.ts';
import { traceAnswer, traceText } from './envoy-trace.ts';
import type { ExitCode } from './exit-code.ts';
import { InputError, UsageError } from './failure.ts';
import { addFileOptions, namedFiles } from './file-options.ts';
import { addLiveOptions, isLive, type LiveOptions, onePod, withLiveEvidence } from './live-evidence.ts';
import { addRequestOptions, type RequestOptions } from './request-options.ts';
import { textTable } from './text-table.ts';
import { worldName, worldOfFiles, worldOfSubject } from './world-of.ts';

type Row = object;

interface View {
  readonly name: string;
  readonly summary: string;
  /** What is said when there are no rows. */
  readonly none?: string;
  readonly columns: readonly (readonly [header: string, field: string])[];
  rows(world: RecordedWorld, only: string | undefined): Row[];
}

function configOf(world: RecordedWorld): EnvoyConfig {
  const config = world.envoy?.configs.at(-1);
  if (config === undefined) {
    const [problem] = world.problems;
    if (problem !== undefined) throw new InputError(`Cannot use ${problem}`);
    throw new UsageError(`Cannot look into Envoy of "${worldName(world)}": a config_dump is wanted, none was given`);
  }
  return config;
}

function newestText(world: RecordedWorld, kind: 'certs' | 'stats', wish: string): string {
  const text = world.texts(kind).at(-1);
  if (text === undefined) throw new UsageError(`Cannot look into Envoy of "${worldName(world)}": ${wish} is wanted, none was given`);
  return text.value;
}

const views: readonly View[] = [
  {
    name: 'listeners',
    summary: 'listeners: addresses, direction, how connections reach them',
    columns: [
      ['LISTENER', 'listener'],
      ['ADDRESSES', 'addresses'],
      ['DIRECTION', 'direction'],
      ['REACHED BY', 'reached'],
      ['CHAINS', 'chains'],
      ['STATE', 'state'],
      ['LISTENER FILTERS', 'filters'],
    ],
    rows: (world, only) => listenerRows(configOf(world)).filter(({ listener }) => only === undefined || listener === only),
  },
  {
    name: 'chains',
    summary: 'filter chains, what each asks for, where it leads; of one listener with --only',
    columns: [
      ['LISTENER', 'listener'],
      ['#', 'index'],
      ['CHAIN', 'chain'],
      ['MATCH', 'match'],
      ['TLS', 'tls'],
      ['LEADS TO', 'destination'],
    ],
    rows: (world, only) => chainRows(configOf(world), only),
  },
  {
    name: 'routes',
    summary: 'virtual hosts and routes in the order in which they are tried; of one route configuration with --only',
    columns: [
      ['ROUTES', 'routeConfig'],
      ['VIRTUAL HOST', 'virtualHost'],
      ['ROUTE', 'route'],
      ['MATCH', 'match'],
      ['LEADS TO', 'destination'],
      ['DOMAINS', 'domains'],
    ],
    rows: (world, only) => routeRows(configOf(world), only),
  },
  {
    name: 'clusters',
    summary: 'clusters, their kind, endpoints and health',
    columns: [
      ['CLUSTER', 'cluster'],
      ['TYPE', 'type'],
      ['ENDPOINTS', 'endpoints'],
      ['HEALTHY', 'healthy'],
      ['STATE', 'state'],
      ['SENDS SNI', 'serverNames'],
    ],
    rows: (world, only) => clusterRows(configOf(world)).filter(({ cluster }) => only === undefined || cluster === only),
  },
  {
    name: 'endpoints',
    summary: 'endpoints with health, priority, locality, transport and counters; of one cluster with --only',
    columns: [
      ['CLUSTER', 'cluster'],
      ['ENDPOINT', 'endpoint'],
      ['HEALTH', 'health'],
      ['PRIORITY', 'priority'],
      ['WEIGHT', 'weight'],
      ['LOCALITY', 'locality'],
      ['TRANSPORT', 'transport'],
      ['CONNECTIONS', 'connections'],
      ['FAILED', 'connectFailures'],
      ['REQUESTS', 'requests'],
      ['ERRORS', 'errors'],
    ],
    rows: (world, only) => endpointRows(configOf(world), only),
  },
  {
    name: 'certs',
    summary: 'certificates: names and when they expire (/certs)',
    columns: [
      ['ROLE', 'role'],
      ['NAMES', 'names'],
      ['VALID FROM', 'validFrom'],
      ['EXPIRES', 'expires'],
      ['DAYS LEFT', 'daysLeft'],
      ['SERIAL NUMBER', 'serialNumber'],
    ],
    rows: (world) => {
      const text = newestText(world, 'certs', "/certs of Envoy's admin interface");
      try {
        return certificateRows(parseCertificates(JSON.parse(text)));
      } catch (cause) {
        throw new SyntaxError(
          `Cannot read the certificates of "${worldName(world)}": the JSON of /certs is wanted, it says: ${(cause as Error).message}`,
          { cause },
        );
      }
    },
  },
  {
    name: 'stats',
    summary: 'the statistics that tell of trouble and are not zero (/stats/prometheus)',
    none: 'no statistic tells of trouble',
    columns: [
      ['VALUE', 'value'],
      ['WHAT', 'text'],
      ['OF', 'of'],
      ['STATISTIC', 'statistic'],
    ],
    rows: (world) => statRows(parseStats(newestText(world, 'stats', '/stats/prometheus'))),
  },
  {
    name: 'rejected',
    summary: 'what Envoy refused, in its own words',
    none: 'nothing was rejected',
    columns: [
      ['KIND', 'kind'],
      ['NAME', 'name'],
      ['WHY', 'details'],
      ['AT', 'at'],
    ],
    rows: (world) => rejectedRows(configOf(world)),
  },
];

const EXAMPLES = `
Examples:
  sidetrace envoy captures/bookinfo/client                       what this proxy is, and how much it holds
  sidetrace envoy chains captures/bookinfo/client --only virtualInbound
  sidetrace envoy clusters --pod default/client                  live, from the daemon of this node
  sidetrace envoy admin stats?filter=upstream_cx --pod default/client
  sidetrace envoy endpoints --config-dump dump.json --clusters clusters.json -o json
  sidetrace envoy trace captures/bookinfo/client productpage:9080 --path /productpage --header 'end-user: jason'`;

interface EnvoyOptions extends DestinationOptions, RequestOptions, LiveOptions {
  readonly format: string;
  readonly only?: string;
  readonly listenerPort?: string;
}

export const describeEnvoy: Describe = (command, finish) => {
  const names = views.map(({ name }) => name);
  addDestinationOptions(
    command
      .argument(
        '[WORDS...]',
        `what to show (${[...names, 'trace', 'admin'].join(', ')}; without one: a summary), then BUNDLE/POD or a config_dump, for trace the destination HOST:PORT (an address, or a service or pod of the bundle), for admin a path of Envoy's admin interface`,
      )
      .option('-o, --format <FORMAT>', 'text or json', 'text')
      .option('--only <NAME>', 'of this listener, route configuration or cluster')
      .option(
        '--listener-port <PORT>',
        'trace: the port that the connection was delivered to (where the rules redirect: the outbound port)',
      ),
  );
  addFileOptions(command, ['config_dump', 'clusters', 'listeners', 'certs', 'stats', 'iptables-save', 'nft'], 'Files:');
  addRequestOptions(command);
  addLiveOptions(command);
  const shown = views.map(({ name, summary }) => `  ${name.padEnd(11)}${summary}`);
  command
    .addHelpText(
      'after',
      `\nWhat to show:\n${shown.join('\n')}\n  trace      what the proxy does with one request: listener, chain, route, cluster, endpoints, and what it rejected\n  admin      live: the answer of Envoy's admin interface itself, of a path that only reads (help names them)\n${EXAMPLES}`,
    )
    .action(async (words: string[], options: EnvoyOptions) => {
      answerFormat(options.format);
      if (words[0] === 'admin') {
        const { askAdmin } = await import('./envoy-admin.ts');
        finish(await askAdmin(words.slice(1), options));
        return;
      }
      const question = questionOf(words, names);
      const files = namedFiles(options as unknown as { readonly [key: string]: unknown });
      if (isLive(options)) {
        const pod = onePod(options, question.subject);
        finish(await withLiveEvidence(options, [pod], ([path]) => answerOf(question, worldOf(path, files), options)));
      } else finish(answerOf(question, worldOf(question.subject, files), options));
    });
};

interface Question {
  readonly view: View | undefined;
  /** Of `trace`: where the request goes. */
  readonly target: string | undefined;
  readonly subject: string | undefined;
}

function questionOf(words: readonly string[], names: readonly string[]): Question {
  const view = views.find(({ name }) => name === words[0]);
  const tracing = words[0] === 'trace';
  const rest = view !== undefined || tracing ? words.slice(1) : words;
  const target = tracing ? rest.at(-1) : undefined;
  const subjects = tracing ? rest.slice(0, -1) : rest;
  if (tracing && target === undefined) throw new UsageError('Cannot trace nothing: a destination HOST:PORT is wanted, none is given');
  if (subjects.length > 1)
    throw new UsageError(
      `Cannot look at "${subjects.join('" and "')}": one proxy is wanted (BUNDLE/POD or a config_dump). What to show is one of ${[...names, 'trace', 'admin'].join(', ')}`,
    );
  return { view, target, subject: subjects[0] };
}

function answerOf({ view, target }: Question, world: RecordedWorld, options: EnvoyOptions): ExitCode {
  const format = answerFormat(options.format);
  if (target !== undefined) {
    const found = traceAnswer(world, configOf(world), target, options);
    const destination = openDestination(options);
    return answer(destination, format, found, () => traceText(found, destination.palette), world.problems);
  }
  if (view !== undefined) {
    const rows = view.rows(world, options.only);
    const destination = openDestination(options);
    const value = { subject: worldName(world), [view.name]: rows };
    return answer(destination, format, value, () => rowsText(view, rows, destination.palette), world.problems);
  }
  const summary = summaryOf(world);
  const destination = openDestination(options);
  return answer(destination, format, summary, () => summaryText(summary, destination.palette), world.problems);
}

function worldOf(subject: string | undefined, files: ReturnType<typeof namedFiles>): RecordedWorld {
  if (subject === undefined) return worldOfFiles(files);
  return subject === '-' || subject.endsWith('.json')
    ? worldOfFiles([{ kind: 'config_dump', path: subject }, ...files])
    : worldOfSubject(subject, files);
}

function rowsText(view: View, rows: readonly Row[], palette: Palette): string {
  if (rows.length === 0) return `${palette.dim(view.none ?? `no ${view.name}`)}\n`;
  const cell = (row: Row, field: string): string => {
    const value = (row as { readonly [field: string]: unknown })[field];
    return value === undefined ? '?' : String(value);
  };
  return textTable(
    view.columns.map(([header]) => header),
    rows.map((row) => view.columns.map(([, field]) => cell(row, field))),
    palette,
  );
}

function summaryOf(world: RecordedWorld) {
  const config = configOf(world);
  const { bootstrap, serverInfo } = config;
  const proxy = parseProxy(bootstrap.node.id === '' && serverInfo !== undefined ? serverInfo.node : bootstrap.node);
  const chains = chainRows(config);
  return {
    subject: worldName(world),
    readAt: config.readAt,
    snapshots: world.envoy!.configs.length,
    proxy: {
      type: proxy.type,
      name: proxy.name,
      namespace: proxy.namespace,
      ip: proxy.ip,
      istioVersion: proxy.istioVersion,
      interceptionMode: proxy.interceptionMode,
    },
    envoy: { version: serverInfo?.version || bootstrap.envoyVersion, state: serverInfo?.state },
    holds: {
      listeners: config.listeners.length,
      chains: chains.length,
      routes: routeRows(config).length,
      clusters: clusterRows(config).length,
      endpoints: endpointRows(config).length,
    },
    notActive: listenerRows(config)
      .filter(({ state }) => state === 'warming' || state === 'draining')
      .map(({ listener, state }) => ({ listener, state })),
    rejected: rejectedRows(config),
  };
}

function summaryText(summary: ReturnType<typeof summaryOf>, palette: Palette): string {
  const { proxy, envoy, holds, notActive, rejected } = summary;
  const line = (label: string, value: string): string => `${palette.bold(label.padEnd(10))}${escapeText(value)}\n`;
  const istio = [proxy.istioVersion && `Istio ${proxy.istioVersion}`, proxy.interceptionMode && `interception by ${proxy.interceptionMode}`]
    .filter(Boolean)
    .join(', ');
  let out = line('proxy', `${proxy.type} ${proxy.namespace}/${proxy.name} ${proxy.ip}`);
  out += line('envoy', [`version ${envoy.version || 'unknown'}`, envoy.state ?? '', istio].filter((part) => part !== '').join(', '));
  out += line('read', `${summary.readAt || 'nobody says when'}${summary.snapshots > 1 ? `, the newest of ${summary.snapshots}` : ''}`);
  out += line(
    'holds',
    Object.entries(holds)
      .map(([name, count]) => `${count} ${name}`)
      .join(', '),
  );
  for (const { listener, state } of notActive) out += line(state, listener);
  for (const { kind, name, details } of rejected) out += line('rejected', `${kind} ${name}: ${details}`);
  return out;
}
