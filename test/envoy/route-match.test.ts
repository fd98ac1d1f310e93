import assert from 'node:assert/strict';
import { test } from 'node:test';
import { requestHeaders } from '../../src/envoy/header-matcher.ts';
import { parseRouteMatch, type RouteRequest } from '../../src/envoy/route-match.ts';

type Message = { [field: string]: unknown };

interface Asked {
  method?: string;
  path?: string | undefined;
  headers?: [string, string][];
  complete?: boolean;
  queryHidden?: boolean;
  tls?: RouteRequest['tls'];
}

function ask(match: Message, asked: Asked): string {
  const { method = 'GET', headers = [], complete = true, queryHidden = false, tls = { presented: false, validated: false } } = asked;
  const path = 'path' in asked ? asked.path : '/';
  const verdict = parseRouteMatch(match).test({
    method,
    ...(path === undefined ? {} : { path }),
    queryHidden,
    tls,
    headers: requestHeaders(headers, complete, { ':method': method, ':path': path, ':authority': 'a' }),
  });
  return verdict.matches === true ? 'yes' : `${verdict.matches === false ? 'no' : 'unknown'}: ${verdict.because}`;
}

const header = (more: Message) => ({ prefix: '/', headers: [{ name: 'x', ...more }] });
const template = (path_template: string) => ({
  path_match_policy: {
    name: 't',
    typed_config: { '@type': 'x/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig', path_template },
  },
});

