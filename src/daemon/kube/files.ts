/** Pods, services and endpoint slices from files that kubectl printed, as JSON or YAML. They are read again when they change. */
import { readFile, stat } from 'node:fs/promises';
import { parseAllDocuments } from 'yaml';
import { KubeNames } from '../../kube/names.ts';
import { type KubeObjects, parseKubeObjects } from '../../kube/objects.ts';
import type { KubeLog } from './list-watch.ts';
import { Listeners } from './listeners.ts';
import { findPodByAddress, type OwnPod } from './pod-by-address.ts';
import type { KubeSource, KubeView } from './source.ts';

export interface KubeFilesOptions {
  readonly paths: readonly string[];
  /** Pods of other nodes are names only. Absent: those of all nodes may be looked up by address. */
  readonly node?: string;
  readonly log: KubeLog;
  readonly intervalMs?: number;
}

const MEBIBYTE = 1024 * 1024;
const MAX_JSON_LENGTH = 240 * MEBIBYTE;
/** YAML takes a hundred times longer than JSON. */
const MAX_YAML_LENGTH = 8 * MEBIBYTE;
const MAX_DOCUMENTS = 10_000;
const INTERVAL_MS = 5000;

/**
 * Objects of a file's text.
 *
 * @throws {SyntaxError} when it is neither
 */
export function parseKubeFile(bytes: Uint8Array, path: string): KubeObjects[] {
  const first = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1', 0, 256).trimStart();
  if (first.startsWith('{')) return [parseKubeObjects(bytes, path)];
  if (bytes.length > MAX_YAML_LENGTH)
    throw new SyntaxError(
      `Cannot read "${path}": at most ${MAX_YAML_LENGTH / MEBIBYTE} MiB of YAML are wanted, it has more; JSON may have ${MAX_JSON_LENGTH / MEBIBYTE}`,
    );
  const documents = parseAllDocuments(new TextDecoder().decode(bytes), { logLevel: 'silent' });
  if (documents.length > MAX_DOCUMENTS)
    throw new SyntaxError(`Cannot read "${path}": at most ${MAX_DOCUMENTS} documents are wanted, it has ${documents.length}`);
  return documents.flatMap((document) => {
    const fault = document.errors[0];
    if (fault !== undefined) throw new SyntaxError(`Cannot read "${path}" as YAML: ${fault.message.split('\n')[0]}`);
    const value: unknown = document.toJS();
    return value === null ? [] : [parseKubeObjects(JSON.stringify(value), path)];
  });
}

interface ReadFile {
  readonly stamp: string;
  readonly objects: readonly KubeObjects[];
}

export class KubeFiles implements KubeSource {
  readonly view: KubeView;
  readonly #options: KubeFilesOptions;
  readonly #listeners = new Listeners();
  readonly #files = new Map<string, ReadFile>();
  #faultySinceMs: number | undefined;
  #readAtMs = Number.NaN;
  #names = new KubeNames();
  #own: readonly OwnPod[] = [];
  #timer: NodeJS.Timeout | undefined;
  #reading: Promise<void> | undefined;

  constructor(options: KubeFilesOptions) {
    this.#options = options;
    const own = this;
    this.view = {
      get names() {
        return own.#names;
      },
      podByAddress: (ip, bornMs) =>
        findPodByAddress(own.#own, ip, bornMs, { heardMs: own.#readAtMs, followedSinceMs: Number.POSITIVE_INFINITY }),
      get synced() {
        return own.#files.size === options.paths.length;
      },
      get staleSince() {
        return own.#faultySinceMs === undefined ? undefined : new Date(own.#faultySinceMs).toISOString();
      },
      source: options.paths.map((path) => `"${path}"`).join(', '),
      parts: [],
    } as KubeView;
  }

  start(): void {
    const read = () => {
      this.#reading ??= this.#read().finally(() => {
        this.#reading = undefined;
      });
    };
    read();
    this.#timer = setInterval(read, this.#options.intervalMs ?? INTERVAL_MS);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#reading;
  }

  onChange(listener: () => void): () => void {
    return this.#listeners.add(listener);
  }

  async #read(): Promise<void> {
    let different = false;
    let fault: string | undefined;
    for (const path of this.#options.paths)
      try {
        different = (await this.#readOne(path)) || different;
      } catch (error) {
        fault =
          error instanceof SyntaxError ? error.message : `Cannot read "${path}": ${(error as NodeJS.ErrnoException).code ?? String(error)}`;
      }
    if (fault === undefined) {
      this.#faultySinceMs = undefined;
      this.#readAtMs = Date.now();
    } else if (this.#faultySinceMs === undefined) {
      this.#faultySinceMs = Date.now();
      this.#options.log.warn({ reason: fault }, 'a file of Kubernetes objects cannot be read');
    }
    if (!different) return;
    this.#names = new KubeNames(...[...this.#files.values()].flatMap(({ objects }) => objects));
    const { node } = this.#options;
    this.#own = this.#names.pods.filter((pod) => node === undefined || pod.node === undefined || pod.node === node).map((pod) => ({ pod }));
    this.#listeners.tell();
  }

  async #readOne(path: string): Promise<boolean> {
    const { size, mtimeMs, ino } = await stat(path);
    const stamp = `${ino} ${size} ${mtimeMs}`;
    if (this.#files.get(path)?.stamp === stamp) return false;
    if (size > MAX_JSON_LENGTH)
      throw new SyntaxError(`Cannot read "${path}": at most ${MAX_JSON_LENGTH / MEBIBYTE} MiB are wanted, it has more`);
    this.#files.set(path, { stamp, objects: parseKubeFile(await readFile(path), path) });
    return true;
  }
}
