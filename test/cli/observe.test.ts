/** `observe` and `status` as users run them, against real servers on Unix sockets and TCP. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { AnyRecord, LostRecord, PathRecord } from '../../src/record/record.ts';
import { CertificateAuthenticator } from '../../src/stream/certificate-authenticator.ts';
import { StreamServer } from '../../src/stream/server.ts';
import { TokenFileAuthenticator } from '../../src/stream/token-file.ts';
import { watch } from '../daemon/engine/watched-recording.ts';
import { shape } from '../relay/halves.ts';
import { hasOpenssl, makeCa, makeCertificate } from '../stream/certificates.ts';
import { folder, numbered, numberedMany, running } from '../stream/live.ts';
import { main, type Ran } from './run.ts';

interface Running extends Ran {
  readonly child: ChildProcess;
  readonly end: Promise<Ran>;
  until(condition: (ran: Ran) => boolean, what: string): Promise<void>;
}

function start(t: TestContext, args: readonly string[], environment: NodeJS.ProcessEnv = {}): Running {
  const child = spawn(process.execPath, [main, ...args], {
    env: { ...process.env, NO_COLOR: '1', SIDETRACE_SERVER: '', SIDETRACE_TOKEN: '', ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  t.after(() => child.kill('SIGKILL'));
  const ran = { code: null as number | null, out: '', err: '' };
  const waiting = new Set<() => void>();
  const check = (): void => {
    for (const one of waiting) one();
  };
  for (const [stream, key] of [
    [child.stdout, 'out'],
    [child.stderr, 'err'],
  ] as const)
    stream.setEncoding('utf8').on('data', (text: string) => {
      ran[key] += text;
      check();
    });
  const end = new Promise<Ran>((resolve) => {
    child.once('close', (code) => {
      ran.code = code;
      check();
      resolve(ran);
    });
  });
  return Object.assign(ran, {
    child,
    end,
    until: (condition: (ran: Ran) => boolean, what: string) =>
      new Promise<void>((resolve, reject) => {
        const timer = setTimeout(
          () => reject(new Error(`${what} did not come: ${JSON.stringify([ran.code, ran.out.slice(-500), ran.err.slice(-500)])}`)),
          30_000,
        );
        const one = (): void => {
          if (!condition(ran)) return;
          clearTimeout(timer);
          waiting.delete(one);
          resolve();
        };
        waiting.add(one);
        one();
      }),
  });
}

async function ran(t: TestContext, args: readonly string[], environment: NodeJS.ProcessEnv = {}): Promise<Ran> {
  return await start(t, args, environment).end;
}

/** Of whole lines. */
const records = (text: string): AnyRecord[] =>
  text
    .slice(0, text.lastIndexOf('\n') + 1)
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as AnyRecord);

function told(node: string): AnyRecord[] {
  return watch(`captures/bookinfo/${node}.tar.gz`, { linger: 8 }).filter(({ type }) => type !== 'total');
}

const halves = { 'node-a': told('node-a'), 'node-b': told('node-b') };

async function twoDaemons(t: TestContext): Promise<{ readonly args: string[]; readonly servers: StreamServer[] }> {
  const args: string[] = [];
  const servers: StreamServer[] = [];
  for (const node of ['node-a', 'node-b'] as const) {
    const { server, path } = await running(t, { node }, false);
    args.push('--server', `unix:${path}`);
    servers.push(server);
  }
  return { args, servers };
}

