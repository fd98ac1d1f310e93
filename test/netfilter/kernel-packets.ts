/**
 * Random packets that are likely to hit the rules at hand: addresses, ports, owners, marks and interfaces that the rules name, their neighbours, and others.
 */

import { type Family, formatIp } from '../../src/net/address.ts';
import type { AddressBlock } from '../../src/netfilter/address-block.ts';
import type { AddressMatch } from '../../src/netfilter/match/address.ts';
import type { MarkMatch } from '../../src/netfilter/match/mark.ts';
import type { Match } from '../../src/netfilter/match/match.ts';
import type { OwnerMatch } from '../../src/netfilter/match/owner.ts';
import type { PortsMatch } from '../../src/netfilter/match/ports.ts';
import type { ProtocolMatch } from '../../src/netfilter/match/protocol.ts';
import type { RuleSet } from '../../src/netfilter/rule-set.ts';
import type { Sent } from './frames.ts';
import { type Link, links, PEER4, PEER6, POD4, POD6 } from './kernel-lab.ts';

/** Mulberry32: small, seeded, good enough to choose packets. */
export class Chance {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  below(limit: number): number {
    return Math.floor(this.next() * limit);
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }
}

export interface Attempt extends Sent {
  readonly hook: 'PREROUTING' | 'OUTPUT';
  readonly family: Family;
  /** The interface that it comes in by, or leaves by before any redirect. */
  readonly link: Link | 'lo';
  readonly owner: { uid: number; gid: number };
  readonly mark: number;
}

interface Pools {
  rules: { readonly hook: 'PREROUTING' | 'OUTPUT' | undefined; readonly matches: readonly Match[] }[];
  addresses: string[];
  ports: number[];
  uids: number[];
  gids: number[];
  marks: number[];
}

function inside(block: AddressBlock, chance: Chance): string {
  if ('low' in block) return formatIp({ family: block.family, words: block.low });
  const words = block.words.map((word, i) => (word & block.mask[i]!) | (chance.below(0x100000000) & ~block.mask[i]!)) as unknown as [
    number,
    number,
    number,
    number,
  ];
  if (block.family === 4) return formatIp({ family: 4, words: [0, 0, 0, words[3]] });
  return formatIp({ family: 6, words });
}

export function poolsOf(sets: readonly RuleSet[], family: Family, chance: Chance): Pools {
  const four = family === 4;
  const pools: Pools = {
    rules: [],
    addresses: four
      ? ['10.96.0.50', '198.51.100.9', '198.51.100.200', '203.0.113.5', '169.254.7.127', PEER4, '192.0.2.1']
      : ['fd00:96::50', 'fd01::9', 'fd02::9', 'fd03::5', PEER6, '2001:db8::7'],
    ports: [80, 9080, 15001, 15006, 15008, 15053, 53, 443, 3306],
    uids: [0, 1000, 1337],
    gids: [0, 1000, 1337],
    marks: [0, 0, 0, 1337, 1338, 0x111, 0x1539, 0x7111],
  };
  for (const set of sets)
    for (const table of set.tables)
      for (const chain of table.chains)
        for (const { matches } of chain.rules) {
          pools.rules.push({ hook: chain.hook === 'PREROUTING' || chain.hook === 'OUTPUT' ? chain.hook : undefined, matches });
          for (const match of matches) {
            if (match.kind === 'address') {
              for (const block of (match as AddressMatch).blocks)
                if (block.family === family) for (let i = 0; i < 3; i++) pools.addresses.push(inside(block, chance));
            } else if (match.kind === 'ports') {
              for (const { low, high } of (match as PortsMatch).ranges)
                pools.ports.push(low, high, Math.min(65535, high + 1), Math.max(1, low - 1));
            } else if (match.kind === 'owner') {
              for (const { field, ranges } of (match as OwnerMatch).options)
                for (const { low, high } of ranges) (field === 'gid' ? pools.gids : pools.uids).push(low, high);
            } else if (match.kind === 'mark') {
              for (const { value, mask } of (match as MarkMatch).values) pools.marks.push(value, (value | ~mask) >>> 0, value ^ 1);
            }
          }
        }
  return pools;
}

/** What a packet must have for a rule to fit, as far as that is easily said. */
interface Aim {
  hook?: 'PREROUTING' | 'OUTPUT';
  protocol?: 'tcp' | 'udp';
  source?: string;
  destination?: string;
  sport?: number;
  dport?: number;
  uid?: number;
  gid?: number;
  mark?: number;
}

function aimAt(pools: Pools, family: Family, chance: Chance): Aim {
  const { hook, matches } = chance.pick(pools.rules);
  const aim: Aim = hook === undefined ? {} : { hook };
  for (const match of matches) {
    if (match.kind === 'protocol') {
      const { protocols, negated } = match as ProtocolMatch;
      if (!negated && (protocols[0] === 'tcp' || protocols[0] === 'udp')) aim.protocol = protocols[0];
    } else if (match.kind === 'address') {
      const { side, blocks, negated } = match as AddressMatch;
      const mine = blocks.filter((block) => block.family === family);
      if (!negated && mine.length > 0) aim[side] = inside(chance.pick(mine), chance);
    } else if (match.kind === 'ports') {
      const { side, ranges, negated, protocols } = match as PortsMatch;
      if (protocols[0] === 'tcp' || protocols[0] === 'udp') aim.protocol = protocols[0];
      if (!negated && ranges.length > 0) aim[side === 'source' ? 'sport' : 'dport'] = chance.pick(ranges).low;
    } else if (match.kind === 'owner') {
      for (const { field, ranges, negated } of (match as OwnerMatch).options)
        if (!negated && field !== 'socket') aim[field] = chance.pick(ranges).low;
      aim.hook = 'OUTPUT';
    } else if (match.kind === 'mark') {
      const { of, values, negated } = match as MarkMatch;
      if (of === 'mark' && !negated) aim.mark = values[0]!.value;
    }
  }
  return aim;
}

