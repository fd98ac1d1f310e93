/**
 * A program of its own: captures on one interface with the package `cap` and writes what it gets to descriptor 3 (cap-messages.ts). `node cap-child.js INTERFACE [FILTER]`.
 *
 * It is a process apart because `cap` aborts the process when the interface goes down or away. `cap` tells neither when a packet came nor what was dropped before it: the stamps are made
 * here, when JavaScript gets the packet.
 */
import { createRequire } from 'node:module';
import { Socket } from 'node:net';
import { errorText } from '../net/error-text.ts';
import {
  CAP_BATCH_BYTES,
  CAP_BATCH_FRAMES,
  CAP_ENDED,
  CAP_FAILED,
  CAP_FRAME_HEADER,
  CAP_FRAMES,
  CAP_HEADER,
  CAP_LOST,
  CAP_OPENED,
  CAP_SNAP_LENGTH,
  capMessage,
  capNumber,
} from './cap-messages.ts';

/** What the addon is used for. */
interface Capture {
  open(device: string, filter: string, bufferLength: number, frame: Buffer): string;
  on(event: 'packet', listener: (length: number, truncated: boolean) => void): void;
  close(): void;
}

/** The names that `cap` has for link types. */
const linkTypes: { readonly [name: string]: number } = { NULL: 0, ETHERNET: 1, RAW: 101, LINKTYPE_LINUX_SLL: 113 };
const RING_BYTES = 10 * 1024 * 1024;
/** Bytes that wait for the reader; what comes beyond is dropped and counted. */
const WAITING_MOST = 16 * 1024 * 1024;
const FLUSH_MS = 10;
const CLOCK_MS = 1000;
/** A time of day that differs by so much from ours was set: we follow. */
const STEP_MS = 2;

const [device = '', filter = ''] = process.argv.slice(2);
const reader = new Socket({ fd: 3, readable: true, writable: true });
let batch = Buffer.allocUnsafe(CAP_HEADER + CAP_BATCH_BYTES);
let filled = CAP_HEADER;
let frames = 0;
let lost = 0;
let ended = false;

/** Milliseconds from the monotonic clock to the time of day. */
let offsetMs = Date.now() - performance.now();

function flush(): void {
  if (lost > 0 && reader.writableLength < WAITING_MOST) {
    reader.write(capNumber(CAP_LOST, lost));
    lost = 0;
  }
  if (frames === 0) return;
  if (reader.writableLength >= WAITING_MOST) lost += frames;
  else {
    batch.writeUInt8(CAP_FRAMES, 0);
    batch.writeUInt32LE(filled - CAP_HEADER, 1);
    reader.write(batch.subarray(0, filled));
    // the socket still holds the former one
    batch = Buffer.allocUnsafe(CAP_HEADER + CAP_BATCH_BYTES);
  }
  filled = CAP_HEADER;
  frames = 0;
}

function take(frame: Buffer, length: number): void {
  if (ended) return;
  if (filled + CAP_FRAME_HEADER + length > batch.length || frames >= CAP_BATCH_FRAMES) flush();
  const now = performance.now() + offsetMs;
  const seconds = Math.floor(now / 1000);
  batch.writeUInt32LE(seconds, filled);
  batch.writeUInt32LE(Math.min(999_999_999, Math.floor((now - seconds * 1000) * 1e6)), filled + 4);
  batch.writeUInt32LE(length, filled + 8);
  frame.copy(batch, filled + CAP_FRAME_HEADER, 0, length);
  filled += CAP_FRAME_HEADER + length;
  frames++;
}

function end(last: Buffer): void {
  if (ended) return;
  flush();
  ended = true;
  clearInterval(flushing);
  clearInterval(following);
  reader.end(last, () => process.exit(0));
}

const flushing = setInterval(flush, FLUSH_MS);
const following = setInterval(() => {
  const now = Date.now() - performance.now();
  if (Math.abs(now - offsetMs) > STEP_MS) offsetMs = now;
}, CLOCK_MS);

// Ctrl-C goes to the whole group: who reads tells us when it is enough.
process.on('SIGINT', () => {});
reader.on('error', () => process.exit(0));
reader.on('end', () => process.exit(0));

try {
  const { Cap } = createRequire(import.meta.url)('cap') as { Cap: new () => Capture };
  const capture = new Cap();
  const frame = Buffer.alloc(CAP_SNAP_LENGTH);
  const name = capture.open(device, filter, RING_BYTES, frame);
  const linkType = linkTypes[name];
  if (linkType === undefined) throw new Error(`a link type that cap knows is wanted, it says ${name}`);
  capture.on('packet', (length) => take(frame, length));
  reader.write(capNumber(CAP_OPENED, linkType));
  reader.on('data', () => {
    capture.close();
    end(capMessage(CAP_ENDED, new Uint8Array(0)));
  });
} catch (error) {
  end(capMessage(CAP_FAILED, Buffer.from(errorText(error))));
}
