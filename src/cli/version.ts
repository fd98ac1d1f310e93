/** What this is, as package.json says. */
import { readFileSync } from 'node:fs';

let known: string | undefined;

/** `0.1.0`. The package lies above the folder of the compiled program, or of the sources. */
export function version(): string {
  if (known !== undefined) return known;
  for (const place of ['../../package.json', '../../../package.json'])
    try {
      const { name, version } = JSON.parse(readFileSync(new URL(place, import.meta.url), 'utf8')) as { name?: unknown; version?: unknown };
      if (name === 'sidetrace' && typeof version === 'string') {
        known = version;
        return version;
      }
    } catch {
      // not there: the next place
    }
  known = 'unknown';
  return known;
}
