/**
 * The messages between sidetrace-probe and the daemon, described byte by byte in docs/probe.md: requests are encoded, replies decoded. All numbers are
 * little-endian. A message is a header of 12 bytes (u32 length of the payload, u16 type, u16 zero, u32 id) and its payload. The id is the caller's choice;
 * every reply to a request carries it, up to and including `end`, after which it is free again.
 */

export const PROBE_PROTOCOL_VERSION = 1;
const MAGIC = 'stprobe\0';
const HEADER_BYTES = 12;
const FRAME_HEADER_BYTES = 16;

/** The largest payload of a reply. */
export const LARGEST_REPLY = 1024 * 1024;
/** The largest payload of a request: longer tunnel data is cut into several. */
export const LARGEST_REQUEST = 8192;
/** Bytes that a tunnel carries from the pod before the first credit, and at most at once. */
export const TUNNEL_WINDOW = 1024 * 1024;
/** The same towards the pod. */
export const TUNNEL_SEND_WINDOW = 256 * 1024;

const REQUEST = {
  hello: 1,
  list: 2,
  watch: 3,
  capture: 4,
  stats: 5,
  events: 6,
  dump: 7,
  tool: 8,
  tunnel: 9,
  data: 10,
  close: 11,
  credit: 12,
} as const;

const EVENT_KIND = { conntrack: 1, ruleset: 2, links: 3 } as const;
const DUMP_KIND = { conntrack: 1, sockets: 2, links: 3, addresses: 4, rules: 5 } as const;
const TOOL_KIND = {
  'iptables-save': 1,
  'ip6tables-save': 2,
  'iptables-legacy-save': 3,
  'ip6tables-legacy-save': 4,
  'nft-ruleset': 5,
  'ip-rule': 6,
  'ip6-rule': 7,
} as const;

export type ProbeEventKind = keyof typeof EVENT_KIND;
export type ProbeDumpKind = keyof typeof DUMP_KIND;
export type ProbeTool = keyof typeof TOOL_KIND;

export type ProbeRequest =
  | { readonly type: 'hello' }
  | { readonly type: 'list' | 'watch' | 'stats' | 'close'; readonly id: number }
  | {
      readonly type: 'capture';
      readonly id: number;
      readonly cookie: bigint;
      /** 64 to 262144; the 20 bytes of LINKTYPE_LINUX_SLL2 count. */
      readonly snapLength: number;
      /** 128 KiB to 256 MiB. */
      readonly ringBytes: number;
      /** pcap-filter(7), numeric; '' takes everything. */
      readonly filter: string;
    }
  | {
      readonly type: 'events';
      readonly id: number;
      readonly cookie: bigint;
      readonly kind: ProbeEventKind /** 64 KiB to 64 MiB. */;
      readonly receiveBuffer: number;
    }
  | {
      readonly type: 'dump';
      readonly id: number;
      readonly cookie: bigint;
      readonly kind: ProbeDumpKind;
      /** AF_INET 2, AF_INET6 10; 0 all, where the kernel takes it (not for sockets). */
      readonly family: number;
      /** IPPROTO_TCP 6, IPPROTO_UDP 17; for sockets only. */
      readonly protocol: number;
    }
  | { readonly type: 'tool'; readonly id: number; readonly cookie: bigint; readonly tool: ProbeTool }
  | { readonly type: 'tunnel'; readonly id: number; readonly cookie: bigint; readonly port: number }
  | { readonly type: 'data'; readonly id: number; readonly bytes: Uint8Array }
  /** So many bytes of a tunnel were taken: as many more may come. */
  | { readonly type: 'credit'; readonly id: number; readonly bytes: number };

const END_CODES = ['done', 'closed', 'gone', 'shutdown', 'refused', 'failed', 'timed-out', 'too-large'] as const;
export type ProbeEndCode = (typeof END_CODES)[number];

