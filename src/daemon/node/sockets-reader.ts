/** Sockets of one namespace, read when somebody asks: for the owners of connections, and for who listens where. */

import type { LiveWorld } from '../../world/live.ts';
import { type DiagSocket, decodeSocketDump } from '../../world/socket-diag.ts';
import { readInterfaces } from './links-reader.ts';
import { partFailed, type ReadingScope, stampNow } from './reading.ts';

/** Whoever asks more often shares a reading that begins after the pause. */
const PAUSE_MS = 250;

const AF_INET = 2;
const AF_INET6 = 10;
const protocols = [
  ['tcp', 6],
  ['udp', 17],
] as const;

export class SocketsReader {
  readonly #scope: ReadingScope;
  #next: Promise<void> | undefined;
  #running: Promise<void> = Promise.resolve();
  #lastMs = Number.NEGATIVE_INFINITY;

  constructor(scope: ReadingScope) {
    this.#scope = scope;
  }

  /** Resolves when sockets that were read after this call are in the world, or could not be read. */
  read(): Promise<void> {
    this.#next ??= (async () => {
      await this.#running;
      const pause = this.#lastMs + PAUSE_MS - performance.now();
      if (pause > 0) await new Promise((go) => setTimeout(go, pause));
      this.#next = undefined;
      this.#running = this.#read();
      await this.#running;
    })();
    return this.#next;
  }

  async #read(): Promise<void> {
    this.#lastMs = performance.now();
    const readAt = stampNow(this.#scope.base);
    try {
      this.#scope.world.setSockets(await readSocketTable(this.#scope), readAt);
    } catch (error) {
      partFailed(this.#scope, 'sockets', error);
    }
  }
}

/** The sockets as they are now, of TCP and UDP, IPv4 and IPv6. @throws {ProbeLinkError} */
export async function readSocketTable({
  link,
  cookie,
  world,
}: Pick<ReadingScope, 'link' | 'cookie'> & { readonly world: Pick<LiveWorld, 'interfaces'> }): Promise<DiagSocket[]> {
  const dumps = await Promise.all(
    protocols.flatMap(([protocol, number]) =>
      [AF_INET, AF_INET6].map(async (family) => ({ protocol, messages: await link.dump(cookie, 'sockets', family, number) })),
    ),
  );
  let { interfaces } = world;
  let unnamed = false;
  const deviceName = (index: number) => {
    const name = interfaces.find((one) => one.index === index)?.name;
    unnamed ||= name === undefined;
    return name;
  };
  const decode = () =>
    dumps.flatMap(({ protocol, messages }) => messages.flatMap((bytes) => decodeSocketDump(bytes, protocol, deviceName)));
  const sockets = decode();
  if (!unnamed) return sockets;
  // A socket is bound to an interface that came after the last reading, or the first one still runs.
  try {
    interfaces = await readInterfaces({ link, cookie });
  } catch {
    // Sockets without these names are better than none.
    return sockets;
  }
  return decode();
}
