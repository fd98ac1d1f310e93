/** The reference captures that the sweeps, the fuzz run and the comparison with tshark go over. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { referencePath } from '../reference.ts';
import { readFrames, type TestFrame } from './capture-reader.ts';

/** Paths of all capture files, in a fixed order; empty where the reference data is absent. */
export function capturePaths(): string[] {
  return ['captures', 'wire'].flatMap((folder) => {
    const root = referencePath(folder);
    if (root === undefined) return [];
    const names = readdirSync(root, { recursive: true }) as string[];
    return names
      .filter((name) => /\.(pcap|pcapng)$/.test(name))
      .sort()
      .map((name) => join(root, name));
  });
}

export function captureFrames(): TestFrame[] {
  return capturePaths().flatMap(readFrames);
}
