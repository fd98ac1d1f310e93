/** Failures that no capture shows, each with the case beside it in which nothing is wrong. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FindingRecord } from '../../src/record/record.ts';
import { httpFilter, httpManager, inspector, listener, type Message, makeDump, type Parts, tcpProxy } from '../envoy/configs.ts';
import { at, dnsQuestion, MadeNamespace, makeRecording, sidecarRules, sockets, type Talk } from './made-recording.ts';
import { findingsOf } from './replayed.ts';

const POD = '10.0.0.10';
const PEER = '10.0.0.20';
const VIP = '10.96.0.20';
const request = (path = '/', host = 'shop:80') => `GET ${path} HTTP/1.1\r\nhost: ${host}\r\n\r\n`;
const response = (status: number, more = '') => `HTTP/1.1 ${status} Fine\r\n${more}content-length: 0\r\n\r\n`;
const talk: Talk = [['C', request()], ['S', response(200)], '.S', '.C'];

const outbound = {
  ...listener('virtualOutbound', '0.0.0.0:15001', { filter_chains: [{ filters: [tcpProxy('PassthroughCluster')] }] }),
  use_original_dst: true,
  traffic_direction: 'OUTBOUND',
};
const original = (name: string): Message => ({ name, type: 'ORIGINAL_DST', lb_policy: 'CLUSTER_PROVIDED' });

/** A sidecar's configuration: what is not told passes through. */
function sidecar(parts: Parts = {}, inbound: Message[] = [{ filters: [tcpProxy('InboundPassthroughCluster')] }]): string {
  const virtualInbound = {
    ...listener('virtualInbound', '0.0.0.0:15006', {
      filter_chains: inbound,
      listener_filters: [
        {
          name: 'envoy.filters.listener.original_dst',
          typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.listener.original_dst.v3.OriginalDst' },
        },
        inspector('tls'),
        inspector('http'),
      ],
      listener_filters_timeout: '0s',
    }),
    traffic_direction: 'INBOUND',
  };
  return JSON.stringify(
    makeDump({
      ...parts,
      listeners: [outbound, virtualInbound, ...(parts.listeners ?? [])],
      clusters: [original('PassthroughCluster'), original('InboundPassthroughCluster'), ...(parts.clusters ?? [])],
    }),
  );
}

const mutualOnly = [
  {
    name: '0.0.0.0_80',
    filter_chain_match: { destination_port: 80, transport_protocol: 'tls' },
    transport_socket: {
      name: 'envoy.transport_sockets.tls',
      typed_config: {
        '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext',
        require_client_certificate: true,
        common_tls_context: {},
      },
    },
    filters: [tcpProxy('InboundPassthroughCluster')],
  },
];

function client(): MadeNamespace {
  return new MadeNamespace('default/client', POD);
}

function found(namespaces: readonly MadeNamespace[], kube: Parameters<typeof makeRecording>[1] = {}): FindingRecord[] {
  return findingsOf(makeRecording(namespaces, kube));
}

function names(findings: readonly FindingRecord[]): string[] {
  return findings.map(({ severity, rule }) => `${severity} ${rule}`);
}

/** The one finding of the rule; with what else there may be. */
function only(findings: readonly FindingRecord[], rule: string, severity: FindingRecord['severity']): FindingRecord {
  const matching = findings.filter((finding) => finding.rule === rule);
  assert.deepEqual(names(matching), [`${severity} ${rule}`], names(findings).join());
  return matching[0]!;
}

function none(findings: readonly FindingRecord[], rule: string): void {
  assert.deepEqual(names(findings.filter((finding) => finding.rule === rule)), []);
}

const redirected = { on: 'lo', redirected: '127.0.0.1:15001' } as const;