const situations: [string, Message, Asked, string][] = [
  ['prefix', { prefix: '/a' }, { path: '/ab?q' }, 'yes'],
  ['prefix, another case', { prefix: '/a' }, { path: '/A' }, 'no: path-mismatch'],
  ['prefix, case ignored', { prefix: '/A', case_sensitive: false }, { path: '/ab' }, 'yes'],
  ['exact path without its query', { path: '/a' }, { path: '/a?x=1' }, 'yes'],
  ['exact path, longer', { path: '/a' }, { path: '/a/' }, 'no: path-mismatch'],
  ['regex for the whole path', { safe_regex: { regex: '/a[0-9]+' } }, { path: '/a12?x' }, 'yes'],
  ['regex does not match a part', { safe_regex: { regex: '/a' } }, { path: '/ab' }, 'no: path-mismatch'],
  ['regex that cannot be judged', { safe_regex: { regex: '/(?=a)' } }, { path: '/a' }, 'unknown: route-unknown-matcher'],
  ['regex of API v2', { regex: '/a.*' }, { path: '/abc' }, 'yes'],
  ['prefix by segments', { path_separated_prefix: '/a' }, { path: '/a/b' }, 'yes'],
  ['prefix by segments, the path itself', { path_separated_prefix: '/a' }, { path: '/a?x' }, 'yes'],
  ['prefix by segments, within a segment', { path_separated_prefix: '/a' }, { path: '/ab' }, 'no: path-mismatch'],
  ['template, one segment', template('/v1/{id}'), { path: '/v1/12' }, 'yes'],
  ['template, two segments', template('/v1/{id}'), { path: '/v1/12/x' }, 'no: path-mismatch'],
  ['template, rest', template('/v1/**'), { path: '/v1/12/x' }, 'yes'],
  ['template, named rest', template('/v1/{rest=a/**}'), { path: '/v1/a/x/y' }, 'yes'],
  ['a matcher of the path that we do not know', { path_match_policy: { name: 'else' } }, {}, 'unknown: route-unknown-matcher'],
  ['CONNECT', { connect_matcher: {} }, { method: 'CONNECT', path: '' }, 'yes'],
  ['CONNECT takes no prefix route', { prefix: '' }, { method: 'CONNECT', path: 'a:80' }, 'no: path-mismatch'],
  ['header exact', header({ string_match: { exact: 'a' } }), { headers: [['X', 'a']] }, 'yes'],
  ['header exact, another value', header({ exact_match: 'a' }), { headers: [['x', 'b']] }, 'no: header-mismatch'],
  ['header not seen', header({ exact_match: 'a' }), { complete: false }, 'unknown: header-unknown'],
  [
    'a path that does not fit settles it all the same',
    { ...header({ exact_match: 'a' }), prefix: '/b' },
    { complete: false },
    'no: path-mismatch',
  ],
  ['header prefix', header({ prefix_match: 'ab' }), { headers: [['x', 'abc']] }, 'yes'],
  ['header suffix', header({ suffix_match: 'bc' }), { headers: [['x', 'abc']] }, 'yes'],
  ['header contains', header({ contains_match: 'b' }), { headers: [['x', 'abc']] }, 'yes'],
  ['header case ignored', header({ string_match: { prefix: 'AB', ignore_case: true } }), { headers: [['x', 'abc']] }, 'yes'],
  ['header regex, whole value', header({ safe_regex_match: { regex: 'b' } }), { headers: [['x', 'abc']] }, 'no: header-mismatch'],
  ['header range', header({ range_match: { start: '-10', end: '0' } }), { headers: [['x', '-1']] }, 'yes'],
  [
    'header range, its end is outside',
    header({ range_match: { start: '-10', end: '0' } }),
    { headers: [['x', '0']] },
    'no: header-mismatch',
  ],
  ['header range, no number', header({ range_match: { start: '-10', end: '0' } }), { headers: [['x', '-1a']] }, 'no: header-mismatch'],
  ['header present', header({ present_match: true }), { headers: [['x', '']] }, 'yes'],
  ['header present, absent', header({ present_match: true }), {}, 'no: header-mismatch'],
  ['header absent wanted', header({ present_match: false }), {}, 'yes'],
  ['header present inverted', header({ present_match: true, invert_match: true }), {}, 'yes'],
  ['a missing header does not match, inverted or not', header({ exact_match: 'a', invert_match: true }), {}, 'no: header-mismatch'],
  [
    'a missing header taken as empty, inverted',
    header({ exact_match: 'a', invert_match: true, treat_missing_header_as_empty: true }),
    {},
    'yes',
  ],
  ['a header matcher without a specifier asks for presence', header({}), { headers: [['x', 'a']] }, 'yes'],
  ['a specifier that we do not know', header({ future_match: 'a' }), { headers: [['x', 'a']] }, 'unknown: header-unknown'],
  [
    'a repeated header whose values differ',
    header({ exact_match: 'a' }),
    {
      headers: [
        ['x', 'a'],
        ['x', 'b'],
      ],
    },
    'unknown: header-unknown',
  ],
  [
    'a repeated header, none fits',
    header({ exact_match: 'c' }),
    {
      headers: [
        ['x', 'a'],
        ['x', 'b'],
      ],
    },
    'no: header-mismatch',
  ],
  ['method', { prefix: '/', headers: [{ name: ':method', exact_match: 'POST' }] }, {}, 'no: method-mismatch'],
  ['query exact', { prefix: '/', query_parameters: [{ name: 'q', string_match: { exact: '1' } }] }, { path: '/?q=1' }, 'yes'],
  [
    'query, the first of a name counts',
    { prefix: '/', query_parameters: [{ name: 'q', string_match: { exact: '2' } }] },
    { path: '/?q=1&q=2' },
    'no: query-mismatch',
  ],
  ['query present', { prefix: '/', query_parameters: [{ name: 'q', present_match: true }] }, { path: '/?q' }, 'yes'],
  ['query hidden', { prefix: '/', query_parameters: [{ name: 'q' }] }, { queryHidden: true }, 'unknown: route-unknown-matcher'],
  ['gRPC', { prefix: '/', grpc: {} }, { headers: [['content-type', 'application/grpc+proto']] }, 'yes'],
  ['gRPC-Web is no gRPC', { prefix: '/', grpc: {} }, { headers: [['content-type', 'application/grpc-web']] }, 'no: grpc-only'],
  ['a share of the requests', { prefix: '/', runtime_fraction: { default_value: { numerator: 30 } } }, {}, 'unknown: runtime-fraction'],
  [
    'all of the requests',
    { prefix: '/', runtime_fraction: { default_value: { numerator: 1_000_000, denominator: 'MILLION' } } },
    {},
    'yes',
  ],
  ['none of the requests', { prefix: '/', runtime_fraction: { default_value: {} } }, {}, 'no: runtime-fraction'],
  ['a client certificate', { prefix: '/', tls_context: { presented: true } }, { tls: { presented: true, validated: true } }, 'yes'],
  ['no client certificate', { prefix: '/', tls_context: { presented: true } }, {}, 'no: transport-mismatch'],
  ['metadata', { prefix: '/', dynamic_metadata: [{ filter: 'x' }] }, {}, 'unknown: route-unknown-matcher'],
  ['a path that was not read, any path will do', { prefix: '/' }, { path: undefined }, 'yes'],
  ['a path that was not read', { prefix: '/a' }, { path: undefined }, 'unknown: no-request-seen'],
  ['no match at all', {}, {}, 'unknown: route-unknown-matcher'],
];

for (const [name, match, asked, expect] of situations)
  test(`route match: ${name}`, () => {
    assert.equal(ask(match, asked), expect);
  });
