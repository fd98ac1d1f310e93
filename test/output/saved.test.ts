import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MsgpackBytes } from '../../src/output/msgpack-bytes.ts';
import { DEPTH_MAX, ELEMENTS_MAX, ExtentError, VALUE_BYTES_MAX, valueEnd } from '../../src/output/msgpack-extent.ts';
import { rowFields, rowOf, rowVersion } from '../../src/output/rows.ts';
import { savedJson } from '../../src/output/saved-json.ts';
import { MsgpackRecords } from '../../src/output/saved-msgpack.ts';
import { sinks } from '../../src/output/sinks.ts';
import type { AnyRecord } from '../../src/record/record.ts';
import { recordMisfit } from '../../src/record/record-shape.ts';
import { misfitText } from '../../src/record/shape.ts';
import { printed, written } from './sample-options.ts';
import { everything, flowOf, requestFlows, requestPath, total } from './samples.ts';

const asJson = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

/** The records of MessagePack values, and what was said of the rest. */
function readBack(bytes: Uint8Array): { records: AnyRecord[]; problems: string[] } {
  const records: AnyRecord[] = [];
  const problems: string[] = [];
  const reader = new MsgpackRecords(
    (record) => records.push(record),
    (what) => problems.push(what),
  );
  for (let at = 0; at < bytes.length; ) {
    let end: number | undefined;
    try {
      end = valueEnd(bytes, at, bytes.length);
    } catch (error) {
      assert.ok(error instanceof ExtentError);
      problems.push(error.message);
    }
    if (end === undefined || !reader.take(bytes.subarray(at, end))) break;
    at = end;
  }
  return { records, problems };
}

function packed(...values: unknown[]): Buffer {
  const out = new MsgpackBytes();
  for (const value of values) out.value(value);
  return Buffer.from(out.view());
}

const hello = { type: 'hello', version: rowVersion, fields: rowFields };

test('what -o msgpack and -o json write is read back as it was', () => {
  assert.deepEqual(readBack(written('msgpack', everything)), { records: asJson(everything), problems: [] });
  const lines = printed('json', everything).trimEnd().split('\n');
  assert.deepEqual(lines.map(savedJson), asJson(everything));
});

test('the end of a MessagePack value is where the next one begins', () => {
  fc.assert(
    fc.property(
      fc.jsonValue({ stringUnit: 'grapheme' }),
      fc.string({ maxLength: 70_000 }),
      fc.double(),
      fc.maxSafeInteger(),
      (json, text, double, large) => {
        for (const value of [json, text, double, large, [json, text, -33, -129, -40_000, 300, 70_000, true]]) {
          const bytes = packed(value);
          const around = Buffer.concat([Buffer.from([0xc0]), bytes, bytes]);
          assert.equal(valueEnd(around, 1, around.length), 1 + bytes.length);
          for (const cut of new Set([1, bytes.length >> 1, bytes.length - 1]))
            if (cut < bytes.length) assert.equal(valueEnd(bytes, 0, cut), undefined, `cut at ${cut}`);
        }
      },
    ),
    { seed: 21, numRuns: 300 },
  );
});

const refused: [what: string, bytes: number[], says: RegExp][] = [
  ['lists within lists', new Array(DEPTH_MAX + 1).fill(0x91), /at most 40 levels/],
  ['a list that claims more elements than any', [0xdd, 0xff, 0xff, 0xff, 0xff], /elements are wanted, there are 4294967295/],
  ['a map that claims more entries than any', [0xdf, 0x7f, 0xff, 0xff, 0xff], /elements are wanted/],
  ['text that claims to be longer than any', [0xdb, 0xff, 0xff, 0xff, 0xff], /text of at most 4194304 bytes is wanted, it has 4294967295/],
  ['binary data', [0xc4, 1, 0], /0xc4 begins none/],
  ['an extension', [0xd4, 1, 0], /0xd4 begins none/],
  ['the byte that MessagePack never uses', [0xc1], /0xc1 begins none/],
];
for (const [what, bytes, says] of refused)
  test(`${what}: refused before anything is made of it`, () => {
    assert.throws(() => valueEnd(Uint8Array.from(bytes), 0, bytes.length), says);
  });

