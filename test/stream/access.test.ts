import assert from 'node:assert/strict';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { type IncomingMessage, request as plainRequest } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { CertificateAuthenticator } from '../../src/stream/certificate-authenticator.ts';
import { StreamClient } from '../../src/stream/client.ts';
import { KubeAuthenticator } from '../../src/stream/kube-authenticator.ts';
import { RouteError } from '../../src/stream/route.ts';
import { StreamServer } from '../../src/stream/server.ts';
import { parseServerAddress, serverAddressText } from '../../src/stream/server-address.ts';
import { TlsFiles } from '../../src/stream/tls-files.ts';
import { TokenFileAuthenticator } from '../../src/stream/token-file.ts';
import { hasOpenssl, makeCa, makeCertificate } from './certificates.ts';
import { folder, gather, isLive, numberedMany, running } from './live.ts';

const FIRST = 'first-token-of-the-test-0123456789';
const SECOND = 'second-token-of-the-test-012345678';
const jwt = (claims: object): string => `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.c2ln`;
const inSeconds = (seconds: number): number => Date.now() / 1000 + seconds;
const quick = { recheckMs: 200 };

test('a token that is taken out of the file ends what was opened with it; the others go on, new ones are taken', async (t) => {
  const tokens = join(folder(t), 'tokens');
  writeFileSync(tokens, `one ${FIRST}\ntwo ${SECOND}\n`);
  const { port, server } = await running(t, { ...quick, authenticators: [new TokenFileAuthenticator(tokens, 100)] });
  const one = gather(t, port, {}, { token: FIRST });
  const two = gather(t, port, {}, { token: SECOND });
  await Promise.all([one.until(isLive), two.until(isLive)]);
  await assert.rejects(gather(t, port).end, /401 Cannot tell who you are/);
  writeFileSync(tokens, `two ${SECOND}\nthree third-token-of-the-test-0123456789\n`);
  await assert.rejects(one.end, /has ended: Cannot go on for "one": its token is no longer in the token file/);
  const three = gather(t, port, {}, { token: 'third-token-of-the-test-0123456789' });
  await three.until(isLive);
  server.publish(numberedMany(3));
  await Promise.all([two, three].map((got) => got.until(({ records }) => records.length === 3)));
  // Half a file, as an editor leaves it for a moment, changes nothing; an empty one lets nobody in.
  writeFileSync(tokens, 'two sec');
  await new Promise((resolve) => setTimeout(resolve, 500));
  server.publish(numberedMany(1));
  await two.until(({ records }) => records.length === 4);
  writeFileSync(tokens, '');
  await assert.rejects(two.end, /has ended/);
});

test('an account of the cluster: revoked within a check, expired to the second, kept through a short outage and not through a long one', async (t) => {
  let mode: 'good' | 'no-right' | 'unknown' | 'down' = 'good';
  const fake = {
    review: async (token: string) => {
      if (mode === 'down') throw new Error('connect ECONNREFUSED 10.96.0.1:443');
      return mode === 'unknown' ? undefined : { user: `user of ${token.length}`, groups: [] };
    },
    allowed: async () => mode === 'good',
  };
  const { port, server } = await running(t, {
    ...quick,
    authenticators: [new KubeAuthenticator(fake, { audience: 'sidetrace', graceMs: 1200 })],
  });
  const open = async (claims: object) => {
    const got = gather(t, port, {}, { token: jwt({ aud: ['sidetrace'], ...claims }), reconnect: false });
    await got.until(isLive);
    return got;
  };
  const expiring = await open({ exp: inSeconds(2) });
  const begun = performance.now();
  await assert.rejects(expiring.end, /has expired/);
  assert.ok(performance.now() - begun < 4000);
  while (server.state.ended.expired !== 1) await new Promise((resolve) => setTimeout(resolve, 5));

  const revoked = await open({ exp: inSeconds(600) });
  mode = 'no-right';
  await assert.rejects(revoked.end, /RBAC does not grant it/);
  while (server.state.ended.revoked !== 1) await new Promise((resolve) => setTimeout(resolve, 5));
  mode = 'good';
  const deleted = await open({ exp: inSeconds(600) });
  mode = 'unknown';
  await assert.rejects(deleted.end, /does not accept the token any more/);
  mode = 'good';

  const patient = await open({ exp: inSeconds(600) });
  mode = 'down';
  await new Promise((resolve) => setTimeout(resolve, 700));
  server.publish(numberedMany(1));
  await patient.until(({ records }) => records.length === 1);
  await assert.rejects(
    gather(t, port, {}, { token: jwt({ aud: ['sidetrace'], exp: inSeconds(900) }) }).end,
    /503 Cannot tell what you may do: the API server must be asked/,
  );
  mode = 'good';
  await new Promise((resolve) => setTimeout(resolve, 1500));
  server.publish(numberedMany(1));
  await patient.until(({ records }) => records.length === 2);
  mode = 'down';
  await assert.rejects(patient.end, /cannot be now/);
});

