/** Matchers of request headers. Source: envoy/config/route/v3/route_components.proto (HeaderMatcher); source/common/http/header_utility.cc. */
import { booleanAt, type Json, numberAt, objectAt, textAt } from './json.ts';
import { parseStringMatcher, regexMatcher, type StringMatcher } from './string-matcher.ts';
import { not, type Three } from './three-valued.ts';

export type HeaderValue =
  /** All values, joined with ',' and one by one. */
  | { readonly known: true; readonly text: string; readonly values: readonly string[] }
  | { readonly known: true; readonly text?: undefined }
  | { readonly known: false };

/** The headers of one request. */
export interface RequestHeaders {
  /** The header of that lower-case name (also `:path` and its like). No text: the request has none. Not known: it was not seen. */
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

function inverted(invert: boolean, result: Three): Three {
  return invert ? not(result) : result;
}

/** Envoys of different age match a repeated header by its joined values or by each of them: where that makes a difference the answer is unknown. */
function testValues(test: StringMatcher, joined: string, values: readonly string[]): Three {
  const whole = test(joined);
  return values.length < 2 || values.every((value) => test(value) === whole) ? whole : 'unknown';
}

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
      if (test === undefined) return bare ? ((found.text !== undefined || missingIsEmpty) === present) !== invert : 'unknown';
      if (found.text === undefined) return missingIsEmpty ? inverted(invert, test('')) : false;
      return inverted(invert, testValues(test, found.text, found.values));
    },
  };
}

/** Header values by name. `complete` says that what is not listed is not there; otherwise it is unknown. */
export function requestHeaders(
  list: readonly (readonly [string, string])[],
  complete: boolean,
  pseudo: { readonly [name: string]: string | undefined },
): RequestHeaders {
  const headers = new Map<string, string[]>();
  for (const [name, value] of list) {
    const key = name.toLowerCase();
    const before = headers.get(key);
    if (before === undefined) headers.set(key, [value]);
    else before.push(value);
  }
  return {
    find(name) {
      if (name.startsWith(':') || name === 'host') {
        const text = pseudo[name === 'host' ? ':authority' : name];
        return text === undefined ? { known: false } : { known: true, text, values: [text] };
      }
      const values = headers.get(name);
      if (values !== undefined) return { known: true, text: values.join(','), values };
      return complete ? { known: true } : { known: false };
    },
  };
}
