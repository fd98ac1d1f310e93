/** `StringMatcher`. Source: envoy/type/matcher/v3/string.proto, regex.proto; source/common/common/matchers.cc. */

import { compileRegex } from '../net/regex.ts';
import { booleanAt, type Json, objectAt, textAt } from './json.ts';
import type { Three } from './three-valued.ts';

export type StringMatcher = (text: string) => Three;

const MAX_STEPS = 20_000_000;

/** The whole text against a RE2 pattern; unknown for a pattern that we cannot judge. */
export function regexMatcher(pattern: string): StringMatcher {
  const regex = compileRegex(pattern);
  if (regex === undefined) return () => 'unknown';
  return (text) => (text.length * regex.size > MAX_STEPS ? 'unknown' : regex.matches(text));
}

function textMatcher(ignoreCase: boolean, wanted: string, test: (text: string, wanted: string) => boolean): StringMatcher {
  const pattern = ignoreCase ? wanted.toLowerCase() : wanted;
  return (text) => test(ignoreCase ? text.toLowerCase() : text, pattern);
}

/** A `StringMatcher` message; unknown for kinds that we do not know. */
export function parseStringMatcher(message: Json | undefined): StringMatcher {
  const ignoreCase = booleanAt(message, 'ignore_case') ?? false;
  const exact = textAt(message, 'exact');
  if (exact !== undefined) return textMatcher(ignoreCase, exact, (text, wanted) => text === wanted);
  const prefix = textAt(message, 'prefix');
  if (prefix !== undefined) return textMatcher(ignoreCase, prefix, (text, wanted) => text.startsWith(wanted));
  const suffix = textAt(message, 'suffix');
  if (suffix !== undefined) return textMatcher(ignoreCase, suffix, (text, wanted) => text.endsWith(wanted));
  const contains = textAt(message, 'contains');
  if (contains !== undefined) return textMatcher(ignoreCase, contains, (text, wanted) => text.includes(wanted));
  const regex = textAt(objectAt(message, 'safe_regex'), 'regex') ?? textAt(message, 'regex');
  if (regex !== undefined) return regexMatcher(regex);
  return () => 'unknown';
}
