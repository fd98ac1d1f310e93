/**
 * The world of one namespace while it is watched: each part is set as it is read, and a short history of it is kept, so that a connection is judged by what held when it began.
 *
 * A change of the rules is told before they are read again: connections that begin in between are judged by the new reading, with the weaker grade of one that came later.
 */
import type { EnvoyConfig } from '../envoy/config.ts';
import { EnvoyHistory } from '../envoy/history.ts';
import type { ListenerStatus } from '../envoy/listener-status.ts';
import type { KubeNames } from '../kube/names.ts';
import { canonicalIp, isLoopback } from '../net/address.ts';
import { parseTimeNs, type TimeBase } from '../net/time.ts';
import type { ConntrackEvent } from '../netfilter/conntrack.ts';
import type { ConntrackEntry } from '../netfilter/conntrack-entry.ts';
import { type IpRule, parseIpRules } from '../netfilter/ip-rule.ts';
import type { RuleSet } from '../netfilter/rule-set.ts';
import type { ConntrackView } from './conntrack-view.ts';
import type { Snapshot } from './history.ts';
import { LiveConntrack } from './live-conntrack.ts';
import { bareRules, type RulesKindName, RulesView, rulesKinds } from './rules-view.ts';
import { SocketView } from './socket-view.ts';
import type { Socket } from './sockets.ts';
import type { NamespaceInterface, RulesHeld, Scope, World } from './world.ts';

/** Readings of one thing that are kept. */
const SNAPSHOTS_MAX = 16;
const CONFIGS_MAX = 8;
/** Bytes of the texts of all configurations that are kept; the last stays, however long it is. */
const CONFIGS_WEIGHT = 256 * 1024 * 1024;
const SOCKET_LISTINGS_MAX = 4;
const PROBLEMS_MAX = 64;
/** A change of rules that nobody followed up with a reading is not waited for any longer. */
const CHANGE_NS = 10e9;

interface RulesHistory {
  readonly snapshots: Snapshot<readonly RuleSet[]>[];
  bare: string;
}

export class LiveWorld implements World {
  readonly node: string;
  readonly netns: string;
  pod?: NonNullable<Scope['pod']>;
  interfaces: readonly NamespaceInterface[] = [];
  addresses: ReadonlySet<string> = new Set();
  /** Rises when something that connections are judged by has changed. */
  version = 0;
  readonly problems: string[] = [];
  /** Parts that could not be read, and why. */
  readonly unavailable = new Map<string, string>();
  readonly #base: TimeBase;
  readonly #names: () => KubeNames;
  readonly #view = new RulesView();
  readonly #rules = new Map<RulesKindName, RulesHistory>();
  readonly #routing = new Map<4 | 6, { snapshots: Snapshot<readonly IpRule[]>[]; text: string }>();
  /** Changes of rules that no reading has followed yet: the first and the last of them. */
  #changing: { firstNs: number; lastNs: number } | undefined;
  #conntrack: LiveConntrack | undefined;
  #sockets: { readonly listings: (readonly Socket[])[]; view: SocketView } | undefined;
  #envoy: EnvoyHistory | undefined;
  #listeners: readonly ListenerStatus[] | undefined;
  /** Last reading of rules and of the configuration, RFC 3339. */
  rulesReadAt: string | undefined;
  envoyReadAt: string | undefined;
  envoyKnownUntilNs: number | undefined;
  /** Set by who asks Envoy. */
  wantEnvoy: (() => void) | undefined;

  constructor(scope: { readonly node: string; readonly netns: string }, base: TimeBase, names: () => KubeNames) {
    this.node = scope.node;
    this.netns = scope.netns;
    this.#base = base;
    this.#names = names;
  }

  get names(): KubeNames {
    return this.#names();
  }

  get conntrack(): ConntrackView | undefined {
    return this.#conntrack?.view;
  }

  get sockets(): SocketView | undefined {
    return this.#sockets?.view;
  }

  get envoy(): EnvoyHistory | undefined {
    return this.#envoy;
  }

  get listeners(): readonly ListenerStatus[] | undefined {
    return this.#listeners;
  }

  /** A daemon does not read it. */
  get accessLog(): undefined {
    return undefined;
  }

  rulesAt(family: 4 | 6, timeNs: number): RulesHeld | undefined {
    const rules = this.#view.at(family, timeNs);
    const changing = this.#changing;
    if (rules === undefined || changing === undefined || rules.later || timeNs < changing.firstNs) return rules;
    return { ...rules, later: true };
  }

  setInterfaces(interfaces: readonly NamespaceInterface[]): void {
    this.interfaces = interfaces;
    const own = new Set<string>();
    for (const { addresses } of interfaces)
      for (const address of addresses) {
        const ip = canonicalIp(address) ?? address;
        if (!isLoopback(ip)) own.add(ip);
      }
    this.addresses = own;
    this.version++;
  }

  setPod(pod: NonNullable<Scope['pod']> | undefined): void {
    if (pod?.uid === this.pod?.uid) return;
    if (pod === undefined) delete this.pod;
    else this.pod = pod;
    this.version++;
  }

