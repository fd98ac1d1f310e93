/**
 * Decodes conntrack's netlink messages, dumps and events, to the same entries as the text.
 *
 * No attribute is sure to be there, and their order differs between dumps and events. Headers are in the host's byte order, addresses, ports and counters in network order. A message that is cut or
 * of another kind gives `undefined`; what follows in the buffer is still read as long as the lengths hold.
 * Source: Linux include/uapi/linux/netfilter/nfnetlink_conntrack.h, nfnetlink.h, netlink.h; net/netfilter/nf_conntrack_netlink.c.
 */
import { NLMSG_HEADER_BYTES, netlinkAddress, netlinkAttributes } from '../net/netlink.ts';
import type { ConntrackEvent, ConntrackEventType } from './conntrack.ts';
import type { ConntrackEntry, Tuple } from './conntrack-entry.ts';
import { protocolName } from './protocol-names.ts';

const NFGENMSG_LEN = 4;

const NFNL_SUBSYS_CTNETLINK = 1;
const IPCTNL_MSG_CT_NEW = 0;
const IPCTNL_MSG_CT_DELETE = 2;
const NLM_F_CREATE = 0x400;

const CTA_TUPLE_ORIG = 1;
const CTA_TUPLE_REPLY = 2;
const CTA_STATUS = 3;
const CTA_PROTOINFO = 4;
const CTA_TIMEOUT = 7;
const CTA_MARK = 8;
const CTA_COUNTERS_ORIG = 9;
const CTA_COUNTERS_REPLY = 10;
const CTA_ID = 12;
const CTA_ZONE = 18;
const CTA_TIMESTAMP = 20;
const CTA_TIMESTAMP_EVENT = 27;

const CTA_TUPLE_IP = 1;
const CTA_TUPLE_PROTO = 2;
const CTA_TUPLE_ZONE = 3;

const IPS_SEEN_REPLY = 0x2;
const IPS_ASSURED = 0x4;

/** Source: Linux include/uapi/linux/netfilter/nf_conntrack_tcp.h, enum tcp_conntrack. */
const tcpStates = ['NONE', 'SYN_SENT', 'SYN_RECV', 'ESTABLISHED', 'FIN_WAIT', 'CLOSE_WAIT', 'LAST_ACK', 'TIME_WAIT', 'CLOSE', 'SYN_SENT2'];
/** Source: Linux include/uapi/linux/netfilter/nf_conntrack_sctp.h, enum sctp_conntrack. */
const sctpStates = [
  'NONE',
  'CLOSED',
  'COOKIE_WAIT',
  'COOKIE_ECHOED',
  'ESTABLISHED',
  'SHUTDOWN_SENT',
  'SHUTDOWN_RECD',
  'SHUTDOWN_ACK_SENT',
  'HEARTBEAT_SENT',
];

type Attributes = Map<number, Uint8Array>;

export interface NetlinkConntrack {
  /** `undefined` in the answer to a dump. */
  readonly type: ConntrackEventType | undefined;
  /** When it happened, by the kernel: only with nf_conntrack_timestamp, on kernels that tell. Nanoseconds since the epoch. */
  readonly eventNs?: bigint;
  /** When the connection began, likewise. */
  readonly startNs?: bigint;
  readonly entry: ConntrackEntry;
}

const view = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

function u8(bytes: Uint8Array | undefined): number | undefined {
  return bytes !== undefined && bytes.length >= 1 ? bytes[0] : undefined;
}

function u16(bytes: Uint8Array | undefined): number | undefined {
  return bytes !== undefined && bytes.length >= 2 ? view(bytes).getUint16(0) : undefined;
}

function u32(bytes: Uint8Array | undefined): number | undefined {
  return bytes !== undefined && bytes.length >= 4 ? view(bytes).getUint32(0) : undefined;
}

function u64(bytes: Uint8Array | undefined): bigint | undefined {
  return bytes !== undefined && bytes.length >= 8 ? view(bytes).getBigUint64(0) : undefined;
}

