/**
 * A bundle while it is being recorded (docs/bundle.md): a folder whose bundle.json is right at every moment. It is written beside and renamed, what it names is there before, and what it
 * names no longer is removed behind it.
 *
 * Files are for their owner only. Some room is kept aside, so that bundle.json can still be written when the disk is full.
 */
import { createHash } from 'node:crypto';
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, renameSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { BUNDLE_FORMAT, BUNDLE_VERSION, type BundleFile, type BundleManifest, type NamespaceEntry } from '../../source/bundle-manifest.ts';
import { type EvidenceFile, evidenceName } from './evidence-file.ts';
import { PacketFiles, type Rotation } from './packet-files.ts';
import type { CaptureAbout } from './pcapng-frames.ts';
import { RecordFailure } from './record-failure.ts';

const MANIFEST = 'bundle.json';
const RESERVE = '.reserve';
const RESERVE_BYTES = 32 * 1024;
/** docs/bundle.md: a namespace has at most 4096 files; readings need some of them. */
const LOST_MAX = 1000;

export interface BundleAbout {
  readonly node: string;
  /** Who records: `sidetrace record 0.1.0`. */
  readonly recorder: string;
  readonly tools: { readonly [name: string]: string };
  readonly bootId: string | undefined;
}

export type ManifestLoss = BundleManifest['lost'][number];

export interface NamespaceAbout {
  readonly netns: string;
  readonly pod?: NamespaceEntry['pod'];
  readonly interfaces: NamespaceEntry['interfaces'];
}

/** One namespace of the bundle. */
export class RecordedNamespace {
  readonly path: string;
  about: NamespaceAbout;
  readonly packets: PacketFiles | undefined;
  /** Readings in the order in which they were made. */
  readonly readings: BundleFile[] = [];
  /** A hash of the last reading of each kind, to know one that is the same. */
  readonly last = new Map<string, string>();

  constructor(path: string, about: NamespaceAbout, packets: PacketFiles | undefined) {
    this.path = path;
    this.about = about;
    this.packets = packets;
  }
}

export class BundleFolder {
  readonly path: string;
  readonly #about: BundleAbout;
  readonly #begunMs: number;
  readonly #namespaces: RecordedNamespace[] = [];
  readonly #lost: ManifestLoss[] = [];
  readonly #paths = new Set<string>();
  #changed = true;
  #generation = 0;

  /**
   * Makes the folder, or takes an empty one.
   * @throws {RecordFailure} when it cannot be made; EEXIST when it holds something
   */
  constructor(path: string, about: BundleAbout, nowMs: number) {
    this.path = path;
    this.#about = about;
    this.#begunMs = nowMs;
    try {
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      // made alone: with its parents, Node.js says ENOENT where the system says EROFS
      if (!existsSync(path)) mkdirSync(path, { mode: 0o700 });
      if (readdirSync(path).length > 0) throw Object.assign(new Error('not empty'), { code: 'EEXIST' });
      writeFileSync(join(path, RESERVE), Buffer.alloc(RESERVE_BYTES, 1), { mode: 0o600, flag: 'wx' });
    } catch (cause) {
      throw new RecordFailure(path, cause);
    }
    this.#writeManifest(undefined);
  }

  get namespaces(): readonly RecordedNamespace[] {
    return this.#namespaces;
  }

  /** Frames written and frames that could not be, of all namespaces. */
  get totals(): { readonly written: number; readonly unwritten: number; readonly removed: number } {
    const sum = (field: 'written' | 'unwritten' | 'removed'): number =>
      this.#namespaces.reduce((total, { packets }) => total + (packets?.[field] ?? 0), 0);
    return { written: sum('written'), unwritten: sum('unwritten'), removed: sum('removed') };
  }

  /** Adds a namespace, with files of packets where they are told about. It is in bundle.json when this returns. @throws {RecordFailure} */
  add(
    about: NamespaceAbout,
    capture: { readonly about: CaptureAbout; readonly rotation: Rotation } | undefined,
    nowMs: number,
  ): RecordedNamespace {
    const path = this.#freePath(about.pod === undefined ? about.netns : `${about.pod.namespace}_${about.pod.name}`);
    const folder = join(this.path, path);
    try {
      mkdirSync(folder, { mode: 0o700 });
    } catch (cause) {
      throw new RecordFailure(folder, cause);
    }
    const packets = capture === undefined ? undefined : new PacketFiles(folder, capture.about, capture.rotation, nowMs);
    const namespace = new RecordedNamespace(path, about, packets);
    this.#namespaces.push(namespace);
    this.#changed = true;
    this.#writeManifest(undefined);
    return namespace;
  }

  /** Something is known better than before. */
  describe(namespace: RecordedNamespace, about: NamespaceAbout): void {
    if (JSON.stringify(about) === JSON.stringify(namespace.about)) return;
    namespace.about = about;
    this.#changed = true;
  }

