/**
 * URI templates of routes (`/api/{version}/**`).
 * Source: envoy/extensions/path/match/uri_template/v3/uri_template_match.proto: `*` one segment, `**` zero or more at the end or before a last segment, `{name}` and `{name=pattern}`.
 */
import { compileRegex } from '../net/regex.ts';
import type { Three } from './three-valued.ts';

const SEGMENT = "[a-zA-Z0-9\\-._~!$&'()+,;:@=%]+";
const PATH_GLOB = "[a-zA-Z0-9\\-._~!$&'()+,;:@=%/*]*";

function escapePattern(text: string): string {
  return text.replace(/[^a-zA-Z0-9/_-]/g, (c) => `\\${c}`);
}

function globs(text: string): string {
  return text
    .split(/(\*\*|\*)/)
    .map((part) => (part === '**' ? PATH_GLOB : part === '*' ? SEGMENT : escapePattern(part)))
    .join('');
}

/** The test of a template; `undefined` when it is none. */
export function parseTemplate(template: string): ((path: string) => Three) | undefined {
  if (!template.startsWith('/') || template.length > 2000) return undefined;
  let pattern = '';
  let rest = template;
  while (rest !== '') {
    const open = rest.indexOf('{');
    if (open === -1) {
      pattern += globs(rest);
      break;
    }
    const close = rest.indexOf('}', open);
    if (close === -1) return undefined;
    const variable = /^[a-zA-Z][a-zA-Z0-9_]*(?:=(.+))?$/.exec(rest.slice(open + 1, close));
    if (variable === null) return undefined;
    pattern += globs(rest.slice(0, open)) + globs(variable[1] ?? '*');
    rest = rest.slice(close + 1);
  }
  const regex = compileRegex(pattern);
  return regex === undefined ? undefined : (path) => (path.length > 8192 ? 'unknown' : regex.matches(path));
}
