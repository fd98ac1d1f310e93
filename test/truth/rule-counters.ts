/**
 * How often the kernel took each nat rule between two readings of its counters, against how often we say that a rule was taken.
 *
 * nat is consulted once a connection, by its first packet: a rule's counter rises by one for each connection that meets it.
 */
import { formatTime, parseTimeNs } from '../../src/net/time.ts';
import type { FlowRecord } from '../../src/record/record.ts';
import type { Bundle } from '../../src/source/bundle.ts';
import { snapshotsOf } from '../../src/source/bundle.ts';
import type { NamespaceEntry } from '../../src/source/bundle-manifest.ts';

interface Counted {
  readonly packets: number;
  /** Does the rule send connections to the proxy? Then every connection that meets it is in a recording of the namespace, and its owner is no question. */
  readonly redirects: boolean;
}

/** By `table chain index`; rules of nat that have counters only. */
export type Counters = ReadonlyMap<string, Counted>;

/** Reads `iptables-save -c`. */
export function countersOfIptables(text: string): Counters {
  const counters = new Map<string, Counted>();
  const nth = new Map<string, number>();
  let table = '';
  for (const line of text.split('\n')) {
    if (line.startsWith('*')) {
      table = line.slice(1).trim();
      nth.clear();
    }
    const found = /^\[(\d+):\d+\] -A (\S+)/.exec(line);
    if (found === null || table !== 'nat') continue;
    const chain = found[2]!;
    const index = (nth.get(chain) ?? 0) + 1;
    nth.set(chain, index);
    counters.set(`nat ${chain} ${index}`, { packets: Number(found[1]), redirects: / -j REDIRECT /.test(line) });
  }
  return counters;
}

interface NftRule {
  family: string;
  table: string;
  chain: string;
  expr: { counter?: { packets: number } | null; redirect?: unknown }[];
}

/** Reads `nft -j list ruleset`: the tables that native generators write; what iptables-nft wrote is printed by iptables-save. */
export function countersOfNft(text: string): Counters {
  const counters = new Map<string, Counted>();
  if (text.trim() === '') return counters;
  const nth = new Map<string, number>();
  const listed: { nftables: { rule?: NftRule }[] } = JSON.parse(text);
  for (const { rule } of listed.nftables) {
    if (rule === undefined || rule.family !== 'inet' || !rule.table.endsWith('-nat')) continue;
    const chain = `${rule.table} ${rule.chain}`;
    const index = (nth.get(chain) ?? 0) + 1;
    nth.set(chain, index);
    const counter = rule.expr.find((part) => part.counter != null)?.counter;
    if (counter != null)
      counters.set(`${chain} ${index}`, { packets: counter.packets, redirects: rule.expr.some((part) => part.redirect !== undefined) });
  }
  return counters;
}

export interface Reading {
  readonly readAt: string;
  readonly counters: Counters;
}

/** The original tuples that conntrack's first listing shows: what the recording saw first of these was a later packet, if it looked like a first one or not. */
export function alreadyTracked(bundle: Bundle, entry: NamespaceEntry): ReadonlySet<string> {
  const tuples = new Set<string>();
  for (const family of ['ipv4', 'ipv6'] as const) {
    const path = snapshotsOf(entry, 'conntrack', family)[0]?.path;
    for (const line of path === undefined ? [] : (bundle.readText(path) ?? '').split('\n')) {
      const found = /^\S+\s+\d+ (\w+) .*?src=(\S+) dst=(\S+) sport=(\d+) dport=(\d+)/.exec(line.replace(/^(ipv[46])\s+\d+\s+/, '$1 0 '));
      if (found !== null) tuples.add(found.slice(1).join(' '));
    }
  }
  return tuples;
}

const FORMATS: readonly [kind: string, read: (text: string) => Counters][] = [
  ['iptables-save', countersOfIptables],
  ['nft', countersOfNft],
];

/** The first and the last reading of each kind of rules in a namespace, where there are two. */
export function readingsOf(bundle: Bundle, entry: NamespaceEntry): [Reading, Reading][] {
  return FORMATS.flatMap(([kind, read]) => {
    const all = snapshotsOf(entry, kind).flatMap(({ path, readAt, status }): Reading[] =>
      path === undefined || readAt === undefined || status !== 'ok' ? [] : [{ readAt, counters: read(bundle.readText(path) ?? '') }],
    );
    const first = all[0];
    const last = all.at(-1);
    return first === undefined || last === undefined || first === last || last.counters.size === 0
      ? []
      : [[first, last] as [Reading, Reading]];
  });
}

/** A reading takes some milliseconds, and its stamp is of its beginning or end: what began this near to it may be on either side. */
const READING_NS = 50e6;
const BASE = { epochSeconds: 1_700_000_000 };

function moved(stamp: string, ns: number): string {
  return formatTime(BASE, parseTimeNs(BASE, stamp)! + ns);
}

export interface CounterFinding {
  readonly rule: string;
  readonly redirects: boolean;
  /** What the kernel counted. */
  readonly kernel: number;
  /** Connections that surely began between the readings and are said to have met the rule. */
  readonly certain: number;
  /** The same with those that began about as the counters were read. */
  readonly possible: number;
}

/** @param flows of the namespace */
export function countRules(
  [before, after]: readonly [Reading, Reading],
  flows: readonly FlowRecord[],
  tracked: ReadonlySet<string>,
): CounterFinding[] {
  const certain = new Map<string, number>();
  const possible = new Map<string, number>();
  const from = moved(before.readAt, -READING_NS);
  const surelyFrom = moved(before.readAt, READING_NS);
  const surelyTo = moved(after.readAt, -READING_NS);
  const to = moved(after.readAt, READING_NS);
  for (const { first, rule, midstream, protocol, source, destination } of flows) {
    if (
      first < from ||
      first > to ||
      midstream === true ||
      tracked.has(`${protocol} ${source.ip} ${destination.ip} ${source.port} ${destination.port}`)
    )
      continue;
    for (const { table, chain, index } of rule?.steps ?? []) {
      const key = `${table} ${chain} ${index}`;
      possible.set(key, (possible.get(key) ?? 0) + 1);
      if (first >= surelyFrom && first <= surelyTo) certain.set(key, (certain.get(key) ?? 0) + 1);
    }
  }
  return [...after.counters].map(([rule, { packets, redirects }]) => ({
    rule,
    redirects,
    kernel: packets - (before.counters.get(rule)?.packets ?? 0),
    certain: certain.get(rule) ?? 0,
    possible: possible.get(rule) ?? 0,
  }));
}
