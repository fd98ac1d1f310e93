/** All bytes of a feed at once, unpacked where it is packed, up to a bound. */
import { type ByteFeed, FileFeed } from './byte-feed.ts';
import { unpack } from './unpack.ts';

const CHUNK = 64 * 1024;
/** Beyond this, room for the whole bound is reserved at once: pages that are never written are never taken. */
const COLLECTED_LENGTH = 8 * 1024 * 1024;

export interface WholeBytes {
  readonly bytes: Uint8Array;
  /** Why it is not all, or not right: a sentence. */
  readonly fault?: string;
  /** There was more than the bound: `bytes` is empty. */
  readonly tooLong?: true;
}

/** Reads a feed to its end and closes it. A cut feed gives what is there, and a fault. */
export function readWhole(given: ByteFeed, limit: number): WholeBytes {
  const { feed, packed } = unpack(given);
  try {
    const { bytes, tooLong } = collect(feed, limit, packed ? undefined : given.size);
    if (tooLong) {
      const fault = `Cannot read "${given.name}": at most ${limit} bytes are wanted, there are more`;
      return { bytes: new Uint8Array(0), fault, tooLong: true };
    }
    return { bytes, ...(feed.fault === undefined ? {} : { fault: feed.fault }) };
  } finally {
    feed.close();
  }
}

/** A file, or standard input (`-`). @throws {CaptureFileError} when it cannot be opened */
export function readWholeFile(path: string, limit: number): WholeBytes {
  return readWhole(new FileFeed(path), limit);
}

/** Bytes as UTF-8 text, without a byte order mark. */
export function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

function collect(feed: ByteFeed, limit: number, size: number | undefined): { bytes: Uint8Array; tooLong: boolean } {
  let bytes = new Uint8Array(Math.min(limit + 1, size === undefined ? CHUNK : size + 1));
  let length = 0;
  for (;;) {
    if (length === bytes.length) {
      const grown = new Uint8Array(length < COLLECTED_LENGTH ? Math.min(limit + 1, length * 4) : limit + 1);
      grown.set(bytes);
      bytes = grown;
    }
    const n = feed.read(bytes, length, Math.min(bytes.length - length, 4 * 1024 * 1024));
    if (n === 0) return { bytes: bytes.subarray(0, length), tooLong: false };
    length += n;
    if (length > limit) return { bytes, tooLong: true };
  }
}
