/** Runs `observe`: a client for each daemon, their streams as one, and on to a sink. */
import { formatEpochMs } from '../net/time.ts';
import type { FilterSet } from '../output/filter/filter-set.ts';
import type { Sink, SinkFormat, TimeFormat } from '../output/sink.ts';
import { formatDuration } from '../output/time-format.ts';
import type { AnyRecord, LostRecord } from '../record/record.ts';
import type { FinalOptions } from '../relay/final-records.ts';
import { Tail } from '../relay/tail.ts';
import { StreamClient, type StreamEvent } from '../stream/client.ts';
import { StreamError } from '../stream/client-socket.ts';
import type { FilterSpec, Subscription } from '../stream/protocol.ts';
import { openDestination } from './destination.ts';
import { COMPLETE, type ExitCode, INTERRUPTED, LOST, REFUSED, USAGE } from './exit-code.ts';
import { complain } from './failure.ts';
import { Interrupt } from './interrupt.ts';
import { Stage } from './observe-stage.ts';
import type { RecordOutputOptions } from './record-output.ts';
import type { Server } from './server-options.ts';

/** Between two looks at clocks and signals. */
const TICK_MS = 50;
/** Daemons that have not said that their past is over are not waited for longer. */
const PAST_MS = 10_000;
/** Of the last N of each node, those over nodes may lie further back on the other. */
const LAST_MARGIN = 200;

export interface Observation {
  readonly servers: readonly Server[];
  readonly format: SinkFormat;
  readonly output: RecordOutputOptions;
  readonly filters: { readonly set: FilterSet; readonly specs: readonly FilterSpec[] };
  readonly follow: boolean;
  /** Whether what daemons keep is wanted. */
  readonly past: boolean;
  readonly first: number | undefined;
  readonly last: number | undefined;
  readonly since: string | undefined;
  readonly until: string | undefined;
  /** Paths are completed across nodes, here. */
  readonly join: boolean;
  readonly windowMs: number;
  readonly waitMs: number;
  readonly quiet: boolean;
  labelsOf(pod: string): { readonly [label: string]: string } | undefined;
}

const layouts: { readonly [format: string]: FinalOptions['layout'] } = {
  text: 'blocks',
  tree: 'counts',
  compact: 'events',
  dict: 'events',
  table: 'events',
  hubble: 'events',
};

/** What to ask each daemon for. */
export function subscriptionOf(observation: Observation): Subscription {
  const { format, filters, follow, past, first, last, since, until, join } = observation;
  const layout = layouts[format.name] ?? 'records';
  const filtersHere = join && !filters.set.empty;
  // What passes is known here only: all that is kept is wanted.
  const lastThere = last === undefined || filtersHere ? undefined : join ? last + LAST_MARGIN : last;
  const whole = past && lastThere === undefined && since === undefined;
  return {
    follow,
    ...(filters.specs.length === 0 || filtersHere ? {} : { filter: [...filters.specs] }),
    ...(lastThere === undefined ? {} : { last: lastThere }),
    ...(since === undefined ? (whole && (follow || first !== undefined) ? { since: '1970-01-01' } : {}) : { since }),
    ...(until === undefined ? {} : { until }),
    ...(join || layout !== 'records' ? { context: true } : {}),
  };
}

export async function observe(observation: Observation): Promise<ExitCode> {
  return await new Run(observation).run();
}

interface Source {
  readonly server: Server;
  readonly client: StreamClient;
  node: string | undefined;
  boot: string | undefined;
  state: 'connecting' | 'up' | 'down' | 'done';
  pastIsOver: boolean;
  /** Since when nothing comes. */
  downSinceMs: number | undefined;
}

class Run {
  readonly #observation: Observation;
  readonly #sources: Source[];
  readonly #writer;
  readonly #sink: Sink;
  readonly #stage: Stage;
  readonly #tail: Tail;
  readonly #interrupt = new Interrupt();
  readonly #began = performance.now();
  readonly #offsetsTold = new Set<string>();
  #pastOpen: boolean;
  #lost = false;
  #code: ExitCode = COMPLETE;
  #stopping = false;

