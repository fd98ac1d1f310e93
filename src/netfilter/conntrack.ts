/**
 * What conntrack prints, in every form that people keep: `conntrack -L` (plain, `-o extended`, `-o id`, `-o save`, `-o xml`), /proc/net/nf_conntrack, and `conntrack -E -o timestamp,extended,id`.
 *
 * Nothing but the tuples is sure to be there: counters, stamps, ids and zones depend on the options and on sysctls. A line that is none of these is counted, not fatal.
 * Source: conntrack(8); libnetfilter_conntrack src/conntrack/snprintf_default.c, snprintf_xml.c; Linux net/netfilter/nf_conntrack_standalone.c ct_seq_show().
 */
import { canonicalIp, parseIp } from '../net/address.ts';
import type { ConntrackEntry, ConntrackTable, Tuple } from './conntrack-entry.ts';
import { parseXmlFlows } from './conntrack-xml.ts';
import { protocolName } from './protocol-names.ts';

export type { ConntrackEntry, ConntrackTable, Tuple, TupleEnd } from './conntrack-entry.ts';

export type ConntrackEventType = 'NEW' | 'UPDATE' | 'DESTROY';

export interface ConntrackEvent {
  type: ConntrackEventType;
  /** When the reader received it, not when it happened: never to be ordered against packets. */
  at?: { seconds: number; nanoseconds: number };
  entry: ConntrackEntry;
}

export interface ConntrackEvents {
  events: ConntrackEvent[];
  skipped: number;
  truncated: boolean;
}

export const MAX_ENTRIES = 4_000_000;
const MAX_LINE = 4096;

/** Reads a table; never throws. Entries come in the order of the text. */
export function parseConntrack(text: string): ConntrackTable {
  if (/^\s*<(?:\?xml|conntrack)/.test(text)) return parseXmlFlows(text, MAX_ENTRIES);
  const table: ConntrackTable = { entries: [], skipped: 0, truncated: false };
  for (const line of linesOf(text)) {
    if (ignorable(line)) continue;
    if (table.entries.length >= MAX_ENTRIES) {
      table.truncated = true;
      break;
    }
    const entry = /^\s*-[AIUD]\s/.test(line) ? parseSaved(line) : parseLine(line);
    if (entry === undefined) table.skipped++;
    else table.entries.push(entry);
  }
  return table;
}

/** Reads events; never throws. In the order of the text. */
export function parseConntrackEvents(text: string): ConntrackEvents {
  const read: ConntrackEvents = { events: [], skipped: 0, truncated: false };
  for (const line of linesOf(text)) {
    if (ignorable(line)) continue;
    if (read.events.length >= MAX_ENTRIES) {
      read.truncated = true;
      break;
    }
    const m = /^\s*(?:\[(\d{1,12})\.(\d{1,9})\s*\])?\s*\[(NEW|UPDATE|DESTROY)\]\s+(.*)$/.exec(line);
    const entry = m === null ? undefined : parseLine(m[4]!);
    if (m === null || entry === undefined) {
      read.skipped++;
      continue;
    }
    const at = m[1] === undefined ? undefined : { seconds: Number(m[1]), nanoseconds: Number(m[2]!.padEnd(9, '0')) };
    read.events.push({ type: m[3] as ConntrackEventType, ...(at === undefined ? {} : { at }), entry });
  }
  return read;
}

function* linesOf(text: string): Generator<string> {
  let from = 0;
  while (from < text.length) {
    let to = text.indexOf('\n', from);
    if (to === -1) to = text.length;
    yield text.slice(from, Math.min(to, from + MAX_LINE));
    from = to + 1;
  }
}

/** Empty lines, comments, and what the tool says at the end: `conntrack v1.4.7 (conntrack-tools): 5 flow entries have been shown.` */
function ignorable(line: string): boolean {
  return /^\s*(?:$|#|conntrack v[\d.]+ )/.test(line);
}

function parseLine(line: string): ConntrackEntry | undefined {
  const words = line.trim().split(/\s+/);
  let i = 0;
  if (words[0] === 'ipv4' || words[0] === 'ipv6') i = 2;
  const name = words[i];
  const number = words[i + 1];
  if (name === undefined || number === undefined || !/^[a-z][\w-]*$/.test(name) || !/^\d{1,3}$/.test(number)) return undefined;
  const entry: Draft = { protocol: protocolName(number), tuples: [], unreplied: false, assured: false };
  i += 2;
  if (/^\d+$/.test(words[i] ?? '')) entry.timeout = Number(words[i++]);
  if (/^[A-Z][A-Z0-9_]*$/.test(words[i] ?? '')) entry.state = words[i++]!;
  for (; i < words.length; i++) readWord(words[i]!, entry);
  return finish(entry);
}

interface Draft {
  protocol: string;
  state?: string;
  tuples: { [field: string]: string }[];
  zone?: number;
  zoneOriginal?: number;
  zoneReply?: number;
  mark?: number;
  id?: number;
  unreplied: boolean;
  assured: boolean;
  timeout?: number;
  ageSeconds?: number;
}

const TUPLE_FIELDS = new Set(['dst', 'sport', 'dport', 'type', 'code', 'id', 'packets', 'bytes', 'srckey', 'dstkey']);

function readWord(word: string, entry: Draft): void {
  if (word === '[UNREPLIED]') entry.unreplied = true;
  else if (word === '[ASSURED]') entry.assured = true;
  const equals = word.indexOf('=');
  if (equals <= 0) return;
  const name = word.slice(0, equals);
  const value = word.slice(equals + 1);
  if (name === 'src') {
    if (entry.tuples.length < 2) entry.tuples.push({ src: value });
    return;
  }
  const tuple = entry.tuples.at(-1);
  const whole = Number(value);
  // `id` is ICMP's within a tuple, the entry's own after both.
  const ownId = name === 'id' && entry.tuples.length === 2 && !(isIcmp(entry.protocol) && tuple?.id === undefined);
  if (name === 'mark') entry.mark = whole;
  else if (name === 'zone') entry.zone = whole;
  else if (name === 'zone-orig') entry.zoneOriginal = whole;
  else if (name === 'zone-reply') entry.zoneReply = whole;
  else if (name === 'delta-time') entry.ageSeconds = whole;
  else if (ownId) entry.id = whole;
  else if (tuple !== undefined && TUPLE_FIELDS.has(name)) tuple[name] ??= value;
}

function isIcmp(protocol: string): boolean {
  return protocol === 'icmp' || protocol === 'icmpv6';
}

function count(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,20}$/.test(text) ? Number(text) : undefined;
}

