/**
 * Virtual hosts and routes against a real Envoy: random route configurations, random requests, the same route.
 *
 * Each route answers with its name. We read Envoy's own /config_dump. The seed is fixed.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseConfigDump } from '../../src/envoy/config.ts';
import { decideConnection } from '../../src/envoy/connection.ts';
import { decideRequest } from '../../src/envoy/request.ts';
import { Random } from './random.ts';
import { exchange, needsEnvoy, startEnvoy } from './running-envoy.ts';

const LISTENERS = Number(process.env.SIDETRACE_ORACLE_LISTENERS ?? 40);
const REQUESTS = 40;
const TYPE = 'type.googleapis.com/envoy.extensions';

const domains = [
  'a.test',
  'b.test',
  'b.test:8080',
  '*.test',
  '*.b.test',
  '*-x.test',
  'a.*',
  'a.b.*',
  'x.b.test',
  'A.example',
  '*.example:8080',
  '[::1]',
  '[::1]:8080',
];
const authorities = [
  'a.test',
  'b.test',
  'B.TEST',
  'b.test:8080',
  'b.test:80',
  'x.b.test',
  'y.x.b.test',
  '.test',
  'c-x.test',
  '-x.test',
  'a.b.c',
  'a.',
  'a.example',
  'q.example:8080',
  'nowhere',
  '[::1]',
  '[::1]:8080',
  'a.test.',
  'a.test:PORT',
];
const paths = [
  '/',
  '/a',
  '/A',
  '/a/',
  '/a/b',
  '/ab',
  '/a/b/c',
  '/a?x=1',
  '/a?x=2&y=%31',
  '/a?x',
  '/a?y=1&x=1',
  '/a/../b',
  '/a//b',
  '/b/./c',
  '/%61/b',
  '/a%2fb',
  '/a%2Fb/c',
  '/v1/items/12',
  '/v1/items/abc',
  '/v1/items/12/parts',
  '/a;p=1',
  '/..',
  '/a/.',
  '/b?x=%31',
  '/a\\b',
  '/%2e%2e/b',
  '/a/%7Euser',
];
const regexes = [
  '/a.*',
  '/[ab]',
  '/v1/items/[0-9]+',
  '/v1/items/\\d{1,2}(/parts)?',
  '(?i)/A(/b)?',
  '/(a|b)/?(b|c)*',
  '/a/?',
  '.*b',
  '/[^/]+/b',
  '/\\w+',
  '/a\\b.*',
];
const templates = ['/v1/items/{id}', '/v1/*/12', '/v1/**', '/{a}/b', '/a/{rest=**}', '/*'];
const headerNames = ['x-one', 'x-two', 'x-num', 'content-type'];
const headerValues: { readonly [name: string]: readonly string[] } = {
  'x-one': ['a', 'ab', 'b', ''],
  'x-two': ['foo', 'foobar', 'barfoo', 'FOO'],
  'x-num': ['5', '10', '-3', '5x', ''],
  'content-type': ['application/grpc', 'application/grpc+proto', 'application/grpc-web', 'text/plain'],
};
const methods = ['GET', 'POST', 'PUT'];

type Message = { [field: string]: unknown };

function randomHeader(random: Random): Message {
  const name = random.pick([...headerNames.slice(0, 3), ':method', ':authority', 'X-One']);
  const of = headerValues[name.toLowerCase()] ?? (name === ':method' ? methods : authorities.slice(0, 6));
  const value = random.pick(of);
  const string = random.pick<Message>([
    { exact: value || 'a' },
    { prefix: value.slice(0, 1) || 'a' },
    { suffix: value.slice(-1) || 'a' },
    { contains: value.slice(0, 2) || 'a' },
    { safe_regex: { regex: random.pick(['[a-z]+', '\\d+', '.*o', value.replace(/[^a-z0-9]/gi, '.') || '.']) } },
  ]);
  return {
    name,
    ...random.pick<Message>([
      { string_match: { ...string, ...(random.chance(0.3) && !('safe_regex' in string) ? { ignore_case: true } : {}) } },
      { string_match: string },
      { present_match: random.chance(0.7) },
      { range_match: { start: -3, end: 6 } },
      {},
    ]),
    ...(random.chance(0.3) ? { invert_match: true } : {}),
    ...(random.chance(0.3) ? { treat_missing_header_as_empty: true } : {}),
  };
}

function randomQuery(random: Random): Message {
  return {
    name: random.pick(['x', 'y']),
    ...random.pick<Message>([
      { string_match: { exact: random.pick(['1', '2', '%31']) } },
      { present_match: true },
      { string_match: { safe_regex: { regex: '[0-9]+' } } },
      {},
    ]),
  };
}

function randomMatch(random: Random): Message {
  const bare = (path: string) => path.replace(/[?#].*$/, '');
  const path = bare(random.pick(paths));
  const kind = random.below(5);
  const match: Message =
    kind === 0
      ? { prefix: path }
      : kind === 1
        ? { path }
        : kind === 2
          ? { safe_regex: { regex: random.pick(regexes) } }
          : kind === 3
            ? { path_separated_prefix: random.pick(['/a', '/a/b', '/b', '/v1', '/v1/items']) }
            : {
                path_match_policy: {
                  name: 'envoy.path.match.uri_template.uri_template_matcher',
                  typed_config: {
                    '@type': `${TYPE}.path.match.uri_template.v3.UriTemplateMatchConfig`,
                    path_template: random.pick(templates),
                  },
                },
              };
  if (kind !== 2 && kind !== 4 && random.chance(0.25)) match.case_sensitive = false;
  if (random.chance(0.35)) match.headers = Array.from({ length: 1 + random.below(2) }, () => randomHeader(random));
  if (random.chance(0.2)) match.query_parameters = [randomQuery(random)];
  if (random.chance(0.1)) match.grpc = {};
  if (random.chance(0.1)) match.runtime_fraction = { default_value: { numerator: random.pick([0, 100]), denominator: 'HUNDRED' } };
  return match;
}

function randomListener(random: Random, index: number): Message {
  const left = random.sample(domains, domains.length);
  const hosts: Message[] = [];
  for (let i = 0; i < 4; i++) {
    const name = `host-${i}`;
    const routes = Array.from({ length: 6 }, (_, j) => ({
      name: `${name}/${j}`,
      match: randomMatch(random),
      direct_response: { status: 200 },
      response_headers_to_add: [{ header: { key: 'x-route', value: `${name}/${j}` } }],
    }));
    hosts.push({
      name,
      domains: i === 3 && random.chance(0.7) ? ['*'] : left.splice(0, 3),
      routes,
      ...(random.chance(0.1) ? { require_tls: 'ALL' } : {}),
    });
  }
  return {
    name: `listener-${index}`,
    address: { socket_address: { address: '127.0.0.1', port_value: 0 } },
    filter_chains: [
      {
        filters: [
          {
            name: 'envoy.filters.network.http_connection_manager',
            typed_config: {
              '@type': `${TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
              stat_prefix: 'oracle',
              delayed_close_timeout: '0s',
              route_config: { name: `routes-${index}`, virtual_hosts: hosts, ignore_port_in_host_matching: random.chance(0.4) },
              http_filters: [{ name: 'envoy.filters.http.router', typed_config: { '@type': `${TYPE}.filters.http.router.v3.Router` } }],
              normalize_path: random.chance(0.5),
              merge_slashes: random.chance(0.3),
              path_with_escaped_slashes_action: random.pick([
                'KEEP_UNCHANGED',
                'REJECT_REQUEST',
                'UNESCAPE_AND_REDIRECT',
                'UNESCAPE_AND_FORWARD',
              ]),
              ...random.pick<Message>([{ strip_any_host_port: true }, { strip_matching_host_port: true }, {}, {}]),
              strip_trailing_host_dot: random.chance(0.3),
            },
          },
        ],
      },
    ],
  };
}

interface Attempt {
  method: string;
  authority: string;
  path: string;
  headers: [string, string][];
}

function randomAttempt(random: Random, port: number): Attempt {
  const headers: [string, string][] = [];
  for (const name of headerNames) if (random.chance(0.4)) headers.push([name, random.pick(headerValues[name]!)]);
  if (random.chance(0.1)) headers.push(['X-One', 'a']);
  return {
    method: random.pick(methods),
    authority: random.pick(authorities).replace('PORT', String(port)),
    path: random.pick(paths),
    headers,
  };
}

/** `route NAME`, or `status N`, or (gRPC) `no route`. */
async function ask(port: number, { method, authority, path, headers }: Attempt): Promise<string> {
  const lines = [
    `${method} ${path} HTTP/1.1`,
    `Host: ${authority}`,
    'Connection: close',
    'Content-Length: 0',
    ...headers.map(([name, value]) => `${name}: ${value}`),
  ];
  const text = await exchange(port, `${lines.join('\r\n')}\r\n\r\n`);
  const route = /\r\nx-route: (\S+)\r\n/.exec(text)?.[1];
  // Answers to gRPC have status 200 and a status of their own.
  const isGrpc = headers.some(([name, value]) => name === 'content-type' && /^application\/grpc(\+|$)/.test(value));
  return route !== undefined ? `route ${route}` : isGrpc ? 'no route' : `status ${/^HTTP\/1.1 (\d+)/.exec(text)?.[1] ?? '0'}`;
}

