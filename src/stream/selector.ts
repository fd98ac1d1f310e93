/** Makes the messages of one selection: what a judge lets pass, cut from the batches, with the flows of paths in front where they are wanted. */
import type { PathRecord } from '../record/record.ts';
import { type Batch, rowsMessage } from './batch.ts';
import { Judge, type Knowledge } from './judge.ts';
import { Outgoing } from './outgoing.ts';
import type { Selection } from './selection.ts';

/** Flows of which is known that they were sent; when there are more, some are sent again. */
const SENT_MAX = 16_384;

export class Selector {
  readonly selection: Selection;
  readonly judge: Judge;
  readonly #knowledge: Knowledge;
  readonly #send: (message: Outgoing) => void;
  readonly #sent = new Set<string>();
  #accounted: number;
  /** Everything up to this record has been judged. */
  covered: number;
  /** Rows before these numbers are left out, by type: of `last N`. */
  from: { readonly [type: string]: number } | undefined;

  /** @param covered number of the last record that is not looked at */
  constructor(selection: Selection, knowledge: Knowledge, covered: number, send: (message: Outgoing) => void) {
    this.selection = selection;
    this.#knowledge = knowledge;
    this.#send = send;
    this.covered = covered;
    this.#accounted = covered;
    this.judge = new Judge(selection, knowledge, (batch, rows, last) => this.#judged(batch, rows, last));
  }

  /** Somebody listens who has seen nothing yet: flows of paths are sent again. */
  forget(): void {
    this.#sent.clear();
  }

  /** The records up to this one will never be looked at. */
  skip(last: number): void {
    this.covered = last;
    this.#accounted = last;
  }

  #judged(batch: Batch, judged: readonly number[], last: number): void {
    this.covered = last;
    const from = this.from?.[batch.type];
    const rows = from === undefined ? judged : judged.filter((row) => batch.seq + row >= from);
    if (rows.length === 0) return;
    if (this.selection.context) this.#context(batch, rows);
    const seq = this.#accounted + 1;
    this.#accounted = last;
    this.#send(rows.length === batch.length && seq === batch.seq && last === batch.last ? batch.outgoing() : batch.select(rows, seq, last));
  }

  #context(batch: Batch, rows: readonly number[]): void {
    if (batch.type === 'flow') {
      for (const row of rows) this.#sent.add((batch.record(row) as { readonly id: string }).id);
      if (this.#sent.size > SENT_MAX) this.#sent.clear();
      return;
    }
    if (batch.type !== 'path') return;
    const flows: Buffer[] = [];
    for (const row of rows)
      for (const { flow } of (batch.record(row) as PathRecord).legs) {
        if (this.#sent.has(flow)) continue;
        const encoded = this.#knowledge.index.flowRow(flow);
        if (encoded === undefined) continue;
        this.#sent.add(flow);
        flows.push(encoded);
      }
    if (flows.length > 0) this.#send(new Outgoing(rowsMessage({ message: 'context', type: 'flow' }, flows)));
  }
}
