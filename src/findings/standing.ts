/** Which connections stood at a moment: asked often, so in the logarithm of their number. */
import type { Subject } from '../annotate/subject.ts';

export class Standing {
  /** By first packet. */
  readonly #subjects: readonly Subject[];
  /** Of the connections up to this one, the one that ended last. */
  readonly #longest: Subject[] = [];

  constructor(subjects: Iterable<Subject>) {
    this.#subjects = [...subjects].sort((a, b) => a.flow.firstNs - b.flow.firstNs);
    let longest: Subject | undefined;
    for (const subject of this.#subjects) {
      if (longest === undefined || subject.flow.lastNs > longest.flow.lastNs) longest = subject;
      this.#longest.push(longest);
    }
  }

  /** One that began before `untilNs` and was seen at or after `fromNs`. */
  find(fromNs: number, untilNs: number): Subject | undefined {
    let low = 0;
    let high = this.#subjects.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#subjects[middle]!.flow.firstNs < untilNs) low = middle + 1;
      else high = middle;
    }
    const longest = this.#longest[low - 1];
    return longest !== undefined && longest.flow.lastNs >= fromNs ? longest : undefined;
  }
}
