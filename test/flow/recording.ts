/** Records what two real programs say to each other over TCP, through a relay on the loopback interface: no rights needed. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import type { Saying } from './conversation.ts';

/**
 * Lets `drive` talk to `server` (which must not listen yet) and returns what was said, in the order in which the relay got it.
 * Only the first connection is recorded.
 */
export async function record(server: Server, drive: (port: number) => Promise<void>): Promise<Saying[]> {
  const sayings: Saying[] = [];
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const relay = createServer((client) => {
    const upstream = connect((server.address() as AddressInfo).port, '127.0.0.1');
    client.on('data', (data) => {
      sayings.push({ from: 'client', data });
      upstream.write(data);
    });
    upstream.on('data', (data) => {
      sayings.push({ from: 'server', data });
      client.write(data);
    });
    client.on('end', () => upstream.end());
    upstream.on('end', () => client.end());
    client.on('error', () => upstream.destroy());
    upstream.on('error', () => client.destroy());
  });
  relay.listen(0, '127.0.0.1');
  await once(relay, 'listening');
  try {
    await drive((relay.address() as AddressInfo).port);
  } finally {
    relay.close();
    server.close();
  }
  return sayings;
}
