/** Interfaces, addresses and routing rules of one namespace: read when it is opened and whenever the kernel tells of a change. */
import { decodeInterfaces, tellsOfRoutingRules } from '../../world/interfaces-netlink.ts';
import type { NamespaceInterface } from '../../world/world.ts';
import type { ProbeStream } from './probe-link.ts';
import { partFailed, type ReadingScope, stampNow } from './reading.ts';

const RECEIVE_BUFFER = 1024 * 1024;
const QUIET_MS = 20;
const RETRY_MS = 30_000;

export class LinksReader {
  readonly #scope: ReadingScope;
  readonly #changed: () => void;
  #stream: ProbeStream | undefined;
  #timer: NodeJS.Timeout | undefined;
  #routing = true;
  #reading: Promise<void> | undefined;
  #stopped = false;

  /** @param changed called after each reading of the interfaces */
  constructor(scope: ReadingScope, changed: () => void) {
    this.#scope = scope;
    this.#changed = changed;
  }

  start(): void {
    this.#stopped = false;
    this.#routing = true;
    this.#stream = this.#scope.link.events(this.#scope.cookie, 'links', RECEIVE_BUFFER, {
      opened: () => this.#read(),
      netlink: (bytes) => {
        this.#routing ||= tellsOfRoutingRules(bytes);
        this.#timer ??= setTimeout(() => this.#read(), QUIET_MS);
      },
      lost: () => {
        this.#routing = true;
        this.#timer ??= setTimeout(() => this.#read(), QUIET_MS);
      },
      end: (end) => {
        this.#stream = undefined;
        clearTimeout(this.#timer);
        this.#timer = undefined;
        if (this.#stopped || (end.code !== 'failed' && end.code !== 'refused')) return;
        this.#scope.world.setUnavailable('interfaces', end.text);
        this.#timer = setTimeout(() => this.start(), RETRY_MS);
      },
    });
  }

  stop(): void {
    this.#stopped = true;
    this.#stream?.close();
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #read(): void {
    this.#timer = undefined;
    const before = this.#reading;
    this.#reading = (async () => {
      await before;
      if (this.#stream === undefined) return;
      try {
        this.#scope.world.setInterfaces(await readInterfaces(this.#scope));
        this.#changed();
      } catch (error) {
        partFailed(this.#scope, 'interfaces', error);
      }
      if (this.#routing) await this.#readRouting();
    })().catch((error: unknown) => {
      this.#scope.log.error({ err: error }, 'reading the interfaces of a namespace failed');
    });
  }

  async #readRouting(): Promise<void> {
    this.#routing = false;
    for (const [family, tool] of [
      [4, 'ip-rule'],
      [6, 'ip6-rule'],
    ] as const) {
      const readAt = stampNow(this.#scope.base);
      try {
        this.#scope.world.setRouting(family, (await this.#scope.link.tool(this.#scope.cookie, tool)).text, readAt);
      } catch (error) {
        partFailed(this.#scope, 'ip-rule', error);
      }
    }
  }
}

/** The interfaces as they are now. @throws {ProbeLinkError} */
export async function readInterfaces({ link, cookie }: Pick<ReadingScope, 'link' | 'cookie'>): Promise<NamespaceInterface[]> {
  const [links, addresses] = await Promise.all([link.dump(cookie, 'links'), link.dump(cookie, 'addresses')]);
  return decodeInterfaces([...links, ...addresses]);
}
