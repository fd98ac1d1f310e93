/** Records put together by hand, as a small bookinfo would give them: a request from `client` on node-a to `productpage` on node-b, four legs in two namespaces. */
import type { Decision, FindingRecord, FlowRecord, LostRecord, PathRecord, RuleStep, TotalRecord } from '../../src/record/record.ts';

export const outboundSteps: RuleStep[] = [
  { table: 'nat', chain: 'OUTPUT', index: 1, text: '-p tcp -j ISTIO_OUTPUT' },
  { table: 'nat', chain: 'ISTIO_OUTPUT', index: 9, text: '-j ISTIO_REDIRECT' },
  { table: 'nat', chain: 'ISTIO_REDIRECT', index: 1, text: '-p tcp -j REDIRECT --to-ports 15001' },
];

export const inboundSteps: RuleStep[] = [
  { table: 'nat', chain: 'PREROUTING', index: 1, text: '-p tcp -j ISTIO_INBOUND' },
  { table: 'nat', chain: 'ISTIO_INBOUND', index: 5, text: '-p tcp -j ISTIO_IN_REDIRECT' },
  { table: 'nat', chain: 'ISTIO_IN_REDIRECT', index: 1, text: '-p tcp -j REDIRECT --to-ports 15006' },
];

export const outboundDecision: Decision = {
  outcome: 'forwarded',
  listener: '0.0.0.0_9080',
  chain: '',
  chainIndex: 0,
  route: 'default',
  virtualHost: 'productpage.default.svc.cluster.local:9080',
  cluster: 'outbound|9080||productpage.default.svc.cluster.local',
  endpoint: '10.244.2.14:9080',
  evidence: { listener: 'derived', chain: 'derived', route: 'derived', cluster: 'derived', endpoint: 'observed' },
  rejected: [{ candidate: 'virtual host details.default.svc.cluster.local:9080', because: 'earlier-match' }],
};

export const inboundDecision: Decision = {
  outcome: 'forwarded',
  listener: 'virtualInbound',
  chain: '0.0.0.0_9080',
  chainIndex: 7,
  route: 'default',
  virtualHost: 'inbound|http|9080',
  cluster: 'inbound|9080||',
  endpoint: '10.244.2.14:9080',
  evidence: { listener: 'derived', chain: 'derived', route: 'derived', cluster: 'derived', endpoint: 'derived' },
};

const base: FlowRecord = {
  type: 'flow',
  id: 'f0000000000000001',
  event: 'close',
  state: 'closed',
  node: 'node-a',
  netns: 'cni-client',
  protocol: 'tcp',
  first: '2026-11-23T06:22:45.519000000Z',
  last: '2026-11-23T06:22:45.540000000Z',
  source: { ip: '10.244.1.12', port: 40000 },
  destination: { ip: '192.0.2.9', port: 80 },
  interfaces: ['eth0'],
  roles: ['direct'],
  counters: { toDestination: { packets: 5, bytes: 412 }, toSource: { packets: 4, bytes: 5120 } },
  tcp: {
    flags: { toDestination: 'FIN,SYN,PSH,ACK', toSource: 'FIN,SYN,ACK' },
    isn: { toDestination: 4294967295, toSource: 7 },
    rttMs: 0.125,
    retransmissions: 0,
    outOfOrder: 0,
    zeroWindows: 0,
  },
};

/** A flow with the fields that every flow has, and those given. */
export function flowOf(fields: Partial<FlowRecord> = {}): FlowRecord {
  return { ...structuredClone(base), ...fields };
}

const client = { namespace: 'default', name: 'client', uid: 'u-client' };
const server = { namespace: 'default', name: 'productpage-v1-574c45789d-xg4k8', uid: 'u-productpage' };
const clientPeer = { ip: '10.244.1.12', pod: 'default/client', workload: 'default/client' };
const serverPeer = { ip: '10.244.2.14', port: 9080, pod: 'default/productpage-v1-574c45789d-xg4k8', workload: 'default/productpage-v1' };

