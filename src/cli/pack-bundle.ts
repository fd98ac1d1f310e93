/** A folder as a .tar or .tar.gz: its files one after the other, for their owner only. */
import { createReadStream, createWriteStream, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { RecordFailure } from '../daemon/evidence/record-failure.ts';
import { tarEnd, tarHeader, tarPadding } from '../daemon/evidence/tar-entry.ts';

/** Where an archive of this name is recorded to before it is packed; `undefined` where it is no archive. */
export function unpackedName(path: string): string | undefined {
  return /\.(tar|tar\.gz|tgz)$/.test(path) ? path.replace(/\.(tar|tar\.gz|tgz)$/, '') : undefined;
}

/** Packs the folder and removes it. When that fails the folder stays as it is. @throws {RecordFailure} */
export async function packBundle(folder: string, archive: string): Promise<void> {
  const beside = `${archive}.new`;
  try {
    const out = createWriteStream(beside, { flags: 'wx', mode: 0o600 });
    if (archive.endsWith('.tar')) await pipeline(Readable.from(entries(folder)), out);
    else await pipeline(Readable.from(entries(folder)), createGzip({ level: 1 }), out);
    renameSync(beside, archive);
  } catch (cause) {
    rmSync(beside, { force: true });
    throw new RecordFailure(archive, cause);
  }
  rmSync(folder, { recursive: true, force: true });
}

async function* entries(folder: string): AsyncGenerator<Uint8Array, void, undefined> {
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort()) {
    const path = join(folder, name);
    const stats = statSync(path);
    if (!stats.isFile()) continue;
    yield tarHeader({ name, length: stats.size, modified: Math.floor(stats.mtimeMs / 1000) });
    for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) yield chunk;
    yield tarPadding(stats.size);
  }
  yield tarEnd;
}
