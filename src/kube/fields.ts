/** Reading of JSON whose shape nobody vouches for: a field is of the wanted kind, or absent. */
export type JsonObject = { readonly [key: string]: unknown };

const TEXT_LIMIT = 4096;

export function objectOf(value: unknown): JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : {};
}

/** Left out, or null, which YAML makes of an empty value. */
export function isAbsent(value: unknown): boolean {
  return value === undefined || value === null;
}

export function listOf(value: unknown, limit: number): readonly unknown[] {
  return Array.isArray(value) ? (value.length > limit ? value.slice(0, limit) : value) : [];
}

/** Text of at most 4096 characters; longer text is none. */
export function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value.length <= TEXT_LIMIT ? value : undefined;
}

export function portOf(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 65_535 ? value : undefined;
}

/** Text values of an object: labels, selectors. */
export function textMapOf(value: unknown, limit: number): ReadonlyMap<string, string> {
  const map = new Map<string, string>();
  for (const [key, given] of Object.entries(objectOf(value))) {
    if (map.size >= limit) break;
    const text = textOf(given);
    if (text !== undefined) map.set(key, text);
  }
  return map;
}
