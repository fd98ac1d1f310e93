/**
 * `conntrack -L -o xml`: one `<flow>` an entry, with a `<meta>` for each direction and one for what belongs to both.
 * Source: libnetfilter_conntrack src/conntrack/snprintf_xml.c. Only what that writes is read; it is no XML reader.
 */
import { canonicalIp, parseIp } from '../net/address.ts';
import type { ConntrackEntry, ConntrackTable, Tuple } from './conntrack-entry.ts';
import { protocolName } from './protocol-names.ts';

function tag(text: string, name: string): string | undefined {
  const open = text.indexOf(`<${name}>`);
  if (open === -1) return undefined;
  const close = text.indexOf('</', open);
  return close === -1 ? undefined : text.slice(open + name.length + 2, close);
}

function numberTag(text: string, name: string): number | undefined {
  const value = tag(text, name);
  return value !== undefined && /^(?:\d{1,20}|0x[0-9a-fA-F]{1,8})$/.test(value) ? Number(value) : undefined;
}

function tuple(meta: string): Tuple | undefined {
  const source = canonicalIp(tag(meta, 'src') ?? '');
  const destination = canonicalIp(tag(meta, 'dst') ?? '');
  if (source === undefined || destination === undefined) return undefined;
  const sport = numberTag(meta, 'sport');
  const dport = numberTag(meta, 'dport');
  const type = numberTag(meta, 'type');
  const packets = numberTag(meta, 'packets');
  const bytes = numberTag(meta, 'bytes');
  return {
    source: { ip: source, ...(sport === undefined ? {} : { port: sport }) },
    destination: { ip: destination, ...(dport === undefined ? {} : { port: dport }) },
    ...(type === undefined ? {} : { icmp: { type, code: numberTag(meta, 'code') ?? 0, id: numberTag(meta, 'id') ?? 0 } }),
    ...(packets === undefined ? {} : { packets }),
    ...(bytes === undefined ? {} : { bytes }),
  };
}

function section(flow: string, direction: string): string {
  const at = flow.indexOf(`<meta direction="${direction}">`);
  if (at === -1) return '';
  const end = flow.indexOf('</meta>', at);
  return end === -1 ? '' : flow.slice(at, end);
}

function parseFlow(flow: string): ConntrackEntry | undefined {
  const originalText = section(flow, 'original');
  const original = tuple(originalText);
  const reply = tuple(section(flow, 'reply'));
  const protocol = /<layer4 protonum="(\d{1,3})"/.exec(originalText)?.[1];
  if (original === undefined || reply === undefined || protocol === undefined) return undefined;
  const both = section(flow, 'independent');
  const state = tag(both, 'state');
  const zone = numberTag(both, 'zone');
  const mark = numberTag(both, 'mark');
  const id = numberTag(both, 'id');
  const timeout = numberTag(both, 'timeout');
  return {
    family: parseIp(original.source.ip)!.family,
    protocol: protocolName(protocol),
    ...(state === undefined ? {} : { state }),
    original,
    reply,
    ...(zone === undefined ? {} : { zone }),
    ...(mark === undefined ? {} : { mark }),
    ...(id === undefined ? {} : { id }),
    unreplied: both.includes('<unreplied/>'),
    assured: both.includes('<assured/>'),
    ...(timeout === undefined ? {} : { timeout }),
  };
}

export function parseXmlFlows(text: string, limit: number): ConntrackTable {
  const table: ConntrackTable = { entries: [], skipped: 0, truncated: false };
  let at = text.indexOf('<flow');
  while (at !== -1) {
    const end = text.indexOf('</flow>', at);
    if (end === -1) {
      table.skipped++;
      break;
    }
    if (table.entries.length >= limit) {
      table.truncated = true;
      break;
    }
    const entry = end - at > 8192 ? undefined : parseFlow(text.slice(at, end));
    if (entry === undefined) table.skipped++;
    else table.entries.push(entry);
    at = text.indexOf('<flow', end);
  }
  return table;
}
