/**
 * Frames as the probe hands them out (docs/probe.md, FRAMES), as blocks of a pcapng capture: one interface `any` of LINKTYPE_LINUX_SLL2, stamps in nanoseconds.
 * Source: draft-ietf-opsawg-pcapng, sections 4.3 (packets) and 4.6 (statistics).
 */
import { interfaceDescription, interfaceStatistics, sectionHeader, splitNanoseconds } from '../../output/pcapng-blocks.ts';
import { ENHANCED_PACKET } from '../../source/pcapng-block-types.ts';
import { walkFrames } from '../../source/probe-protocol.ts';

/** Of an enhanced packet block without options: six words before the frame, one after. */
const PACKET_MIN_LEN = 32;
const PACKET_DATA = 28;
const LINKTYPE_LINUX_SLL2 = 276;

export interface CaptureAbout {
  /** Who wrote it: `sidetrace 0.1.0`. */
  readonly application: string;
  /** 0: everything. */
  readonly snapLength: number;
  /** As pcap-filter(7) says it; '' none. */
  readonly filter: string;
  /** A line about the file as a whole: who began it, of what. */
  readonly comment?: string;
}

/** What stands before the first packet. */
export function captureHead({ application, snapLength, filter, comment }: CaptureAbout): Buffer {
  return Buffer.concat([
    sectionHeader(application, comment),
    interfaceDescription(LINKTYPE_LINUX_SLL2, snapLength, 'any', filter === '' ? undefined : filter),
  ]);
}

/** Packet blocks of a FRAMES payload, and how many they are. @throws {ProbeProtocolError} where a frame runs past the end */
export function packetBlocks(payload: Uint8Array): { readonly blocks: Buffer; readonly frames: number } {
  let length = 0;
  let frames = 0;
  walkFrames(payload, ({ capturedLength }) => {
    length += PACKET_MIN_LEN + ((capturedLength + 3) & ~3);
    frames++;
  });
  const blocks = Buffer.alloc(length);
  let at = 0;
  walkFrames(payload, ({ seconds, nanoseconds, capturedLength, wireLength, offset }) => {
    const total = PACKET_MIN_LEN + ((capturedLength + 3) & ~3);
    const { high, low } = splitNanoseconds(seconds, nanoseconds);
    blocks.writeUInt32LE(ENHANCED_PACKET, at);
    blocks.writeUInt32LE(total, at + 4);
    // the interface is the first, whose number is 0
    blocks.writeUInt32LE(high, at + 12);
    blocks.writeUInt32LE(low, at + 16);
    blocks.writeUInt32LE(capturedLength, at + 20);
    blocks.writeUInt32LE(wireLength, at + 24);
    blocks.set(payload.subarray(offset, offset + capturedLength), at + PACKET_DATA);
    blocks.writeUInt32LE(total, at + total - 4);
    at += total;
  });
  return { blocks, frames };
}

export interface LostCounts {
  /** Frames for which the kernel's ring had no room, since the capture (or file) began. */
  readonly kernel: number;
  /** Frames that whoever reads the stream was too slow for, likewise. */
  readonly reader: number;
}

/** What was lost so far. Wireshark and capinfos show it, and `replay` takes it as losses. @param nowMs Unix time */
export function lostBlock({ kernel, reader }: LostCounts, nowMs: number): Buffer {
  const seconds = Math.floor(nowMs / 1000);
  return interfaceStatistics(0, {
    seconds,
    nanoseconds: Math.floor((nowMs - seconds * 1000) * 1e6),
    interfaceDrops: reader,
    systemDrops: kernel,
    ...(reader === 0 ? {} : { comment: `${reader} frames were lost since the reader of this stream was slower than they came` }),
  });
}

/** Blocks as a reader of a stream meets them: whole ones only, whatever pieces the bytes come in. */
export class BlockSplitter {
  #rest: Buffer = Buffer.alloc(0);

  /** Bytes that belong to a block that is not whole yet. */
  get pending(): number {
    return this.#rest.length;
  }

  /** @throws {SyntaxError} where no block can be there */
  push(chunk: Buffer, visit: (type: number, block: Buffer) => void): void {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    while (this.#rest.length - at >= 12) {
      const type = this.#rest.readUInt32LE(at);
      const total = this.#rest.readUInt32LE(at + 4);
      if (total < 12 || (total & 3) !== 0 || total > BLOCK_LIMIT)
        throw new SyntaxError(`Cannot read the stream of packets: a block of 12 to ${BLOCK_LIMIT} bytes is wanted, it says ${total}`);
      if (this.#rest.length - at < total) break;
      visit(type, this.#rest.subarray(at, at + total));
      at += total;
    }
    this.#rest = this.#rest.subarray(at);
  }
}

const BLOCK_LIMIT = 1024 * 1024;