test('lists that each claim a million elements take no memory', () => {
  const bytes = new Uint8Array(5 * DEPTH_MAX);
  for (let at = 0; at < bytes.length; at += 5) bytes.set([0xdd, 0, 0x0f, 0xff, 0xff], at);
  const before = process.memoryUsage().heapUsed;
  assert.equal(valueEnd(bytes, 0, bytes.length), undefined);
  assert.ok(process.memoryUsage().heapUsed - before < 4 * 1024 * 1024);
});

test('a value with more elements than any record has is refused', () => {
  const bytes = new Uint8Array(VALUE_BYTES_MAX).fill(0x90);
  bytes.set([0xdd, 0, 0x0f, 0xff, 0xff]);
  bytes.set([0x92, 0x90, 0x90], 5);
  assert.throws(() => valueEnd(bytes, 0, bytes.length), new RegExp(`at most ${ELEMENTS_MAX} elements`));
});

const unusable: [what: string, values: unknown[], says: RegExp][] = [
  ['rows without a hello', [{ type: 'total', rows: [rowOf(total)] }], /a hello that names the fields is wanted first/],
  ['a hello of another version', [{ ...hello, version: 99 }], /rows of version 1 are wanted, the hello says 99/],
  ['a hello without fields', [{ type: 'hello', version: rowVersion }], /names the fields of "flow"/],
  ['a hello whose fields are no text', [{ ...hello, fields: { ...rowFields, path: [1] } }], /names the fields of "path"/],
  ['rows of something else', [hello, { type: 'weather', rows: [[1]] }], /they are of "weather"/],
  ['a row that is no list', [hello, { type: 'total', rows: [7] }], /a row as a list is wanted/],
  ['a row that is no record', [hello, { type: 'total', rows: [[1, 2]] }], /"flows" must be a value, it is absent/],
  ['something that is no batch', [hello, [1, 2, 3]], /a batch \{type, rows\} is wanted/],
];
for (const [what, values, says] of unusable)
  test(`${what} is told`, () => {
    const { records, problems } = readBack(packed(...values));
    assert.deepEqual(records, []);
    assert.match(problems.join('\n'), says);
  });

test('a batch that cannot be used does not take the others with it', () => {
  const { records, problems } = readBack(
    packed(hello, { type: 'weather', rows: [] }, { type: 'total', rows: [[], rowOf(total)] }, { type: 'total', rows: [rowOf(total)] }),
  );
  assert.deepEqual(records, [total, total]);
  assert.equal(problems.length, 2);
});

test('fields that a newer writer added are let through, fields in another order are put right', () => {
  const fields = { ...rowFields, total: ['weather', ...[...rowFields.total].reverse()] };
  const row = ['sunny', ...rowOf(total).reverse()];
  assert.deepEqual(readBack(packed({ ...hello, fields }, { type: 'total', rows: [row] })).records, [{ ...total, weather: 'sunny' }]);
});

test('a key that reaches a prototype ends the reading', () => {
  const bytes = packed(hello, { type: 'total', rows: [[{ xxxxxxxxx: 1 }]] });
  bytes.write('__proto__', bytes.indexOf('xxxxxxxxx'));
  assert.match(readBack(bytes).problems.join(), /__proto__ is not allowed/);
});

