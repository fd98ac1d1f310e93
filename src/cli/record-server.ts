/** `sidetrace record --server`: packets and evidence of a daemon, as a bundle. */

import type { NamespaceAbout, RecordedNamespace } from '../daemon/evidence/bundle-folder.ts';
import type { EvidenceFile } from '../daemon/evidence/evidence-file.ts';
import { BlockSplitter } from '../daemon/evidence/pcapng-frames.ts';
import { errorText } from '../net/error-text.ts';
import { snapshotsOf } from '../source/bundle.ts';
import { ENHANCED_PACKET, INTERFACE_DESCRIPTION, INTERFACE_STATISTICS } from '../source/pcapng-block-types.ts';
import { ISB_IFDROP, ISB_OSDROP, walkOptions } from '../source/pcapng-options.ts';
import { askPods, askStatus } from './daemon-answers.ts';
import { askDaemon } from './daemon-http.ts';
import { complain, InputError } from './failure.ts';
import { evidencePath, fetchEvidence, openEvidence } from './fetch-evidence.ts';
import type { BegunRecording } from './record.ts';
import { isWanted, RecordingRun, type RecordWish } from './recording-run.ts';
import type { Server } from './server-options.ts';

/** How often new namespaces are looked for. */
const LOOK_MS = 1000;
/** What was captured before the end is still on its way for so long. */
const DRAIN_MS = 500;
const RETRY_MS = 1000;
/** Where the options of a statistics block begin: behind type, length, interface and time. */
const STATISTICS_OPTIONS = 20;

interface Listed {
  readonly about: NamespaceAbout;
  readonly cookie: string;
  readonly capture: { readonly snapLength: number; readonly filter: string };
}

interface Followed {
  readonly listed: Listed;
  readonly recorded: RecordedNamespace;
  readonly controller: AbortController;
  stream: Promise<void>;
  gone: boolean;
}

/** Begins. @throws {InputError} and others where the daemon does not answer or has nothing that fits */
export async function recordFromServer(server: Server, wish: RecordWish): Promise<BegunRecording> {
  const status = await askStatus(server);
  if (typeof status === 'string') throw new InputError(`Cannot read the status of "${server.name}": ${status}`);
  const recording = new Recording(server, wish, status.node, status.version);
  try {
    await recording.look();
  } catch (error) {
    recording.run.end();
    throw error;
  }
  if (recording.count === 0) complain(`nothing that was asked for is followed by "${server.name}" now; what comes is recorded`);
  recording.begin();
  return recording;
}

class Recording implements BegunRecording {
  readonly run: RecordingRun;
  readonly #server: Server;
  readonly #wish: RecordWish;
  readonly #followed = new Map<string, Followed>();
  /** Those whose begin has not been read yet. */
  readonly #unread: Followed[] = [];
  #looking: NodeJS.Timeout | undefined;
  #stopped = false;
  #kernelLost = 0;
  #readerLost = 0;
  #unreachable = false;

  constructor(server: Server, wish: RecordWish, node: string, version: string) {
    this.#server = server;
    this.#wish = wish;
    this.run = new RecordingRun(wish, { node, tools: { 'sidetrace daemon': version } });
  }

  get count(): number {
    return this.#followed.size;
  }

  begin(): void {
    const look = (): void => {
      this.#looking = setTimeout(() => {
        this.look()
          .catch((error: unknown) => this.#outage(error))
          .finally(() => {
            if (!this.#stopped) look();
          });
      }, LOOK_MS);
    };
    look();
  }

  lost(): number {
    return this.#kernelLost + this.#readerLost;
  }