test('decideRequest() takes the route that Envoy takes', { ...needsEnvoy(), timeout: 300_000 }, async (t) => {
  const random = new Random(Number(process.env.SIDETRACE_SEED ?? 77));
  const listeners = Array.from({ length: LISTENERS }, (_, i) => randomListener(random, i));
  const envoy = await startEnvoy(listeners);
  try {
    const config = parseConfigDump(await envoy.get('/config_dump?include_eds'), { readAt: new Date().toISOString() });
    const counts = { compared: 0, routes: 0, none: 0, unknown: 0 };
    const wrong: string[] = [];
    for (const message of listeners) {
      const port = envoy.ports.get(String(message.name))!;
      // The dump shows port 0; the kernel chose another.
      const connection = decideConnection(config, {
        atMs: Date.now(),
        listener: { port: 0 },
        destination: { ip: '127.0.0.1', port },
        source: { ip: '127.0.0.1', port: 1 },
        transport: 'raw_buffer',
        http: 'http/1.1',
      });
      const way = connection.ways.find((one) => one.listener?.name === message.name)!;
      const attempts = Array.from({ length: REQUESTS }, () => randomAttempt(random, port));
      const said = await Promise.all(attempts.map((attempt) => ask(port, attempt)));
      attempts.forEach((attempt, i) => {
        const { alternatives } = decideRequest(
          { ...connection, ways: [{ ...way, local: { ip: '127.0.0.1', port } }] },
          { ...attempt, atMs: Date.now() },
        );
        counts.compared++;
        if (alternatives.length !== 1) {
          // A repeated header, which Envoys of different age read differently.
          counts.unknown++;
          assert.ok(attempt.headers.filter(([name]) => name.toLowerCase() === 'x-one').length > 1);
          return;
        }
        const one = alternatives[0]!;
        const redirect = one.status ?? 301;
        const ours =
          one.outcome === 'direct-response' && one.route !== undefined
            ? `route ${one.route}`
            : `status ${one.outcome === 'redirect' ? redirect : one.status}`;
        if (ours.startsWith('route')) counts.routes++;
        if (one.outcome === 'no-route') counts.none++;
        if (ours !== said[i] && !(said[i] === 'no route' && !ours.startsWith('route')))
          wrong.push(
            `${JSON.stringify(attempt)} Envoy: ${said[i]}, we: ${ours} (${String(message.name)})${process.env.SHOW ? JSON.stringify(message) : ''}`,
          );
      });
    }
    t.diagnostic(
      `${counts.compared} requests to ${LISTENERS} route configurations compared, ${wrong.length} differ; ${counts.routes} took a route, ${counts.none} fit none, ${counts.unknown} left open`,
    );
    assert.deepEqual(wrong.slice(0, 3), []);
    assert.ok(counts.routes > counts.compared / 3 && counts.unknown < counts.compared / 50);
  } finally {
    await envoy.stop();
  }
});
