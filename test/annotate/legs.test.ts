/** Each leg of the detour through a sidecar, as its packets and what is known of the namespace tell it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IPPROTO_UDP } from '../../src/decode/packet.ts';
import { formatEndpoint } from '../../src/net/address.ts';
import type { FlowRecord, Leg } from '../../src/record/record.ts';
import type { Shown } from '../flow/packets.ts';
import { judged, type Known, opened, PEER, POD, SIDECAR, socket, worldOf } from './worlds.ts';

const LO = 1;
const VIP = '10.96.0.50:80';

const proxySockets = [
  socket('0.0.0.0:15001', '0.0.0.0:*', 1337, 'envoy', 'LISTEN'),
  socket('0.0.0.0:15006', '0.0.0.0:*', 1337, 'envoy', 'LISTEN'),
];

function withSockets(...lines: string[]): Known {
  return { files: { 'iptables-save': SIDECAR, sockets: [...proxySockets, ...lines].join('\n') } };
}

const DNS_RULES = SIDECAR.replace(
  '-A ISTIO_OUTPUT -p tcp -m tcp --dport 3306 -j RETURN\n',
  '-A ISTIO_OUTPUT -p udp -m udp --dport 53 -m owner --uid-owner 1337 -j RETURN\n-A ISTIO_OUTPUT -d 10.96.0.10/32 -p udp -m udp --dport 53 -j REDIRECT --to-ports 15053\n',
);

const query = (id: number, response: boolean) =>
  Uint8Array.from([0, id, response ? 0x81 : 1, response ? 0x80 : 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 97, 0, 0, 1, 0, 1]);
const udp = (from: string, to: string, response: boolean, ifindex: number, ms = 0): Shown => ({
  from,
  to,
  protocol: IPPROTO_UDP,
  payload: query(7, response),
  ifindex,
  ms,
});

/** A cluster of one endpoint, as /config_dump?include_eds prints it. */
const CONFIG_DUMP = JSON.stringify({
  configs: [
    {
      '@type': 'type.googleapis.com/envoy.admin.v3.BootstrapConfigDump',
      bootstrap: { admin: { address: { socket_address: { address: '127.0.0.1', port_value: 15000 } } } },
    },
    {
      '@type': 'type.googleapis.com/envoy.admin.v3.ClustersConfigDump',
      dynamic_active_clusters: [
        { cluster: { '@type': 'type.googleapis.com/envoy.config.cluster.v3.Cluster', name: 'outbound|80||shop', type: 'EDS' } },
      ],
    },
    {
      '@type': 'type.googleapis.com/envoy.admin.v3.ListenersConfigDump',
      dynamic_listeners: [
        {
          name: 'gateway',
          active_state: {
            listener: {
              '@type': 'type.googleapis.com/envoy.config.listener.v3.Listener',
              name: 'gateway',
              address: { socket_address: { address: '0.0.0.0', port_value: 8443 } },
            },
          },
        },
      ],
    },
    {
      '@type': 'type.googleapis.com/envoy.admin.v3.EndpointsConfigDump',
      dynamic_endpoint_configs: [
        {
          endpoint_config: {
            '@type': 'type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment',
            cluster_name: 'outbound|80||shop',
            endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: PEER, port_value: 9080 } } } }] }],
          },
        },
      ],
    },
  ],
});

const GATEWAY: Known = { files: { config_dump: CONFIG_DUMP } };
const CONFIGURED: Known = { files: { 'iptables-save': SIDECAR, config_dump: CONFIG_DUMP } };

interface Row {
  readonly title: string;
  readonly packets: readonly Shown[];
  readonly known?: Known;
  readonly roles: readonly Leg[];
  readonly rule: string;
}

const TPROXY = `*mangle
:PREROUTING ACCEPT [0:0]
-A PREROUTING -p tcp -j ISTIO_INBOUND
-A ISTIO_INBOUND -p tcp -m mark --mark 0x539 -j RETURN
-A ISTIO_INBOUND -s 127.0.0.6/32 -i lo -p tcp -j RETURN
-A ISTIO_INBOUND -i lo -p tcp -m mark ! --mark 0x53a -j RETURN
-A ISTIO_INBOUND -p tcp -m conntrack --ctstate RELATED,ESTABLISHED -j ISTIO_DIVERT
-A ISTIO_INBOUND -p tcp -j ISTIO_TPROXY
-A ISTIO_DIVERT -j MARK --set-xmark 0x539/0xffffffff
-A ISTIO_DIVERT -j ACCEPT
-A ISTIO_TPROXY ! -d 127.0.0.1/32 -p tcp -j TPROXY --on-port 15006 --on-ip 0.0.0.0 --tproxy-mark 0x539/0xffffffff
COMMIT
${SIDECAR.replace('-A PREROUTING -p tcp -j ISTIO_INBOUND\n', '')}`;

