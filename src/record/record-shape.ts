/**
 * Whether a value from outside is a record. The contract is schema.ts; this reads it as a reader should: fields that it does not name are let through, and so are reasons that were added since.
 * What sinks print as it stands, or look up by, is held to the contract.
 */
import type * as v from 'valibot';
import type { AnyRecord, PathRecord } from './record.ts';
import { namedSchemas, recordSchemas } from './schema.ts';
import { boolean, both, equal, integer, listOf, type Misfit, mapOf, number, objectOf, oneOf, type Shape, text, textLike } from './shape.ts';

type Schema = v.BaseSchema<unknown, unknown, v.BaseIssue<unknown>>;
type Fields = { readonly [key: string]: unknown };

/** Where the contract and a reader differ, or where words say it better. */
const own: ReadonlyMap<unknown, Shape> = new Map<unknown, Shape>([
  [namedSchemas.time, textLike(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$/, 'a time like 2026-11-23T06:22:41.601088000Z')],
  [namedSchemas.id, textLike(/^[\w.:-]{1,128}$/, 'an id')],
  [namedSchemas.reason, textLike(/^[a-z][a-z0-9-]{0,63}$/, 'a reason, in small letters and hyphens')],
]);

const shapes: { readonly [type in AnyRecord['type']]: Shape } = {
  flow: shapeOf(recordSchemas.flow),
  path: both(shapeOf(recordSchemas.path), legsAreThere),
  finding: shapeOf(recordSchemas.finding),
  lost: shapeOf(recordSchemas.lost),
  total: shapeOf(recordSchemas.total),
};

export const recordTypes = Object.keys(shapes) as readonly AnyRecord['type'][];

/** What keeps a value from being a record; `undefined` when it is one. */
export function recordMisfit(value: unknown): Misfit | undefined {
  const type = typeof value === 'object' && value !== null && Object.hasOwn(value, 'type') ? (value as Fields).type : undefined;
  if (typeof type !== 'string' || !Object.hasOwn(shapes, type))
    return { at: 'type', wish: `one of ${recordTypes.join(', ')}`, value: type };
  return shapes[type as AnyRecord['type']](value);
}

/** @throws {TypeError} for a kind of schema that schema.ts does not use so far */
function shapeOf(schema: Schema): Shape {
  const known = own.get(schema);
  if (known !== undefined) return known;
  const given = schema as unknown as Fields;
  if (given.pipe !== undefined) return constrained(given.pipe as readonly Schema[]);
  switch (schema.type) {
    case 'string':
      return text;
    case 'number':
      return number;
    case 'boolean':
      return boolean;
    case 'literal':
      return equal(given.literal);
    case 'picklist':
      return oneOf(given.options as readonly string[]);
    case 'array':
      return listOf(shapeOf(given.item as Schema));
    case 'record':
      return mapOf(shapeOf(given.value as Schema));
    case 'strict_object':
      return object(given.entries as { readonly [key: string]: Schema });
    default:
      throw new TypeError(`Cannot read values of the schema kind "${schema.type}": only the kinds used in schema.ts are known`);
  }
}

function object(entries: { readonly [key: string]: Schema }): Shape {
  const required: { [key: string]: Shape } = {};
  const optional: { [key: string]: Shape } = {};
  for (const [key, entry] of Object.entries(entries))
    if (entry.type === 'exact_optional') optional[key] = shapeOf((entry as unknown as { readonly wrapped: Schema }).wrapped);
    else required[key] = shapeOf(entry);
  return objectOf(required, optional);
}

function constrained(pipe: readonly Schema[]): Shape {
  const limits = new Map(pipe.slice(1).map((action) => [action.type, (action as unknown as Fields).requirement]));
  const first = pipe[0]!;
  const forms = [...limits.keys()].join(' ');
  if (first.type === 'number' && limits.has('integer'))
    return integer(
      (limits.get('min_value') as number | undefined) ?? Number.MIN_SAFE_INTEGER,
      (limits.get('max_value') as number | undefined) ?? Number.MAX_SAFE_INTEGER,
    );
  if (forms === 'regex') return textLike(limits.get('regex') as RegExp, `text of the form ${(limits.get('regex') as RegExp).source}`);
  if (forms === 'min_length' && first.type === 'array')
    return listOf(shapeOf((first as unknown as { readonly item: Schema }).item), limits.get('min_length') as number);
  throw new TypeError(`Cannot read values under the constraints "${forms}": only those used in schema.ts are known`);
}

/** Joins and times name legs by their place. */
function legsAreThere(value: unknown): Misfit | undefined {
  const { legs, joins, latency = [] } = value as PathRecord;
  let needed = 0;
  for (const { from, to } of joins) needed = Math.max(needed, from + 1, to + 1);
  for (const { leg } of latency) needed = Math.max(needed, leg + 1);
  return needed <= legs.length
    ? undefined
    : { at: 'legs.length', wish: `at least ${needed}, as joins and latency name legs`, value: legs.length };
}
