/** `sidetrace observe`, as a user runs it: its JSON lines in a file, and what they come to. */
import type { ChildProcess } from 'node:child_process';
import { createReadStream, existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import type { AnyRecord, FlowRecord, LostRecord, PathRecord } from '../../src/record/record.ts';
import { ended, linesSince, start } from './lab.ts';

const program = resolve('dist/src/cli/main.js');

export interface Observed {
  /** The last word on each. */
  readonly flows: FlowRecord[];
  readonly paths: PathRecord[];
  readonly lost: LostRecord[];
  readonly lines: number;
}

export class Observer {
  readonly file: string;
  readonly #child: ChildProcess;

  /** @param servers as `--server` takes them */
  constructor(name: string, folder: string, servers: readonly string[], words: readonly string[] = []) {
    this.file = join(folder, `observed.${name}.jsonl`);
    const argv = [
      process.execPath,
      program,
      'observe',
      '--follow',
      '-o',
      'json',
      ...servers.flatMap((server) => ['--server', server]),
      ...words,
    ];
    this.#child = start(argv, { out: this.file, error: `${this.file}.error` });
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** What it said beside the records. */
  messages(): string {
    return existsSync(`${this.file}.error`) ? linesSince(`${this.file}.error`, 0).join('\n') : '';
  }

  /** What it has printed, while it runs. */
  soFar(): AnyRecord[] {
    return linesSince(this.file, 0).map((line) => JSON.parse(line));
  }

  async stop(): Promise<void> {
    if (this.isRunning) this.#child.kill('SIGINT');
    await ended(this.#child, 20);
  }

  async read(): Promise<Observed> {
    const flows = new Map<string, FlowRecord>();
    const paths = new Map<string, PathRecord>();
    const lost: LostRecord[] = [];
    let lines = 0;
    for await (const line of createInterface({ input: createReadStream(this.file, 'utf8'), crlfDelay: Number.POSITIVE_INFINITY })) {
      if (line === '') continue;
      lines++;
      const record: AnyRecord = JSON.parse(line);
      if (record.type === 'flow') flows.set(`${record.node} ${record.id}`, record);
      else if (record.type === 'path') paths.set(record.id, record);
      else if (record.type === 'lost') lost.push(record);
    }
    return { flows: [...flows.values()], paths: [...paths.values()], lost, lines };
  }
}