test('proxy-not-listening: refused before the proxy was ready, and served later', () => {
  const pod = client().file('iptables-save', sidecarRules());
  pod.tcp({ ...redirected, at: 1, from: `${POD}:40000`, to: `${VIP}:80`, begins: 'refused' });
  pod.tcp({ ...redirected, at: 4, from: `${POD}:40001`, to: `${VIP}:80`, talk });
  const finding = only(found([pod]), 'proxy-not-listening', 'error');
  assert.match(finding.proof.join('\n'), /first one after it began 3 s later/);
  assert.match(finding.fix, /holdApplicationUntilProxyStarts/);
});

test('proxy-not-listening: TPROXY drops in silence; only without a listening socket that is a proof', () => {
  const rules =
    '*mangle\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp -j TPROXY --on-port 15006 --on-ip 0.0.0.0 --tproxy-mark 0x539/0xffffffff\nCOMMIT\n';
  const pod = (rows: string) => {
    const made = new MadeNamespace('default/server', POD).file('iptables-save', rules).file('sockets', rows);
    return made.tcp({ at: 1, from: `${PEER}:40000`, to: `${POD}:80`, incoming: true, begins: 'silent' });
  };
  const finding = only(found([pod(sockets('0.0.0.0:80 node 1000'))]), 'proxy-not-listening', 'error');
  assert.match(finding.proof.join('\n'), /3 SYNs, and no answer/);
  none(found([pod(sockets('0.0.0.0:15006 envoy 1337'))]), 'proxy-not-listening');
});

test('rules-absent: a sidecar without rules; a gateway needs none', () => {
  const pod = (dump: string) => client().file('nft', '{"nftables": []}').file('iptables-save', '').file('config_dump', dump);
  const finding = only(
    found([pod(sidecar()).tcp({ at: 2, from: `${PEER}:40000`, to: `${POD}:80`, incoming: true, talk })]),
    'rules-absent',
    'error',
  );
  assert.match(finding.proof.join('\n'), /"virtualOutbound".*\n.*there are none/);
  const gateway = JSON.stringify(
    makeDump({ listeners: [listener('0.0.0.0_8080', '0.0.0.0:8080')], clusters: [original('PassthroughCluster')] }),
  );
  none(found([pod(gateway).tcp({ at: 2, from: `${PEER}:40000`, to: `${POD}:80`, incoming: true, talk })]), 'rules-absent');
});

test('rules-absent: none where the rules capture, or where no rules were read', () => {
  const pod = client()
    .file('config_dump', sidecar())
    .tcp({ at: 2, from: `${PEER}:40000`, to: `${POD}:80`, incoming: true, talk });
  none(found([pod]), 'rules-absent');
  none(
    found([
      client()
        .file('config_dump', sidecar())
        .file('iptables-save', sidecarRules())
        .tcp({ ...redirected, at: 2, from: `${POD}:40000`, to: `${VIP}:80`, talk }),
    ]),
    'rules-absent',
  );
});

test('guardrail-drop: a filter chain that begins with a DROP of everything; not one that drops a port', () => {
  const filter = (rule: string) => `*filter\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n${rule}\nCOMMIT\n`;
  const pod = (rule: string) =>
    client()
      .file('iptables-save', filter(rule))
      .tcp({ at: 1, from: `${POD}:40000`, to: `${PEER}:80`, begins: 'silent' });
  const finding = only(found([pod('-A OUTPUT -p tcp -j DROP')]), 'guardrail-drop', 'error');
  assert.match(finding.proof.join('\n'), /filter OUTPUT rule 1: -p tcp -j DROP[\s\S]*1 connection got no answer/);
  none(found([pod('-A OUTPUT -p tcp -m tcp --dport 25 -j DROP')]), 'guardrail-drop');
});

test('redirect-loop: rules that spare another user than the proxy runs as', () => {
  const pod = (user: number) => {
    const made = client()
      .file('iptables-save', sidecarRules({ user }))
      .file('sockets', sockets('0.0.0.0:15001 envoy 1337', `${POD}:40001 envoy 1337 ${PEER}:80`));
    return made.tcp({ ...(user === 1337 ? {} : redirected), at: 1, from: `${POD}:40001`, to: `${PEER}:80`, talk });
  };
  const finding = only(found([pod(1000)]), 'redirect-loop', 'error');
  assert.match(finding.proof.join('\n'), /process envoy, user 1337/);
  none(found([pod(1337)]), 'redirect-loop');
});

