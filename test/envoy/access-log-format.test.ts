import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type AccessLogEntry, parseAccessLog } from '../../src/envoy/access-log.ts';
import { observeDecision } from '../../src/envoy/access-log-decision.ts';
import type { Decision } from '../../src/record/record.ts';

const end = (text: string) => {
  const [, ip, port] = /^(.*):(\d+)$/.exec(text)!;
  return { ip: ip!, port: Number(port) };
};

const startMs = Date.parse('2026-11-23T06:22:41.601Z');

/** The request that most of these lines tell. */
const wanted = {
  startMs,
  precisionMs: 1,
  remote: end('10.244.1.5:41992'),
  remoteIsDirect: false,
  local: end('10.96.18.248:9080'),
  durationMs: 8,
  upstreamLocal: end('10.244.1.5:52672'),
  upstream: end('10.244.2.10:9080'),
  method: 'GET',
  authority: 'details:9080',
  path: '/details/0?a="b"',
  protocol: 'HTTP/1.1',
  status: 200,
  requestId: 'dbaa1fd5-4ecd-4390-9c88-1e68e5fa0f39',
  route: 'default',
  cluster: 'outbound|9080||details.default.svc.cluster.local',
};

const rest =
  '"dbaa1fd5-4ecd-4390-9c88-1e68e5fa0f39" "details:9080" "10.244.2.10:9080" outbound|9080||details.default.svc.cluster.local 10.244.1.5:52672 10.96.18.248:9080 10.244.1.5:41992 -';
const request = '[2026-11-23T06:22:41.601Z] "GET /details/0?a="b" HTTP/1.1" 200 -';

const json = {
  start_time: '2026-11-23T06:22:41.601Z',
  method: 'GET',
  path: '/details/0?a="b"',
  protocol: 'HTTP/1.1',
  response_code: 200,
  response_flags: '-',
  response_code_details: 'via_upstream',
  connection_termination_details: null,
  upstream_transport_failure_reason: null,
  bytes_received: 0,
  bytes_sent: 63,
  duration: 8,
  upstream_service_time: '7',
  x_forwarded_for: null,
  user_agent: 'curl/7.88.1',
  request_id: 'dbaa1fd5-4ecd-4390-9c88-1e68e5fa0f39',
  authority: 'details:9080',
  upstream_host: '10.244.2.10:9080',
  upstream_cluster: 'outbound|9080||details.default.svc.cluster.local',
  upstream_local_address: '10.244.1.5:52672',
  downstream_local_address: '10.96.18.248:9080',
  downstream_remote_address: '10.244.1.5:41992',
  requested_server_name: null,
  route_name: 'default',
};

const lab = {
  at: '2026-11-23T06:22:41.601Z',
  chain: '0.0.0.0_9080',
  route: 'default',
  cluster: 'outbound|9080||details.default.svc.cluster.local',
  upstream: '10.244.2.10:9080',
  upstreamLocal: '10.244.1.5:52672',
  local: '10.96.18.248:9080',
  remote: '192.0.2.1:0',
  directRemote: '10.244.1.5:41992',
  method: 'GET',
  authority: 'details:9080',
  path: '/details/0?a="b"',
  protocol: 'HTTP/1.1',
  code: '200',
  flags: '-',
  requestId: 'dbaa1fd5-4ecd-4390-9c88-1e68e5fa0f39',
  ms: '8',
};

for (const [name, line, entry] of [
  ["Istio's text", `${request} via_upstream - "-" 0 63 8 7 "-" "curl/7.88.1" ${rest} default`, wanted],
  [
    "Istio's text, with quotes in what the client sent",
    `${request} via_upstream - "-" 0 63 8 7 "a" "b" "c" "say "hi"" ${rest} default`,
    wanted,
  ],
  ["Istio 1.5's text, with Mixer's status", `${request} "-" "-" 0 63 8 7 "-" "curl/7.88.1" ${rest} default`, wanted],
  ["Istio 1.2's text, without a route", `${request} "-" "-" 0 63 8 7 "-" "curl/7.88.1" ${rest}`, { ...wanted, route: undefined }],
  ["Istio's JSON", JSON.stringify(json), wanted],
  ['JSON in other words, with the direct remote address', JSON.stringify(lab), { ...wanted, remoteIsDirect: true, chain: '0.0.0.0_9080' }],
  [
    'a TCP connection in text',
    '[2026-11-23T06:22:41.601Z] "- - -" 0 - - - "-" 5 11 6 - "-" "-" "-" "-" "10.244.1.13:9000" outbound|9000||echo.default.svc.cluster.local 10.244.1.11:51150 10.96.33.112:9000 10.244.1.11:39974 - -',
    {
      startMs,
      precisionMs: 1,
      remote: end('10.244.1.11:39974'),
      remoteIsDirect: false,
      local: end('10.96.33.112:9000'),
      durationMs: 6,
      upstreamLocal: end('10.244.1.11:51150'),
      upstream: end('10.244.1.13:9000'),
      status: 0,
      cluster: 'outbound|9000||echo.default.svc.cluster.local',
    },
  ],
  [
    'a request that nothing was sent on for',
    '[2026-11-23T06:22:41Z] "GET /x HTTP/2" 404 NR route_not_found - "-" 0 0 0 - "-" "-" "id" "b" "-" - - [fd00::1]:80 [fd00::2]:5000 - -',
    {
      startMs: Date.parse('2026-11-23T06:22:41Z'),
      precisionMs: 1000,
      remote: { ip: 'fd00::2', port: 5000 },
      remoteIsDirect: false,
      local: { ip: 'fd00::1', port: 80 },
      durationMs: 0,
      upstreamLocal: 'none',
      upstream: 'none',
      method: 'GET',
      authority: 'b',
      path: '/x',
      protocol: 'HTTP/2',
      status: 404,
      flags: 'NR',
      requestId: 'id',
    },
  ],
] as const satisfies readonly (readonly [string, string, object])[])
  test(`an entry is read: ${name}`, () => {
    const expected = Object.fromEntries(Object.entries(entry).filter(([, value]) => value !== undefined));
    assert.deepEqual(parseAccessLog(`${line}\n`), { entries: [expected], unread: 0, truncated: false });
  });

