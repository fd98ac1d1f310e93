/** Route matchers: does a request take this route? Source: envoy/config/route/v3/route_components.proto (RouteMatch); source/common/router/config_impl.cc. */
import type { Reason } from '../record/reason.ts';
import { parseFraction } from './fraction.ts';
import { type HeaderMatcher, parseHeaderMatcher, type RequestHeaders } from './header-matcher.ts';
import { booleanAt, type Json, objectAt, objectsAt, textAt, typedConfig } from './json.ts';
import { parseTemplate } from './path-template.ts';
import { parseStringMatcher, regexMatcher, type StringMatcher } from './string-matcher.ts';
import type { Three } from './three-valued.ts';

/** A request as the route matchers see it. */
export interface RouteRequest {
  /** Absent: it was not read. */
  readonly method?: string;
  /** Normalized, with its query. Absent: it was not read. */
  readonly path?: string;
  /** The query was cut off: parameters cannot be judged. */
  readonly queryHidden: boolean;
  readonly headers: RequestHeaders;
  /** Did the client's connection use TLS, and did it show a certificate that was accepted? */
  readonly tls: { readonly presented: Three; readonly validated: Three };
}

/** Match, mismatch with its reason, or unknown with its reason. */
export type RouteVerdict = { readonly matches: true } | { readonly matches: false | 'unknown'; readonly because: Reason };

export interface RouteMatch {
  /** The path matcher in words: `prefix /api`. */
  readonly text: string;
  test(request: RouteRequest): RouteVerdict;
}

type Condition = { readonly mismatch: Reason; readonly unknown: Reason; readonly test: (request: RouteRequest) => Three };