  constructor(observation: Observation) {
    this.#observation = observation;
    const { format, output, servers, filters, first, last, past, join } = observation;
    const { writer, palette, width } = openDestination(output);
    this.#writer = writer;
    this.#sink = format.create(writer, {
      palette,
      width,
      why: output.why ?? false,
      all: output.all ?? false,
      printNodeName: output.printNodeName ?? false,
      numeric: output.numeric ?? false,
      timeFormat: output.timeFormat as TimeFormat,
    });
    const here = join && !filters.set.empty ? filters.set : undefined;
    this.#pastOpen = past;
    this.#stage = new Stage(this.#sink, {
      layout: layouts[format.name] ?? 'records',
      filters: here,
      first,
      // One daemon gives the last N itself.
      last: servers.length > 1 ? last : undefined,
      past,
      labelsOf: (pod) => observation.labelsOf(pod),
    });
    this.#tail = new Tail({ windowMs: observation.windowMs, waitMs: observation.waitMs, join, past }, this.#stage);
    const subscription = subscriptionOf(observation);
    this.#sources = servers.map((server) => ({
      server,
      client: new StreamClient({
        server: server.address,
        subscription,
        persistent: observation.follow && servers.length > 1,
        ...(server.tokenFile !== undefined ? { tokenFile: server.tokenFile } : server.token === undefined ? {} : { token: server.token }),
        ...(server.ca === undefined ? {} : { ca: server.ca }),
        ...(server.cert === undefined ? {} : { cert: server.cert }),
        ...(server.key === undefined ? {} : { key: server.key }),
        ...(server.serverName === undefined ? {} : { serverName: server.serverName }),
        ...(server.insecure === undefined ? {} : { insecure: true }),
      }),
      node: undefined,
      boot: undefined,
      state: 'connecting',
      pastIsOver: false,
      downSinceMs: undefined,
    }));
  }

  async run(): Promise<ExitCode> {
    const timer = setInterval(() => this.#tick(), TICK_MS);
    try {
      await Promise.all(this.#sources.map((source) => this.#follow(source)));
      this.#tellSilent();
      this.#stage.end(this.#tail.end(this.#now()));
      this.#writer.close();
    } finally {
      clearInterval(timer);
      this.#interrupt.release();
    }
    if (this.#writer.failure !== undefined) {
      const { code, message } = this.#writer.failure;
      complain(`Cannot write the records: a place with room is wanted, the system says ${code ?? message}`);
      return LOST;
    }
    if (this.#interrupt.requested) return INTERRUPTED;
    if (this.#code !== COMPLETE) return this.#code;
    return this.#lost ? LOST : COMPLETE;
  }

  /** Milliseconds of a clock that never goes back. */
  #now(): number {
    return performance.now() - this.#began;
  }

  #tick(): void {
    const now = this.#now();
    const streamMs = this.#tail.tick(now);
    if (
      this.#pastOpen &&
      (now > PAST_MS + this.#observation.windowMs || this.#sources.every((source) => source.pastIsOver || source.state === 'down'))
    )
      this.#closePast(now, streamMs);
    this.#stage.tick(streamMs);
    this.#sink.flush?.();
    this.#writer.flush();
    if ((this.#interrupt.requested || this.#writer.closed) && !this.#stopping) this.#stop();
    if (this.#observation.join) this.#tellClocks();
  }

  #pastOverAtMs: number | undefined;

  /** What was kept is there; parts of paths may still wait for their others. */
  #closePast(now: number, streamMs: number): void {
    if (!this.#observation.follow) return;
    this.#pastOverAtMs ??= now + (this.#observation.join ? this.#observation.windowMs + this.#observation.waitMs : 0);
    if (now < this.#pastOverAtMs) return;
    this.#pastOpen = false;
    this.#tail.pastIsOver();
    this.#stage.pastIsOver(streamMs);
  }

  #stop(): void {
    this.#stopping = true;
    for (const { client } of this.#sources) client.close();
  }

  async #follow(source: Source): Promise<void> {
    const { client, server } = source;
    try {
      for await (const event of client) {
        this.#take(source, event);
        if (this.#stopping) break;
      }
    } catch (error) {
      if (!(error instanceof StreamError)) throw error;
      if (!this.#stopping) {
        complain(error.message);
        // One dead daemon does not keep the others from being read.
        this.#code = error.kind === 'request' ? USAGE : REFUSED;
      }
    } finally {
      source.state = 'done';
      source.pastIsOver = true;
      this.#tail.down(server.name);
    }
  }

  #take(source: Source, event: StreamEvent): void {
    const { name } = source.server;
    const now = this.#now();
    switch (event.type) {
      case 'hello':
        this.#up(source, event.hello.node, event.hello.boot);
        break;
      case 'records':
        for (const record of event.records) this.#record(name, record, now);
        break;
      case 'context':
        for (const flow of event.records) this.#tail.context(name, flow, now);
        break;
      case 'lost':
        this.#record(name, event.record, now);
        break;
      case 'status':
        if (event.state === 'live') source.pastIsOver = true;
        break;
      case 'bye':
        source.pastIsOver = true;
        break;
      case 'disconnected':
        this.#down(source, event.reason, event.retryMs);
        break;
      case 'problem':
        complain(event.message);
        break;
    }
  }

  #record(server: string, record: AnyRecord, now: number): void {
    if (record.type === 'lost') this.#lost = true;
    this.#tail.record(server, record, now);
  }

  #up(source: Source, node: string, boot: string): void {
    const twin = this.#sources.find((other) => other !== source && other.state === 'up' && other.boot === boot);
    if (twin !== undefined) {
      complain(`${source.server.name} is the daemon that ${twin.server.name} is, too: it is asked once`);
      source.client.close();
      return;
    }
    source.boot = boot;
    const again = source.state === 'down';
    source.state = 'up';
    source.node = node;
    source.downSinceMs = undefined;
    this.#tail.up(source.server.name, node);
    if (again || this.#sources.length > 1) this.#say(`${node}: connected${again ? ' again' : ''} (${source.server.name})`);
  }

  #down(source: Source, reason: string, retryMs: number): void {
    this.#tail.down(source.server.name);
    if (source.state === 'down') return;
    source.downSinceMs = Date.now();
    source.state = 'down';
    this.#say(`${source.node ?? source.server.name}: ${reason}; trying again in ${formatDuration(retryMs)} and from then on`);
  }

  #say(text: string): void {
    if (!this.#observation.quiet) complain(text);
  }

  /** Daemons that were there and did not come back: nobody knows what they saw since. */
  #tellSilent(): void {
    const now = Date.now();
    for (const { node, downSinceMs, server } of this.#sources) {
      if (node === undefined || downSinceMs === undefined) continue;
      const lost: LostRecord = {
        type: 'lost',
        source: 'gap',
        scope: { node },
        count: 0,
        exact: false,
        total: 0,
        first: formatEpochMs(downSinceMs),
        last: formatEpochMs(now),
        detail: `The daemon at ${server.name} was not reached any more: what it saw since is not known`,
      };
      this.#record(server.name, lost, this.#now());
    }
  }

  /** How nodes' clocks differ, once for each: times of two nodes are read side by side. */
  #tellClocks(): void {
    for (const { node } of this.#sources) {
      if (node === undefined || this.#offsetsTold.has(node)) continue;
      const offset = this.#tail.offsetOf(node);
      if (offset === undefined || (offset.ns === 0 && offset.errorNs === 0) || Math.abs(offset.ns) <= Math.max(offset.errorNs, 1e6))
        continue;
      this.#offsetsTold.add(node);
      const by = `${formatDuration(Math.abs(offset.ns) / 1e6)} ${offset.ns > 0 ? 'ahead of' : 'behind'}`;
      this.#say(`${node}: its clock is ${by} that of ${this.#sources[0]!.node} (within ${formatDuration(offset.errorNs / 1e6)})`);
    }
  }
}
