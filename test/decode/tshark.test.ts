/**
 * The decoders against tshark: addresses, ports, sequence numbers, flags, lengths of every frame of every reference capture, and of the frames of link types that these lack.
 * tshark gives every occurrence of a field: the first is the outermost header's, the last the innermost's, or that of the packet that an ICMP error quotes.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { decodeFrame } from '../../src/decode/decode.ts';
import { decodeDns } from '../../src/decode/dns.ts';
import { dnsTypeName } from '../../src/decode/dns-rdata.ts';
import { linkTypeProblem } from '../../src/decode/link-type.ts';
import { layerNames, Packet, stopCauseNames, tunnelNames } from '../../src/decode/packet.ts';
import { canonicalIp } from '../../src/net/address.ts';
import { needsReference } from '../reference.ts';
import { readFrames, type TestFrame } from './capture-reader.ts';
import { captureFrames, capturePaths } from './captures.ts';
import {
  ah,
  type Bytes,
  ETHERTYPE,
  ethernet,
  ethernet8023,
  extension,
  fragmentHeader,
  geneve,
  gre,
  icmp,
  ipv4,
  ipv6,
  mpls,
  pppoe,
  sctp,
  sll,
  sll2,
  snap,
  tcp,
  u16,
  u32,
  udp,
  vlan,
  vxlan,
  zeros,
} from './frames.ts';
import { destination, outerDestination, outerSource, source, summary } from './summary.ts';

const hasTshark = spawnSync('tshark', ['--version']).status === 0;
const skip = hasTshark ? false : 'SKIPPED: tshark is not installed (Debian: apt-get install tshark)';

const FIELDS = [
  'ip.src',
  'ip.dst',
  'ipv6.src',
  'ipv6.dst',
  'ip.len',
  'ipv6.plen',
  'tcp.srcport',
  'tcp.dstport',
  'udp.srcport',
  'udp.dstport',
  'sctp.srcport',
  'sctp.dstport',
  'tcp.seq_raw',
  'tcp.ack_raw',
  'tcp.flags',
  'tcp.window_size_value',
  'tcp.options.mss_val',
  'tcp.len',
  'udp.length',
  'icmp.type',
  'icmpv6.type',
  'vlan.id',
  'ieee8021ad.id',
  'ip.frag_offset',
  'vxlan.vni',
  'geneve.vni',
  'gre.key',
] as const;
/** Every occurrence of each field, outermost header first. */
type Row = { [F in (typeof FIELDS)[number]]: string[] };

const DNS_FIELDS = [
  'dns.id',
  'dns.flags.response',
  'dns.flags.rcode',
  'dns.count.answers',
  'dns.qry.name',
  'dns.qry.type',
  'dns.a',
  'dns.aaaa',
  '_ws.malformed',
] as const;

function tshark<F extends string>(path: string, fields: readonly F[]): { [K in F]: string[] }[] {
  const options = [
    'ip.defragment:FALSE',
    'ipv6.defragment:FALSE',
    'tcp.desegment_tcp_streams:FALSE',
    'tcp.relative_sequence_numbers:FALSE',
    'ip.tso_support:TRUE',
    'tcp.check_checksum:FALSE',
  ].flatMap((option) => ['-o', option]);
  const args = [
    '-r',
    path,
    '-n',
    ...options,
    '-T',
    'fields',
    '-E',
    'separator=|',
    '-E',
    'occurrence=a',
    '-E',
    'aggregator=,',
    '-d',
    'udp.port==8472,vxlan',
    ...fields.flatMap((field) => ['-e', field]),
  ];
  const out = execFileSync('tshark', args, { encoding: 'utf8', maxBuffer: 1 << 28, stdio: ['ignore', 'pipe', 'ignore'] });
  return out
    .split('\n')
    .slice(0, -1)
    .map(
      (line) =>
        Object.fromEntries(line.split('|').map((value, i) => [fields[i]!, value === '' ? [] : value.split(',')])) as { [K in F]: string[] },
    );
}

