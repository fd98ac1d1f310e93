import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SocketView } from '../../src/world/socket-view.ts';
import { parseSockets } from '../../src/world/sockets.ts';

const line = (state: string, local: string, peer: string, rest: string) => `tcp ${state} 0 0 ${local} ${peer} ${rest}`;
const view = (...lines: string[]) => new SocketView(parseSockets(lines.join('\n')).sockets);

const LOCAL = { ip: '10.0.0.1', port: 41_000 };
const PEER = { ip: '10.0.0.2', port: 80 };
const envoy = line('ESTAB', '10.0.0.1:41000', '10.0.0.2:80', 'users:(("envoy",pid=7,fd=3)) uid:1337 ino:1 sk:1 <->');

test('the owner of a connection is that of its local end', () => {
  assert.deepEqual(view(envoy).ownerOf('tcp', LOCAL, PEER), { uid: 1337, pid: 7, process: 'envoy' });
  assert.equal(view(envoy).ownerOf('tcp', PEER, LOCAL), undefined);
  assert.equal(view(envoy).ownerOf('udp', LOCAL, PEER), undefined);
});

test('the same socket in two listings is one owner; another owner of the same ends later leaves none', () => {
  assert.equal(view(envoy, envoy).ownerOf('tcp', LOCAL, PEER)?.uid, 1337);
  const other = envoy.replace('envoy",pid=7', 'curl",pid=9').replace('1337', '1000');
  assert.equal(view(envoy, other).ownerOf('tcp', LOCAL, PEER), undefined);
  assert.equal(view(envoy, other, envoy).ownerOf('tcp', LOCAL, PEER), undefined);
});

test('who listens: on the address, or on all', () => {
  const sockets = view(
    line('LISTEN', '0.0.0.0:15006', '0.0.0.0:*', 'users:(("envoy",pid=7,fd=4)) uid:1337 ino:2 sk:2 <->'),
    line('LISTEN', '127.0.0.1:15000', '0.0.0.0:*', 'users:(("envoy",pid=7,fd=5)) uid:1337 ino:3 sk:3 <->'),
    envoy,
  );
  assert.equal(sockets.listenersAt('tcp', '10.0.0.1', 15_006).length, 1);
  assert.equal(sockets.listenersAt('tcp', '10.0.0.1', 15_000).length, 0);
  assert.equal(sockets.listenersAt('tcp', '127.0.0.1', 15_000).length, 1);
  assert.equal(sockets.listenersAt('udp', '10.0.0.1', 15_006).length, 0);
  assert.deepEqual([...sockets.listeners()].map(({ local }) => local.port).sort(), [15_000, 15_006]);
});

test('a listing without users and process names no owner', () => {
  assert.equal(view('tcp ESTAB 0 0 10.0.0.1:41000 10.0.0.2:80').ownerOf('tcp', LOCAL, PEER), undefined);
});
