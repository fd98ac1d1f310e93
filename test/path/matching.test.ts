import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type MatchingItem, possiblePlaces } from '../../src/path/matching.ts';

const must = (...fits: number[]): MatchingItem => ({ mustBePlaced: true, fits });
const may = (...fits: number[]): MatchingItem => ({ mustBePlaced: false, fits });
const alone = () => false;

/** Every assignment, one after the other. */
function byTrying(items: readonly MatchingItem[], shared: (place: number) => boolean): (Set<number> | undefined)[] {
  const found = items.map(() => new Set<number>());
  let any = false;
  const chosen: (number | undefined)[] = [];
  const taken = new Set<number>();
  const next = (i: number): void => {
    if (i === items.length) {
      any = true;
      chosen.forEach((place, at) => {
        if (place !== undefined) found[at]!.add(place);
      });
      return;
    }
    if (!items[i]!.mustBePlaced) {
      chosen[i] = undefined;
      next(i + 1);
    }
    for (const place of items[i]!.fits) {
      if (!shared(place) && taken.has(place)) continue;
      if (!shared(place)) taken.add(place);
      chosen[i] = place;
      next(i + 1);
      taken.delete(place);
    }
  };
  next(0);
  return found.map((places) => (any ? places : undefined));
}

describe('possiblePlaces()', () => {
  it('leaves an item its only place, and takes it from the others', () => {
    assert.deepEqual(possiblePlaces([must(1), must(1, 2), must(2, 3)], alone), [[1], [2], [3]]);
  });

  it('keeps what can go round', () => {
    assert.deepEqual(possiblePlaces([must(1, 2), must(2, 1)], alone), [
      [1, 2],
      [2, 1],
    ]);
  });

  it('lets an item that need not be placed have a place only where those that must find others', () => {
    assert.deepEqual(possiblePlaces([may(1, 2), must(1)], alone), [[2], [1]]);
  });

  it('proves nothing where not all that must be placed can be', () => {
    assert.deepEqual(possiblePlaces([must(1), must(1), must(2)], alone), [undefined, undefined, [2]]);
  });

  it('lets any number share a place that is shared', () => {
    assert.deepEqual(
      possiblePlaces([must(1), must(1)], (place) => place === 1),
      [[1], [1]],
    );
  });

  it('agrees with trying every assignment', () => {
    const item = fc.record({ mustBePlaced: fc.boolean(), fits: fc.uniqueArray(fc.integer({ min: 0, max: 5 }), { maxLength: 4 }) });
    fc.assert(
      fc.property(
        fc.array(item, { maxLength: 6 }),
        fc.uniqueArray(fc.integer({ min: 0, max: 5 }), { maxLength: 1 }),
        (items, sharedPlaces) => {
          const shared = (place: number) => sharedPlaces.includes(place);
          const wanted = byTrying(items, shared);
          const found = possiblePlaces(items, shared);
          if (wanted.some((places) => places === undefined)) return;
          for (const [i, places] of wanted.entries()) assert.deepEqual(new Set(found[i]), places);
        },
      ),
      { seed: 4711, numRuns: 2000 },
    );
  });

  it('follows a chain of any length', () => {
    const count = 5000;
    const items = Array.from({ length: count }, (_, i) => (i === count - 1 ? must(i) : must(i, i + 1)));
    assert.deepEqual(
      possiblePlaces(items, alone).map((places) => places?.length),
      items.map(() => 1),
    );
  });

  it('ends in seconds with ten thousand items that all fit everywhere', () => {
    const places = Array.from({ length: 1000 }, (_, i) => i);
    const items = Array.from({ length: 10_000 }, () => must(...places));
    assert.deepEqual(new Set(possiblePlaces(items, alone)), new Set([undefined]));
  });
});