/** The header says more than the frame had: tshark prints what it says, we keep what there was. A length of 0 we take from the frame. */
const lengthLies = (p: Packet) => /^ipv[46]$/.test(layerNames[p.stopLayer]!) && stopCauseNames[p.stopCause] === 'length';

type Values = { [name: string]: string | undefined };

/** What tshark says: of the first header of each kind, and of the innermost where we are inside a tunnel. Nothing of what an ICMP message quotes. */
function theirs(row: Row, p: Packet): Values {
  const quotes = p.quoteOffset !== 0 || (p.protocol === 58 && p.icmpType === 137);
  const pick = (values: readonly string[]) => (p.tunnel === 0 ? values[0] : values.at(-1));
  const transport = (values: readonly string[]) => (quotes ? undefined : pick(values));
  const addresses = (version: number, v4: readonly string[], v6: readonly string[]) => (version === 4 ? v4 : v6);
  const canonical = (value: string | undefined) => (value === undefined ? undefined : canonicalIp(value));
  const version = p.ipVersion === 0 && row['ip.src'].length > 0 ? 4 : p.ipVersion;
  const lies = lengthLies(p);
  const length = version === 4 ? pick(row['ip.len']) : pick(row['ipv6.plen']);
  return {
    source: canonical(pick(addresses(version, row['ip.src'], row['ipv6.src']))),
    destination: canonical(pick(addresses(version, row['ip.dst'], row['ipv6.dst']))),
    outerSource: p.tunnel === 0 ? undefined : canonical(addresses(p.outerVersion, row['ip.src'], row['ipv6.src'])[0]),
    outerDestination: p.tunnel === 0 ? undefined : canonical(addresses(p.outerVersion, row['ip.dst'], row['ipv6.dst'])[0]),
    ipLength: length === undefined || length === '0' || lies ? undefined : String(Number(length) + (version === 6 ? 40 : 0)),
    srcPort: transport(row['tcp.srcport']) ?? transport(row['udp.srcport']) ?? transport(row['sctp.srcport']),
    dstPort: transport(row['tcp.dstport']) ?? transport(row['udp.dstport']) ?? transport(row['sctp.dstport']),
    seq: transport(row['tcp.seq_raw']),
    ack: transport(row['tcp.ack_raw']),
    flags: transport(row['tcp.flags'].map((flags) => String(Number(flags) & 0x1ff))),
    window: transport(row['tcp.window_size_value']),
    mss: transport(row['tcp.options.mss_val']),
    tcpLength: transport(row['tcp.len']),
    udpLength: p.fragment || p.tunnel !== 0 ? undefined : transport(row['udp.length']),
    icmpType: row['icmp.type'][0] ?? row['icmpv6.type'][0],
    vlan: row['ieee8021ad.id'][0] ?? row['vlan.id'][0],
    fragmentOffset: quotes
      ? undefined
      : pick(row['ip.frag_offset'].filter((offset) => offset !== '0').map((units) => String(Number(units) * 8))),
    vni: row['vxlan.vni'][0] ?? (row['geneve.vni'][0] === undefined ? undefined : String(Number(row['geneve.vni'][0]))),
    greKey: row['gre.key'][0] === undefined ? undefined : String(Number(row['gre.key'][0])),
  };
}

