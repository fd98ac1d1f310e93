/** One namespace that is followed: its frames go to the engine, what the kernel says of it into its world. */
import type { Duplex } from 'node:stream';
import { walkFrames } from '../../source/probe-protocol.ts';
import { LiveWorld } from '../../world/live.ts';
import type { EvidenceText } from '../evidence/evidence-file.ts';
import { ConntrackReader } from './conntrack-reader.ts';
import { type EngineView, nowNs } from './engine-boundary.ts';
import { readEvidence } from './evidence-texts.ts';
import type { FollowerDependencies } from './follower.ts';
import { LinksReader } from './links-reader.ts';
import { NamespaceCapture } from './namespace-capture.ts';
import type { ProbeNamespace } from './probe-link.ts';
import type { ReadingCounters, ReadingScope } from './reading.ts';
import type { RingShares } from './ring-shares.ts';
import { RulesReader } from './rules-reader.ts';
import { SocketsReader } from './sockets-reader.ts';

export type FollowedStatus = 'opening' | 'capturing' | 'failed' | 'gone';

export interface FollowedNamespace {
  readonly cookie: bigint;
  /** Its name in the folder of namespaces, else `cookie:N`. */
  readonly netns: string;
  readonly world: LiveWorld;
  readonly status: FollowedStatus;
  /** Why it is not capturing. */
  readonly reason?: string;
  /** Milliseconds from when the probe told of it until its capture was open; `undefined` before that. */
  readonly openMs: number | undefined;
  /** Kernel memory of its ring. */
  readonly ringBytes: number;
  /** Frames, by the kernel's counters as they were told last (every 5 s, and at the end). */
  readonly counters: { readonly seen: number; readonly dropped: number; readonly delivered: number };
  /** The listener hears each payload of a FRAMES message, before the engine. Returns what takes it away again. */
  tap(listener: (framesPayload: Uint8Array) => void): () => void;
  /** Resolves when sockets that were read after this call are in the world. */
  readSockets(): Promise<void>;
  /** Fresh readings of all kinds. */
  readTexts(): Promise<EvidenceText[]>;
  /** A connection to a port of 127.0.0.1 inside. @throws {ProbeLinkError} */
  tunnel(port: number): Promise<Duplex>;
}

export class NamespaceFollower<View extends EngineView> implements FollowedNamespace {
  readonly cookie: bigint;
  readonly netns: string;
  readonly world: LiveWorld;
  status: FollowedStatus = 'opening';
  reason?: string;
  openMs: number | undefined;
  readonly #deps: FollowerDependencies<View>;
  readonly #view: View;
  readonly #capture: NamespaceCapture;
  readonly #conntrack: ConntrackReader;
  readonly #rules: RulesReader;
  readonly #links: LinksReader;
  readonly #sockets: SocketsReader;
  readonly #scope: ReadingScope;
  readonly #taps = new Set<(payload: Uint8Array) => void>();
  readonly #foundMs = performance.now();
  readonly #bornMs: number | undefined;
  readonly #onState: () => void;
  readonly #onGone: () => void;
  #reading = false;
  #over = false;

  /** @param young it was made while we watched */
  constructor(
    found: ProbeNamespace,
    young: boolean,
    deps: FollowerDependencies<View>,
    shares: RingShares,
    counters: ReadingCounters,
    events: { state(): void; gone(): void },
  ) {
    this.cookie = found.cookie;
    this.netns = found.process === 0 && found.name !== '' ? found.name : `cookie:${found.cookie}`;
    this.#deps = deps;
    this.#bornMs = young ? Date.now() : undefined;
    this.#onState = events.state;
    this.#onGone = events.gone;
    const { engine, link, base, config } = deps;
    this.world = new LiveWorld({ node: config.node, netns: this.netns }, base, deps.names);
    this.#view = engine.open(this.cookie, this.world);
    const log = deps.log.child('node', { netns: this.netns });
    const lose: ReadingScope['lose'] = (loss) => engine.lose({ ...loss, atNs: nowNs(base) }, { node: config.node, netns: this.netns });
    this.#scope = { cookie: this.cookie, link, world: this.world, base, log, counters, lose };
    this.#capture = new NamespaceCapture(link, this.cookie, config, shares, {
      frames: (payload) => this.#frames(payload),
      lose,
      state: (status, reason) => this.#state(status, reason),
      gone: () => this.#gone(),
    });
    this.#conntrack = new ConntrackReader(this.#scope);
    this.#sockets = new SocketsReader(this.#scope);
    this.#rules = new RulesReader(this.#scope, young, () => void this.readSockets());
    this.#links = new LinksReader(this.#scope, () => this.findPod());
  }

  get ringBytes(): number {
    return this.#capture.ringBytes;
  }

  get counters(): FollowedNamespace['counters'] {
    return this.#capture.counters;
  }

  /** Opens the capture; everything else waits for {@link readState}. Again after a lost connection. */
  open(): void {
    this.#reading = false;
    this.#capture.open();
  }

  /** Begins to read the state, once the capture has been asked for. */
  readState(): void {
    if (this.#over || this.#reading) return;
    this.#reading = true;
    this.#conntrack.start();
    this.#rules.start();
    this.#links.start();
  }

  /** The probe does not list it any more. */
  vanished(): void {
    this.#capture.vanished();
  }

  count(): void {
    this.#capture.count();
  }

  /** Asks again which pod has these addresses. */
  findPod(): void {
    const { addresses } = this.world;
    this.world.setPod(addresses.size === 0 ? undefined : this.#deps.podOf([...addresses], this.#bornMs));
  }

  tap(listener: (payload: Uint8Array) => void): () => void {
    this.#taps.add(listener);
    return () => this.#taps.delete(listener);
  }

  readSockets(): Promise<void> {
    return this.#sockets.read();
  }

  readTexts(): Promise<EvidenceText[]> {
    return readEvidence(this.#scope);
  }

  tunnel(port: number): Promise<Duplex> {
    return this.#deps.link.tunnel(this.cookie, port);
  }

  /** Everything that was seen is handed over and every loss told; then the flows end. */
  async close(): Promise<void> {
    if (this.#over) return;
    this.#over = true;
    this.#rules.stop();
    this.#links.stop();
    await Promise.all([this.#capture.close(), this.#conntrack.stop()]);
    this.status = 'gone';
    this.#deps.engine.close(this.#view);
  }

  #frames(payload: Uint8Array): void {
    for (const listener of this.#taps) {
      try {
        listener(payload);
      } catch (error) {
        this.#taps.delete(listener);
        this.#scope.log.error({ err: error }, 'a recorder of frames failed, and hears no more');
      }
    }
    try {
      this.#view.observeProbeFrames(payload);
    } catch (error) {
      let count = 0;
      walkFrames(payload, () => count++);
      this.#scope.log.error({ err: error, frames: count }, 'frames could not be followed');
      this.#scope.lose({ source: 'engine', count, exact: false, detail: `some of these frames could not be followed: ${String(error)}` });
    }
  }

  #state(status: 'opening' | 'capturing' | 'failed', reason?: string): void {
    this.status = status;
    if (reason === undefined) delete this.reason;
    else this.reason = reason;
    if (status === 'capturing') this.openMs ??= performance.now() - this.#foundMs;
    if (status === 'failed') this.#scope.log.warn({ reason }, 'a namespace cannot be captured');
    this.#onState();
  }

  #gone(): void {
    void this.close().then(this.#onGone);
  }
}
