/** Is the optional package `cap` there, and compiled? */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

export type CapState = 'built' | 'unbuilt' | 'absent';

export function capState(): CapState {
  try {
    const { resolve } = createRequire(import.meta.url);
    // its main file; resolving loads nothing
    return existsSync(join(dirname(resolve('cap')), '..', 'build', 'Release', 'cap.node')) ? 'built' : 'unbuilt';
  } catch {
    return 'absent';
  }
}
