import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { regexMatcher } from '../../src/envoy/string-matcher.ts';
import { compileRegex } from '../../src/net/regex.ts';

const situations: [string, string, boolean][] = [
  ['', '', true],
  ['', 'a', false],
  ['a|b', 'b', true],
  ['a|b', 'ab', false],
  ['(a|b)*c', 'ababc', true],
  ['/v[12]/.*', '/v2/x', true],
  ['/v[^12]/', '/v3/', true],
  ['[a-c-]+', 'a-c', true],
  ['[]a]+', ']a', true],
  ['[[:alpha:]]+[[:^digit:]]', 'abc', true],
  ['\\d{2,3}', '1234', false],
  ['\\d{2,}', '1234', true],
  ['a{,2}', 'a{,2}', true],
  ['(?i)abc', 'aBC', true],
  ['a(?i)b|c', 'aB', true],
  ['(?i:a)b', 'AB', false],
  ['(?i)[^a]', 'A', false],
  ['(?P<name>a)(?<other>b)', 'ab', true],
  ['^a$', 'a', true],
  ['a.b', 'a\nb', false],
  ['(?s)a.b', 'a\nb', true],
  ['(?m)a$\n^b', 'a\nb', true],
  ['\\bfoo\\b.*', 'foo bar', true],
  ['foo\\Bbar', 'foobar', true],
  ['\\Qa.b\\E+', 'a.bb', true],
  ['\\x41\\x{1F600}', 'A😀', true],
  ['\\pL+\\p{Greek}', 'aω', true],
  ['a*?b+?', 'aab', true],
  ['.', '😀', true],
  ['(a*)*b', 'aaab', true],
];

for (const [pattern, text, expect] of situations)
  test(`regex: ${JSON.stringify(pattern)} ${expect ? 'matches' : 'does not match'} ${JSON.stringify(text)}`, () => {
    assert.equal(compileRegex(pattern)?.matches(text), expect);
  });

for (const pattern of [
  '(',
  ')',
  '[a',
  '*a',
  'a**',
  'a{1001}',
  'a{3,2}',
  '(?=a)',
  '(?!a)',
  '\\1',
  '(a)\\1',
  '\\8',
  'a\\',
  '\\x{110000}',
  '[b-a]',
  '[[:nope:]]',
  '((((a{100}){100}){100}){100})',
  `${'('.repeat(200)}a${')'.repeat(200)}`,
  'x'.repeat(5000),
])
  test(`regex: ${JSON.stringify(pattern.slice(0, 40))} is not judged`, () => {
    assert.equal(compileRegex(pattern), undefined);
    assert.equal(regexMatcher(pattern)('a'), 'unknown');
  });

test('regex: agrees with the engine of JavaScript where the two languages are one', () => {
  const atom = fc.constantFrom('a', 'b', '.', '[ab]', '[^a]', '\\d', '\\w', '\\s', 'a|b', '');
  const pattern = fc.letrec<{ node: string }>((tie) => ({
    node: fc.oneof(
      { maxDepth: 4, depthSize: 'small' },
      atom,
      fc.tuple(tie('node'), tie('node')).map(([a, b]) => a + b),
      fc.tuple(tie('node'), fc.constantFrom('*', '+', '?', '{0,2}', '{2}', '*?')).map(([a, q]) => `(?:${a})${q}`),
      fc.tuple(tie('node'), tie('node')).map(([a, b]) => `(${a}|${b})`),
    ),
  })).node;
  const text = fc.array(fc.constantFrom('a', 'b', '1', ' ', 'c'), { maxLength: 8 }).map((parts) => parts.join(''));
  fc.assert(
    fc.property(pattern, text, (source, given) => {
      assert.equal(compileRegex(source)?.matches(given), new RegExp(`^(?:${source})$`).test(given), source);
    }),
    { seed: 11, numRuns: 3000 },
  );
});

test('regex: a pattern that makes backtracking engines explode takes linear time', () => {
  const regex = compileRegex('(a|a)*(a*)*(a+)+b')!;
  const begun = performance.now();
  assert.equal(regex.matches('a'.repeat(20_000)), false);
  assert.ok(performance.now() - begun < 2000);
});

test('regex: a text too long for a large pattern is not judged', () => {
  assert.equal(regexMatcher('(a{1000}){10}')('a'.repeat(100_000)), 'unknown');
});
