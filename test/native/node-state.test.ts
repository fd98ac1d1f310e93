import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import type { ProbeReply } from '../../src/source/probe-protocol.ts';
import {
  build,
  inNamespace,
  ip,
  makeNamespace,
  makePair,
  manyConnections,
  needsRoot,
  removeNamespace,
  removeNamespaces,
  sendDatagrams,
} from './namespaces.ts';
import { ProbeClient, type RunningProbe, startProbe, stopProbes } from './probe-client.ts';

let probe: RunningProbe;
let client: ProbeClient;

before(async () => {
  if (needsRoot.skip !== false) return;
  probe = await startProbe(build('plain'), '--tunnel-port', '8123');
  client = await ProbeClient.connect(probe);
});

after(async () => {
  if (needsRoot.skip !== false) return;
  removeNamespaces();
  client.close();
  await stopProbes();
});

/** The types of the netlink messages in a reply. */
function types(reply: ProbeReply): number[] {
  if (reply.type !== 'netlink') return [];
  const view = new DataView(reply.bytes.buffer, reply.bytes.byteOffset, reply.bytes.length);
  const found: number[] = [];
  for (let at = 0; at + 16 <= reply.bytes.length; at += Math.ceil(view.getUint32(at, true) / 4) * 4)
    found.push(view.getUint16(at + 4, true));
  return found;
}

async function dump(
  cookie: bigint,
  kind: 'conntrack' | 'sockets' | 'links' | 'addresses' | 'rules',
  family = 0,
  protocol = 0,
): Promise<number[]> {
  const id = client.newId();
  client.send({ type: 'dump', id, cookie, kind, family, protocol });
  const end = await client.reply('end', id);
  assert.deepEqual([end.code, end.text], ['done', '']);
  return client.of(id).flatMap(types);
}

const NEW_LINK = 16;
const NEW_ADDRESS = 20;
const NEW_RULE = 32;
const BY_FAMILY = 20;
const DONE = 3;
const CONNTRACK_NEW = 0x100;
const CONNTRACK_DELETE = 0x102;

