/**
 * The daemon's side of the conversation with sidetrace-probe (docs/probe.md): one connection, made again whenever it is lost, with a promise or handlers for each
 * request. Nothing is asked again by itself: whoever asked hears `disconnected` and is told when there is a connection again.
 *
 * Memory: frames and events are handed on as they come, never kept; dumps and outputs of tools are bounded, and only so many run at once, the others wait their turn.
 */
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { backOffMs } from '../../net/back-off.ts';
import {
  encodeProbeRequest,
  PROBE_PROTOCOL_VERSION,
  type ProbeDumpKind,
  type ProbeEventKind,
  ProbeProtocolError,
  type ProbeReply,
  ProbeReplyReader,
  type ProbeRequest,
  type ProbeTool,
} from '../../source/probe-protocol.ts';
import { Lane } from './lane.ts';
import { connectToProbe, describeProbe, type ProbePlace } from './probe-connection.ts';
import { describeEnd, type ProbeEnd, ProbeLinkError } from './probe-end.ts';
import { ProbeTunnel } from './probe-tunnel.ts';

export type ProbeHello = Extract<ProbeReply, { type: 'hello' }>;
export type ProbeStats = Omit<Extract<ProbeReply, { type: 'stats' }>, 'type' | 'id'>;

export interface ProbeNamespace {
  readonly cookie: bigint;
  readonly inode: bigint;
  /** 0: bound in the folder of namespaces. */
  readonly process: number;
  readonly name: string;
}

export interface WatchHandlers {
  found(namespace: ProbeNamespace): void;
  /** All that were there when the watch began have been told. */
  ready(): void;
  gone(cookie: bigint): void;
  end(end: ProbeEnd): void;
}

export interface CaptureSettings {
  /** 64 to 262144; the 20 bytes of LINKTYPE_LINUX_SLL2 count. */
  readonly snapLength: number;
  /** 128 KiB to 256 MiB. */
  readonly ringBytes: number;
  /** pcap-filter(7), numeric; '' takes everything. */
  readonly filter: string;
}

export interface CaptureHandlers {
  opened(): void;
  /** As the probe sent them, unread: `walkFrames` reads them. The bytes are the receiver's to keep. */
  frames(payload: Uint8Array): void;
  /** Since the capture began. */
  stats(stats: ProbeStats): void;
  end(end: ProbeEnd): void;
}

export interface EventHandlers {
  opened(): void;
  /** Netlink messages as the kernel wrote them, and when the probe read them (Unix time). */
  netlink(bytes: Uint8Array, seconds: number, nanoseconds: number): void;
  /** Since the beginning. */
  lost(overruns: number, events: number): void;
  end(end: ProbeEnd): void;
}

/** A request that is being answered. */
export interface ProbeStream {
  /** Asks for its end; the handlers hear it. Asked again it does nothing. */
  close(): void;
}

export interface ProbeCapture extends ProbeStream {
  /** Asks for the counters; the handlers hear them. */
  stats(): void;
}

/** What a tool printed. */
export interface ToolOutput {
  readonly text: string;
  /** What the probe said at the end, where it said something: that a namespace has no legacy table. */
  readonly remark: string;
}

export interface LinkLog {
  info(facts: object, message: string): void;
  warn(facts: object, message: string): void;
}

export interface ProbeLinkOptions {
  readonly place: ProbePlace;
  readonly log: LinkLog;
  /** 0 to 1, for the jitter of the back-off. */
  readonly random?: () => number;
}

const BACK_OFF = { firstMs: 100, mostMs: 5000 };
/** A connection that lived so long was a good one: the next attempt comes soon. */
const GOOD_MS = 10_000;
const HELLO_MS = 5000;
const ALIVE_EVERY_MS = 10_000;
const ALIVE_WITHIN_MS = 20_000;

/** How many of a kind may be with the probe at once; it takes 64 tools and tunnels together. */
const MOST_AT_ONCE = { tool: 8, dump: 8, tunnel: 40 } as const;
const LONGEST_QUEUE = 8192;

const LARGEST_DUMP = 256 * 1024 * 1024;
const LARGEST_OUTPUT = 64 * 1024 * 1024;