const misfits: [what: string, record: unknown, says: string][] = [
  ['no object', 7, '"type" must be one of flow, path, finding, lost, total, it is absent'],
  ['another type', { type: 'constructor' }, '"type" must be one of flow, path, finding, lost, total, it is "constructor"'],
  ['a field that is missing', { ...total, flows: undefined }, '"flows" must be a whole number from 0 to 9007199254740991, it is absent'],
  ['a time that is none', flowOf({ first: '\u001b[2J' }), '"first" must be a time like 2026-11-23T06:22:41.601088000Z, it is "\\u001b[2J"'],
  ['a role that is none', flowOf({ roles: ['x' as never] }), '"roles.0" must be one of'],
  [
    'a port out of range',
    flowOf({ source: { ip: '1.2.3.4', port: 70_000 } }),
    '"source.port" must be a whole number from 0 to 65535, it is 70000',
  ],
  [
    'a number that is none',
    flowOf({ counters: { toDestination: { packets: -1, bytes: 0 }, toSource: { packets: 0, bytes: 0 } } }),
    '"counters.toDestination.packets" must be a whole number',
  ],
  [
    'a reason that a terminal would obey',
    { ...requestFlows[0], rule: { ...requestFlows[0]!.rule, reason: '\u009b2J' } },
    '"rule.reason" must be a reason',
  ],
  [
    'a join of legs that are not there',
    { ...requestPath, legs: requestPath.legs.slice(1) },
    '"legs.length" must be at least 4, as joins and latency name legs, it is 3',
  ],
  [
    'fields nested without end',
    { ...total, more: JSON.parse(`${'['.repeat(5000)}${']'.repeat(5000)}`) },
    '"more" must be a value of at most 16 levels, it is a list',
  ],
];
for (const [what, record, says] of misfits)
  test(`a record with ${what} is none`, () => {
    const misfit = recordMisfit(record);
    assert.ok(misfit !== undefined);
    assert.ok(misfitText(misfit).startsWith(says), misfitText(misfit));
  });

test('the sample records are records', () => {
  for (const record of everything) assert.equal(recordMisfit(asJson(record)), undefined);
});

/** What a terminal obeys, save the line feed. */
const obeyed = /(?!\n)[\p{Cc}\p{Cf}]/u;
const poison = [
  '\u001b[2J',
  'a\u202eb\u009b',
  '',
  '9',
  'x'.repeat(300),
  '2026-11-23T06:22:45.519000000Z',
  'a=b',
  '10.0.0.1',
  '::1',
  'http',
];

/** The record with one of its values (the `place`-th leaf) replaced. */
function replaced(record: unknown, place: number, by: unknown): unknown {
  let left = place;
  const walk = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(walk);
    if (typeof value === 'object' && value !== null)
      return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, walk(inner)]));
    return left-- === 0 ? by : value;
  };
  return walk(record);
}

test('whatever passes as a record can be printed in every format, and no terminal obeys it', () => {
  let passed = 0;
  fc.assert(
    fc.property(
      fc.nat(everything.length - 1),
      fc.nat(120),
      fc.oneof(fc.constantFrom(...poison), fc.double(), fc.nat(), fc.boolean(), fc.constant(null), fc.constant([]), fc.constant({})),
      (which, place, by) => {
        const record = replaced(asJson(everything[which]), place, by) as AnyRecord;
        if (recordMisfit(record) !== undefined) return;
        passed++;
        const records = [...everything.slice(0, which), record, ...everything.slice(which + 1)];
        for (const { name } of sinks)
          if (name === 'msgpack') assert.deepEqual(readBack(written(name, records)).problems, []);
          else
            assert.doesNotMatch(
              printed(name, records, { why: true, printNodeName: true }),
              name === 'csv' ? /(?![\r\n])[\p{Cc}\p{Cf}]/u : obeyed,
              name,
            );
      },
    ),
    { seed: 5, numRuns: 3000 },
  );
  assert.ok(passed > 500, `${passed}`);
});

test('damaged bytes give records or a problem, never an exception', () => {
  const bytes = written('msgpack', everything);
  const text = printed('json', everything);
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }), (changes) => {
      const damaged = Buffer.from(bytes);
      for (const [at, byte] of changes) damaged[at] = byte;
      for (const record of readBack(damaged).records) assert.equal(recordMisfit(record), undefined);
      const lines = Buffer.from(text);
      for (const [at, byte] of changes) lines[at % lines.length] = byte;
      for (const line of lines.toString('utf8').split('\n')) {
        const found = savedJson(line);
        if (typeof found === 'object') assert.equal(recordMisfit(found), undefined);
      }
    }),
    { seed: 13, numRuns: 3000 },
  );
});
