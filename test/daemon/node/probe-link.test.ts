import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, rmSync } from 'node:fs';
import http from 'node:http';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { describeEnd, type ProbeEnd, ProbeLinkError } from '../../../src/daemon/node/probe-end.ts';
import { ProbeLink, type ProbeStats } from '../../../src/daemon/node/probe-link.ts';
import { walkFrames } from '../../../src/source/probe-protocol.ts';
import { build, makeNamespace, needsRoot, removeNamespace, removeNamespaces, sendDatagrams } from '../../native/namespaces.ts';
import { startProbe, stopProbes } from '../../native/probe-client.ts';

const links: ProbeLink[] = [];
const lines: string[] = [];
const log = {
  info: (_facts: object, message: string) => lines.push(message),
  warn: (facts: object, message: string) => lines.push(`${message} ${JSON.stringify(facts)}`),
};

function linkTo(place: ConstructorParameters<typeof ProbeLink>[0]['place']): ProbeLink {
  const link = new ProbeLink({ place, log, random: () => 0.5 });
  links.push(link);
  link.start();
  return link;
}

after(async () => {
  for (const link of links) link.stop();
  removeNamespaces();
  await stopProbes();
});

async function cookieOf(link: ProbeLink, name: string): Promise<bigint> {
  const found = (await link.list()).find((one) => one.name === name);
  assert.ok(found !== undefined, `the probe lists ${name}`);
  return found.cookie;
}

async function until(what: string, holds: () => boolean, milliseconds = 5000): Promise<void> {
  const limit = Date.now() + milliseconds;
  while (!holds()) {
    assert.ok(Date.now() < limit, `${what} within ${milliseconds} ms`);
    await sleep(2);
  }
}

test('a probe of our own is started, serves, and ends with the link', needsRoot, async () => {
  const link = linkTo({ program: build('plain') });
  const hello = await link.ready(15_000);
  assert.ok(hello.tools.includes('nft-ruleset'));
  const name = makeNamespace();
  const cookie = await cookieOf(link, name);
  assert.match((await link.tool(cookie, 'ip-rule')).text, /lookup main/);
  assert.equal((await link.tool(cookie, 'iptables-legacy-save')).remark, 'the namespace has no legacy table');
  const dump = await link.dump(cookie, 'links');
  assert.ok(dump.length > 0 && (dump[0]?.length ?? 0) > 16);
  link.stop();
  await assert.rejects(link.list(), /there is no connection|the probe is lost/);
  removeNamespace(name);
});

test('a capture hands on what was sent, unread, and its last counters before its end', needsRoot, async () => {
  const probe = await startProbe(build('plain'));
  const link = linkTo({ socket: probe.socketPath });
  await link.ready(15_000);
  const name = makeNamespace();
  let opened = false;
  let frames = 0;
  let last: ProbeStats | undefined;
  let end: ProbeEnd | undefined;
  const capture = link.capture(
    await cookieOf(link, name),
    { snapLength: 256, ringBytes: 1 << 20, filter: 'udp dst port 9' },
    {
      opened: () => {
        opened = true;
      },
      frames: (payload) => walkFrames(payload, () => frames++),
      stats: (stats) => {
        last = stats;
      },
      end: (how) => {
        end = how;
      },
    },
  );
  await until('the capture is open', () => opened);
  await sendDatagrams(name, { address: '127.0.0.1', port: 9, count: 1000 });
  capture.close();
  capture.close();
  await until('the capture ends', () => end !== undefined);
  assert.equal(end?.code, 'closed');
  assert.equal(frames, 1000);
  assert.deepEqual(last, { seen: 1000, dropped: 0, delivered: 1000, waiting: 0 });
  capture.close();
  removeNamespace(name);
  await probe.stop();
});

test('what the probe refuses is an error that names the act and the reason', needsRoot, async () => {
  const link = linkTo({ program: build('plain') });
  await link.ready(15_000);
  await assert.rejects(link.tunnel(1n, 22), (error: ProbeLinkError) => {
    assert.ok(error instanceof ProbeLinkError);
    assert.equal(error.end.code, 'refused');
    assert.match(error.message, /^Cannot open the tunnel to 127\.0\.0\.1:22: port 22 is not one of those/);
    return true;
  });
  await assert.rejects(link.dump(1n, 'links'), /^ProbeLinkError: Cannot read links of a namespace: there is no such namespace/);
  link.stop();
});

const SERVER = `
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        for piece in range(512): self.wfile.write(bytes([piece % 256]) * 65536)
    def do_POST(self):
        body = self.rfile.read(int(self.headers['content-length']))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(str(sum(body)).encode())
    def log_message(self, *args): pass
server = http.server.ThreadingHTTPServer(('127.0.0.1', 15000), Handler)
print('up', flush=True)
server.serve_forever()
`;

async function serve(name: string): Promise<ChildProcess> {
  const child = spawn('ip', ['netns', 'exec', name, 'python3', '-c', SERVER], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout as Duplex, 'data');
  return child;
}

function request(tunnel: Duplex, options: http.RequestOptions, body?: Buffer): Promise<http.IncomingMessage> {
  return new Promise((resolve, reject) => {
    const asked = http.request({ ...options, createConnection: () => tunnel as Socket, host: '127.0.0.1' }, resolve);
    asked.on('error', reject);
    asked.end(body);
  });
}