const isLocal = (ip: string) =>
  ip.startsWith('127.') || ip === '::1' || ip === '::6' || links.some(({ address4, address6 }) => ip === address4 || ip === address6);

/** Which link does the pod's routing table choose? Mirrors the routes of kernel-lab.ts. */
export function linkFor(ip: string, family: Family): Link | 'lo' {
  if (isLocal(ip)) return 'lo';
  if (family === 4) {
    const [a, b, c, d] = ip.split('.').map(Number) as [number, number, number, number];
    if (a === 10 && b >= 77 && b <= 80 && c === 0) return links[b - 77]!;
    if (a === 198 && b === 51 && c === 100) return d < 128 ? links[1]! : links[2]!;
    if (a === 203 && b === 0 && c === 113) return links[3]!;
    return links[0]!;
  }
  const m = /^fd0([123])::/.exec(ip);
  if (m !== null) return links[Number(m[1])]!;
  const own = /^fd00:(77|78|79|80)::/.exec(ip);
  return own === null ? links[0]! : links[Number(own[1]) - 77]!;
}

const usable = (ip: string) =>
  !/^(?:0\.|22[4-9]\.|23\d\.|2[45]\d\.|ff|fe80|::$)/.test(ip) &&
  !(ip.startsWith('::') && ip !== '::1' && ip !== '::6') &&
  !/\.(?:0|255)$/.test(ip) &&
  !ip.startsWith('::ffff:');

export function attempt(pools: Pools, family: Family, chance: Chance, port: number): Attempt {
  const four = family === 4;
  const [pod, peer, loop, six] = four ? [POD4, PEER4, '127.0.0.1', '127.0.0.6'] : [POD6, PEER6, '::1', '::6'];
  const named = () => {
    for (let i = 0; i < 20; i++) {
      const ip = chance.pick(pools.addresses);
      if (usable(ip)) return ip;
    }
    return peer;
  };
  const aim = pools.rules.length > 0 && chance.next() < 0.5 ? aimAt(pools, family, chance) : {};
  const protocol = aim.protocol ?? (chance.next() < 0.72 ? 'tcp' : 'udp');
  const dport = aim.dport ?? (chance.next() < 0.85 ? chance.pick(pools.ports) : 1 + chance.below(65535));
  const sport = aim.sport ?? (protocol === 'udp' && chance.next() < 0.25 ? chance.pick([53, 15053, 54]) : port);
  const flags = chance.next() < 0.85 ? 0x02 : chance.pick([0x10, 0x12, 0x04, 0x01, 0x00, 0x18]);
  const owner = { uid: aim.uid ?? chance.pick(pools.uids), gid: aim.gid ?? chance.pick(pools.gids) };
  const random = four
    ? `100.${64 + chance.below(64)}.${chance.below(256)}.${1 + chance.below(254)}`
    : `fd99::${(1 + chance.below(0xfffe)).toString(16)}`;
  const inward = aim.hook === undefined ? chance.next() < 0.42 : aim.hook === 'PREROUTING';
  if (inward) {
    const link = chance.next() < 0.7 ? links[0]! : chance.pick(links);
    const own = four ? link.address4 : link.address6;
    const wanted = aim.destination !== undefined && usable(aim.destination) && !isLocal(aim.destination) ? aim.destination : undefined;
    const to = wanted ?? (chance.next() < 0.75 ? own : chance.next() < 0.5 ? named() : random);
    // A source that is our own would be answered to ourselves.
    let from = aim.source ?? (chance.next() < 0.4 ? peer : chance.next() < 0.5 ? named() : random);
    if (!usable(from) || (isLocal(from) && !/^127\.0\.0\.[^16]/.test(from))) from = peer;
    return {
      hook: 'PREROUTING',
      family,
      link,
      protocol,
      source: { ip: from, port: sport },
      destination: { ip: isLocal(to) && to !== own ? own : to, port: dport },
      flags,
      owner,
      mark: 0,
    };
  }
  const wanted = aim.destination !== undefined && usable(aim.destination) ? aim.destination : undefined;
  const to = wanted ?? (chance.next() < 0.35 ? chance.pick([pod, loop, loop, six, pod]) : chance.next() < 0.6 ? named() : random);
  const link = linkFor(to, family);
  const from =
    link !== 'lo'
      ? four
        ? link.address4
        : link.address6
      : aim.source !== undefined && isLocal(aim.source)
        ? aim.source
        : chance.pick([pod, loop, six, pod]);
  const mark = aim.mark ?? (chance.next() < 0.3 ? chance.pick(pools.marks) : 0);
  return {
    hook: 'OUTPUT',
    family,
    link,
    protocol,
    source: { ip: from, port: sport },
    destination: { ip: to, port: dport },
    flags,
    owner,
    mark,
  };
}
