/** A client of sidetrace-probe for the tests: starts the program and keeps every reply. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { encodeProbeRequest, type ProbeReply, ProbeReplyReader, type ProbeRequest, walkFrames } from '../../src/source/probe-protocol.ts';

export interface RunningProbe {
  readonly process: ChildProcess;
  readonly socketPath: string;
  /** What it printed on standard error so far. */
  errors(): string;
  /** Exit code, after SIGTERM where it still runs. */
  stop(): Promise<number | null>;
}

/** For the build with sanitizers; the program itself reads none of it. Leaks would be looked for with ptrace, which its filter of system calls refuses. */
export const probeEnvironment = { ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=1', UBSAN_OPTIONS: 'halt_on_error=1' };

const running = new Set<RunningProbe>();

/** Stops what tests left running. */
export async function stopProbes(): Promise<void> {
  for (const probe of running) await probe.stop();
}

export async function startProbe(program: string, ...options: string[]): Promise<RunningProbe> {
  const folder = mkdtempSync(join(tmpdir(), 'stn-'));
  const socketPath = join(folder, 'probe.sock');
  const child = spawn(program, ['--socket', socketPath, ...options], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: probeEnvironment,
  });
  let errors = '';
  child.stderr?.on('data', (text: Buffer) => {
    errors += text.toString();
  });
  const exited = once(child, 'exit');
  for (let attempt = 0; attempt < 500; attempt++) {
    const socket = connect(socketPath);
    const good = await Promise.race([
      once(socket, 'connect').then(() => true),
      once(socket, 'error').then(
        () => false,
        () => false,
      ),
    ]).catch(() => false);
    socket.destroy();
    if (good) break;
    if (child.exitCode !== null) throw new Error(`Cannot start "${program}": it ended with ${child.exitCode}: ${errors}`);
    await sleep(10);
  }
  const probe: RunningProbe = {
    process: child,
    socketPath,
    errors: () => errors,
    async stop() {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
      await exited;
      rmSync(folder, { recursive: true, force: true });
      running.delete(probe);
      return child.exitCode;
    },
  };
  running.add(probe);
  return probe;
}

export class ProbeClient {
  readonly replies: ProbeReply[] = [];
  readonly socket: Socket;
  closed = false;
  /** Frames of each capture, by id. */
  readonly frames = new Map<number, number>();
  /** Called with each frame, where it is wanted. */
  onFrame: ((id: number, bytes: Uint8Array, wireLength: number, seconds: number) => void) | undefined;
  private readonly reader = new ProbeReplyReader();
  private readonly waiting = new Set<() => void>();
  private nextId = 1;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => {
      for (const reply of this.reader.push(chunk)) this.keep(reply);
      this.wake();
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      this.closed = true;
      this.wake();
    });
  }

  /** Connects and, unless told otherwise, says hello. */
  static async connect(probe: RunningProbe, hello = true): Promise<ProbeClient> {
    const socket = connect(probe.socketPath);
    await once(socket, 'connect');
    const client = new ProbeClient(socket);
    if (hello) {
      client.socket.write(encodeProbeRequest({ type: 'hello' }));
      await client.reply('hello', 0);
    }
    return client;
  }

  newId(): number {
    return this.nextId++;
  }

  send(request: ProbeRequest): void {
    this.socket.write(encodeProbeRequest(request));
  }

  /** The first reply that satisfies `wanted`, when it is there. */
  find<Wanted extends ProbeReply>(wanted: (reply: ProbeReply) => reply is Wanted, what: string, milliseconds?: number): Promise<Wanted>;
  find(wanted: (reply: ProbeReply) => boolean, what: string, milliseconds?: number): Promise<ProbeReply>;
  async find(wanted: (reply: ProbeReply) => boolean, what: string, milliseconds = 10_000): Promise<ProbeReply> {
    const limit = Date.now() + milliseconds;
    for (;;) {
      const found = this.replies.find(wanted);
      if (found !== undefined) return found;
      if (this.closed)
        throw new Error(
          `Cannot wait for "${what}": the probe closed the connection after ${JSON.stringify(this.replies.at(-1), bigintText)}`,
        );
      const left = limit - Date.now();
      if (left <= 0)
        throw new Error(
          `Cannot wait for "${what}" any longer: ${this.replies.length} replies came, the last ${JSON.stringify(this.replies.at(-1), bigintText)}`,
        );
      await Promise.race([new Promise<void>((done) => this.waiting.add(done)), sleep(left, undefined, { ref: false })]);
    }
  }

  reply<Type extends ProbeReply['type']>(type: Type, id: number, milliseconds?: number): Promise<Extract<ProbeReply, { type: Type }>> {
    const wanted = (reply: ProbeReply): reply is Extract<ProbeReply, { type: Type }> =>
      reply.type === type && ('id' in reply ? reply.id : 0) === id;
    return this.find(wanted, `${type} ${id}`, milliseconds);
  }

  /** Replies to one request. */
  of(id: number): ProbeReply[] {
    return this.replies.filter((reply) => 'id' in reply && reply.id === id);
  }

  /** The cookie of the namespace of that name in /run/netns. */
  async cookie(name: string): Promise<bigint> {
    const id = this.newId();
    this.send({ type: 'list', id });
    await this.reply('end', id);
    for (const reply of this.of(id)) if (reply.type === 'namespace' && reply.name === name) return reply.cookie;
    throw new Error(`Cannot find the namespace "${name}": the probe lists ${this.of(id).length - 1} others`);
  }

  async capture(cookie: bigint, settings: { filter?: string; ringBytes?: number; snapLength?: number } = {}): Promise<number> {
    const id = this.newId();
    this.frames.set(id, 0);
    this.send({
      type: 'capture',
      id,
      cookie,
      snapLength: settings.snapLength ?? 256,
      ringBytes: settings.ringBytes ?? 2 * 1024 * 1024,
      filter: settings.filter ?? '',
    });
    await this.reply('opened', id);
    return id;
  }

  /** Standard output and the end of a tool. */
  async tool(
    cookie: bigint,
    tool: Extract<ProbeRequest, { type: 'tool' }>['tool'],
  ): Promise<{ output: string; end: Extract<ProbeReply, { type: 'end' }> }> {
    const id = this.newId();
    this.send({ type: 'tool', id, cookie, tool });
    const end = await this.reply('end', id, 15_000);
    const output = this.of(id).flatMap((reply) =>
      reply.type === 'output' && reply.channel === 'output' ? [Buffer.from(reply.bytes)] : [],
    );
    return { output: Buffer.concat(output).toString(), end };
  }

  /** When the connection has ended, whichever way. */
  async ended(): Promise<void> {
    if (!this.closed) await new Promise<void>((done) => this.socket.once('close', () => done()));
  }

  close(): void {
    this.socket.destroy();
  }

  private keep(reply: ProbeReply): void {
    if (reply.type !== 'frames') {
      this.replies.push(reply);
      if (reply.type === 'data') this.send({ type: 'credit', id: reply.id, bytes: reply.bytes.length });
      return;
    }
    let count = 0;
    walkFrames(reply.bytes, ({ offset, capturedLength, wireLength, seconds }) => {
      count++;
      this.onFrame?.(reply.id, reply.bytes.subarray(offset, offset + capturedLength), wireLength, seconds);
    });
    this.frames.set(reply.id, (this.frames.get(reply.id) ?? 0) + count);
  }

  private wake(): void {
    for (const done of this.waiting) done();
    this.waiting.clear();
  }
}

function bigintText(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString() : value;
}
