/**
 * Reads the text forms of nft rules, `nft list ruleset` and the input of `nft -f`, to the commands that libnftables' JSON would hold.
 *
 * Read are tables, chains, sets and rules made of what interception uses; the rest of a rule from the first word that is not understood on is kept as one unread condition, never left out.
 * Source: nft(8).
 */
import type { Json, JsonObject } from './nft-json.ts';
import { parseRuleText } from './nft-text-rule.ts';
import { type Token, tokenize } from './nft-tokens.ts';
import { RulesSyntaxError } from './rule-set.ts';

export interface NftCommand {
  readonly verb: 'add' | 'insert' | 'flush' | 'delete';
  readonly object: JsonObject;
  readonly line: number;
}

const FAMILIES = new Set(['ip', 'ip6', 'inet', 'arp', 'bridge', 'netdev']);
const PRIORITIES: { readonly [name: string]: number } = {
  raw: -300,
  mangle: -150,
  dstnat: -100,
  filter: 0,
  security: 50,
  srcnat: 100,
  out: 100,
};

const OTHER_OBJECTS = new Set(['element', 'counter', 'quota', 'limit', 'flowtable', 'ct', 'secmark', 'synproxy']);

class Reader {
  readonly #tokens: readonly Token[];
  #at = 0;
  readonly commands: NftCommand[] = [];

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  get #now(): Token | undefined {
    return this.#tokens[this.#at];
  }

  #fail(want: string): RulesSyntaxError {
    const token = this.#now;
    return new RulesSyntaxError(
      `Cannot read the nft rules: ${want}, there is ${token === undefined ? 'the end' : JSON.stringify(token.text)}`,
      token?.line,
    );
  }

  #word(want: string): string {
    const token = this.#now;
    if (token === undefined || token.kind === 'end' || (token.kind === 'sign' && token.text !== '*')) throw this.#fail(want);
    this.#at++;
    return token.text;
  }

  #is(text: string): boolean {
    const token = this.#now;
    return token !== undefined && token.kind !== 'string' && token.text === text;
  }

  #take(text: string): boolean {
    if (!this.#is(text)) return false;
    this.#at++;
    return true;
  }

  #skipEnds(): void {
    while (this.#now?.kind === 'end') this.#at++;
  }

  #push(verb: NftCommand['verb'], object: JsonObject): void {
    this.commands.push({ verb, object, line: this.#now?.line ?? this.#tokens.at(-1)?.line ?? 1 });
  }

  run(): void {
    for (;;) {
      this.#skipEnds();
      if (this.#now === undefined) return;
      this.#command();
    }
  }

  #command(): void {
    const verb = this.#word('a command or a table must follow');
    if (verb === 'table') {
      this.#table();
      return;
    }
    if (verb === 'flush' || verb === 'delete' || verb === 'destroy') {
      const what = this.#word('"table", "chain" or "ruleset" must follow');
      if (what === 'ruleset') this.#push('flush', { ruleset: null });
      else if (what === 'table' || what === 'chain') {
        const place = this.#place(what === 'chain');
        this.#push(verb === 'flush' ? 'flush' : 'delete', { [what]: place });
      }
      this.#skipLine();
      return;
    }
    if (verb !== 'add' && verb !== 'create' && verb !== 'insert') {
      this.#at--;
      throw this.#fail('a command (add, insert, flush, delete) or a table must follow');
    }
    const what = this.#word('"table", "chain", "rule", "set" or "element" must follow');
    if (what === 'table') {
      const { family, name } = this.#tableName();
      this.#push('add', { table: { family, name } });
      if (this.#is('{')) this.#tableBody(family, name);
      this.#skipLine();
      return;
    }
    if (what === 'chain') {
      const place = this.#place(true);
      this.#chain(String(place.family), String(place.table), String(place.name), false);
      return;
    }
    if (what === 'set' || what === 'map') {
      const place = this.#place(true);
      this.#set(String(place.family), String(place.table), String(place.name));
      return;
    }
    if (what === 'rule') {
      const place = this.#place(true);
      this.#rule(verb === 'insert' ? 'insert' : 'add', String(place.family), String(place.table), String(place.name));
      return;
    }
    if (!OTHER_OBJECTS.has(what)) {
      this.#at--;
      throw this.#fail('"table", "chain", "rule", "set" or "element" must follow');
    }
    // Nothing that a rule model holds.
    this.#skipLine();
  }

  #tableName(): { family: string; name: string } {
    const first = this.#word('a family or the name of a table must follow');
    if (FAMILIES.has(first) && this.#now?.kind === 'word') return { family: first, name: this.#word('the name of a table must follow') };
    return { family: 'ip', name: first };
  }

  #place(withName: boolean): JsonObject {
    const { family, name } = this.#tableName();
    return withName ? { family, table: name, name: this.#word('a name must follow') } : { family, name };
  }

  #table(): void {
    const { family, name } = this.#tableName();
    this.#push('add', { table: { family, name } });
    if (!this.#is('{')) throw this.#fail('"{" must follow the name of a table');
    this.#tableBody(family, name);
  }

  #tableBody(family: string, table: string): void {
    this.#take('{');
    for (;;) {
      this.#skipEnds();
      if (this.#take('}')) return;
      if (this.#now === undefined) throw this.#fail(`the table "${table}" must end with "}"`);
      const what = this.#word('a chain or a set must follow');
      if (what === 'chain') this.#chain(family, table, this.#word('the name of a chain must follow'), true);
      else if (what === 'set' || what === 'map') this.#set(family, table, this.#word('the name of a set must follow'));
      else this.#skipLine();
    }
  }

  #chain(family: string, table: string, name: string, withRules: boolean): void {
    const chain: JsonObject = { family, table, name };
    this.#push('add', { chain });
    if (!this.#take('{')) {
      this.#skipLine();
      return;
    }
    for (;;) {
      this.#skipEnds();
      if (this.#take('}')) return;
      if (this.#now === undefined) throw this.#fail(`the chain "${name}" must end with "}"`);
      if (this.#is('type')) this.#hook(chain);
      else if (this.#take('policy')) chain.policy = this.#word('a policy must follow');
      else if (withRules) this.#rule('add', family, table, name);
      else throw this.#fail('"type" or "policy" must follow');
    }
  }

  #hook(chain: JsonObject): void {
    this.#take('type');
    chain.type = this.#word('the type of a chain must follow');
    if (this.#take('hook')) chain.hook = this.#word('the name of a hook must follow');
    if (this.#take('device')) chain.dev = this.#word('a device must follow');
    if (!this.#take('priority')) return;
    const words: string[] = [];
    while (this.#now !== undefined && this.#now.kind !== 'end' && !this.#is('}')) words.push(this.#tokens[this.#at++]!.text);
    const spelled = words.join('');
    const m = /^([a-z]+)?([+-]?\d+)?$/.exec(spelled);
    const base = m?.[1] === undefined ? 0 : PRIORITIES[m[1]];
    if (m === null || base === undefined) throw this.#fail(`a priority must be a number or a known name, it is "${spelled}"`);
    chain.prio = base + Number(m[2] ?? 0);
  }

  #set(family: string, table: string, name: string): void {
    const elements: Json[] = [];
    const flags: Json[] = [];
    const set: JsonObject = { family, table, name, elem: elements, flags };
    this.#push('add', { set });
    if (!this.#take('{')) {
      this.#skipLine();
      return;
    }
    let depth = 1;
    let inElements = false;
    let inFlags = false;
    while (depth > 0) {
      const token = this.#now;
      if (token === undefined) throw this.#fail(`the set "${name}" must end with "}"`);
      this.#at++;
      if (token.kind === 'sign' && token.text === '{') depth++;
      else if (token.kind === 'sign' && token.text === '}') {
        depth--;
        inElements = false;
      } else if (token.kind === 'end') inFlags = false;
      else if (token.text === 'elements') inElements = true;
      else if (token.text === 'flags') inFlags = true;
      else if (inFlags && token.kind === 'word') flags.push(token.text);
      else if (inElements && depth === 2 && token.kind !== 'sign') elements.push(token.text);
      else if (inElements && depth === 2 && token.text !== ',' && token.text !== '=') flags.push('dynamic');
    }
  }

  #rule(verb: 'add' | 'insert', family: string, table: string, chain: string): void {
    const rule: JsonObject = { family, table, chain };
    const line = this.#now?.line;
    if (this.#is('index') || this.#is('position') || this.#is('handle')) {
      const key = this.#word('');
      const place = Number(this.#word('a number must follow'));
      if (key === 'index' && Number.isInteger(place)) rule.index = place;
    }
    const tokens: Token[] = [];
    let depth = 0;
    for (let token = this.#now; token !== undefined; token = this.#now) {
      if (depth === 0 && (token.kind === 'end' || (token.kind === 'sign' && token.text === '}'))) break;
      if (token.kind === 'sign' && token.text === '{') depth++;
      if (token.kind === 'sign' && token.text === '}') depth--;
      if (token.kind !== 'end') tokens.push(token);
      this.#at++;
    }
    if (tokens.length === 0) throw new RulesSyntaxError('Cannot read the nft rules: a rule must have a statement, it has none', line);
    const { expressions, comment } = parseRuleText(tokens);
    rule.expr = expressions;
    rule.text = tokens.map((token) => (token.kind === 'string' ? JSON.stringify(token.text) : token.text)).join(' ');
    if (comment !== undefined) rule.comment = comment;
    this.#push(verb, { rule });
  }

  #skipLine(): void {
    let depth = 0;
    for (let token = this.#now; token !== undefined; token = this.#now) {
      if (depth === 0 && (token.kind === 'end' || (token.kind === 'sign' && token.text === '}'))) return;
      if (token.kind === 'sign' && token.text === '{') depth++;
      if (token.kind === 'sign' && token.text === '}') depth--;
      this.#at++;
    }
  }
}

/** @throws {RulesSyntaxError} when the text is no nft rule set, with the line */
export function parseNftText(text: string): NftCommand[] {
  const reader = new Reader(tokenize(text));
  reader.run();
  return reader.commands;
}