for (const [name, line] of [
  ['text of another format', '[2026-11-23T06:22:41.601Z] GET /details/0 200'],
  ['the common log format', '10.0.0.1 - - [23/Nov/2026:06:22:41 +0000] "GET / HTTP/1.1" 200 5'],
  ['JSON without addresses', '{"start_time":"2026-11-23T06:22:41.601Z","method":"GET"}'],
  ['JSON without a time', JSON.stringify({ ...json, start_time: undefined })],
  ['a time that is none', JSON.stringify({ ...json, start_time: 'now' })],
  ['an address that is a name', JSON.stringify({ ...json, downstream_local_address: 'here:80' })],
  ['JSON that is cut', JSON.stringify(json).slice(0, -1)],
  ['a list', '[1, 2]'],
  ['words', 'hello'],
] as const)
  test(`a line of a format that is not known is counted and shown, not guessed: ${name}`, () => {
    const read = parseAccessLog(`${JSON.stringify(json)}\n${line}\n`);
    assert.deepEqual([read.entries.length, read.unread, read.firstUnread], [1, 1, line.slice(0, 120)]);
  });

test("what the proxy's own logger writes between the entries is passed over", () => {
  const own = [
    '2026-11-23T06:22:41.601088Z\tinfo\txdsproxy\tconnected to upstream XDS server: istiod:15012',
    '2026-11-23T06:22:41.601088Z\twarning\tenvoy config external/envoy/source: gRPC config stream closed\tthread=8',
    '{"level":"info","time":"2026-11-23T06:22:41.601088Z","scope":"ads","msg":"x"}',
  ];
  assert.deepEqual(parseAccessLog(own.join('\n')), { entries: [], unread: 0, truncated: false });
});

test('any text is read to its end', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.oneof(
          fc.string(),
          fc.constant(request),
          fc.constant(rest),
          fc.constant('"'),
          fc.constant('\n'),
          fc.jsonValue().map((value) => JSON.stringify(value)),
        ),
      ),
      (parts) => {
        const { entries } = parseAccessLog(parts.join(' '));
        for (const entry of entries) assert.ok(Number.isFinite(entry.startMs));
      },
    ),
    { seed: 21, numRuns: 1000 },
  );
});

test('a decision takes the names of the entry as observed, and keeps what the entry does not tell', () => {
  const derived: Decision = {
    outcome: 'unknown',
    listener: 'l',
    chain: 'c',
    chainIndex: 2,
    evidence: { listener: 'derived', chain: 'derived', cluster: 'ambiguous', outcome: 'ambiguous' },
    candidates: { cluster: ['a', 'b'] },
    reason: 'weighted',
  };
  const entry: AccessLogEntry = wanted;
  assert.deepEqual(observeDecision(derived, entry), {
    outcome: 'forwarded',
    listener: 'l',
    chain: 'c',
    chainIndex: 2,
    route: 'default',
    cluster: wanted.cluster,
    endpoint: '10.244.2.10:9080',
    evidence: { listener: 'derived', chain: 'derived', cluster: 'observed', route: 'observed', endpoint: 'observed', outcome: 'observed' },
  });
  const refused = observeDecision(derived, { ...entry, upstream: 'none', upstreamLocal: 'none', flags: 'UH', cluster: 'a' });
  assert.deepEqual([refused.outcome, refused.cluster, refused.endpoint], ['no-endpoint', 'a', undefined]);
  assert.equal(derived.evidence.cluster, 'ambiguous');
});
