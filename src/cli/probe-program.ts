/** Where sidetrace-probe lies, when it is to be started. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Built in the source tree; as packages and images install it. */
export const probePlaces: readonly string[] = [
  fileURLToPath(new URL('../../../native/build/sidetrace-probe', import.meta.url)),
  '/usr/local/bin/sidetrace-probe',
  '/usr/bin/sidetrace-probe',
  '/usr/libexec/sidetrace-probe',
];

/** The first that is there. */
export function findProbeProgram(): string | undefined {
  return probePlaces.find((path) => existsSync(path));
}
