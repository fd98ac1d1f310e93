/**
 * A bundle: what one node's recorder kept, as a folder, a tar archive, or one within gzip or zstd.
 *
 * Nothing but bundle.json is read before it is asked for. What the manifest names and the bundle lacks is a loss, never an error: less evidence gives weaker grades.
 */
import type { BundleFiles } from './bundle-files.ts';
import { type BundleManifest, type NamespaceEntry, parseManifest } from './bundle-manifest.ts';
import type { ByteFeed } from './byte-feed.ts';
import { CaptureFileError } from './capture-file-error.ts';
import { LossLog } from './loss-log.ts';
import { type OpenOptions, openCapture } from './open.ts';
import type { FrameSource, SourceLoss } from './source.ts';
import { readWhole, textOf } from './whole-bytes.ts';

export const MANIFEST = 'bundle.json';
const MANIFEST_LIMIT = 16 * 1024 * 1024;
/** A string of JavaScript holds about twice this. */
const TEXT_LIMIT = 256 * 1024 * 1024;

/** One reading of one thing: what the manifest says, with `same` resolved to the reading that it repeats. */
export interface Snapshot {
  readonly kind: string;
  readonly family?: 'ipv4' | 'ipv6';
  /** `empty` was read and holds nothing; `failed` says why in `reason`. */
  readonly status: 'ok' | 'empty' | 'failed';
  /** Was it found as the snapshot before? Then `path` is that one's. */
  readonly same: boolean;
  /** RFC 3339; when this snapshot was read, also where it is the same as the one before. */
  readonly readAt?: string;
  readonly reason?: string;
  /** Within the bundle; there when the status is `ok`. */
  readonly path?: string;
}

/** The snapshots of a namespace in the order of the manifest, of one kind (and family) where given. */
export function snapshotsOf(entry: NamespaceEntry, kind?: string, family?: 'ipv4' | 'ipv6'): Snapshot[] {
  const last = new Map<string, Snapshot>();
  const all: Snapshot[] = [];
  for (const file of entry.files) {
    const key = `${file.kind}/${file.family ?? ''}`;
    const about = {
      kind: file.kind,
      ...(file.family === undefined ? {} : { family: file.family }),
      ...(file.readAt === undefined ? {} : { readAt: file.readAt }),
    };
    const before = last.get(key);
    let snapshot: Snapshot;
    if (file.status === 'same') {
      const found = before ?? { status: 'failed' as const, reason: 'it is said to be as the snapshot before, and there is none' };
      snapshot = {
        ...about,
        status: found.status,
        same: true,
        ...(found.reason === undefined ? {} : { reason: found.reason }),
        ...('path' in found && found.path !== undefined ? { path: found.path } : {}),
      };
    } else if (file.status === 'ok' && file.file === undefined)
      snapshot = { ...about, status: 'failed', same: false, reason: 'the manifest names no file' };
    else
      snapshot = {
        ...about,
        status: file.status,
        same: false,
        ...(file.reason === undefined ? {} : { reason: file.reason }),
        ...(file.status === 'ok' ? { path: `${entry.path}/${file.file}` } : {}),
      };
    last.set(key, snapshot);
    all.push(snapshot);
  }
  return all.filter((snapshot) => (kind === undefined || snapshot.kind === kind) && (family === undefined || snapshot.family === family));
}

export class Bundle {
  readonly name: string;
  readonly manifest: BundleManifest;
  readonly #files: BundleFiles;
  readonly #log = new LossLog();
  readonly #missed = new Set<string>();
  readonly #broken = new Set<string>();

