/** Takes gzip and zstd off a feed, as often as they lie around each other (at most thrice). */
import { type ByteFeed, PeekFeed } from './byte-feed.ts';
import { GzipFeed, isGzip } from './gzip.ts';
import { isZstd, ZstdFeed } from './zstd.ts';

const DEPTH_LIMIT = 3;
const MAGIC_LEN = 4;

export interface Unpacked {
  readonly feed: PeekFeed;
  /** Was there anything to take off? */
  readonly packed: boolean;
}

export function unpack(feed: ByteFeed): Unpacked {
  let inner = new PeekFeed(feed);
  let depth = 0;
  for (; depth < DEPTH_LIMIT; depth++) {
    const head = inner.peek(MAGIC_LEN);
    if (isGzip(head)) inner = new PeekFeed(new GzipFeed(inner));
    else if (isZstd(head)) inner = new PeekFeed(new ZstdFeed(inner));
    else break;
  }
  return { feed: inner, packed: depth > 0 };
}
