/**
 * Fills the world of one namespace from what was recorded of it. Texts are read when something first asks for them, each once; what cannot be read becomes a problem with a
 * sentence, and the world goes on without it.
 */
import { addClusters, addServerInfo, type EnvoyConfig, parseConfigDump } from '../envoy/config.ts';
import { EnvoyHistory } from '../envoy/history.ts';
import type { KubeNames } from '../kube/names.ts';
import { canonicalIp, isLoopback } from '../net/address.ts';
import { parseTimeNs, type TimeBase } from '../net/time.ts';
import { parseConntrack, parseConntrackEvents } from '../netfilter/conntrack.ts';
import { type IpRule, parseIpRules } from '../netfilter/ip-rule.ts';
import { parseIptables } from '../netfilter/parse-iptables.ts';
import { parseNft, withoutRepeated } from '../netfilter/parse-nft.ts';
import type { RuleSet } from '../netfilter/rule-set.ts';
import { ConntrackView } from './conntrack-view.ts';
import { type Held, History, type Snapshot } from './history.ts';
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
  /** Its text; '' of a reading that found nothing; `undefined` when it cannot be read. */
  read(): string | undefined;
}

interface RulesKind {
  readonly kind: WorldFileKind;
  readonly family: 4 | 6 | undefined;
  readonly parse: (text: string) => readonly RuleSet[];
}

