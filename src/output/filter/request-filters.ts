/** Filters on requests and names: they look at the paths of a flow. Paths and headers are what redaction left of them. */
import { compileRegex } from '../../net/regex.ts';
import { requestUrl } from '../hubble-event.ts';
import { type Filter, FilterError, globTest } from './filter.ts';

/** Time to match is bounded by characters times the size of the compiled pattern: patterns may come from strangers. */
const PATTERN_MAX = 1000;
const SIZE_MAX = 500;
const TRIED_MAX = 8192;

function parsePattern(value: string): (text: string) => boolean {
  if (value.length > PATTERN_MAX)
    throw new FilterError(`Cannot filter by a pattern of ${value.length} characters: at most ${PATTERN_MAX} are taken`);
  const alone = compileRegex(value);
  const anywhere = alone === undefined ? undefined : compileRegex(`(?s:.*)(?:${value})(?s:.*)`);
  if (anywhere === undefined)
    throw new FilterError(
      `Cannot filter by the pattern "${value}": it must be a regular expression in the syntax of RE2 (no look-around, no back-references)`,
    );
  if (anywhere.size > SIZE_MAX)
    throw new FilterError(
      `Cannot filter by the pattern "${value}": it must be simpler, with its repetitions it has ${anywhere.size} steps`,
    );
  return (text) => anywhere.matches(text.slice(0, TRIED_MAX));
}

export const httpMethod: Filter = {
  name: 'http-method',
  value: 'METHOD',
  summary: 'requests with this method',
  looksAt: 'path',
  parse: (value) => {
    const wanted = value.toUpperCase();
    return ({ path }) => path?.request?.method?.toUpperCase() === wanted;
  },
};

export const httpPath: Filter = {
  name: 'http-path',
  value: 'REGEX',
  summary: 'requests whose path matches this regular expression (RE2 syntax)',
  looksAt: 'path',
  parse: (value) => {
    const test = parsePattern(value);
    return ({ path }) => path?.request?.path !== undefined && test(path.request.path);
  },
};

export const httpUrl: Filter = {
  name: 'http-url',
  value: 'REGEX',
  summary: 'requests whose URL (http://authority/path) matches this regular expression (RE2 syntax)',
  looksAt: 'path',
  parse: (value) => {
    const test = parsePattern(value);
    return ({ path }) => path?.of === 'request' && test(requestUrl(path));
  },
};

export const httpStatus: Filter = {
  name: 'http-status',
  value: 'STATUS',
  summary: 'requests answered so: 404, or a first digit like 5+',
  looksAt: 'path',
  parse: (value) => {
    const [, digits, plus] = /^(\d{1,3})(\+)?$/.exec(value) ?? [];
    if (digits === undefined || (plus === undefined && digits.length !== 3))
      throw new FilterError(`Cannot filter by the status "${value}": it must be three digits, or a beginning like 5+ or 40+`);
    return ({ path }) => path?.request?.status !== undefined && String(path.request.status).startsWith(digits);
  },
};

export const httpHeader: Filter = {
  name: 'http-header',
  value: 'NAME:VALUE',
  summary: 'requests with this header; records keep host (or :authority) and x-request-id',
  looksAt: 'path',
  parse: (value) => {
    const [, name, wanted] = /^(:?[^:]+):\s*(.*)$/.exec(value) ?? [];
    const key = name?.trim().toLowerCase();
    if (key === 'host' || key === ':authority') return ({ path }) => path?.request?.authority === wanted;
    if (key === 'x-request-id') return ({ path }) => path?.request?.id === wanted;
    throw new FilterError(
      `Cannot filter by the header "${value}": it must be host:VALUE or x-request-id:VALUE, since records keep no other headers`,
    );
  },
};

export const fqdn: Filter = {
  name: 'fqdn',
  value: 'NAME',
  summary: 'flows that name this host (* for any run of characters): in their authority, server name (SNI) or DNS question',
  looksAt: 'path',
  parse: (value) => {
    const test = globTest(value.toLowerCase().replace(/\.$/, ''));
    const names = (text: string | undefined): boolean =>
      text !== undefined && test(text.toLowerCase().replace(/:\d+$/, '').replace(/\.$/, ''));
    return ({ flow, path }) => names(path?.request?.authority) || names(flow.tls?.sni) || names(flow.dns?.question);
  },
};
