/**
 * Sockets as the kernel's sock_diag tells them, decoded to what a listing of ss would give. It names no processes: the owner is a user id alone.
 *
 * Source: Linux include/uapi/linux/inet_diag.h (struct inet_diag_msg), include/net/tcp_states.h, net/ipv4/inet_diag.c; the names of states from iproute2 misc/ss.c.
 */
import { netlinkAddress, netlinkAttributes, netlinkMessages } from '../net/netlink.ts';
import type { Socket, SocketEnd } from './sockets.ts';

const SOCK_DIAG_BY_FAMILY = 20;
const MESSAGE_BYTES = 72;
const AF_INET = 2;
const AF_INET6 = 10;
const INET_DIAG_SKV6ONLY = 11;

const states: readonly (string | undefined)[] = [
  undefined,
  'ESTAB',
  'SYN-SENT',
  'SYN-RECV',
  'FIN-WAIT-1',
  'FIN-WAIT-2',
  'TIME-WAIT',
  'UNCONN',
  'CLOSE-WAIT',
  'LAST-ACK',
  'LISTEN',
  'CLOSING',
  'NEW-SYN-RECV',
  'BOUND-INACTIVE',
];

/** A socket with the lengths of its queues: of one that listens, connections that wait, and how many may. */
export interface DiagSocket extends Socket {
  readonly receiveQueue: number;
  readonly sendQueue: number;
}

/**
 * The sockets in a part of a dump; messages of other kinds and cut ones are passed over.
 * @param protocol which was asked for: the kernel does not repeat it
 * @param deviceName of an interface index, for sockets that are bound to one
 */
export function decodeSocketDump(
  bytes: Uint8Array,
  protocol: 'tcp' | 'udp',
  deviceName: (index: number) => string | undefined = () => undefined,
  littleEndian = true,
): DiagSocket[] {
  const sockets: DiagSocket[] = [];
  for (const { type, body } of netlinkMessages(bytes, littleEndian)) {
    const socket = type === SOCK_DIAG_BY_FAMILY ? decodeSocket(body, protocol, deviceName, littleEndian) : undefined;
    if (socket !== undefined) sockets.push(socket);
  }
  return sockets;
}

function decodeSocket(
  body: Uint8Array,
  protocol: 'tcp' | 'udp',
  deviceName: (index: number) => string | undefined,
  littleEndian: boolean,
): DiagSocket | undefined {
  if (body.length < MESSAGE_BYTES) return undefined;
  const data = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const family = body[0];
  if (family !== AF_INET && family !== AF_INET6) return undefined;
  const index = data.getUint32(40, littleEndian);
  const device = index === 0 ? undefined : (deviceName(index) ?? `if${index}`);
  const only6 = family === AF_INET6 && netlinkAttributes(body.subarray(MESSAGE_BYTES), littleEndian).get(INET_DIAG_SKV6ONLY)?.[0] !== 0;
  const local = endOf(body.subarray(8, 24), family, data.getUint16(4), only6);
  const peer = endOf(body.subarray(24, 40), family, data.getUint16(6), only6);
  if (local === undefined || peer === undefined) return undefined;
  const inode = data.getUint32(68, littleEndian);
  return {
    protocol,
    state: states[body[1] ?? 0] ?? 'UNKNOWN',
    local: { ...local, ...(device === undefined ? {} : { device }) },
    peer,
    wildcard: local.ip === '*' || local.ip === '0.0.0.0' || local.ip === '::',
    // Of a socket that no process has any more (TIME-WAIT, orphans) the kernel gives user 0 and no inode.
    ...(inode === 0 ? {} : { uid: data.getUint32(64, littleEndian), inode }),
    users: [],
    receiveQueue: data.getUint32(56, littleEndian),
    sendQueue: data.getUint32(60, littleEndian),
  };
}

/** @param only6 may the unspecified address of this socket be of IPv6 alone? `*` is both families. */
function endOf(bytes: Uint8Array, family: number, port: number, only6: boolean): SocketEnd | undefined {
  const mapped = family === AF_INET6 && bytes.subarray(0, 10).every((byte) => byte === 0) && bytes[10] === 0xff && bytes[11] === 0xff;
  const ip = netlinkAddress(family === AF_INET ? bytes.subarray(0, 4) : mapped ? bytes.subarray(12) : bytes);
  if (ip === undefined) return undefined;
  return { ip: ip === '::' && !only6 ? '*' : ip, ...(port === 0 ? {} : { port }) };
}

/** As `ss -tunaepH` would print them, a line each, without processes. {@link parseSockets} reads it. */
export function formatSockets(sockets: Iterable<DiagSocket>): string {
  let text = '';
  for (const socket of sockets) {
    const { protocol, state, receiveQueue, sendQueue, local, peer, uid, inode } = socket;
    const owner = inode === undefined ? '' : ` ${uid === undefined || uid === 0 ? '' : `uid:${uid} `}ino:${inode} sk:0`;
    // A state without a name is a column that is not there.
    const named = state === 'UNKNOWN' ? '' : `${state.padEnd(10)} `;
    text += `${protocol.padEnd(5)} ${named}${receiveQueue} ${sendQueue} ${formatEnd(local)} ${formatEnd(peer)}${owner}\n`;
  }
  return text;
}

function formatEnd({ ip, port, device }: SocketEnd): string {
  const host = ip.includes(':') ? `[${ip}]` : ip;
  return `${host}${device === undefined ? '' : `%${device}`}:${port ?? '*'}`;
}