test('application-as-proxy-user: its connections go past; one of another user does not prove it', () => {
  const pod = (process: string, uid: number, way: object) => {
    const made = client()
      .file('iptables-save', sidecarRules())
      .file('sockets', sockets('0.0.0.0:15001 envoy 1337', `${POD}:40001 ${process} ${uid} ${PEER}:80`));
    return made.tcp({ ...way, at: 1, from: `${POD}:40001`, to: `${PEER}:80`, talk });
  };
  const finding = only(found([pod('node', 1337, {})]), 'application-as-proxy-user', 'error');
  assert.match(finding.proof.join('\n'), /opened by node as user 1337/);
  none(found([pod('envoy', 1337, {})]), 'application-as-proxy-user');
  none(found([pod('node', 1000, redirected)]), 'application-as-proxy-user');
  const listening = client()
    .file('iptables-save', sidecarRules())
    .file('sockets', sockets('0.0.0.0:15001 envoy 1337', '0.0.0.0:80 node 1337'));
  only(
    found([listening.tcp({ at: 1, ...redirected, from: `${POD}:40000`, to: `${VIP}:80`, talk })]),
    'application-as-proxy-user',
    'warning',
  );
});

test('ipv6-not-captured: IPv4 rules alone; with rules for both families nothing goes past', () => {
  const pod = () => new MadeNamespace('default/client', POD, 'fd00::10').file('iptables-save', sidecarRules());
  const six = { at: 1, from: '[fd00::10]:40000', to: '[fd00::20]:80', talk } as const;
  const finding = only(found([pod().file('ip6tables-save', '').tcp(six)]), 'ipv6-not-captured', 'warning');
  assert.match(finding.title, /over IPv6/);
  none(found([pod().tcp(six)]), 'ipv6-not-captured');
  const both = sidecarRules().replaceAll('127.0.0.6/32', '::6/128').replaceAll('127.0.0.1/32', '::1/128');
  none(
    found([
      pod()
        .file('ip6tables-save', both)
        .tcp({ ...six, on: 'lo', redirected: '[::1]:15001' }),
    ]),
    'ipv6-not-captured',
  );
});

test('proxy-not-live: Envoy says that it drains', () => {
  const info = (state: string) =>
    client()
      .file('config_dump', sidecar())
      .file('server_info', JSON.stringify({ version: 'x/1.40.0/Clean', state, uptime_all_epochs: '90s' }));
  assert.match(only(found([info('DRAINING')]), 'proxy-not-live', 'warning').proof.join(), /DRAINING, up for 90 s/);
  none(found([info('LIVE')]), 'proxy-not-live');
});

test('rejected-configuration: the words of Envoy are quoted', () => {
  const dump = JSON.parse(sidecar());
  dump.configs[0].dynamic_listeners[1].error_state = {
    failed_configuration: {},
    last_update_attempt: at(5),
    details: 'Proto constraint validation failed: bad "port"',
  };
  const finding = only(found([client().file('config_dump', JSON.stringify(dump))]), 'rejected-configuration', 'error');
  assert.match(finding.proof[0]!, /2026-11-23T06:00:05\.000Z: Proto constraint validation failed: bad "port"/);
  none(found([client().file('config_dump', sidecar())]), 'rejected-configuration');
});

test('listener-newer-than-connection: updated while the connection stood; not before, and not after', () => {
  const pod = (updated: string) => {
    const later = JSON.parse(sidecar());
    later.configs[0].dynamic_listeners[0].active_state.last_updated = updated;
    const made = client()
      .file('iptables-save', sidecarRules())
      .file('config_dump', sidecar())
      .file('config_dump', JSON.stringify(later), 50);
    return made.tcp({
      ...redirected,
      at: 2,
      from: `${POD}:40000`,
      to: `${VIP}:80`,
      talk: [['C', request()], ['S', response(200)], 10, ['C', request()], ['S', response(200)]],
    });
  };
  const finding = only(found([pod(at(5))]), 'listener-newer-than-connection', 'info');
  assert.match(finding.proof.join('\n'), /2026-11-23T06:00:05\.000Z/);
  none(found([pod(at(0))]), 'listener-newer-than-connection');
  none(found([pod(at(30))]), 'listener-newer-than-connection');
});

