/**
 * The words of one nft rule to the expressions that libnftables' JSON has for them. Source: nft(8) "EXPRESSIONS", "STATEMENTS".
 */
import type { Json, JsonObject } from './nft-json.ts';
import type { Token } from './nft-tokens.ts';

const META_KEYS = new Set([
  'mark',
  'iifname',
  'oifname',
  'iif',
  'oif',
  'skuid',
  'skgid',
  'l4proto',
  'nfproto',
  'protocol',
  'nftrace',
  'priority',
  'pkttype',
  'length',
  'cpu',
  'cgroup',
  'iifgroup',
  'oifgroup',
]);
/** These may stand without the word meta. */
const BARE_META = new Set([
  'mark',
  'iifname',
  'oifname',
  'iif',
  'oif',
  'skuid',
  'skgid',
  'nftrace',
  'priority',
  'pkttype',
  'cpu',
  'cgroup',
  'iifgroup',
  'oifgroup',
]);
const PAYLOADS = new Set(['ip', 'ip6', 'tcp', 'udp', 'udplite', 'sctp', 'dccp', 'th', 'icmp', 'icmpv6']);
const VERDICTS = new Set(['accept', 'drop', 'return', 'continue', 'notrack']);
const CT_KEYS = new Set([
  'state',
  'mark',
  'zone',
  'status',
  'direction',
  'saddr',
  'daddr',
  'proto-src',
  'proto-dst',
  'protocol',
  'l3proto',
]);

const MAX_PARENTHESES = 16;

class Unread extends Error {}

class RuleReader {
  readonly #tokens: readonly Token[];
  #at = 0;
  #parentheses = 0;
  readonly expressions: Json[] = [];
  comment: string | undefined;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  run(): void {
    while (this.#at < this.#tokens.length) {
      const from = this.#at;
      try {
        this.#statement();
      } catch (error) {
        if (!(error instanceof Unread)) throw error;
        const rest = this.#tokens.slice(from).map((token) => (token.kind === 'string' ? JSON.stringify(token.text) : token.text));
        this.expressions.push({ unread: rest.join(' ') });
        return;
      }
    }
  }