const rows: readonly Row[] = [
  {
    title: 'an application calls a service: redirected to 15001',
    packets: opened(`${POD}:41166`, '127.0.0.1:15001', { asked: VIP, ifindex: LO }),
    roles: ['app-to-proxy'],
    rule: 'REDIRECT 15001 derived',
  },
  {
    title: 'an application calls a pod by its address: redirected to 15001 all the same',
    packets: opened(`${POD}:33100`, '127.0.0.1:15001', { asked: `${PEER}:9080`, ifindex: LO }),
    roles: ['app-to-proxy'],
    rule: 'REDIRECT 15001 derived',
  },
  {
    title: 'the proxy connects to an endpoint: its socket was listed',
    packets: opened(`${POD}:57142`, `${PEER}:9080`),
    known: { files: { ...withSockets(socket(`${POD}:57142`, `${PEER}:9080`, 1337, 'envoy')).files, config_dump: CONFIG_DUMP } },
    roles: ['proxy-to-upstream'],
    rule: 'ACCEPT derived',
  },
  {
    title:
      'the proxy connects to an endpoint: only somebody whom the rules spare can have sent it past the redirect, and it is an endpoint',
    packets: opened(`${POD}:57142`, `${PEER}:9080`),
    known: CONFIGURED,
    roles: ['proxy-to-upstream'],
    rule: 'ACCEPT derived owner-unknown',
  },
  {
    title: 'an application with the uid of the proxy, or the proxy: without more nobody can tell',
    packets: opened(`${POD}:44926`, `${PEER}:9080`),
    roles: ['unknown'],
    rule: 'ACCEPT derived owner-unknown',
  },
  {
    title: 'a client calls the application: redirected to 15006, which the wire does not show',
    packets: opened(`${PEER}:41692`, `${POD}:9080`),
    roles: ['client-to-proxy'],
    rule: 'REDIRECT 15006 derived',
  },
  {
    title: 'the proxy connects to the application from 127.0.0.6',
    packets: opened('127.0.0.6:57033', `${POD}:9080`, { ifindex: LO }),
    roles: ['proxy-to-app'],
    rule: 'ACCEPT derived',
  },
  {
    title: 'the proxy connects to the application as the client (TPROXY): a foreign address on lo',
    packets: opened(`${PEER}:57944`, `${POD}:9080`, { ifindex: LO }),
    known: { files: { 'iptables-save': TPROXY } },
    roles: ['proxy-to-app'],
    rule: 'ACCEPT derived',
  },
  {
    title: 'a client calls the application: TPROXY',
    packets: opened(`${PEER}:57942`, `${POD}:9080`),
    known: { files: { 'iptables-save': TPROXY } },
    roles: ['client-to-proxy'],
    rule: 'TPROXY 15006 derived',
  },
  {
    title: 'the pod calls itself through its proxy: sent and received by it',
    packets: opened(`${POD}:49616`, '127.0.0.1:15006', { asked: `${POD}:9080`, ifindex: LO }),
    roles: ['proxy-to-upstream', 'client-to-proxy'],
    rule: 'REDIRECT 15006 derived',
  },
  {
    title: 'the application calls its own address: not redirected',
    packets: opened(`${POD}:49628`, `${POD}:9080`, { ifindex: LO }),
    roles: ['app-to-self'],
    rule: 'ACCEPT derived',
  },
  {
    title: 'the application calls 127.0.0.1',
    packets: opened('127.0.0.1:38346', '127.0.0.1:7070', { ifindex: LO }),
    roles: ['loopback'],
    rule: 'ACCEPT derived owner-unknown',
  },
  {
    title: "somebody asks Envoy's admin port",
    packets: opened('127.0.0.1:38346', '127.0.0.1:15000', { ifindex: LO }),
    roles: ['admin'],
    rule: 'ACCEPT derived owner-unknown',
  },
  {
    title: 'an excluded port leaves directly: the proxy has no endpoint there',
    packets: opened(`${POD}:44290`, `${PEER}:3306`),
    known: CONFIGURED,
    roles: ['direct'],
    rule: 'ACCEPT derived',
  },
  {
    title: 'a namespace without rules and without a proxy',
    packets: opened(`${POD}:44290`, `${PEER}:3306`),
    known: { files: {} },
    roles: ['direct'],
    rule: 'ACCEPT observed no-rules',
  },
  {
    title: 'an excluded port comes in directly: readiness',
    packets: opened(`${PEER}:48850`, `${POD}:15021`),
    roles: ['probe'],
    rule: 'ACCEPT derived',
  },
  {
    title: 'an excluded port comes in directly: metrics',
    packets: opened(`${PEER}:48850`, `${POD}:15090`),
    roles: ['telemetry'],
    rule: 'ACCEPT derived',
  },
  {
    title: 'the port of the agent, asked for the health of the application: a probe',
    packets: [
      ...opened(`${PEER}:48850`, `${POD}:15020`),
      {
        from: `${PEER}:48850`,
        to: `${POD}:15020`,
        flags: 'PA',
        seq: 1001,
        ack: 9001,
        payload: 'GET /app-health/shop/livez HTTP/1.1\r\nHost: x\r\n\r\n',
        ms: 5,
      },
    ],
    roles: ['probe'],
    rule: 'ACCEPT derived',
  },
  {
    title: 'the port of the agent, nobody knows for what: mostly metrics',
    packets: opened(`${PEER}:48850`, `${POD}:15020`),
    roles: ['telemetry'],
    rule: 'ACCEPT derived',
  },
  { title: 'HBONE', packets: opened(`${PEER}:41000`, `${POD}:15008`), roles: ['hbone'], rule: 'ACCEPT derived' },
  {
    title: 'the agent speaks to the control plane',
    packets: opened(`${POD}:36900`, '10.96.167.71:15012'),
    known: withSockets(socket(`${POD}:36900`, '10.96.167.71:15012', 1337, 'pilot-agent')),
    roles: ['control'],
    rule: 'ACCEPT derived',
  },
  {
    title: 'the agent asks for the metadata of a cloud: nobody else is served by it',
    packets: opened(`${POD}:51788`, '169.254.169.254:80'),
    known: withSockets(socket(`${POD}:51788`, '169.254.169.254:80', 1337, 'pilot-agent')),
    roles: ['direct'],
    rule: 'ACCEPT derived',
  },
  {
    title: 'a socket of another user',
    packets: opened(`${POD}:44290`, `${PEER}:3306`),
    known: withSockets(socket(`${POD}:44290`, `${PEER}:3306`, 1000, 'mysql')),
    roles: ['direct'],
    rule: 'ACCEPT derived',
  },
  {
    title: 'DNS to the agent',
    packets: [udp(`${POD}:37404`, '127.0.0.1:15053', false, LO), udp('10.96.0.10:53', `${POD}:37404`, true, LO, 1)],
    known: { files: { 'iptables-save': DNS_RULES } },
    roles: ['app-to-dns-agent'],
    rule: 'REDIRECT 15053 derived',
  },
  {
    title: 'the agent asks the resolver',
    packets: [udp(`${POD}:58719`, '10.96.0.10:53', false, 2), udp('10.96.0.10:53', `${POD}:58719`, true, 2, 1)],
    known: { files: { 'iptables-save': DNS_RULES } },
    roles: ['dns-agent-to-resolver'],
    rule: 'ACCEPT derived',
  },
  {
    title: 'DNS that no rule takes',
    packets: [udp(`${POD}:58719`, '10.96.0.10:53', false, 2)],
    roles: ['direct'],
    rule: 'ACCEPT derived owner-unknown',
  },
  {
    title: 'a gateway listens without rules',
    packets: opened(`${PEER}:41692`, `${POD}:8443`),
    known: GATEWAY,
    roles: ['client-to-proxy'],
    rule: 'unknown unavailable no-rules',
  },
  {
    title: 'a gateway connects to an endpoint',
    packets: opened(`${POD}:41692`, `${PEER}:9080`),
    known: GATEWAY,
    roles: ['proxy-to-upstream'],
    rule: 'ACCEPT observed no-rules',
  },
  {
    title: 'the rules take what only passes through, too',
    packets: opened('192.0.2.1:40000', '192.0.2.2:80'),
    roles: ['client-to-proxy'],
    rule: 'REDIRECT 15006 derived',
  },
  {
    title: 'IPv6 without rules for it goes past the proxy',
    packets: opened('[fd00::10]:57778', '[fd00::20]:9081'),
    roles: ['unknown'],
    rule: 'ACCEPT observed no-rules',
  },
];

