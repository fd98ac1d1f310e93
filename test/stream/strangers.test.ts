import assert from 'node:assert/strict';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { connect as connectNet, type Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import type { Principal, Verb } from '../../src/stream/authenticator.ts';
import { CertificateAuthenticator } from '../../src/stream/certificate-authenticator.ts';
import { KubeAuthenticator } from '../../src/stream/kube-authenticator.ts';
import { StreamServer } from '../../src/stream/server.ts';
import { TokenFileAuthenticator } from '../../src/stream/token-file.ts';
import { hasOpenssl, makeCa, makeCertificate } from './certificates.ts';
import { folder } from './live.ts';

const KEY = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n';
const UPGRADE = `Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n${KEY}`;
const GOOD = 'static-token-of-the-test-0123456789';
const READER = 'reader-token-of-the-test-0123456789';

const jwt = (claims: object): string => `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.c2ln`;
const tomorrow = Math.floor(Date.now() / 1000) + 86_400;
const cluster = jwt({ aud: ['sidetrace'], exp: tomorrow, sub: 'good' });
const unauthorised = jwt({ aud: ['sidetrace'], exp: tomorrow, sub: 'may-nothing' });

interface Case {
  readonly what: string;
  /** Everything that is sent; the last line break included. */
  readonly request: string;
  readonly status: number;
  readonly reason?: string;
  readonly says?: RegExp;
  readonly over?: 'unix' | 'tcp' | 'tls';
}

const get = (lines: string, path = '/v1/stream'): string => `GET ${path} HTTP/1.1\r\n${lines}\r\n`;
const asked = (lines: string, host = 'localhost'): string => get(`Host: ${host}\r\n${UPGRADE}${lines}`);
const bearer = (token: string): string => `Authorization: Bearer ${token}\r\n`;

const cases: Case[] = [
  { what: 'no token', request: asked(''), status: 401, reason: 'no-credentials', says: /token of the token file/ },
  { what: 'a wrong token', request: asked(bearer('wrong-token-of-the-test-0123456789')), status: 401, reason: 'unknown-token' },
  { what: 'a token with one letter less', request: asked(bearer(GOOD.slice(0, -1))), status: 401 },
  { what: 'a token with one letter more', request: asked(bearer(`${GOOD}a`)), status: 401 },
  { what: 'a token in other case', request: asked(bearer(GOOD.toUpperCase())), status: 401 },
  { what: 'an empty token', request: asked('Authorization: Bearer \r\n'), status: 401, reason: 'no-bearer' },
  { what: 'a token of 100 KiB', request: asked(bearer('a'.repeat(100_000))), status: 431, reason: 'large-header' },
  { what: 'a token of 15 KiB', request: asked(bearer('a'.repeat(15_000))), status: 401 },
  {
    what: 'Basic',
    request: asked(`Authorization: Basic ${Buffer.from(`a:${GOOD}`).toString('base64')}\r\n`),
    status: 401,
    reason: 'no-bearer',
  },
  { what: 'the token without Bearer', request: asked(`Authorization: ${GOOD}\r\n`), status: 401, reason: 'no-bearer' },
  { what: 'a token with a space', request: asked('Authorization: Bearer two words-0123456789\r\n'), status: 401, reason: 'no-bearer' },
  {
    what: 'two headers with tokens',
    request: asked(bearer(GOOD) + bearer('other-token-of-the-test-012345')),
    status: 400,
    reason: 'header-twice',
  },
  {
    what: 'the token in the URL',
    request: get(`Host: localhost\r\n${UPGRADE}`, `/v1/stream?access_token=${GOOD}`),
    status: 400,
    reason: 'token-in-url',
  },
  {
    what: 'the token in the URL, named token',
    request: get(`Host: localhost\r\n${UPGRADE}`, `/v1/stream?token=${GOOD}`),
    status: 400,
    reason: 'token-in-url',
  },
  { what: 'the token in a cookie', request: asked(`Cookie: token=${GOOD}\r\n`), status: 401 },
  { what: 'the token as user info of the host', request: asked('', `${GOOD}@localhost`), status: 403, reason: 'host' },
  {
    what: 'the token as a subprotocol',
    request: asked(`Sec-WebSocket-Protocol: sidetrace.v1.json, base64url.bearer.${GOOD}\r\n`),
    status: 401,
  },
  { what: 'an expired token of the cluster', request: asked(bearer(jwt({ aud: ['sidetrace'], exp: 1_600_000_000 }))), status: 401 },
  {
    what: 'a token for somebody else',
    request: asked(bearer(jwt({ aud: ['https://kubernetes.default.svc'], exp: tomorrow }))),
    status: 401,
  },
  { what: 'a token for an audience that begins alike', request: asked(bearer(jwt({ aud: 'sidetrace.evil', exp: tomorrow }))), status: 401 },
  {
    what: 'alg none',
    request: asked(
      bearer(`${Buffer.from('{"alg":"none"}').toString('base64url')}.${Buffer.from('{"sub":"system:admin"}').toString('base64url')}.`),
    ),
    status: 401,
  },
  { what: 'a token of another issuer', request: asked(bearer(jwt({ aud: ['sidetrace'], iss: 'evil', exp: tomorrow }))), status: 401 },
  {
    what: 'a token with a prototype',
    request: asked(bearer(jwt(JSON.parse('{"__proto__":{"aud":"sidetrace"},"exp":99999999999}') as object))),
    status: 401,
  },
  {
    what: 'an account of the cluster without the right',
    request: asked(bearer(unauthorised)),
    status: 403,
    reason: 'not-allowed',
    says: /"observe".*"flows".*"sidetrace.dev"/,
  },
  {
    what: 'a token that may only ask for the status',
    request: asked(bearer(READER)),
    status: 403,
    reason: 'not-allowed',
    says: /"observe"/,
  },
  {
    what: 'a token that may only ask for the status, for packets',
    request: get(`Host: localhost\r\n${bearer(READER)}`, '/v1/netns/a/packets'),
    status: 403,
    says: /"packets"/,
  },
  { what: 'no token, for packets', request: get('Host: localhost\r\n', '/v1/netns/a/packets'), status: 401 },
  { what: 'another path', request: get(`Host: localhost\r\n${UPGRADE}${bearer(GOOD)}`, '/v2/stream'), status: 404, reason: 'no-path' },
  { what: 'a path that climbs', request: get(`Host: localhost\r\n${bearer(GOOD)}`, '/v1/netns/../../etc/passwd'), status: 404 },
  { what: 'a path with a NUL', request: get(`Host: localhost\r\n${bearer(GOOD)}`, '/v1/netns/%00/nothing'), status: 404 },
  { what: 'a path that cannot be decoded', request: get(`Host: localhost\r\n${bearer(GOOD)}`, '/v1/netns/%ff/packets'), status: 404 },
  {
    what: 'POST',
    request: `POST /v1/stream HTTP/1.1\r\nHost: localhost\r\n${bearer(GOOD)}Content-Length: 0\r\n\r\n`,
    status: 405,
    reason: 'method',
  },
  { what: 'DELETE of packets', request: `DELETE /v1/netns/a/packets HTTP/1.1\r\nHost: localhost\r\n${bearer(GOOD)}\r\n`, status: 405 },
  { what: 'HEAD', request: `HEAD /v1/netns/a/packets HTTP/1.1\r\nHost: localhost\r\n${bearer(GOOD)}\r\n`, status: 405 },
  { what: 'an upgrade by POST', request: `POST /v1/stream HTTP/1.1\r\nHost: localhost\r\n${UPGRADE}${bearer(GOOD)}\r\n`, status: 405 },
  { what: 'no upgrade', request: get(`Host: localhost\r\n${bearer(GOOD)}`), status: 426, reason: 'no-upgrade' },
  { what: 'an upgrade to h2c', request: get(`Host: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n${bearer(GOOD)}`), status: 426 },
  {
    what: 'version 8 of WebSocket',
    request: get(`Host: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 7\r\n${KEY}${bearer(GOOD)}`),
    status: 400,
  },
  {
    what: 'no key',
    request: get(`Host: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n${bearer(GOOD)}`),
    status: 400,
  },
  {
    what: 'a key that is none',
    request: get(
      `Host: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n${bearer(GOOD)}`,
    ),
    status: 400,
  },
  {
    what: 'subprotocols that we do not speak',
    request: asked(`${bearer(GOOD)}Sec-WebSocket-Protocol: graphql-ws, sidetrace.v2.msgpack\r\n`),
    status: 400,
    reason: 'subprotocol',
    says: /sidetrace\.v1\.msgpack/,
  },
  {
    what: 'a body',
    request: `GET /v1/netns/a/packets HTTP/1.1\r\nHost: localhost\r\n${bearer(GOOD)}Content-Length: 5\r\n\r\nhello`,
    status: 400,
    reason: 'body',
  },
  {
    what: 'a body in chunks',
    request: `GET /v1/netns/a/packets HTTP/1.1\r\nHost: localhost\r\n${bearer(GOOD)}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    status: 400,
    reason: 'body',
  },
  { what: 'no Host', request: get(UPGRADE + bearer(GOOD)), status: 403, reason: 'host' },
  { what: 'two Hosts', request: get(`Host: localhost\r\nHost: evil.example\r\n${UPGRADE}${bearer(GOOD)}`), status: 400 },
  { what: 'no HTTP at all', request: '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', status: 400, reason: 'no-http' },
  { what: 'HTTP/9', request: `GET /v1/stream HTTP/9.9\r\nHost: localhost\r\n${UPGRADE}\r\n`, status: 400 },
  { what: 'a header line without a colon', request: get(`Host: localhost\r\nbroken\r\n${UPGRADE}`), status: 400 },
  { what: 'six thousand headers', request: asked(`${'X-A: b\r\n'.repeat(6000)}${bearer(GOOD)}`), status: 431 },
  { what: 'a folded header', request: asked(`Authorization: Bearer\r\n ${GOOD}\r\n`), status: 400 },
  { what: 'an absolute URL without a token', request: get(`Host: localhost\r\n${UPGRADE}`, 'http://localhost/v1/stream'), status: 404 },
  { what: 'through a Unix socket that is not trusted', request: asked(''), status: 401, over: 'unix' },
  { what: 'TLS without a certificate or a token', request: asked(''), status: 401, over: 'tls' },
  { what: 'TLS with a wrong token', request: asked(bearer('wrong-token-of-the-test-0123456789')), status: 401, over: 'tls' },
  // Pages of strangers, with a good token: a browser would send what it has.
  ...[
    'https://evil.example',
    'null',
    '',
    'http://localhost',
    'http://127.0.0.1:4280',
    'https://console.example:8443',
    'https://console.example.evil.example',
    'https://evilconsole.example',
    'http://console.example',
    'HTTPS://CONSOLE.EXAMPLE',
    'https://console.example/',
    'https://console.example.',
    'file://',
    'https://console.example@evil.example',
  ].map(
    (origin): Case => ({
      what: `a page of the origin "${origin}"`,
      request: asked(`Origin: ${origin}\r\n${bearer(GOOD)}`),
      status: 403,
      reason: 'origin',
    }),
  ),
  // Names that lead to 127.0.0.1, as DNS rebinding has it.
  ...[
    'evil.example',
    'evil.example:4280',
    'localhost.evil.example',
    '127.0.0.1.nip.io',
    'localhost@evil.example',
    '2130706433',
    '0x7f.1',
    '[::1',
    'localhost:port',
  ].map((host): Case => ({ what: `the host "${host}"`, request: asked(bearer(GOOD), host), status: 403, reason: 'host' })),
];

/** Sends, and reads until the other end closes or two seconds have gone. */
function talk(socket: Socket, request: string): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    const give = (): void => {
      socket.destroy();
      resolve(text);
    };
    const timer = setTimeout(give, 4000);
    socket.setEncoding('latin1');
    socket.on('data', (data) => {
      text += data;
      // A WebSocket that was opened stays open.
      if (text.startsWith('HTTP/1.1 101') && text.includes('\r\n\r\n')) give();
    });
    socket.on('close', () => {
      clearTimeout(timer);
      give();
    });
    socket.on('error', () => {});
    socket.write(request, 'latin1');
  });
}

test('strangers: each is answered with what is missing, none is let in, no token is logged', async (t) => {
  if (!hasOpenssl) {
    t.skip('SKIPPED: openssl is not installed');
    return;
  }
  const dir = folder(t);
  const ca = makeCa(dir, 'ca');
  const otherCa = makeCa(dir, 'other-ca');
  const own = makeCertificate(dir, ca, 'server', '/CN=server', 'IP:127.0.0.1');
  const friend = makeCertificate(dir, ca, 'friend', '/O=team/CN=friend', 'DNS:friend');
  const forged = makeCertificate(dir, otherCa, 'forged', '/O=team/CN=friend', 'DNS:friend');
  const unlisted = makeCertificate(dir, ca, 'unlisted', '/CN=unlisted', 'DNS:unlisted');
  const tokens = join(dir, 'tokens');
  writeFileSync(tokens, `# who may\nadmin ${GOOD}\nreader ${READER} status\n`);
  const logged: string[] = [];
  const log = {
    info: (fields: object, message: string) => void logged.push(JSON.stringify(fields) + message),
    warn: (fields: object, message: string) => void logged.push(JSON.stringify(fields) + message),
  };
  let reviews = 0;
  const reviewer = {
    review: async (token: string) => {
      reviews++;
      return token === cluster || token === unauthorised
        ? { user: token === cluster ? 'good' : 'may-nothing', groups: ['all'] }
        : undefined;
    },
    allowed: async ({ user }: { user: string }) => user === 'good',
  };
  const options = {
    node: 'node-a',
    software: 'sidetrace test',
    log,
    origins: ['https://console.example'],
    trust: { unix: false, loopback: false },
    authenticators: [
      new TokenFileAuthenticator(tokens),
      new KubeAuthenticator(reviewer, { audience: 'sidetrace' }),
      new CertificateAuthenticator({ subjects: ['friend'] }),
    ],
    // Everybody here has the same address.
    handshakeMs: 1000,
  };
  const server = new StreamServer(options);
  const secure = new StreamServer({ ...options, tls: { ...own, clientCa: ca.cert } });
  for (const one of [server, secure]) {
    t.after(() => one.close());
    one.handle('GET', '/v1/netns/{netns}/packets', 'packets', () => ({ type: 'text/plain', body: 'packets' }));
  }
  const path = join(dir, 'daemon.sock');
  await server.listen([{ path }, { host: '127.0.0.1', port: 0 }]);
  await secure.listen([{ host: '127.0.0.1', port: 0 }]);
  assert.equal(statSync(path).mode & 0o777, 0o660);
  const port = (server.addresses[1] as { port: number }).port;
  const tlsPort = (secure.addresses[0] as { port: number }).port;
  const tls = (more: object = {}): Socket => connectTls({ host: '127.0.0.1', port: tlsPort, ca: readFileSync(ca.cert), ...more });
  const pair = ({ cert, key }: { cert: string; key: string }) => ({ cert: readFileSync(cert), key: readFileSync(key) });

  let accepted = 0;
  for (const { what, request, status, reason, says, over = 'tcp' } of cases) {
    const once = (): Promise<string> =>
      talk(over === 'unix' ? connectNet({ path }) : over === 'tls' ? tls() : connectNet({ host: '127.0.0.1', port }), request);
    let answer = await once();
    // Strangers before this one have used up the reviews of a second.
    for (let i = 0; i < 3 && status !== 401 && answer.includes('too-many-tokens'); i++) {
      await new Promise((resolve) => setTimeout(resolve, 500));
      answer = await once();
    }
    if (answer.startsWith('HTTP/1.1 101') || answer.startsWith('HTTP/1.1 200')) accepted++;
    // Many failures of one address end in 429: that is an answer, too.
    const got = Number(/^HTTP\/1\.1 (\d{3}) /.exec(answer)?.[1]);
    assert.ok(got === status || (status === 401 && got === 429), `${what}: ${status} is wanted, it is ${answer.slice(0, 300)}`);
    const body = answer.slice(answer.indexOf('\r\n\r\n') + 4);
    if (got === 429) continue;
    if (reason !== undefined) assert.equal((JSON.parse(body) as { error: string }).error, reason, what);
    if (says !== undefined) assert.match((JSON.parse(body) as { message: string }).message, says, what);
    assert.ok(!answer.includes(GOOD), `${what}: the token is repeated`);
  }
  const certificates: [string, object, number][] = [
    ['of another CA', pair(forged), 401],
    ['of nobody on the list', pair(unlisted), 403],
  ];
  for (const [what, more, status] of certificates) {
    const answer = await talk(tls(more), asked(''));
    if (answer.startsWith('HTTP/1.1 101')) accepted++;
    assert.match(answer, new RegExp(`^HTTP/1.1 (${status}|429) `), `a certificate ${what}`);
  }
  const noTls: [string, () => Socket][] = [
    ['plain HTTP to a TLS port', () => connectNet({ host: '127.0.0.1', port: tlsPort })],
    ['TLS 1.1', () => tls({ minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' })],
    ['TLS with no cipher of ours', () => tls({ maxVersion: 'TLSv1.2', ciphers: 'NULL-SHA256:@SECLEVEL=0' })],
  ];
  for (const [what, connect] of noTls) {
    const answer = await talk(connect(), asked(bearer(GOOD)));
    assert.ok(!answer.startsWith('HTTP/1.1 101') && !answer.startsWith('HTTP/1.1 2'), `${what}: ${answer.slice(0, 100)}`);
  }
  t.diagnostic(`${cases.length + certificates.length + noTls.length} strangers, ${accepted} let in, ${reviews} reviews`);
  assert.equal(accepted, 0);
  const text = logged.join('\n');
  for (const secret of [GOOD, READER, cluster, unauthorised, 'wrong-token'])
    assert.ok(!text.includes(secret), `a token is in the log: ${secret}`);

  // And those who may are let in, by each way.
  await new Promise((resolve) => setTimeout(resolve, 600));
  assert.match(await talk(connectNet({ host: '127.0.0.1', port }), asked(bearer(GOOD))), /^HTTP\/1.1 101 /);
  assert.match(await talk(connectNet({ path }), asked(bearer(GOOD), 'anything')), /^HTTP\/1.1 101 /);
  assert.match(
    await talk(connectNet({ host: '127.0.0.1', port }), asked(`Origin: https://console.example\r\n${bearer(GOOD)}`)),
    /^HTTP\/1.1 101 /,
  );
  assert.match(await talk(connectNet({ host: '127.0.0.1', port }), asked(bearer(cluster))), /^HTTP\/1.1 101 /);
  assert.match(await talk(tls(pair(friend)), asked('')), /^HTTP\/1.1 101 /);
  assert.match(await talk(tls(), get(`Host: node-a.example\r\n${bearer(GOOD)}`, '/v1/netns/a/packets')), /^HTTP\/1.1 200 [\s\S]*packets$/);
});

test('no address that others reach is listened on without TLS and authentication', async () => {
  const open = new StreamServer({ node: 'a', software: 'test' });
  for (const host of ['0.0.0.0', '::', '10.0.0.1', undefined])
    await assert.rejects(
      open.listen([{ path: '/nonexistent/socket' }, { port: 4280, ...(host === undefined ? {} : { host }) }]),
      /Cannot listen on .*TLS certificate and key and an authenticator .* are missing/,
    );
  assert.deepEqual(open.addresses, []);
  await open.close();
});

test('ten thousand bad tokens of the cluster in ten seconds cost the API server 50 reviews at most', async () => {
  let reviews = 0;
  const review = async (): Promise<undefined> => {
    reviews++;
  };
  const authenticator = new KubeAuthenticator({ review, allowed: async () => false }, { audience: 'sidetrace' });
  const answers = new Map<number, number>();
  for (let i = 0; i < 10_000; i++) {
    const answer = await authenticator.authenticate({ transport: 'network', url: '/', token: `bad-token-${i}-0123456789` });
    const { refused } = answer as { refused: number };
    answers.set(refused, (answers.get(refused) ?? 0) + 1);
  }
  assert.ok(reviews <= 12, `${reviews} reviews at once`);
  assert.equal(answers.get(429), 10_000 - reviews);
});

test('what a token may is asked for the verb, and not for the method', async (t) => {
  const tokens = join(folder(t), 'tokens');
  writeFileSync(tokens, `reader ${READER} observe,status\n`);
  const authenticator = new TokenFileAuthenticator(tokens);
  const principal = (await authenticator.authenticate({ transport: 'network', url: '/', token: READER })) as Principal;
  const may = async (verb: Verb): Promise<boolean> => (await authenticator.authorize(principal, verb)) === true;
  assert.deepEqual([await may('observe'), await may('status'), await may('evidence'), await may('packets')], [true, true, false, false]);
  for (const [text, says] of [
    ['short', /16 to 8192 printable/],
    ['a b c d', /it must be TOKEN/],
    [`reader ${READER} delete`, /"delete" must be one of observe/],
    ['', /must hold a token/],
  ] as const) {
    writeFileSync(tokens, text);
    assert.throws(
      () => new TokenFileAuthenticator(tokens),
      (error: Error) => says.test(error.message) && !error.message.includes(READER),
    );
  }
});