/** The same of ours; absent where we have nothing. */
function ours(p: Packet, row: Row): Values {
  const out: Values = {};
  if (p.ipVersion !== 0) {
    out.source = source(p);
    out.destination = destination(p);
    const zero = p.ipVersion === 4 ? row['ip.len'].includes('0') : row['ipv6.plen'].includes('0');
    if (!zero && !lengthLies(p)) out.ipLength = String(p.ipLength);
  }
  if (p.tunnel !== 0) {
    out.outerSource = outerSource(p);
    out.outerDestination = outerDestination(p);
    if (p.tunnelId !== -1) out[tunnelNames[p.tunnel] === 'gre' ? 'greKey' : 'vni'] = String(p.tunnelId);
  }
  if (p.hasPorts) {
    out.srcPort = String(p.srcPort);
    out.dstPort = String(p.dstPort);
  }
  if (p.protocol === 17 && p.hasPorts && !p.fragment && p.tunnel === 0) out.udpLength = String(p.payloadLength + 8);
  if (p.protocol === 6 && p.hasTcp) {
    out.seq = String(p.seq >>> 0);
    out.ack = String(p.ack >>> 0);
    out.flags = String(p.tcpFlags);
    out.window = String(p.window);
    out.tcpLength = String(p.payloadLength);
    if (p.mss !== 0) out.mss = String(p.mss);
  }
  if (p.ipVersion !== 0 && (p.protocol === 1 || p.protocol === 58) && p.fragmentOffset === 0) out.icmpType = String(p.icmpType);
  if (p.vlan !== -1) out.vlan = String(p.vlan);
  if (p.ipVersion === 4 && p.fragmentOffset !== 0) out.fragmentOffset = String(p.fragmentOffset);
  return out;
}

/** Every value that one of the two has and the other has not, or otherwise. */
function compare(frames: readonly TestFrame[], rows: readonly Row[]): { compared: number; differences: string[] } {
  assert.equal(rows.length, frames.length, 'as many rows as frames');
  const packet = new Packet();
  const differences: string[] = [];
  let compared = 0;
  frames.forEach((frame, i) => {
    if (linkTypeProblem(frame.linkType) !== undefined) return;
    const view = new DataView(frame.bytes.buffer, frame.bytes.byteOffset, frame.bytes.length);
    decodeFrame(packet, frame.linkType, frame.bytes, view, 0, frame.bytes.length, frame.wireLength, 0);
    const a = theirs(rows[i]!, packet);
    const b = ours(packet, rows[i]!);
    for (const name of new Set([...Object.keys(a), ...Object.keys(b)])) {
      compared++;
      if (a[name] !== b[name]) differences.push(`frame ${i + 1}: ${name}: tshark "${a[name]}", ours "${b[name]}": ${summary(packet)}`);
    }
  });
  return { compared, differences };
}

test('decodeFrame() says what tshark says of every frame of every capture', {
  skip: skip || needsReference('captures').skip,
  timeout: 120_000,
}, () => {
  const scratch = mkdtempSync(join(tmpdir(), 'sidetrace-tshark-'));
  try {
    const merged = join(scratch, 'all.pcapng');
    execFileSync('mergecap', ['-a', '-w', merged, ...capturePaths().filter((path) => readFrames(path).length > 0)], { stdio: 'ignore' });
    const { compared, differences } = compare(captureFrames(), tshark(merged, FIELDS));
    assert.deepEqual(differences, []);
    assert.ok(compared > 10_000, `${compared} values compared`);
  } finally {
    rmSync(scratch, { recursive: true });
  }
});

const segment = tcp({ flags: 2, options: [2, 4, ...u16(1400)] }, []);
const v4 = ipv4({ protocol: 6 }, segment);
const v6 = ipv6({ next: 6 }, segment);
const frame4 = ethernet(ETHERTYPE.ipv4, v4);
const nodes = (protocol: number, rest: Bytes) => ipv4({ protocol, src: '192.0.2.1', dst: '192.0.2.2' }, rest);
const nodes6 = (next: number, rest: Bytes) => ipv6({ next, src: '2001:db8::1', dst: '2001:db8::2' }, rest);
const ip = (packet: Bytes) => ethernet(packet[0]! >> 4 === 4 ? ETHERTYPE.ipv4 : ETHERTYPE.ipv6, packet);

