/**
 * What was built of large texts, kept as far as there is room: what was not used for longest is forgotten, and built again when it is asked for again.
 * Two generations: when the younger is full it becomes the older, and what is still used moves over.
 */

/** JSON values; with what is read from it, one takes about a hundred bytes. */
const MAX_VALUES = 800_000;
/** What stands for a value takes room, however small it is. */
const OVERHEAD_VALUES = 16;

interface Built {
  readonly it: unknown;
  readonly values: number;
}

export class BuiltValues {
  readonly #limit: number;
  #young = new Map<object, Built>();
  #old = new Map<object, Built>();
  #youngValues = 0;

  /** @param limit JSON values that are kept, about */
  constructor(limit = MAX_VALUES) {
    this.#limit = limit;
  }

  /**
   * What stands for `key`, built when it is not there.
   *
   * @param values how many JSON values it was made of
   */
  get<T>(key: object, build: () => T, values: () => number): T {
    const young = this.#young.get(key);
    if (young !== undefined) return young.it as T;
    const old = this.#old.get(key);
    const built = old ?? { it: build(), values: values() + OVERHEAD_VALUES };
    if (this.#youngValues + built.values > this.#limit / 2) {
      this.#old = this.#young;
      this.#young = new Map();
      this.#youngValues = 0;
    }
    this.#young.set(key, built);
    this.#youngValues += built.values;
    return built.it as T;
  }
}
