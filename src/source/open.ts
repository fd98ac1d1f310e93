/**
 * Opens a capture: pcap or pcapng, bare or within gzip or zstd, from a file or from standard input. What it is, its first bytes tell.
 */
import type { TimeBase } from '../net/time.ts';
import { BLOCK_LENGTH } from './block-window.ts';
import { type ByteFeed, FileFeed, type PeekFeed } from './byte-feed.ts';
import { CaptureFileError } from './capture-file-error.ts';
import { describeBytes } from './known-formats.ts';
import { MergedSource } from './merge.ts';
import { isPcap, PcapSource } from './pcap.ts';
import { isPcapng, PcapngSource } from './pcapng.ts';
import type { FrameSource } from './source.ts';
import { SourceBase } from './source-base.ts';
import { unpack } from './unpack.ts';

export interface OpenOptions {
  /** The run's time base; without one the first frame fixes it. A {@link SourceBase} may be shared by several sources. */
  readonly base?: TimeBase;
  /** Hand out the comments of frames with the batch (pcapng). */
  readonly keepComments?: boolean;
  /** Bytes read at once, 256 KiB unless told. */
  readonly blockLength?: number;
}

/** Together, the blocks of captures that are merged take about so much. */
const MERGED_BLOCKS_LENGTH = 16 * 1024 * 1024;
const SMALLEST_BLOCK = 16 * 1024;

const HEAD_LEN = 16;

/**
 * @param input a path, `-` for standard input, or a feed
 * @throws {CaptureFileError} when it cannot be read, is empty, or is no capture; a cut or broken capture gives its frames and a loss instead
 */
export function openCapture(input: string | ByteFeed, options: OpenOptions = {}): FrameSource {
  const feed = typeof input === 'string' ? new FileFeed(input) : input;
  try {
    return openUnpacked(unpack(feed).feed, options);
  } catch (error) {
    feed.close();
    throw error;
  }
}

/** As {@link openCapture}, for a feed that nothing is packed around. */
export function openUnpacked(feed: PeekFeed, options: OpenOptions): FrameSource {
  const head = feed.peek(HEAD_LEN);
  const base = SourceBase.of(options.base);
  if (isPcap(head)) return new PcapSource(feed, base, options.blockLength);
  if (isPcapng(head)) return new PcapngSource(feed, base, options);
  const at = { path: feed.name, offset: 0 };
  if (head.length === 0) {
    const state = feed.fault ?? 'it is empty';
    throw new CaptureFileError(
      feed.fault === undefined ? 'CAPTURE_EMPTY' : 'CAPTURE_READ',
      `Cannot read "${feed.name}": a pcap or pcapng capture is wanted, ${state}`,
      at,
    );
  }
  throw new CaptureFileError(
    'CAPTURE_FORMAT',
    `Cannot read "${feed.name}": a pcap or pcapng capture is wanted, it is ${describeBytes(head)}`,
    at,
  );
}

/**
 * Opens several captures as one source, merged by time.
 *
 * @throws {CaptureFileError} as {@link openCapture}, for the first input that cannot be opened; the others are closed again
 * @throws {RangeError} without any input
 */
export function openCaptures(inputs: readonly (string | ByteFeed)[], options: OpenOptions = {}): MergedSource {
  const base = SourceBase.of(options.base);
  const share = Math.floor(MERGED_BLOCKS_LENGTH / Math.max(1, inputs.length));
  const blockLength = options.blockLength ?? Math.max(SMALLEST_BLOCK, Math.min(BLOCK_LENGTH, share));
  const sources: FrameSource[] = [];
  try {
    for (const input of inputs) sources.push(openCapture(input, { ...options, base, blockLength }));
  } catch (error) {
    for (const source of sources) source.close();
    throw error;
  }
  return new MergedSource(sources);
}
