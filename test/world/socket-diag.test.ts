import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeSocketDump, formatSockets } from '../../src/world/socket-diag.ts';
import { parseSockets } from '../../src/world/sockets.ts';

interface Sample {
  readonly family: 2 | 10;
  readonly state: number;
  readonly local: string;
  readonly localPort: number;
  readonly peer: string;
  readonly peerPort: number;
  readonly device: number;
  readonly uid: number;
  readonly inode: number;
  readonly only6?: 0 | 1;
}

function message(sample: Sample): Buffer {
  const body = Buffer.alloc(72 + (sample.only6 === undefined ? 0 : 8));
  body[0] = sample.family;
  body[1] = sample.state;
  body.writeUInt16BE(sample.localPort, 4);
  body.writeUInt16BE(sample.peerPort, 6);
  Buffer.from(sample.local, 'hex').copy(body, 8);
  Buffer.from(sample.peer, 'hex').copy(body, 24);
  body.writeUInt32LE(sample.device, 40);
  body.writeUInt32LE(3, 56);
  body.writeUInt32LE(4096, 60);
  body.writeUInt32LE(sample.uid, 64);
  body.writeUInt32LE(sample.inode, 68);
  if (sample.only6 !== undefined) Buffer.from([5, 0, 11, 0, sample.only6, 0, 0, 0]).copy(body, 72);
  const header = Buffer.alloc(16);
  header.writeUInt32LE(16 + body.length, 0);
  header.writeUInt16LE(20, 4);
  return Buffer.concat([header, body]);
}

const zeros = '0'.repeat(32);
const listener: Sample = {
  family: 10,
  state: 10,
  local: zeros,
  localPort: 15006,
  peer: zeros,
  peerPort: 0,
  device: 0,
  uid: 1337,
  inode: 4711,
  only6: 0,
};

test('a listener of both families is the wildcard of both; one of IPv6 alone is not', () => {
  const [both, six] = [0, 1].map((only6) => decodeSocketDump(message({ ...listener, only6: only6 as 0 | 1 }), 'tcp')[0]!);
  assert.deepEqual(both, {
    protocol: 'tcp',
    state: 'LISTEN',
    local: { ip: '*', port: 15006 },
    peer: { ip: '*' },
    wildcard: true,
    uid: 1337,
    inode: 4711,
    users: [],
    receiveQueue: 3,
    sendQueue: 4096,
  });
  assert.deepEqual([six?.local.ip, six?.wildcard], ['::', true]);
});

test('an IPv4 connection of a socket of IPv6 has IPv4 addresses; one without an owner has no user, rather than root', () => {
  const mapped = (v4: string) => `00000000000000000000ffff${v4}`;
  const [socket] = decodeSocketDump(
    message({
      ...listener,
      state: 6,
      local: mapped('0a4d0001'),
      peer: mapped('0a4d0002'),
      peerPort: 443,
      device: 2,
      uid: 0,
      inode: 0,
    }),
    'tcp',
    (index) => (index === 2 ? 'eth0' : undefined),
  );
  assert.deepEqual(socket?.local, { ip: '10.77.0.1', port: 15006, device: 'eth0' });
  assert.deepEqual(socket?.peer, { ip: '10.77.0.2', port: 443 });
  assert.equal(socket?.state, 'TIME-WAIT');
  assert.ok(!('uid' in socket) && !('inode' in socket));
});

test('cut anywhere or mutated, a dump gives sockets or none, and their text reads back', () => {
  const dump = Buffer.concat([
    message(listener),
    message({ ...listener, family: 2, state: 1, local: '7f000001', peer: '7f000001', peerPort: 80 }),
  ]);
  for (let length = 0; length <= dump.length; length++) {
    const sockets = decodeSocketDump(dump.subarray(0, length), 'tcp');
    assert.equal(sockets.length, length === dump.length ? 2 : length >= 96 ? 1 : 0);
  }
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(dump.length - 1), fc.nat(255)), { maxLength: 8 }), (changes) => {
      const bytes = Buffer.from(dump);
      for (const [at, value] of changes) bytes[at] = value;
      const sockets = decodeSocketDump(bytes, 'udp');
      const read = sockets.length === 0 ? [] : parseSockets(formatSockets(sockets)).sockets;
      assert.deepEqual(
        read.map(({ local, peer, uid, inode }) => ({ local, peer, uid, inode })),
        sockets.map(({ local, peer, uid, inode }) => ({ local, peer, uid, inode })),
      );
    }),
    { seed: 11, numRuns: 5000 },
  );
});