/** Frames by link type of what the reference captures have little or nothing of. */
const made: readonly [linkType: number, frames: readonly Bytes[]][] = [
  [
    0,
    [
      [2, 0, 0, 0, ...v4],
      [0, 0, 0, 2, ...v4],
      [30, 0, 0, 0, ...v6],
    ],
  ],
  [
    9,
    [
      [0xff, 3, 0, 0x21, ...v4],
      [0xff, 3, 0, 0x57, ...v6],
      [0, 0x21, ...v4],
    ],
  ],
  [50, [[0xff, 3, 0, 0x21, ...v4]]],
  [51, [pppoe([0, 0x21, ...v4]), pppoe([0, 0x57, ...v6])]],
  [101, [v4, v6]],
  [108, [[0, 0, 0, 2, ...v4]]],
  [113, [sll(ETHERTYPE.ipv4, v4, 4), sll(ETHERTYPE.vlan, vlan(5, ETHERTYPE.ipv6, v6))]],
  [228, [v4]],
  [229, [v6]],
  [276, [sll2(ETHERTYPE.ipv4, v4), sll2(ETHERTYPE.ipv6, v6), sll2(ETHERTYPE.vlan, vlan(5, ETHERTYPE.ipv4, v4))]],
  [
    1,
    [
      ethernet(ETHERTYPE.qinq, vlan(7, ETHERTYPE.vlan, vlan(5, ETHERTYPE.ipv4, v4))),
      ethernet(ETHERTYPE.mpls, mpls(16, false, mpls(17, true, v4))),
      ethernet(ETHERTYPE.mpls, mpls(16, true, v6)),
      ethernet8023(snap(ETHERTYPE.ipv4, v4)),
      ip(ipv4({ protocol: 17, options: zeros(12) }, udp(1000, 2000, zeros(9)))),
      ip(ipv4({ protocol: 17, length: 0 }, udp(1000, 2000, zeros(9)))),
      ip(ipv4({ protocol: 17, offset: 800, id: 7 }, zeros(64))),
      ip(ipv4({ protocol: 132 }, sctp(36412, 38412, [0, 0, 0, 4]))),
      ip(ipv6({ next: 0 }, extension(43, 0, extension(60, 2, extension(17, 0, udp(1000, 2000, zeros(9))))))),
      ip(ipv6({ next: 44 }, fragmentHeader(6, 0, false, 5, segment))),
      ip(ipv6({ next: 51 }, ah(6, segment))),
      ip(ipv4({ protocol: 51 }, ah(6, segment))),
      ip(ipv4({ protocol: 1 }, icmp(3, 1, ipv4({ protocol: 17 }, udp(1000, 2000, []))))),
      ip(ipv6({ next: 58 }, icmp(1, 4, ipv6({ next: 17 }, udp(1000, 2000, []))))),
      ip(nodes(4, v4)),
      ip(nodes(41, v6)),
      ip(nodes6(4, v4)),
      ip(nodes6(41, v6)),
      ip(nodes(47, gre(ETHERTYPE.ipv4, v4))),
      ip(nodes(47, gre(ETHERTYPE.ipv6, v6, 0x2000, u32(77)))),
      ip(nodes(47, gre(ETHERTYPE.teb, frame4, 0xb000, [...u32(0), ...u32(5), ...u32(1)]))),
      ip(nodes6(47, gre(ETHERTYPE.mpls, mpls(16, true, v4)))),
      ip(nodes(17, udp(50000, 4789, vxlan(42, frame4)))),
      ip(nodes(17, udp(50000, 8472, vxlan(43, ethernet(ETHERTYPE.ipv6, v6))))),
      ip(nodes6(17, udp(50000, 4789, vxlan(44, frame4)))),
      ip(nodes(17, udp(50000, 6081, geneve(45, ETHERTYPE.teb, frame4, [1, 2, 3, 1, 0, 0, 0, 0])))),
      ip(nodes(17, udp(50000, 6081, geneve(46, ETHERTYPE.ipv4, v4)))),
      ip(nodes(4, ipv4({ protocol: 47, src: '198.51.100.1' }, gre(ETHERTYPE.ipv4, v4)))),
    ],
  ],
];