function ruleOf({ rule }: FlowRecord): string {
  const { verdict, port, evidence, reason } = rule!;
  return [verdict, port, evidence, reason].filter((part) => part !== undefined).join(' ');
}

for (const { title, packets, known, roles, rule } of rows)
  test(`${roles.join(' + ')}: ${title}`, () => {
    const [subject, ...others] = judged(packets, worldOf(known));
    assert.deepEqual(others, []);
    assert.deepEqual([subject!.record.roles, ruleOf(subject!.record)], [roles, rule]);
  });

test('the table has every leg but those that only joins reveal', () => {
  const all: { [leg in Leg]: true } = {
    'app-to-proxy': true,
    'proxy-to-upstream': true,
    'client-to-proxy': true,
    'proxy-to-app': true,
    'app-to-self': true,
    direct: true,
    'app-to-dns-agent': true,
    'dns-agent-to-resolver': true,
    hbone: true,
    probe: true,
    control: true,
    telemetry: true,
    admin: true,
    loopback: true,
    unknown: true,
  };
  assert.deepEqual([...new Set(rows.flatMap(({ roles }) => roles))].sort(), Object.keys(all).sort());
});

test('half of a redirected connection, alone, is no leg that anybody could name', () => {
  const all = opened(`${POD}:41166`, '127.0.0.1:15001', { asked: VIP, ifindex: LO });
  const halves: [title: string, packets: Shown[]][] = [
    ['the questions', all.filter(({ to }) => to === '127.0.0.1:15001')],
    ['the answers, from the SYN/ACK on', all.filter(({ from }) => from === VIP)],
    ['the answers, joined in the middle', [{ from: VIP, to: `${POD}:41166`, flags: 'PA', seq: 5, ack: 9, payload: 10, ifindex: LO }]],
    [
      'the questions, joined in the middle',
      [{ from: `${POD}:41166`, to: '127.0.0.1:15001', flags: 'PA', seq: 5, ack: 9, payload: 10, ifindex: LO }],
    ],
    ['the questions over IPv6', [{ from: '[fd00::10]:41166', to: '[::1]:15001', flags: 'PA', seq: 5, ack: 9, payload: 10, ifindex: LO }]],
  ];
  for (const [title, packets] of halves) {
    const [subject] = judged(packets, worldOf());
    assert.deepEqual(subject!.record.roles, ['unknown'], title);
    assert.equal(ruleOf(subject!.record), 'unknown unavailable half-unseen', title);
  }
});