const rulesKinds: readonly RulesKind[] = [
  { kind: 'iptables-save', family: 4, parse: (text) => [parseIptables(text, { family: 4 })] },
  { kind: 'ip6tables-save', family: 6, parse: (text) => [parseIptables(text, { family: 6 })] },
  { kind: 'iptables-legacy-save', family: 4, parse: (text) => [parseIptables(text, { family: 4, variant: 'legacy' })] },
  { kind: 'ip6tables-legacy-save', family: 6, parse: (text) => [parseIptables(text, { family: 6, variant: 'legacy' })] },
  { kind: 'nft', family: undefined, parse: (text) => [parseNft(text)] },
];

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
  readonly #texts = new Map<WorldFile, string | undefined>();
  #rules: Map<RulesKind, History<readonly RuleSet[]>> | undefined;
  #routing: Map<4 | 6, History<readonly IpRule[]>> | undefined;
  readonly #held = new Map<string, RulesHeld>();
  readonly #numbers = new Map<readonly RuleSet[], number>();
  #conntrack: ConntrackView | undefined | null = null;
  #sockets: SocketView | undefined | null = null;
  #envoy: EnvoyHistory | undefined | null = null;

  /** @param addresses of the namespace where `scope.interfaces` does not tell them */
  constructor(scope: Scope, files: readonly WorldFile[], names: KubeNames, base: TimeBase, addresses: Iterable<string> = []) {
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
    const found: Snapshot<string>[] = [];
    for (const file of this.#files) {
      if (file.kind !== kind || (family !== undefined && file.family !== undefined && file.family !== family)) continue;
      if (!this.#texts.has(file)) this.#texts.set(file, file.read());
      const text = this.#texts.get(file);
      const atNs = file.readAt === undefined ? Number.NEGATIVE_INFINITY : (parseTimeNs(this.#base, file.readAt) ?? Number.NEGATIVE_INFINITY);
      if (text !== undefined) found.push({ atNs, readAt: file.readAt ?? '', value: text });
    }
    return found.sort((a, b) => a.atNs - b.atNs);
  }

  rulesAt(family: 4 | 6, timeNs: number): RulesHeld | undefined {
    this.#rules ??= this.#readRules();
    const parts: { held: Held<readonly RuleSet[]>; native: boolean }[] = [];
    for (const [kind, history] of this.#rules) {
      if (kind.family !== undefined && kind.family !== family) continue;
      const held = history.at(timeNs);
      if (held !== undefined) parts.push({ held, native: kind.kind === 'nft' });
    }
    if (parts.length === 0) return undefined;
    const routing = this.#routingAt(family, timeNs);
    const key = `${family} ${parts.map(({ held }) => `${this.#numberOf(held.snapshot.value)}${held.later ? '+' : ''}`).join(' ')}`;
    let rules = this.#held.get(key);
    if (rules === undefined) {
      const iptables = parts.filter((part) => !part.native).flatMap((part) => part.held.snapshot.value);
      const nft = parts.filter((part) => part.native).flatMap((part) => part.held.snapshot.value.map((set) => withoutRepeated(set, iptables)));
      rules = {
        sets: [...iptables, ...nft].filter((set) => set.families.includes(family)),
        routing,
        readAt: parts.map(({ held }) => held.snapshot.readAt).sort()[0] ?? '',
        later: parts.some(({ held }) => held.later),
        generation: this.#held.size,
      };
      this.#held.set(key, rules);
    }
    return rules;
  }

  #numberOf(sets: readonly RuleSet[]): number {
    let number = this.#numbers.get(sets);
    if (number === undefined) {
      number = this.#numbers.size;
      this.#numbers.set(sets, number);
    }
    return number;
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
          : new SocketView(texts.flatMap(({ value, readAt }) => this.#tried(`the sockets${readAt === '' ? '' : ` read at ${readAt}`}`, () => parseSockets(value))?.sockets ?? []));
    }
    return this.#sockets;
  }

  get envoy(): EnvoyHistory | undefined {
    if (this.#envoy === null) this.#envoy = this.#readEnvoy();
    return this.#envoy;
  }

  #tried<T>(what: string, parse: () => T): T | undefined {
    try {
      return parse();
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      this.problems.push(`${what} of "${this.pod === undefined ? this.netns : `${this.pod.namespace}/${this.pod.name}`}": ${error.message}`);
      return undefined;
    }
  }

  #readRules(): Map<RulesKind, History<readonly RuleSet[]>> {
    const rules = new Map<RulesKind, History<readonly RuleSet[]>>();
    for (const kind of rulesKinds) {
      const snapshots: Snapshot<readonly RuleSet[]>[] = [];
      let lastText: string | undefined;
      for (const { atNs, readAt, value } of this.texts(kind.kind)) {
        // Counters differ from reading to reading; the rules mostly do not, and the same object means the same verdicts.
        const bare = value.replace(/\[\d+:\d+\]|"(packets|bytes)": ?\d+/g, '').replace(/^#.*$/gm, '');
        const previous = snapshots.at(-1);
        const sets =
          bare === lastText && previous !== undefined ? previous.value : value.trim() === '' ? [] : this.#tried(`the rules (${kind.kind})`, () => kind.parse(value));
        if (sets === undefined) continue;
        snapshots.push({ atNs, readAt, value: sets });
        lastText = bare;
      }
      if (snapshots.length > 0) rules.set(kind, new History(snapshots));
    }
    return rules;
  }

  #routingAt(family: 4 | 6, timeNs: number): readonly IpRule[] {
    this.#routing ??= new Map(
      ([4, 6] as const).map((f) => [
        f,
        new History(this.texts('ip-rule', f === 4 ? 'ipv4' : 'ipv6').map((text) => ({ ...text, value: parseIpRules(text.value) }))),
      ]),
    );
    return this.#routing.get(family)?.at(timeNs)?.snapshot.value ?? [];
  }

  #readConntrack(): ConntrackView | undefined {
    if (!this.has('conntrack', 'conntrack-events')) return undefined;
    const dumps = this.texts('conntrack').flatMap(({ value }) => parseConntrack(value).entries);
    const events = this.texts('conntrack-events').flatMap(({ value }) => parseConntrackEvents(value).events.map((event) => event.entry));
    return new ConntrackView([...dumps, ...events]);
  }

  #readEnvoy(): EnvoyHistory | undefined {
    const configs: EnvoyConfig[] = [];
    const clusters = this.texts('clusters');
    const info = this.texts('server_info').at(-1);
    for (const dump of this.texts('config_dump')) {
      let config = this.#tried('the config_dump', () => parseConfigDump(dump.value, { readAt: dump.readAt }));
      if (config === undefined) continue;
      const statuses = nearest(clusters, dump.atNs);
      const given = config;
      if (statuses !== undefined) config = this.#tried('the clusters', () => addClusters(given, statuses.value)) ?? given;
      const known = config;
      if (info !== undefined) config = this.#tried('the server_info', () => addServerInfo(known, info.value)) ?? known;
      configs.push(config);
    }
    return configs.length === 0 ? undefined : new EnvoyHistory(configs);
  }
}

/** The reading that belongs to a moment: the first at or after it within a minute, else none. */
function nearest(texts: readonly Snapshot<string>[], atNs: number): Snapshot<string> | undefined {
  return texts.find((text) => Math.abs(text.atNs - atNs) < 60e9 || text.atNs === Number.NEGATIVE_INFINITY);
}