  /** Keeps readings. A reading that is the same as the last of its kind is told as `same`, without a file. @throws {RecordFailure} */
  keep(namespace: RecordedNamespace, files: readonly EvidenceFile[], label: string): void {
    for (const file of files) {
      const about = {
        kind: file.kind,
        ...(file.family === undefined ? {} : { family: file.family }),
        readAt: file.readAt,
      };
      const key = `${file.kind}/${file.family ?? ''}`;
      if (file.status !== 'ok' || file.bytes === undefined) {
        const status = file.status === 'ok' ? 'empty' : file.status;
        namespace.readings.push({ ...about, status, ...(file.reason === undefined ? {} : { reason: file.reason }) });
        namespace.last.delete(key);
        continue;
      }
      const hash = createHash('sha256').update(file.bytes).digest('base64');
      if (namespace.last.get(key) === hash) {
        namespace.readings.push({ ...about, status: 'same' });
        continue;
      }
      const name = evidenceName(file, label);
      this.#write(join(this.path, namespace.path, name), file.bytes);
      namespace.readings.push({ ...about, status: 'ok', file: name });
      namespace.last.set(key, hash);
    }
    this.#changed = true;
  }

  /** Keeps a file of the bundle itself, in place of one that is there: pods.json, services.json, endpointslices.json. @throws {RecordFailure} */
  keepFile(name: string, bytes: Uint8Array): void {
    const path = join(this.path, name);
    this.#write(`${path}.new`, bytes);
    try {
      renameSync(`${path}.new`, path);
    } catch (cause) {
      throw new RecordFailure(path, cause);
    }
  }

  /** Something was lost that the packet files do not tell. */
  lose(loss: ManifestLoss): void {
    const same = this.#lost.find((one) => one.source === loss.source && one.detail === loss.detail);
    if (same !== undefined)
      this.#lost[this.#lost.indexOf(same)] = { ...same, count: same.count + loss.count, exact: same.exact && loss.exact };
    else if (this.#lost.length < LOST_MAX) this.#lost.push(loss);
    this.#changed = true;
  }

  get losses(): readonly ManifestLoss[] {
    return this.#lost;
  }

  /** Hands to the system what waits, begins new files where it is time, and brings bundle.json up to date. To be called twice a second or more often. @throws {RecordFailure} */
  tick(nowMs: number): void {
    for (const { packets } of this.#namespaces) packets?.tick(nowMs);
    this.update();
  }

  /** Writes bundle.json where it is not right any more, and removes what it does not name. @throws {RecordFailure} */
  update(): void {
    const generation = this.#namespaces.reduce((sum, { packets }) => sum + (packets?.generation ?? 0), 0);
    if (!this.#changed && generation === this.#generation) return;
    this.#generation = generation;
    this.#writeManifest(undefined);
    for (const { packets } of this.#namespaces) packets?.prune();
  }

  /** Closes all files and writes bundle.json for the last time. A disk that is full costs what does not fit, and is told in it. @throws {RecordFailure} where not even that can be written */
  close(nowMs: number): void {
    let failure: RecordFailure | undefined;
    for (const { packets } of this.#namespaces)
      try {
        packets?.close(nowMs);
      } catch (error) {
        if (!(error instanceof RecordFailure)) throw error;
        failure ??= error;
      }
    const { unwritten } = this.totals;
    if (unwritten > 0)
      this.lose({
        source: 'recorder',
        count: unwritten,
        exact: true,
        detail: `Frames were captured and could not be written${failure === undefined ? '' : `: the system says ${failure.reason}`}`,
      });
    rmSync(join(this.path, RESERVE), { force: true });
    this.#writeManifest(nowMs);
    for (const { packets } of this.#namespaces) packets?.prune();
  }

  #freePath(wanted: string): string {
    const bare =
      wanted
        .replaceAll(/[^\w.-]/g, '_')
        .replace(/^\.+/, '_')
        .slice(0, 200) || 'namespace';
    let path = bare;
    for (let i = 2; this.#paths.has(path); i++) path = `${bare}.${i}`;
    this.#paths.add(path);
    return path;
  }

  #write(path: string, bytes: Uint8Array): void {
    let fd = -1;
    try {
      fd = openSync(path, 'wx', 0o600);
      for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
      closeSync(fd);
    } catch (cause) {
      if (fd !== -1) closeSync(fd);
      rmSync(path, { force: true });
      throw new RecordFailure(path, cause);
    }
  }

  #writeManifest(endedMs: number | undefined): void {
    const time = (ms: number): string => new Date(ms).toISOString();
    const { node, recorder, tools, bootId } = this.#about;
    const { removed } = this.totals;
    const manifest = {
      format: BUNDLE_FORMAT,
      version: BUNDLE_VERSION,
      node,
      begun: time(this.#begunMs),
      ...(endedMs === undefined ? {} : { ended: time(endedMs) }),
      recorder,
      clock: { realtime: time(endedMs ?? this.#begunMs), ...(bootId === undefined ? {} : { boot: bootId }) },
      tools,
      lost: this.#lost,
      ...(removed === 0 ? {} : { removed: { packets: removed } }),
      namespaces: this.#namespaces.map(({ path, about, packets, readings }) => ({
        path,
        ...about,
        files: [
          ...(packets?.files ?? []).map(({ name, begunMs }) => ({ kind: 'packets', status: 'ok', file: name, readAt: time(begunMs) })),
          ...readings,
        ],
      })),
    };
    const path = join(this.path, MANIFEST);
    const beside = `${path}.new`;
    try {
      writeFileSync(beside, `${JSON.stringify(manifest, undefined, 1)}\n`, { mode: 0o600 });
      renameSync(beside, path);
    } catch (cause) {
      rmSync(beside, { force: true });
      throw new RecordFailure(path, cause);
    }
    this.#changed = false;
  }
}
