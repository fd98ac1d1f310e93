/**
 * Blocks of a pcapng file, little endian: section header, interface descriptions and statistics, name resolution, packets with a comment.
 * Source: IETF draft-ietf-opsawg-pcapng, sections 4.1, 4.2, 4.3, 4.5, 4.6.
 */
import { parseIp } from '../net/address.ts';

const SHB = 0x0a0d0d0a;
const IDB = 1;
const NRB = 4;
const ISB = 5;
const EPB = 6;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const OPT_COMMENT = 1;
const EPB_FLAGS = 2;
const SHB_USERAPPL = 4;
const IF_NAME = 2;
const IF_TSRESOL = 9;
const IF_FILTER = 11;
const ISB_IFDROP = 5;
const ISB_OSDROP = 7;
const NRB_IPV4 = 1;
const NRB_IPV6 = 2;
/** An option's length has 16 bits; comments are cut well before. */
const TEXT_MAX = 8000;

const padded = (length: number): number => (length + 3) & ~3;

interface Option {
  readonly code: number;
  readonly value: Uint8Array;
}

function textOption(code: number, text: string): Option {
  return { code, value: Buffer.from(text.slice(0, TEXT_MAX), 'utf8') };
}

function optionsLength(options: readonly Option[]): number {
  return options.length === 0 ? 0 : options.reduce((sum, { value }) => sum + 4 + padded(value.length), 4);
}

function putOptions(block: Buffer, at: number, options: readonly Option[]): void {
  let place = at;
  for (const { code, value } of options) {
    block.writeUInt16LE(code, place);
    block.writeUInt16LE(value.length, place + 2);
    block.set(value, place + 4);
    place += 4 + padded(value.length);
  }
  // opt_endofopt is four zero bytes, which the block holds already.
}

function newBlock(type: number, bodyLength: number): Buffer {
  const block = Buffer.alloc(12 + bodyLength);
  block.writeUInt32LE(type >>> 0, 0);
  block.writeUInt32LE(block.length, 4);
  block.writeUInt32LE(block.length, block.length - 4);
  return block;
}

export function sectionHeader(application: string, comment?: string): Buffer {
  const options = [textOption(SHB_USERAPPL, application), ...(comment === undefined ? [] : [textOption(OPT_COMMENT, comment)])];
  const block = newBlock(SHB, 16 + optionsLength(options));
  block.writeUInt32LE(BYTE_ORDER_MAGIC, 8);
  block.writeUInt16LE(1, 12);
  block.writeBigInt64LE(-1n, 16);
  putOptions(block, 24, options);
  return block;
}

/** Time stamps of its packets are nanoseconds. @param filter as pcap-filter(7) says it */
export function interfaceDescription(linkType: number, snapLength: number, name: string | undefined, filter?: string): Buffer {
  const options: Option[] = name === undefined ? [] : [textOption(IF_NAME, name)];
  options.push({ code: IF_TSRESOL, value: Uint8Array.of(9) });
  // its first byte tells the kind: text as libpcap takes it
  if (filter !== undefined) options.push(textOption(IF_FILTER, `\0${filter}`));
  const block = newBlock(IDB, 8 + optionsLength(options));
  block.writeUInt16LE(linkType, 8);
  block.writeUInt32LE(snapLength >>> 0, 12);
  putOptions(block, 16, options);
  return block;
}

export interface InterfaceStatistics {
  /** When it was so. */
  readonly seconds: number;
  readonly nanoseconds: number;
  /** Lost for want of room since the interface was opened: in whoever captures, and in the system. */
  readonly interfaceDrops: number;
  readonly systemDrops: number;
  readonly comment?: string;
}

