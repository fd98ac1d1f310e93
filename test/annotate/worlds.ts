/** Small worlds for the tests of annotate/ and path/: a namespace with rules, and whatever else a test wants to be known of it. */
import { annotate } from '../../src/annotate/annotate.ts';
import { pairByConntrack } from '../../src/annotate/halves.ts';
import { findProxyPorts } from '../../src/annotate/proxy-ports.ts';
import { RuleJudge } from '../../src/annotate/rule.ts';
import type { Subject } from '../../src/annotate/subject.ts';
import { isAnswerHalf, readFlow } from '../../src/flow/flow.ts';
import { NamespaceFlows } from '../../src/flow/namespace-flows.ts';
import { KubeNames } from '../../src/kube/names.ts';
import { parseKubeObjects } from '../../src/kube/objects.ts';
import { RecordedWorld, type WorldFile } from '../../src/world/build.ts';
import type { Scope } from '../../src/world/world.ts';
import { packetOf, type Shown } from '../flow/packets.ts';

export const POD = '10.244.1.10';
export const PEER = '10.244.1.20';
export const BASE = { epochSeconds: Date.parse('2026-11-23T07:00:00Z') / 1000 };

/** What istio-iptables writes for a sidecar, without IPv6: port 3306 goes past the proxy, and so do 15090, 15021, 15020 on the way in. */
export const SIDECAR = `*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:ISTIO_INBOUND - [0:0]
:ISTIO_IN_REDIRECT - [0:0]
:ISTIO_OUTPUT - [0:0]
:ISTIO_REDIRECT - [0:0]
-A PREROUTING -p tcp -j ISTIO_INBOUND
-A OUTPUT -j ISTIO_OUTPUT
-A ISTIO_INBOUND -p tcp -m tcp --dport 15008 -j RETURN
-A ISTIO_INBOUND -p tcp -m tcp --dport 15090 -j RETURN
-A ISTIO_INBOUND -p tcp -m tcp --dport 15021 -j RETURN
-A ISTIO_INBOUND -p tcp -m tcp --dport 15020 -j RETURN
-A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT
-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006
-A ISTIO_OUTPUT -p tcp -m tcp --dport 3306 -j RETURN
-A ISTIO_OUTPUT -s 127.0.0.6/32 -o lo -j RETURN
-A ISTIO_OUTPUT ! -d 127.0.0.1/32 -o lo -p tcp -m tcp ! --dport 15008 -m owner --uid-owner 1337 -j ISTIO_IN_REDIRECT
-A ISTIO_OUTPUT -o lo -m owner ! --uid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN
-A ISTIO_OUTPUT ! -d 127.0.0.1/32 -o lo -p tcp -m tcp ! --dport 15008 -m owner --gid-owner 1337 -j ISTIO_IN_REDIRECT
-A ISTIO_OUTPUT -o lo -m owner ! --gid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -m owner --gid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN
-A ISTIO_OUTPUT -j ISTIO_REDIRECT
-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001
COMMIT
`;

export interface Known {
  /** Text by kind: `iptables-save`, `conntrack`, `sockets`, … */
  readonly files?: { readonly [kind: string]: string };
  readonly readAt?: string;
  readonly interfaces?: Scope['interfaces'];
  /** `kubectl get pods,services -o json`. */
  readonly objects?: object;
}

const INTERFACES: Scope['interfaces'] = [
  { index: 1, name: 'lo', addresses: ['127.0.0.1', '::1'] },
  { index: 2, name: 'eth0', addresses: [POD, 'fd00::10'] },
];

export function worldOf({ files = { 'iptables-save': SIDECAR }, readAt, interfaces = INTERFACES, objects }: Known = {}): RecordedWorld {
  const names = objects === undefined ? new KubeNames() : new KubeNames(parseKubeObjects(JSON.stringify(objects), 'objects.json'));
  const given = Object.entries(files).map(([kind, text]) => ({
    kind: kind as WorldFile['kind'],
    name: kind,
    ...(readAt === undefined ? {} : { readAt }),
    read: () => Buffer.from(text),
  }));
  return new RecordedWorld({ node: 'node', netns: 'ns', interfaces }, given, names, BASE);
}

/** All connections of these packets, judged in this world. */
export function judged(packets: readonly Shown[], world: RecordedWorld): Subject[] {
  const flows = new NamespaceFlows({ follow: 'all' });
  for (const shown of packets) flows.observe(packetOf(shown), 0);
  flows.finish();
  if (world.conntrack !== undefined) pairByConntrack(flows, world.conntrack);
  return subjectsOf(flows, world);
}

export function subjectsOf(flows: NamespaceFlows, world: RecordedWorld): Subject[] {
  const rules = ([4, 6] as const).flatMap((family) => world.rulesAt(family, 0) ?? []);
  const context = { world, base: BASE, judge: new RuleJudge(), ports: findProxyPorts(world, rules), fileInterfaces: () => undefined };
  const subjects: Subject[] = [];
  for (let slot = 0; slot < flows.table.count; slot++)
    if (!isAnswerHalf(flows.table, slot))
      subjects.push(annotate(readFlow(flows.table, slot), flows.extraOf(slot), flows.trackerOf(slot), context));
  return subjects;
}

/** A TCP connection that was opened and answered, as its wire shows it; `asked` and `to` where the answers come from another tuple (redirected in OUTPUT). */
export function opened(
  from: string,
  to: string,
  { asked = to, back = from, ifindex = 2, ms = 0 }: { asked?: string; back?: string; ifindex?: number; ms?: number } = {},
): Shown[] {
  return [
    { from, to, flags: 'S', seq: 1000 + ms, ifindex, ms },
    { from: asked, to: back, flags: 'SA', seq: 9000, ack: 1001 + ms, ifindex, ms: ms + 1 },
    { from, to, flags: 'A', seq: 1001 + ms, ack: 9001, ifindex, ms: ms + 2 },
  ];
}

/** A line of `ss -tunaepH`. */
export function socket(local: string, peer: string, uid: number, process: string, state = 'ESTAB'): string {
  return `tcp ${state} 0 0 ${local} ${peer} users:(("${process}",pid=7,fd=3)) uid:${uid} ino:1 sk:1 <->`;
}
