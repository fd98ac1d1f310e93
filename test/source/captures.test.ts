import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { CaptureFileError } from '../../src/source/capture-file-error.ts';
import { openCapture } from '../../src/source/open.ts';
import { needsReference, referencePath } from '../reference.ts';
import { drain, readBytes } from './drain.ts';

const folder = referencePath('captures');

function capturesOf(...folders: string[]): string[] {
  return folders.flatMap((name) =>
    readdirSync(join(folder!, name))
      .filter((file) => /\.pcap(ng)?$/.test(file))
      .map((file) => join(folder!, name, file)),
  );
}

function capinfosMissing(): string | false {
  try {
    execFileSync('capinfos', ['--version'], { stdio: 'ignore' });
    return false;
  } catch {
    return 'SKIPPED: "capinfos" is absent; it comes with the Debian package wireshark-common';
  }
}

test('every reference capture holds as many frames and bytes as capinfos counts', {
  skip: needsReference('captures').skip || capinfosMissing(),
}, () => {
  for (const path of capturesOf('zeek', 'pcapng', 'sll2')) {
    const frames = drain(openCapture(path));
    const [, packets, bytes] = execFileSync('capinfos', ['-T', '-r', '-M', '-c', '-d', path], { encoding: 'utf8' }).trim().split('\t');
    assert.deepEqual([frames.length, frames.reduce((sum, f) => sum + f.wire, 0)], [Number(packets), Number(bytes)], path);
  }
});

test('the pcapng test files hold the blocks that their author lists', needsReference('captures', 'pcapng'), () => {
  for (const path of capturesOf('pcapng')) {
    const listed = readFileSync(path.replace(/pcapng$/, 'txt'), 'utf8');
    const count = (block: string) => Number(new RegExp(`^\\s${block}: (\\d+)$`, 'm').exec(listed)?.[1] ?? 0);
    const source = openCapture(path);
    const frames = drain(source);
    assert.equal(frames.length, count('EPB') + count('SPB') + count('PB'), path);
    assert.equal(source.interfaces.length, count('IDB'), path);
    assert.equal(source.malformed, false, path);
  }
});

test('the options of the pcapng test files are read', needsReference('captures', 'pcapng'), () => {
  const options = openCapture(join(folder!, 'pcapng', 'le-009.pcapng'), { keepComments: true });
  assert.ok(drain(options).some((f) => f.comments !== undefined));
  const statistics = openCapture(join(folder!, 'pcapng', 'le-013.pcapng'));
  drain(statistics);
  assert.deepEqual(
    statistics.losses.map((l) => [l.source, l.count]),
    [['interface', 10]],
  );
  const names = openCapture(join(folder!, 'pcapng', 'le-015.pcapng'));
  drain(names);
  assert.ok((names.names?.size ?? 0) > 0);
});

test(
  'every small reference capture, cut at every byte, gives a prefix of its frames and no other error than the documented one',
  needsReference('captures'),
  () => {
    let cuts = 0;
    for (const path of capturesOf('zeek', 'pcapng', 'sll2')) {
      const bytes = readFileSync(path);
      if (bytes.length > 3000) continue;
      const whole = readBytes(bytes, { blockLength: 4096 }).frames;
      for (let cut = 0; cut < bytes.length; cut++) {
        cuts++;
        try {
          const { frames, source } = readBytes(bytes.subarray(0, cut), { blockLength: 512 });
          assert.deepEqual(frames, whole.slice(0, frames.length));
          assert.equal(
            source.malformed,
            source.losses.some((l) => l.source === 'truncated'),
          );
        } catch (error) {
          assert.ok(error instanceof CaptureFileError && cut < 28, `${path} cut at ${cut}: ${error}`);
        }
      }
    }
    assert.ok(cuts > 20_000, `${cuts}`);
  },
);
