/**
 * Makes small recordings for the failures that no capture shows: a bundle of one node, with packets of cooked captures and whatever files are told of each namespace.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseEndpoint, parseIp } from '../../src/net/address.ts';
import { writePcap } from '../source/write-pcap.ts';

const BEGIN_SECONDS = Date.parse('2026-11-23T06:00:00Z') / 1000;
const LINKTYPE_LINUX_SLL2 = 276;
const FIN = 1;
const SYN = 2;
const RST = 4;
const PSH = 8;
const ACK = 16;
const interfaces = ['lo', 'eth0'];

/** `06:00:SS` of the tests' day. */
export function at(seconds: number): string {
  return new Date((BEGIN_SECONDS + seconds) * 1000).toISOString();
}

interface Frame {
  readonly ns: number;
  readonly data: Buffer;
}

function addressBytes(text: string): Buffer {
  const ip = parseIp(text)!;
  const bytes = Buffer.alloc(16);
  for (const [i, word] of ip.words.entries()) bytes.writeInt32BE(word | 0, i * 4);
  return ip.family === 4 ? bytes.subarray(12) : bytes;
}

/** A cooked header of version 2, then IP. `out`: sent by the namespace. */
function packet(protocol: number, from: string, to: string, payload: Buffer, iface: string, out: boolean): Buffer {
  const v6 = parseIp(from)!.family === 6;
  const cooked = Buffer.alloc(20);
  cooked.writeUInt16BE(v6 ? 0x86dd : 0x0800, 0);
  cooked.writeInt32BE(interfaces.indexOf(iface) + 1, 4);
  cooked.writeUInt16BE(1, 8);
  cooked.writeUInt8(out ? 4 : 0, 10);
  const ip = Buffer.alloc(v6 ? 8 : 12);
  if (v6) {
    ip.writeUInt32BE(0x60000000, 0);
    ip.writeUInt16BE(payload.length, 4);
    ip.writeUInt8(protocol, 6);
    ip.writeUInt8(64, 7);
  } else {
    ip.writeUInt8(0x45, 0);
    ip.writeUInt16BE(20 + payload.length, 2);
    ip.writeUInt8(64, 8);
    ip.writeUInt8(protocol, 9);
  }
  return Buffer.concat([cooked, ip, addressBytes(from), addressBytes(to), payload]);
}

/** `C` and `S`: bytes of the client and of the server; `!C`, `!S`: that side sends RST; `.C`, `.S`: FIN. A number waits so many seconds. */
export type Talk = readonly (readonly ['C' | 'S', string | Uint8Array] | '!C' | '!S' | '.C' | '.S' | number)[];

export interface Tcp {
  readonly at: number;
  readonly from: string;
  readonly to: string;
  readonly on?: 'lo' | 'eth0';
  /** Where the client's packets go on the wire, when a rule of OUTPUT redirects them: `127.0.0.1:15001`. */
  readonly redirected?: string;
  /** The namespace is the server's: its packets go out. */
  readonly incoming?: boolean;
  /** `refused`: RST to the SYN; `silent`: three SYNs and no answer; `late`: without the handshake. */
  readonly begins?: 'refused' | 'silent' | 'late';
  readonly talk?: Talk;
  readonly isn?: number;
}

export class MadeNamespace {
  readonly name: string;
  readonly addresses: readonly string[];
  readonly frames: Frame[] = [];
  readonly files: { kind: string; text: string; family?: string; readAt: string }[] = [];

  /** @param name `default/client` */
  constructor(name: string, ...addresses: string[]) {
    this.name = name;
    this.addresses = addresses;
  }

  /** A reading of something, by default before everything. */
  file(kind: string, text: string, seconds = -1): this {
    const family = /^ip6|v6/.test(kind) ? 'ipv6' : /^iptables/.test(kind) ? 'ipv4' : undefined;
    this.files.push({ kind, text, readAt: at(seconds), ...(family === undefined ? {} : { family }) });
    return this;
  }