  /** Follows what is new, and marks what has gone. */
  async look(): Promise<void> {
    const answer = await askPods(this.#server);
    this.#unreachable = false;
    const there = new Set<string>();
    for (const one of listedOf(answer)) {
      there.add(one.cookie);
      if (!this.#followed.has(one.cookie) && !this.#stopped && isWanted(this.#wish, one.about)) this.#follow(one);
    }
    for (const followed of this.#followed.values()) if (!there.has(followed.listed.cookie)) followed.gone = true;
    // all packets first: readings take their time
    for (const { recorded, listed } of this.#unread.splice(0)) if (!this.#stopped) await this.#evidence(recorded, listed, 'start');
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#looking);
    if (this.run.failure === undefined)
      for (const { recorded, listed, gone } of this.#followed.values()) if (!gone) await this.#evidence(recorded, listed, 'end');
    await new Promise((resolve) => setTimeout(resolve, this.run.failure === undefined ? DRAIN_MS : 0));
    for (const { controller } of this.#followed.values()) controller.abort();
    await Promise.allSettled([...this.#followed.values()].map(({ stream }) => stream));
    // What the readers of streams were too slow for, and the kernel, stands in the packet files.
  }

  #follow(listed: Listed): void {
    const { about, capture } = listed;
    let recorded: RecordedNamespace | undefined;
    this.run.keep(() => {
      recorded = this.run.bundle.add(
        about,
        {
          about: {
            ...capture,
            application: `sidetrace ${this.#wish.version}`,
            comment: `${about.netns}, from the daemon at ${this.#server.name}`,
          },
          rotation: this.#wish.rotation,
        },
        Date.now(),
      );
    });
    if (recorded === undefined) return;
    const controller = new AbortController();
    const followed: Followed = { listed, recorded, controller, stream: Promise.resolve(), gone: false };
    this.#followed.set(listed.cookie, followed);
    followed.stream = this.#stream(followed);
    this.#unread.push(followed);
  }

  /** Reads a namespace's packets to the end of the recording, or of the namespace; again when the connection was lost. */
  async #stream(followed: Followed): Promise<void> {
    const { signal } = followed.controller;
    let failures = 0;
    while (!signal.aborted && !followed.gone && this.run.failure === undefined) {
      try {
        await this.#readPackets(followed, signal);
        return;
      } catch (error) {
        if (signal.aborted || this.run.failure !== undefined) return;
        const detail = `The packets of "${followed.listed.about.netns}" were not handed over for a while: ${errorText(error)}`;
        this.run.bundle.lose({ source: 'recorder', count: 1, exact: false, detail });
        if (failures++ === 0) complain(detail);
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  }

  async #readPackets({ recorded, listed }: Followed, signal: AbortSignal): Promise<void> {
    const answer = await askDaemon(this.#server, `${evidencePath({ netns: listed.about.netns })}/packets`, { signal });
    const splitter = new BlockSplitter();
    // Its counts begin with the connection.
    const before = { kernel: this.#kernelOf(recorded), reader: this.#readerOf(recorded) };
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      let from = 0;
      let frames = 0;
      const runs: Buffer[] = [];
      splitter.push(chunk, (type, block) => {
        if (type === ENHANCED_PACKET) {
          runs.push(block);
          frames++;
        } else if (type === INTERFACE_STATISTICS) {
          const { kernel, reader } = dropsOf(block);
          this.#lose(recorded, { kernel: before.kernel + kernel, reader: before.reader + reader });
        } else if (type === INTERFACE_DESCRIPTION) from++;
      });
      if (from > 1) throw new SyntaxError('one interface is wanted, the stream describes several');
      if (frames > 0) this.run.write(recorded, Buffer.concat(runs), frames);
      if (this.run.failure !== undefined) return;
    }
    if (!answer.complete && !signal.aborted) throw new Error('the connection was lost');
  }

  readonly #losses = new Map<RecordedNamespace, { kernel: number; reader: number }>();
  #kernelOf(recorded: RecordedNamespace): number {
    return this.#losses.get(recorded)?.kernel ?? 0;
  }
  #readerOf(recorded: RecordedNamespace): number {
    return this.#losses.get(recorded)?.reader ?? 0;
  }

  #lose(recorded: RecordedNamespace, counts: { kernel: number; reader: number }): void {
    this.#kernelLost += counts.kernel - this.#kernelOf(recorded);
    this.#readerLost += counts.reader - this.#readerOf(recorded);
    this.#losses.set(recorded, counts);
    recorded.packets?.lost(counts);
  }

  /** Readings of one moment. What cannot be had is told, and the recording goes on. */
  async #evidence(recorded: RecordedNamespace, { about: { netns } }: Listed, label: string): Promise<void> {
    try {
      const fetched = await fetchEvidence(this.#server, `${evidencePath({ netns })}/evidence`);
      try {
        const bundle = openEvidence(fetched);
        const [entry] = bundle.manifest.namespaces;
        if (entry !== undefined) {
          this.run.bundle.describe(recorded, {
            ...recorded.about,
            interfaces: entry.interfaces,
            ...(entry.pod === undefined ? {} : { pod: entry.pod }),
          });
          for (const snapshot of snapshotsOf(entry)) {
            const { kind, family, status, readAt, reason, path } = snapshot;
            const bytes = path === undefined ? undefined : bundle.readBytes(path);
            const file: EvidenceFile = {
              kind,
              status,
              readAt: readAt ?? new Date().toISOString(),
              ...(family === undefined ? {} : { family }),
              ...(reason === undefined ? {} : { reason }),
              ...(bytes === undefined ? {} : { bytes }),
            };
            this.run.keep(() => this.run.bundle.keep(recorded, [file], label));
          }
        }
        for (const { name, bytes } of bundle.kubeFiles()) this.run.keep(() => this.run.bundle.keepFile(name, bytes));
        bundle.close();
      } finally {
        fetched.remove();
      }
    } catch (error) {
      const detail = `The evidence of "${netns}" could not be read at the ${label}: ${errorText(error)}`;
      complain(detail);
      this.run.bundle.lose({ source: 'evidence', count: 1, exact: true, detail });
    }
  }

  #outage(error: unknown): void {
    if (this.#unreachable) return;
    this.#unreachable = true;
    complain(`${errorText(error)}. It is asked again`);
  }
}

/** isb_ifdrop and isb_osdrop of an interface statistics block. */
function dropsOf(block: Buffer): { kernel: number; reader: number } {
  let kernel = 0;
  let reader = 0;
  const view = new DataView(block.buffer, block.byteOffset, block.length);
  walkOptions(view, STATISTICS_OPTIONS, block.length - 4, true, (code, at, length) => {
    if (length === 8 && code === ISB_IFDROP) reader = Number(block.readBigUInt64LE(at));
    if (length === 8 && code === ISB_OSDROP) kernel = Number(block.readBigUInt64LE(at));
  });
  return { kernel, reader };
}

/** What of `/v1/pods` can be recorded. */
function listedOf(value: unknown): Listed[] {
  if (!Array.isArray(value)) throw new InputError('Cannot read the list of pods: a list is wanted, it is none');
  return value.flatMap((given): Listed[] => {
    const { netns, cookie, pod, state, capture } = (given ?? {}) as { [field: string]: unknown };
    if (typeof netns !== 'string' || typeof cookie !== 'string' || (state !== 'capturing' && state !== 'opening')) return [];
    const { namespace, name, uid } = (pod ?? {}) as { [field: string]: unknown };
    const known = typeof namespace === 'string' && typeof name === 'string' && typeof uid === 'string';
    const { snapLength, filter } = (capture ?? {}) as { [field: string]: unknown };
    return [
      {
        cookie,
        about: { netns, interfaces: [], ...(known ? { pod: { namespace, name, uid } } : {}) },
        capture: { snapLength: typeof snapLength === 'number' ? snapLength : 0, filter: typeof filter === 'string' ? filter : '' },
      },
    ];
  });
}
