/** A few questions to a probe, one after the other: for `doctor`, which asks once and goes away. What follows namespaces uses the daemon's own link. */
import { type ChildProcess, spawn } from 'node:child_process';
import { connect, type Socket } from 'node:net';
import { errorText } from '../net/error-text.ts';
import { encodeProbeRequest, type ProbeReply, ProbeReplyReader, type ProbeRequest } from '../source/probe-protocol.ts';

const ANSWER_MS = 6000;
const REPLIES_MAX = 20_000;

export class ProbeQuestions {
  readonly #socket: Socket;
  readonly #child: ChildProcess | undefined;
  readonly #reader = new ProbeReplyReader();
  readonly #replies = new Map<number, ProbeReply[]>();
  readonly #wake = new Set<() => void>();
  #fault: string | undefined;
  #errors = '';
  #nextId = 1;

  private constructor(socket: Socket, child?: ChildProcess) {
    this.#socket = socket;
    this.#child = child;
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('error', (error: NodeJS.ErrnoException) => this.#end(`the system says ${error.code ?? error.message}`));
    socket.on('close', () => this.#end('the connection was closed'));
    child?.on('error', (error: NodeJS.ErrnoException) => this.#end(`it does not start, the system says ${error.code ?? error.message}`));
    child?.stderr?.on('data', (text: Buffer) => {
      if (this.#errors.length < 1000) this.#errors += text.toString();
    });
    child?.on('exit', (code, signal) =>
      this.#end(`it ended with ${signal ?? code}${this.#errors === '' ? '' : `: ${this.#errors.trim()}`}`),
    );
  }

  static connect(path: string): ProbeQuestions {
    return new ProbeQuestions(connect(path));
  }

  static start(program: string, options: readonly string[] = []): ProbeQuestions {
    const child = spawn(program, ['--fd', '3', ...options], { stdio: ['ignore', 'ignore', 'pipe', 'pipe'] });
    return new ProbeQuestions(child.stdio[3] as Socket, child);
  }

  /** @throws {Error} with the reason, where there is no answer */
  async hello(): Promise<Extract<ProbeReply, { type: 'hello' }>> {
    this.#socket.write(encodeProbeRequest({ type: 'hello' }));
    const reply = await this.#find(0, ({ type }) => type === 'hello');
    return reply as Extract<ProbeReply, { type: 'hello' }>;
  }

  /** All replies to a request, up to its end. @throws {Error} with the reason, where it does not come */
  async ask(make: (id: number) => ProbeRequest): Promise<readonly ProbeReply[]> {
    const id = this.#nextId++;
    this.#socket.write(encodeProbeRequest(make(id)));
    await this.#find(id, ({ type }) => type === 'end');
    return this.#forget(id);
  }

  /** Sends text to 127.0.0.1:PORT in a namespace and gives what comes back: the end of the answer, or the first `limit` bytes of it. */
  async say(
    cookie: bigint,
    port: number,
    text: string,
    limit = 64 * 1024,
  ): Promise<{ answer: string; end: Extract<ProbeReply, { type: 'end' }> | undefined }> {
    const id = this.#nextId++;
    this.#socket.write(encodeProbeRequest({ type: 'tunnel', id, cookie, port }));
    const opened = await this.#find(id, ({ type }) => type === 'opened' || type === 'end');
    if (opened.type === 'opened') {
      this.#socket.write(encodeProbeRequest({ type: 'data', id, bytes: Buffer.from(text) }));
      let length = 0;
      await this.#find(id, (reply) => {
        if (reply.type === 'data') length += reply.bytes.length;
        return reply.type === 'end' || length > limit;
      }).catch(() => undefined);
      this.#socket.write(encodeProbeRequest({ type: 'close', id }));
    }
    const replies = this.#forget(id);
    const answer = Buffer.concat(replies.flatMap((reply) => (reply.type === 'data' ? [reply.bytes] : []))).toString();
    return { answer, end: replies.find((reply) => reply.type === 'end') };
  }

  close(): void {
    this.#socket.destroy();
    if (this.#child?.exitCode === null) this.#child.kill('SIGTERM');
  }

  #forget(id: number): ProbeReply[] {
    const replies = this.#replies.get(id) ?? [];
    this.#replies.delete(id);
    return replies;
  }

  async #find(id: number, wanted: (reply: ProbeReply) => boolean): Promise<ProbeReply> {
    const until = Date.now() + ANSWER_MS;
    let looked = 0;
    for (;;) {
      const replies = this.#replies.get(id) ?? [];
      for (; looked < replies.length; looked++) if (wanted(replies[looked]!)) return replies[looked]!;
      if (this.#fault !== undefined) throw new Error(this.#fault);
      const left = until - Date.now();
      if (left <= 0) throw new Error(`no answer within ${ANSWER_MS / 1000} s`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wake.add(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }

  #take(chunk: Buffer): void {
    try {
      for (const reply of this.#reader.push(chunk)) {
        if (reply.type === 'bye') {
          this.#end(`it says: ${reply.text}`);
          continue;
        }
        const id = 'id' in reply ? reply.id : 0;
        const list = this.#replies.get(id) ?? [];
        if (list.length < REPLIES_MAX) list.push(reply);
        this.#replies.set(id, list);
      }
    } catch (error) {
      this.#end(errorText(error));
      this.#socket.destroy();
    }
    this.#awake();
  }

  #end(fault: string): void {
    // what the program itself says is better than that its connection closed
    if (this.#fault === undefined || this.#fault === 'the connection was closed') this.#fault = fault;
    this.#awake();
  }

  #awake(): void {
    for (const wake of this.#wake) wake();
    this.#wake.clear();
  }
}
