/**
 * What a user names on the command line: a capture or a bundle, as a file, a folder or standard input. Its bytes tell which, never its name.
 */
import { readFileSync, type Stats, statSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { Bundle, MANIFEST } from './bundle.ts';
import { FolderFiles, TarFiles } from './bundle-files.ts';
import { type ByteFeed, BytesFeed, FileFeed } from './byte-feed.ts';
import { CaptureFileError, systemReason } from './capture-file-error.ts';
import { isGzip } from './gzip.ts';
import { type OpenOptions, openUnpacked } from './open.ts';
import type { FrameSource } from './source.ts';
import { FileBytes, SpooledBytes } from './stored-bytes.ts';
import { isTar } from './tar.ts';
import { unpack } from './unpack.ts';

export type Input = { readonly kind: 'capture'; readonly source: FrameSource } | { readonly kind: 'bundle'; readonly bundle: Bundle };

const TAR_BLOCK = 512;
const SMALL_PACKED = 8 * 1024 * 1024;
const SMALL_UNPACKED = 64 * 1024 * 1024;

/**
 * Opens a path, or standard input (`-`). An archive that is packed or comes from standard input is unpacked first: beside it in memory while small, else to a temporary file.
 *
 * @throws {CaptureFileError} when it cannot be read, or is neither a capture nor a bundle
 */
export function openInput(path: string, options: OpenOptions = {}): Input {
  const stats = path === '-' ? undefined : stat(path);
  if (stats?.isDirectory()) return { kind: 'bundle', bundle: new Bundle(new FolderFiles(path)) };
  const small = stats?.isFile() === true && stats.size <= SMALL_PACKED ? gunzipSmall(path) : undefined;
  const file = small ?? new FileFeed(path);
  try {
    const { feed, packed } = unpack(file);
    if (!isTar(feed.peek(TAR_BLOCK))) return { kind: 'capture', source: openUnpacked(feed, options) };
    const bare = !packed && small === undefined && stats?.isFile() === true;
    const stored = bare ? new FileBytes(path) : new SpooledBytes(feed);
    file.close();
    try {
      return { kind: 'bundle', bundle: new Bundle(new TarFiles(stored, MANIFEST)) };
    } catch (error) {
      stored.close();
      throw error;
    }
  } catch (error) {
    file.close();
    throw error;
  }
}

/**
 * A small file within gzip, unpacked at once: zlib's own code is warm from the first byte, ours only after some megabytes, and a small bundle is to answer at once.
 * What zlib does not take as a whole (cut, damaged, much larger than it looks) is left to the streaming reader, which gives what is there.
 */
function gunzipSmall(path: string): ByteFeed | undefined {
  try {
    const bytes = readFileSync(path);
    return isGzip(bytes) ? new BytesFeed(gunzipSync(bytes, { maxOutputLength: SMALL_UNPACKED }), path) : undefined;
  } catch {
    return undefined;
  }
}

function stat(path: string): Stats {
  try {
    return statSync(path);
  } catch (cause) {
    const message = `Cannot open "${path}": a capture or a bundle is wanted, the system says ${systemReason(cause)}`;
    throw new CaptureFileError('CAPTURE_READ', message, { path, offset: 0, cause });
  }
}
