/** Records that were saved with `-o msgpack` or `-o json`, read back piece by piece. */
import { statSync } from 'node:fs';
import { ExtentError, VALUE_BYTES_MAX, valueEnd } from '../output/msgpack-extent.ts';
import { LINE_BYTES_MAX, savedJson } from '../output/saved-json.ts';
import { MsgpackRecords } from '../output/saved-msgpack.ts';
import type { ReplayEnd, ReplayProgress } from '../pipeline.ts';
import type { AnyRecord } from '../record/record.ts';
import { BlockWindow } from '../source/block-window.ts';
import { type ByteFeed, FileFeed, type PeekFeed } from '../source/byte-feed.ts';
import { systemReason } from '../source/capture-file-error.ts';
import { describeBytes } from '../source/known-formats.ts';
import { isPcap } from '../source/pcap.ts';
import { isPcapng } from '../source/pcapng.ts';
import { isTar } from '../source/tar.ts';
import { unpack } from '../source/unpack.ts';
import { InputError } from './failure.ts';

export type SavedForm = 'msgpack' | 'json';

const HEAD_LENGTH = 512;
const LINE_FEED = 0x0a;
/** Problems told one by one; more are counted. */
const TOLD = 5;

/** What could not be used of an input, in sentences. */
export class Problems {
  readonly #told: string[] = [];
  #count = 0;

  add(sentence: string): void {
    if (++this.#count <= TOLD) this.#told.push(sentence);
  }

  get any(): boolean {
    return this.#count > 0;
  }

  get sentences(): readonly string[] {
    return this.#count > TOLD ? [...this.#told, `${this.#count - TOLD} more of this kind`] : this.#told;
  }
}

/** Saved records in a file or on standard input (`-`), also within gzip or zstd. Which form they have is told by their bytes. */
export class SavedRecords {
  readonly form: SavedForm;
  readonly problems = new Problems();
  readonly #file: ByteFeed;
  readonly #window: BlockWindow;
  readonly #name: string;

  /** @throws {InputError} when it cannot be read, or begins as no saved records do */
  constructor(path: string) {
    this.#file = openFile(path);
    this.#name = this.#file.name;
    try {
      const { feed } = unpack(this.#file);
      this.form = this.#formOf(feed);
      this.#window = new BlockWindow(feed);
    } catch (error) {
      this.#file.close();
      throw error;
    }
  }

  /** Reads to the end, or until told to stop (`next(true)`). What cannot be used is left out and gathers in `problems`. */
  *read(write: (record: AnyRecord) => void): Generator<ReplayProgress, ReplayEnd, boolean | undefined> {
    let lost = false;
    const take = (record: AnyRecord): void => {
      if (record.type === 'lost') lost = true;
      write(record);
    };
    try {
      const stopped = yield* this.form === 'json' ? this.#lines(take) : this.#values(take);
      const { fault } = this.#window;
      if (fault !== undefined && !stopped) this.problems.add(fault);
      return { malformed: this.problems.any, lost, interrupted: stopped };
    } finally {
      this.close();
    }
  }

  close(): void {
    this.#window.close();
    this.#file.close();
  }

  #formOf(feed: PeekFeed): SavedForm {
    const head = feed.peek(HEAD_LENGTH);
    const wanted = `Cannot show "${this.#name}": records of "-o msgpack" or "-o json" are wanted`;
    if (head.length === 0) throw new InputError(feed.fault ?? `${wanted}, it is empty`);
    const first = head.findIndex((byte) => byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09);
    if (head[first] === 0x7b) return 'json';
    // The hello is a map.
    if ((head[0]! >= 0x80 && head[0]! < 0x90) || head[0] === 0xde || head[0] === 0xdf) return 'msgpack';
    if (isPcap(head) || isPcapng(head) || isTar(head)) throw new InputError(`${wanted}, it is a recording: "sidetrace replay" reads it`);
    throw new InputError(`${wanted}, it is ${describeBytes(head)}`);
  }