/** interception.md 2.2: what each side of conntrack says of a leg. */
test('what netfilter made of a connection, from the wire alone and with conntrack', () => {
  const entry = (source: string, destination: string, replySource: string, replyDestination: string) => {
    const end = (text: string) => text.split(':');
    const [src, sport] = end(source);
    const [dst, dport] = end(destination);
    const [rsrc, rsport] = end(replySource);
    const [rdst, rdport] = end(replyDestination);
    return `ipv4 2 tcp 6 119 TIME_WAIT src=${src} dst=${dst} sport=${sport} dport=${dport} src=${rsrc} dst=${rdst} sport=${rsport} dport=${rdport} [ASSURED] mark=0 id=7`;
  };
  const table: [title: string, packets: Shown[], conntrack: string, translated: string | undefined, derived: boolean][] = [
    [
      'redirected on its way out',
      opened(`${POD}:41166`, '127.0.0.1:15001', { asked: VIP, ifindex: LO }),
      entry(`${POD}:41166`, VIP, '127.0.0.1:15001', `${POD}:41166`),
      `${POD}:41166 > 127.0.0.1:15001`,
      true,
    ],
    [
      'redirected on its way out, with another source port',
      opened(`${POD}:55763`, '127.0.0.1:15001', { asked: VIP, back: `${POD}:45000`, ifindex: LO }),
      entry(`${POD}:45000`, VIP, '127.0.0.1:15001', `${POD}:55763`),
      `${POD}:55763 > 127.0.0.1:15001`,
      true,
    ],
    [
      'redirected on its way in: only conntrack saw it',
      opened(`${PEER}:41692`, `${POD}:9080`),
      entry(`${PEER}:41692`, `${POD}:9080`, `${POD}:15006`, `${PEER}:41692`),
      `${PEER}:41692 > ${POD}:15006`,
      false,
    ],
    [
      'sent to an endpoint',
      opened(`${POD}:57142`, `${PEER}:9080`),
      entry(`${POD}:57142`, `${PEER}:9080`, `${PEER}:9080`, `${POD}:57142`),
      undefined,
      false,
    ],
    [
      'sent to the application',
      opened('127.0.0.6:57033', `${POD}:9080`, { ifindex: LO }),
      entry('127.0.0.6:57033', `${POD}:9080`, `${POD}:9080`, '127.0.0.6:57033'),
      undefined,
      false,
    ],
    [
      'the pod calls itself',
      opened(`${POD}:49616`, '127.0.0.1:15006', { asked: `${POD}:9080`, ifindex: LO }),
      entry(`${POD}:49616`, `${POD}:9080`, '127.0.0.1:15006', `${POD}:49616`),
      `${POD}:49616 > 127.0.0.1:15006`,
      true,
    ],
  ];
  const told = ({ translated }: FlowRecord) =>
    translated === undefined
      ? undefined
      : `${formatEndpoint(translated.source.ip, translated.source.port)} > ${formatEndpoint(translated.destination.ip, translated.destination.port)}`;
  for (const [title, packets, conntrack, translated, derived] of table) {
    const [bare] = judged(packets, worldOf());
    const [tracked] = judged(packets, worldOf({ files: { 'iptables-save': SIDECAR, conntrack } }));
    assert.equal(told(bare!.record), derived ? translated : undefined, title);
    assert.equal(told(tracked!.record), translated, title);
    if (translated !== undefined) assert.equal(tracked!.record.translated!.evidence, 'observed', title);
    if (derived) {
      assert.deepEqual(
        [bare!.record.halves, tracked!.record.halves],
        [
          { by: 'sequence', evidence: 'derived' },
          { by: 'sequence', evidence: 'observed' },
        ],
        title,
      );
    }
    assert.equal(tracked!.record.rule!.evidence, 'observed', title);
    assert.deepEqual(tracked!.record.source, bare!.record.source, title);
  }
});

