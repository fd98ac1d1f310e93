/** `BUNDLE/POD` on the command line. */
import { type Stats, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { MANIFEST } from '../source/bundle.ts';

/** What lies there; nothing where a part of the path is a file (`node-a.tar.gz/client`). */
export function statsOf(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOTDIR') return undefined;
    throw error;
  }
}

function exists(path: string): boolean {
  return statsOf(path) !== undefined;
}

/** The folder of a namespace within a bundle: it is looked at as that namespace. */
function isInBundle(path: string): boolean {
  return statsOf(path)?.isDirectory() === true && !exists(join(path, MANIFEST)) && exists(join(dirname(path), MANIFEST));
}

/** `BUNDLE/POD` taken apart: the longest part that exists is the bundle, the rest (at most `namespace/name`) the pod. */
export function splitSubject(subject: string): { path: string; pod: string | undefined } {
  if (subject === '-' || (exists(subject) && !isInBundle(subject))) return { path: subject, pod: undefined };
  const parts = subject.replace(/(?<=.)\/+$/, '').split('/');
  for (let taken = 1; taken <= 2 && taken < parts.length; taken++) {
    const path = parts.slice(0, -taken).join('/');
    if (path !== '' && exists(path)) return { path, pod: parts.slice(-taken).join('/') };
  }
  return { path: subject, pod: undefined };
}