  /** @throws {CaptureFileError} BUNDLE_MANIFEST when bundle.json is absent or none */
  constructor(files: BundleFiles) {
    this.#files = files;
    this.name = files.name;
    for (const detail of files.warnings) this.#log.add({ source: 'malformed', count: 1, exact: false, atNs: 0, detail });
    this.#log.malformed = files.malformed;
    const feed = files.open(MANIFEST);
    if (feed === undefined) {
      const why = files.malformed ? `, ${files.warnings.at(-1)}` : '';
      const message = `Cannot open "${files.name}" as a bundle: a file "${MANIFEST}" is wanted, there is none${why}`;
      throw new CaptureFileError('BUNDLE_MANIFEST', message, { path: files.name, offset: 0 });
    }
    const { bytes, fault } = readWhole(feed, MANIFEST_LIMIT);
    if (fault !== undefined) throw new CaptureFileError('BUNDLE_MANIFEST', fault, { path: files.name, offset: 0 });
    this.manifest = parseManifest(textOf(bytes), files.name, (detail) => this.#log.broken('malformed', 0, detail));
    for (const lost of this.manifest.lost)
      this.#log.add({
        source: lost.source,
        count: lost.count,
        exact: lost.exact,
        atNs: 0,
        detail: lost.detail ?? `The recorder of "${files.name}" lost something: ${lost.source}`,
      });
  }

  /** What the recorder lost, and what could not be read of the bundle so far; losses within packet files are told by their sources. */
  get losses(): readonly SourceLoss[] {
    return this.#log.list;
  }

  /** Is the bundle itself broken (exit code 2)? */
  get malformed(): boolean {
    return this.#log.malformed;
  }

  has(path: string): boolean {
    return this.#files.has(path);
  }

  /**
   * The text of a file of the bundle (`pods.json`, or the path of a {@link Snapshot}), unpacked where it is packed; `undefined` where it is absent, unreadable, or longer
   * than 256 MiB: then there is a loss. A cut file gives what is there, and a loss. With `optional`, absence is no loss.
   */
  readText(path: string, absence: 'loss' | 'optional' = 'loss'): string | undefined {
    const bytes = this.readBytes(path, { absence });
    return bytes === undefined ? undefined : textOf(bytes);
  }

  /** As {@link readText}, without making text of it. @param about.limit bytes that are wanted at most */
  readBytes(path: string, about: { readonly absence?: 'loss' | 'optional'; readonly limit?: number } = {}): Uint8Array | undefined {
    const feed = this.#open(path, about.absence ?? 'loss');
    if (feed === undefined) return undefined;
    const { bytes, fault, tooLong } = readWhole(feed, about.limit ?? TEXT_LIMIT);
    if (fault !== undefined && !this.#broken.has(path)) {
      this.#broken.add(path);
      this.#log.broken('truncated', 0, fault);
    }
    return tooLong ? undefined : bytes;
  }

  /** The frames of a packet file; `undefined`, and a loss, where it is absent or no capture. */
  openPackets(path: string, options: OpenOptions = {}): FrameSource | undefined {
    const feed = this.#open(path, 'loss');
    if (feed === undefined) return undefined;
    try {
      return openCapture(feed, options);
    } catch (error) {
      if (!(error instanceof CaptureFileError)) throw error;
      this.#log.broken('malformed', 0, error.message);
      return undefined;
    }
  }

  close(): void {
    this.#files.close();
  }

  /** What it holds of Kubernetes: `kubectl get … -o json` of each kind. */
  *kubeFiles(): Generator<{ readonly name: string; readonly bytes: Uint8Array }, void, undefined> {
    for (const name of ['pods.json', 'services.json', 'endpointslices.json']) {
      const bytes = this.readBytes(name, { absence: 'optional' });
      if (bytes !== undefined) yield { name, bytes };
    }
  }

  #open(path: string, absence: 'loss' | 'optional'): ByteFeed | undefined {
    let state = 'it is absent';
    try {
      const feed = this.#files.open(path);
      if (feed !== undefined) return feed;
      if (this.#files.has(path)) state = 'it is no regular file of it';
    } catch (error) {
      if (!(error instanceof CaptureFileError)) throw error;
      state = error.message;
    }
    if (absence === 'loss' && !this.#missed.has(path)) {
      this.#missed.add(path);
      const detail = `Cannot read "${path}" of "${this.name}": a file of the bundle is wanted, ${state}`;
      this.#log.add({ source: 'absent', count: 1, exact: true, atNs: 0, detail });
    }
    return undefined;
  }
}
