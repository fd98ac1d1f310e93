/** Connections that a TCP proxy carries, although somebody could read requests in them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FlowRecord, PathRecord } from '../../src/record/record.ts';
import { listener, makeDump, tcpProxy } from '../envoy/configs.ts';
import { MadeNamespace, makeRecording, sidecarRules, type Talk } from '../findings/made-recording.ts';
import { recordsOf } from '../findings/replayed.ts';

const POD = '10.0.0.10';
const PEER = '10.0.0.20';

const dump = JSON.stringify(
  makeDump({
    listeners: [
      {
        ...listener('virtualInbound', '0.0.0.0:15006', { filter_chains: [{ filters: [tcpProxy('inbound|8072||')] }] }),
        traffic_direction: 'INBOUND',
      },
    ],
    clusters: [{ name: 'inbound|8072||', type: 'STATIC', load_assignment: endpoints(`${POD}:8071`) }],
  }),
);

function endpoints(target: string): object {
  const [address, port] = target.split(':');
  const socket = { address: { socket_address: { address, port_value: Number(port) } } };
  return { endpoints: [{ lb_endpoints: [{ endpoint: socket }] }] };
}

const ask = (path: string): Talk => [
  ['C', `GET ${path} HTTP/1.1\r\nhost: shop\r\n\r\n`],
  ['S', 'HTTP/1.1 200 Fine\r\ncontent-length: 2\r\n\r\nok'],
  '.C',
  '.S',
];

test('requests that go by as bytes are paths of their connections, each joined with the one that carries the same requests', () => {
  const pod = new MadeNamespace('default/shop', POD).file('iptables-save', sidecarRules()).file('config_dump', dump);
  for (const [i, path] of ['/a', '/b'].entries()) {
    pod.tcp({ at: 1, from: `${PEER}:4000${i}`, to: `${POD}:8072`, incoming: true, isn: 1000 + i, talk: ask(path) });
    pod.tcp({ at: 1.0001, from: `127.0.0.6:5000${i}`, to: `${POD}:8071`, on: 'lo', isn: 5000 + i, talk: ask(path) });
  }
  const records = recordsOf(makeRecording([pod]));
  const flows = new Map(records.flatMap((record) => (record.type === 'flow' ? [[record.id, record]] : [])) as [string, FlowRecord][]);
  const paths = records.filter((record): record is PathRecord => record.type === 'path');
  assert.deepEqual(
    paths
      .map(
        (path) =>
          `${path.of} ${path.legs.map((leg) => flows.get(leg.flow)!.source.port).join(' > ')} ${path.joins.map(({ evidence }) => evidence)} ${path.decisions?.[0]?.decision.endpoint}`,
      )
      .sort(),
    [`connection 40000 > 50000 derived ${POD}:8071`, `connection 40001 > 50001 derived ${POD}:8071`],
  );
});