test(
  'a tunnel whose reader stands still holds back its server alone: at most 1 MiB waits, others go on, and all bytes come',
  needsRoot,
  async () => {
    const link = linkTo({ program: build('plain') });
    await link.ready(15_000);
    const name = makeNamespace();
    const cookie = await cookieOf(link, name);
    const server = await serve(name);
    const slow = await request(await link.tunnel(cookie, 15000), { path: '/' });
    await sleep(300);
    const before = process.memoryUsage().rss;
    for (let other = 0; other < 3; other++) {
      let bytes = 0;
      for await (const piece of await request(await link.tunnel(cookie, 15000), { path: '/' })) bytes += (piece as Buffer).length;
      assert.equal(bytes, 32 * 1024 * 1024);
      assert.ok((await link.list()).length > 0);
    }
    assert.ok(process.memoryUsage().rss - before < 64 * 1024 * 1024);
    let at = 0;
    for await (const piece of slow)
      for (const byte of piece as Buffer) assert.equal(byte, (at++ >>> 16) & 0xff, `byte ${at - 1} is that of its piece`);
    assert.equal(at, 32 * 1024 * 1024);
    server.kill('SIGKILL');
    await once(server, 'exit');
    link.stop();
    removeNamespace(name);
  },
);

test('2 MiB are written through a tunnel, no faster than the server takes them', needsRoot, async () => {
  const link = linkTo({ program: build('plain') });
  await link.ready(15_000);
  const name = makeNamespace();
  const server = await serve(name);
  const body = Buffer.alloc(2 * 1024 * 1024, 1);
  const answer = await request(
    await link.tunnel(await cookieOf(link, name), 15000),
    { method: 'POST', path: '/', headers: { 'content-length': body.length } },
    body,
  );
  let text = '';
  for await (const piece of answer) text += String(piece);
  assert.equal(text, String(body.length));
  server.kill('SIGKILL');
  await once(server, 'exit');
  link.stop();
  removeNamespace(name);
});

test('more tools at once than the probe runs wait their turn, and none is refused', needsRoot, async () => {
  const link = linkTo({ program: build('plain') });
  await link.ready(15_000);
  const name = makeNamespace();
  const cookie = await cookieOf(link, name);
  const outputs = await Promise.all(Array.from({ length: 100 }, () => link.tool(cookie, 'ip-rule')));
  assert.ok(outputs.every(({ text }) => text.includes('lookup main')));
  link.stop();
  removeNamespace(name);
});

test('a probe that is killed is found again; everything that was asked of the first hears of it, once', needsRoot, async () => {
  const program = build('plain');
  const probe = await startProbe(program);
  const link = linkTo({ socket: probe.socketPath });
  await link.ready(15_000);
  const name = makeNamespace();
  const cookie = await cookieOf(link, name);
  const ends: ProbeEnd[] = [];
  const downs: string[] = [];
  link.onDown((reason) => downs.push(reason));
  const quiet = { opened: () => {}, end: (end: ProbeEnd) => ends.push(end) };
  link.capture(
    cookie,
    { snapLength: 256, ringBytes: 1 << 20, filter: '' },
    { ...quiet, frames: () => assert.fail('nothing was sent'), stats: () => {} },
  );
  link.events(cookie, 'links', 65536, { ...quiet, netlink: () => {}, lost: () => {} });
  await link.list();
  const path = probe.socketPath;
  probe.process.kill('SIGKILL');
  await until('the loss is told', () => downs.length === 1);
  assert.deepEqual(
    ends.map((end) => [end.code, describeEnd(end)]),
    Array.from({ length: 2 }, () => ['disconnected', 'the probe is lost: the probe closed the connection']),
  );
  await assert.rejects(link.list(), /^ProbeLinkError: Cannot list the namespaces: the probe is lost/);
  assert.equal(link.hello, undefined);
  const again = spawn(program, ['--socket', path], { stdio: 'ignore' });
  await link.ready(15_000);
  assert.ok((await link.list()).some((one) => one.cookie === cookie));
  assert.equal(link.losses, 1);
  assert.equal(ends.length, 2);
  again.kill('SIGTERM');
  await once(again, 'exit');
  link.stop();
  removeNamespace(name);
});

test('a probe of another version, one that sends nonsense and one that is not there are named as such', async () => {
  const path = join(tmpdir(), `stn-link-${process.pid}.sock`);
  const hello = Buffer.from('2000000081000000000000000200010000000000000000000000000000000000000000000400000000000000', 'hex');
  hello.writeUInt32LE(hello.length - 12, 0);
  for (const [answer, reason] of [
    [hello, /it speaks version 2 of the protocol, 1 is wanted/],
    [Buffer.alloc(64, 0xff), /its header makes no sense/],
    [Buffer.from('000000008400000007000000', 'hex'), /it answers a request that was never made, number 7/],
  ] as const) {
    const server = createServer((socket) => socket.on('error', () => {}).write(answer)).listen(path);
    await once(server, 'listening');
    const link = linkTo({ socket: path });
    await assert.rejects(link.ready(300), reason);
    link.stop();
    server.close();
    rmSync(path, { force: true });
  }
  await assert.rejects(linkTo({ socket: path }).ready(200), /Cannot reach the probe at ".*" within 200 ms: connect ENOENT/);
  await assert.rejects(
    linkTo({ program: '/nonexistent/sidetrace-probe' }).ready(200),
    /Cannot reach the probe "\/nonexistent.*: spawn .* ENOENT/,
  );
  assert.ok(!existsSync(path));
});

test('a tunnel that loses its probe is destroyed with the reason', needsRoot, async () => {
  const probe = await startProbe(build('plain'));
  const link = linkTo({ socket: probe.socketPath });
  await link.ready(15_000);
  const name = makeNamespace();
  const server = await serve(name);
  const tunnel = await link.tunnel(await cookieOf(link, name), 15000);
  const failed = once(tunnel, 'error');
  probe.process.kill('SIGKILL');
  assert.match(String((await failed)[0]), /Cannot go on with the tunnel to 127\.0\.0\.1:15000: the probe is lost/);
  server.kill('SIGKILL');
  await once(server, 'exit');
  link.stop();
  removeNamespace(name);
});