const withoutQuery = (path: string) => path.replace(/[?#].*$/s, '');

function pathCondition(match: Json | undefined): { text: string; test: (request: RouteRequest) => Three } {
  const caseSensitive = booleanAt(match, 'case_sensitive') ?? true;
  const fold = (text: string) => (caseSensitive ? text : text.toLowerCase());
  const judge = (text: string, test: StringMatcher) => ({
    text,
    test: ({ path: asked }: RouteRequest) => (asked === undefined ? ('unknown' as const) : test(withoutQuery(asked))),
  });
  const simple = (text: string, test: StringMatcher) => judge(text, (asked) => test(fold(asked)));
  const prefix = textAt(match, 'prefix');
  // Every path begins with a slash, read or not.
  if (prefix === '/' || prefix === '')
    return { text: `prefix ${prefix}`, test: ({ path: asked }) => asked === undefined || asked.startsWith(prefix) };
  if (prefix !== undefined) return simple(`prefix ${prefix}`, (text) => text.startsWith(fold(prefix)));
  const path = textAt(match, 'path');
  if (path !== undefined) return simple(`path ${path}`, (text) => text === fold(path));
  const separated = textAt(match, 'path_separated_prefix');
  if (separated !== undefined)
    return simple(
      `prefix ${separated}/`,
      (text) => text.startsWith(fold(separated)) && (text.length === separated.length || text[separated.length] === '/'),
    );
  const regex = textAt(objectAt(match, 'safe_regex'), 'regex') ?? textAt(match, 'regex');
  if (regex !== undefined) return judge(`regex ${regex}`, regexMatcher(regex));
  const policy = objectAt(match, 'path_match_policy');
  if (policy !== undefined) {
    const template = textAt(typedConfig(policy).config, 'path_template');
    return judge(`template ${template ?? '?'}`, (template === undefined ? undefined : parseTemplate(template)) ?? (() => 'unknown'));
  }
  if (objectAt(match, 'connect_matcher') !== undefined)
    return { text: 'CONNECT', test: ({ method }) => (method === undefined ? 'unknown' : method === 'CONNECT') };
  return { text: 'unknown', test: () => 'unknown' };
}

function isGrpc(headers: RequestHeaders): Three {
  const type = headers.find('content-type');
  if (!type.known) return 'unknown';
  return type.text === 'application/grpc' || (type.text?.startsWith('application/grpc+') ?? false);
}

/** Parameters of a query as the router reads them: split at '&' and '=', the first of a name counts, nothing is decoded. */
function parseQuery(path: string): Map<string, string> {
  const parameters = new Map<string, string>();
  const start = path.indexOf('?');
  if (start === -1) return parameters;
  const end = path.indexOf('#', start);
  for (const part of path.slice(start + 1, end === -1 ? undefined : end).split('&')) {
    const equals = part.indexOf('=');
    const name = equals === -1 ? part : part.slice(0, equals);
    if (!parameters.has(name)) parameters.set(name, equals === -1 ? '' : part.slice(equals + 1));
  }
  return parameters;
}

function queryCondition(message: Json): Condition {
  const name = textAt(message, 'name') ?? '';
  const string = objectAt(message, 'string_match');
  const older = textAt(message, 'value');
  const oldRegex = booleanAt(message, 'regex') === true;
  const matcher: StringMatcher | undefined =
    string !== undefined
      ? parseStringMatcher(string)
      : older === undefined || older === ''
        ? undefined
        : oldRegex
          ? regexMatcher(older)
          : (text) => text === older;
  const present = booleanAt(message, 'present_match') ?? true;
  return {
    mismatch: 'query-mismatch',
    unknown: 'route-unknown-matcher',
    test(request) {
      if (request.queryHidden || request.path === undefined) return 'unknown';
      const value = parseQuery(request.path).get(name);
      if (matcher === undefined) return (value !== undefined) === present;
      return value === undefined ? false : matcher(value);
    },
  };
}

function headerCondition(matcher: HeaderMatcher): Condition {
  const isMethod = matcher.name === ':method';
  return {
    mismatch: isMethod ? 'method-mismatch' : 'header-mismatch',
    unknown: 'header-unknown',
    test: (request) => matcher.test(request.headers),
  };
}

function otherConditions(match: Json): Condition[] {
  const conditions: Condition[] = [];
  const tls = objectAt(match, 'tls_context');
  const presented = booleanAt(tls, 'presented');
  if (presented !== undefined)
    conditions.push({
      mismatch: 'transport-mismatch',
      unknown: 'route-unknown-matcher',
      test: (request) => (request.tls.presented === 'unknown' ? 'unknown' : request.tls.presented === presented),
    });
  const validated = booleanAt(tls, 'validated');
  if (validated !== undefined)
    conditions.push({
      mismatch: 'transport-mismatch',
      unknown: 'route-unknown-matcher',
      test: (request) => (request.tls.validated === 'unknown' ? 'unknown' : request.tls.validated === validated),
    });
  if (['dynamic_metadata', 'filter_state', 'cookies'].some((name) => objectsAt(match, name).length > 0))
    conditions.push({ mismatch: 'route-unknown-matcher', unknown: 'route-unknown-matcher', test: () => 'unknown' });
  return conditions;
}

export function parseRouteMatch(match: Json | undefined): RouteMatch {
  const path = pathCondition(match);
  const conditions: Condition[] = [{ mismatch: 'path-mismatch', unknown: 'route-unknown-matcher', test: path.test }];
  if (match !== undefined) {
    conditions.push(...objectsAt(match, 'headers').map((message) => headerCondition(parseHeaderMatcher(message))));
    conditions.push(...objectsAt(match, 'query_parameters').map(queryCondition));
    if (objectAt(match, 'grpc') !== undefined)
      conditions.push({ mismatch: 'grpc-only', unknown: 'header-unknown', test: (request) => isGrpc(request.headers) });
    conditions.push(...otherConditions(match));
    const fraction = objectAt(match, 'runtime_fraction');
    if (fraction !== undefined) {
      const share = parseFraction(objectAt(fraction, 'default_value'));
      conditions.push({ mismatch: 'runtime-fraction', unknown: 'runtime-fraction', test: () => share });
    }
  }
  return {
    text: path.text,
    test(request) {
      // A CONNECT without a path takes no route but those made for it.
      if (request.method === 'CONNECT' && request.path?.startsWith('/') !== true && path.text !== 'CONNECT')
        return { matches: false, because: 'path-mismatch' };
      let unknown: Reason | undefined;
      for (const condition of conditions) {
        const result = condition.test(request);
        if (result === false) return { matches: false, because: condition.mismatch };
        if (result === 'unknown') unknown ??= request.path === undefined ? 'no-request-seen' : condition.unknown;
      }
      return unknown === undefined ? { matches: true } : { matches: 'unknown', because: unknown };
    },
  };
}
