/** What the listing of sockets says of a port. Readings of several moments are taken together: a socket that is not listed was in none of them. */
import { isLoopback, parseIp } from '../net/address.ts';
import type { SocketView } from '../world/socket-view.ts';
import type { Socket } from '../world/sockets.ts';
import type { World } from '../world/world.ts';

const byPort = new WeakMap<SocketView, ReadonlyMap<number, Socket[]>>();

/** TCP sockets that listen on the port, whatever address they are bound to; each bind once. `undefined` when no listing was recorded. */
export function listenersOn(world: World, port: number): readonly Socket[] | undefined {
  const { sockets } = world;
  if (sockets === undefined) return undefined;
  let ports = byPort.get(sockets);
  if (ports === undefined) {
    ports = index(sockets);
    byPort.set(sockets, ports);
  }
  return ports.get(port) ?? [];
}

function index(sockets: SocketView): Map<number, Socket[]> {
  const ports = new Map<number, Socket[]>();
  const seen = new Set<string>();
  for (const socket of sockets.listeners()) {
    const { ip, port } = socket.local;
    const bind = `${ip} ${port} ${socket.pid ?? ''}`;
    if (socket.protocol !== 'tcp' || port === undefined || seen.has(bind)) continue;
    seen.add(bind);
    const list = ports.get(port);
    if (list === undefined) ports.set(port, [socket]);
    else list.push(socket);
  }
  return ports;
}

/** Does a socket bound so take what comes to the address? `::` may be bound for both families. */
export function accepts({ local }: Socket, ip: string): boolean {
  if (local.ip === '*' || local.ip === '::' || local.ip === ip) return true;
  return local.ip === '0.0.0.0' && parseIp(ip)?.family === 4;
}

export function onLoopbackOnly(sockets: readonly Socket[]): boolean {
  return sockets.length > 0 && sockets.every(({ local }) => isLoopback(local.ip));
}

/** `127.0.0.1:8080 (node, pid 17)` */
export function socketText({ local, process, pid }: Socket): string {
  const at = local.ip.includes(':') ? `[${local.ip}]:${local.port ?? '*'}` : `${local.ip}:${local.port ?? '*'}`;
  return process === undefined ? at : `${at} (${process}${pid === undefined ? '' : `, pid ${pid}`})`;
}