export type ProbeReply =
  | {
      readonly type: 'hello';
      readonly version: number;
      /** The namespace that the probe was started in. */
      readonly homeCookie: bigint;
      /** Effective capabilities, one bit each (linux/capability.h). */
      readonly capabilities: bigint;
      readonly tools: readonly ProbeTool[];
      /** Kernel memory for all rings together. */
      readonly ringBudget: number;
      readonly library: string;
    }
  | {
      readonly type: 'namespace';
      readonly id: number;
      readonly cookie: bigint;
      readonly inode: bigint /** 0: bound in the folder. */;
      readonly process: number;
      readonly name: string;
    }
  | { readonly type: 'gone'; readonly id: number; readonly cookie: bigint }
  | { readonly type: 'ready' | 'opened'; readonly id: number }
  /** Read them with {@link walkFrames}. */
  | { readonly type: 'frames'; readonly id: number; readonly bytes: Uint8Array }
  /** Frames since the capture began: seen = dropped + delivered + waiting (in the ring; after the end: never handed out). */
  | {
      readonly type: 'stats';
      readonly id: number;
      readonly seen: number;
      readonly dropped: number;
      readonly delivered: number;
      readonly waiting: number;
    }
  /** Netlink messages as the kernel wrote them, and when they were read (Unix time). */
  | { readonly type: 'netlink'; readonly id: number; readonly seconds: number; readonly nanoseconds: number; readonly bytes: Uint8Array }
  /** Events that the kernel could not hand out since the beginning: times (ENOBUFS), and how many. */
  | { readonly type: 'lost'; readonly id: number; readonly overruns: number; readonly events: number }
  | { readonly type: 'output'; readonly id: number; readonly channel: 'output' | 'errors'; readonly bytes: Uint8Array }
  | { readonly type: 'data'; readonly id: number; readonly bytes: Uint8Array }
  /** So many bytes of a tunnel were handed to the pod: as many more may be sent. */
  | { readonly type: 'credit'; readonly id: number; readonly bytes: number }
  | {
      readonly type: 'end';
      readonly id: number;
      readonly code: ProbeEndCode /** 0: none. */;
      readonly errno: number;
      readonly text: string;
    }
  | { readonly type: 'bye'; readonly text: string };

/** A reply that cannot be understood: the connection is of no use any more. */
export class ProbeProtocolError extends Error {
  override readonly name = 'ProbeProtocolError';
}

/** A request as the probe reads it. @throws {RangeError} when a value does not fit its field or the payload exceeds {@link LARGEST_REQUEST} */
export function encodeProbeRequest(request: ProbeRequest): Uint8Array {
  switch (request.type) {
    case 'hello':
      return message(request.type, 0, (p) => p.text(MAGIC).u16(PROBE_PROTOCOL_VERSION));
    case 'list':
    case 'watch':
    case 'stats':
    case 'close':
      return message(request.type, request.id, () => {});
    case 'capture':
      return message(request.type, request.id, (p) =>
        p.u64(request.cookie).u32(request.snapLength).u32(request.ringBytes).u16(request.filter.length).text(request.filter),
      );
    case 'events':
      return message(request.type, request.id, (p) => p.u64(request.cookie).u32(request.receiveBuffer).u8(EVENT_KIND[request.kind]));
    case 'dump':
      return message(request.type, request.id, (p) =>
        p.u64(request.cookie).u8(DUMP_KIND[request.kind]).u8(request.family).u8(request.protocol),
      );
    case 'tool':
      return message(request.type, request.id, (p) => p.u64(request.cookie).u8(TOOL_KIND[request.tool]));
    case 'tunnel':
      return message(request.type, request.id, (p) => p.u64(request.cookie).u16(request.port));
    case 'data':
      return message(request.type, request.id, (p) => p.bytes(request.bytes));
    case 'credit':
      return message(request.type, request.id, (p) => p.u32(request.bytes));
  }
}

function message(type: keyof typeof REQUEST, id: number, write: (payload: PayloadWriter) => void): Uint8Array {
  const payload = new PayloadWriter();
  write(payload);
  return payload.finish(REQUEST[type], id);
}

class PayloadWriter {
  private readonly buffer = new Uint8Array(HEADER_BYTES + LARGEST_REQUEST);
  private readonly view = new DataView(this.buffer.buffer);
  private length = HEADER_BYTES;

