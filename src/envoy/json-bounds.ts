/** Bounds on JSON before it is parsed: a hostile text of a few bytes a value must not become gigabytes of objects. */
import { EnvoyConfigError } from './json.ts';

/** Characters; Envoys of very large meshes print some tens of MiB. */
const MAX_LENGTH = 96 * 1024 * 1024;
/** Below this a text cannot hold enough values to hurt, so they are not counted. */
const COUNTED_LENGTH = 4 * 1024 * 1024;
const MAX_VALUES = 2_200_000;
const MAX_DEPTH = 200;

/** @throws {EnvoyConfigError} when the text is too long, holds too many values, or nests too deep */
export function checkStructure(text: string, what: string): void {
  if (text.length > MAX_LENGTH)
    throw new EnvoyConfigError(
      `Cannot read ${what} of ${Math.round(text.length / 1048576)} MiB: at most ${MAX_LENGTH / 1048576} MiB are read`,
    );
  let depth = 0;
  let values = 0;
  const counted = text.length > COUNTED_LENGTH;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === 0x22) {
      // Inside a string nothing counts. indexOf is far quicker than looking at each character.
      for (;;) {
        i = text.indexOf('"', i + 1);
        if (i === -1) return;
        let backslashes = 0;
        while (text.charCodeAt(i - 1 - backslashes) === 0x5c) backslashes++;
        if (backslashes % 2 === 0) break;
      }
    } else if (c === 0x7b || c === 0x5b) {
      if (++depth > MAX_DEPTH)
        throw new EnvoyConfigError(`Cannot read ${what}: at most ${MAX_DEPTH} levels are read, character ${i} is deeper`);
      values++;
    } else if (c === 0x7d || c === 0x5d) depth--;
    else if (c === 0x2c) values++;
    if (counted && values > MAX_VALUES)
      throw new EnvoyConfigError(`Cannot read ${what}: at most ${MAX_VALUES} values are read, it holds more`);
  }
}