/** The client's rules spare the port; the server takes mutual TLS only. */
function bypassing(rules: string, inbound: Message[] | undefined): MadeNamespace[] {
  const way: Talk = [['C', request()], '!S'];
  const tuple = { at: 2, from: `${POD}:40000`, to: `${PEER}:80`, talk: way };
  return [
    client().file('iptables-save', rules).tcp(tuple),
    new MadeNamespace('default/server', PEER)
      .file('iptables-save', sidecarRules())
      .file('config_dump', sidecar({}, inbound))
      .tcp({ ...tuple, incoming: true }),
  ];
}

test('excluded-port-meets-strict: past the own proxy, into a server that takes mutual TLS only', () => {
  const rules = sidecarRules({ outbound: ['-A ISTIO_OUTPUT -p tcp -m tcp --dport 80 -j RETURN'] });
  const all = found(bypassing(rules, mutualOnly));
  const finding = only(all, 'excluded-port-meets-strict', 'error');
  assert.match(finding.proof.join('\n'), /nat ISTIO_OUTPUT rule 1: -p tcp -m tcp --dport 80 -j RETURN/);
  assert.equal(finding.flows.length, 2);
  only(all, 'excluded-port', 'info');
  none(all, 'plaintext-into-strict');
  none(found(bypassing(rules, undefined)), 'excluded-port-meets-strict');
});

test('plaintext-into-strict: a client without rules; a server that takes both has nothing to say', () => {
  only(found(bypassing('', mutualOnly)), 'plaintext-into-strict', 'error');
  const both = [
    ...mutualOnly,
    { filter_chain_match: { destination_port: 80, transport_protocol: 'raw_buffer' }, filters: [tcpProxy('InboundPassthroughCluster')] },
  ];
  none(found(bypassing('', both)), 'plaintext-into-strict');
  // A chain for any port is no help: the one for port 80 counts, and it takes TLS only.
  only(found(bypassing('', [...mutualOnly, { filters: [tcpProxy('InboundPassthroughCluster')] }])), 'plaintext-into-strict', 'error');
});

test('waiting-for-first-byte: only a warning where nobody was seen to speak first; none where the proxy does not look', () => {
  const silent = (chains: Message[] | undefined, filters: boolean) => {
    const dump = JSON.parse(sidecar({}, chains));
    if (!filters) dump.configs[0].dynamic_listeners[1].active_state.listener.listener_filters.splice(1);
    const made = new MadeNamespace('default/server', POD).file('iptables-save', sidecarRules()).file('config_dump', JSON.stringify(dump));
    return made.tcp({ at: 2, from: `${PEER}:40000`, to: `${POD}:80`, incoming: true, talk: [5, '.C', '.S'] });
  };
  only(found([silent(undefined, true)]), 'waiting-for-first-byte', 'warning');
  none(found([silent(undefined, false)]), 'waiting-for-first-byte');
});

const denying = (path: string): Message[] => [
  {
    name: 'inbound',
    filters: [
      httpManager(
        {
          inline: {
            name: 'inbound|80||',
            virtual_hosts: [
              { name: 'inbound', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster: 'InboundPassthroughCluster' } }] },
            ],
          },
        },
        {},
        [
          httpFilter('rbac', 'RBAC', {
            rules: {
              action: 'DENY',
              policies: { p: { permissions: [{ url_path: { path: { prefix: path } } }], principals: [{ any: true }] } },
            },
          }),
        ],
      ),
    ],
  },
];

