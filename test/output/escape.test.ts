import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { escapeShort, escapeText, formatJson, quoteJson } from '../../src/output/escape.ts';
import { sinks } from '../../src/output/sinks.ts';
import type { AnyRecord, FlowRecord } from '../../src/record/record.ts';
import { printed } from './sample-options.ts';
import { everything } from './samples.ts';

const cases: [what: string, text: string, escaped: string][] = [
  ['plain text', 'GET /productpage?u=normal', 'GET /productpage?u=normal'],
  ['printable text of any script', 'Überprüfung 検索 🦊', 'Überprüfung 検索 🦊'],
  ['an escape sequence', '\u001b[2J', '\\u{1b}[2J'],
  ['a bell, a carriage return, a line feed, a tab', '\u0007\r\n\t', '\\u{7}\\u{d}\\u{a}\\u{9}'],
  ['DEL and C1 controls', '\u007f\u009b31m', '\\u{7f}\\u{9b}31m'],
  ['bidirectional controls', '\u202eexe.txt\u2066\u2069\u200f\u061c', '\\u{202e}exe.txt\\u{2066}\\u{2069}\\u{200f}\\u{61c}'],
  ['line and paragraph separators', 'a\u2028b\u2029', 'a\\u{2028}b\\u{2029}'],
  ['zero width characters and a byte order mark', 'a\u200bb\ufeff', 'a\\u{200b}b\\u{feff}'],
  ['a lone surrogate', 'x\ud800y', 'x\\u{d800}y'],
  ['tag characters', 'a\u{e0041}', 'a\\u{e0041}'],
  ['an unassigned code point', '\u{10fffe}\u0378', '\\u{10fffe}\\u{378}'],
  ['private use', '\ue000', '\\u{e000}'],
  ['what looks like our own escape', '\\u{1b}', '\\u{5c}u{1b}'],
  ['any other backslash', 'C:\\temp', 'C:\\temp'],
];

for (const [what, text, escaped] of cases) test(`escapeText() on ${what}`, () => assert.equal(escapeText(text), escaped));

test('escapeShort() cuts long text, and never between the halves of a surrogate pair', () => {
  assert.equal(escapeShort('a'.repeat(10), 4), 'aaaa…');
  assert.equal(escapeShort('abc🦊def', 4), 'abc…');
  assert.equal(escapeShort('abc', 4), 'abc');
});

const harmful = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u;

test('JSON text holds nothing that a terminal obeys, and means the same', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom(...cases.map(([, text]) => text))), (text) => {
      for (const json of [quoteJson(text), formatJson({ text })]) assert.doesNotMatch(json, harmful);
      assert.equal(JSON.parse(quoteJson(text)), text);
      assert.deepEqual(JSON.parse(formatJson({ text })), { text });
    }),
    { seed: 7, numRuns: 2000 },
  );
});

const hostile = cases.map(([, text]) => text).join('');

/** The same record with every text that may come from outside replaced. */
function poisoned(record: AnyRecord): AnyRecord {
  const kept = new Set([
    'type',
    'event',
    'state',
    'first',
    'last',
    'of',
    'by',
    'evidence',
    'outcome',
    'verdict',
    'severity',
    'because',
    'reason',
    'readAt',
    'id',
    'flow',
    'paths',
  ]);
  const walk = (value: unknown, key: string): unknown => {
    if (kept.has(key) || (key === 'roles' && Array.isArray(value))) return value;
    if (typeof value === 'string') return hostile;
    if (Array.isArray(value)) return value.map((element) => walk(element, ''));
    if (value !== null && typeof value === 'object')
      return Object.fromEntries(Object.entries(value).map(([name, property]) => [name, walk(property, name)]));
    return value;
  };
  const out = walk(record, '') as AnyRecord;
  // Evidence has fields of its own choice: its values are ours.
  const clean = (decision: { evidence: object } | undefined, from: { evidence: object } | undefined): void => {
    if (decision !== undefined && from !== undefined) decision.evidence = from.evidence;
  };
  if (out.type === 'flow') clean(out.envoy, (record as FlowRecord).envoy);
  return out;
}

for (const format of sinks.filter(({ name }) => name !== 'msgpack'))
  test(`-o ${format.name} lets no hostile text through to the terminal`, () => {
    const text = printed(format.name, everything.map(poisoned), { why: true });
    assert.equal(harmful.exec(text.replaceAll(/\r?\n/g, ''))?.[0], undefined);
    if (format.name !== 'json' && format.name !== 'hubble') assert.match(text, /\\u\{1b\}/);
  });