  u8(value: number): this {
    this.view.setUint8(this.advance(1, value, 0xff), value);
    return this;
  }
  u16(value: number): this {
    this.view.setUint16(this.advance(2, value, 0xffff), value, true);
    return this;
  }
  u32(value: number): this {
    this.view.setUint32(this.advance(4, value, 0xffff_ffff), value, true);
    return this;
  }
  u64(value: bigint): this {
    this.view.setBigUint64(this.advance(8, 0, 0), value, true);
    return this;
  }
  /** Characters of one byte each. */
  text(value: string): this {
    for (let i = 0; i < value.length; i++) this.u8(value.charCodeAt(i));
    return this;
  }
  bytes(value: Uint8Array): this {
    this.buffer.set(value, this.advance(value.length, 0, 0));
    return this;
  }
  finish(type: number, id: number): Uint8Array {
    if (!Number.isInteger(id) || id < 0 || id > 0xffff_ffff)
      throw new RangeError(`Cannot encode a request with the id "${id}": 0 to 4294967295 is wanted`);
    this.view.setUint32(0, this.length - HEADER_BYTES, true);
    this.view.setUint16(4, type, true);
    this.view.setUint32(8, id, true);
    return this.buffer.slice(0, this.length);
  }
  private advance(bytes: number, value: number, most: number): number {
    if (!Number.isInteger(value) || value < 0 || value > most)
      throw new RangeError(`Cannot encode a request with the value "${value}": 0 to ${most} is wanted`);
    const at = this.length;
    if (at + bytes > this.buffer.length)
      throw new RangeError(`Cannot encode a request: at most ${LARGEST_REQUEST} bytes are wanted, it has more`);
    this.length += bytes;
    return at;
  }
}

/** Puts the bytes of the socket together to replies. Byte arrays in a reply are views of what was pushed, or of a copy that is the reply's own. */
export class ProbeReplyReader {
  private rest: Uint8Array = new Uint8Array(0);
  /** Pieces that followed `rest` and do not complete its message yet. */
  private later: Uint8Array[] = [];
  private held = 0;
  private wanted = HEADER_BYTES;

  /** The replies that are complete with `chunk`, in order. @throws {ProbeProtocolError} */
  push(chunk: Uint8Array): ProbeReply[] {
    this.later.push(chunk);
    this.held += chunk.length;
    const replies: ProbeReply[] = [];
    if (this.held < this.wanted) return replies;
    const bytes = this.later.length === 1 && this.rest.length === 0 ? chunk : join([this.rest, ...this.later], this.held);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    let at = 0;
    this.wanted = HEADER_BYTES;
    while (bytes.length - at >= HEADER_BYTES) {
      const length = view.getUint32(at, true);
      if (length > LARGEST_REPLY || view.getUint16(at + 6, true) !== 0)
        throw new ProbeProtocolError(
          `Cannot read a reply of the probe: its header makes no sense (payload of "${length}" bytes, at most ${LARGEST_REPLY} are wanted)`,
        );
      if (bytes.length - at - HEADER_BYTES < length) {
        this.wanted = HEADER_BYTES + length;
        break;
      }
      const payload = bytes.subarray(at + HEADER_BYTES, at + HEADER_BYTES + length);
      replies.push(decodeReply(view.getUint16(at + 4, true), view.getUint32(at + 8, true), payload));
      at += HEADER_BYTES + length;
    }
    this.rest = bytes.subarray(at);
    this.later = [];
    this.held = this.rest.length;
    return replies;
  }
}

function join(pieces: readonly Uint8Array[], length: number): Uint8Array {
  const joined = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    joined.set(piece, at);
    at += piece.length;
  }
  return joined;
}

function decodeReply(type: number, id: number, payload: Uint8Array): ProbeReply {
  const reader = new PayloadReader(payload, type);
  const reply = decodePayload(type, id, reader);
  reader.finish();
  return reply;
}

