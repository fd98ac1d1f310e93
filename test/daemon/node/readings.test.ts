/** What is read through the probe against what ss, ip and conntrack print in the same namespace. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, test } from 'node:test';
import { readSocketTable } from '../../../src/daemon/node/sockets-reader.ts';
import { parseConntrack } from '../../../src/netfilter/conntrack.ts';
import { parseIpRules } from '../../../src/netfilter/ip-rule.ts';
import { parseIptables } from '../../../src/netfilter/parse-iptables.ts';
import { parseNft } from '../../../src/netfilter/parse-nft.ts';
import { formatSockets } from '../../../src/world/socket-diag.ts';
import { parseSockets, type Socket } from '../../../src/world/sockets.ts';
import { build, inNamespace, makePair, needsRoot, removeNamespace, removeNamespaces, sendDatagrams } from '../../native/namespaces.ts';
import { follow, stopFollowing } from './following.ts';

const ours = (name: string) => name.startsWith(`stn-${process.pid}-`);

after(async () => {
  await stopFollowing();
  removeNamespaces();
});

/** Listeners of each kind, connections in several states, and a socket bound to an interface; user 1337 owns some. */
const SOCKETS = `
import encodings.idna, os, socket, sys
def tcp(address, family=socket.AF_INET, only6=None, device=None):
    s = socket.socket(family, socket.SOCK_STREAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if only6 is not None: s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only6)
    if device: s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
    s.bind(address); s.listen(7); return s
held = [tcp(('127.0.0.1', 15001)), tcp(('0.0.0.0', 15006), device='eth0'), tcp(('10.77.0.1', 80))]
os.seteuid(1337)
held += [tcp(('::', 9080), socket.AF_INET6, 0), tcp(('::', 9081), socket.AF_INET6, 1), tcp(('::1', 9082), socket.AF_INET6)]
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(('127.0.0.1', 15053)); held.append(u)
w = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); w.bind(('::', 5353)); held.append(w)
c = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); c.connect(('10.77.0.2', 53)); held.append(c)
a = socket.create_connection(('127.0.0.1', 15001)); b, _ = held[0].accept(); held += [a, b]
m = socket.create_connection(('127.0.0.1', 9080)); n, _ = held[3].accept(); held += [m, n]
x = socket.create_connection(('127.0.0.1', 15001)); y, _ = held[0].accept(); x.close(); held.append(y)
p = socket.create_connection(('127.0.0.1', 15001)); q, _ = held[0].accept(); p.close(); q.close()
print('up', flush=True); sys.stdin.read()
`;

/** What both can know. */
function comparable(sockets: readonly Socket[]): string[] {
  return sockets
    .map(({ protocol, state, local, peer, wildcard, uid, inode }) => JSON.stringify({ protocol, state, local, peer, wildcard, uid, inode }))
    .sort();
}