  udp(seconds: number, from: string, to: string, payload: Uint8Array, iface: 'lo' | 'eth0', out = true): this {
    const a = parseEndpoint(from)!;
    const b = parseEndpoint(to)!;
    const head = Buffer.alloc(8);
    head.writeUInt16BE(a.port, 0);
    head.writeUInt16BE(b.port, 2);
    head.writeUInt16BE(8 + payload.length, 4);
    this.frames.push({ ns: seconds * 1e9, data: packet(17, a.ip, b.ip, Buffer.concat([head, payload]), iface, out) });
    return this;
  }

  /** ICMP port unreachable, quoting the UDP packet. */
  unreachable(seconds: number, by: string, from: string, to: string, iface: 'lo' | 'eth0'): this {
    const a = parseEndpoint(from)!;
    const b = parseEndpoint(to)!;
    const udp = Buffer.alloc(8);
    udp.writeUInt16BE(a.port, 0);
    udp.writeUInt16BE(b.port, 2);
    udp.writeUInt16BE(8, 4);
    const quoted = packet(17, a.ip, b.ip, udp, iface, true).subarray(20);
    this.frames.push({
      ns: seconds * 1e9,
      data: packet(1, by, a.ip, Buffer.concat([Buffer.from([3, 3, 0, 0, 0, 0, 0, 0]), quoted]), iface, false),
    });
    return this;
  }

  tcp(given: Tcp): this {
    const from = parseEndpoint(given.from)!;
    const to = parseEndpoint(given.to)!;
    const sentTo = parseEndpoint(given.redirected ?? given.to)!;
    const iface = given.on ?? 'eth0';
    const next = { C: given.isn ?? 1000, S: (given.isn ?? 1000) * 7 };
    let ns = given.at * 1e9;
    const send = (side: 'C' | 'S', flags: number, data: Uint8Array = new Uint8Array(0)) => {
      const [source, target] = side === 'C' ? [from, sentTo] : [to, from];
      const head = Buffer.alloc(20);
      head.writeUInt16BE(source.port, 0);
      head.writeUInt16BE(target.port, 2);
      head.writeUInt32BE(next[side], 4);
      head.writeUInt32BE((flags & ACK) === 0 ? 0 : next[side === 'C' ? 'S' : 'C'], 8);
      head.writeUInt8(0x50, 12);
      head.writeUInt8(flags, 13);
      head.writeUInt16BE(64_000, 14);
      const out = iface === 'lo' || (side === 'C') !== (given.incoming === true);
      this.frames.push({ ns, data: packet(6, source.ip, target.ip, Buffer.concat([head, data]), iface, out) });
      ns += 50_000;
      next[side] += data.length + ((flags & (SYN | FIN)) === 0 ? 0 : 1);
    };
    if (given.begins === 'silent') {
      for (const wait of [1e9, 2e9, 4e9]) {
        send('C', SYN);
        next.C--;
        ns += wait;
      }
      return this;
    }
    if (given.begins === 'refused') {
      send('C', SYN);
      send('S', RST | ACK);
      return this;
    }
    if (given.begins !== 'late') {
      send('C', SYN);
      send('S', SYN | ACK);
      send('C', ACK);
    }
    for (const part of given.talk ?? []) {
      if (typeof part === 'number') ns += part * 1e9;
      else if (typeof part === 'string') send(part[1] as 'C' | 'S', part[0] === '!' ? RST | ACK : FIN | ACK);
      else send(part[0], PSH | ACK, typeof part[1] === 'string' ? Buffer.from(part[1], 'latin1') : part[1]);
    }
    return this;
  }
}

const root = mkdtempSync(join(tmpdir(), 'sidetrace-made-'));
let count = 0;
process.on('exit', () => rmSync(root, { recursive: true, force: true }));