test('decodeFrame() says what tshark says of hand-made frames of every link type and tunnel', { skip, timeout: 120_000 }, () => {
  const scratch = mkdtempSync(join(tmpdir(), 'sidetrace-tshark-'));
  try {
    const files = made.map(([linkType, frames], i) => {
      const file = join(scratch, `${i}.pcap`);
      const header = [...u32(0xa1b2c3d4), ...u16(2), ...u16(4), ...zeros(8), ...u32(65535), ...u32(linkType)];
      writeFileSync(
        file,
        Uint8Array.from([
          ...header,
          ...frames.flatMap((frame) => [...u32(1), ...u32(0), ...u32(frame.length), ...u32(frame.length), ...frame]),
        ]),
      );
      return file;
    });
    const merged = join(scratch, 'all.pcapng');
    execFileSync('mergecap', ['-a', '-w', merged, ...files], { stdio: 'ignore' });
    const { compared, differences } = compare(files.flatMap(readFrames), tshark(merged, FIELDS));
    assert.deepEqual(differences, []);
    assert.ok(compared > 300, `${compared} values compared`);
  } finally {
    rmSync(scratch, { recursive: true });
  }
});

test('decodeDns() says what tshark says of every DNS message of every capture', {
  skip: skip || needsReference('captures').skip,
  timeout: 120_000,
}, () => {
  const packet = new Packet();
  let compared = 0;
  for (const path of capturePaths().filter((name) => /dns|quic|ipv6-fragmented|bookinfo|pcapng-multi/.test(name))) {
    const rows = tshark(path, DNS_FIELDS);
    readFrames(path).forEach((frame, i) => {
      const row = rows[i]!;
      const view = new DataView(frame.bytes.buffer, frame.bytes.byteOffset, frame.bytes.length);
      decodeFrame(packet, frame.linkType, frame.bytes, view, 0, frame.bytes.length, frame.wireLength, 0);
      if (
        packet.protocol !== 17 ||
        ![53, 5353].some((port) => packet.srcPort === port || packet.dstPort === port) ||
        row['dns.id'].length === 0
      )
        return;
      const end = packet.payloadOffset + packet.payloadCaptured;
      const message = decodeDns(frame.bytes, packet.payloadOffset, end, packet.payloadOffset + packet.payloadLength);
      const label = `${path} frame ${i + 1}`;
      // A question that cannot be right is no DNS for us; tshark says `<Name contains a pointer that loops>` or the like.
      if (message === undefined && (row['_ws.malformed'].length > 0 || row['dns.qry.name'][0]?.startsWith('<'))) return;
      assert.ok(message !== undefined, `${label}: a message`);
      compared++;
      assert.equal(message.id, Number(row['dns.id'][0]), label);
      assert.equal(message.response, /^(1|True)$/.test(row['dns.flags.response'][0]!), label);
      assert.equal(message.answerCount, Number(row['dns.count.answers'][0]), label);
      // tshark prints the bytes of a name as they are, and nothing for the root.
      const name = row['dns.qry.name'][0];
      if (name !== undefined && /^[\w.-]+$/.test(name)) assert.equal(message.question, name, label);
      if (row['dns.qry.type'].length > 0) assert.equal(message.kind, dnsTypeName(Number(row['dns.qry.type'][0])), label);
      const addresses = (values: readonly string[], pattern: RegExp) => values.filter((value) => pattern.test(value));
      for (const [field, pattern] of [
        ['dns.a', /^\d+\.\d+\.\d+\.\d+$/],
        ['dns.aaaa', /^[0-9a-f:]*::?[0-9a-f:.]+$/],
      ] as const) {
        const found = addresses(message.answers, pattern);
        assert.deepEqual(found, row[field].map((value) => canonicalIp(value)).slice(0, found.length), label);
      }
    });
  }
  assert.ok(compared > 20, `${compared} messages compared`);
});