test('TLS: certificates are renewed while it listens, clients check them and say what they saw, client certificates are people', async (t) => {
  if (!hasOpenssl) {
    t.skip('SKIPPED: openssl is not installed');
    return;
  }
  const dir = folder(t);
  const ca = makeCa(dir, 'ca');
  const old = makeCertificate(dir, ca, 'old', '/CN=old', 'IP:127.0.0.1');
  const renewed = makeCertificate(dir, ca, 'renewed', '/CN=renewed', 'IP:127.0.0.1');
  const friend = makeCertificate(dir, ca, 'friend', '/O=team/CN=friend', 'DNS:friend');
  const [cert, key] = [join(dir, 'tls.crt'), join(dir, 'tls.key')];
  copyFileSync(old.cert, cert);
  copyFileSync(old.key, key);
  const files = new TlsFiles({ cert, key }, 0);
  assert.equal(files.refresh(), undefined);
  copyFileSync(renewed.cert, cert);
  assert.equal(files.refresh(), undefined);
  assert.match(files.problem!, /Cannot use the certificate/);
  copyFileSync(renewed.key, key);
  assert.ok(files.refresh() !== undefined);
  assert.equal(files.problem, undefined);

  const tokens = join(dir, 'tokens');
  writeFileSync(tokens, `one ${FIRST}\n`);
  const server = new StreamServer({
    node: 'node-a',
    software: 'test',
    tls: { cert, key, clientCa: ca.cert },
    authenticators: [new TokenFileAuthenticator(tokens), new CertificateAuthenticator()],
  });
  t.after(() => server.close());
  await server.listen([{ host: '0.0.0.0', port: 0 }]);
  const { port } = server.addresses[0] as { port: number };
  const address = { host: '127.0.0.1', port, secure: true };
  const end = (options: object): Promise<string> => {
    const client = new StreamClient({ server: address, ...options });
    t.after(() => client.close());
    return (async () => {
      for await (const event of client) if (event.type === 'status') return 'live';
      return 'over';
    })();
  };
  const trusted = { ca: readFileSync(ca.cert) };
  assert.equal(await end({ ...trusted, token: FIRST }), 'live');
  assert.equal(await end({ ...trusted, cert: readFileSync(friend.cert), key: readFileSync(friend.key) }), 'live');
  assert.equal(await end({ insecure: true, token: FIRST }), 'live');
  await assert.rejects(end({ ...trusted }), /401 Cannot tell who you are/);
  await assert.rejects(
    end({ token: FIRST }),
    /Cannot trust the certificate of wss:.* \(SHA-256 [0-9A-F:]{95}\): .*Name the CA that signed it/,
  );
  await assert.rejects(end({ ...trusted, token: FIRST, serverName: 'elsewhere.example' }), /Cannot trust the certificate/);
  const shown = (): Promise<string> =>
    new Promise((resolve, reject) => {
      const socket = connectTls({ host: '127.0.0.1', port, ca: readFileSync(ca.cert) }, () => {
        resolve(socket.getPeerCertificate().subject.CN as string);
        socket.destroy();
      });
      socket.on('error', reject);
    });
  assert.equal(await shown(), 'renewed');
});

const fetched = (port: number, path: string, headers: object = {}): Promise<{ status: number; body: string; response: IncomingMessage }> =>
  new Promise((resolve, reject) => {
    const asked = plainRequest({ host: '127.0.0.1', port, path, headers: { ...headers } }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (data) => {
        body += data;
      });
      response.on('end', () => resolve({ status: response.statusCode!, body, response }));
      response.on('error', reject);
    });
    asked.on('error', reject);
    asked.end();
  });

