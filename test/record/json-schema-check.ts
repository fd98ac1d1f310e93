/** Checks a value against a JSON Schema, draft 2020-12, as far as docs/records.schema.json uses it; a keyword that is not known here is a fault of the schema. */
type Schema = { readonly [key: string]: unknown };

const silent = new Set(['$schema', '$id', '$defs', 'title', 'description']);

/** One sentence for each fault, none when the value fits. */
export function faultsOf(root: Schema, value: unknown): string[] {
  return check(root, root, value, '');
}

function typeOf(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'array' : typeof value;
}

function check(root: Schema, schema: Schema, value: unknown, at: string): string[] {
  return Object.entries(schema).flatMap(([keyword, wanted]) =>
    silent.has(keyword) ? [] : judge(root, schema, keyword, wanted, value, at),
  );
}

function judge(root: Schema, schema: Schema, keyword: string, wanted: unknown, value: unknown, at: string): string[] {
  const fault = (what: string) => [`${at === '' ? '/' : at}: ${what}, it is ${JSON.stringify(value)?.slice(0, 80)}`];
  const object = typeOf(value) === 'object' ? (value as { readonly [key: string]: unknown }) : undefined;
  switch (keyword) {
    case '$ref': {
      const target = (root.$defs as { readonly [name: string]: Schema })[String(wanted).replace('#/$defs/', '')];
      return target === undefined ? [`${at}: the schema refers to ${wanted}, which is not there`] : check(root, target, value, at);
    }
    case 'oneOf': {
      const results = (wanted as readonly Schema[]).map((one) => check(root, one, value, at));
      const fitting = results.filter((faults) => faults.length === 0).length;
      return fitting === 1
        ? []
        : [...fault(`exactly one of ${results.length} is wanted, ${fitting} fit`), ...results.sort((a, b) => a.length - b.length)[0]!];
    }
    case 'type':
      if (wanted === 'integer') return Number.isInteger(value) ? [] : fault('an integer is wanted');
      return typeOf(value) === wanted ? [] : fault(`${wanted} is wanted`);
    case 'enum':
      return (wanted as readonly unknown[]).includes(value) ? [] : fault('one of the list is wanted');
    case 'const':
      return value === wanted ? [] : fault(`${JSON.stringify(wanted)} is wanted`);
    case 'minimum':
      return typeof value !== 'number' || value >= Number(wanted) ? [] : fault(`at least ${wanted} is wanted`);
    case 'maximum':
      return typeof value !== 'number' || value <= Number(wanted) ? [] : fault(`at most ${wanted} is wanted`);
    case 'pattern':
      return typeof value !== 'string' || new RegExp(String(wanted), 'u').test(value) ? [] : fault(`${wanted} is wanted`);
    case 'minItems':
      return !Array.isArray(value) || value.length >= Number(wanted) ? [] : fault(`at least ${wanted} are wanted`);
    case 'items':
      return Array.isArray(value) ? value.flatMap((item, i) => check(root, wanted as Schema, item, `${at}/${i}`)) : [];
    case 'required':
      return object === undefined
        ? []
        : (wanted as readonly string[]).filter((key) => !(key in object)).flatMap((key) => fault(`"${key}" is wanted`));
    case 'properties':
      return object === undefined
        ? []
        : Object.entries(wanted as { readonly [key: string]: Schema }).flatMap(([key, part]) =>
            key in object ? check(root, part, object[key], `${at}/${key}`) : [],
          );
    case 'additionalProperties': {
      const known = (schema.properties ?? {}) as { readonly [key: string]: unknown };
      const others = Object.entries(object ?? {}).filter(([key]) => !Object.hasOwn(known, key));
      if (wanted === false) return others.flatMap(([key]) => fault(`no field "${key}" is wanted`));
      return others.flatMap(([key, part]) => check(root, wanted as Schema, part, `${at}/${key}`));
    }
    default:
      return [`${at}: the schema uses "${keyword}", which this check does not know`];
  }
}
