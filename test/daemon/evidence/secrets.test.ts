import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hideSecrets } from '../../../src/daemon/evidence/secrets.ts';

/** Made up: the letters between the lines are no key. */
const pem = (kind: string): string =>
  `-----BEGIN ${kind}PRIVATE KEY-----\n${'QUJD'.repeat(20)}\n${'REVG'.repeat(20)}\n-----END ${kind}PRIVATE KEY-----`;
const base64url = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const token = `${base64url({ alg: 'RS256', kid: 'x' })}.${base64url({ sub: 'system:serviceaccount' })}.c2lnbmF0dXJl-_x`;

async function hidden(text: string): Promise<{ text: string; found: number }> {
  const bytes = Buffer.from(text);
  const found = await hideSecrets(bytes);
  return { text: bytes.toString(), found };
}

for (const kind of ['', 'RSA ', 'EC ', 'ENCRYPTED ', 'OPENSSH '])
  test(`a ${kind || 'plain '}private key does not leave: as text, within JSON, in base64`, async () => {
    const key = pem(kind);
    for (const form of [
      key,
      JSON.stringify({ inline_string: key }),
      JSON.stringify({ inline_bytes: Buffer.from(key).toString('base64') }),
    ]) {
      const { text, found } = await hidden(`before ${form} after`);
      assert.equal(found, 1, form);
      assert.equal(text.length, `before ${form} after`.length);
      assert.doesNotMatch(text, /QUJD|REVG|UVVKR/);
      assert.match(text, /^before .* after$/s);
      if (form.startsWith('{')) JSON.parse(text.slice(7, -6));
    }
  });

test('a token does not leave, and what stands around it does', async () => {
  const { text, found } = await hidden(`{"authorization": "Bearer ${token}", "x": 1}`);
  assert.equal(found, 1);
  assert.deepEqual(JSON.parse(text), { authorization: `Bearer ${'*'.repeat(token.length)}`, x: 1 });
});

test('certificates, and words that only begin like a secret, stay', async () => {
  const certificate = `-----BEGIN CERTIFICATE-----\n${'QUJD'.repeat(20)}\n-----END CERTIFICATE-----`;
  const given = `${certificate} ${Buffer.from(certificate).toString('base64')} eyJhbGciOiJub25lIn0 eyJ -----BEGIN PUBLIC KEY-----`;
  const { text, found } = await hidden(given);
  assert.equal(found, 0);
  assert.equal(text, given);
});

test('a secret is found wherever the bytes are cut for the work', async () => {
  const SLICE = 8 * 1024 * 1024;
  for (const at of [SLICE - 30, SLICE - 5, SLICE - 1, SLICE, 2 * SLICE - 10]) {
    const bytes = Buffer.alloc(2 * SLICE + 4096, 0x20);
    bytes.write(pem('RSA '), at, 'latin1');
    assert.equal(await hideSecrets(bytes), 1, String(at));
    assert.equal(bytes.includes('QUJD'), false);
  }
});

test('many of them, and a key without an end, cost no more than linear time', async () => {
  const many = Buffer.from(`${token} `.repeat(20_000));
  const from = performance.now();
  assert.equal(await hideSecrets(many), 20_000);
  const begun = Buffer.from('-----BEGIN RSA PRIVATE KEY-----\nQUJD'.repeat(20_000));
  await hideSecrets(begun);
  assert.equal(begun.includes('QUJD'), false);
  assert.ok(performance.now() - from < 5000, `${performance.now() - from} ms`);
});
