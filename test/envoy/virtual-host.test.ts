import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseHttpConnectionManager } from '../../src/envoy/http-connection-manager.ts';
import { effectivePath } from '../../src/envoy/request-path.ts';
import { parseRouteConfig } from '../../src/envoy/route-config.ts';
import { effectiveAuthority, findVirtualHost, stripPort } from '../../src/envoy/virtual-host.ts';

const hosts = {
  exact: ['reviews.default.svc.cluster.local', 'reviews', 'reviews:9080', '10.96.0.1', '[fd00::1]:80'],
  suffix: ['*.example.com'],
  longer: ['*.a.example.com', '*-b.example.com'],
  prefix: ['shop.*'],
  'longer-prefix': ['shop.example.*'],
  any: ['*'],
};

function config(ignorePort = false) {
  return parseRouteConfig({
    name: '9080',
    ignore_port_in_host_matching: ignorePort,
    virtual_hosts: Object.entries(hosts).map(([name, domains]) => ({ name, domains, routes: [] })),
  });
}

const situations: [string, string, string][] = [
  ['reviews', 'exact', 'an exact name'],
  ['REVIEWS', 'exact', 'letters of either case'],
  ['reviews:9080', 'exact', 'an exact name with its port'],
  ['reviews:80', 'any', 'another port is another name'],
  ['[fd00::1]:80', 'exact', 'an IPv6 address'],
  ['x.example.com', 'suffix', 'a suffix'],
  ['x.a.example.com', 'longer', 'the longest suffix'],
  ['x-b.example.com', 'longer', 'a suffix need not start at a dot'],
  ['-b.example.com', 'suffix', 'the star stands for at least one character'],
  ['.example.com', 'any', 'the bare suffix is no match'],
  ['shop.test', 'prefix', 'a prefix'],
  ['shop.example.org', 'longer-prefix', 'the longest prefix'],
  ['shop.example.com', 'suffix', 'suffixes before prefixes'],
  ['elsewhere', 'any', 'everything else'],
  ['', 'any', 'no authority at all'],
];

for (const [authority, expect, name] of situations)
  test(`virtual host: ${name}`, () => {
    assert.equal(findVirtualHost(config(), authority)?.name, expect);
  });

test('virtual host: the port may be left out of the comparison', () => {
  assert.equal(findVirtualHost(config(true), 'reviews:1234')?.name, 'exact');
  assert.equal(findVirtualHost(config(true), '10.96.0.1:80')?.name, 'exact');
});

test('virtual host: without a domain for everything there may be none', () => {
  const narrow = parseRouteConfig({ name: 'x', virtual_hosts: [{ name: 'a', domains: ['a'] }] });
  assert.equal(findVirtualHost(narrow, 'b'), undefined);
});

test('stripPort() takes the port only', () => {
  for (const [text, expect] of [
    ['a:80', 'a'],
    ['a:', 'a'],
    ['a', 'a'],
    ['[::1]:80', '[::1]'],
    ['[::1]', '[::1]'],
    ['a:b', 'a:b'],
    ['::1', '::1'],
  ] as const)
    assert.equal(stripPort(text), expect);
});

test('effectiveAuthority() strips what the connection manager strips', () => {
  const manager = (more: object) => parseHttpConnectionManager({ ...more });
  assert.equal(effectiveAuthority(manager({}), 'a:80', 'GET', 80), 'a:80');
  assert.equal(effectiveAuthority(manager({ strip_matching_host_port: true }), 'a:80', 'GET', 80), 'a');
  assert.equal(effectiveAuthority(manager({ strip_matching_host_port: true }), 'a:80', 'GET', 81), 'a:80');
  assert.equal(effectiveAuthority(manager({ strip_matching_host_port: true }), 'a:80', 'CONNECT', 80), 'a:80');
  assert.equal(effectiveAuthority(manager({ strip_any_host_port: true }), 'a:80', 'GET', 81), 'a');
  assert.equal(effectiveAuthority(manager({ strip_trailing_host_dot: true }), 'a.:80', 'GET', 81), 'a:80');
});

test('effectivePath() normalizes as told', () => {
  const path = (more: object, text: string) => {
    const result = effectivePath(parseHttpConnectionManager({ ...more }), text);
    return result.kind === 'path' ? result.path : result.kind;
  };
  assert.equal(path({}, '/a/../b?x=/../'), '/a/../b?x=/../');
  assert.equal(path({ normalize_path: true }, '/a/../b?x=/../'), '/b?x=/../');
  assert.equal(path({ normalize_path: true }, '/a/./b/..'), '/a/');
  assert.equal(path({ normalize_path: true }, '/%61%2f\\b'), '/a%2f/b');
  assert.equal(path({ merge_slashes: true }, '//a///b'), '/a/b');
  assert.equal(path({ path_with_escaped_slashes_action: 'REJECT_REQUEST' }, '/a%2Fb'), 'rejected');
  assert.equal(path({ path_with_escaped_slashes_action: 'UNESCAPE_AND_REDIRECT' }, '/a%5cb'), 'redirected');
  assert.equal(path({ path_with_escaped_slashes_action: 'UNESCAPE_AND_FORWARD' }, '/a%2Fb'), '/a/b');
  assert.equal(path({ normalize_path: true }, '*'), '*');
});
