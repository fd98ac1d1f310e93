/** Matchers of request headers. Source: envoy/config/route/v3/route_components.proto (HeaderMatcher); source/common/http/header_utility.cc. */
import { booleanAt, type Json, numberAt, objectAt, textAt } from './json.ts';
import { parseStringMatcher, regexMatcher, type StringMatcher } from './string-matcher.ts';
import { not, type Three } from './three-valued.ts';

export type HeaderValue =
  | { readonly known: true; readonly text: string }
  | { readonly known: true; readonly text?: undefined }
  | { readonly known: false };

/** The headers of one request. */
export interface RequestHeaders {
  /** The values of the header (lower-case name; also `:path` and its like) joined with ','. Absent: the request has none. Unknown: it was not seen. */
  find(name: string): HeaderValue;
}

export interface HeaderMatcher {
  readonly name: string;
  test(headers: RequestHeaders): Three;
}

function valueTest(message: Json): StringMatcher | undefined {
  const exact = textAt(message, 'exact_match');
  if (exact !== undefined) return (value) => value === exact;
  const prefix = textAt(message, 'prefix_match');
  if (prefix !== undefined) return (value) => value.startsWith(prefix);
  const suffix = textAt(message, 'suffix_match');
  if (suffix !== undefined) return (value) => value.endsWith(suffix);
  const contains = textAt(message, 'contains_match');
  if (contains !== undefined) return (value) => value.includes(contains);
  const regex = textAt(objectAt(message, 'safe_regex_match'), 'regex') ?? textAt(message, 'regex_match');
  if (regex !== undefined) return regexMatcher(regex);
  const string = objectAt(message, 'string_match');
  if (string !== undefined) return parseStringMatcher(string);
  const range = objectAt(message, 'range_match');
  if (range !== undefined) {
    const start = numberAt(range, 'start') ?? 0;
    const end = numberAt(range, 'end') ?? 0;
    return (value) => /^-?\d{1,18}$/.test(value) && Number(value) >= start && Number(value) < end;
  }
  return undefined;
}

const presenceFields = new Set([
  'name',
  'invert_match',
  'invertMatch',
  'present_match',
  'presentMatch',
  'treat_missing_header_as_empty',
  'treatMissingHeaderAsEmpty',
]);

/** A matcher of one header. A missing header matches nothing, inverted or not, unless it is treated as empty or its presence is what is asked. */
export function parseHeaderMatcher(message: Json): HeaderMatcher {
  const name = (textAt(message, 'name') ?? '').toLowerCase();
  const invert = booleanAt(message, 'invert_match') ?? false;
  const missingIsEmpty = booleanAt(message, 'treat_missing_header_as_empty') ?? false;
  const test = valueTest(message);
  const present = booleanAt(message, 'present_match') ?? true;
  const bare = Object.keys(message).every((key) => presenceFields.has(key));
  return {
    name,
    test(headers) {
      const found = headers.find(name);
      if (!found.known) return 'unknown';
      const value = found.text;
      if (test === undefined) return bare ? ((value !== undefined || missingIsEmpty) === present) !== invert : 'unknown';
      if (value === undefined && !missingIsEmpty) return false;
      const result = test(value ?? '');
      return invert ? not(result) : result;
    },
  };
}

/** Header values by name. `complete` says that what is not listed is not there; otherwise it is unknown. Source: multiple values are joined with ',' (getAllOfHeaderAsString). */
export function requestHeaders(
  list: readonly (readonly [string, string])[],
  complete: boolean,
  pseudo: { readonly [name: string]: string | undefined },
): RequestHeaders {
  const values = new Map<string, string>();
  for (const [name, value] of list) {
    const key = name.toLowerCase();
    const before = values.get(key);
    values.set(key, before === undefined ? value : `${before},${value}`);
  }
  return {
    find(name) {
      if (name.startsWith(':') || name === 'host') {
        const text = pseudo[name === 'host' ? ':authority' : name];
        return text === undefined ? { known: false } : { known: true, text };
      }
      const text = values.get(name);
      return text !== undefined ? { known: true, text } : complete ? { known: true } : { known: false };
    },
  };
}
