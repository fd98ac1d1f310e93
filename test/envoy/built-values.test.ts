import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BuiltValues } from '../../src/envoy/built-values.ts';

test('what is used stays, what was not used for longest goes', () => {
  const values = new BuiltValues(170);
  const keys = Array.from({ length: 20 }, (_, i) => ({ i }));
  let built = 0;
  const get = (key: { i: number }) =>
    values.get(
      key,
      () => {
        built++;
        return { of: key.i };
      },
      () => 1,
    );
  const first = get(keys[0]!);
  for (const key of keys) {
    get(key);
    assert.equal(get(keys[0]!), first);
  }
  assert.equal(built, 20);
  assert.deepEqual(get(keys[1]!), { of: 1 });
  assert.equal(built, 21);
});
