/** Why a recording cannot be kept any more: the disk is full, read-only, gone. */
export class RecordFailure extends Error {
  override readonly name = 'RecordFailure';
  /** The system's word: `ENOSPC`. */
  readonly reason: string;

  constructor(path: string, cause: unknown) {
    const reason = (cause as NodeJS.ErrnoException).code ?? String(cause);
    super(`Cannot write "${path}": a place with room that may be written is wanted, the system says ${reason}`, { cause });
    this.reason = reason;
  }
}
