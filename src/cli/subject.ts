/** `BUNDLE/POD` on the command line. */
import { statSync } from 'node:fs';

function exists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}

/** `BUNDLE/POD` taken apart: the longest part that exists is the bundle, the rest (at most `namespace/name`) the pod. */
export function splitSubject(subject: string): { path: string; pod: string | undefined } {
  if (subject === '-' || exists(subject)) return { path: subject, pod: undefined };
  const parts = subject.split('/');
  for (let taken = 1; taken <= 2 && taken < parts.length; taken++) {
    const path = parts.slice(0, -taken).join('/');
    if (path !== '' && exists(path)) return { path, pod: parts.slice(-taken).join('/') };
  }
  return { path: subject, pod: undefined };
}
