/** A recording as the pipeline tells it, for the tests that hold it against what the kernel and Envoy said of the same minutes. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { type InputFile, type ReplayEnd, replay } from '../../src/pipeline.ts';
import type { AnyRecord, FlowRecord, LostRecord, PathRecord, TotalRecord } from '../../src/record/record.ts';
import type { Bundle } from '../../src/source/bundle.ts';
import { openInput } from '../../src/source/input.ts';
import { expandRecording } from '../../src/source/recording.ts';
import { writeMember } from '../source/write-tar.ts';

export interface Replayed {
  /** In the order in which they left. */
  readonly records: readonly AnyRecord[];
  readonly flows: readonly FlowRecord[];
  readonly paths: readonly PathRecord[];
  readonly lost: readonly LostRecord[];
  readonly total: TotalRecord;
  readonly end: ReplayEnd;
}

/** Replays everything at once. Nothing is redacted but what the defaults redact. */
export function replayed(captures: readonly string[], files: readonly InputFile[] = []): Replayed {
  const records: AnyRecord[] = [];
  const run = replay({ captures, files, redact: true }, (record) => records.push(record));
  let step = run.next();
  while (step.done !== true) step = run.next();
  const total = records.at(-1);
  if (total?.type !== 'total')
    throw new Error(`Cannot judge "${captures.join('", "')}": the last record must be the total, it is ${total?.type}`);
  return {
    records,
    flows: records.filter((record) => record.type === 'flow'),
    paths: records.filter((record) => record.type === 'path'),
    lost: records.filter((record) => record.type === 'lost'),
    total,
    end: step.value,
  };
}

/** The bundles of a recording, opened; to be closed by the caller. */
export function bundlesOf(recording: string): Bundle[] {
  return expandRecording(recording).flatMap((path) => {
    const input = openInput(path);
    return input.kind === 'bundle' ? [input.bundle] : [];
  });
}

const BLOCK = 512;

/** The same archive, but its manifest knows nothing of conntrack. */
function forgetConntrack(archive: Uint8Array): Uint8Array {
  const parts: Uint8Array[] = [];
  const decoder = new TextDecoder();
  for (let at = 0; at + BLOCK <= archive.length; ) {
    const name = decoder.decode(archive.subarray(at, at + 100)).replace(/\0.*$/s, '');
    const size = Number.parseInt(decoder.decode(archive.subarray(at + 124, at + 136)), 8) || 0;
    const next = at + BLOCK + Math.ceil(size / BLOCK) * BLOCK;
    if (basename(name) === 'bundle.json') {
      const manifest = JSON.parse(decoder.decode(archive.subarray(at + BLOCK, at + BLOCK + size)));
      for (const namespace of manifest.namespaces)
        namespace.files = namespace.files.filter((file: { kind: string }) => !file.kind.startsWith('conntrack'));
      parts.push(writeMember({ name, data: JSON.stringify(manifest) }));
    } else parts.push(archive.subarray(at, next));
    at = next;
  }
  return Buffer.concat(parts);
}

/** Calls `use` with the paths of the recording's bundles as they would be had nobody recorded conntrack. */
export function withoutConntrack<T>(recording: string, use: (paths: readonly string[]) => T): T {
  const folder = mkdtempSync(join(tmpdir(), 'sidetrace-test-'));
  try {
    return use(
      expandRecording(recording).map((path) => {
        const bare = join(folder, basename(path).replace(/\.gz$/, ''));
        writeFileSync(bare, forgetConntrack(gunzipSync(readFileSync(path))));
        return bare;
      }),
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
}
