/** What a source lost, in order and bounded: a file that reports millions of losses fills no memory with them. */
import type { SourceLoss } from './source.ts';

const LIST_LIMIT = 1024;

export class LossLog {
  readonly list: SourceLoss[] = [];
  /** Is the input itself broken? */
  malformed = false;

  add(loss: SourceLoss): void {
    const last = this.list.at(-1);
    if (this.list.length < LIST_LIMIT || last === undefined) this.list.push(loss);
    else this.list[LIST_LIMIT - 1] = { ...loss, count: last.count + loss.count, exact: last.exact && loss.exact };
  }

  /** The input is cut (`truncated`) or broken (`malformed`): how much is missing cannot be known. */
  broken(source: 'truncated' | 'malformed', atNs: number, detail: string): void {
    this.malformed = true;
    this.add({ source, count: 1, exact: false, atNs, detail });
  }
}
