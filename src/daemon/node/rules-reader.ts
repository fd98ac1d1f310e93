/**
 * The rules of one namespace. A change of nftables, which iptables-nft uses as well, is told by the kernel: it is passed on at once, and read when it has been quiet for a moment.
 * A reading during which the rules changed is thrown away and made again. Legacy tables tell nothing: they are read every 30 s, and more often while a namespace is young,
 * since that is when its rules are made.
 */
import { toNs } from '../../net/time.ts';
import type { RulesKindName } from '../../world/rules-view.ts';
import { nowNs } from './engine-boundary.ts';
import type { ProbeStream } from './probe-link.ts';
import { partFailed, type ReadingScope, stampNow } from './reading.ts';

const RECEIVE_BUFFER = 1024 * 1024;
const QUIET_MS = 100;
/** Rules that never rest are read all the same. */
const LONGEST_WAIT_MS = 1000;
const ATTEMPTS = 4;
const RETRY_MS = 30_000;
const LEGACY_EVERY_MS = 30_000;
/** Ages of a young namespace at which legacy tables are read. */
const YOUNG_MS = [500, 1000, 2000, 4000, 8000, 15_000];

const told = ['iptables-save', 'ip6tables-save', 'nft'] as const satisfies readonly RulesKindName[];
const untold = ['iptables-legacy-save', 'ip6tables-legacy-save'] as const satisfies readonly RulesKindName[];

/** The families that have tables, of `nft -j list ruleset`. */
function familiesOf(nft: string): ReadonlySet<string> {
  return new Set([...nft.matchAll(/"table": ?\{"family": ?"(\w+)"/g)].map(([, family]) => family!));
}

export class RulesReader {
  readonly #scope: ReadingScope;
  readonly #changed: () => void;
  #stream: ProbeStream | undefined;
  #changes = 0;
  #firstChangeMs: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  #retry: NodeJS.Timeout | undefined;
  #legacy: NodeJS.Timeout | undefined;
  #reading: Promise<void> | undefined;
  #young: number[];
  #bornMs = performance.now();
  #stopped = false;

  /**
   * @param young the namespace was made a moment ago
   * @param changed called when rules were read after a change
   */
  constructor(scope: ReadingScope, young: boolean, changed: () => void) {
    this.#scope = scope;
    this.#young = young ? [...YOUNG_MS] : [];
    this.#changed = changed;
  }

  start(): void {
    this.#stopped = false;
    const { link, cookie, world, base } = this.#scope;
    this.#stream = link.events(cookie, 'ruleset', RECEIVE_BUFFER, {
      opened: () => {
        // What the first reading shows has held since now: a change would have been told.
        world.rulesChanged(nowNs(base));
        this.#read();
      },
      netlink: (_bytes, seconds, nanoseconds) => this.#change(toNs(base, seconds, nanoseconds)),
      lost: () => this.#change(nowNs(base)),
      end: (end) => {
        this.#stream = undefined;
        this.#clear();
        if (this.#stopped || (end.code !== 'failed' && end.code !== 'refused')) return;
        this.#scope.world.setUnavailable('rules', end.text);
        this.#scope.log.warn({ reason: end.text }, 'changes of the rules of a namespace cannot be followed');
        this.#retry = setTimeout(() => this.start(), RETRY_MS);
      },
    });
  }

  stop(): void {
    this.#stopped = true;
    this.#stream?.close();
    this.#clear();
  }

  #clear(): void {
    for (const timer of [this.#timer, this.#retry, this.#legacy]) clearTimeout(timer);
    this.#timer = undefined;
    this.#firstChangeMs = undefined;
  }

  #change(atNs: number): void {
    this.#changes++;
    this.#scope.world.rulesChanged(atNs);
    const now = performance.now();
    this.#firstChangeMs ??= now;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#read(), Math.max(0, Math.min(QUIET_MS, this.#firstChangeMs + LONGEST_WAIT_MS - now)));
  }

  #read(): void {
    this.#timer = undefined;
    this.#firstChangeMs = undefined;
    const before = this.#reading;
    this.#reading = (async () => {
      await before;
      if (this.#stream === undefined) return;
      for (let attempt = 1; attempt <= ATTEMPTS; attempt++) if (await this.#readTold(attempt === ATTEMPTS)) break;
      clearTimeout(this.#legacy);
      await this.#readLegacy();
      this.#changed();
    })().catch((error: unknown) => {
      this.#scope.log.error({ err: error }, 'reading the rules of a namespace failed');
    });
  }

  /** False: they changed meanwhile, and nothing was taken of them. @param anyway takes them all the same */
  async #readTold(anyway: boolean): Promise<boolean> {
    const { world, base, counters } = this.#scope;
    const changes = this.#changes;
    const readAt = stampNow(base);
    const nft = await this.#tool('nft');
    // iptables-nft keeps its rules in tables of nftables: where a family has none, its tool has nothing to print.
    const families = nft === undefined ? undefined : familiesOf(nft);
    const texts = await Promise.all(
      told.map((kind) => (kind === 'nft' ? nft : families?.has(kind === 'iptables-save' ? 'ip' : 'ip6') === false ? '' : this.#tool(kind))),
    );
    if (changes !== this.#changes && !anyway) return false;
    told.forEach((kind, i) => {
      const text = texts[i];
      if (text !== undefined) world.setRules(kind, text, readAt);
    });
    counters.rulesRead++;
    if (changes === this.#changes) world.rulesRead();
    return true;
  }

  async #readLegacy(): Promise<void> {
    for (const kind of untold) {
      const readAt = stampNow(this.#scope.base);
      const text = await this.#tool(kind);
      if (text !== undefined) this.#scope.world.setRules(kind, text, readAt);
    }
    if (this.#stream === undefined) return;
    const age = performance.now() - this.#bornMs;
    while (this.#young.length > 0 && this.#young[0]! <= age) this.#young.shift();
    const next = this.#young[0];
    this.#legacy = setTimeout(() => this.#legacyAgain(), next === undefined ? LEGACY_EVERY_MS : next - age);
  }

  #legacyAgain(): void {
    const before = this.#reading;
    this.#reading = (async () => {
      await before;
      if (this.#stream !== undefined) await this.#readLegacy();
    })().catch((error: unknown) => {
      this.#scope.log.error({ err: error }, 'reading the rules of a namespace failed');
    });
  }

  async #tool(kind: RulesKindName): Promise<string | undefined> {
    const { link, cookie } = this.#scope;
    try {
      return (await link.tool(cookie, kind === 'nft' ? 'nft-ruleset' : kind)).text;
    } catch (error) {
      partFailed(this.#scope, kind, error);
      return undefined;
    }
  }
}
