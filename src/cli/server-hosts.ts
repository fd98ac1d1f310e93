/** A name that stands for several addresses, as a headless Service's does, is as many daemons: one on each node. */
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { serverAddressText } from '../stream/server-address.ts';
import { checkCount, type Server } from './server-options.ts';

/** The addresses of a name, in the order in which they are to be tried. */
export type Lookup = (host: string) => Promise<readonly { readonly address: string; readonly family: number }[]>;

/**
 * Each address of a name becomes a server of its own, whose certificate must have the name. Where addresses are of both families those of the first are taken, since a daemon that has both would be asked
 * twice. A name of one address stays as it is, so that it is looked up again when the connection is; so does one that cannot be looked up, and connecting tells why.
 *
 * @throws {UsageError} for more servers than are asked
 */
export async function expandServers(servers: readonly Server[], find: Lookup = (host) => lookup(host, { all: true })): Promise<Server[]> {
  const expanded = (await Promise.all(servers.map((server) => expand(server, find)))).flat();
  checkCount(expanded);
  return expanded;
}

async function expand(server: Server, find: Lookup): Promise<Server[]> {
  const { address } = server;
  if ('socketPath' in address || isIP(address.host) !== 0 || address.host === 'localhost') return [server];
  const found = await find(address.host).catch(() => []);
  const first = found[0];
  const hosts = new Set(found.filter(({ family }) => family === first?.family).map((one) => one.address));
  if (hosts.size < 2) return [server];
  return [...hosts].sort().map((host) => {
    const own = { ...address, host };
    return { ...server, name: serverAddressText(own), address: own, serverName: server.serverName ?? address.host };
  });
}