test('denied-by-policy: predicted and answered 403; none when the answer was another', () => {
  const server = (path: string, status: number) => {
    const made = new MadeNamespace('default/server', POD)
      .file('iptables-save', sidecarRules())
      .file('config_dump', sidecar({}, denying(path)));
    return made.tcp({
      at: 2,
      from: `${PEER}:40000`,
      to: `${POD}:80`,
      incoming: true,
      talk: [['C', request('/secret/1?token=x')], ['S', response(status)], '.C', '.S'],
    });
  };
  const finding = only(found([server('/secret', 403)]), 'denied-by-policy', 'warning');
  assert.match(finding.proof.join('\n'), /GET shop:80\/secret\/1\?… at \S+ was answered 403/);
  none(found([server('/secret', 200)]), 'denied-by-policy');
  none(found([server('/other', 403)]), 'denied-by-policy');
});

test('denied-by-policy: the proxy denies what the recorded configuration allows', () => {
  const body = 'RBAC: access denied';
  const answer = `HTTP/1.1 403 Forbidden\r\ncontent-length: ${body.length}\r\nserver: istio-envoy\r\n\r\n${body}`;
  const made = new MadeNamespace('default/server', POD)
    .file('iptables-save', sidecarRules())
    .file('config_dump', sidecar({}, denying('/other')));
  made.tcp({ at: 2, from: `${PEER}:40000`, to: `${POD}:80`, incoming: true, talk: [['C', request('/secret')], ['S', answer], '.C', '.S'] });
  assert.match(only(found([made]), 'denied-by-policy', 'warning').proof.join('\n'), /another one held at that moment/);
});

const service = (name: string, ip: string, ...ports: number[]) => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { namespace: 'default', name },
  spec: { clusterIP: ip, clusterIPs: [ip], ports: ports.map((port) => ({ port, protocol: 'TCP' })) },
});

test('passthrough-of-known-service: an address of a service on a port that it does not declare; not a stranger', () => {
  const pod = (to: string) => {
    const made = client().file('iptables-save', sidecarRules()).file('config_dump', sidecar());
    made.tcp({ ...redirected, at: 2, from: `${POD}:40000`, to, talk });
    return made.tcp({ at: 2.0001, from: `${POD}:40100`, to, talk });
  };
  const kube = { services: [service('shop', VIP, 8080)] };
  const finding = only(found([pod(`${VIP}:80`)], kube), 'passthrough-of-known-service', 'warning');
  assert.match(finding.proof.join('\n'), /service default\/shop, which declares the TCP ports 8080/);
  assert.match(finding.fix, /Declare port 80/);
  none(found([pod('198.51.100.1:80')], kube), 'passthrough-of-known-service');
});

/** A request that the proxy of the client sends to a cluster's endpoint, and what the endpoint does. */
function upstream(down: Talk, up: Talk): MadeNamespace {
  const shop = { name: 'shop', type: 'EDS', connect_timeout: '1s' };
  const http = listener('10.96.0.20_80', `${VIP}:80`, {
    bind_to_port: false,
    traffic_direction: 'OUTBOUND',
    filter_chains: [
      {
        filters: [
          httpManager({
            inline: {
              name: 'shop',
              virtual_hosts: [{ name: 'shop', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster: 'shop' } }] }],
            },
          }),
        ],
      },
    ],
  });
  const made = client()
    .file('iptables-save', sidecarRules())
    .file('config_dump', sidecar({ listeners: [http], clusters: [shop], endpoints: { shop: [`${PEER}:8080`] } }));
  made.tcp({ ...redirected, at: 2, from: `${POD}:40000`, to: `${VIP}:80`, talk: down });
  return made.tcp({ at: 2.0003, from: `${POD}:40100`, to: `${PEER}:8080`, talk: up });
}

test('upstream-reset: the server resets the connection instead of answering; an answer 503 of its own is none', () => {
  const reset = upstream([['C', request()], 0.01, ['S', response(503)], '.C', '.S'], [['C', request()], '!S']);
  const finding = only(found([reset]), 'upstream-reset', 'error');
  assert.match(finding.proof.join('\n'), /answered 503 by the proxy itself[\s\S]*the server sent RST and no answer/);
  const told = upstream(
    [['C', request()], 0.01, ['S', response(503, 'x-envoy-upstream-service-time: 1\r\n')], '.C', '.S'],
    [['C', request()], ['S', response(503)], '!S'],
  );
  none(found([told]), 'upstream-reset');
});

