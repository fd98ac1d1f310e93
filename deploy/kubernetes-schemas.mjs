// Makes JSON Schema files of Kubernetes's OpenAPI description (swagger.json) and of custom resource definitions (JSON), as kubeconform looks for them: kind-group-version.json, each
// with the definitions that it needs. Strict: a field that is not described is a fault.
//
//   node deploy/kubernetes-schemas.mjs OUT swagger.json [CRD.json…]
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const [out, swagger, ...resources] = process.argv.slice(2);
mkdirSync(out, { recursive: true });
const { definitions } = JSON.parse(readFileSync(swagger, 'utf8'));
let count = 0;

/** The way kubeconform names a file: the group's first label. */
function write(kind, group, version, schema) {
  const name = [kind, ...(group === '' ? [] : [group.split('.')[0]]), version].join('-').toLowerCase();
  writeFileSync(join(out, `${name}.json`), JSON.stringify(schema));
  count += 1;
}

/** @param {any} schema of OpenAPI; the same in JSON Schema, strict */
function strict(schema) {
  if (typeof schema !== 'object' || schema === null) return schema;
  if (Array.isArray(schema)) return schema.map(strict);
  if (schema['x-kubernetes-int-or-string'] || schema.format === 'int-or-string') return { type: ['string', 'integer'] };
  const made = {};
  for (const [key, value] of Object.entries(schema)) {
    if (key.startsWith('x-kubernetes-') || key === 'description' || key === 'format' || key === 'default') continue;
    made[key] =
      key === 'properties' ? Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, strict(inner)])) : strict(value);
  }
  const open = schema['x-kubernetes-preserve-unknown-fields'] === true;
  if (schema.properties !== undefined && schema.additionalProperties === undefined && !open) made.additionalProperties = false;
  return made;
}

/** The definitions that one needs, itself among them. */
function needed(name, into = {}) {
  if (name in into) return into;
  const made = name.endsWith('.resource.Quantity') ? { type: ['string', 'number'] } : strict(definitions[name]);
  into[name] = made;
  for (const [, other] of JSON.stringify(made).matchAll(/"#\/definitions\/([^"]+)"/g)) needed(other, into);
  return into;
}

for (const [name, definition] of Object.entries(definitions)) {
  const kinds = definition['x-kubernetes-group-version-kind'] ?? [];
  // Kinds of every group, as DeleteOptions, are not what files hold.
  if (kinds.length !== 1 || definition.properties?.metadata === undefined) continue;
  const [{ kind, group, version }] = kinds;
  write(kind, group, version, {
    $schema: 'http://json-schema.org/draft-07/schema#',
    $ref: `#/definitions/${name}`,
    definitions: needed(name),
  });
}

const metadata = 'io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta';
for (const file of resources) {
  const { spec } = JSON.parse(readFileSync(file, 'utf8'));
  for (const { name, schema } of spec.versions) {
    const described = strict(schema.openAPIV3Schema);
    described.properties.metadata = { $ref: `#/definitions/${metadata}` };
    write(spec.names.kind, spec.group, name, {
      $schema: 'http://json-schema.org/draft-07/schema#',
      ...described,
      definitions: needed(metadata),
    });
  }
}
process.stderr.write(`${count} schemas in ${out}\n`);
