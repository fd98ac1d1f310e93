/**
 * Reading protobuf JSON as Envoy's admin port prints it, without trusting its shape.
 *
 * Field names are asked for in proto spelling (`filter_chain_match`); the lowerCamelCase spelling that Go programs print is accepted too.
 * A value of another shape reads as absent. 64-bit integers may be strings, wrappers are bare values.
 * Source: protobuf language guide, "ProtoJSON format".
 */
import { parseRfc3339 } from '../net/time.ts';

export type Json = { readonly [name: string]: unknown };

/** The text is no Envoy configuration that can be read. `path` tells where: `configs[3]`, or '' for the whole. */
export class EnvoyConfigError extends SyntaxError {
  readonly path: string;
  constructor(message: string, path = '') {
    super(message);
    this.name = 'EnvoyConfigError';
    this.path = path;
  }
}

export function asObject(value: unknown): Json | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : undefined;
}

const camelNames = new Map<string, string>();

/** `filter_chain_match` is `filterChainMatch`. */
export function camelName(name: string): string {
  let camel = camelNames.get(name);
  if (camel === undefined) {
    camel = name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
    camelNames.set(name, camel);
  }
  return camel;
}

/** The field by its proto name; own properties only, `null` reads as absent. */
export function field(from: Json | undefined, name: string): unknown {
  if (from === undefined) return undefined;
  let value = Object.hasOwn(from, name) ? from[name] : undefined;
  if (value === undefined && name.includes('_')) {
    const camel = camelName(name);
    value = Object.hasOwn(from, camel) ? from[camel] : undefined;
  }
  return value === null ? undefined : value;
}

export function objectAt(from: Json | undefined, name: string): Json | undefined {
  return asObject(field(from, name));
}

const nothing: readonly unknown[] = [];

export function arrayAt(from: Json | undefined, name: string): readonly unknown[] {
  const value = field(from, name);
  return Array.isArray(value) ? (value as unknown[]) : nothing;
}

/** The objects of a repeated message field; other values in it are left out. */
export function objectsAt(from: Json | undefined, name: string): Json[] {
  return arrayAt(from, name)
    .map(asObject)
    .filter((value) => value !== undefined);
}

export function textAt(from: Json | undefined, name: string): string | undefined {
  const value = field(from, name);
  return typeof value === 'string' ? value : undefined;
}

export function textsAt(from: Json | undefined, name: string): string[] {
  return arrayAt(from, name).filter((value) => typeof value === 'string');
}

/** A number, also one printed as a string (64-bit fields). */
export function numberAt(from: Json | undefined, name: string): number | undefined {
  const value = field(from, name);
  if (typeof value === 'number') return value;
  if (typeof value !== 'string' || value.trim() === '') return undefined;
  const number = Number(value);
  return Number.isNaN(number) ? undefined : number;
}

export function booleanAt(from: Json | undefined, name: string): boolean | undefined {
  const value = field(from, name);
  return typeof value === 'boolean' ? value : undefined;
}

/** A duration (`"1.500s"`) in milliseconds. */
export function durationMsAt(from: Json | undefined, name: string): number | undefined {
  const m = /^(-?\d+(?:\.\d+)?)s$/.exec(textAt(from, name) ?? '');
  return m === null ? undefined : Number(m[1]) * 1000;
}

/** Milliseconds of the Unix epoch, with fraction, of an RFC 3339 stamp. */
export function parseTimeMs(text: string | undefined): number | undefined {
  const at = text === undefined ? undefined : parseRfc3339(text);
  return at === undefined ? undefined : at.seconds * 1000 + at.nanoseconds / 1e6;
}

/** The last component of a type URL: `type.googleapis.com/envoy.config.listener.v3.Listener` is `Listener`. */
export function shortType(typeUrl: string): string {
  return typeUrl.slice(Math.max(typeUrl.lastIndexOf('.'), typeUrl.lastIndexOf('/')) + 1);
}

/** A typed extension config: its short type and its fields; a `TypedStruct` is looked through. v2 filters hold an untyped `config`, their type is ''. */
export function typedConfig(from: Json | undefined): { type: string; config: Json } {
  const typed = objectAt(from, 'typed_config');
  if (typed === undefined) return { type: '', config: objectAt(from, 'config') ?? {} };
  const type = shortType(textAt(typed, '@type') ?? '');
  if (type !== 'TypedStruct') return { type, config: typed };
  return { type: shortType(textAt(typed, 'type_url') ?? ''), config: objectAt(typed, 'value') ?? {} };
}
