/** Evidence of a daemon: a bundle without packets, fetched to a file that is for us alone. */
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Bundle, MANIFEST } from '../source/bundle.ts';
import { TarFiles } from '../source/bundle-files.ts';
import { FileBytes } from '../source/stored-bytes.ts';
import { askDaemon } from './daemon-http.ts';
import { InputError } from './failure.ts';
import type { Server } from './server-options.ts';

const EVIDENCE_LIMIT = 2 * 1024 ** 3;
const EVIDENCE_MS = 180_000;

/** The path of a pod's evidence, or of a namespace's. */
export function evidencePath(of: { readonly pod: string } | { readonly netns: string }): string {
  if ('netns' in of) return `/v1/netns/${encodeURIComponent(of.netns)}`;
  const slash = of.pod.indexOf('/');
  const [namespace, name] = slash === -1 ? ['default', of.pod] : [of.pod.slice(0, slash), of.pod.slice(slash + 1)];
  return `/v1/pods/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`;
}

export interface FetchedEvidence {
  /** A tar archive. */
  readonly path: string;
  /** Takes it away. */
  remove(): void;
}

/** @throws {InputError} when it is cut, too long or too slow; as {@link askDaemon} otherwise */
export async function fetchEvidence(server: Server, path: string): Promise<FetchedEvidence> {
  const folder = mkdtempSync(join(tmpdir(), 'sidetrace-evidence-'));
  const file = join(folder, 'evidence.tar');
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  const cut = (state: string): InputError => new InputError(`Cannot take the evidence of "${server.name}": ${state}`);
  try {
    const fd = openSync(file, 'wx', 0o600);
    try {
      const answer = await askDaemon(server, path, { signal: AbortSignal.timeout(EVIDENCE_MS) });
      let length = 0;
      for await (const chunk of answer as AsyncIterable<Buffer>) {
        length += chunk.length;
        if (length > EVIDENCE_LIMIT) throw cut(`at most ${EVIDENCE_LIMIT} bytes are wanted, there are more`);
        for (let at = 0; at < chunk.length; ) at += writeSync(fd, chunk, at);
      }
      if (!answer.complete) throw cut(`it was cut after ${length} bytes`);
    } finally {
      closeSync(fd);
    }
    return { path: file, remove };
  } catch (error) {
    remove();
    if (error instanceof Error && (error.name === 'TimeoutError' || error.name === 'AbortError'))
      throw cut(`an end within ${EVIDENCE_MS / 1000} s is wanted`);
    if ((error as NodeJS.ErrnoException).code === 'ECONNRESET' && !(error instanceof InputError)) throw cut('it was cut');
    throw error;
  }
}

/** @throws {CaptureFileError} when it is none */
export function openEvidence({ path }: FetchedEvidence): Bundle {
  return new Bundle(new TarFiles(new FileBytes(path), MANIFEST));
}
