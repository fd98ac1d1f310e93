/** Reads back what json.ts writes: one record a line. */
import type { AnyRecord } from '../record/record.ts';
import { recordMisfit } from '../record/record-shape.ts';
import { misfitText } from '../record/shape.ts';

/** Bytes of one line; records are far shorter. */
export const LINE_BYTES_MAX = 4 * 1024 * 1024;

/** @returns the record of a line, or what keeps it from being one: a wish and a state, without the place; `undefined` for an empty line */
export function savedJson(line: string): AnyRecord | string | undefined {
  if (/^\s*$/.test(line)) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    return `a JSON object is wanted, it says: ${error instanceof Error ? error.message.slice(0, 200) : ''}`;
  }
  const misfit = recordMisfit(value);
  return misfit === undefined ? (value as AnyRecord) : `a record is wanted: ${misfitText(misfit)}`;
}