interface Stream {
  reply(reply: ProbeReply): void;
  end(end: ProbeEnd): void;
}

type WithoutId<Request> = Request extends { id: number } ? Omit<Request, 'id'> : never;

export class ProbeLink {
  readonly #options: ProbeLinkOptions;
  readonly #random: () => number;
  readonly #streams = new Map<number, Stream>();
  readonly #lanes = {
    tool: new Lane<ProbeEnd>(MOST_AT_ONCE.tool, LONGEST_QUEUE),
    dump: new Lane<ProbeEnd>(MOST_AT_ONCE.dump, LONGEST_QUEUE),
    tunnel: new Lane<ProbeEnd>(MOST_AT_ONCE.tunnel, LONGEST_QUEUE),
  };
  readonly #up = new Set<(hello: ProbeHello) => void>();
  readonly #down = new Set<(reason: string) => void>();
  #socket: Socket | undefined;
  #hello: ProbeHello | undefined;
  #lastReason = '';
  #nextId = 1;
  #attempts = 0;
  #losses = 0;
  #upSince = 0;
  #again: NodeJS.Timeout | undefined;
  #helloLimit: NodeJS.Timeout | undefined;
  #alive: NodeJS.Timeout | undefined;
  #stopped = true;

  constructor(options: ProbeLinkOptions) {
    this.#options = options;
    this.#random = options.random ?? Math.random;
  }

  /** What the probe said of itself; `undefined` while there is no connection. */
  get hello(): ProbeHello | undefined {
    return this.#hello;
  }

  /** Connections that were lost so far. */
  get losses(): number {
    return this.#losses;
  }

  /** Why there is no connection; '' while there is one, and before the first attempt has failed. */
  get reason(): string {
    return this.#hello === undefined ? this.#lastReason : '';
  }

  /** Connects, and keeps connecting until {@link stop}. */
  start(): void {
    if (!this.#stopped) return;
    this.#stopped = false;
    this.#connect();
  }

  /** Ends the connection; everything that was asked hears `disconnected`. A probe of our own ends with it. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#again);
    if (this.#socket !== undefined) this.#lost('the link is closed');
  }

  /** The hello of the present connection, or of the next. @throws {ProbeLinkError} after so many milliseconds without one, with the reason */
  async ready(milliseconds: number): Promise<ProbeHello> {
    if (this.#hello !== undefined) return this.#hello;
    return new Promise((resolve, reject) => {
      const forget = this.onUp((hello) => {
        clearTimeout(limit);
        forget();
        resolve(hello);
      });
      const limit = setTimeout(() => {
        forget();
        const state = this.#lastReason === '' ? 'it does not answer' : this.#lastReason;
        reject(
          new ProbeLinkError(
            `Cannot reach ${describeProbe(this.#options.place)} within ${milliseconds} ms: ${state}`,
            disconnected(this.#lastReason),
          ),
        );
      }, milliseconds);
    });
  }

  /** Called at each connection, at once where there is one. Returns what takes the listener away again. */
  onUp(listener: (hello: ProbeHello) => void): () => void {
    this.#up.add(listener);
    if (this.#hello !== undefined) queueMicrotask(() => this.#hello !== undefined && this.#up.has(listener) && listener(this.#hello));
    return () => this.#up.delete(listener);
  }

  /** Called at each loss of a connection that had been good, after the requests heard of it, with the reason. */
  onDown(listener: (reason: string) => void): () => void {
    this.#down.add(listener);
    return () => this.#down.delete(listener);
  }

  /** The namespaces that are there now. @throws {ProbeLinkError} */
  list(): Promise<ProbeNamespace[]> {
    return new Promise((resolve, reject) => {
      const found: ProbeNamespace[] = [];
      this.#ask(
        { type: 'list' },
        {
          reply: (reply) => reply.type === 'namespace' && found.push(namespaceOf(reply)),
          end: (end) => (end.code === 'done' ? resolve(found) : reject(failure('list the namespaces', end))),
        },
      );
    });
  }

  /** Namespaces that are there, come and go. */
  watch(handlers: WatchHandlers): ProbeStream {
    return this.#open(
      { type: 'watch' },
      {
        reply(reply) {
          if (reply.type === 'namespace') handlers.found(namespaceOf(reply));
          else if (reply.type === 'gone') handlers.gone(reply.cookie);
          else if (reply.type === 'ready') handlers.ready();
        },
        end: handlers.end,
      },
    );
  }

  /** The frames of a namespace. After the end nothing is heard; the last counters come before it, unless the connection was lost. */
  capture(cookie: bigint, settings: CaptureSettings, handlers: CaptureHandlers): ProbeCapture {
    const { snapLength, ringBytes, filter } = settings;
    const stream = this.#open(
      { type: 'capture', cookie, snapLength, ringBytes, filter },
      {
        reply(reply) {
          if (reply.type === 'frames') handlers.frames(reply.bytes);
          else if (reply.type === 'stats')
            handlers.stats({ seen: reply.seen, dropped: reply.dropped, delivered: reply.delivered, waiting: reply.waiting });
          else if (reply.type === 'opened') handlers.opened();
        },
        end: handlers.end,
      },
    );
    return { close: stream.close, stats: () => stream.send('stats') };
  }

  /** Events of the kernel in a namespace. @param receiveBuffer 64 KiB to 64 MiB */
  events(cookie: bigint, kind: ProbeEventKind, receiveBuffer: number, handlers: EventHandlers): ProbeStream {
    return this.#open(
      { type: 'events', cookie, kind, receiveBuffer },
      {
        reply(reply) {
          if (reply.type === 'netlink') handlers.netlink(reply.bytes, reply.seconds, reply.nanoseconds);
          else if (reply.type === 'lost') handlers.lost(reply.overruns, reply.events);
          else if (reply.type === 'opened') handlers.opened();
        },
        end: handlers.end,
      },
    );
  }

  /**
   * What the kernel holds, as netlink messages, in the order in which they were read.
   * @param family AF_INET 2, AF_INET6 10; 0 all (not for sockets)
   * @param protocol IPPROTO_TCP 6, IPPROTO_UDP 17; for sockets only
   * @throws {ProbeLinkError} also where it takes more than 256 MiB
   */
  async dump(cookie: bigint, kind: ProbeDumpKind, family = 0, protocol = 0): Promise<Uint8Array[]> {
    return this.#inLane('dump', `read ${kind} of a namespace`, (resolve, reject) => {
      const messages: Uint8Array[] = [];
      let held = 0;
      const stream = this.#open(
        { type: 'dump', cookie, kind, family, protocol },
        {
          reply(reply) {
            if (reply.type !== 'netlink' || held > LARGEST_DUMP) return;
            held += reply.bytes.length;
            messages.push(reply.bytes);
            if (held > LARGEST_DUMP) stream.close();
          },
          end(end) {
            if (held > LARGEST_DUMP)
              reject({ ...end, code: 'too-large', text: `at most ${LARGEST_DUMP} bytes are read of a dump, it has more` });
            else if (end.code === 'done') resolve(messages);
            else reject(end);
          },
        },
      );
    });
  }

  /** Standard output of a tool that ended well. @throws {ProbeLinkError} with its standard error, where it printed some */
  async tool(cookie: bigint, tool: ProbeTool): Promise<ToolOutput> {
    return this.#inLane('tool', `run ${tool} in a namespace`, (resolve, reject) => {
      const output: Uint8Array[] = [];
      const errors: Uint8Array[] = [];
      let held = 0;
      this.#open(
        { type: 'tool', cookie, tool },
        {
          reply(reply) {
            if (reply.type !== 'output' || held > LARGEST_OUTPUT) return;
            held += reply.bytes.length;
            (reply.channel === 'output' ? output : errors).push(reply.bytes);
          },
          end(end) {
            if (end.code === 'done') {
              resolve({ text: Buffer.concat(output).toString('utf8'), remark: end.text });
              return;
            }
            const said = Buffer.concat(errors).toString('utf8').trim().slice(0, 512);
            reject(said === '' ? end : { ...end, text: `${describeEnd(end)}: ${said}` });
          },
        },
      );
    });
  }

  /** A connection to a port of 127.0.0.1 in a namespace, when it stands. Destroy it to give it up. @throws {ProbeLinkError} */
  async tunnel(cookie: bigint, port: number): Promise<Duplex> {
    const what = `the tunnel to 127.0.0.1:${port}`;
    let over: (() => void) | undefined;
    return this.#inLane<Duplex>(
      'tunnel',
      `open ${what}`,
      (resolve, reject) => {
        let tunnel: ProbeTunnel | undefined;
        const stream = this.#open(
          { type: 'tunnel', cookie, port },
          {
            reply: (reply) => {
              if (reply.type === 'data') tunnel?.received(reply.bytes);
              else if (reply.type === 'credit') tunnel?.credited(reply.bytes);
              else if (reply.type === 'opened') {
                tunnel = new ProbeTunnel(
                  {
                    data: (bytes) => stream.write({ type: 'data', bytes }),
                    credit: (bytes) => stream.write({ type: 'credit', bytes }),
                    close: stream.close,
                  },
                  what,
                );
                resolve(tunnel);
              }
            },
            end: (end) => {
              over?.();
              if (tunnel === undefined) reject(end);
              else tunnel.ended(end);
            },
          },
        );
      },
      (done) => {
        over = done;
      },
    );
  }

  /** Runs `act` when the lane has a place. The place is free again when it settles or, given `keep`, when it fails or that calls back. */
  #inLane<T>(
    lane: keyof typeof MOST_AT_ONCE,
    what: string,
    act: (resolve: (value: T) => void, reject: (end: ProbeEnd) => void) => void,
    keep?: (done: () => void) => void,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      const fail = (end: ProbeEnd) => reject(failure(what, end));
      if (this.#hello === undefined) {
        fail(disconnected(this.#lastReason));
        return;
      }
      let left = false;
      const leave = () => {
        if (!left) this.#lanes[lane].leave();
        left = true;
      };
      const go = () => {
        keep?.(leave);
        act(
          (value) => {
            if (keep === undefined) leave();
            resolve(value);
          },
          (end) => {
            leave();
            fail(end);
          },
        );
      };
      if (!this.#lanes[lane].enter({ go, fail }))
        fail({ code: 'busy', errno: 0, text: `at most ${LONGEST_QUEUE} requests of this kind may wait, there are more` });
    });
  }

  #open(request: WithoutId<ProbeRequest>, stream: Stream) {
    const id = this.#ask(request, stream);
    const write = (more: WithoutId<ProbeRequest>) => {
      if (id !== 0 && this.#streams.get(id) === stream) this.#socket?.write(encodeProbeRequest({ ...more, id } as ProbeRequest));
    };
    return { close: () => write({ type: 'close' }), send: (type: 'stats') => write({ type }), write };
  }

  /** The id; 0 where there is no connection: then the end is told in a microtask. */
  #ask(request: WithoutId<ProbeRequest>, stream: Stream): number {
    if (this.#hello === undefined || this.#socket === undefined) {
      const end = disconnected(this.#lastReason);
      queueMicrotask(() => stream.end(end));
      return 0;
    }
    let id = this.#nextId;
    while (this.#streams.has(id)) id = id === 0xffff_ffff ? 1 : id + 1;
    this.#nextId = id === 0xffff_ffff ? 1 : id + 1;
    this.#streams.set(id, stream);
    this.#socket.write(encodeProbeRequest({ ...request, id } as ProbeRequest));
    return id;
  }

  #connect(): void {
    const { place, log } = this.#options;
    const socket = connectToProbe(place, (line) => log.warn({ line }, 'the probe says'));
    const reader = new ProbeReplyReader();
    this.#socket = socket;
    const lost = (reason: string) => {
      if (this.#socket === socket) this.#lost(reason);
    };
    this.#helloLimit = setTimeout(() => lost(`it has not answered for ${HELLO_MS / 1000} s`), HELLO_MS);
    let failed = 'the probe closed the connection';
    socket.on('error', (error) => {
      failed = error.message;
    });
    socket.on('close', () => lost(failed));
    socket.on('data', (chunk: Buffer) => {
      try {
        for (const reply of reader.push(chunk)) {
          if (this.#socket !== socket) return;
          if (reply.type === 'bye') failed = reply.text;
          else this.#take(reply, lost);
        }
      } catch (error) {
        if (!(error instanceof ProbeProtocolError)) throw error;
        lost(error.message);
      }
    });
    socket.write(encodeProbeRequest({ type: 'hello' }));
  }

  /** @throws {ProbeProtocolError} */
  #take(reply: Exclude<ProbeReply, { type: 'bye' }>, lost: (reason: string) => void): void {
    if (reply.type === 'hello') {
      this.#greeted(reply, lost);
      return;
    }
    const stream = this.#streams.get(reply.id);
    if (stream === undefined) throw new ProbeProtocolError(`it answers a request that was never made, number ${reply.id}`);
    if (reply.type === 'end') {
      this.#streams.delete(reply.id);
      stream.end({ code: reply.code, errno: reply.errno, text: reply.text });
    } else stream.reply(reply);
  }

  /** @throws {ProbeProtocolError} */
  #greeted(hello: ProbeHello, lost: (reason: string) => void): void {
    if (this.#hello !== undefined) throw new ProbeProtocolError('it says hello twice');
    if (hello.version !== PROBE_PROTOCOL_VERSION)
      throw new ProbeProtocolError(
        `it speaks version ${hello.version} of the protocol, ${PROBE_PROTOCOL_VERSION} is wanted: both must be of one release`,
      );
    clearTimeout(this.#helloLimit);
    this.#hello = hello;
    this.#upSince = Date.now();
    this.#options.log.info(
      { probe: describeProbe(this.#options.place), library: hello.library, tools: hello.tools, ringBudget: hello.ringBudget },
      'connected to the probe',
    );
    this.#stayAlive(lost);
    for (const listener of [...this.#up]) listener(hello);
  }

  /** A probe that stands still would otherwise go unnoticed. */
  #stayAlive(lost: (reason: string) => void): void {
    this.#alive = setTimeout(() => {
      const limit = setTimeout(() => lost(`it has not answered for ${ALIVE_WITHIN_MS / 1000} s`), ALIVE_WITHIN_MS);
      this.#alive = limit;
      this.list().then(
        () => {
          if (this.#alive !== limit) return;
          clearTimeout(limit);
          this.#stayAlive(lost);
        },
        () => {},
      );
    }, ALIVE_EVERY_MS);
  }

  #lost(reason: string): void {
    const wasUp = this.#hello !== undefined;
    const socket = this.#socket;
    this.#socket = undefined;
    this.#hello = undefined;
    this.#lastReason = reason;
    clearTimeout(this.#helloLimit);
    clearTimeout(this.#alive);
    socket?.destroy();
    const { log, place } = this.#options;
    if (!this.#stopped) {
      if (wasUp) this.#losses++;
      if (wasUp && Date.now() - this.#upSince >= GOOD_MS) this.#attempts = 0;
      const pause = backOffMs(BACK_OFF, this.#attempts + 1, this.#random());
      // One line at the loss, and then one for each doubling: attempts go on for ever.
      if (wasUp || BACK_OFF.firstMs * 2 ** this.#attempts <= BACK_OFF.mostMs)
        log.warn({ probe: describeProbe(place), reason, againInMs: pause }, 'no connection to the probe');
      this.#attempts++;
      this.#again = setTimeout(() => this.#connect(), pause);
    }
    const end = disconnected(reason);
    for (const lane of Object.values(this.#lanes)) lane.clear(end);
    const streams = [...this.#streams.values()];
    this.#streams.clear();
    for (const stream of streams) stream.end(end);
    if (wasUp) for (const listener of [...this.#down]) listener(reason);
  }
}

function namespaceOf({ cookie, inode, process, name }: Extract<ProbeReply, { type: 'namespace' }>): ProbeNamespace {
  return { cookie, inode, process, name };
}

function disconnected(reason: string): ProbeEnd {
  return { code: 'disconnected', errno: 0, text: reason === '' ? 'there is no connection to the probe' : `the probe is lost: ${reason}` };
}

function failure(act: string, end: ProbeEnd): ProbeLinkError {
  return new ProbeLinkError(`Cannot ${act}: ${describeEnd(end)}`, end);
}
