/**
 * Follows the network namespaces of a node as they come and go: opens a capture in each before anything else, then fills its world, and closes it when it has gone and everything that
 * was seen of it has been handed over. A lost connection to the probe is a gap, told as such; everything is opened again when there is a new one.
 */

import type { KubeNames } from '../../kube/names.ts';
import type { TimeBase } from '../../net/time.ts';
import type { Log } from '../log.ts';
import type { EngineView, FollowerEngine } from './engine-boundary.ts';
import { nowNs } from './engine-boundary.ts';
import { type FollowedNamespace, NamespaceFollower } from './followed-namespace.ts';
import type { ProbeHello, ProbeLink, ProbeNamespace, ProbeStream } from './probe-link.ts';
import type { ReadingCounters } from './reading.ts';
import { RingShares } from './ring-shares.ts';

/** More than that are not followed: a node has a few hundred. */
const MOST_NAMESPACES = 4096;
const COUNT_EVERY_MS = 5000;
const STOP_MS = 2000;

export interface FollowerConfig {
  /** The name of the node in records. */
  readonly node: string;
  /** The most that all rings together take; less where the probe allows less. */
  readonly ringBudget: number;
  readonly snapLength: number;
  /** pcap-filter(7), numeric; '' takes everything. */
  readonly filter: string;
  /** Capture the probe's own namespace too: the node's, where it runs in that. */
  readonly home: boolean;
}

export interface FollowerDependencies<View extends EngineView = EngineView> {
  /** Started and stopped by its owner. */
  readonly link: ProbeLink;
  readonly engine: FollowerEngine<View>;
  readonly base: TimeBase;
  readonly config: FollowerConfig;
  readonly log: Log;
  names(): KubeNames;
  /**
   * The pod of these addresses, none of them a loopback address; a pod of the node's own network is none.
   *
   * @param bornMs when their namespace came to be, milliseconds of the Unix epoch; absent: before we looked
   */
  podOf(addresses: readonly string[], bornMs: number | undefined): { namespace: string; name: string; uid: string } | undefined;
  /** Which are followed; all but the probe's own, where it is not given. */
  follow?(namespace: ProbeNamespace): boolean;
  /** It was found just now; its capture is being opened. */
  onNamespace(namespace: FollowedNamespace): void;
  /** It has gone, and the engine has closed it. */
  onGone(namespace: FollowedNamespace): void;
}

export class NodeFollower<View extends EngineView = EngineView> {
  readonly #deps: FollowerDependencies<View>;
  readonly #namespaces = new Map<bigint, NamespaceFollower<View>>();
  readonly #counters: ReadingCounters = { rulesRead: 0, toolsFailed: 0, conntrackEvents: 0 };
  /** Frames of namespaces that have gone. */
  #before = { seen: 0, dropped: 0, delivered: 0 };
  #shares: RingShares;
  #watch: ProbeStream | undefined;
  #forget: (() => void)[] = [];
  #timer: NodeJS.Timeout | undefined;
  /** The watch has told of all that are there; before that they are kept for one after the other. */
  #listed = false;
  #found: ProbeNamespace[] = [];
  #started: (() => void) | undefined;
  /** Since when there is no probe, and no end of that was told. */
  #downMs: number | undefined;
  #stopped = false;

  constructor(deps: FollowerDependencies<View>) {
    this.#deps = deps;
    this.#shares = new RingShares(deps.config.ringBudget);
  }

