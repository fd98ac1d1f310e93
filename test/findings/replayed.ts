/** Replays recordings in this process and gives the records, each recording once a run. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type InputFile, replay } from '../../src/pipeline.ts';
import type { AnyRecord, FindingRecord } from '../../src/record/record.ts';

const kept = new Map<string, readonly AnyRecord[]>();

/** Folders of captures/ that hold a recording. */
export const situations = readdirSync('captures').filter((name) => existsSync(join('captures', name, 'README.md')));

export function recordsOf(path: string, files: readonly InputFile[] = []): readonly AnyRecord[] {
  const key = JSON.stringify([path, files]);
  let records = kept.get(key);
  if (records === undefined) {
    const found: AnyRecord[] = [];
    const run = replay({ captures: [path], files, redact: true }, (record) => found.push(record));
    while (run.next().done !== true);
    // What leaves is JSON: absent fields are absent.
    records = JSON.parse(JSON.stringify(found)) as AnyRecord[];
    kept.set(key, records);
  }
  return records;
}

export function findingsOf(path: string, files: readonly InputFile[] = []): FindingRecord[] {
  return recordsOf(path, files).filter((record) => record.type === 'finding');
}
