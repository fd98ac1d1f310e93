/**
 * Listings of sockets as `ss` prints them: `ss -tunaepH`, `ss -ntulp`, `ss -tlnp`, with or without the header line.
 *
 * A port that several sockets share (SO_REUSEPORT: Envoy opens one a worker) comes once for each. A TIME-WAIT row has no owner.
 * Source: iproute2 misc/ss.c (sock_state_print, inet_addr_print, proc_ctx_print, sock_details_print: a uid of 0 is not printed, but the inode beside it is).
 */
import { canonicalIp } from '../net/address.ts';

/** One end of a socket. */
export interface SocketEnd {
  /** Canonical text; an IPv4-mapped address as the IPv4 address that it stands for; `*` is every address of both families. */
  readonly ip: string;
  /** Absent where any port is meant, and where ss printed a service's name. */
  readonly port?: number;
  /** Interface that the socket is bound to. */
  readonly device?: string;
}

export interface SocketUser {
  readonly process: string;
  readonly pid: number;
  readonly fd: number;
}

export interface Socket {
  /** `tcp`, `udp`, …; `unknown` where the listing has no column for it and its states do not tell. */
  readonly protocol: string;
  /** As ss prints it: `LISTEN`, `ESTAB`, `UNCONN`, `TIME-WAIT`, …; `UNKNOWN` where the listing has no column for it. */
  readonly state: string;
  readonly local: SocketEnd;
  readonly peer: SocketEnd;
  /** Does the socket take what comes to any address? */
  readonly wildcard: boolean;
  readonly uid?: number;
  /** ss tells none; other readers may. */
  readonly gid?: number;
  readonly inode?: number;
  /** Of the one process that holds it; absent when several do. */
  readonly pid?: number;
  readonly process?: string;
  /** All that hold it. */
  readonly users: readonly SocketUser[];
}

export interface SocketListing {
  readonly sockets: readonly Socket[];
  /** Lines that look like no socket. */
  readonly unreadLines: number;
}

/** The text is no listing of sockets at all. */
export class SocketListingError extends SyntaxError {
  override readonly name = 'SocketListingError';
  readonly path: string;
  readonly line: number;

  constructor(message: string, path: string, line: number) {
    super(message);
    this.path = path;
    this.line = line;
  }
}

const LINE_LIMIT = 300_000;
const USERS_LIMIT = 256;

const states = new Set([
  'LISTEN',
  'ESTAB',
  'SYN-SENT',
  'SYN-RECV',
  'FIN-WAIT-1',
  'FIN-WAIT-2',
  'TIME-WAIT',
  'CLOSE-WAIT',
  'LAST-ACK',
  'CLOSING',
  'CLOSED',
  'UNCONN',
  'NEW-SYN-RECV',
  'BOUND-INACTIVE',
]);
/** Sockets of the Internet families, as the Netid column names them. */
const protocols = new Set(['tcp', 'udp', 'mptcp', 'sctp', 'dccp', 'raw', 'icmp6']);
/** Sockets of other families: read, and of no use here. */
const others = /^(?:u_str|u_dgr|u_seq|u_raw|p_raw|p_dgr|nl|v_str|v_dgr|xdp|tipc|ti_\w+|\?\?\?)$/;

const USER = /\("((?:[^"]|"(?!,pid=)){0,64})",pid=(\d+),(?:[^)]{0,32}?)fd=(\d+)/g;
const UID = /(?:^|\s)uid:(\d+)/;
const INODE = /(?:^|\s)ino:(\d+)/;

const wildcards = new Set(['*', '0.0.0.0', '::']);

/** `0.0.0.0%lo:53`, `[fe80::1]%eth0:546`, `*:15020`, `:::22`, `[::ffff:127.0.0.1]:80`. */
function parseEnd(text: string): SocketEnd | undefined {
  const colon = text.lastIndexOf(':');
  if (colon <= 0) return undefined;
  const portText = text.slice(colon + 1);
  const percent = text.lastIndexOf('%', colon);
  const host = text.slice(0, percent === -1 ? colon : percent);
  const device = percent === -1 ? undefined : text.slice(percent + 1, colon).replace(/\]$/, '');
  const bare = host.startsWith('[') ? host.replace(/^\[|\]$/g, '') : host;
  const canonical = bare === '*' ? '*' : canonicalIp(bare);
  if (canonical === undefined) return undefined;
  const ip = canonical.startsWith('::ffff:') && canonical.includes('.') ? canonical.slice(7) : canonical;
  if (/^\d{1,5}$/.test(portText)) {
    const port = Number(portText);
    return port > 65_535 ? undefined : { ip, port, ...(device === undefined ? {} : { device }) };
  }
  return /^(?:\*|[A-Za-z][\w.+-]*)$/.test(portText) ? { ip, ...(device === undefined ? {} : { device }) } : undefined;
}