test('further routes: parameters, errors as JSON, streams that are read no faster than the client takes them, and end when it goes', async (t) => {
  const { server, port } = await running(t, { stallMs: 200 });
  let made = 0;
  let ended = 0;
  server.handle('GET', '/v1/pods/{namespace}/{name}/envoy/{path...}', 'evidence', ({ params, query, principal }) => ({
    type: 'application/json',
    body: JSON.stringify({ params, query: query.get('q'), who: principal.name }),
  }));
  server.handle('GET', '/v1/pods/{namespace}/{name}/evidence', 'evidence', () => {
    throw new RouteError(404, 'Cannot find the pod: one of this node is wanted');
  });
  server.handle('GET', '/v1/broken', 'status', () => {
    throw new Error('secret detail');
  });
  server.handle('GET', '/v1/large', 'status', () => ({ type: 'text/plain', body: 'x'.repeat(3_000_000) }));
  server.handle('GET', '/v1/netns/{netns}/packets', 'packets', ({ signal }) => ({
    type: 'application/x-pcapng',
    stream: (async function* () {
      try {
        while (!signal.aborted) {
          made++;
          yield Buffer.alloc(65_536);
          await new Promise((resolve) => setImmediate(resolve));
        }
      } finally {
        ended++;
      }
    })(),
  }));
  const good = await fetched(port, '/v1/pods/shop/client-1/envoy/config_dump/part%20two?q=1');
  assert.deepEqual(JSON.parse(good.body), {
    params: { namespace: 'shop', name: 'client-1', path: 'config_dump/part two' },
    query: '1',
    who: 'loopback',
  });
  const gone = await fetched(port, '/v1/pods/shop/client-1/evidence');
  assert.deepEqual(
    [gone.status, JSON.parse(gone.body)],
    [404, { error: 'refused', message: 'Cannot find the pod: one of this node is wanted' }],
  );
  const broken = await fetched(port, '/v1/broken');
  assert.equal(broken.status, 500);
  assert.doesNotMatch(broken.body, /secret detail/);
  assert.equal((await fetched(port, '/v1/large')).body.length, 3_000_000);
  assert.equal((await fetched(port, '/v1/nothing')).status, 404);

  // Who reads goes on; who stops reading is not written to, and is let go.
  const packets = await new Promise<IncomingMessage>((resolve, reject) => {
    plainRequest({ host: '127.0.0.1', port, path: '/v1/netns/a/packets' }, resolve).on('error', reject).end();
  });
  let received = 0;
  packets.on('data', (data: Buffer) => {
    received += data.length;
  });
  packets.on('error', () => {});
  while (received < 20_000_000) await new Promise((resolve) => setTimeout(resolve, 5));
  packets.pause();
  const atPause = made;
  while (ended < 1) await new Promise((resolve) => setTimeout(resolve, 10));
  // The kernel's buffers, and no more.
  assert.ok(made - atPause < 400, `${made - atPause} pieces of 64 KiB were made for one who reads nothing`);
  const leaving = await new Promise<IncomingMessage>((resolve, reject) => {
    plainRequest({ host: '127.0.0.1', port, path: '/v1/netns/a/packets' }, resolve).on('error', reject).end();
  });
  leaving.destroy();
  while (ended < 2) await new Promise((resolve) => setTimeout(resolve, 10));
  while (server.state.connections > 0) await new Promise((resolve) => setTimeout(resolve, 5));
});

test('a second daemon does not take the socket of the first, a stale one is no obstacle, a file is left alone', async (t) => {
  const { path } = await running(t, {}, false);
  const second = new StreamServer({ node: 'node-a', software: 'test' });
  t.after(() => second.close());
  await assert.rejects(second.listen([{ path }]), /another process listens there/);
  const file = join(folder(t), 'file');
  writeFileSync(file, 'mine');
  await assert.rejects(second.listen([{ path: file }]), /must be there, it is something else/);
  assert.equal(readFileSync(file, 'utf8'), 'mine');
});

test('addresses of daemons as people write them', () => {
  for (const [text, wanted] of [
    ['/run/a.sock', 'unix:/run/a.sock'],
    ['unix:/run/a.sock', 'unix:/run/a.sock'],
    ['unix:///run/a.sock', 'unix:/run/a.sock'],
    ['localhost', 'ws://localhost:4280'],
    ['10.0.0.1:99', 'ws://10.0.0.1:99'],
    ['wss://node-a.example', 'wss://node-a.example:4280'],
    ['https://[::1]:4280/', 'wss://[::1]:4280'],
    ['http://a:1', 'ws://a:1'],
  ] as const)
    assert.equal(serverAddressText(parseServerAddress(text)), wanted);
  for (const text of [
    '',
    'unix:',
    'run/a.sock',
    'ftp://a',
    'a:0',
    'a:99999',
    'a b',
    'user@host',
    'ws://a/path',
    '::1',
    `/${'a'.repeat(200)}`,
  ])
    assert.throws(() => parseServerAddress(text), TypeError, text);
});