/** Somebody follows each. */
async function subscribed(servers: readonly StreamServer[]): Promise<void> {
  for (let i = 0; i < 1000; i++) {
    if (servers.every(({ hub }) => [...hub.subscribers()].length > 0)) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error('Nobody subscribed within 20 seconds');
}

test('the last 20 of one daemon, when nothing else is said', async (t) => {
  const { server, path } = await running(t);
  server.publish(numberedMany(50));
  const { code, out, err } = await ran(t, ['observe', '--server', path, '-o', 'json']);
  assert.deepEqual([code, err], [0, '']);
  assert.equal(records(out).length, 20);
});

test('SIDETRACE_SERVER and --last, --first, a port of this machine', async (t) => {
  const { server, port } = await running(t);
  const many = numberedMany(30);
  server.publish(many);
  const environment = { SIDETRACE_SERVER: `127.0.0.1:${port}` };
  const last = await ran(t, ['observe', '-o', 'json', '--last', '3'], environment);
  assert.deepEqual(
    records(last.out).map((record) => 'id' in record && record.id),
    many.slice(-3).map(({ id }) => id),
  );
  const first = await ran(t, ['observe', '-o', 'json', '--first', '3'], environment);
  assert.deepEqual(
    records(first.out).map((record) => 'id' in record && record.id),
    many.slice(0, 3).map(({ id }) => id),
  );
});

test('filters are answered by the daemon, negated ones, too', async (t) => {
  const { server, path } = await running(t);
  server.publish([
    numbered({ destination: { ip: '10.0.0.9', port: 80 } }),
    numbered({ destination: { ip: '10.0.0.9', port: 81 } }),
    numbered({ destination: { ip: '10.0.0.9', port: 82 } }),
  ]);
  const { out } = await ran(t, ['observe', '--server', path, '-o', 'json', '--ip', '10.0.0.9', '--not', '--port', '81']);
  assert.deepEqual(
    records(out).map((record) => record.type === 'flow' && record.destination.port),
    [80, 82],
  );
});

test('-f goes on with what comes, until Ctrl-C', async (t) => {
  const { server, path } = await running(t);
  server.publish(numberedMany(5));
  const run = start(t, ['observe', '-f', '--server', path, '-o', 'json', '--last', '1']);
  await run.until(({ out }) => records(out).length === 1, 'the last record');
  server.publish(numberedMany(2));
  await run.until(({ out }) => records(out).length === 3, 'what came');
  run.child.kill('SIGINT');
  const { code } = await run.end;
  assert.equal(code, 130);
});

test('paths of two daemons are completed, from what they kept and as it happens', async (t) => {
  const whole = watch('captures/bookinfo', { linger: 8 }).filter((record) => record.type === 'path');
  const wanted = [...new Map(whole.map((path) => [path.id, path])).values()].map(shape).sort();
  const { args, servers } = await twoDaemons(t);
  servers.forEach((server, i) => {
    server.publish(i === 0 ? halves['node-a'] : halves['node-b']);
  });
  const newest = (text: string): PathRecord[] => [
    ...new Map(records(text).flatMap((record) => (record.type === 'path' ? [[record.id, record] as const] : []))).values(),
  ];
  const kept = await ran(t, ['observe', ...args, '--since', '2000-01-01', '-o', 'json']);
  assert.deepEqual(newest(kept.out).map(shape).sort(), wanted);
  assert.equal(kept.code, 0);
  assert.match(kept.err, /node-a: connected .*\n.*node-b: connected/);

  const { args: liveArgs, servers: live } = await twoDaemons(t);
  const run = start(t, ['observe', '-f', ...liveArgs, '-o', 'json', '--quiet', '--window', '200ms']);
  await subscribed(live);
  live[0]!.publish(halves['node-a']);
  setTimeout(() => live[1]!.publish(halves['node-b']), 150);
  await run.until(({ out }) => newest(out).length >= wanted.length, 'all paths');
  assert.deepEqual(newest(run.out).map(shape).sort(), wanted);
  assert.equal(run.err, '');
});

test('connections that were told before anybody subscribed are known: paths on them are completed', async (t) => {
  const { args, servers } = await twoDaemons(t);
  const isPath = (record: AnyRecord): boolean => record.type === 'path';
  // All flows first, then nothing but paths, as on connections that last.
  servers.forEach((server, i) => {
    server.publish((i === 0 ? halves['node-a'] : halves['node-b']).filter((record) => !isPath(record)));
  });
  for (const format of ['json', 'text']) {
    const run = start(t, ['observe', '-f', ...args, '-o', format, '--quiet', '--window', '200ms']);
    await subscribed(servers);
    servers.forEach((server, i) => {
      server.publish((i === 0 ? halves['node-a'] : halves['node-b']).filter(isPath));
    });
    if (format === 'json')
      await run.until(
        ({ out }) => records(out).filter((record) => record.type === 'path' && record.legs.length === 4).length >= 25,
        'paths of four legs',
      );
    else
      await run.until(
        ({ out }) => (out.match(/ {2}in \S+ on node-b\n {2}├─ client → proxy {4}default/g) ?? []).length >= 10,
        'blocks over both nodes',
      );
    assert.ok(!run.out.includes('(not shown)'));
    run.child.kill('SIGINT');
    await run.end;
  }
});

test('text shows a path over two nodes as one block, as soon as it is whole', async (t) => {
  const { args, servers } = await twoDaemons(t);
  const run = start(t, ['observe', '-f', ...args, '--quiet', '--window', '100ms']);
  await subscribed(servers);
  servers.forEach((server, i) => {
    server.publish(i === 0 ? halves['node-a'] : halves['node-b']);
  });
  const find = (out: string): string | undefined =>
    out
      .split('\n\n')
      .slice(0, -1)
      .find((text) => text.includes('GET ratings:9080') && text.includes('on node-b'));
  await run.until(({ out }) => find(out) !== undefined, 'the block of a request');
  const block = find(run.out)!;
  const [wheres, roles] = [
    [...block.matchAll(/ {2}in (\S+) on (\S+)/g)],
    [...block.matchAll(/(app → proxy|proxy → upstream|client → proxy|proxy → app)/g)],
  ];
  assert.deepEqual(
    wheres.map(([, , node]) => node),
    ['node-a', 'node-b'],
  );
  assert.deepEqual(
    roles.map(([role]) => role),
    ['app → proxy', 'proxy → upstream', 'client → proxy', 'proxy → app'],
  );
});

test('with several daemons filters look at whole paths, whichever node knows', async (t) => {
  const { args, servers } = await twoDaemons(t);
  servers.forEach((server, i) => {
    server.publish(i === 0 ? halves['node-a'] : halves['node-b']);
  });
  // Only node-b knows the inbound cluster, only node-a the outbound one.
  for (const cluster of ['inbound|9080||', 'outbound|9080||ratings.default.svc.cluster.local']) {
    const { out } = await ran(t, [
      'observe',
      ...args,
      '--since',
      '2000-01-01',
      '-o',
      'json',
      '--cluster',
      cluster,
      '--http-path',
      '^/ratings',
    ]);
    const paths = records(out).filter((record) => record.type === 'path');
    assert.ok(paths.length >= 5);
    assert.ok(paths.every(({ request }) => request?.path?.startsWith('/ratings')));
    assert.ok(paths.some(({ legs }) => legs.length === 4 && legs[0]!.node !== legs[3]!.node));
  }
});

test('--no-join leaves the parts as they are', async (t) => {
  const { args, servers } = await twoDaemons(t);
  servers.forEach((server, i) => {
    server.publish(i === 0 ? halves['node-a'] : halves['node-b']);
  });
  const { out } = await ran(t, ['observe', ...args, '--no-join', '--since', '2000-01-01', '-o', 'json']);
  assert.equal(records(out).length, halves['node-a'].length + halves['node-b'].length);
});

test('one dead daemon does not keep the others from being read, and is told', async (t) => {
  const { server, path } = await running(t);
  server.publish(numberedMany(3));
  const dead = join(folder(t), 'nobody.sock');
  const { code, out, err } = await ran(t, ['observe', '--server', dead, '--server', path, '-o', 'json']);
  assert.equal(records(out).length, 3);
  assert.match(err, /Cannot connect to unix:.*nobody\.sock/);
  assert.equal(code, 3);
  assert.equal((await ran(t, ['observe', '--server', dead])).code, 3);
});

test('a daemon that is started anew is followed again, and the gap is told', async (t) => {
  const path = join(folder(t), 'daemon.sock');
  const make = async (): Promise<StreamServer> => {
    const server = new StreamServer({ node: 'node-a', software: 'sidetrace test', flushMs: 2 });
    await server.listen([{ path }]);
    return server;
  };
  const before = await make();
  before.publish(numberedMany(3));
  const run = start(t, ['observe', '-f', '--server', path, '-o', 'json', '--last', '5']);
  await run.until(({ out }) => records(out).length === 3, 'the past');
  await before.close();
  await run.until(({ err }) => /node-a: .*trying again/.test(err), 'that it went');
  const after = await make();
  t.after(() => after.close());
  after.publish(numberedMany(2));
  await run.until(({ out }) => records(out).filter(({ type }) => type === 'flow').length === 5, 'what came after');
  assert.match(run.err, /node-a: connected again/);
  const lost = records(run.out).filter((record): record is LostRecord => record.type === 'lost');
  assert.equal(lost.length, 1);
  assert.equal(lost[0]!.exact, false);
  run.child.kill('SIGINT');
  assert.equal((await run.end).code, 130);
});

test('the same daemon by two names is asked once', async (t) => {
  const { server, path, port } = await running(t);
  server.publish(numberedMany(4));
  const { out, err } = await ran(t, ['observe', '--server', path, '--server', `127.0.0.1:${port}`, '-o', 'json']);
  assert.equal(records(out).length, 4);
  assert.match(err, /is the daemon that .* is, too/);
});

test('a reader that goes away ends it', async (t) => {
  const { server, path } = await running(t);
  const run = start(t, ['observe', '-f', '--server', path, '-o', 'json', '--last', '1']);
  server.publish(numberedMany(1));
  await run.until(({ out }) => out !== '', 'the first');
  run.child.stdout!.destroy();
  const feed = setInterval(() => server.publish(numberedMany(1)), 50);
  t.after(() => clearInterval(feed));
  assert.equal((await run.end).code, 0);
});

test('what makes no sense is told before anybody is asked', async (t) => {
  const faults: [string[], RegExp][] = [
    [['-f', '--first', '3'], /Cannot give --first and --follow together/],
    [['-f', '-o', 'table'], /Cannot write the format "table" with --follow/],
    [['--server', 'ftp://x'], /Cannot find a daemon at "ftp:\/\/x"/],
    [['--window', 'soon'], /Cannot take "soon" for --window/],
    [['--server', 'a:1', '--server', 'b:1', '--label', 'app=web'], /Cannot filter by labels with several daemons/],
    [['--tls-client-cert-file', 'x'], /Cannot show a certificate/],
    [['--since', 'noon', '--server', 'a:1'], /Cannot read the time "noon"/],
    [['--not'], /Cannot negate the end of the line/],
  ];
  for (const [args, wanted] of faults) {
    const { code, err } = await ran(t, ['observe', ...args]);
    assert.match(err, wanted);
    assert.equal(code, 1, args.join(' '));
  }
});

test('TLS, a token from a file and from the environment, and a certificate of our own', async (t) => {
  if (!hasOpenssl) {
    t.skip('SKIPPED: openssl is not installed');
    return;
  }
  const dir = folder(t);
  const ca = makeCa(dir, 'ca');
  const own = makeCertificate(dir, ca, 'daemon', '/CN=daemon', 'DNS:sidetrace.example');
  const friend = makeCertificate(dir, ca, 'friend', '/O=team/CN=friend', 'DNS:friend');
  const secret = 'abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG';
  const tokens = join(dir, 'tokens');
  writeFileSync(tokens, `one ${secret}\n`);
  const token = join(dir, 'token');
  writeFileSync(token, `${secret}\n`);
  const server = new StreamServer({
    node: 'node-a',
    software: 'sidetrace test',
    tls: { cert: own.cert, key: own.key, clientCa: ca.cert },
    authenticators: [new TokenFileAuthenticator(tokens), new CertificateAuthenticator()],
  });
  t.after(() => server.close());
  await server.listen([{ host: '0.0.0.0', port: 0 }]);
  server.publish(numberedMany(3));
  const { port } = server.addresses[0] as { port: number };
  const there = ['observe', '-o', 'json', '--server', `wss://127.0.0.1:${port}`];
  const trusting = [...there, '--tls-ca-cert-files', ca.cert, '--tls-server-name', 'sidetrace.example'];
  const count = ({ out }: Ran): number => records(out).length;
  assert.equal(count(await ran(t, [...trusting, '--token-file', token])), 3);
  assert.equal(count(await ran(t, trusting, { SIDETRACE_TOKEN: secret })), 3);
  assert.equal(count(await ran(t, [...trusting, '--tls-client-cert-file', friend.cert, '--tls-client-key-file', friend.key])), 3);
  const insecure = await ran(t, [...there, '--tls-allow-insecure', '--token-file', token]);
  assert.equal(count(insecure), 3);
  assert.match(insecure.err, /certificates are not checked/);
  for (const [args, wanted] of [
    [trusting, /401/],
    [[...trusting, '--token-file', tokens], /one line of printable characters is wanted/],
    [[...there, '--token-file', token], /Cannot trust the certificate/],
    [[...there, '--tls-ca-cert-files', ca.cert, '--token-file', token], /Cannot trust the certificate/],
  ] as const) {
    const { code, out, err } = await ran(t, args);
    assert.equal(out, '');
    assert.match(err, wanted);
    assert.notEqual(code, 0);
  }
});

test('a token is never sent in the clear to another machine', async (t) => {
  const token = join(folder(t), 'token');
  writeFileSync(token, 'secret\n');
  for (const args of [
    ['observe', '--server', 'ws://node-b:4280', '--token-file', token],
    ['status', '--server', '192.0.2.1:4280', '--token-file', token],
  ]) {
    const { code, err } = await ran(t, args);
    assert.equal(code, 1);
    assert.match(err, /Cannot send a token to ".*" in the clear/);
  }
  assert.equal((await ran(t, ['status', '--server', 'ws://node-b:4280'], { SIDETRACE_TOKEN: 'secret' })).code, 1);
});