test('dns-not-captured: a resolver that the rules do not name; the one that they name is asked through the agent', () => {
  const pod = () => client().file('iptables-save', sidecarRules({ dns: '10.96.0.10' }));
  const question = dnsQuestion('shop.default.svc.cluster.local');
  const past = pod().file(
    'sockets',
    sockets('0.0.0.0:15001 envoy 1337').concat(
      `udp ESTAB 0 0 ${POD}:50000 8.8.8.8:53 users:(("node",pid=17,fd=3)) uid:1000 ino:1 sk:1 <->\n`,
    ),
  );
  past.udp(1, `${POD}:50000`, '8.8.8.8:53', question, 'eth0');
  const finding = only(found([past]), 'dns-not-captured', 'warning');
  assert.match(finding.proof.join('\n'), /a question for A shop\.default\.svc\.cluster\.local/);
  const asked = pod().udp(1, `${POD}:50000`, '127.0.0.1:15053', question, 'lo').udp(1.001, '10.96.0.10:53', `${POD}:50000`, question, 'lo');
  none(found([asked]), 'dns-not-captured');
});

test("dns-agent-not-listening: ICMP says that nobody listens on the agent's port", () => {
  const conntrack = `ipv4 2 udp 17 29 src=${POD} dst=10.96.0.10 sport=50000 dport=53 [UNREPLIED] src=127.0.0.1 dst=${POD} sport=15053 dport=50000 mark=0 id=1\n`;
  const pod = () =>
    client()
      .file('iptables-save', sidecarRules({ dns: '10.96.0.10' }))
      .file('conntrack', conntrack, 2);
  const refused = pod()
    .udp(1, `${POD}:50000`, '127.0.0.1:15053', dnsQuestion('shop'), 'lo')
    .unreachable(1.001, '127.0.0.1', `${POD}:50000`, '127.0.0.1:15053', 'lo');
  only(found([refused]), 'dns-agent-not-listening', 'error');
  none(found([pod().udp(1, `${POD}:50000`, '127.0.0.1:15053', dnsQuestion('shop'), 'lo')]), 'dns-agent-not-listening');
});

test('application-on-loopback: without a listing of sockets two connections tell it, with less weight', () => {
  const pod = (loopback: boolean) => {
    const made = new MadeNamespace('default/server', POD).file('iptables-save', sidecarRules());
    made.tcp({ at: 1, on: 'lo', from: '127.0.0.6:40000', to: `${POD}:80`, begins: 'refused' });
    return loopback ? made.tcp({ at: 2, on: 'lo', from: '127.0.0.1:40000', to: '127.0.0.1:80', talk }) : made;
  };
  only(found([pod(true)]), 'application-on-loopback', 'warning');
  const unknown = found([pod(false)]);
  none(unknown, 'application-on-loopback');
  assert.match(only(unknown, 'nothing-listens', 'error').proof.join('\n'), /No listing of sockets was recorded/);
});

test('nothing-listens: only a warning where something does listen by the listing', () => {
  const pod = new MadeNamespace('default/server', POD)
    .file('iptables-save', sidecarRules())
    .file('sockets', sockets('0.0.0.0:80 node 1000'));
  only(found([pod.tcp({ at: 1, on: 'lo', from: '127.0.0.6:40000', to: `${POD}:80`, begins: 'refused' })]), 'nothing-listens', 'warning');
});

test('a healthy sidecar has no findings', () => {
  const pod = upstream(
    [['C', request()], 0.01, ['S', response(200, 'x-envoy-upstream-service-time: 1\r\n')], '.C', '.S'],
    [['C', request()], ['S', response(200)], '.C', '.S'],
  );
  assert.deepEqual(names(found([pod])), []);
});
