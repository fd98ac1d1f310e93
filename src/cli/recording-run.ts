/** What recording from a daemon and recording from a probe have in common: the bundle on disk, its beat, and its end. */
import { existsSync, readFileSync } from 'node:fs';
import { BundleFolder, type RecordedNamespace } from '../daemon/evidence/bundle-folder.ts';
import type { Rotation } from '../daemon/evidence/packet-files.ts';
import { RecordFailure } from '../daemon/evidence/record-failure.ts';
import { complain } from './failure.ts';

/** Half of what may be lost when somebody kills us, and more. */
const BEAT_MS = 250;

export interface RecordWish {
  /** A folder that is absent or empty. */
  readonly folder: string;
  /** `[NAMESPACE/]PREFIX` of pods; none: all. */
  readonly pods: readonly string[];
  /** Names of network namespaces; with those of pods, either. */
  readonly netns: readonly string[];
  readonly rotation: Rotation;
  readonly version: string;
}

/** Is the namespace one of those that were asked for? */
export function isWanted(
  { pods, netns }: Pick<RecordWish, 'pods' | 'netns'>,
  of: { readonly netns: string; readonly pod?: { readonly namespace: string; readonly name: string } | undefined },
): boolean {
  if (pods.length === 0 && netns.length === 0) return true;
  if (netns.includes(of.netns)) return true;
  const { pod } = of;
  if (pod === undefined) return false;
  return pods.some((wanted) => {
    const slash = wanted.indexOf('/');
    return slash === -1
      ? pod.name.startsWith(wanted)
      : pod.namespace === wanted.slice(0, slash) && pod.name.startsWith(wanted.slice(slash + 1));
  });
}

export class RecordingRun {
  readonly bundle: BundleFolder;
  /** Settles when the recording cannot be kept any more. */
  readonly failed: Promise<RecordFailure>;
  failure: RecordFailure | undefined;
  #fail: (failure: RecordFailure) => void = () => {};
  readonly #beat: NodeJS.Timeout;

  /** @throws {RecordFailure} when the folder cannot be made */
  constructor(wish: RecordWish, about: { readonly node: string; readonly tools: { readonly [name: string]: string } }) {
    this.failed = new Promise((resolve) => {
      this.#fail = resolve;
    });
    this.bundle = new BundleFolder(wish.folder, { ...about, recorder: `sidetrace record ${wish.version}`, bootId: bootId() }, Date.now());
    this.#beat = setInterval(() => this.keep(() => this.bundle.tick(Date.now())), BEAT_MS);
  }

  /** Runs what writes. The first failure is told at once and ends the recording; what comes later is not tried. */
  keep(write: () => void): void {
    if (this.failure !== undefined) return;
    try {
      write();
    } catch (error) {
      if (!(error instanceof RecordFailure)) throw error;
      this.failure = error;
      complain(`${error.message}. The recording ends`);
      this.#fail(error);
    }
  }

  /** Frames of a namespace: written, or counted as lost when nothing can be written. */
  write(namespace: RecordedNamespace, blocks: Buffer, frames: number): void {
    const { packets } = namespace;
    if (packets === undefined) return;
    if (this.failure !== undefined) packets.unwritten += frames;
    else this.keep(() => packets.write(blocks, frames, Date.now()));
  }

  /** Closes the bundle. @returns is it whole, or was something lost on the way? */
  end(): { readonly whole: boolean } {
    clearInterval(this.#beat);
    try {
      this.bundle.close(Date.now());
    } catch (error) {
      if (!(error instanceof RecordFailure)) throw error;
      if (this.failure === undefined) complain(error.message);
      this.failure ??= error;
    }
    const { unwritten } = this.bundle.totals;
    if (unwritten > 0) complain(`${unwritten} packets were captured and could not be written`);
    return { whole: this.failure === undefined && unwritten === 0 };
  }
}

function bootId(): string | undefined {
  const path = '/proc/sys/kernel/random/boot_id';
  return existsSync(path) ? readFileSync(path, 'utf8').trim() : undefined;
}