  #peek(offset = 0): string | undefined {
    return this.#tokens[this.#at + offset]?.text;
  }

  #next(): string {
    const token = this.#tokens[this.#at++];
    if (token === undefined) throw new Unread();
    return token.text;
  }

  #take(text: string): boolean {
    if (this.#peek() !== text || this.#tokens[this.#at]?.kind === 'string') return false;
    this.#at++;
    return true;
  }

  #statement(): void {
    const word = this.#next();
    if (VERDICTS.has(word)) this.expressions.push({ [word]: null });
    else if (word === 'counter') this.#counter();
    else if (word === 'jump' || word === 'goto') this.expressions.push({ [word]: { target: this.#next() } });
    else if (word === 'redirect' || word === 'dnat' || word === 'snat' || word === 'masquerade' || word === 'tproxy') this.#nat(word);
    else if (word === 'comment') this.comment = this.#next();
    else if (word === 'log') this.#log();
    else if (word === 'reject') {
      if (this.#take('with')) while (this.#at < this.#tokens.length && this.#peek() !== 'comment') this.#at++;
      this.expressions.push({ reject: null });
    } else if (word === 'meta' || BARE_META.has(word)) this.#keyed({ meta: { key: this.#metaKey(word) } });
    else if (word === 'ct') this.#ct();
    else if (word === 'fib') this.#fib();
    else if (PAYLOADS.has(word)) this.#condition({ payload: { protocol: word, field: this.#next() } });
    else throw new Unread();
  }

  #metaKey(word: string): string {
    const key = word === 'meta' ? this.#next() : word;
    if (!META_KEYS.has(key)) throw new Unread();
    return key;
  }

  #counter(): void {
    const counter: JsonObject = { packets: 0, bytes: 0 };
    if (this.#take('packets')) counter.packets = Number(this.#next());
    if (this.#take('bytes')) counter.bytes = Number(this.#next());
    if (this.#take('name')) this.#at++;
    this.expressions.push({ counter });
  }

  #log(): void {
    const log: JsonObject = {};
    while (/^(?:prefix|group|snaplen|queue-threshold|level|flags)$/.test(this.#peek() ?? '')) log[this.#next()] = this.#next();
    this.expressions.push({ log });
  }

  #nat(kind: string): void {
    const nat: JsonObject = {};
    if (this.#peek() === 'ip' || this.#peek() === 'ip6') nat.family = this.#next();
    if (this.#take('to')) {
      const to = this.#next();
      const m = /^(\[[\da-f:.]+\]|[\d.]+|[\da-f:]*:[\da-f:]+(?=$))?(?::(\d+)(?:-(\d+))?)?$/i.exec(to);
      const only = /^:(\d+)(?:-(\d+))?$/.exec(to);
      if (only !== null) nat.port = only[2] === undefined ? Number(only[1]) : { range: [Number(only[1]), Number(only[2])] };
      else if (m !== null && m[1] !== undefined) {
        nat.addr = m[1].replace(/^\[|\]$/g, '');
        if (m[2] !== undefined) nat.port = m[3] === undefined ? Number(m[2]) : { range: [Number(m[2]), Number(m[3])] };
      } else throw new Unread();
    }
    const flags: Json[] = [];
    while (/^(?:random|fully-random|persistent)$/.test(this.#peek() ?? '')) {
      flags.push(this.#next());
      this.#take(',');
    }
    if (flags.length > 0) nat.flags = flags;
    this.expressions.push({ [kind]: nat });
  }

  #ct(): void {
    const ct: JsonObject = {};
    let key = this.#next();
    if (key === 'original' || key === 'reply') {
      ct.dir = key;
      key = this.#next();
      if (key === 'ip' || key === 'ip6') {
        ct.family = key;
        key = this.#next();
      }
    }
    if (!CT_KEYS.has(key)) throw new Unread();
    ct.key = key;
    this.#keyed({ ct });
  }

  /** A condition on a key, or `set`, which writes it. */
  #keyed(left: JsonObject): void {
    if (this.#take('set')) this.expressions.push({ mangle: { key: left, value: this.#arithmetic(0) } });
    else this.#condition(left);
  }

  #fib(): void {
    const flags: Json[] = [];
    while (/^(?:saddr|daddr|mark|iif|oif|\.)$/.test(this.#peek() ?? '')) {
      const word = this.#next();
      if (word !== '.') flags.push(word);
    }
    this.#condition({ fib: { result: this.#next(), flags } });
  }

  #condition(plain: Json): void {
    let left = plain;
    if (this.#take('and') || this.#take('&')) {
      const parenthesis = this.#take('(');
      const masks = [this.#value()];
      while (parenthesis && (this.#take('|') || this.#take('or'))) masks.push(this.#value());
      if (parenthesis && !this.#take(')')) throw new Unread();
      left = { '&': [plain, masks.length === 1 ? masks[0]! : masks] };
    }
    let op = '==';
    const sign = this.#peek();
    if (this.#tokens[this.#at]?.kind === 'sign' && ['!=', '==', '<', '>', '<=', '>='].includes(sign ?? '')) op = this.#next();
    if (this.#peek() === 'vmap' || this.#peek() === '.') throw new Unread();
    let right = this.#right();
    if (Array.isArray(right) && op === '==') op = 'in';
    else if (op === '==' && isTcpFlags(plain) && left === plain) op = 'in';
    if (this.#take('/')) right = { '|': [right, this.#value()] };
    this.expressions.push({ match: { op, left, right } });
  }

  #right(): Json {
    if (this.#take('{')) {
      const set: Json[] = [];
      while (!this.#take('}')) {
        set.push(this.#value());
        if (!this.#take(',') && this.#peek() !== '}') throw new Unread();
      }
      return { set };
    }
    const first = this.#value();
    if (this.#peek() !== ',' && this.#peek() !== '|') return first;
    const list = [first];
    while (this.#take(',') || this.#take('|')) list.push(this.#value());
    return list;
  }

  /** A number, name, address, block (`a/len`) or range (`a-b`). */
  #value(): Json {
    const token = this.#tokens[this.#at++];
    if (token === undefined || token.kind === 'sign') throw new Unread();
    const { text } = token;
    if (token.kind === 'string') return text;
    if (/^(?:\d+|0x[\da-f]+)$/i.test(text)) return Number(text);
    const range = /^(\d+|[\d.]+|[\da-f:.]*:[\da-f:.]*)-(\d+|[\d.]+|[\da-f:.]*:[\da-f:.]*)$/i.exec(text);
    if (range !== null) return { range: [numeric(range[1]!), numeric(range[2]!)] };
    if (text.startsWith('$')) throw new Unread();
    return text;
  }

  /** `|` binds weaker than `^`, that weaker than `&`, that weaker than shifts. */
  #arithmetic(level: number): Json {
    const signs = [
      ['|', 'or'],
      ['^', 'xor'],
      ['&', 'and'],
      ['<<', 'lshift', '>>', 'rshift'],
    ][level];
    if (signs === undefined) return this.#operand();
    let left = this.#arithmetic(level + 1);
    for (let sign = this.#peek(); sign !== undefined && signs.includes(sign); sign = this.#peek()) {
      this.#at++;
      const name =
        sign === 'or' ? '|' : sign === 'xor' ? '^' : sign === 'and' ? '&' : sign === 'lshift' ? '<<' : sign === 'rshift' ? '>>' : sign;
      left = { [name]: [left, this.#arithmetic(level + 1)] };
    }
    return left;
  }

  #operand(): Json {
    if (this.#take('(')) {
      if (++this.#parentheses > MAX_PARENTHESES) throw new Unread();
      const inner = this.#arithmetic(0);
      if (!this.#take(')')) throw new Unread();
      return inner;
    }
    if (this.#peek() === 'meta' || this.#peek() === 'mark') return { meta: { key: this.#metaKey(this.#next()) } };
    if (this.#take('ct')) return { ct: { key: this.#next() } };
    return this.#value();
  }
}

function numeric(text: string): Json {
  return /^\d+$/.test(text) ? Number(text) : text;
}

function isTcpFlags(left: Json): boolean {
  return JSON.stringify(left) === '{"payload":{"protocol":"tcp","field":"flags"}}';
}

export function parseRuleText(tokens: readonly Token[]): { expressions: Json[]; comment: string | undefined } {
  const reader = new RuleReader(tokens);
  reader.run();
  return { expressions: reader.expressions, comment: reader.comment };
}
