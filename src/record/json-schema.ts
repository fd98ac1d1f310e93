/**
 * The schemas of schema.ts as one JSON Schema, draft 2020-12: what docs/records.schema.json holds. Takes the kinds of schemas that are used there, and no others.
 * Source: https://json-schema.org/draft/2020-12/schema.
 */
import type * as v from 'valibot';
import { CONTRACT_VERSION, namedSchemas, recordSchemas } from './schema.ts';

export type JsonSchema = { [key: string]: unknown };

type Node = v.BaseSchema<unknown, unknown, v.BaseIssue<unknown>>;

const descriptions: { readonly [name: string]: string } = {
  flow: 'A connection in one network namespace.',
  path: 'The legs of one request or connection, in the order of travel.',
  finding: 'Something that goes wrong, with its proof and what to do.',
  lost: 'Something was lost: what, where, how much.',
  total: 'The end of a replay: what was read and found.',
  time: 'RFC 3339, UTC, nanoseconds.',
  id: '64 bits in hexadecimal; the same input gives the same id.',
  evidence: 'How sure it is.',
  reason: 'Why something is unknown, ambiguous or unavailable.',
  leg: 'What a connection is in the detour through a proxy.',
  decision: 'What one proxy did with one connection or request.',
  rule: 'Which rule took or spared a connection.',
};

/** A schema for any one record; `$defs` has one for each type. */
export function recordJsonSchema(): JsonSchema {
  const named = new Map<unknown, string>(Object.entries({ ...namedSchemas, ...recordSchemas }).map(([name, schema]) => [schema, name]));
  const $defs: JsonSchema = {};
  for (const [schema, name] of named) {
    const described = descriptions[name];
    $defs[name] = { ...(described === undefined ? {} : { description: described }), ...convert(schema as Node, named, true) };
  }
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    $id: `urn:sidetrace:records:v${CONTRACT_VERSION}`,
    title: `Records of sidetrace, version ${CONTRACT_VERSION} of the contract`,
    oneOf: Object.keys(recordSchemas).map((name) => ({ $ref: `#/$defs/${name}` })),
    $defs,
  };
}

/** @throws {TypeError} when a kind of schema is used that has no translation here */
function convert(schema: Node, named: ReadonlyMap<unknown, string>, own = false): JsonSchema {
  const name = named.get(schema);
  if (name !== undefined && !own) return { $ref: `#/$defs/${name}` };
  const given = schema as unknown as { readonly [key: string]: unknown };
  const pipe = given.pipe as readonly Node[] | undefined;
  if (pipe !== undefined) {
    const constrained = convert(pipe[0]!, named);
    for (const action of pipe.slice(1)) Object.assign(constrained, constraint(action));
    return constrained;
  }
  switch (schema.type) {
    case 'string':
    case 'number':
    case 'boolean':
      return { type: schema.type };
    case 'literal':
      return { const: given.literal };
    case 'picklist':
      return { enum: given.options };
    case 'array':
      return { type: 'array', items: convert(given.item as Node, named) };
    case 'record':
      return { type: 'object', additionalProperties: convert(given.value as Node, named) };
    case 'strict_object':
      return object(given.entries as { readonly [key: string]: Node }, named);
    default:
      throw new TypeError(`Cannot translate a schema of kind "${schema.type}" to JSON Schema: only the kinds used in schema.ts are known`);
  }
}

function object(entries: { readonly [key: string]: Node }, named: ReadonlyMap<unknown, string>): JsonSchema {
  const properties: JsonSchema = {};
  const required: string[] = [];
  for (const [key, entry] of Object.entries(entries)) {
    const optional = entry.type === 'exact_optional';
    properties[key] = convert(optional ? (entry as unknown as { readonly wrapped: Node }).wrapped : entry, named);
    if (!optional) required.push(key);
  }
  return { type: 'object', properties, required, additionalProperties: false };
}

function constraint(action: unknown): JsonSchema {
  const { type, requirement } = action as { readonly type: string; readonly requirement: unknown };
  switch (type) {
    case 'integer':
      return { type: 'integer' };
    case 'min_value':
      return { minimum: requirement };
    case 'max_value':
      return { maximum: requirement };
    case 'min_length':
      return { minItems: requirement };
    case 'regex':
      return { pattern: (requirement as RegExp).source };
    default:
      throw new TypeError(`Cannot translate the constraint "${type}" to JSON Schema: only those used in schema.ts are known`);
  }
}
