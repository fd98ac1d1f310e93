/**
 * Collects what one rule found. The same failure of the same pod is one finding, however many connections show it: the first one gives the proof, the others are named and counted.
 */
import type { Subject } from '../annotate/subject.ts';
import { idOf } from '../record/id.ts';
import type { FindingRecord, PathRecord } from '../record/record.ts';
import type { Scope } from '../world/world.ts';
import { placeName } from './quote.ts';

/** Flows and paths that one finding names; the proof says how many there were. */
export const NAMED_MAX = 256;

export interface FindingText {
  readonly severity: FindingRecord['severity'];
  readonly title: string;
  readonly proof: readonly string[];
  readonly fix: string;
}

interface Draft {
  readonly id: string;
  readonly text: FindingText;
  readonly flows: Set<string>;
  readonly paths: Set<string>;
  count: number;
  first: string;
  last: string;
}

export class Drafts {
  readonly #rule: string;
  readonly #drafts = new Map<string, Draft>();

  constructor(rule: string) {
    this.#rule = rule;
  }

  /**
   * @param of the namespace where it is wrong
   * @param key tells the failures of one namespace apart; together they make the id
   * @param flows the connections that show it, the first one first
   * @param text is asked for once
   */
  add(of: Scope, key: string, flows: readonly Subject[], paths: readonly PathRecord[], text: () => FindingText): void {
    const id = idOf(`${this.#rule}\n${of.pod === undefined ? `${of.node}\n` : ''}${placeName(of)}\n${key}`);
    let draft = this.#drafts.get(id);
    const [flow] = flows;
    if (draft === undefined) {
      draft = {
        id,
        text: text(),
        flows: new Set(),
        paths: new Set(),
        count: 0,
        first: flow?.record.first ?? '',
        last: flow?.record.first ?? '',
      };
      this.#drafts.set(id, draft);
    }
    draft.count++;
    if (flow !== undefined) {
      if (flow.record.first < draft.first) draft.first = flow.record.first;
      if (flow.record.first > draft.last) draft.last = flow.record.first;
    }
    for (const { record } of flows) if (draft.flows.size < NAMED_MAX) draft.flows.add(record.id);
    for (const path of paths) if (draft.paths.size < NAMED_MAX) draft.paths.add(path.id);
  }

  /** In the order in which they were found first. */
  records(): FindingRecord[] {
    return [...this.#drafts.values()].map(({ id, text, flows, paths, count, first, last }) => ({
      type: 'finding',
      id,
      rule: this.#rule,
      severity: text.severity,
      title: text.title,
      proof: count > 1 && first !== '' ? [...text.proof, `Seen ${count} times, first at ${first}, last at ${last}.`] : [...text.proof],
      fix: text.fix,
      flows: [...flows],
      paths: [...paths],
    }));
  }
}