function tupleOf(fields: { [field: string]: string }, protocol: string): Tuple | undefined {
  const source = canonicalIp(fields.src ?? '');
  const destination = canonicalIp(fields.dst ?? '');
  if (source === undefined || destination === undefined) return undefined;
  const sport = count(fields.sport);
  const dport = count(fields.dport);
  const packets = count(fields.packets);
  const bytes = count(fields.bytes);
  const type = count(fields.type);
  const icmp = isIcmp(protocol) && type !== undefined ? { type, code: count(fields.code) ?? 0, id: count(fields.id) ?? 0 } : undefined;
  return {
    source: { ip: source, ...(sport === undefined ? {} : { port: sport }) },
    destination: { ip: destination, ...(dport === undefined ? {} : { port: dport }) },
    ...(icmp === undefined ? {} : { icmp }),
    ...(packets === undefined ? {} : { packets }),
    ...(bytes === undefined ? {} : { bytes }),
  };
}

function finish({ tuples, protocol, unreplied, assured, ...rest }: Draft): ConntrackEntry | undefined {
  const [first, second] = tuples;
  if (first === undefined || second === undefined) return undefined;
  const original = tupleOf(first, protocol);
  const reply = tupleOf(second, protocol);
  if (original === undefined || reply === undefined) return undefined;
  for (const field of ['zone', 'zoneOriginal', 'zoneReply', 'mark', 'id', 'timeout', 'ageSeconds'] as const)
    if (rest[field] !== undefined && !Number.isFinite(rest[field])) delete rest[field];
  return { family: parseIp(original.source.ip)!.family, protocol, original, reply, unreplied, assured, ...rest };
}

const savedOptions: { readonly [option: string]: readonly [tuple: 0 | 1, field: string] } = {
  '-s': [0, 'src'],
  '--orig-src': [0, 'src'],
  '-d': [0, 'dst'],
  '--orig-dst': [0, 'dst'],
  '-r': [1, 'src'],
  '-g': [1, 'src'],
  '--reply-src': [1, 'src'],
  '-q': [1, 'dst'],
  '--reply-dst': [1, 'dst'],
  '--sport': [0, 'sport'],
  '--orig-port-src': [0, 'sport'],
  '--dport': [0, 'dport'],
  '--orig-port-dst': [0, 'dport'],
  '--reply-port-src': [1, 'sport'],
  '--reply-port-dst': [1, 'dport'],
  '--icmp-type': [0, 'type'],
  '--icmpv6-type': [0, 'type'],
  '--icmp-code': [0, 'code'],
  '--icmpv6-code': [0, 'code'],
  '--icmp-id': [0, 'id'],
  '--icmpv6-id': [0, 'id'],
};

/** `-o save`: the entry as a command that would make it. ICMP's answer is not spelled out: its type follows from the question's. */
function parseSaved(line: string): ConntrackEntry | undefined {
  const words = line.trim().split(/\s+/);
  const draft: Draft = { protocol: '', tuples: [{}, {}], unreplied: true, assured: false };
  for (let i = 1; i + 1 < words.length; i += 2) {
    const name = words[i]!;
    const value = words[i + 1]!;
    const field = Object.hasOwn(savedOptions, name) ? savedOptions[name] : undefined;
    if (field !== undefined) draft.tuples[field[0]]![field[1]] = value;
    else if (name === '-p' || name === '--proto') draft.protocol = protocolName(value);
    else if (name === '-t' || name === '--timeout') draft.timeout = Number(value);
    else if (name === '-u' || name === '--status') {
      draft.unreplied = !value.includes('SEEN_REPLY');
      draft.assured = value.includes('ASSURED');
    } else if (name === '--state') draft.state = value;
    else if (name === '-m' || name === '--mark') draft.mark = Number(value);
    else if (name === '-w' || name === '--zone') draft.zone = Number(value);
    else if (name === '--orig-zone') draft.zoneOriginal = Number(value);
    else if (name === '--reply-zone') draft.zoneReply = Number(value);
    else if (!name.startsWith('-')) i--;
  }
  return draft.protocol === '' ? undefined : finish(draft);
}