test('sockets are those that ss lists: states, addresses of both families, devices, owners', needsRoot, async (t) => {
  const { near, far } = makePair();
  const child = spawn('ip', ['netns', 'exec', near, 'python3', '-c', SOCKETS], { stdio: ['pipe', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  await once(child.stdout, 'data');
  const following = follow({ program: build('plain') }, ours);
  await following.follower.start();
  await following.of(near).readSockets();
  const sockets = await readSocketTable({ link: following.link, cookie: following.of(near).cookie, world: following.of(near).world });
  const listed = parseSockets(inNamespace(near, 'ss', '-tunaepH')).sockets;
  assert.deepEqual(comparable(sockets), comparable(listed));
  const unread = { link: following.link, cookie: following.of(near).cookie, world: { interfaces: [] } };
  assert.deepEqual(comparable(await readSocketTable(unread)), comparable(listed), 'devices have names before the interfaces were read');
  assert.ok(sockets.length >= 14 && sockets.some(({ state }) => state === 'TIME-WAIT') && sockets.some(({ uid }) => uid === 1337));
  const text = formatSockets(sockets);
  assert.deepEqual(comparable(parseSockets(text).sockets), comparable(listed), 'the text of a bundle reads the same');
  await following.stop();
  child.kill('SIGKILL');
  await once(child, 'exit');
  removeNamespace(near);
  removeNamespace(far);
});

test('interfaces and addresses are those that ip lists', needsRoot, async () => {
  const { near, far } = makePair();
  inNamespace(near, 'ip', 'address', 'add', 'fd00:77::1/64', 'dev', 'eth0');
  inNamespace(near, 'ip', 'tuntap', 'add', 'tun0', 'mode', 'tun');
  inNamespace(near, 'ip', 'address', 'add', '10.88.0.1', 'peer', '10.88.0.2', 'dev', 'tun0');
  const following = follow({ program: build('plain') }, ours);
  await following.follower.start();
  await following.of(near).readTexts();
  const listed = JSON.parse(inNamespace(near, 'ip', '-j', 'address', 'show')) as {
    ifindex: number;
    ifname: string;
    addr_info: { local: string }[];
  }[];
  assert.deepEqual(
    following.of(near).world.interfaces,
    listed.map(({ ifindex, ifname, addr_info }) => ({ index: ifindex, name: ifname, addresses: addr_info.map(({ local }) => local) })),
  );
  await following.stop();
  removeNamespace(near);
  removeNamespace(far);
});

/** An echo request of ICMP, identifier 7. */
const ECHO = `
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
s.sendto(bytes([8, 0, 0xf7, 0xf7, 0, 7, 0, 1]), ('127.0.0.1', 0))
`;

test('the texts of a bundle are those of the tools, and our parsers read them', needsRoot, async () => {
  const { near, far } = makePair();
  inNamespace(near, 'iptables-nft', '-t', 'nat', '-A', 'OUTPUT', '-p', 'tcp', '-j', 'REDIRECT', '--to-ports', '15001');
  inNamespace(near, 'iptables-nft', '-A', 'OUTPUT', '-m', 'conntrack', '--ctstate', 'NEW');
  inNamespace(near, 'sysctl', '-q', 'net.netfilter.nf_conntrack_acct=1');
  await sendDatagrams(near, { address: '127.0.0.1', port: 7, count: 2 });
  inNamespace(near, 'python3', '-c', ECHO);
  const following = follow({ program: build('plain') }, ours);
  await following.follower.start();
  const before = Date.now();
  const files = await following.of(near).readTexts();
  assert.deepEqual(
    files.map(({ kind, family, status }) => `${kind}${family === undefined ? '' : ` ${family}`}: ${status}`),
    [
      'iptables-save ipv4: ok',
      'ip6tables-save ipv6: empty',
      'iptables-legacy-save ipv4: empty',
      'ip6tables-legacy-save ipv6: empty',
      'nft: ok',
      'ip-rule ipv4: ok',
      'ip-rule ipv6: ok',
      'conntrack ipv4: ok',
      'conntrack ipv6: empty',
      'sockets: empty',
    ],
  );
  const text = (kind: string) => files.find((file) => file.kind === kind)?.text ?? '';
  assert.equal(files.find(({ kind }) => kind === 'iptables-legacy-save')?.reason, 'the namespace has no legacy table');
  for (const { readAt } of files) assert.ok(Date.parse(readAt) >= before - 1 && Date.parse(readAt) <= Date.now());
  assert.equal(text('ip-rule'), inNamespace(near, 'ip', 'rule'));
  assert.ok(parseIpRules(text('ip-rule')).length >= 3);
  assert.match(text('iptables-save'), /^\[\d+:\d+\] -A OUTPUT -p tcp -j REDIRECT --to-ports 15001$/m);
  assert.ok(parseIptables(text('iptables-save'), { family: 4 }) !== undefined && parseNft(text('nft')) !== undefined);
  const stable = (listing: string) =>
    parseConntrack(listing)
      .entries.map(({ timeout: _, ...entry }) => JSON.stringify(entry, Object.keys(entry).sort()))
      .sort();
  const known = stable(inNamespace(near, 'conntrack', '-L', '-o', 'extended,id'));
  assert.ok(known.length >= 2);
  assert.deepEqual(stable(text('conntrack')), known);
  await following.stop();
  removeNamespace(near);
  removeNamespace(far);
});

test('what cannot be read says why: a namespace that has gone', needsRoot, async () => {
  const { near, far } = makePair();
  const following = follow({ program: build('plain') }, ours);
  await following.follower.start();
  const namespace = following.of(near);
  removeNamespace(near);
  const files = await namespace.readTexts();
  assert.equal(files.length, 10);
  for (const { status, reason } of files) {
    assert.equal(status, 'failed');
    assert.match(reason ?? '', /^Cannot .*: (there is no such namespace|the namespace is not there any more|.*)$/);
  }
  await following.stop();
  removeNamespace(far);
});
