/** A stream server of a test's own on a Unix socket in a folder of its own, records to publish, and clients that gather what comes. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { AnyRecord, FlowRecord, LostRecord } from '../../src/record/record.ts';
import { StreamClient, type StreamClientOptions, type StreamEvent } from '../../src/stream/client.ts';
import type { Subscription } from '../../src/stream/protocol.ts';
import { StreamServer, type StreamServerOptions } from '../../src/stream/server.ts';
import { flowOf } from '../output/samples.ts';

export function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'sidetrace-stream-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

export interface Running {
  readonly server: StreamServer;
  readonly path: string;
  readonly port: number;
}

/** Listens on a Unix socket and, unless `tcp` is false, on a free port of 127.0.0.1. */
export async function running(t: TestContext, options: Partial<StreamServerOptions> = {}, tcp = true): Promise<Running> {
  const path = join(folder(t), 'daemon.sock');
  const server = new StreamServer({ node: 'node-a', software: 'sidetrace test', flushMs: 2, ...options });
  await server.listen([{ path }, ...(tcp ? [{ host: '127.0.0.1', port: 0 }] : [])]);
  t.after(() => server.close());
  const second = server.addresses[1];
  return { server, path, port: second !== undefined && 'port' in second ? second.port : 0 };
}

let made = 0;

/** A flow whose id and source port tell its place among all that were made. */
export function numbered(fields: Partial<FlowRecord> = {}): FlowRecord {
  made++;
  return flowOf({ id: made.toString(16).padStart(16, '0'), ...fields });
}

export function numberedMany(count: number): FlowRecord[] {
  return Array.from({ length: count }, () => numbered());
}

export interface Gathered {
  readonly client: StreamClient;
  readonly events: StreamEvent[];
  readonly records: AnyRecord[];
  readonly context: FlowRecord[];
  readonly lost: LostRecord[];
  /** Resolves when the client ends; rejects with what ended it. */
  readonly end: Promise<void>;
  /** Resolves when the condition holds; rejects after ten seconds. */
  until(condition: (gathered: Gathered) => boolean, what?: string): Promise<void>;
}

export function gather(
  t: TestContext,
  server: string | number,
  subscription: Subscription = {},
  more: Partial<StreamClientOptions> = {},
): Gathered {
  const client = new StreamClient({
    server: typeof server === 'string' ? { socketPath: server } : { host: '127.0.0.1', port: server, secure: false },
    subscription,
    ...more,
  });
  t.after(() => client.close());
  const waiting = new Set<() => void>();
  const check = (): void => {
    for (const one of waiting) one();
  };
  const run = async (): Promise<void> => {
    for await (const event of client) {
      gathered.events.push(event);
      if (event.type === 'records') gathered.records.push(...event.records);
      else if (event.type === 'context') gathered.context.push(...event.records);
      else if (event.type === 'lost') gathered.lost.push(event.record);
      check();
    }
  };
  const gathered: Gathered = {
    client,
    events: [],
    records: [],
    context: [],
    lost: [],
    end: Promise.resolve().then(run),
    until: (condition, what = 'what was waited for') =>
      new Promise<void>((resolve, reject) => {
        const timer = setTimeout(() => {
          waiting.delete(one);
          reject(
            new Error(
              `${what} did not come within ten seconds; ${gathered.records.length} records, last event ${JSON.stringify(gathered.events.at(-1))?.slice(0, 300)}`,
            ),
          );
        }, 10_000);
        const one = (): void => {
          if (!condition(gathered)) return;
          clearTimeout(timer);
          waiting.delete(one);
          resolve();
        };
        waiting.add(one);
        one();
      }),
  };
  gathered.end.catch(() => undefined);
  return gathered;
}

/** The past has been sent, and it gets what comes. */
export const isLive = ({ events }: Gathered): boolean => events.some((event) => event.type === 'status' && event.state === 'live');
