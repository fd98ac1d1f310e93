import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expandServers } from '../../src/cli/server-hosts.ts';
import type { Server } from '../../src/cli/server-options.ts';

const known: { readonly [host: string]: readonly { readonly address: string; readonly family: number }[] } = {
  'flows.svc': [
    { address: '10.0.0.2', family: 4 },
    { address: '10.0.0.1', family: 4 },
    { address: 'fd00::1', family: 6 },
    { address: 'fd00::2', family: 6 },
  ],
  'one.svc': [{ address: '10.0.0.3', family: 4 }],
};
const find = async (host: string) => known[host] ?? Promise.reject(new Error('ENOTFOUND'));
const server = (host: string, more: Partial<Server> = {}): Server => ({
  name: `wss://${host}:4280`,
  address: { host, port: 4280, secure: true },
  ...more,
});

test('a name with several addresses is several daemons, each with the certificate of the name', async () => {
  const servers = await expandServers([server('flows.svc', { token: 'secret' })], find);
  assert.deepEqual(
    servers.map(({ name, serverName, token }) => [name, serverName, token]),
    [
      ['wss://10.0.0.1:4280', 'flows.svc', 'secret'],
      ['wss://10.0.0.2:4280', 'flows.svc', 'secret'],
    ],
  );
  const [first] = await expandServers([server('flows.svc', { serverName: 'other' })], find);
  assert.equal(first?.serverName, 'other');
});

test('addresses, sockets, names of one address and unknown names stay as they are', async () => {
  const servers = [
    server('10.0.0.9'),
    server('one.svc'),
    server('absent.svc'),
    server('localhost'),
    { name: 'unix:/a', address: { socketPath: '/a' } },
  ];
  assert.deepEqual(await expandServers(servers, find), servers);
});

test('more daemons than are asked are refused', async () => {
  const many = async () => Array.from({ length: 257 }, (_, index) => ({ address: `10.0.${index >> 8}.${index & 255}`, family: 4 }));
  await assert.rejects(expandServers([server('flows.svc')], many), /Cannot ask 257 daemons: at most 256 are asked/);
});
