/** The parts that a verdict is made of: where a connection was seen, whose addresses are ours, the ports of the proxy, names, TLS. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressesSeen } from '../../src/annotate/local.ts';
import { findPlace, interfaceName } from '../../src/annotate/place.ts';
import { ownerOfProxy } from '../../src/annotate/proxy-owner.ts';
import { findProxyPorts } from '../../src/annotate/proxy-ports.ts';
import { NamespaceFlows } from '../../src/flow/namespace-flows.ts';
import { FILE_INTERFACE } from '../../src/flow/slot.ts';
import { packetOf, type Shown } from '../flow/packets.ts';
import { tlsRecord } from '../flow/tls-records.ts';
import { judged, opened, PEER, POD, SIDECAR, socket, worldOf } from './worlds.ts';

test('interfaces are named by the namespace, by the file, or by what is known of them', () => {
  const world = worldOf();
  assert.equal(
    interfaceName(world, 2, () => undefined),
    'eth0',
  );
  assert.equal(
    interfaceName(world, 7, () => undefined),
    'if7',
  );
  assert.equal(
    interfaceName(worldOf({ interfaces: [] }), 1, () => undefined),
    'lo',
  );
  assert.equal(
    interfaceName(world, FILE_INTERFACE | 3, (id) => `file's ${id}`),
    "file's 3",
  );
  assert.equal(
    interfaceName(world, FILE_INTERFACE | 3, () => undefined),
    'file3',
  );
});

test('the hook and the interfaces of a route', () => {
  const world = worldOf();
  const at = (source: string, destination: string, ...interfaces: string[]) => {
    const { hook, in: from, out } = findPlace(world, { ip: source, port: 1 }, { ip: destination, port: 2 }, interfaces);
    return [hook, from, out];
  };
  assert.deepEqual(at(POD, PEER, 'eth0'), ['OUTPUT', undefined, 'eth0']);
  assert.deepEqual(at(POD, PEER, 'lo'), ['OUTPUT', undefined, 'eth0'], 'redirected: seen on lo, routed to the only interface there is');
  assert.deepEqual(at(POD, POD, 'lo'), ['OUTPUT', undefined, 'lo']);
  assert.deepEqual(at('127.0.0.6', POD, 'lo'), ['OUTPUT', undefined, 'lo']);
  assert.deepEqual(at(PEER, POD, 'lo'), ['OUTPUT', undefined, 'lo'], 'a transparent socket');
  assert.deepEqual(at(PEER, POD, 'eth0'), ['PREROUTING', 'eth0', undefined]);
  const two = worldOf({
    interfaces: [
      { index: 2, name: 'eth0', addresses: [POD] },
      { index: 3, name: 'net1', addresses: ['10.9.0.1'] },
    ],
  });
  assert.equal(findPlace(two, { ip: POD, port: 1 }, { ip: PEER, port: 2 }, ['lo']).out, undefined, 'two ways out: nobody knows which');
  const bare = worldOf({ interfaces: [] });
  assert.equal(
    findPlace(bare, { ip: POD, port: 1 }, { ip: PEER, port: 2 }, ['eth0']).hook,
    undefined,
    'whose addresses are ours is not known',
  );
});

test('own addresses, where nobody tells them: from which packets left, to which they came, and what is opened on lo', () => {
  const seen = (...packets: Shown[]) => {
    const flows = new NamespaceFlows({ follow: 'hello' });
    for (const packet of packets) flows.observe(packetOf(packet), 0);
    return [...addressesSeen(flows.table)].sort();
  };
  const OUT = 4;
  const TO_US = 0;
  assert.deepEqual(seen({ from: `${POD}:1`, to: `${PEER}:2`, flags: 'S', packetType: OUT }), [POD]);
  assert.deepEqual(seen({ from: `${PEER}:1`, to: `${POD}:2`, flags: 'S', packetType: TO_US }), [POD]);
  assert.deepEqual(seen({ from: `${PEER}:1`, to: `${POD}:2`, flags: 'S' }), [], 'a capture that does not tell which way');
  assert.deepEqual(
    seen(
      { from: '192.0.2.1:1', to: '192.0.2.2:2', packetType: TO_US, ifindex: 2 },
      { from: '192.0.2.1:1', to: '192.0.2.2:2', packetType: OUT, ifindex: 3 },
    ),
    [],
    'passed through',
  );
  assert.deepEqual(seen({ from: `${POD}:1`, to: '127.0.0.1:15001', flags: 'S', ifindex: 1, packetType: OUT }), [POD], 'redirected');
  assert.deepEqual(seen({ from: '127.0.0.6:1', to: `${POD}:9080`, flags: 'S', ifindex: 1, packetType: OUT }), [POD]);
  assert.deepEqual(
    seen({ from: `${PEER}:1`, to: `${POD}:9080`, flags: 'S', ifindex: 1, packetType: OUT }),
    [POD],
    'a transparent socket sends as somebody else',
  );
  assert.deepEqual(seen({ from: '10.96.0.50:80', to: `${POD}:1`, flags: 'SA', ifindex: 1, packetType: OUT }), [], 'an answer says nothing');
  assert.deepEqual(seen({ from: '[fe80::1]:1', to: '[ff02::2]:2', protocol: 17, packetType: TO_US }), [], 'multicast is nobody');
});

test('the ports of the proxy come from the rules; the well-known ones only where a proxy lives', () => {
  const of = (files: { [kind: string]: string }) => {
    const world = worldOf({ files });
    return findProxyPorts(
      world,
      [world.rulesAt(4, 0)].filter((held) => held !== undefined),
    );
  };
  const sidecar = of({ 'iptables-save': SIDECAR });
  assert.deepEqual([[...sidecar.outbound], [...sidecar.inbound], sidecar.captures, sidecar.hasProxy], [[15_001], [15_006], true, true]);
  const moved = of({ 'iptables-save': SIDECAR.replaceAll('15001', '25001').replaceAll('15006', '25006') });
  assert.deepEqual([[...moved.outbound], [...moved.inbound]], [[25_001], [25_006]]);
  const none = of({});
  assert.deepEqual([none.captures, none.hasProxy, [...none.admin], [...none.inboundBind]], [false, false, [], []]);
  const bySocket = of({ sockets: socket('0.0.0.0:8443', '0.0.0.0:*', 1337, 'envoy', 'LISTEN') });
  assert.deepEqual([bySocket.hasProxy, bySocket.captures], [true, false]);
});

test('as whom the proxy runs: the user that listens where the rules send connections', () => {
  const of = (...lines: string[]) => {
    const world = worldOf({ files: { 'iptables-save': SIDECAR, sockets: lines.join('\n') } });
    return ownerOfProxy(world, findProxyPorts(world, [world.rulesAt(4, 0)!]));
  };
  assert.deepEqual(
    of(socket('0.0.0.0:15006', '0.0.0.0:*', 1337, 'envoy', 'LISTEN'), socket('0.0.0.0:9080', '0.0.0.0:*', 1000, 'app', 'LISTEN')),
    { uid: 1337 },
  );
  assert.deepEqual(of(socket('0.0.0.0:15006', '0.0.0.0:*', 0, 'envoy', 'LISTEN')), { uid: 0 });
  assert.equal(of(socket('0.0.0.0:9080', '0.0.0.0:*', 1000, 'app', 'LISTEN')), undefined);
  assert.equal(
    of(socket('0.0.0.0:15006', '0.0.0.0:*', 1337, 'envoy', 'LISTEN'), socket('0.0.0.0:15001', '0.0.0.0:*', 0, 'envoy', 'LISTEN')),
    undefined,
    'two users',
  );
});

const OBJECTS = {
  apiVersion: 'v1',
  kind: 'List',
  items: [
    {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        namespace: 'default',
        name: 'shop-7d4b9c-x',
        uid: 'p',
        labels: { app: 'shop', 'pod-template-hash': '7d4b9c' },
        ownerReferences: [{ kind: 'ReplicaSet', name: 'shop-7d4b9c', controller: true }],
      },
      spec: { containers: [] },
      status: { phase: 'Running', podIP: PEER, podIPs: [{ ip: PEER }] },
    },
    {
      kind: 'Service',
      metadata: { namespace: 'default', name: 'shop' },
      spec: {
        selector: { app: 'shop' },
        clusterIPs: ['10.96.0.50'],
        clusterIP: '10.96.0.50',
        ports: [{ port: 80, targetPort: 9080, protocol: 'TCP' }],
      },
    },
  ],
};

test('both ends are named: a service by its own address, a pod with its workload and the one service of its port', () => {
  const world = worldOf({ objects: OBJECTS });
  const [toService] = judged(opened(`${POD}:1000`, '127.0.0.1:15001', { asked: '10.96.0.50:80', ifindex: 1 }), world);
  assert.deepEqual(toService!.record.destination, { ip: '10.96.0.50', port: 80, service: 'default/shop' });
  const [toPod] = judged(opened(`${POD}:1001`, `${PEER}:9080`), world);
  assert.deepEqual(toPod!.record.destination, {
    ip: PEER,
    port: 9080,
    pod: 'default/shop-7d4b9c-x',
    workload: 'default/shop',
    service: 'default/shop',
  });
  const [otherPort] = judged(opened(`${POD}:1002`, `${PEER}:7`), world);
  assert.deepEqual(otherPort!.record.destination, { ip: PEER, port: 7, pod: 'default/shop-7d4b9c-x', workload: 'default/shop' });
  assert.deepEqual(toPod!.record.source, { ip: POD, port: 1001 }, 'nobody told who this is');
});

test('TLS without being opened: the version, the server name, the protocols, and whether it is of the mesh', () => {
  const hello = (serverName: string, alpn: string[], answered = true): Shown[] => {
    const client = tlsRecord.clientHello(serverName, alpn);
    return [
      ...opened(`${POD}:1000`, `${PEER}:9080`),
      { from: `${POD}:1000`, to: `${PEER}:9080`, flags: 'PA', seq: 1001, ack: 9001, payload: client, ms: 5 },
      ...(answered
        ? [
            {
              from: `${PEER}:9080`,
              to: `${POD}:1000`,
              flags: 'PA',
              seq: 9001,
              ack: 1001 + client.length,
              payload: tlsRecord.serverHello(true),
              ms: 6,
            },
          ]
        : []),
    ];
  };
  const told = (packets: Shown[]) => judged(packets, worldOf())[0]!.record.tls;
  const name = 'outbound_.9080_._.shop.default.svc.cluster.local';
  assert.deepEqual(told(hello(name, ['istio-http/1.1', 'istio'])), {
    version: 'TLSv1.3',
    sni: name,
    alpn: ['istio-http/1.1', 'istio'],
    mutual: true,
    evidence: 'derived',
  });
  assert.deepEqual(told(hello(name, [])), { version: 'TLSv1.3', sni: name, mutual: true, evidence: 'derived' });
  assert.deepEqual(
    told(hello('www.example.com', ['h2'], false)),
    { sni: 'www.example.com', alpn: ['h2'], evidence: 'observed' },
    'the application itself: nobody knows',
  );
  assert.equal(told(opened(`${POD}:1000`, `${PEER}:9080`)), undefined);
});

test('a hello of the mesh tells that the proxy sent it, where the owner is not known', () => {
  const client = tlsRecord.clientHello('outbound_.9080_._.shop.default.svc.cluster.local', ['istio']);
  const packets = [
    ...opened(`${POD}:1000`, `${PEER}:9080`),
    { from: `${POD}:1000`, to: `${PEER}:9080`, flags: 'PA', seq: 1001, ack: 9001, payload: client, ms: 5 },
  ];
  const [subject] = judged(packets, worldOf());
  assert.equal(subject!.judgement.byNamedOwner, true);
});