  /** The kernel told that the rules changed (nftables, which iptables-nft uses as well); they will be read again soon. */
  rulesChanged(atNs: number): void {
    if (this.#changing === undefined) this.#changing = { firstNs: atNs, lastNs: atNs };
    else this.#changing.lastNs = Math.max(this.#changing.lastNs, atNs);
  }

  /** All kinds of rules were read again after the last change that was told. */
  rulesRead(): void {
    this.#changing = undefined;
  }

  /**
   * @param text as the tool printed it; '' when there is nothing
   * @param readAt RFC 3339; when the tool was started
   */
  setRules(kind: RulesKindName, text: string, readAt: string): void {
    const known = this.#rules.get(kind);
    const bare = bareRules(text);
    this.rulesReadAt = readAt;
    this.unavailable.delete(kind);
    if (known !== undefined && known.bare === bare) return;
    const sets = text.trim() === '' ? [] : this.#tried(kind, () => rulesKinds.find((entry) => entry.kind === kind)!.parse(text));
    if (sets === undefined) return;
    const snapshots = known?.snapshots ?? [];
    snapshots.push({ atNs: this.#holdsFrom(readAt), readAt, value: sets });
    if (snapshots.length > SNAPSHOTS_MAX) snapshots.shift();
    this.#rules.set(kind, { snapshots, bare });
    this.#view.setRules(kind, snapshots);
    this.version++;
  }

  setRouting(family: 4 | 6, text: string, readAt: string): void {
    const known = this.#routing.get(family);
    if (known?.text === text) return;
    const snapshots = known?.snapshots ?? [];
    snapshots.push({ atNs: this.#at(readAt), readAt, value: parseIpRules(text) });
    if (snapshots.length > SNAPSHOTS_MAX) snapshots.shift();
    this.#routing.set(family, { snapshots, text });
    this.#view.setRouting(family, snapshots);
    this.version++;
  }

  /** A whole dump of the table. */
  setConntrack(entries: Iterable<ConntrackEntry>, nowNs = this.#now()): void {
    this.#tracked().replace(entries, nowNs);
  }

  addConntrackEvents(events: Iterable<ConntrackEvent>, nowNs = this.#now()): void {
    this.#tracked().apply(events, nowNs);
  }

  /** Sockets of all protocols at one moment. */
  setSockets(sockets: readonly Socket[], _readAt: string): void {
    const listings = [...(this.#sockets?.listings ?? []), sockets].slice(-SOCKET_LISTINGS_MAX);
    this.#sockets = { listings, view: new SocketView(listings.flat()) };
    this.unavailable.delete('sockets');
    this.version++;
  }

  /** A newer reading of the configuration. */
  setEnvoyConfig(config: EnvoyConfig): void {
    const configs = [...(this.#envoy?.configs ?? []), config].slice(-CONFIGS_MAX);
    // One whose pod says something else each time is remembered for less long.
    while (configs.length > 1 && configs.reduce((sum, { weight }) => sum + weight, 0) > CONFIGS_WEIGHT) configs.shift();
    this.#envoy = new EnvoyHistory(configs);
    this.envoyReadAt = config.readAt;
    this.unavailable.delete('config_dump');
    this.version++;
  }

  /** Envoy was asked at that time, and what it has is the last reading. @param askedAt RFC 3339 */
  envoyConfirmed(askedAt: string): void {
    this.envoyKnownUntilNs = this.#at(askedAt);
  }

  setListeners(listeners: readonly ListenerStatus[]): void {
    this.#listeners = listeners;
    this.version++;
  }

  /** A part could not be read; what was read of it before still counts. */
  setUnavailable(part: string, reason: string): void {
    this.unavailable.set(part, reason);
  }

  /** Forgets what is not needed any more. */
  expire(nowNs: number): void {
    this.#lastNs = nowNs;
    this.#conntrack?.expire(nowNs);
    if (this.#changing !== undefined && nowNs - this.#changing.lastNs > CHANGE_NS) this.#changing = undefined;
  }

  #lastNs = 0;

  /** Where nobody gives a time the engine's last tick is near enough: it only says how long an ended entry is kept. */
  #now(): number {
    return this.#lastNs;
  }

  #tracked(): LiveConntrack {
    this.#conntrack ??= new LiveConntrack();
    return this.#conntrack;
  }

  #at(readAt: string): number {
    return parseTimeNs(this.#base, readAt) ?? Number.NEGATIVE_INFINITY;
  }

  /** The rules that a reading shows have held since the last change before it, where one was told; the very first reading may be of older rules, but nobody knows since when. */
  #holdsFrom(readAt: string): number {
    const readNs = this.#at(readAt);
    const changed = this.#changing;
    return changed !== undefined && changed.lastNs <= readNs ? changed.lastNs : readNs;
  }

  #tried<T>(part: string, parse: () => T): T | undefined {
    try {
      return parse();
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      this.unavailable.set(part, error.message);
      if (this.problems.length < PROBLEMS_MAX) this.problems.push(`${part}: ${error.message}`);
      return undefined;
    }
  }
}