  /** In the order in which they were found. */
  namespaces(): readonly FollowedNamespace[] {
    return [...this.#namespaces.values()];
  }

  /** Kernel memory of all rings. */
  get ringBytes(): number {
    return this.#shares.taken;
  }

  get counters(): ReadingCounters & { readonly seen: number; readonly dropped: number; readonly delivered: number } {
    let { seen, dropped, delivered } = this.#before;
    for (const { counters } of this.#namespaces.values()) {
      seen += counters.seen;
      dropped += counters.dropped;
      delivered += counters.delivered;
    }
    return { ...this.#counters, seen, dropped, delivered };
  }

  /** Begins; resolves when the captures of all namespaces that were there are open, or have failed. Waits for the probe as long as it takes. */
  async start(): Promise<void> {
    const { link } = this.#deps;
    const started = new Promise<void>((resolve) => {
      this.#started = resolve;
    });
    this.#forget = [link.onUp((hello) => this.#up(hello)), link.onDown((reason) => this.#down(reason))];
    this.#timer = setInterval(() => {
      for (const namespace of this.#namespaces.values()) namespace.count();
    }, COUNT_EVERY_MS);
    await started;
  }

  /** Closes all captures, hands over what they hold, and ends the flows; within 2 s, also where the probe does not answer. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#timer);
    for (const forget of this.#forget) forget();
    this.#watch?.close();
    this.#started?.();
    let limit: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => {
      limit = setTimeout(() => resolve('late'), STOP_MS);
    });
    const open = [...this.#namespaces.values()];
    if ((await Promise.race([Promise.all(open.map((namespace) => namespace.close())), late])) === 'late')
      this.#deps.log.warn({ namespaces: open.filter(({ status }) => status !== 'gone').length }, 'captures did not close in time');
    clearTimeout(limit);
    for (const namespace of open) this.#remove(namespace);
  }

  /** Pods have changed: asks again which namespace is which. */
  findPods(): void {
    for (const namespace of this.#namespaces.values()) namespace.findPod();
  }

  #up(hello: ProbeHello): void {
    this.#listed = false;
    this.#found = [];
    this.#watch = this.#deps.link.watch({
      found: (namespace) => {
        if (!this.#wanted(namespace, hello)) return;
        if (this.#listed) this.#follow(namespace, true);
        else this.#found.push(namespace);
      },
      ready: () => this.#ready(hello),
      gone: (cookie) => this.#namespaces.get(cookie)?.vanished(),
      end: () => {
        this.#watch = undefined;
      },
    });
  }

  #wanted(namespace: ProbeNamespace, hello: ProbeHello): boolean {
    if (namespace.cookie === hello.homeCookie && !this.#deps.config.home) return false;
    return this.#deps.follow?.(namespace) ?? true;
  }

  /** All captures first, then the state of each: the probe does one thing after the other. */
  #ready(hello: ProbeHello): void {
    this.#listed = true;
    const found = this.#found;
    this.#found = [];
    const there = new Set(found.map(({ cookie }) => cookie));
    for (const namespace of [...this.#namespaces.values()]) if (!there.has(namespace.cookie)) namespace.vanished();
    this.#shares.limit(Math.min(this.#deps.config.ringBudget, hello.ringBudget), found.length);
    const open = found.flatMap((namespace) => this.#follow(namespace, false) ?? []);
    for (const namespace of open) namespace.readState();
    this.#checkStarted();
  }

  /** Opens its capture, and for one that came just now begins to read its state. */
  #follow(found: ProbeNamespace, young: boolean): NamespaceFollower<View> | undefined {
    let namespace = this.#namespaces.get(found.cookie);
    const isNew = namespace === undefined;
    if (namespace === undefined) {
      if (this.#namespaces.size >= MOST_NAMESPACES) {
        this.#deps.log.warn({ netns: found.name, most: MOST_NAMESPACES }, 'a namespace is not followed: there are too many');
        return undefined;
      }
      const made = new NamespaceFollower(found, young, this.#deps, this.#shares, this.#counters, {
        state: () => this.#checkStarted(),
        gone: () => this.#remove(made),
      });
      namespace = made;
      this.#namespaces.set(found.cookie, made);
    }
    namespace.open();
    if (young) namespace.readState();
    if (isNew) this.#deps.onNamespace(namespace);
    return namespace;
  }

  #down(reason: string): void {
    this.#watch = undefined;
    this.#downMs ??= performance.now();
    this.#gap(1, `nothing is captured: the probe is lost: ${reason}`);
  }

  #checkStarted(): void {
    if (!this.#listed || (this.#started === undefined && this.#downMs === undefined)) return;
    for (const { status } of this.#namespaces.values()) if (status === 'opening') return;
    this.#started?.();
    this.#started = undefined;
    if (this.#downMs === undefined) return;
    const seconds = ((performance.now() - this.#downMs) / 1000).toFixed(3);
    this.#downMs = undefined;
    this.#gap(0, `frames are captured again, after ${seconds} s`);
  }

  #gap(count: number, detail: string): void {
    const { engine, base, config } = this.#deps;
    engine.lose({ source: 'gap', count, exact: count === 0, atNs: nowNs(base), detail }, { node: config.node });
  }

  #remove(namespace: NamespaceFollower<View>): void {
    if (!this.#namespaces.delete(namespace.cookie)) return;
    const { seen, dropped, delivered } = namespace.counters;
    this.#before = {
      seen: this.#before.seen + seen,
      dropped: this.#before.dropped + dropped,
      delivered: this.#before.delivered + delivered,
    };
    if (!this.#stopped) this.#checkStarted();
    this.#deps.onGone(namespace);
  }
}
