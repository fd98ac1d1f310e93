/**
 * Situations in network namespaces with the kernel's own NAT and a small redirecting proxy, without Envoy: each connection told from its packets and the rules alone,
 * exactly, and against what conntrack recorded of it.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { formatEndpoint } from '../../src/net/address.ts';
import type { InputFile } from '../../src/pipeline.ts';
import type { FlowRecord, PathRecord, Peer } from '../../src/record/record.ts';
import { needsReference, referencePath } from '../reference.ts';
import { replayed } from './replayed.ts';

const endOf = ({ ip, port }: Peer) => (port === undefined ? ip : formatEndpoint(ip, port));

/** `tcp A > B: roles, verdict port (evidence), state` and, where there is something to tell, `as TRANSLATED, halves by …`. */
function told(flow: FlowRecord): string {
  const { protocol, source, destination, roles, rule, state, translated, halves } = flow;
  const verdict = `${rule!.verdict}${rule!.port === undefined ? '' : ` ${rule!.port}`} (${rule!.evidence})`;
  const seen = translated === undefined ? '' : `, as ${endOf(translated.source)} > ${endOf(translated.destination)}`;
  const joined = halves === undefined ? '' : `, halves by ${halves.by} (${halves.evidence})`;
  return `${protocol} ${endOf(source)} > ${endOf(destination)}: ${roles.join('+')}, ${verdict}, ${state}${seen}${joined}`;
}

/** The rule that decided: the last whose counter rose. */
function lastRule({ rule }: FlowRecord): string {
  const step = rule!.steps.at(-1);
  return step === undefined ? '' : `${step.chain} ${step.index}`;
}

function joinsOf(path: PathRecord, flows: ReadonlyMap<string, FlowRecord>): string[] {
  return path.joins
    .filter(({ from, to }) => from !== to)
    .map(
      ({ from, to, evidence }) =>
        `${endOf(flows.get(path.legs[from]!.flow)!.source)} - ${endOf(flows.get(path.legs[to]!.flow)!.source)} ${evidence}`,
    );
}

const POD = '10.244.1.10';
const PEER = '10.244.1.20';

interface Situation {
  readonly name: string;
  readonly title: string;
  readonly rules?: { readonly kind: string; readonly file: string };
  readonly flows: readonly string[];
  /** The last step of each of these flows. */
  readonly by: readonly string[];
  readonly joins?: readonly string[];
}

const NFT = { kind: 'nft', file: 'rules-nft.txt' };
const TPROXY = { kind: 'iptables-save', file: 'rules-tproxy.txt' };
const AMBIENT = { kind: 'iptables-save', file: 'rules-ambient.txt' };
const DNS = { kind: 'iptables-save', file: 'rules-dns.txt' };
const V6 = { kind: 'ip6tables-save', file: 'rules6.txt' };
const DEFAULT = { kind: 'iptables-save', file: 'rules-default.txt' };

