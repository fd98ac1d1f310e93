/**
 * An object of a {@link JsonText}: its fields are found when they are asked for, and built only where they are wanted whole.
 * Names and shapes are taken as json.ts takes those of built values: proto spelling first, lowerCamelCase else, `null` and other shapes as absent.
 */
import { JsonText, JsonTextError, type JsonTextOptions, type TextSource } from '../net/json-text.ts';
import { TextRoom } from '../net/text-room.ts';
import { asObject, camelName, EnvoyConfigError, type Json } from './json.ts';

const encoder = new TextEncoder();

const MAX_OBJECTS = 250_000;
/** Objects among more items of other kinds are looked for no further. */
const MAX_ITEMS = 1_000_000;

/** Runs it, with errors of the text as errors of the configuration. */
function asConfig<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof JsonTextError)) throw error;
    throw new EnvoyConfigError(error.message);
  }
}

/** Text, its UTF-8 bytes, bytes that can be read again, or a value that JSON can hold. */
export type JsonInput = string | Uint8Array | TextSource | { readonly [name: string]: unknown };

/** @throws {EnvoyConfigError} when it is no JSON, or larger than can be read */
export function readJson(input: JsonInput, options: JsonTextOptions): JsonText {
  return asConfig(
    () => new JsonText(isBytes(input) ? input : encoder.encode(typeof input === 'string' ? input : JSON.stringify(input)), options),
  );
}

function isBytes(input: JsonInput): input is Uint8Array | TextSource {
  return input instanceof Uint8Array || (typeof input === 'object' && input.room instanceof TextRoom);
}

/** The outermost object; `undefined` where the outermost value is something else. */
export function rootOf(text: JsonText): JsonPart | undefined {
  return text.kind(text.start) === 'object' ? new JsonPart(text, text.start) : undefined;
}

/** A text that is longer says nothing that anybody asks for. */
const MAX_TEXT_LENGTH = 1024 * 1024;

export class JsonPart {
  readonly #text: JsonText;
  readonly #at: number;

  constructor(text: JsonText, at: number) {
    this.#text = text;
    this.#at = at;
  }

  /** Its fields, found once. For parts that are kept in large numbers: keep the part, not the fields. */
  get fields(): JsonFields {
    return new JsonFields(this.#text, this.#text.members(this.#at));
  }

  /** Does this stand anywhere in the text that it is a part of? Quick, and a name that is written with escapes is not found. */
  textMentions(word: string): boolean {
    return this.#text.mentions(word);
  }

  /** How many values are in it. */
  get values(): number {
    return this.#text.values(this.#at);
  }

  /** Its text as it stands, in UTF-8. */
  get bytes(): Uint8Array {
    return this.#text.bytes(this.#at);
  }

  /** The whole object. */
  build(): Json {
    return asObject(this.#text.build(this.#at)) ?? {};
  }

  /** @throws {EnvoyConfigError} when it is larger than what is built at once */
  checkUnit(): void {
    asConfig(() => this.#text.checkUnit(this.#at));
  }
}

export class JsonFields {
  readonly #text: JsonText;
  readonly #members: ReadonlyMap<string, number>;

  constructor(text: JsonText, members: ReadonlyMap<string, number>) {
    this.#text = text;
    this.#members = members;
  }

  #find(name: string): number | undefined {
    const at = this.#members.get(name) ?? this.#members.get(camelName(name));
    return at === undefined || this.#text.kind(at) === 'null' ? undefined : at;
  }

  get names(): string[] {
    return [...this.#members.keys()];
  }

  object(name: string): JsonPart | undefined {
    const at = this.#find(name);
    return at === undefined || this.#text.kind(at) !== 'object' ? undefined : new JsonPart(this.#text, at);
  }

  isList(name: string): boolean {
    const at = this.#find(name);
    return at !== undefined && this.#text.kind(at) === 'list';
  }

  /** Items of a list: objects as parts, of others what they are. */
  *items(name: string): Generator<JsonPart | string> {
    const at = this.#find(name);
    if (at === undefined) return;
    for (const item of this.#text.items(at)) {
      const kind = this.#text.kind(item);
      yield kind === 'object' ? new JsonPart(this.#text, item) : describeKind(kind);
    }
  }

  /** Items of a list that are objects, at most so many. */
  objects(name: string, limit = MAX_OBJECTS): JsonPart[] {
    const found: JsonPart[] = [];
    let seen = 0;
    for (const item of this.items(name)) if (++seen > MAX_ITEMS || (item instanceof JsonPart && found.push(item) >= limit)) break;
    return found;
  }

  text(name: string): string | undefined {
    const at = this.#find(name);
    if (at === undefined || this.#text.kind(at) !== 'string' || this.#text.end(at) - at > MAX_TEXT_LENGTH) return undefined;
    return this.#text.build(at) as string;
  }

  /** The object with these fields only, under the names asked for. */
  pick(names: readonly string[]): Json {
    const picked: { [name: string]: unknown } = {};
    for (const name of names) {
      const at = this.#find(name);
      if (at !== undefined) picked[name] = this.#text.build(at);
    }
    return picked;
  }
}

type Kind = ReturnType<JsonText['kind']>;

function describeKind(kind: Kind): string {
  return kind === 'null' ? 'null' : `a ${kind}`;
}

/** What a JSON value is, in words. */
export function describeJson(text: JsonText): string {
  const kind = text.kind(text.start);
  if (kind !== 'object') return describeKind(kind);
  const names = new JsonPart(text, text.start).fields.names.slice(0, 5).map((name) => `"${name.slice(0, 40)}"`);
  return `an object with ${names.join(', ') || 'nothing in it'}`;
}