export const requestFlows: FlowRecord[] = [
  flowOf({
    id: 'fa1',
    pod: client,
    source: { ...clientPeer, port: 58050 },
    destination: { ip: '10.96.141.2', port: 9080, service: 'default/productpage' },
    interfaces: ['lo'],
    roles: ['app-to-proxy'],
    translated: { source: { ip: '10.244.1.12', port: 58050 }, destination: { ip: '127.0.0.1', port: 15001 }, evidence: 'observed' },
    halves: { by: 'conntrack', evidence: 'observed' },
    owner: { uid: 1000, evidence: 'derived' },
    rule: { verdict: 'REDIRECT', port: 15001, evidence: 'observed', steps: outboundSteps },
    envoy: outboundDecision,
    paths: ['p1'],
  }),
  flowOf({
    id: 'fa2',
    pod: client,
    source: { ...clientPeer, port: 35590 },
    destination: serverPeer,
    roles: ['proxy-to-upstream'],
    rule: {
      verdict: 'ACCEPT',
      evidence: 'derived',
      steps: [{ table: 'nat', chain: 'ISTIO_OUTPUT', index: 4, text: '-m owner --uid-owner 1337 -j RETURN' }],
    },
    tls: {
      version: 'TLSv1.3',
      sni: 'outbound_.9080_._.productpage.default.svc.cluster.local',
      alpn: ['istio-http/1.1'],
      mutual: true,
      evidence: 'derived',
    },
    paths: ['p1'],
  }),
  flowOf({
    id: 'fb1',
    node: 'node-b',
    netns: 'cni-productpage',
    pod: server,
    source: { ...clientPeer, port: 35590 },
    destination: serverPeer,
    roles: ['client-to-proxy'],
    rule: { verdict: 'REDIRECT', port: 15006, evidence: 'observed', steps: inboundSteps },
    envoy: inboundDecision,
    tls: { version: 'TLSv1.3', sni: 'outbound_.9080_._.productpage.default.svc.cluster.local', mutual: true, evidence: 'derived' },
    paths: ['p1'],
  }),
  flowOf({
    id: 'fb2',
    node: 'node-b',
    netns: 'cni-productpage',
    pod: server,
    source: { ip: '127.0.0.6', port: 39217 },
    destination: serverPeer,
    interfaces: ['lo'],
    roles: ['proxy-to-app'],
    paths: ['p1'],
  }),
];

export const requestPath: PathRecord = {
  type: 'path',
  id: 'p1',
  event: 'close',
  of: 'request',
  first: '2026-11-23T06:22:45.519000000Z',
  last: '2026-11-23T06:22:45.532100000Z',
  complete: true,
  legs: requestFlows.map(({ id, roles, node, netns }) => ({ flow: id, roles, node, netns })),
  joins: [
    { from: 0, to: 1, by: 'order', evidence: 'derived' },
    { from: 1, to: 2, by: 'tuple', evidence: 'observed' },
    { from: 2, to: 3, by: 'order', evidence: 'ambiguous', candidates: ['fb2', 'fb3'], reason: 'several-upstreams' },
  ],
  request: { method: 'GET', authority: 'productpage:9080', path: '/productpage', status: 200, id: 'd411d171-31ec-456b-95a7-6788e5e732dd' },
  decisions: [
    { netns: 'cni-client', decision: outboundDecision },
    { netns: 'cni-productpage', decision: inboundDecision },
  ],
  latency: [
    { leg: 0, ms: 13.1, evidence: 'observed' },
    { leg: 1, ms: 12.2, evidence: 'derived' },
  ],
};

export const probe: FlowRecord = flowOf({
  id: 'fa3',
  pod: client,
  source: { ip: '10.244.1.1', port: 51000 },
  destination: { ...clientPeer, port: 15021 },
  roles: ['probe'],
  rule: {
    verdict: 'ACCEPT',
    evidence: 'derived',
    steps: [inboundSteps[0]!, { table: 'nat', chain: 'ISTIO_INBOUND', index: 3, text: '-p tcp --dport 15021 -j RETURN' }],
  },
});

export const question: FlowRecord = {
  ...flowOf({
    id: 'fa4',
    protocol: 'udp',
    pod: client,
    source: { ...clientPeer, port: 45678 },
    destination: { ip: '10.96.0.10', port: 53, service: 'kube-system/kube-dns' },
  }),
  dns: { question: 'productpage.default.svc.cluster.local', kind: 'A', rcode: 'NOERROR', answers: ['10.96.141.2'] },
};
delete question.tcp;

export const finding: FindingRecord = {
  type: 'finding',
  id: 'n1',
  rule: 'plain-text-into-strict',
  severity: 'error',
  title: 'Plain text was sent to a port that takes mutual TLS only',
  proof: ['no chain of virtualInbound matched', 'the proxy reset the connection'],
  fix: 'Give the client a sidecar, or set PeerAuthentication to PERMISSIVE.',
  flows: ['fb1'],
  paths: [],
};

export const lost: LostRecord = {
  type: 'lost',
  source: 'truncated',
  scope: { node: 'node-a', netns: 'cni-client' },
  count: 3,
  exact: false,
  total: 3,
  first: '2026-11-23T06:22:46.000000000Z',
  last: '2026-11-23T06:22:46.000000000Z',
  detail: 'Cannot read packet 17 of "packets.pcap": 96 bytes are needed, 12 are left',
};

export const total: TotalRecord = {
  type: 'total',
  packets: 1234,
  bytes: 1200345,
  flows: 6,
  paths: 1,
  findings: 1,
  lost: 3,
  unknown: { 'owner-unknown': 2, 'no-upstream-seen': 1 },
};

/** Everything above in an order in which a replay gives it. */
export const everything = [...requestFlows, requestPath, probe, question, lost, finding, total];
