import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { EnvoyConfigError } from '../../src/envoy/json.ts';
import { JsonPart, readJson, rootOf } from '../../src/envoy/json-part.ts';

const options = { what: 'a text', unitDepth: 1 };

const readWhole = (text: string | Uint8Array): unknown => {
  const json = readJson(text, options);
  return json.build(json.start);
};

/** What JSON.parse makes of it; `undefined` where it refuses it. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function readOrRefused(text: string): unknown {
  try {
    return readWhole(text);
  } catch (error) {
    assert.ok(error instanceof EnvoyConfigError, String(error));
    return undefined;
  }
}

for (const text of [
  ...['', ' ', '{', '}', '[', ']', '{}', '[]', ' [ ] ', '[,]', '[1,]', '[,1]', '{"a"}', '{"a":}', '{"a":1,}', '{,}', '{a:1}', "{'a':1}"],
  ...['0', '-0', '01', '-', '1.', '.5', '1.5', '1e', '1e+', '1e5', '1E-5', '+1', '1e400', '--1', '0x1', 'NaN', 'Infinity', '-Infinity'],
  ...['true', 'tru', 'truex', 'false', 'null', 'nul', 'undefined', 'True', '1 2', '[1] 2', '{} {}', '[1 2]', '{"a" 1}', '{"a":1 "b":2}'],
  ...[
    '""',
    '"',
    '"\\"',
    '"\\""',
    '"\\x"',
    '"\\u12"',
    '"\\u12g4"',
    '"\\u1234"',
    '"\\ud800"',
    '"\t"',
    '"\n"',
    '"\u007f"',
    '"\u00e9€😀"',
    '"\\/"',
  ],
  ...['[[[]]]', '[{"a":[{}]}]', '[}', '{]', '[[]', '\u00a01', '/* */1', '[1,//\n2]', '{"a":1,"a":2}', '{"__proto__":1}', '\v1'],
])
  test(`a text is JSON exactly when JSON.parse() says so: ${JSON.stringify(text)}`, () => {
    assert.deepEqual(readOrRefused(text), parsed(text));
  });

test('any value is read as JSON.parse() reads it, however it is spaced', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 6 }), fc.constantFrom(undefined, 1, '\t', '\r\n'), (value, space) => {
      const text = JSON.stringify(value, undefined, space as string);
      assert.deepEqual(readWhole(text), JSON.parse(text));
    }),
    { seed: 11, numRuns: 500 },
  );
});

test('a damaged text is refused exactly when JSON.parse() refuses it', () => {
  fc.assert(
    fc.property(
      fc.jsonValue({ maxDepth: 4 }),
      fc.nat(),
      fc.constantFrom(...'{}[]",:0-1.e+tfn\\u \n\u0001é'),
      fc.boolean(),
      (value, at, character, replace) => {
        const text = JSON.stringify(value);
        const place = at % (text.length + 1);
        const damaged = text.slice(0, place) + character + text.slice(replace ? place + 1 : place);
        assert.deepEqual(readOrRefused(damaged), parsed(damaged));
      },
    ),
    { seed: 12, numRuns: 3000 },
  );
});

test('a text that is cut anywhere is refused with the offset where it ends', () => {
  const text = '{"a": [1, true, "b\\u00e9", {"c": null}], "d": -1.5e3}';
  for (let i = 1; i < text.length; i++) {
    const cut = text.slice(0, i);
    assert.throws(
      () => readWhole(cut),
      (error) =>
        error instanceof EnvoyConfigError &&
        new RegExp(`^Cannot read a text: JSON is wanted, at byte ${i} .*, it ends there$`).test(
          error.message.replace(/at byte \d+ a value is wanted, "(t|tr|tru|n|nu|nul)" is there/, `at byte ${i} x, it ends there`),
        ),
      cut,
    );
  }
});

test('a byte order mark is passed over, and bytes that are no UTF-8 are read as TextDecoder reads them', () => {
  assert.deepEqual(readWhole(new Uint8Array([0xef, 0xbb, 0xbf, 0x5b, 0x31, 0x5d])), [1]);
  assert.equal(readWhole(new Uint8Array([0x22, 0xff, 0x22])), '\ufffd');
});

test('fields are found without the rest: proto spelling first, then lowerCamelCase; null and other shapes are absent', () => {
  const long = 'x'.repeat(5000);
  const text = JSON.stringify({
    fat: { long, list: [{ long }, [long]] },
    serverName: 'a',
    b_c: null,
    bC: 'never',
    e: { f: 'g' },
    l: [1, { n: 1 }, null, [], { n: 2 }],
  });
  const fields = rootOf(readJson(text, options))!.fields;
  assert.equal(fields.text('server_name'), 'a');
  assert.equal(fields.text('b_c'), undefined);
  assert.equal(fields.text('e'), undefined);
  assert.equal(fields.object('e')?.fields.text('f'), 'g');
  assert.deepEqual(
    fields.objects('l').map((part) => part.build()),
    [{ n: 1 }, { n: 2 }],
  );
  assert.deepEqual(
    [...fields.items('l')].map((item) => (item instanceof JsonPart ? 'object' : item)),
    ['a number', 'object', 'null', 'a list', 'object'],
  );
  assert.deepEqual(fields.pick(['e', 'b_c', 'z']), { e: { f: 'g' } });
  assert.equal(fields.object('fat')!.values, 7);
});

test('of a name that comes twice the last counts, also where it is written with escapes', () => {
  assert.equal(rootOf(readJson('{"a":"1","\\u0061":"2"}', options))!.fields.text('a'), '2');
});

test('what nests deeper than is read is refused at once', () => {
  assert.throws(() => readWhole('['.repeat(1_000_000)), /at most 200 levels are read, byte 200 is deeper/);
  assert.throws(() => readWhole('{"a":'.repeat(1_000_000)), /at most 200 levels are read/);
  assert.ok(Array.isArray(readWhole(`${'['.repeat(200)}${']'.repeat(200)}`)));
});
