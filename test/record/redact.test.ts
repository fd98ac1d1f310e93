import assert from 'node:assert/strict';
import { test } from 'node:test';
import { noRedaction, redaction } from '../../src/record/redact.ts';

test('queries, fragments and user information leave no trace in a path', () => {
  const table: [path: string, expected: string][] = [
    ['/a', '/a'],
    ['/a?b=c', '/a?…'],
    ['/a?', '/a?…'],
    ['/a?b?c#d', '/a?…'],
    ['/a#token', '/a#…'],
    ['http://user:secret@host/a?b', 'http://host/a?…'],
    ['http://host/a@b', 'http://host/a@b'],
    ['//user@host/a', '//host/a'],
    ['/a@b', '/a@b'],
    ['*', '*'],
    ['', ''],
  ];
  for (const [path, expected] of table) assert.equal(redaction.path(path), expected, path);
});

test('user information leaves no trace in an authority', () => {
  assert.deepEqual([redaction.authority('user:p@ss@host:80'), redaction.authority('host:80')], ['host:80', 'host:80']);
});

test('fields that hold credentials keep their name only', () => {
  const secret = [
    'authorization',
    'proxy-authorization',
    'cookie',
    'set-cookie',
    'x-api-key',
    'api-key',
    'apikey',
    'x-apikey',
    'x-auth-token',
    'x-amz-security-token',
    'private-token',
    'x-client-secret',
    'x-session-id',
    'x-vault-token',
  ];
  for (const name of secret) assert.equal(redaction.field(name, 'x'), '…', name);
  const plain = [
    'host',
    'x-request-id',
    'traceparent',
    'user-agent',
    'content-length',
    'x-envoy-upstream-service-time',
    'x-forwarded-for',
    'author',
    'x-monkey',
    'tokenizer',
    ':method',
  ];
  for (const name of plain) assert.equal(redaction.field(name, 'x'), 'x', name);
});

test('fields that hold a URL lose its query', () => {
  assert.equal(redaction.field('referer', 'https://u:p@shop/a?b=c'), 'https://shop/a?…');
  assert.equal(redaction.field(':path', '/a?b'), '/a?…');
  assert.equal(redaction.field(':authority', 'u@shop'), 'shop');
});

test('redaction can be switched off', () => {
  assert.deepEqual([noRedaction.path('/a?b'), noRedaction.authority('u@h'), noRedaction.field('cookie', 'x')], ['/a?b', 'u@h', 'x']);
});