  *#lines(write: (record: AnyRecord) => void): Generator<ReplayProgress, boolean, boolean | undefined> {
    const window = this.#window;
    for (let number = 1; ; number++) {
      const end = this.#lineEnd();
      if (end === undefined) {
        this.problems.add(
          `Cannot show what follows line ${number - 1} of "${this.#name}": a line of at most ${LINE_BYTES_MAX} bytes is wanted, it is longer`,
        );
        return false;
      }
      const ended = end === window.end;
      if (ended && window.start === end) return false;
      const found = savedJson(Buffer.from(window.bytes.buffer, window.start, end - window.start).toString('utf8'));
      window.start = ended ? end : end + 1;
      if (typeof found === 'string')
        this.problems.add(
          `Cannot show line ${number} of "${this.#name}": ${found}${ended ? '; the file ends here, without an end of line' : ''}`,
        );
      else if (found !== undefined) write(found);
      if (number % LINES_A_TURN === 0 && (yield this.#progress) === true) return true;
    }
  }

  /** Where the next line ends in the window: at its line feed, or at the end of the input. `undefined`: it is too long. */
  #lineEnd(): number | undefined {
    const window = this.#window;
    for (let searched = 0; ; ) {
      const at = window.bytes.subarray(0, window.end).indexOf(LINE_FEED, window.start + searched);
      if (at !== -1) return at;
      searched = window.end - window.start;
      if (searched > LINE_BYTES_MAX) return undefined;
      if (!window.fill(searched + 1)) return window.end;
    }
  }

  *#values(write: (record: AnyRecord) => void): Generator<ReplayProgress, boolean, boolean | undefined> {
    const window = this.#window;
    let begin = 0;
    const tell = (what: string): void => this.problems.add(`Cannot show all of "${this.#name}": at byte ${begin} ${what}`);
    const records = new MsgpackRecords(write, tell);
    for (;;) {
      begin = window.offset;
      let end: number | undefined;
      try {
        end = this.#valueEnd();
      } catch (error) {
        if (!(error instanceof ExtentError)) throw error;
        tell(error.message);
        return false;
      }
      if (end === undefined) {
        const rest = window.end - window.start;
        if (rest > 0) tell(`a whole value is wanted, the file ends ${rest} bytes behind its begin`);
        return false;
      }
      const understood = records.take(window.bytes.subarray(window.start, end));
      window.start = end;
      if (!understood) return false;
      if ((yield this.#progress) === true) return true;
    }
  }

  /** Where the next value ends in the window; `undefined` when the input ends within it, or before it. */
  #valueEnd(): number | undefined {
    const window = this.#window;
    for (;;) {
      const end = valueEnd(window.bytes, window.start, window.end);
      if (end !== undefined) return end;
      const have = window.end - window.start;
      if (have > VALUE_BYTES_MAX) throw new ExtentError(`a value of at most ${VALUE_BYTES_MAX} bytes is wanted, it is longer`);
      // Half as much again, so that a long value is not looked through for each piece of it.
      if (!window.fill(have + (have >> 1) + 1) && window.end - window.start === have) return undefined;
    }
  }

  get #progress(): ReplayProgress {
    const { taken, size } = this.#file;
    return { bytesRead: taken, bytesTotal: size ?? 0 };
  }
}

const LINES_A_TURN = 64;

function openFile(path: string): FileFeed {
  if (path !== '-' && statSync(path, { throwIfNoEntry: false })?.isDirectory())
    throw new InputError(`Cannot open "${path}": a file of saved records is wanted, it is a folder ("sidetrace replay" reads recordings)`);
  try {
    return new FileFeed(path);
  } catch (error) {
    const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
    throw new InputError(`Cannot open "${path}": a file of saved records is wanted, the system says ${systemReason(cause)}`, { cause });
  }
}
