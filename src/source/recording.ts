/** What a path stands for: bundles lie in folders of bundles, too (a recording of several nodes). */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { MANIFEST } from './bundle.ts';

const ARCHIVE = /\.(tar|tar\.gz|tgz|tar\.zst)$/;
/** Nodes of one recording. */
const BUNDLES_MAX = 1000;

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

function exists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}

/** The bundles in a folder that is none itself, sorted by name (a folder goes before an archive of the same name); anything else stands for itself. */
export function expandRecording(path: string): string[] {
  if (path === '-' || !isFolder(path) || exists(join(path, MANIFEST))) return [path];
  const found = new Map<string, string>();
  for (const name of readdirSync(path).sort()) {
    const inner = join(path, name);
    const bare = name.replace(ARCHIVE, '');
    if (!found.has(bare) && (ARCHIVE.test(name) || (isFolder(inner) && exists(join(inner, MANIFEST))))) found.set(bare, inner);
  }
  return found.size === 0 ? [path] : [...found.values()].slice(0, BUNDLES_MAX);
}
