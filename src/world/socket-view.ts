/** The sockets of one namespace, as `ss` listed them at several moments: who listens where, and who owns a connection's local end. */
import { formatEndpoint } from '../net/address.ts';
import type { Socket } from './sockets.ts';

export interface SocketOwner {
  readonly uid?: number;
  readonly gid?: number;
  readonly pid?: number;
  readonly process?: string;
}

function ownerOf(socket: Socket): SocketOwner | undefined {
  if (socket.uid === undefined && socket.process === undefined) return undefined;
  return {
    ...(socket.uid === undefined ? {} : { uid: socket.uid }),
    ...(socket.gid === undefined ? {} : { gid: socket.gid }),
    ...(socket.pid === undefined ? {} : { pid: socket.pid }),
    ...(socket.process === undefined ? {} : { process: socket.process }),
  };
}

export class SocketView {
  readonly #connections = new Map<string, SocketOwner | 'several'>();
  readonly #listeners = new Map<string, Socket[]>();

  /** @param sockets of all snapshots */
  constructor(sockets: Iterable<Socket>) {
    for (const socket of sockets) {
      const { local, peer, protocol } = socket;
      if (peer.port === undefined || peer.port === 0) {
        const key = `${protocol} ${local.port ?? 0}`;
        const list = this.#listeners.get(key);
        if (list === undefined) this.#listeners.set(key, [socket]);
        else list.push(socket);
        continue;
      }
      const owner = ownerOf(socket);
      if (owner === undefined) continue;
      const key = `${protocol} ${formatEndpoint(local.ip, local.port ?? 0)} ${formatEndpoint(peer.ip, peer.port)}`;
      const known = this.#connections.get(key);
      if (known === undefined) this.#connections.set(key, owner);
      else if (known !== 'several' && (known.uid !== owner.uid || known.pid !== owner.pid)) this.#connections.set(key, 'several');
    }
  }

  /** Who owns the socket with these ends; `undefined` when none was listed, or different owners were at different moments. */
  ownerOf(protocol: string, local: { ip: string; port: number }, peer: { ip: string; port: number }): SocketOwner | undefined {
    const owner = this.#connections.get(`${protocol} ${formatEndpoint(local.ip, local.port)} ${formatEndpoint(peer.ip, peer.port)}`);
    return owner === 'several' ? undefined : owner;
  }

  /** Sockets that listen on this address and port, wildcard binds among them. */
  listenersAt(protocol: string, ip: string, port: number): readonly Socket[] {
    return (this.#listeners.get(`${protocol} ${port}`) ?? []).filter((s) => s.wildcard || s.local.ip === ip);
  }

  /** All listening sockets. */
  *listeners(): Generator<Socket> {
    for (const list of this.#listeners.values()) yield* list;
  }
}