test('halves that their packets do not join are joined by conntrack', () => {
  const [syn] = opened(`${POD}:41166`, '127.0.0.1:15001', { asked: VIP, ifindex: LO });
  const packets: Shown[] = [
    syn!,
    { from: VIP, to: `${POD}:41166`, flags: 'PA', seq: 700_000, ack: 800_000, payload: 10, ifindex: LO, ms: 9 },
  ];
  const conntrack = `ipv4 2 tcp 6 119 ESTABLISHED src=${POD} dst=10.96.0.50 sport=41166 dport=80 src=127.0.0.1 dst=${POD} sport=15001 dport=41166 [ASSURED] mark=0 id=7`;
  assert.equal(judged(packets, worldOf()).length, 2);
  const [subject, ...others] = judged(packets, worldOf({ files: { 'iptables-save': SIDECAR, conntrack } }));
  assert.deepEqual(others, []);
  assert.deepEqual([subject!.record.destination, subject!.record.roles], [{ ip: '10.96.0.50', port: 80 }, ['app-to-proxy']]);
});

test('the zone of conntrack is told', () => {
  const packets = [udp(`${POD}:58719`, '10.96.0.10:53', false, 2), udp('10.96.0.10:53', `${POD}:58719`, true, 2, 1)];
  const conntrack = `ipv4 2 udp 17 29 src=${POD} dst=10.96.0.10 sport=58719 dport=53 src=10.96.0.10 dst=${POD} sport=53 dport=58719 mark=0 zone=1 id=7`;
  const [subject] = judged(packets, worldOf({ files: { 'iptables-save': DNS_RULES, conntrack } }));
  assert.equal(subject!.record.zone, 1);
});