/** Writes a bundle and gives its path. `kube`: items of pods, services and endpoint slices. */
export function makeRecording(namespaces: readonly MadeNamespace[], kube: { pods?: object[]; services?: object[] } = {}): string {
  const folder = join(root, String(count++));
  mkdirSync(folder);
  for (const [kind, items] of Object.entries(kube))
    writeFileSync(join(folder, `${kind}.json`), JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
  const manifest = {
    format: 'sidetrace-bundle',
    version: 1,
    node: 'node-a',
    begun: at(0),
    ended: at(60),
    namespaces: namespaces.map((made) => {
      const path = made.name.replaceAll('/', '_');
      const [namespace = '', name = ''] = made.name.split('/');
      mkdirSync(join(folder, path));
      const records = [...made.frames]
        .sort((a, b) => a.ns - b.ns)
        .map(({ ns, data }) => ({ seconds: BEGIN_SECONDS + Math.floor(ns / 1e9), fraction: Math.round(ns % 1e9), data }));
      writeFileSync(join(folder, path, 'packets.pcap'), writePcap({ magic: 0xa1b23c4d, linkType: LINKTYPE_LINUX_SLL2, records }));
      const files = made.files.map(({ kind, text, family, readAt }, i) => {
        writeFileSync(join(folder, path, `${i}.txt`), text);
        return {
          kind,
          status: text === '' ? 'empty' : 'ok',
          ...(text === '' ? {} : { file: `${i}.txt` }),
          readAt,
          ...(family === undefined ? {} : { family }),
        };
      });
      return {
        path,
        netns: `cni-${name}`,
        pod: { namespace, name, uid: `uid-${name}` },
        interfaces: [
          { index: 1, name: 'lo', addresses: ['127.0.0.1', '::1'] },
          { index: 2, name: 'eth0', addresses: made.addresses },
        ],
        files: [...(records.length === 0 ? [] : [{ kind: 'packets', status: 'ok', file: 'packets.pcap', readAt: at(0) }]), ...files],
      };
    }),
  };
  writeFileSync(join(folder, 'bundle.json'), JSON.stringify(manifest));
  return folder;
}

/** The rules of a sidecar as iptables-save prints them. */
export function sidecarRules(more: { outbound?: string[]; inbound?: string[]; dns?: string; user?: number } = {}): string {
  const user = more.user ?? 1337;
  return `${[
    '*nat',
    ':PREROUTING ACCEPT [0:0]',
    ':INPUT ACCEPT [0:0]',
    ':OUTPUT ACCEPT [0:0]',
    ':POSTROUTING ACCEPT [0:0]',
    ...['INBOUND', 'IN_REDIRECT', 'OUTPUT', 'REDIRECT'].map((chain) => `:ISTIO_${chain} - [0:0]`),
    '-A PREROUTING -p tcp -j ISTIO_INBOUND',
    '-A OUTPUT -j ISTIO_OUTPUT',
    ...(more.inbound ?? []),
    '-A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT',
    '-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006',
    ...(more.outbound ?? []),
    '-A ISTIO_OUTPUT -s 127.0.0.6/32 -o lo -j RETURN',
    `-A ISTIO_OUTPUT ! -d 127.0.0.1/32 -o lo -p tcp -m owner --uid-owner ${user} -j ISTIO_IN_REDIRECT`,
    `-A ISTIO_OUTPUT -o lo -m owner ! --uid-owner ${user} -j RETURN`,
    `-A ISTIO_OUTPUT -m owner --uid-owner ${user} -j RETURN`,
    ...(more.dns === undefined ? [] : [`-A ISTIO_OUTPUT -d ${more.dns}/32 -p udp -m udp --dport 53 -j REDIRECT --to-ports 15053`]),
    '-A ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN',
    '-A ISTIO_OUTPUT -p tcp -j ISTIO_REDIRECT',
    '-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001',
    'COMMIT',
  ].join('\n')}\n`;
}

/** Rows of `ss -tunaepH`: `127.0.0.1:8080 node 1000`. */
export function sockets(...rows: string[]): string {
  return rows
    .map((row) => {
      const [local, process, uid, peer] = row.split(' ');
      const state = peer === undefined ? 'LISTEN 0 511' : 'ESTAB 0 0';
      return `tcp ${state} ${local} ${peer ?? '0.0.0.0:*'} users:(("${process}",pid=${process === 'envoy' ? 7 : 17},fd=3)) uid:${uid} ino:1 sk:1 <->\n`;
    })
    .join('');
}

/** A question for an A record. */
export function dnsQuestion(name: string): Buffer {
  const labels = name.split('.').flatMap((label) => [label.length, ...Buffer.from(label)]);
  return Buffer.from([0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...labels, 0, 0, 1, 0, 1]);
}
