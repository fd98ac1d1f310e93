import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { openInput } from '../../src/source/input.ts';
import { parseSockets, type Socket, SocketListingError } from '../../src/world/sockets.ts';
import { needsReference, referencePath } from '../reference.ts';

const one = (line: string): Socket => {
  const { sockets, unreadLines } = parseSockets(line);
  assert.deepEqual([sockets.length, unreadLines], [1, 0], line);
  return sockets[0]!;
};

test('a row of ss -tunaepH tells addresses, state, owner and process', () => {
  const row =
    'tcp LISTEN   0      4096              0.0.0.0:15021            0.0.0.0:*     users:(("envoy",pid=9723,fd=23)) uid:1337 ino:736099 sk:925 cgroup:unreachable:1 <->   ';
  assert.deepEqual(one(row), {
    protocol: 'tcp',
    state: 'LISTEN',
    local: { ip: '0.0.0.0', port: 15_021 },
    peer: { ip: '0.0.0.0' },
    wildcard: true,
    uid: 1337,
    inode: 736_099,
    pid: 9723,
    process: 'envoy',
    users: [{ process: 'envoy', pid: 9723, fd: 23 }],
  });
});

// ends as ss prints them: local, peer, and what they mean
const ends: [string, string, Socket['local'], Socket['peer'], boolean][] = [
  ['*:15001', '*:*', { ip: '*', port: 15_001 }, { ip: '*' }, true],
  ['[::]:15006', '[::]:*', { ip: '::', port: 15_006 }, { ip: '::' }, true],
  [':::22', ':::*', { ip: '::', port: 22 }, { ip: '::' }, true],
  ['0.0.0.0%lo:53', '0.0.0.0:*', { ip: '0.0.0.0', port: 53, device: 'lo' }, { ip: '0.0.0.0' }, true],
  ['127.0.0.53%lo:53', '0.0.0.0:*', { ip: '127.0.0.53', port: 53, device: 'lo' }, { ip: '0.0.0.0' }, false],
  ['[fe80::1]%eth0:546', '[::]:*', { ip: 'fe80::1', port: 546, device: 'eth0' }, { ip: '::' }, false],
  ['[::ffff:127.0.0.1]:15020', '[::ffff:127.0.0.1]:44614', { ip: '127.0.0.1', port: 15_020 }, { ip: '127.0.0.1', port: 44_614 }, false],
  ['[fd00:0:0::1]:80', '[fd00::2]:5000', { ip: 'fd00::1', port: 80 }, { ip: 'fd00::2', port: 5000 }, false],
  ['127.0.0.1:http', '0.0.0.0:*', { ip: '127.0.0.1' }, { ip: '0.0.0.0' }, false],
];
for (const [local, peer, meansLocal, meansPeer, wildcard] of ends)
  test(`the ends ${local} and ${peer} are understood`, () => {
    const socket = one(`tcp ESTAB 0 0 ${local} ${peer}`);
    assert.deepEqual([socket.local, socket.peer, socket.wildcard], [meansLocal, meansPeer, wildcard]);
  });

test('a uid of 0 is not printed but known; without -e, and for TIME-WAIT, the owner is unknown', () => {
  assert.equal(one('tcp LISTEN 0 511 0.0.0.0:9080 0.0.0.0:* users:(("node",pid=9834,fd=18)) ino:737010 sk:966 <->').uid, 0);
  const waiting = one('tcp TIME-WAIT 0 0 127.0.0.6:53426 10.244.1.13:9000 timer:(timewait,43sec,0) ino:0 sk:a55');
  assert.deepEqual([waiting.uid, waiting.inode, waiting.pid, waiting.users.length], [undefined, undefined, undefined, 0]);
  assert.equal(one('tcp LISTEN 0 511 0.0.0.0:9080 0.0.0.0:* users:(("node",pid=9834,fd=18))').uid, undefined);
});

test('several processes that hold one socket are all told, and none of them as its owner', () => {
  const socket = one('tcp LISTEN 0 511 *:80 *:* users:(("nginx",pid=11,fd=6),("nginx",pid=10,fd=6)) ino:5 sk:1 <->');
  assert.deepEqual([socket.process, socket.pid, socket.users.map((u) => u.pid)], [undefined, undefined, [11, 10]]);
  const twice = one('tcp ESTAB 0 0 10.0.0.1:80 10.0.0.2:81 users:(("a b(\\"),x",pid=7,fd=6),("a b(\\"),x",pid=7,fd=9)) uid:3 ino:5');
  assert.deepEqual([twice.process, twice.pid, twice.uid], ['a b(\\"),x', 7, 3]);
  assert.equal(one('udp UNCONN 0 0 *:53 *:* users:(("(sd-pam)",pid=1,fd=3))').process, '(sd-pam)');
});