const situations: readonly Situation[] = [
  {
    name: 'out_vip',
    title: 'an application calls a service',
    flows: [
      `tcp ${POD}:41166 > 10.96.0.50:80: app-to-proxy, REDIRECT 15001 (derived), closed, as ${POD}:41166 > 127.0.0.1:15001, halves by sequence (derived)`,
      `tcp ${POD}:57142 > ${PEER}:9080: proxy-to-upstream, ACCEPT (derived), closed`,
    ],
    by: ['ISTIO_REDIRECT 1', 'OUTPUT 1'],
    joins: [`${POD}:41166 - ${POD}:57142 derived`],
  },
  {
    name: 'in_peer',
    title: 'a peer calls the application',
    flows: [
      `tcp ${PEER}:41692 > ${POD}:9080: client-to-proxy, REDIRECT 15006 (derived), closed`,
      `tcp 127.0.0.6:57033 > ${POD}:9080: proxy-to-app, ACCEPT (derived), closed`,
    ],
    by: ['ISTIO_IN_REDIRECT 1', 'ISTIO_OUTPUT 3'],
  },
  {
    name: 'nft_in',
    title: 'a peer calls the application, by native nftables rules',
    rules: NFT,
    flows: [
      `tcp ${PEER}:41986 > ${POD}:9080: client-to-proxy, REDIRECT 15006 (derived), closed`,
      `tcp 127.0.0.6:41267 > ${POD}:9080: proxy-to-app, ACCEPT (derived), closed`,
    ],
    by: ['istio-in-redirect 1', 'istio-output 1'],
  },
  {
    name: 'self_vip',
    title: 'a pod calls its own service: three legs on lo, the middle one both a proxy sending and a proxy receiving',
    flows: [
      `tcp ${POD}:43584 > 10.96.0.10:80: app-to-proxy, REDIRECT 15001 (derived), closed, as ${POD}:43584 > 127.0.0.1:15001, halves by sequence (derived)`,
      `tcp ${POD}:49616 > ${POD}:9080: proxy-to-upstream+client-to-proxy, REDIRECT 15006 (derived), closed, as ${POD}:49616 > 127.0.0.1:15006, halves by sequence (derived)`,
      `tcp 127.0.0.6:56247 > ${POD}:9080: proxy-to-app, ACCEPT (derived), closed`,
    ],
    by: ['ISTIO_REDIRECT 1', 'ISTIO_IN_REDIRECT 1', 'ISTIO_OUTPUT 3'],
    // The second pass through the proxy is a path of its own, too.
    joins: [`${POD}:49616 - 127.0.0.6:56247 derived`, `${POD}:43584 - ${POD}:49616 derived`, `${POD}:49616 - 127.0.0.6:56247 derived`],
  },
  {
    name: 'collision',
    title: 'one local port, two destinations: the kernel gave the second another source port, and the halves are found all the same',
    flows: [
      `tcp ${POD}:45000 > 10.96.0.50:80: app-to-proxy, REDIRECT 15001 (derived), closed, as ${POD}:45000 > 127.0.0.1:15001, halves by sequence (derived)`,
      `tcp ${POD}:45000 > ${PEER}:9080: app-to-proxy, REDIRECT 15001 (derived), closed, as ${POD}:55763 > 127.0.0.1:15001, halves by sequence (derived)`,
      `tcp ${POD}:39072 > ${PEER}:9080: proxy-to-upstream, ACCEPT (derived), closed`,
      `tcp ${POD}:39082 > ${PEER}:9080: proxy-to-upstream, ACCEPT (derived), closed`,
    ],
    by: ['ISTIO_REDIRECT 1', 'ISTIO_REDIRECT 1', 'OUTPUT 1', 'OUTPUT 1'],
    joins: [`${POD}:45000 - ${POD}:39072 derived`, `${POD}:45000 - ${POD}:39082 derived`],
  },
  {
    name: 'proxydown_out',
    title: 'the proxy is dead: the application is refused in the name of its peer',
    flows: [
      `tcp ${POD}:41466 > ${PEER}:9080: app-to-proxy, REDIRECT 15001 (derived), refused, as ${POD}:41466 > 127.0.0.1:15001, halves by sequence (derived)`,
    ],
    by: ['ISTIO_REDIRECT 1'],
    joins: [],
  },
  {
    name: 'proxydown_in',
    title: 'the proxy is dead: the peer is refused in the name of the application',
    flows: [`tcp ${PEER}:42954 > ${POD}:9080: client-to-proxy, REDIRECT 15006 (derived), refused`],
    by: ['ISTIO_IN_REDIRECT 1'],
    joins: [],
  },
  {
    name: 'in_closed_port',
    title: 'nothing listens: the proxy accepts, is refused, and resets',
    flows: [
      `tcp ${PEER}:54006 > ${POD}:5555: client-to-proxy, REDIRECT 15006 (derived), reset`,
      `tcp 127.0.0.6:49263 > ${POD}:5555: proxy-to-app, ACCEPT (derived), refused`,
    ],
    by: ['ISTIO_IN_REDIRECT 1', 'ISTIO_OUTPUT 3'],
  },
  {
    name: 'tproxy_in',
    title: 'TPROXY keeps the client in sight: the same address and port twice, on eth0 towards the proxy, on lo towards the application',
    rules: TPROXY,
    flows: [
      `tcp ${PEER}:57942 > ${POD}:9080: client-to-proxy, TPROXY 15006 (derived), closed`,
      `tcp ${PEER}:57944 > ${POD}:9080: proxy-to-app, ACCEPT (derived), closed`,
    ],
    by: ['ISTIO_TPROXY 1', 'ISTIO_OUTPUT 3'],
  },
  {
    name: 'amb_out',
    title: 'ambient: marks instead of owners',
    rules: AMBIENT,
    flows: [
      `tcp ${POD}:59360 > ${PEER}:9080: app-to-proxy, REDIRECT 15001 (derived), closed, as ${POD}:59360 > 127.0.0.1:15001, halves by sequence (derived)`,
      `tcp ${POD}:59376 > ${PEER}:9080: proxy-to-upstream, ACCEPT (derived), closed`,
    ],
    by: ['ISTIO_OUTPUT 6', 'OUTPUT 1'],
    joins: [`${POD}:59360 - ${POD}:59376 derived`],
  },
  {
    name: 'dns_udp',
    title: 'DNS goes to the agent; the halves are found by its transaction',
    rules: DNS,
    flows: [
      `udp ${POD}:37404 > 10.96.0.10:53: app-to-dns-agent, REDIRECT 15053 (derived), open, as ${POD}:37404 > 127.0.0.1:15053, halves by sequence (derived)`,
      `udp ${POD}:58719 > ${PEER}:53: dns-agent-to-resolver, ACCEPT (derived), open`,
    ],
    by: ['ISTIO_OUTPUT_DNS 2', 'OUTPUT 1'],
    joins: [],
  },
  {
    name: 'v6_out',
    title: 'IPv6: redirected to ::1',
    rules: V6,
    flows: [
      'tcp [fd00:10:244:1::10]:57766 > [fd00:10:244:1::20]:9081: app-to-proxy, REDIRECT 15001 (derived), closed, as [fd00:10:244:1::10]:57766 > [::1]:15001, halves by sequence (derived)',
      'icmpv6 fd00:10:244:1::10 > ff02::1:ff00:20: direct, ACCEPT (derived), open',
      'icmpv6 fd00:10:244:1::20 > fd00:10:244:1::10: direct, ACCEPT (derived), open',
      'tcp [fd00:10:244:1::10]:57778 > [fd00:10:244:1::20]:9081: proxy-to-upstream, ACCEPT (derived), closed',
    ],
    by: ['ISTIO_REDIRECT 1', 'OUTPUT 1', '', 'OUTPUT 1'],
    joins: ['[fd00:10:244:1::10]:57766 - [fd00:10:244:1::10]:57778 derived'],
  },
  {
    name: 'uid1337_app_out',
    title: 'an application with the uid of the proxy cannot be told from the proxy: unknown, not guessed',
    flows: [`tcp ${POD}:44926 > ${PEER}:9080: unknown, ACCEPT (derived), closed`],
    by: ['OUTPUT 1'],
    joins: [],
  },
  {
    name: 'big',
    title: 'segmentation offload: segments larger than any packet',
    flows: [
      `tcp ${POD}:56832 > ${PEER}:9999: app-to-proxy, REDIRECT 15001 (derived), open, as ${POD}:56832 > 127.0.0.1:15001, halves by sequence (derived)`,
      `tcp ${POD}:56834 > ${PEER}:9999: proxy-to-upstream, ACCEPT (derived), open`,
    ],
    by: ['ISTIO_REDIRECT 1', 'OUTPUT 1'],
    joins: [`${POD}:56832 - ${POD}:56834 derived`],
  },
];

