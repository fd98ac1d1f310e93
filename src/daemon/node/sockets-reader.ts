/** Sockets of one namespace, read when somebody asks: for the owners of connections, and for who listens where. */
import { type DiagSocket, decodeSocketDump } from '../../world/socket-diag.ts';
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
export async function readSocketTable({ link, cookie, world }: Pick<ReadingScope, 'link' | 'cookie' | 'world'>): Promise<DiagSocket[]> {
  const deviceName = (index: number) => world.interfaces.find((one) => one.index === index)?.name;
  const tables = await Promise.all(
    protocols.flatMap(([name, number]) =>
      [AF_INET, AF_INET6].map(async (family) =>
        (await link.dump(cookie, 'sockets', family, number)).flatMap((bytes) => decodeSocketDump(bytes, name, deviceName)),
      ),
    ),
  );
  return tables.flat();
}
