/** What goes to a loopback address in a pod: the application's own requests, those of another program in it, and what came in by the proxy. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FlowRecord, PathRecord } from '../../src/record/record.ts';
import { httpManager, listener, type Message, makeDump } from '../envoy/configs.ts';
import { MadeNamespace, makeRecording, sidecarRules, type Talk } from '../findings/made-recording.ts';
import { recordsOf } from '../findings/replayed.ts';
import { tlsRecord } from '../flow/tls-records.ts';
import { told } from './http2-talk.ts';

const POD = '10.0.0.10';
const PEER = '10.0.0.20';

/** The sidecar's configuration: what comes in for port 80 goes to this cluster. */
function config(cluster: Message): string {
  const routes = [{ name: 'inbound|http|80', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster: cluster.name } }] }];
  const inbound = listener('virtualInbound', '0.0.0.0:15006', {
    traffic_direction: 'INBOUND',
    filter_chains: [{ filters: [httpManager({ inline: { name: 'inbound|80||', virtual_hosts: routes } })] }],
  });
  return JSON.stringify(makeDump({ listeners: [inbound], clusters: [cluster] }));
}

/** Where it was meant for (Istio from 1.10 on), or the loopback address (before). */
const toThePod = { name: 'inbound|80||', type: 'ORIGINAL_DST', lb_policy: 'CLUSTER_PROVIDED' };
const toLoopback = {
  name: 'inbound|80||',
  type: 'STATIC',
  load_assignment: {
    cluster_name: 'inbound|80||',
    endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: '127.0.0.1', port_value: 80 } } } }] }],
  },
};

/** How the request on the loopback address is joined, by whether it has what a proxy adds. */
function joins(cluster: Message | undefined, more: string): string[] {
  const pod = new MadeNamespace('default/shop', POD).file('iptables-save', sidecarRules());
  if (cluster !== undefined) pod.file('config_dump', config(cluster));
  const encrypted: Talk = [['C', tlsRecord.data(200, true)], 2, ['S', tlsRecord.data(300, true)]];
  pod.tcp({ at: 1, from: `${PEER}:40000`, to: `${POD}:80`, incoming: true, isn: 1000, begins: 'late', talk: encrypted });
  const plain: Talk = [
    ['C', `GET /me HTTP/1.1\r\nhost: shop\r\n${more}\r\n`],
    0.1,
    ['S', 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n'],
    '.C',
    '.S',
  ];
  pod.tcp({ at: 1.5, from: '127.0.0.1:50000', to: '127.0.0.1:80', on: 'lo', isn: 5000, talk: plain });
  const records = recordsOf(makeRecording([pod]));
  const flows = new Map(records.flatMap((record) => (record.type === 'flow' ? [[record.id, record]] : [])) as [string, FlowRecord][]);
  return records
    .filter((record): record is PathRecord => record.type === 'path' && record.request !== undefined)
    .map(
      ({ legs, joins: all }) =>
        `${legs.map((leg) => flows.get(leg.flow)!.source.port).join(' > ')} ${all.map(({ evidence }) => evidence).join() || 'alone'}`,
    );
}

const FORWARDED = 'x-forwarded-proto: http\r\n';

for (const [what, cluster, more, wanted] of [
  ['what comes in goes where it was meant for: it is its own', toThePod, '', '50000 alone'],
  ['… even if it passes on what a proxy added once', toThePod, FORWARDED, '50000 alone'],
  [
    'what comes in goes to the loopback address, and it has what the proxy adds: it is that',
    toLoopback,
    FORWARDED,
    '40000 > 50000 derived',
  ],
  ['what comes in goes to the loopback address, and it lacks what the proxy adds: it may be that', toLoopback, '', '50000 ambiguous'],
  ['where nothing tells the configuration it may be that', undefined, '', '50000 ambiguous'],
] as const)
  test(`a request of the pod to itself on 127.0.0.1: ${what}`, () => {
    assert.deepEqual(joins(cluster, more), [wanted]);
  });

const proxied = 'GET /x HTTP/1.1\r\nhost: shop\r\nx-request-id: a\r\nx-forwarded-proto: https\r\n\r\n';
const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n';

test('a program of the pod that passes on what the proxy added is not the proxy', () => {
  const pod = new MadeNamespace('default/shop', POD).file('iptables-save', sidecarRules());
  const encrypted: Talk = [['C', tlsRecord.data(300, true)], 0.2, ['S', tlsRecord.data(300, true)]];
  // It came in for a reverse proxy on 80, which asks the application on 8080; something else came in for that port.
  pod.tcp({ at: 1, from: `${PEER}:40000`, to: `${POD}:80`, incoming: true, isn: 1000, begins: 'late', talk: encrypted });
  pod.tcp({ at: 1.01, from: '127.0.0.6:50000', to: `${POD}:80`, on: 'lo', isn: 5000, talk: [['C', proxied], 0.1, ['S', OK]] });
  pod.tcp({ at: 1.02, from: '127.0.0.1:51000', to: '127.0.0.1:8080', on: 'lo', isn: 6000, talk: [['C', proxied], 0.05, ['S', OK]] });
  pod.tcp({ at: 1, from: '10.0.0.21:41000', to: `${POD}:8080`, incoming: true, isn: 7000, begins: 'late', talk: encrypted });
  const paths = told(recordsOf(makeRecording([pod])));
  assert.deepEqual(
    paths.filter((path) => path.startsWith('41000 > 51000')),
    [],
    paths.join(', '),
  );
});

for (const name of ['inbound|80|http|shop.default.svc.cluster.local', 'inbound|80||'])
  test(`before Istio 1.10 a cluster has the service's port in its name, and the application's in its endpoint: ${name}`, () => {
    const cluster = {
      name,
      type: 'STATIC',
      load_assignment: {
        cluster_name: name,
        endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: '127.0.0.1', port_value: 8080 } } } }] }],
      },
    };
    const routes = [{ name: 'inbound|http|80', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster: name } }] }];
    const chain = { filter_chain_match: { destination_port: 8080 }, filters: [httpManager({ inline: { name, virtual_hosts: routes } })] };
    const dump = makeDump({
      listeners: [listener('virtualInbound', '0.0.0.0:15006', { traffic_direction: 'INBOUND', filter_chains: [chain] })],
      clusters: [cluster, { name: 'InboundPassthroughClusterIpv4', type: 'ORIGINAL_DST', lb_policy: 'CLUSTER_PROVIDED' }],
    });
    const pod = new MadeNamespace('default/shop', POD).file('iptables-save', sidecarRules()).file('config_dump', JSON.stringify(dump));
    pod.tcp({ at: 1, from: `${PEER}:40000`, to: `${POD}:8080`, incoming: true, isn: 1000, talk: [['C', proxied], 0.1, ['S', OK]] });
    pod.tcp({ at: 1.01, from: '127.0.0.1:50000', to: '127.0.0.1:8080', on: 'lo', isn: 5000, talk: [['C', proxied], 0.05, ['S', OK]] });
    assert.deepEqual(told(recordsOf(makeRecording([pod]))), ['40000 > 50000 /x a observed']);
  });