test('a port that workers share comes once for each socket', () => {
  const rows = [36, 35].map(
    (fd) => `tcp LISTEN 0 4096 0.0.0.0:15001 0.0.0.0:* users:(("envoy",pid=9723,fd=${fd})) uid:1337 ino:7367${fd} sk:1 <->`,
  );
  assert.deepEqual(
    parseSockets(rows.join('\n')).sockets.map((s) => s.inode),
    [736_736, 736_735],
  );
});

// listings with a header, without columns that ss leaves out, and what protocol their sockets have
const listings: [string, string, [string, string][]][] = [
  [
    'ss -ntulp',
    'Netid State  Recv-Q Send-Q Local Address:Port Peer Address:PortProcess\nudp   UNCONN 0      0      127.0.0.53%lo:53   0.0.0.0:*    users:(("r",pid=1,fd=2))\ntcp   LISTEN 0 128 0.0.0.0:22 0.0.0.0:*\n',
    [
      ['udp', 'UNCONN'],
      ['tcp', 'LISTEN'],
    ],
  ],
  [
    'ss -tlnp',
    'State  Recv-Q Send-Q Local Address:Port Peer Address:PortProcess\nLISTEN 0      128          0.0.0.0:2024      0.0.0.0:*          \n',
    [['tcp', 'LISTEN']],
  ],
  [
    'ss -ulnp',
    'State  Recv-Q Send-Q Local Address:Port Peer Address:Port\nUNCONN 0 0 0.0.0.0:68 0.0.0.0:*\nESTAB 0 0 10.0.0.1:68 10.0.0.2:67\n',
    [
      ['udp', 'UNCONN'],
      ['udp', 'ESTAB'],
    ],
  ],
  ['ss -unp', 'Recv-Q Send-Q Local Address:Port Peer Address:PortProcess\n0 0 10.0.0.1:68 10.0.0.2:67\n', [['unknown', 'UNKNOWN']]],
  [
    'ss -a',
    'Netid State Recv-Q Send-Q Local Address:Port Peer Address:PortProcess\nnl    UNCONN 0 0 rtnl:kernel *\nu_str LISTEN 0 128 /run/x 12 * 0\ntcp LISTEN 0 1 *:1 *:*\n',
    [['tcp', 'LISTEN']],
  ],
  ['nothing but a header', 'Netid State Recv-Q Send-Q Local Address:Port Peer Address:PortProcess\n', []],
  ['an empty listing', '', []],
];
for (const [name, text, expected] of listings)
  test(`${name} is read`, () => {
    const { sockets, unreadLines } = parseSockets(text.replaceAll('\n', '\r\n'));
    assert.deepEqual(
      sockets.map((s) => [s.protocol, s.state]),
      expected,
    );
    assert.equal(unreadLines, 0);
  });

test('lines that are no rows are counted; a text with nothing else is refused with its first line', () => {
  assert.equal(parseSockets('tcp LISTEN 0 1 *:1 *:*\nsomething else\ntcp LISTEN 0 1 *:99999 *:*').unreadLines, 2);
  assert.throws(
    () => parseSockets('\n# Generated by iptables-save\n*nat\n', 'rules.txt'),
    (error) =>
      error instanceof SocketListingError &&
      error.line === 2 &&
      error.message === 'Cannot read "rules.txt" as a listing of sockets: a row of ss is wanted, line 2 is "# Generated by iptables-save"',
  );
});

test('property: no text makes it throw anything else, and long lines take no time', () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.string(), fc.constantFrom('tcp', 'LISTEN', '0', '*:1', '[::]:*', 'users:(("', '",pid=1,fd=2)', '\n')), {
        maxLength: 60,
      }),
      (parts) => {
        try {
          parseSockets(parts.join(' '));
        } catch (error) {
          assert.ok(error instanceof SocketListingError);
        }
      },
    ),
    { seed: 20269, numRuns: 1000 },
  );
  const begun = process.cpuUsage();
  parseSockets(`tcp LISTEN 0 1 *:1 *:* users:(${'("'.repeat(200_000)}`);
  assert.ok(process.cpuUsage(begun).user < 2_000_000);
});

test('every row of the reference bundles is read, and every socket but those in TIME-WAIT has an owner', needsReference('bundles'), () => {
  const root = referencePath('bundles')!;
  let count = 0;
  for (const situation of readdirSync(root))
    for (const node of ['node-a', 'node-b']) {
      const input = openInput(`${root}/${situation}/${node}.tar.gz`);
      assert.ok(input.kind === 'bundle');
      for (const entry of input.bundle.manifest.namespaces)
        for (const file of entry.files) {
          if (file.kind !== 'sockets' || file.file === undefined) continue;
          const { sockets, unreadLines } = parseSockets(input.bundle.readText(`${entry.path}/${file.file}`)!);
          assert.equal(unreadLines, 0);
          count += sockets.length;
          for (const socket of sockets) assert.equal(socket.uid === undefined, socket.state === 'TIME-WAIT');
        }
      input.bundle.close();
    }
  assert.ok(count > 3000, `${count}`);
});