interface DecodedTuple {
  tuple: Tuple;
  protocol: number;
  zone: number | undefined;
}

function decodeTuple(bytes: Uint8Array | undefined, family: 4 | 6, littleEndian: boolean): DecodedTuple | undefined {
  if (bytes === undefined) return undefined;
  const parts = netlinkAttributes(bytes, littleEndian);
  const ips = netlinkAttributes(parts.get(CTA_TUPLE_IP) ?? new Uint8Array(), littleEndian);
  const proto = netlinkAttributes(parts.get(CTA_TUPLE_PROTO) ?? new Uint8Array(), littleEndian);
  const [from, to] = family === 4 ? [1, 2] : [3, 4];
  const source = netlinkAddress(ips.get(from!));
  const destination = netlinkAddress(ips.get(to!));
  const protocol = u8(proto.get(1));
  if (source === undefined || destination === undefined || protocol === undefined) return undefined;
  const sport = u16(proto.get(2));
  const dport = u16(proto.get(3));
  // ICMP has id, type and code at 4, 5 and 6, ICMPv6 at 7, 8 and 9.
  const base = family === 4 ? 4 : 7;
  const type = u8(proto.get(base + 1));
  const tuple: Tuple = {
    source: { ip: source, ...(sport === undefined ? {} : { port: sport }) },
    destination: { ip: destination, ...(dport === undefined ? {} : { port: dport }) },
    ...(type === undefined ? {} : { icmp: { type, code: u8(proto.get(base + 2)) ?? 0, id: u16(proto.get(base)) ?? 0 } }),
  };
  return { tuple, protocol, zone: u16(parts.get(CTA_TUPLE_ZONE)) };
}

function countersInto(tuple: Tuple, bytes: Uint8Array | undefined, littleEndian: boolean): void {
  if (bytes === undefined) return;
  const counters = netlinkAttributes(bytes, littleEndian);
  const packets = u64(counters.get(1));
  const octets = u64(counters.get(2));
  if (packets !== undefined) tuple.packets = Number(packets);
  if (octets !== undefined) tuple.bytes = Number(octets);
}

function stateOf(bytes: Uint8Array | undefined, littleEndian: boolean): string | undefined {
  if (bytes === undefined) return undefined;
  const info = netlinkAttributes(bytes, littleEndian);
  const tcp = info.get(1);
  const sctp = info.get(3);
  if (tcp !== undefined) return tcpStates[u8(netlinkAttributes(tcp, littleEndian).get(1)) ?? -1];
  return sctp === undefined ? undefined : sctpStates[u8(netlinkAttributes(sctp, littleEndian).get(1)) ?? -1];
}

/**
 * Decodes one message, header included.
 *
 * @param bytes one message, as long as its header says; more is left alone
 * @param littleEndian byte order of the host that the bytes come from
 * @returns `undefined` when it is cut, or no connection's message
 */
export function decodeConntrackMessage(bytes: Uint8Array, littleEndian = true): NetlinkConntrack | undefined {
  if (bytes.length < NLMSG_HEADER_BYTES + NFGENMSG_LEN) return undefined;
  const data = view(bytes);
  const length = data.getUint32(0, littleEndian);
  const type = data.getUint16(4, littleEndian);
  const flags = data.getUint16(6, littleEndian);
  if (length < NLMSG_HEADER_BYTES + NFGENMSG_LEN || length > bytes.length || type >>> 8 !== NFNL_SUBSYS_CTNETLINK) return undefined;
  const kind = type & 0xff;
  if (kind !== IPCTNL_MSG_CT_NEW && kind !== IPCTNL_MSG_CT_DELETE) return undefined;
  const family = bytes[NLMSG_HEADER_BYTES] === 2 ? 4 : bytes[NLMSG_HEADER_BYTES] === 10 ? 6 : undefined;
  if (family === undefined) return undefined;
  const found = netlinkAttributes(bytes.subarray(NLMSG_HEADER_BYTES + NFGENMSG_LEN, length), littleEndian);
  const entry = entryOf(found, family, littleEndian);
  if (entry === undefined) return undefined;
  // The answer to a dump carries the port of who asked; the kernel's own events have none. The end of an entry is never part of a dump: its port is that of who removed it.
  const asked = kind !== IPCTNL_MSG_CT_DELETE && data.getUint32(12, littleEndian) !== 0;
  const event: ConntrackEventType | undefined = asked
    ? undefined
    : kind === IPCTNL_MSG_CT_DELETE
      ? 'DESTROY'
      : (flags & NLM_F_CREATE) !== 0
        ? 'NEW'
        : 'UPDATE';
  const eventNs = u64(found.get(CTA_TIMESTAMP_EVENT));
  const startNs = u64(netlinkAttributes(found.get(CTA_TIMESTAMP) ?? new Uint8Array(), littleEndian).get(1));
  return { type: event, entry, ...(eventNs === undefined ? {} : { eventNs }), ...(startNs === undefined ? {} : { startNs }) };
}

