/** Access control against a real Envoy: random policies, random requests, the same verdict. The seed is fixed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { requestHeaders } from '../../src/envoy/header-matcher.ts';
import { parseRbac } from '../../src/envoy/rbac.ts';
import { httpFilter, httpManager, type Message } from './configs.ts';
import { Random } from './random.ts';
import { exchange, needsEnvoy, startEnvoy } from './running-envoy.ts';

const LISTENERS = Number(process.env.SIDETRACE_ORACLE_LISTENERS ?? 40);
const REQUESTS = 30;
const paths = ['/', '/a', '/a/b?x=/secret', '/secret', '/secret/x', '/A'];
const range = (address_prefix: string, prefix_len: number) => ({ address_prefix, prefix_len });

function header(random: Random): Message {
  return {
    header: {
      name: random.pick(['x-one', ':method', 'x-two']),
      ...random.pick<Message>([
        { string_match: { exact: 'a' } },
        { string_match: { prefix: 'P' } },
        { present_match: true },
        { string_match: { safe_regex: { regex: '[a-z]+' } }, invert_match: true },
      ]),
    },
  };
}

const path = (random: Random): Message => ({
  url_path: {
    path: random.pick<Message>([
      { exact: random.pick(paths) },
      { prefix: '/secret' },
      { suffix: 'b' },
      { contains: 'a', ignore_case: true },
    ]),
  },
});

function permission(random: Random, depth = 0): Message {
  const rules = () => Array.from({ length: 1 + random.below(2) }, () => permission(random, depth + 1));
  const leaves: (() => Message)[] = [
    () => ({ any: true }),
    () => header(random),
    () => path(random),
    () => ({ destination_port: random.pick([1, 2]) }),
    () => ({ destination_port_range: { start: random.pick([1, 1000]), end: 65_536 } }),
    () => ({ destination_ip: random.pick([range('127.0.0.0', 8), range('10.0.0.0', 8)]) }),
    () => ({ requested_server_name: { exact: random.pick(['', 'a']) } }),
  ];
  if (depth > 2 || random.chance(0.5)) return random.pick(leaves)();
  return random.pick<() => Message>([
    () => ({ and_rules: { rules: rules() } }),
    () => ({ or_rules: { rules: rules() } }),
    () => ({ not_rule: permission(random, depth + 1) }),
  ])();
}

function principal(random: Random, depth = 0): Message {
  const ids = () => Array.from({ length: 1 + random.below(2) }, () => principal(random, depth + 1));
  const leaves: (() => Message)[] = [
    () => ({ any: true }),
    () => header(random),
    () => path(random),
    () => ({ direct_remote_ip: random.pick([range('127.0.0.1', 32), range('10.0.0.0', 8)]) }),
    () => ({ authenticated: random.pick<Message>([{}, { principal_name: { prefix: 'spiffe://' } }]) }),
  ];
  if (depth > 2 || random.chance(0.5)) return random.pick(leaves)();
  return random.pick<() => Message>([
    () => ({ and_ids: { ids: ids() } }),
    () => ({ or_ids: { ids: ids() } }),
    () => ({ not_id: principal(random, depth + 1) }),
  ])();
}

function randomPolicy(random: Random): Message {
  return {
    permissions: Array.from({ length: 1 + random.below(2) }, () => permission(random)),
    principals: Array.from({ length: 1 + random.below(2) }, () => principal(random)),
  };
}

test('parseRbac() judges as Envoy does', { ...needsEnvoy(), timeout: 240_000 }, async (t) => {
  const random = new Random(Number(process.env.SIDETRACE_SEED ?? 5));
  const rules = Array.from({ length: LISTENERS }, () => ({
    rules: {
      action: random.pick(['ALLOW', 'DENY', 'LOG']),
      policies: Object.fromEntries(Array.from({ length: 1 + random.below(2) }, (_, i) => [`p${i}`, randomPolicy(random)])),
    },
  }));
  const routes = {
    name: 'r',
    virtual_hosts: [{ name: 'v', domains: ['*'], routes: [{ match: { prefix: '/' }, direct_response: { status: 200 } }] }],
  };
  const listeners = rules.map((config, i) => ({
    name: `l${i}`,
    address: { socket_address: { address: '127.0.0.1', port_value: 0 } },
    filter_chains: [{ filters: [httpManager({ inline: routes }, { delayed_close_timeout: '0s' }, [httpFilter('rbac', 'RBAC', config)])] }],
  }));
  const envoy = await startEnvoy(listeners);
  try {
    const counts = { compared: 0, denied: 0, unknown: 0 };
    for (const [i, config] of rules.entries()) {
      const port = envoy.ports.get(`l${i}`)!;
      const rbac = parseRbac(config);
      const attempts = Array.from({ length: REQUESTS }, () => ({
        method: random.pick(['GET', 'POST', 'PUT']),
        path: random.pick(paths),
        headers: ['x-one', 'x-two']
          .filter(() => random.chance(0.5))
          .map((name): [string, string] => [name, random.pick(['a', 'b', 'P1', ''])]),
      }));
      const said = await Promise.all(
        attempts.map(({ method, path, headers }) =>
          exchange(
            port,
            `${[`${method} ${path} HTTP/1.1`, 'Host: a', 'Connection: close', 'Content-Length: 0', ...headers.map((pair) => pair.join(': '))].join('\r\n')}\r\n\r\n`,
          ),
        ),
      );
      attempts.forEach(({ method, path, headers }, j) => {
        const ours = rbac.allows({
          source: { ip: '127.0.0.1' },
          destination: { ip: '127.0.0.1', port },
          serverName: '',
          peer: '',
          request: { path, headers: requestHeaders(headers, true, { ':method': method, ':authority': 'a', ':path': path }) },
        });
        counts.compared++;
        if (ours === 'unknown') counts.unknown++;
        const theirs = / 200 /.test(said[j]!.slice(0, 20));
        if (!theirs) counts.denied++;
        assert.equal(ours, theirs, `${method} ${path} ${JSON.stringify(headers)} ${JSON.stringify(config)} ${said[j]!.slice(0, 40)}`);
      });
    }
    t.diagnostic(
      `${counts.compared} requests under ${LISTENERS} policies compared, 0 differ; ${counts.denied} denied, ${counts.unknown} left open`,
    );
    assert.ok(counts.denied > 50 && counts.unknown === 0);
  } finally {
    await envoy.stop();
  }
});
