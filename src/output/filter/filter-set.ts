/**
 * The filters of one command line: the same filter given twice means either, different filters mean both, and each that was negated must not match.
 */
import type { Filter, FilterContext, FlowTest, Subject } from './filter.ts';

export class FilterSet {
  readonly #allowed = new Map<string, FlowTest[]>();
  readonly #denied: FlowTest[] = [];
  /** One of them looks at paths: what passes is known when they are. */
  looksAtPaths = false;

  /** @throws {FilterError} when the value is none that the filter knows */
  add(filter: Filter, value: string, negated: boolean): void {
    const test = filter.parse(value);
    const looksAt = typeof filter.looksAt === 'string' ? filter.looksAt : filter.looksAt(value);
    if (looksAt === 'path') this.looksAtPaths = true;
    if (negated) this.#denied.push(test);
    else {
      const tests = this.#allowed.get(filter.name);
      if (tests === undefined) this.#allowed.set(filter.name, [test]);
      else tests.push(test);
    }
  }

  get empty(): boolean {
    return this.#allowed.size === 0 && this.#denied.length === 0;
  }

  passes(subject: Subject, context: FilterContext): boolean {
    for (const tests of this.#allowed.values()) if (!tests.some((test) => test(subject, context))) return false;
    return !this.#denied.some((test) => test(subject, context));
  }
}
