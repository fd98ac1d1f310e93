/**
 * Fills the world of one namespace from what was recorded of it. Texts are read when something first asks for them; what cannot be read becomes a problem with a
 * sentence, and the world goes on without it.
 */
import { type AccessLog, parseAccessLog } from '../envoy/access-log.ts';
import { BuiltValues } from '../envoy/built-values.ts';
import { addClusters, addServerInfo, type EnvoyConfig, parseClusters, parseConfigDump } from '../envoy/config.ts';
import { EnvoyHistory } from '../envoy/history.ts';
import { type ListenerStatus, parseListeners } from '../envoy/listener-status.ts';
import type { KubeNames } from '../kube/names.ts';
import { canonicalIp, isLoopback } from '../net/address.ts';
import type { TextSource } from '../net/json-text.ts';
import { TextRoom } from '../net/text-room.ts';
import { parseTimeNs, type TimeBase } from '../net/time.ts';
import { type ConntrackEntry, parseConntrack, parseConntrackEvents } from '../netfilter/conntrack.ts';
import { type IpRule, parseIpRules } from '../netfilter/ip-rule.ts';
import type { RuleSet } from '../netfilter/rule-set.ts';
import { ConntrackView } from './conntrack-view.ts';
import type { Snapshot } from './history.ts';
import { bareRules, RulesView, rulesKinds } from './rules-view.ts';
import { SocketView } from './socket-view.ts';
import { parseSockets } from './sockets.ts';
import type { RulesHeld, Scope, World } from './world.ts';

export type WorldFileKind =
  | 'iptables-save'
  | 'ip6tables-save'
  | 'iptables-legacy-save'
  | 'ip6tables-legacy-save'
  | 'nft'
  | 'ip-rule'
  | 'conntrack'
  | 'conntrack-events'
  | 'sockets'
  | 'config_dump'
  | 'clusters'
  | 'listeners'
  | 'server_info'
  | 'certs'
  | 'stats'
  | 'access-log';

/** One reading of one thing. */
export interface WorldFile {
  readonly kind: string;
  readonly family?: 'ipv4' | 'ipv6';
  /** RFC 3339; absent when nobody told: then it holds at all times. */
  readonly readAt?: string;
  /** How people name it. */
  readonly name: string;
  /** The bytes of its text, empty of a reading that found nothing; `undefined` when it cannot be read. The same each time. */
  read(): Uint8Array | undefined;
}

const MEBIBYTE = 1024 * 1024;
const JSON_LIMIT = 240 * MEBIBYTE;
const TEXT_LIMIT = 64 * MEBIBYTE;
const jsonKinds: ReadonlySet<string> = new Set(['config_dump', 'clusters', 'pods', 'services', 'endpointslices']);

/** How many bytes are read of a file of this kind, at most. */
export function readingLimit(kind: string): number {
  return jsonKinds.has(kind) ? JSON_LIMIT : TEXT_LIMIT;
}

/** What a bundle says of one reading. `path`: of its text, absent when it found nothing. */
export interface SnapshotAbout extends Pick<WorldFile, 'kind' | 'family' | 'readAt'> {
  readonly path?: string;
}

const nothing = new Uint8Array(0);

/** A reading of a bundle. @param read gives at most `limit` bytes of a file of it, `undefined` when it cannot be read */
export function snapshotFile(snapshot: SnapshotAbout, read: (path: string, limit: number) => Uint8Array | undefined): WorldFile {
  const { kind, family, readAt, path } = snapshot;
  return {
    kind,
    name: path ?? kind,
    ...(family === undefined ? {} : { family }),
    ...(readAt === undefined ? {} : { readAt }),
    read: () => (path === undefined ? nothing : read(path, readingLimit(kind))),
  };
}

/** Where large configurations are kept: one for all namespaces that are looked at together. */
export class ConfigRoom {
  readonly texts = new TextRoom();
  readonly built = new BuiltValues();
}

const decoder = new TextDecoder();

/** Of what a parser says. */
const MESSAGE_LENGTH = 800;

export class RecordedWorld implements World {
  readonly node: string;
  readonly netns: string;
  readonly pod?: { readonly namespace: string; readonly name: string; readonly uid: string };
  readonly interfaces: Scope['interfaces'];
  readonly addresses: ReadonlySet<string>;
  readonly names: KubeNames;
  readonly problems: string[] = [];
  readonly #files: readonly WorldFile[];
  readonly #base: TimeBase;
  readonly #room: ConfigRoom;
  #rules: RulesView | undefined;
  #conntrack: ConntrackView | undefined | null = null;
  #sockets: SocketView | undefined | null = null;
  #envoy: EnvoyHistory | undefined | null = null;
  #listeners: readonly ListenerStatus[] | undefined | null = null;
  #accessLog: AccessLog | undefined | null = null;