function entryOf(found: Attributes, family: 4 | 6, littleEndian: boolean): ConntrackEntry | undefined {
  const original = decodeTuple(found.get(CTA_TUPLE_ORIG), family, littleEndian);
  const reply = decodeTuple(found.get(CTA_TUPLE_REPLY), family, littleEndian);
  if (original === undefined || reply === undefined) return undefined;
  countersInto(original.tuple, found.get(CTA_COUNTERS_ORIG), littleEndian);
  countersInto(reply.tuple, found.get(CTA_COUNTERS_REPLY), littleEndian);
  const status = u32(found.get(CTA_STATUS));
  const state = stateOf(found.get(CTA_PROTOINFO), littleEndian);
  const zone = u16(found.get(CTA_ZONE));
  const mark = u32(found.get(CTA_MARK));
  const id = u32(found.get(CTA_ID));
  const timeout = u32(found.get(CTA_TIMEOUT));
  return {
    family,
    protocol: protocolName(String(original.protocol)),
    ...(state === undefined ? {} : { state }),
    original: original.tuple,
    reply: reply.tuple,
    ...(zone === undefined ? {} : { zone }),
    ...(original.zone === undefined ? {} : { zoneOriginal: original.zone }),
    ...(reply.zone === undefined ? {} : { zoneReply: reply.zone }),
    ...(mark === undefined ? {} : { mark }),
    ...(id === undefined ? {} : { id }),
    unreplied: status !== undefined && (status & IPS_SEEN_REPLY) === 0,
    assured: status !== undefined && (status & IPS_ASSURED) !== 0,
    ...(timeout === undefined ? {} : { timeout }),
  };
}

/** Every message of a buffer as recvmsg() fills it; those that are none are counted. Stops where a length does not hold. */
export function decodeConntrackBuffer(bytes: Uint8Array, littleEndian = true): { messages: NetlinkConntrack[]; skipped: number } {
  const read = { messages: [] as NetlinkConntrack[], skipped: 0 };
  const data = view(bytes);
  let at = 0;
  while (at + NLMSG_HEADER_BYTES <= bytes.length) {
    const length = data.getUint32(at, littleEndian);
    if (length < NLMSG_HEADER_BYTES || at + length > bytes.length) {
      read.skipped++;
      break;
    }
    const message = decodeConntrackMessage(bytes.subarray(at, at + length), littleEndian);
    if (message === undefined) read.skipped++;
    else read.messages.push(message);
    at += (length + 3) & ~3;
  }
  return read;
}

/** As the text's events are, for who does not mind where they come from. */
export function asEvent({ type, eventNs, entry }: NetlinkConntrack): ConntrackEvent | undefined {
  if (type === undefined) return undefined;
  if (eventNs === undefined) return { type, entry };
  return { type, at: { seconds: Number(eventNs / 1_000_000_000n), nanoseconds: Number(eventNs % 1_000_000_000n) }, entry };
}