function decodePayload(type: number, id: number, p: PayloadReader): ProbeReply {
  switch (type) {
    case 0x81: {
      const version = p.u16();
      const homeCookie = p.u64();
      const capabilities = p.u64();
      const bits = p.u32();
      const tools = (Object.keys(TOOL_KIND) as ProbeTool[]).filter((tool) => (bits & (1 << (TOOL_KIND[tool] - 1))) !== 0);
      return { type: 'hello', version, homeCookie, capabilities, tools, ringBudget: Number(p.u64()), library: p.text() };
    }
    case 0x82:
      return { type: 'namespace', id, cookie: p.u64(), inode: p.u64(), process: p.u32(), name: p.text() };
    case 0x83:
      return { type: 'gone', id, cookie: p.u64() };
    case 0x84:
      return { type: 'ready', id };
    case 0x85:
      return { type: 'opened', id };
    case 0x86:
      return { type: 'frames', id, bytes: p.rest() };
    case 0x87:
      return { type: 'stats', id, seen: Number(p.u64()), dropped: Number(p.u64()), delivered: Number(p.u64()), waiting: Number(p.u64()) };
    case 0x88:
      return { type: 'netlink', id, seconds: p.u32(), nanoseconds: p.u32(), bytes: p.rest() };
    case 0x89:
      return { type: 'lost', id, overruns: Number(p.u64()), events: Number(p.u64()) };
    case 0x8a:
      return { type: 'output', id, channel: p.u8() === 1 ? 'output' : 'errors', bytes: p.rest() };
    case 0x8b:
      return { type: 'data', id, bytes: p.rest() };
    case 0x8c: {
      const number = p.u16();
      const code = END_CODES[number];
      if (code === undefined) throw new ProbeProtocolError(`Cannot read a reply of the probe: the end code "${number}" is not known`);
      p.u16();
      return { type: 'end', id, code, errno: p.u32(), text: p.text() };
    }
    case 0x8d:
      return { type: 'bye', text: p.text() };
    case 0x8e:
      return { type: 'credit', id, bytes: p.u32() };
    default:
      throw new ProbeProtocolError(`Cannot read a reply of the probe: the type "${type}" is not known`);
  }
}

const utf8 = new TextDecoder();

class PayloadReader {
  private at = 0;
  private readonly view: DataView;
  private readonly bytes: Uint8Array;
  private readonly type: number;

  constructor(bytes: Uint8Array, type: number) {
    this.bytes = bytes;
    this.type = type;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }
  u8(): number {
    return this.view.getUint8(this.take(1));
  }
  u16(): number {
    return this.view.getUint16(this.take(2), true);
  }
  u32(): number {
    return this.view.getUint32(this.take(4), true);
  }
  u64(): bigint {
    return this.view.getBigUint64(this.take(8), true);
  }
  text(): string {
    const length = this.u16();
    const at = this.take(length);
    return utf8.decode(this.bytes.subarray(at, at + length));
  }
  rest(): Uint8Array {
    return this.bytes.subarray(this.take(this.bytes.length - this.at));
  }
  finish(): void {
    if (this.at !== this.bytes.length)
      throw new ProbeProtocolError(
        `Cannot read a reply of type "${this.type}" of the probe: ${this.at} bytes are wanted, it has ${this.bytes.length}`,
      );
  }
  private take(length: number): number {
    const at = this.at;
    if (length > this.bytes.length - at)
      throw new ProbeProtocolError(
        `Cannot read a reply of type "${this.type}" of the probe: ${length} bytes are wanted at ${at}, it has ${this.bytes.length}`,
      );
    this.at += length;
    return at;
  }
}

export interface WalkedFrame {
  readonly seconds: number;
  readonly nanoseconds: number;
  readonly capturedLength: number;
  readonly wireLength: number;
  readonly offset: number;
}

/**
 * The frames of a `frames` reply in the order of their arrival; `offset` is where the frame begins in `bytes`. Each begins with the 20 bytes of LINKTYPE_LINUX_SLL2.
 * Time: Unix seconds and nanoseconds of the kernel's stamp. @throws {ProbeProtocolError} where a frame runs past the end
 */
export function walkFrames(bytes: Uint8Array, visit: (frame: WalkedFrame) => void): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const frame = { seconds: 0, nanoseconds: 0, capturedLength: 0, wireLength: 0, offset: 0 };
  let at = 0;
  while (at < bytes.length) {
    const left = bytes.length - at - FRAME_HEADER_BYTES;
    if (left < 0 || left < view.getUint32(at + 8, true))
      throw new ProbeProtocolError(`Cannot read the frame at byte ${at}: it runs past the ${bytes.length} bytes of its batch`);
    frame.seconds = view.getUint32(at, true);
    frame.nanoseconds = view.getUint32(at + 4, true);
    frame.capturedLength = view.getUint32(at + 8, true);
    frame.wireLength = view.getUint32(at + 12, true);
    frame.offset = at + FRAME_HEADER_BYTES;
    visit(frame);
    at = frame.offset + frame.capturedLength;
  }
}