/** Source: section 4.6. */
export function interfaceStatistics(
  interfaceId: number,
  { seconds, nanoseconds, interfaceDrops, systemDrops, comment }: InterfaceStatistics,
): Buffer {
  const number = (code: number, value: number): Option => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(value));
    return { code, value: bytes };
  };
  const options = [
    ...(comment === undefined ? [] : [textOption(OPT_COMMENT, comment)]),
    number(ISB_IFDROP, interfaceDrops),
    number(ISB_OSDROP, systemDrops),
  ];
  const block = newBlock(ISB, 12 + optionsLength(options));
  const { high, low } = splitNanoseconds(seconds, nanoseconds);
  block.writeUInt32LE(interfaceId, 8);
  block.writeUInt32LE(high, 12);
  block.writeUInt32LE(low, 16);
  putOptions(block, 20, options);
  return block;
}

/** A record's length has 16 bits and a reader may want to hold the block: more names than this go into further blocks. */
const NAMES_A_BLOCK = 1000;

/** Name resolution blocks for `address → names`; addresses that are none are skipped. */
export function nameResolution(names: ReadonlyMap<string, readonly string[]>): Buffer[] {
  const records: Buffer[] = [];
  for (const [address, of] of names) {
    const ip = parseIp(address);
    if (ip === undefined || of.length === 0) continue;
    const words = ip.family === 4 ? [ip.words[3]] : ip.words;
    const text = Buffer.from(of.map((name) => `${name.replaceAll('\0', '').slice(0, 253)}\0`).join(''), 'utf8');
    const length = words.length * 4 + text.length;
    const record = Buffer.alloc(4 + padded(length));
    record.writeUInt16LE(ip.family === 4 ? NRB_IPV4 : NRB_IPV6, 0);
    record.writeUInt16LE(length, 2);
    words.forEach((word, i) => {
      record.writeInt32BE(word, 4 + i * 4);
    });
    record.set(text, 4 + words.length * 4);
    records.push(record);
  }
  const blocks: Buffer[] = [];
  for (let i = 0; i < records.length; i += NAMES_A_BLOCK) {
    const body = Buffer.concat([...records.slice(i, i + NAMES_A_BLOCK), Buffer.alloc(4)]);
    const block = newBlock(NRB, body.length);
    block.set(body, 8);
    blocks.push(block);
  }
  return blocks;
}

/** Seconds of the epoch and nanoseconds within them, as the two 32-bit halves of the nanoseconds since the epoch. */
export function splitNanoseconds(seconds: number, nanoseconds: number): { high: number; low: number } {
  // seconds × 10^9 passes 2^53: multiplied by halves of 16 bits, every step stays exact.
  const upper = Math.floor(seconds / 0x10000) * 1e9;
  const lower = (seconds % 0x10000) * 1e9 + nanoseconds;
  const sum = (upper % 0x10000) * 0x10000 + lower;
  const carry = Math.floor(sum / 0x100000000);
  return { high: (Math.floor(upper / 0x10000) + carry) >>> 0, low: (sum - carry * 0x100000000) >>> 0 };
}

export interface PacketBlock {
  readonly interfaceId: number;
  readonly seconds: number;
  readonly nanoseconds: number;
  readonly wireLength: number;
  readonly comments: readonly string[];
  /** Which way the packet went: 0 unknown, 1 in, 2 out. */
  readonly direction: number;
}

/** A packet: `frame` is what was captured of it. */
export function enhancedPacket(
  frame: Uint8Array,
  { interfaceId, seconds, nanoseconds, wireLength, comments, direction }: PacketBlock,
): Buffer {
  const options = comments.map((comment) => textOption(OPT_COMMENT, comment));
  if (direction !== 0) options.push({ code: EPB_FLAGS, value: Uint8Array.of(direction, 0, 0, 0) });
  const block = newBlock(EPB, 20 + padded(frame.length) + optionsLength(options));
  const { high, low } = splitNanoseconds(seconds, nanoseconds);
  block.writeUInt32LE(interfaceId, 8);
  block.writeUInt32LE(high, 12);
  block.writeUInt32LE(low, 16);
  block.writeUInt32LE(frame.length, 20);
  block.writeUInt32LE(wireLength >>> 0, 24);
  block.set(frame, 28);
  if (options.length > 0) putOptions(block, 28 + padded(frame.length), options);
  return block;
}
