/**
 * The reference data lies outside the repository (`../shared/reference`, or SIDETRACE_REFERENCE). Tests that read it say so where it is absent; in CI its absence fails.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';

const root = process.env.SIDETRACE_REFERENCE ?? '../shared/reference';

/** The path of reference data, or `undefined` where it is absent. @throws {Error} in CI, where it must be there */
export function referencePath(...parts: string[]): string | undefined {
  const path = join(root, ...parts);
  if (existsSync(path)) return path;
  if (process.env.CI) throw new Error(`Cannot test against "${path}": the reference data must be there in CI, it is absent`);
  return undefined;
}

/** Options for `test()`: skips, with the reason, where the reference data is absent. */
export function needsReference(...parts: string[]): { skip: string | false } {
  const path = referencePath(...parts);
  return { skip: path === undefined ? `SKIPPED: the reference data "${join(root, ...parts)}" is absent` : false };
}