function filesOf({ rules = DEFAULT }: Pick<Situation, 'rules'>): InputFile[] {
  return [{ kind: rules.kind, path: referencePath('wire', rules.file)! }];
}

for (const situation of situations)
  test(`${situation.name}: ${situation.title}`, needsReference('wire', situation.name, 'any.pcap'), () => {
    const { flows, paths, end } = replayed([referencePath('wire', situation.name, 'any.pcap')!], filesOf(situation));
    assert.deepEqual(flows.map(told), situation.flows);
    assert.deepEqual(flows.map(lastRule), situation.by);
    const byId = new Map(flows.map((flow) => [flow.id, flow]));
    if (situation.joins !== undefined)
      assert.deepEqual(
        paths.flatMap((path) => joinsOf(path, byId)),
        situation.joins,
      );
    assert.deepEqual(end, { malformed: false, lost: false, interrupted: false });
  });

test('an excluded port goes past the proxy by the rule that excludes it', needsReference('wire', 'excl_out_3306', 'any.pcap'), () => {
  const { flows } = replayed([referencePath('wire', 'excl_out_3306', 'any.pcap')!], filesOf({}));
  assert.deepEqual(
    flows.map(({ source, destination, rule }) => [
      endOf(source),
      endOf(destination),
      rule?.verdict,
      rule?.evidence,
      rule?.steps.map((step) => `${step.chain} ${step.index}`),
    ]),
    [[`${POD}:44290`, `${PEER}:3306`, 'ACCEPT', 'derived', ['OUTPUT 1', 'ISTIO_OUTPUT 1']]],
  );
});

