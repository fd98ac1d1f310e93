/** Every frame that a capture holds is counted: Wireshark's capinfos says how many there are. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { CaptureFileError } from '../../src/source/capture-file-error.ts';
import { needsReference, referencePath } from '../reference.ts';
import { replayed } from './replayed.ts';

const hasCapinfos = spawnSync('capinfos', ['-v']).status === 0;

function capturesUnder(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.pcap(ng)?$/.test(name))
    .map((name) => join(folder, name))
    .sort();
}

/** Packets and bytes by file; without those that capinfos cannot read. */
function capinfos(files: readonly string[]): Map<string, { packets: number; bytes: number }> {
  // -K: go on after a file that cannot be read.
  const { stdout } = spawnSync('capinfos', ['-c', '-d', '-M', '-T', '-r', '-K', ...files], { encoding: 'utf8', maxBuffer: 1 << 26 });
  const counted = new Map<string, { packets: number; bytes: number }>();
  for (const line of stdout.split('\n')) {
    const [file, packets, bytes] = line.split('\t');
    if (file !== undefined && /^\d+$/.test(packets ?? '')) counted.set(file, { packets: Number(packets), bytes: Number(bytes) });
  }
  return counted;
}

for (const folder of ['captures', 'wire'])
  test(
    `every capture of the reference's ${folder}: as many packets and bytes as capinfos counts`,
    hasCapinfos ? needsReference(folder) : { skip: 'SKIPPED: capinfos is not installed (Debian: wireshark-common)' },
    (t) => {
      const files = capturesUnder(referencePath(folder)!);
      const counted = capinfos(files);
      assert.ok(counted.size > 30, `capinfos could read ${counted.size} of ${files.length} files`);
      for (const [file, expected] of counted) {
        const { total } = replayed([file]);
        assert.deepEqual({ packets: total.packets, bytes: total.bytes }, expected, file);
      }
      t.diagnostic(`${counted.size} captures of ${files.length}`);
      for (const file of files.filter((name) => !counted.has(name)))
        try {
          assert.ok(replayed([file]).total.packets >= 0);
        } catch (error) {
          assert.ok(error instanceof CaptureFileError, `${file}: ${error}`);
        }
    },
  );
