// Prints how many flows a file of `-o msgpack` says it holds, by its last record: node count-flows.mjs FILE [FIELD]
import { createReadStream } from 'node:fs';
import { decodeMultiStream } from '@msgpack/msgpack';

const [file, field = 'flows'] = process.argv.slice(2);
let fields = [];
let total;
for await (const value of decodeMultiStream(createReadStream(file))) {
  if (value.type === 'hello') fields = value.fields.total;
  else if (value.type === 'total') total = value.rows.at(-1);
}
process.stdout.write(`${total[fields.indexOf(field)]}\n`);
