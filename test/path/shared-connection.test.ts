/** Several requests that went on over one connection at the same time: which connection it was is known, which of them was whose only where something tells. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FlowRecord, PathRecord } from '../../src/record/record.ts';
import { httpManager, listener, makeDump } from '../envoy/configs.ts';
import { MadeNamespace, makeRecording, sidecarRules, type Talk } from '../findings/made-recording.ts';
import { recordsOf } from '../findings/replayed.ts';

const POD = '10.0.0.10';
const GATEWAY = '10.0.0.20';
const VIP = '10.96.0.1';
const BEYOND = '10.0.0.30';

const PREFACE = Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0])]);
const SETTINGS = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);

/** HEADERS of a GET, or of a 200. Source: RFC 9113 section 6.2, RFC 7541 section 6.2.2 and appendix A. */
function headers(stream: number, request?: { path: string; id: string }): Buffer {
  const text = (value: string) => Buffer.concat([Buffer.from([value.length]), Buffer.from(value, 'latin1')]);
  const block =
    request === undefined
      ? Buffer.concat([Buffer.from([0x88, 0x00]), text('x-envoy-upstream-service-time'), text('3')])
      : Buffer.concat([
          ...[Buffer.from([0x82, 0x86, 0x04]), text(request.path), Buffer.from([0x01]), text('shop')],
          ...[Buffer.from([0x00]), text('x-request-id'), text(request.id)],
        ]);
  return Buffer.concat([Buffer.from([0, 0, block.length, 1, 5, 0, 0, 0, stream]), block]);
}

const ask = (path: string, seconds: number): Talk => [
  ['C', `GET ${path} HTTP/1.1\r\nhost: shop\r\n\r\n`],
  seconds,
  ['S', 'HTTP/1.1 200 OK\r\nx-envoy-upstream-service-time: 3\r\ncontent-length: 0\r\n\r\n'],
];

const routes = [{ name: 'shop', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster: 'shop' } }] }];
const gatewayConfig = JSON.stringify(
  makeDump({
    listeners: [
      listener('0.0.0.0_8080', '0.0.0.0:8080', {
        traffic_direction: 'OUTBOUND',
        filter_chains: [{ filters: [httpManager({ inline: { name: 'http.8080', virtual_hosts: routes } })] }],
      }),
    ],
    clusters: [{ name: 'shop', type: 'EDS' }],
    endpoints: { shop: [`${BEYOND}:9080`] },
  }),
);

/** Two clients ask at once; the first is answered a little earlier. Both requests go on over one connection with HTTP/2, to a gateway that sends each on over one of its own. */
function twoAtOnce(paths: readonly [string, string], ids: readonly [string, string], log?: string): PathRecord[] {
  const redirected = { on: 'lo', redirected: '127.0.0.1:15001' } as const;
  const pod = new MadeNamespace('default/client', POD).file('iptables-save', sidecarRules());
  if (log !== undefined) pod.file('access-log', log, 10);
  pod.tcp({ ...redirected, at: 1, from: `${POD}:40000`, to: `${VIP}:80`, isn: 1000, talk: ask(paths[0], 0.1) });
  pod.tcp({ ...redirected, at: 1.001, from: `${POD}:40001`, to: `${VIP}:80`, isn: 2000, talk: ask(paths[1], 0.1) });
  const shared: Talk = [
    ['C', Buffer.concat([PREFACE, headers(1, { path: paths[0], id: ids[0] }), headers(3, { path: paths[1], id: ids[1] })])],
    ['S', SETTINGS],
    0.05,
    ['S', headers(3)],
    ['S', headers(1)],
  ];
  const line = { at: 1.01, from: `${POD}:50000`, to: `${GATEWAY}:8080`, isn: 5000, talk: shared };
  pod.tcp(line);
  const gateway = new MadeNamespace('default/gateway', GATEWAY).file('iptables-save', '*nat\nCOMMIT\n').file('config_dump', gatewayConfig);
  gateway.tcp({ ...line, at: 1.0101, incoming: true });
  for (const [i, path] of paths.entries()) {
    const onward = `GET ${path} HTTP/1.1\r\nhost: shop\r\nx-request-id: ${ids[i]}\r\n\r\n`;
    const talk: Talk = [['C', onward], 0.03, ['S', 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n']];
    gateway.tcp({ at: 1.015 + i / 1000, from: `${GATEWAY}:${60000 + i}`, to: `${BEYOND}:9080`, isn: 8000 + i * 100, talk });
  }
  const records = recordsOf(makeRecording([pod, gateway]));
  const flows = new Map(records.flatMap((record) => (record.type === 'flow' ? [[record.id, record]] : [])) as [string, FlowRecord][]);
  const portsOf = (path: PathRecord) => path.legs.map((leg) => flows.get(leg.flow)!.source.port).join(' > ');
  return records
    .filter((record): record is PathRecord => record.type === 'path' && record.of === 'request')
    .map((path) => ({ ...path, ports: portsOf(path) }))
    .sort((one, other) => (one.ports < other.ports ? -1 : 1));
}

const told = (paths: readonly PathRecord[]) =>
  paths.map(
    (path) => `${(path as PathRecord & { ports: string }).ports} ${path.request?.id ?? '-'} ${path.joins.map(({ evidence }) => evidence)}`,
  );

test('two that ask the same on HTTP/2: the connection is known, which of the two is whose is not', () => {
  const paths = twoAtOnce(['/same', '/same'], ['first', 'second']);
  const ofClients = paths.filter(({ legs }) => legs[0]!.roles.includes('app-to-proxy'));
  assert.deepEqual(told(ofClients), ['40000 > 50000 > 50000 - derived,observed', '40001 > 50000 > 50000 - derived,observed']);
  assert.deepEqual(
    ofClients.map(({ complete }) => complete),
    [false, false],
  );
  const rest = paths.filter((path) => !ofClients.includes(path)).map(({ request }) => request?.id);
  assert.deepEqual(rest.sort(), ['first', 'second'], 'each is told, from where it was read');
});

test('two that ask for different things on HTTP/2: each is followed to its end', () => {
  const paths = twoAtOnce(['/one', '/two'], ['first', 'second']);
  assert.deepEqual(told(paths), [
    '40000 > 50000 > 50000 > 60000 first derived,observed,observed',
    '40001 > 50000 > 50000 > 60001 second derived,observed,observed',
  ]);
});

test("two that ask the same on HTTP/2, where the proxy's access log has their ids: each is followed to its end", () => {
  const line = (port: number, id: string) =>
    `[2026-11-23T06:00:01.00${port - 40_000}Z] "GET /same HTTP/1.1" 200 - via_upstream - "-" 0 0 100 99 "-" "-" "${id}" "shop" "${GATEWAY}:8080" outbound|80||shop ${POD}:50000 ${VIP}:80 ${POD}:${port} - default`;
  const paths = twoAtOnce(['/same', '/same'], ['first', 'second'], `${line(40_000, 'second')}\n${line(40_001, 'first')}\n`);
  assert.deepEqual(told(paths), [
    '40000 > 50000 > 50000 > 60001 second observed,observed,observed',
    '40001 > 50000 > 50000 > 60000 first observed,observed,observed',
  ]);
});