test('links, addresses, rules and sockets of a namespace come as the kernel wrote them', needsRoot, async () => {
  const { near, far } = makePair();
  const cookie = await client.cookie(near);
  assert.deepEqual(await dump(cookie, 'links'), [NEW_LINK, NEW_LINK, DONE], 'lo and eth0');
  const addresses = await dump(cookie, 'addresses', 2);
  assert.deepEqual(addresses, [NEW_ADDRESS, NEW_ADDRESS, DONE], '127.0.0.1 and 10.77.0.1');
  assert.deepEqual(await dump(cookie, 'rules', 2), [NEW_RULE, NEW_RULE, NEW_RULE, DONE], 'local, main, default');
  assert.deepEqual(await dump(cookie, 'sockets', 2, 6), [DONE]);
  const listener = spawn(
    'ip',
    [
      'netns',
      'exec',
      near,
      'python3',
      '-c',
      'import socket; s = socket.create_server(("127.0.0.1", 15001)); print("up", flush=True); s.accept()',
    ],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  await once(listener.stdout, 'data');
  assert.deepEqual(await dump(cookie, 'sockets', 2, 6), [BY_FAMILY, DONE]);
  listener.kill('SIGKILL');
  await once(listener, 'exit');
  removeNamespace(near);
  removeNamespace(far);
});

test('every connection that begins or ends is an event, and a dump holds those that are there', needsRoot, async () => {
  const name = makeNamespace();
  inNamespace(name, 'iptables', '-A', 'OUTPUT', '-m', 'conntrack', '--ctstate', 'NEW');
  const cookie = await client.cookie(name);
  const id = client.newId();
  client.send({ type: 'events', id, cookie, kind: 'conntrack', receiveBuffer: 8 * 1024 * 1024 });
  await client.reply('opened', id);
  for (let port = 1; port <= 20; port++) await sendDatagrams(name, { address: '127.0.0.1', port, count: 1 });
  assert.deepEqual((await dump(cookie, 'conntrack')).filter((type) => type === CONNTRACK_NEW).length >= 20, true);
  inNamespace(name, 'conntrack', '-F');
  const count = (type: number) =>
    client
      .of(id)
      .flatMap(types)
      .filter((seen) => seen === type).length;
  await client.find(
    (reply): reply is ProbeReply => reply.type === 'netlink' && reply.id === id && count(CONNTRACK_DELETE) >= 20,
    'the ends of 20 connections',
  );
  assert.ok(count(CONNTRACK_NEW) >= 20);
  client.send({ type: 'close', id });
  await client.reply('end', id);
  assert.equal(client.of(id).filter((reply) => reply.type === 'lost').length, 0);
  removeNamespace(name);
});

test('events that the kernel had no room for are counted exactly: 20,000 new connections = events + lost', needsRoot, async () => {
  const name = makeNamespace();
  inNamespace(name, 'iptables', '-A', 'OUTPUT', '-m', 'conntrack', '--ctstate', 'NEW');
  // One event a connection: "port unreachable" would come back.
  inNamespace(name, 'iptables', '-A', 'OUTPUT', '-p', 'icmp', '-j', 'DROP');
  const id = client.newId();
  client.send({ type: 'events', id, cookie: await client.cookie(name), kind: 'conntrack', receiveBuffer: 64 * 1024 });
  await client.reply('opened', id);
  // The probe stands still meanwhile.
  probe.process.kill('SIGSTOP');
  inNamespace(name, 'python3', '-c', manyConnections(20_000));
  probe.process.kill('SIGCONT');
  client.send({ type: 'close', id });
  await client.reply('end', id);
  const lost = client.of(id).findLast((reply) => reply.type === 'lost');
  assert.ok(lost?.type === 'lost', 'a buffer of 64 KiB was meant to overrun');
  const seen = client
    .of(id)
    .flatMap(types)
    .filter((type) => type === CONNTRACK_NEW).length;
  assert.equal(seen + lost.events, 20_000);
  assert.ok(lost.overruns >= 1);
  removeNamespace(name);
});

test('a change of the rules and of the links is an event', needsRoot, async () => {
  const name = makeNamespace();
  const cookie = await client.cookie(name);
  const ids = (['ruleset', 'links'] as const).map((kind) => {
    const id = client.newId();
    client.send({ type: 'events', id, cookie, kind, receiveBuffer: 256 * 1024 });
    return id;
  });
  for (const id of ids) await client.reply('opened', id);
  inNamespace(name, 'iptables', '-t', 'nat', '-A', 'OUTPUT', '-p', 'tcp', '-j', 'REDIRECT', '--to-ports', '15001');
  ip('-n', name, 'link', 'add', 'later', 'type', 'veth', 'peer', 'name', 'beyond');
  for (const id of ids) await client.reply('netlink', id);
  removeNamespace(name);
  for (const id of ids) assert.equal((await client.reply('end', id)).code, 'gone');
});

test('the tools print the rules of the namespace and of no other', needsRoot, async () => {
  const name = makeNamespace();
  inNamespace(name, 'iptables-nft', '-t', 'nat', '-A', 'OUTPUT', '-p', 'tcp', '-j', 'REDIRECT', '--to-ports', '15001');
  inNamespace(name, 'ip6tables-nft', '-t', 'nat', '-A', 'OUTPUT', '-p', 'tcp', '-j', 'REDIRECT', '--to-ports', '15006');
  ip('-n', name, 'rule', 'add', 'fwmark', '1337', 'lookup', '133');
  const cookie = await client.cookie(name);
  for (const [tool, wanted] of [
    ['iptables-save', /^\[0:0\] -A OUTPUT -p tcp -j REDIRECT --to-ports 15001$/m],
    ['ip6tables-save', /^\[0:0\] -A OUTPUT -p tcp -j REDIRECT --to-ports 15006$/m],
    ['nft-ruleset', /^\{"nftables": \[.*"chain": "OUTPUT"/],
    ['ip-rule', /from all fwmark 0x539 lookup 133/],
    ['ip6-rule', /from all lookup main/],
  ] as const) {
    const { output, end } = await client.tool(cookie, tool);
    assert.deepEqual([end.code, end.text], ['done', ''], tool);
    assert.match(output, wanted, tool);
  }
  removeNamespace(name);
});

test('legacy rules are read where there are some, and reading creates no table where there are none', needsRoot, async () => {
  const empty = makeNamespace();
  const { output, end } = await client.tool(await client.cookie(empty), 'iptables-legacy-save');
  assert.deepEqual([output, end.code, end.text], ['', 'done', 'the namespace has no legacy table']);
  assert.equal(inNamespace(empty, 'cat', '/proc/net/ip_tables_names'), '');
  const used = makeNamespace();
  inNamespace(used, 'iptables-legacy', '-t', 'nat', '-A', 'OUTPUT', '-p', 'tcp', '-j', 'REDIRECT', '--to-ports', '15001');
  const rules = await client.tool(await client.cookie(used), 'iptables-legacy-save');
  assert.equal(rules.end.code, 'done');
  assert.match(rules.output, /^\[0:0\] -A OUTPUT -p tcp -j REDIRECT --to-ports 15001$/m);
  assert.equal(inNamespace(used, 'cat', '/proc/net/ip_tables_names'), 'nat\n');
  removeNamespace(empty);
  removeNamespace(used);
});

const ADMIN = `
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        for piece in range(256): self.wfile.write(bytes([piece]) * 65536)
    def log_message(self, *args): pass
server = http.server.HTTPServer(('127.0.0.1', 15000), Handler)
print('up', flush=True)
server.serve_forever()
`;

test('a tunnel carries 16 MiB from port 15000 of a namespace, byte for byte', needsRoot, async () => {
  const name = makeNamespace();
  const cookie = await client.cookie(name);
  const admin = spawn('ip', ['netns', 'exec', name, 'python3', '-c', ADMIN], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(admin.stdout, 'data');
  const id = client.newId();
  client.send({ type: 'tunnel', id, cookie, port: 15000 });
  await client.reply('opened', id);
  client.send({ type: 'data', id, bytes: Buffer.from('GET /config_dump HTTP/1.0\r\n\r\n') });
  assert.equal((await client.reply('end', id)).code, 'done');
  const body = Buffer.concat(client.of(id).flatMap((reply) => (reply.type === 'data' ? [reply.bytes] : [])));
  const start = body.indexOf('\r\n\r\n') + 4;
  assert.match(body.subarray(0, start).toString(), /^HTTP\/1.0 200 OK/);
  assert.equal(body.length - start, 256 * 65536);
  for (let piece = 0; piece < 256; piece++)
    assert.ok(body.subarray(start + piece * 65536, start + (piece + 1) * 65536).every((byte) => byte === piece));
  admin.kill('SIGKILL');
  await once(admin, 'exit');
  removeNamespace(name);
});

test('a tunnel goes to the ports of the list only, and says when nobody listens', needsRoot, async () => {
  // Something listens here, outside: a tunnel must not find it.
  const outside = createServer().listen(8123, '127.0.0.1');
  await once(outside, 'listening').catch(() => {});
  const name = makeNamespace();
  const cookie = await client.cookie(name);
  for (const [port, code, text] of [
    [22, 'refused', /port 22 is not one of those/],
    [15000, 'failed', /cannot connect to 127.0.0.1:15000: Connection refused/],
    [8123, 'failed', /cannot connect to 127.0.0.1:8123: Connection refused/],
  ] as const) {
    const id = client.newId();
    client.send({ type: 'tunnel', id, cookie, port });
    const end = await client.reply('end', id);
    assert.equal(end.code, code);
    assert.match(end.text, text);
  }
  outside.close();
  removeNamespace(name);
});