  /** @param addresses of the namespace where `scope.interfaces` does not tell them */
  constructor(
    scope: Scope,
    files: readonly WorldFile[],
    names: KubeNames,
    base: TimeBase,
    addresses: Iterable<string> = [],
    room = new ConfigRoom(),
  ) {
    this.#room = room;
    this.node = scope.node;
    this.netns = scope.netns;
    if (scope.pod !== undefined) this.pod = scope.pod;
    this.interfaces = scope.interfaces;
    const own = new Set<string>();
    for (const { addresses: list } of scope.interfaces) for (const address of list) own.add(canonicalIp(address) ?? address);
    for (const address of addresses) own.add(address);
    this.addresses = new Set([...own].filter((address) => !isLoopback(address)));
    this.names = names;
    this.#files = files;
    this.#base = base;
  }

  /** Was anything of these kinds recorded? */
  has(...kinds: WorldFileKind[]): boolean {
    return this.#files.some((file) => (kinds as string[]).includes(file.kind));
  }

  /** The texts of one kind, oldest first. */
  texts(kind: WorldFileKind, family?: 'ipv4' | 'ipv6'): Snapshot<string>[] {
    return this.#readings(kind, family).flatMap(({ atNs, readAt, value }) => {
      const bytes = value.read();
      return bytes === undefined ? [] : [{ atNs, readAt, value: decoder.decode(bytes) }];
    });
  }

  /** The readings of one kind, oldest first. */
  #readings(kind: WorldFileKind, family?: 'ipv4' | 'ipv6'): Snapshot<WorldFile>[] {
    return this.#files
      .filter((file) => file.kind === kind && (family === undefined || file.family === undefined || file.family === family))
      .map((file) => ({
        atNs: file.readAt === undefined ? Number.NEGATIVE_INFINITY : (parseTimeNs(this.#base, file.readAt) ?? Number.NEGATIVE_INFINITY),
        readAt: file.readAt ?? '',
        value: file,
      }))
      .sort((a, b) => a.atNs - b.atNs);
  }

  rulesAt(family: 4 | 6, timeNs: number): RulesHeld | undefined {
    this.#rules ??= this.#readRules();
    return this.#rules.at(family, timeNs);
  }

  get conntrack(): ConntrackView | undefined {
    if (this.#conntrack === null) this.#conntrack = this.#readConntrack();
    return this.#conntrack;
  }

  get sockets(): SocketView | undefined {
    if (this.#sockets === null) {
      const texts = this.texts('sockets');
      this.#sockets =
        texts.length === 0
          ? undefined
          : new SocketView(
              texts.flatMap(
                ({ value, readAt }) =>
                  this.#tried(`the sockets${readAt === '' ? '' : ` read at ${readAt}`}`, () => parseSockets(value))?.sockets ?? [],
              ),
            );
    }
    return this.#sockets;
  }

  /** Where Envoy listens, by /listeners; `undefined` when it was not recorded. The last reading counts. */
  get listeners(): readonly ListenerStatus[] | undefined {
    if (this.#listeners === null) {
      const found = this.#readings('listeners').flatMap(
        ({ value }) => this.#triedJson('the listeners', value, (input) => [parseListeners(input)]) ?? [],
      );
      this.#listeners = found.at(-1);
    }
    return this.#listeners;
  }

  get accessLog(): AccessLog | undefined {
    if (this.#accessLog === null) {
      const texts = this.texts('access-log');
      this.#accessLog = texts.length === 0 ? undefined : this.#readAccessLog(texts.map(({ value }) => parseAccessLog(value)));
    }
    return this.#accessLog;
  }

  #readAccessLog(logs: readonly AccessLog[]): AccessLog {
    for (const { entries, unread, firstUnread, truncated } of logs) {
      const wish = "an entry in Istio's default text format or JSON with start time and downstream addresses";
      if (unread > 0)
        this.#tried('the access log', () => {
          const some = entries.length === 0 ? 'any line' : `${unread} lines`;
          throw new SyntaxError(`Cannot read ${some} of it: ${wish} is wanted, ${JSON.stringify(firstUnread)} is there`);
        });
      if (truncated)
        this.#tried('the access log', () => {
          throw new SyntaxError(`Cannot read all of it: at most ${entries.length} entries are read, there are more`);
        });
    }
    return {
      entries: logs.flatMap(({ entries }) => entries),
      unread: logs.reduce((sum, { unread }) => sum + unread, 0),
      truncated: logs.some(({ truncated }) => truncated),
    };
  }

  get envoy(): EnvoyHistory | undefined {
    if (this.#envoy === null) this.#envoy = this.#readEnvoy();
    return this.#envoy;
  }

  /** Reads what nobody has asked for, so that what is wrong with it is told, too. */
  readAll(): void {
    void [this.conntrack, this.sockets, this.envoy, this.listeners, this.accessLog];
    this.#rules ??= this.#readRules();
  }

  #tried<T>(what: string, parse: () => T): T | undefined {
    try {
      return parse();
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      this.problems.push(
        `${what} of "${this.pod === undefined ? this.netns : `${this.pod.namespace}/${this.pod.name}`}": ${error.message.slice(0, MESSAGE_LENGTH)}`,
      );
      return undefined;
    }
  }

  /** Nothing of a text that should hold something could be read. */
  #complain(what: string, wish: string, text: string): void {
    const first = /^(?!\s*(?:#|conntrack v))[^\n]*\S[^\n]*/m.exec(text)?.[0];
    if (first !== undefined)
      this.#tried(what, () => {
        throw new SyntaxError(`Cannot read any line of it: ${wish} is wanted, ${JSON.stringify(first.trim().slice(0, 80))} is there`);
      });
  }

  #readRules(): RulesView {
    const view = new RulesView();
    for (const { kind, parse } of rulesKinds) {
      const snapshots: Snapshot<readonly RuleSet[]>[] = [];
      let lastText: string | undefined;
      for (const { atNs, readAt, value } of this.texts(kind)) {
        // The same object means the same verdicts.
        const bare = bareRules(value);
        const previous = snapshots.at(-1);
        const sets =
          bare === lastText && previous !== undefined
            ? previous.value
            : value.trim() === ''
              ? []
              : this.#tried(`the rules (${kind})`, () => parse(value));
        if (sets === undefined) continue;
        snapshots.push({ atNs, readAt, value: sets });
        lastText = bare;
      }
      if (snapshots.length > 0) view.setRules(kind, snapshots);
    }
    for (const family of [4, 6] as const) view.setRouting(family, this.#readRouting(family));
    return view;
  }

  #readRouting(family: 4 | 6): Snapshot<readonly IpRule[]>[] {
    return this.texts('ip-rule', family === 4 ? 'ipv4' : 'ipv6').map((text) => {
      const value = parseIpRules(text.value);
      if (value.length === 0) this.#complain('the ip-rule', 'a rule such as "32766: from all lookup main"', text.value);
      return { ...text, value };
    });
  }

  #readConntrack(): ConntrackView | undefined {
    if (!this.has('conntrack', 'conntrack-events')) return undefined;
    const entries: ConntrackEntry[] = [];
    for (const { value } of this.texts('conntrack')) {
      const read = parseConntrack(value);
      if (read.entries.length === 0) this.#complain('the conntrack table', 'an entry such as "tcp 6 100 ESTABLISHED src=…"', value);
      for (const entry of read.entries) entries.push(entry);
    }
    for (const { value } of this.texts('conntrack-events')) {
      const read = parseConntrackEvents(value);
      if (read.events.length === 0) this.#complain('the conntrack events', 'an event such as "[NEW] tcp 6 120 SYN_SENT src=…"', value);
      for (const { entry } of read.events) entries.push(entry);
    }
    return new ConntrackView(entries);
  }

  #readEnvoy(): EnvoyHistory | undefined {
    const configs: EnvoyConfig[] = [];
    const read = new Map<string, EnvoyConfig | undefined>();
    const clusters = this.#readings('clusters');
    const info = this.#readings('server_info').at(-1);
    for (const dump of this.#readings('config_dump')) {
      // The same file is named again where a reading found what the one before had found.
      const { name } = dump.value;
      if (!read.has(name)) read.set(name, this.#readConfig(dump, nearest(clusters, dump.atNs), info));
      const config = read.get(name);
      if (config !== undefined) configs.push(config.readAt === dump.readAt ? config : config.readAgain(dump.readAt));
    }
    if (configs.length > 0) return new EnvoyHistory(configs);
    // Endpoints alone decide nothing; but a file that is no /clusters is not passed over in silence.
    for (const { value } of clusters) this.#triedJson('the clusters', value, parseClusters);
    return undefined;
  }

  #readConfig(
    dump: Snapshot<WorldFile>,
    clusters: Snapshot<WorldFile> | undefined,
    info: Snapshot<WorldFile> | undefined,
  ): EnvoyConfig | undefined {
    const { readAt } = dump;
    const config = this.#triedJson('the config_dump', dump.value, (input) => parseConfigDump(input, { readAt, built: this.#room.built }));
    if (config === undefined) return undefined;
    const counted =
      clusters === undefined ? undefined : this.#triedJson('the clusters', clusters.value, (input) => addClusters(config, input));
    const known = counted ?? config;
    const bytes = info?.value.read();
    return (bytes === undefined ? undefined : this.#tried('the server_info', () => addServerInfo(known, bytes))) ?? known;
  }

  #triedJson<T>(what: string, file: WorldFile, parse: (source: TextSource) => T): T | undefined {
    const first = file.read();
    if (first === undefined) return undefined;
    let kept: Uint8Array | undefined = first;
    const read = (): Uint8Array => {
      const bytes = kept ?? file.read() ?? new Uint8Array(0);
      kept = undefined;
      return bytes;
    };
    return this.#tried(what, () => parse({ read, room: this.#room.texts }));
  }
}

/** The reading that belongs to a moment: the first at or after it within a minute, else none. */
function nearest<T>(texts: readonly Snapshot<T>[], atNs: number): Snapshot<T> | undefined {
  return texts.find((text) => Math.abs(text.atNs - atNs) < 60e9 || text.atNs === Number.NEGATIVE_INFINITY);
}
