/**
 * The packets of one namespace on disk: pcapng files, a new one when the last is long or old enough, the oldest removed when there are too many.
 *
 * A file grows by whole blocks, and what was given is with the system within a second ({@link PacketFiles.tick}), so that whoever is killed leaves files that can be read. On a disk
 * without room the last file is cut behind its last whole block.
 */
import { closeSync, ftruncateSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { ENHANCED_PACKET } from '../../source/pcapng-block-types.ts';
import { type CaptureAbout, captureHead, type LostCounts, lostBlock } from './pcapng-frames.ts';
import { RecordFailure } from './record-failure.ts';

/** So much is gathered before it is written; the tick writes less. */
const CHUNK_BYTES = 256 * 1024;

export interface Rotation {
  /** A new file when this one has so many bytes; `undefined` never. */
  readonly bytes: number | undefined;
  /** A new file when this one is so old, in milliseconds. */
  readonly ms: number | undefined;
  /** So many files stay, the newest. */
  readonly keep: number;
}

interface PacketFile {
  readonly name: string;
  /** Unix time, milliseconds. */
  readonly begunMs: number;
  frames: number;
}

export class PacketFiles {
  /** Changes when a file is added or removed: the manifest has to be written anew. */
  generation = 0;
  /** Frames written, and those that could not be. */
  written = 0;
  unwritten = 0;
  /** Frames in files that were removed to keep no more than asked for. */
  removed = 0;
  readonly #folder: string;
  readonly #about: CaptureAbout;
  readonly #rotation: Rotation;
  readonly #files: PacketFile[] = [];
  /** Files that are not in the list any more; to be removed once the manifest does not name them. */
  #leaving: PacketFile[] = [];
  #number = 0;
  #fd = -1;
  #bytes = 0;
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  #lost: LostCounts = { kernel: 0, reader: 0 };
  /** As it was when this file began: each file counts from there. */
  #lostAtStart: LostCounts = { kernel: 0, reader: 0 };
  #lostTold = true;

  /** @throws {RecordFailure} when the first file cannot be made */
  constructor(folder: string, about: CaptureAbout, rotation: Rotation, nowMs: number) {
    this.#folder = folder;
    this.#about = about;
    this.#rotation = rotation;
    this.#begin(nowMs);
  }

  /** Names of the files, the oldest first, with the time of each. */
  get files(): readonly { readonly name: string; readonly begunMs: number }[] {
    return this.#files;
  }

  /** Appends packet blocks. @throws {RecordFailure}: what was not written is counted then, and so is all that is given later */
  write(blocks: Buffer, frames: number, nowMs: number): void {
    if (this.#fd === -1) {
      this.unwritten += frames;
      return;
    }
    this.#pending.push(blocks);
    this.#pendingBytes += blocks.length;
    if (this.#pendingBytes >= CHUNK_BYTES) this.#flush(nowMs);
    if (this.#rotation.bytes !== undefined && this.#bytes + this.#pendingBytes >= this.#rotation.bytes) this.#rotate(nowMs);
  }

  /** What was lost since the capture began. */
  lost(counts: LostCounts): void {
    if (counts.kernel === this.#lost.kernel && counts.reader === this.#lost.reader) return;
    this.#lost = counts;
    this.#lostTold = false;
  }

  /** To be called twice a second or more often. @throws {RecordFailure} */
  tick(nowMs: number): void {
    if (this.#fd === -1) return;
    this.#flush(nowMs);
    const current = this.#files.at(-1);
    if (this.#rotation.ms !== undefined && current !== undefined && current.frames > 0 && nowMs - current.begunMs >= this.#rotation.ms)
      this.#rotate(nowMs);
  }

  /** Removes what the manifest does not name any more. */
  prune(): void {
    for (const { name, frames } of this.#leaving.splice(0)) {
      rmSync(join(this.#folder, name), { force: true });
      this.removed += frames;
    }
  }

  /** @throws {RecordFailure} */
  close(nowMs: number): void {
    if (this.#fd === -1) return;
    this.#flush(nowMs);
    closeSync(this.#fd);
    this.#fd = -1;
  }

  #begin(nowMs: number): void {
    const rotates = this.#rotation.bytes !== undefined || this.#rotation.ms !== undefined;
    const name = rotates ? `packets.${String(++this.#number).padStart(6, '0')}.pcapng` : 'packets.pcapng';
    const path = join(this.#folder, name);
    let fd = -1;
    try {
      // exclusive: nobody else's file is written to, and no link is followed
      fd = openSync(path, 'wx', 0o600);
      const head = captureHead(this.#about);
      if (writeSync(fd, head) < head.length) throw Object.assign(new Error('no room'), { code: 'ENOSPC' });
      this.#bytes = head.length;
    } catch (cause) {
      if (fd !== -1) {
        closeSync(fd);
        rmSync(path, { force: true });
      }
      this.#countPending();
      throw new RecordFailure(path, cause);
    }
    this.#fd = fd;
    this.#lostAtStart = this.#lost;
    this.#lostTold = true;
    this.#files.push({ name, begunMs: nowMs, frames: 0 });
    while (this.#files.length > this.#rotation.keep) this.#leaving.push(this.#files.shift()!);
    this.generation++;
  }

  #rotate(nowMs: number): void {
    this.#flush(nowMs);
    closeSync(this.#fd);
    this.#fd = -1;
    this.#begin(nowMs);
  }

  #flush(nowMs: number): void {
    if (!this.#lostTold) {
      const counts = { kernel: this.#lost.kernel - this.#lostAtStart.kernel, reader: this.#lost.reader - this.#lostAtStart.reader };
      const block = lostBlock(counts, nowMs);
      this.#pending.push(block);
      this.#pendingBytes += block.length;
      this.#lostTold = true;
    }
    if (this.#pendingBytes === 0) return;
    const bytes = this.#pending.length === 1 ? this.#pending[0]! : Buffer.concat(this.#pending);
    const current = this.#files.at(-1)!;
    let written = 0;
    try {
      while (written < bytes.length) written += writeSync(this.#fd, bytes, written);
    } catch (cause) {
      const whole = wholeBlocks(bytes, written);
      this.#cut(this.#bytes + whole.length);
      current.frames += whole.frames;
      this.written += whole.frames;
      this.#pending = [bytes.subarray(whole.length)];
      this.#countPending();
      throw new RecordFailure(join(this.#folder, current.name), cause);
    }
    this.#bytes += bytes.length;
    const { frames } = wholeBlocks(bytes, bytes.length);
    current.frames += frames;
    this.written += frames;
    this.#pending = [];
    this.#pendingBytes = 0;
  }

  /** Nothing more is written; the file ends behind its last whole block. */
  #cut(length: number): void {
    try {
      ftruncateSync(this.#fd, length);
    } catch {
      // then it ends with a piece of a block, which its reader tells
    }
    closeSync(this.#fd);
    this.#fd = -1;
  }

  #countPending(): void {
    for (const bytes of this.#pending) this.unwritten += wholeBlocks(bytes, bytes.length).frames;
    this.#pending = [];
    this.#pendingBytes = 0;
  }
}

/** The whole blocks within the first `length` bytes: how long they are, and how many are packets. */
function wholeBlocks(bytes: Buffer, length: number): { length: number; frames: number } {
  let at = 0;
  let frames = 0;
  while (length - at >= 12) {
    const total = bytes.readUInt32LE(at + 4);
    if (total < 12 || total > length - at) break;
    if (bytes.readUInt32LE(at) === ENHANCED_PACKET) frames++;
    at += total;
  }
  return { length: at, frames };
}