function parseUsers(rest: string): SocketUser[] {
  const users: SocketUser[] = [];
  for (const [, process = '', pid, fd] of rest.matchAll(USER)) {
    if (users.length >= USERS_LIMIT) break;
    users.push({ process, pid: Number(pid), fd: Number(fd) });
  }
  return users;
}

interface Row {
  readonly protocol: string | undefined;
  readonly state: string;
  readonly local: SocketEnd;
  readonly peer: SocketEnd;
  readonly rest: string;
}

/** A row in its columns; `undefined` when it is none, `'other'` for a socket of another family. ss leaves a column out when all its values are the same. */
function parseRow(line: string): Row | 'other' | undefined {
  const fields = line.trim().split(/\s+/, 6);
  if (others.test(fields[0]!)) return 'other';
  const protocol = protocols.has(fields[0]!) ? fields[0]! : undefined;
  let at = protocol === undefined ? 0 : 1;
  const state = states.has(fields[at] ?? '') ? fields[at++]! : 'UNKNOWN';
  const [received = '', sent = '', localText = '', peerText = ''] = fields.slice(at);
  if (!/^\d+$/.test(received) || !/^\d+$/.test(sent)) return undefined;
  const local = parseEnd(localText);
  const peer = parseEnd(peerText);
  return local === undefined || peer === undefined ? undefined : { protocol, state, local, peer, rest: afterFields(line, at + 4) };
}

/** What follows so many fields of a line. */
function afterFields(line: string, count: number): string {
  const field = /\S+\s*/y;
  field.lastIndex = line.length - line.trimStart().length;
  for (let i = 0; i < count; i++) if (field.exec(line) === null) return '';
  return line.slice(field.lastIndex);
}

/** A listing without the Netid column is of one protocol (`ss -t`, `ss -u`): its states tell which. */
function onlyProtocol(rows: readonly Row[]): string {
  if (rows.some((row) => row.state === 'UNCONN')) return 'udp';
  return rows.some((row) => row.state !== 'ESTAB' && row.state !== 'UNKNOWN') ? 'tcp' : 'unknown';
}

/**
 * @param path names the listing in errors
 * @throws {SocketListingError} when the text has lines, and none of them is a socket or a header
 */
export function parseSockets(text: string, path = 'sockets'): SocketListing {
  const rows: Row[] = [];
  let known = 0;
  let unreadLines = 0;
  let first: { line: number; text: string } | undefined;
  const lines = text.split('\n', LINE_LIMIT);
  lines.forEach((line, i) => {
    if (line.trim() === '') return;
    const header = /^(?:Netid\s+)?(?:State\s+)?Recv-Q\s+Send-Q\s/.test(line);
    const row = header ? 'other' : parseRow(line);
    if (row === undefined) {
      unreadLines++;
      first ??= { line: i + 1, text: line.trim().slice(0, 80) };
      return;
    }
    known++;
    if (row !== 'other') rows.push(row);
  });
  if (known === 0 && first !== undefined)
    throw new SocketListingError(
      `Cannot read "${path}" as a listing of sockets: a row of ss is wanted, line ${first.line} is ${JSON.stringify(first.text)}`,
      path,
      first.line,
    );
  const only = onlyProtocol(rows.filter((row) => row.protocol === undefined));
  return { sockets: rows.map((row) => socketOf(row, only)), unreadLines };
}

function socketOf(row: Row, only: string): Socket {
  const users = parseUsers(row.rest);
  const [user] = users;
  const alone = user !== undefined && users.every((other) => other.pid === user.pid);
  const inodeText = INODE.exec(row.rest)?.[1];
  const inode = inodeText === undefined ? 0 : Number(inodeText);
  const uidText = UID.exec(row.rest)?.[1];
  const uid = uidText === undefined ? (inode > 0 ? 0 : undefined) : Number(uidText);
  return {
    protocol: row.protocol ?? only,
    state: row.state,
    local: row.local,
    peer: row.peer,
    wildcard: wildcards.has(row.local.ip),
    ...(uid === undefined ? {} : { uid }),
    ...(inode > 0 ? { inode } : {}),
    ...(alone ? { pid: user.pid, process: user.process } : {}),
    users,
  };
}
