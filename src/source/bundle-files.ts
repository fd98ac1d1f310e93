/** The files of a bundle, wherever they lie: in a folder, or in a tar archive. Nothing is read before it is asked for. */
import { readdirSync, realpathSync, statSync } from 'node:fs';
import { join, sep } from 'node:path';
import { type ByteFeed, FileFeed } from './byte-feed.ts';
import { CaptureFileError, systemReason } from './capture-file-error.ts';
import { RangeFeed, type StoredBytes } from './stored-bytes.ts';
import { indexTar, type TarEntry } from './tar.ts';

export interface BundleFiles {
  /** What the user called the bundle. */
  readonly name: string;
  /** Sentences about what was not taken. */
  readonly warnings: readonly string[];
  /** Is the archive itself cut or broken? */
  readonly malformed: boolean;
  has(path: string): boolean;
  /** The bytes of a file, `undefined` where it is absent. Paths are relative to the bundle and use `/`. */
  open(path: string): ByteFeed | undefined;
  close(): void;
}

/** Is this a path that stays within the bundle? */
export function isInnerPath(path: string): boolean {
  if (path === '' || path.startsWith('/') || path.includes('\0')) return false;
  return path.split('/').every((part) => part !== '..' && part !== '');
}

/** A folder: one level of folders within it, links within it only. */
export class FolderFiles implements BundleFiles {
  readonly name: string;
  readonly warnings: readonly string[] = [];
  readonly malformed = false;
  readonly #root: string;
  /** Names by folder, read when first asked. */
  readonly #listed = new Map<string, ReadonlySet<string>>();

  /** @throws {CaptureFileError} CAPTURE_READ when it is no folder that can be read */
  constructor(path: string) {
    this.name = path;
    try {
      this.#root = realpathSync(path);
      this.#listed.set('', new Set(readdirSync(this.#root)));
    } catch (cause) {
      const message = `Cannot open "${path}": a readable folder is wanted, the system says ${systemReason(cause)}`;
      throw new CaptureFileError('CAPTURE_READ', message, { path, offset: 0, cause });
    }
  }

  has(path: string): boolean {
    if (!isInnerPath(path)) return false;
    const slash = path.lastIndexOf('/');
    return this.#list(slash === -1 ? '' : path.slice(0, slash)).has(path.slice(slash + 1));
  }

  open(path: string): ByteFeed | undefined {
    if (!this.has(path)) return undefined;
    const full = join(this.#root, path);
    try {
      // a pipe or a device would be waited for
      if (!realpathSync(full).startsWith(this.#root + sep) || !statSync(full).isFile()) return undefined;
    } catch {
      return undefined; // a link that leads nowhere
    }
    return new FileFeed(full);
  }

  close(): void {
    this.#listed.clear();
  }

  #list(folder: string): ReadonlySet<string> {
    let names = this.#listed.get(folder);
    if (names === undefined) {
      try {
        names = new Set(readdirSync(join(this.#root, folder)));
      } catch {
        names = new Set(); // what is absent has no files
      }
      this.#listed.set(folder, names);
    }
    return names;
  }
}

/** A tar archive. The bundle may lie in a folder of it (`node-a/bundle.json`): the shallowest one counts. */
export class TarFiles implements BundleFiles {
  readonly name: string;
  readonly warnings: readonly string[];
  readonly malformed: boolean;
  readonly #stored: StoredBytes;
  readonly #entries: ReadonlyMap<string, TarEntry>;
  readonly #prefix: string;

  constructor(stored: StoredBytes, manifest: string) {
    this.name = stored.name;
    this.#stored = stored;
    const { entries, refused, fault } = indexTar(stored);
    this.#entries = entries;
    this.warnings = fault === undefined ? refused : [...refused, fault];
    this.malformed = fault !== undefined;
    let prefix: string | undefined;
    for (const path of entries.keys()) {
      if (path !== manifest && !path.endsWith(`/${manifest}`)) continue;
      const folder = path.slice(0, path.length - manifest.length);
      if (prefix === undefined || folder.split('/').length < prefix.split('/').length) prefix = folder;
    }
    this.#prefix = prefix ?? '';
  }

  has(path: string): boolean {
    return isInnerPath(path) && this.#entries.has(this.#prefix + path);
  }

  open(path: string): ByteFeed | undefined {
    const entry = isInnerPath(path) ? this.#entries.get(this.#prefix + path) : undefined;
    return entry === undefined ? undefined : new RangeFeed(this.#stored, `${this.name}/${path}`, entry.offset, entry.length);
  }

  close(): void {
    this.#stored.close();
  }
}