/** Original tuple to the port that conntrack answers from where it is another than the one asked for, else 0; and bytes of both directions where the entry ended. */
function recorded(path: string): Map<string, number> {
  const truth = new Map<string, number>();
  for (const line of readFileSync(path, 'utf8').split('\n')) {
    if (!line.includes('[NEW]') || !/ (tcp|udp) /.test(line)) continue;
    const protocol = / (tcp|udp) /.exec(line)![1];
    const [src, dst, sport, dport, replySrc, , replySport] = [...line.matchAll(/(?:src|dst|sport|dport)=(\S+)/g)].map((found) => found[1]!);
    const key = `${protocol} ${formatEndpoint(src!, Number(sport))} > ${formatEndpoint(dst!, Number(dport))}`;
    truth.set(key, replySrc === dst && replySport === dport ? 0 : Number(replySport));
  }
  return truth;
}

for (const situation of [...situations, { name: 'excl_out_3306', title: '', flows: [], by: [] }])
  test(
    `${situation.name}: what became of each connection is what conntrack recorded`,
    needsReference('wire', situation.name, 'ctE.txt'),
    () => {
      const truth = recorded(referencePath('wire', situation.name, 'ctE.txt')!);
      const { flows } = replayed([referencePath('wire', situation.name, 'any.pcap')!], filesOf(situation));
      const said = new Map(
        flows
          .filter(({ protocol }) => protocol === 'tcp' || protocol === 'udp')
          .map(({ protocol, source, destination, rule }) => [
            `${protocol} ${endOf(source)} > ${endOf(destination)}`,
            // TPROXY translates nothing.
            rule?.verdict === 'REDIRECT' ? rule.port : rule?.verdict === 'unknown' ? undefined : 0,
          ]),
      );
      assert.deepEqual(said, truth);
    },
  );

test(
  'conntrack beside the packets makes what was derived observed, and nothing else',
  needsReference('wire', 'collision', 'ctL.txt'),
  () => {
    for (const { name, rules, flows: expected } of situations) {
      const events = referencePath('wire', name, 'ctE.txt');
      const dump = referencePath('wire', name, 'ctL.txt');
      const conntrack: InputFile[] = [
        ...(events === undefined ? [] : [{ kind: 'conntrack-events', path: events }]),
        ...(dump === undefined || !existsSync(dump) ? [] : [{ kind: 'conntrack', path: dump }]),
      ];
      const { flows } = replayed(
        [referencePath('wire', name, 'any.pcap')!],
        [...filesOf(rules === undefined ? {} : { rules }), ...conntrack],
      );
      // The translation of a connection that came in is known to conntrack alone.
      const bare = (line: string) => line.replaceAll(/ \((derived|observed)\)/g, '').replace(/, as .*$/, '');
      assert.deepEqual(flows.map(told).map(bare), expected.map(bare), name);
      for (const flow of flows)
        if (flow.protocol === 'tcp' && flow.rule?.verdict !== 'TPROXY')
          assert.equal(flow.rule?.evidence, 'observed', `${name} ${told(flow)}`);
    }
  },
);
