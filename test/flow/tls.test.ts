import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type ConnectionOptions, connect, createServer, type TlsOptions } from 'node:tls';
import { formatTlsVersion } from '../../src/decode/tls.ts';
import type { ConnectionTracker } from '../../src/flow/exchange.ts';
import { bytesOf, follow, type Saying, segments, track } from './conversation.ts';
import { record } from './recording.ts';

const CLIENT = 'spiffe://cluster.local/ns/default/sa/client';
const SERVER = 'spiffe://cluster.local/ns/default/sa/server';

interface Pair {
  key: Buffer;
  cert: Buffer;
}

/** Certificates as Istio issues them, made by openssl; `undefined`, and the test skipped loudly, where it is not installed. */
function certificates(context: TestContext): { client: Pair; server: Pair } | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'sidetrace-tls-'));
  const make = (uri: string): Pair => {
    const key = join(folder, 'key.pem');
    const cert = join(folder, 'cert.pem');
    const options = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1', '-subj', '/O=cluster.local'];
    execFileSync(
      'openssl',
      ['req', '-x509', ...options, '-addext', `subjectAltName=critical,DNS:shop,URI:${uri}`, '-keyout', key, '-out', cert],
      { stdio: 'ignore' },
    );
    return { key: readFileSync(key), cert: readFileSync(cert) };
  };
  try {
    return { client: make(CLIENT), server: make(SERVER) };
  } catch (cause) {
    if ((cause as { code?: string }).code !== 'ENOENT') throw cause;
    context.skip('SKIPPED: openssl is not installed');
    return undefined;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The client sends `lengths[i]` bytes and waits for as many times ten, in turns. */
async function talk(serverOptions: TlsOptions, clientOptions: ConnectionOptions, lengths: readonly number[]): Promise<Saying[]> {
  const server = createServer({ rejectUnauthorized: false, ...serverOptions }, (socket) => {
    socket.on('data', (data) => socket.write(Buffer.alloc(data.length * 10, 115)));
    socket.on('end', () => socket.end());
    socket.on('error', () => {});
  });
  server.on('tlsClientError', () => {});
  return await record(server, async (port) => {
    const socket = connect({
      port,
      host: '127.0.0.1',
      rejectUnauthorized: false,
      servername: 'outbound_.80_._.shop.default.svc.cluster.local',
      ...clientOptions,
    });
    try {
      await once(socket, 'secureConnect');
      for (const length of lengths) {
        socket.write(Buffer.alloc(length, 99));
        for (let got = 0; got < length * 10; ) got += ((await once(socket, 'data')) as Buffer[])[0]!.length;
      }
    } catch {
      // a handshake that fails is what some tests want
    }
    socket.end();
    await once(socket, 'close').catch(() => {});
  });
}

function plainLengths(tracker: ConnectionTracker, direction: 0 | 1): number[] {
  return tracker.timeline!.bursts.filter((burst) => burst.direction === direction && !burst.handshake).map((burst) => burst.plainBytes);
}

test('TLS 1.2 shows both hellos, the protocol that was agreed and the names of both certificates', async (context) => {
  const pairs = certificates(context);
  if (pairs === undefined) return;
  const alpn = ['istio-peer-exchange', 'istio'];
  const sayings = await talk(
    { ...pairs.server, requestCert: true, maxVersion: 'TLSv1.2', ALPNProtocols: ['istio'], ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' },
    { ...pairs.client, ALPNProtocols: alpn },
    [7, 100],
  );
  const tracker = follow(sayings);
  const { tls } = tracker;
  assert.equal(tracker.protocol, 'tls');
  assert.equal(tls?.clientHello?.sni, 'outbound_.80_._.shop.default.svc.cluster.local');
  assert.deepEqual(tls.clientHello.alpn, alpn);
  assert.deepEqual([formatTlsVersion(tls.serverHello!.version), tls.serverHello!.cipherSuite, tls.alpn], ['TLSv1.2', 0xc02b, 'istio']);
  assert.deepEqual(tls.certificateUris, [[CLIENT], [SERVER]]);
  assert.deepEqual(
    [plainLengths(tracker, 0), plainLengths(tracker, 1)],
    [
      [7, 100],
      [70, 1000],
    ],
  );
  assert.deepEqual(tracker.exchanges, []);
});

test('TLS 1.3 hides its certificates; its timeline tells requests and responses to the byte', async (context) => {
  const pairs = certificates(context);
  if (pairs === undefined) return;
  const tracker = follow(
    await talk({ ...pairs.server, requestCert: true }, { ...pairs.client, ALPNProtocols: ['h2', 'http/1.1'] }, [11, 200, 3000]),
  );
  const { tls } = tracker;
  assert.deepEqual([formatTlsVersion(tls!.serverHello!.version), tls!.alpn, tls!.helloRetried], ['TLSv1.3', undefined, false]);
  assert.deepEqual(tls!.certificateUris, [undefined, undefined]);
  assert.deepEqual(plainLengths(tracker, 0), [11, 200, 3000, 2], 'close_notify comes last');
  const answered = plainLengths(tracker, 1);
  assert.ok(answered.join().includes('110,2000,30000'), `session tickets come before, close_notify after: ${answered.join()}`);
});

test('a hello that is asked for again is read again', async (context) => {
  const pairs = certificates(context);
  if (pairs === undefined) return;
  const tracker = follow(await talk({ ...pairs.server, ecdhCurve: 'prime256v1' }, { ecdhCurve: 'X25519:prime256v1' }, [5]));
  const { tls } = tracker;
  assert.deepEqual(
    [tls!.helloRetried, tls!.serverHello!.helloRetryRequest, tls!.clientHello!.sni],
    [true, false, 'outbound_.80_._.shop.default.svc.cluster.local'],
  );
  assert.deepEqual(plainLengths(tracker, 0), [5, 2]);
});

test('an alert in the clear is told', async (context) => {
  const pairs = certificates(context);
  if (pairs === undefined) return;
  const tracker = follow(await talk({ ...pairs.server, minVersion: 'TLSv1.3' }, { maxVersion: 'TLSv1.2' }, []));
  assert.deepEqual([tracker.tls!.alert, tracker.tls!.serverHello], [{ direction: 1, level: 2, description: 70 }, undefined]);
});

test('a hello in many small records, in any segments, is the same hello', async (context) => {
  const pairs = certificates(context);
  if (pairs === undefined) return;
  const sayings = await talk(pairs.server, {}, [5]);
  const expected = follow(sayings).tls!.clientHello;
  const hello = bytesOf(sayings[0]!.data);
  const body = hello.subarray(5);
  const records: Uint8Array[] = [];
  for (let at = 0; at < body.length; at += 50) {
    const part = body.subarray(at, at + 50);
    records.push(Uint8Array.from([22, 3, 1, 0, part.length]), part);
  }
  const split: Saying[] = [{ from: 'client', data: Buffer.concat(records) }, ...sayings.slice(1)];
  for (const length of [1, 7, 55, 1000]) {
    const tracker = follow(split, { segment: () => length });
    assert.deepEqual(tracker.tls!.clientHello, expected, `segments of ${length}`);
    assert.equal(
      tracker.tls!.firstApplicationDataNs.every((timeNs) => timeNs !== undefined),
      true,
    );
  }
});

test('what the snapshot length cuts is unknown, and lengths come from the wire', async (context) => {
  const pairs = certificates(context);
  if (pairs === undefined) return;
  const sayings = await talk({ ...pairs.server, maxVersion: 'TLSv1.2' }, {}, [500, 600]);
  const tracker = follow(sayings, { snap: 60 });
  assert.deepEqual([tracker.protocol, tracker.tls!.clientHello!.cut, tracker.tls!.clientHello!.sni], ['tls', true, undefined]);
  const whole = follow(sayings);
  assert.equal(tracker.timeline!.total[0], whole.timeline!.total[0]);
});

test('a TLS connection joined late has its records, without a hello', async (context) => {
  const pairs = certificates(context);
  if (pairs === undefined) return;
  const sayings = await talk(pairs.server, {}, [500, 600, 700]);
  const late = sayings.slice(-5);
  const tracker = follow(late, { midstream: true });
  assert.deepEqual([tracker.protocol, tracker.midstream, tracker.tls!.clientHello], ['tls', true, undefined]);
  assert.equal(tracker.timeline!.total[0] + tracker.timeline!.total[1] > 1000, true);
  assert.ok(tracker.timeline!.bursts.every((burst) => burst.plainBytes === -1));
});

test('a TLS conversation that stops anywhere, or loses any segment, does not throw and tells no other hello', async (context) => {
  const pairs = certificates(context);
  if (pairs === undefined) return;
  const sayings = await talk({ ...pairs.server, maxVersion: 'TLSv1.2' }, {}, [50]);
  const expected = follow(sayings).tls!;
  const sent = segments(sayings, { segment: () => 40 });
  for (let i = 0; i < sent.length; i++)
    for (const part of [sent.slice(0, i), sent.toSpliced(i, 1)]) {
      const { tls } = track(part);
      if (tls?.clientHello?.sni !== undefined) assert.equal(tls.clientHello.sni, expected.clientHello!.sni);
      if (tls?.serverHello !== undefined) assert.equal(tls.serverHello.cipherSuite, expected.serverHello!.cipherSuite);
      if (tls?.certificateUris[1] !== undefined && tls.certificateUris[1].length > 0) assert.deepEqual(tls.certificateUris[1], [SERVER]);
    }
});
