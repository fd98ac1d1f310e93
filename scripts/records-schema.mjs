// Writes docs/records.schema.json from src/record/schema.ts. Run it after the contract changed, and read the difference.
import { writeFileSync } from 'node:fs';
import { recordJsonSchema } from '../dist/src/record/json-schema.js';

writeFileSync('docs/records.schema.json', `${JSON.stringify(recordJsonSchema(), null, 2)}\n`);
process.stdout.write('docs/records.schema.json: written\n');
