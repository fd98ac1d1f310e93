/** Kleene's logic: a condition holds, does not hold, or cannot be known. */
export type Three = boolean | 'unknown';

export function not(value: Three): Three {
  return value === 'unknown' ? 'unknown' : !value;
}

/** False as soon as one is; unknown when one is and none is false. */
export function every<T>(items: readonly T[], test: (item: T) => Three): Three {
  let result: Three = true;
  for (const item of items) {
    const value = test(item);
    if (value === false) return false;
    if (value === 'unknown') result = 'unknown';
  }
  return result;
}

export function some<T>(items: readonly T[], test: (item: T) => Three): Three {
  return not(every(items, (item) => not(test(item))));
}
