/**
 * One interface, live, by the optional package `cap`: the portable source, where no probe can be. It runs in a process of its own (cap-child.ts), which it may take down.
 *
 * Out     batches as they come; an empty batch where nothing is there yet: {@link LiveSource.wait} tells when there is.
 * Losses  what the pipe between the processes had no room for is counted. What `cap` itself loses nobody can tell: a loss of unknown extent (count 0) says so, and that the stamps were
 *         made in JavaScript. The end of the interface is a loss.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import type { TimeBase } from '../net/time.ts';
import { toNs } from '../net/time.ts';
import {
  CAP_BATCH_FRAMES,
  CAP_ENDED,
  CAP_FAILED,
  CAP_FRAME_HEADER,
  CAP_FRAMES,
  CAP_HEADER,
  CAP_LOST,
  CAP_MESSAGE_LIMIT,
  CAP_OPENED,
  CAP_SNAP_LENGTH,
} from './cap-messages.ts';
import { CaptureFileError } from './capture-file-error.ts';
import { FrameArrays } from './frame-arrays.ts';
import { LossLog } from './loss-log.ts';
import type { CaptureInterface, FrameBatch, LiveSource, SourceLoss } from './source.ts';
import { SourceBase } from './source-base.ts';

const OPEN_MS = 10_000;
/** After it was asked to end it hands over what it has; then it is ended. */
const END_MS = 3000;
/** So many bytes may wait to be judged; then the pipe is not read, and the child counts what it has no room for. */
const WAITING_MOST = 64 * 1024 * 1024;
const ERRORS_LIMIT = 2000;

export class CapSource implements LiveSource {
  readonly base: SourceBase;
  readonly interfaces: CaptureInterface[] = [];
  readonly #name: string;
  readonly #child: ChildProcess;
  readonly #pipe: Socket;
  readonly #log = new LossLog();
  readonly #frames = new FrameArrays(CAP_BATCH_FRAMES * 64);
  readonly #batches: Uint8Array[] = [];
  readonly #waiters = new Set<() => void>();
  #waitingBytes = 0;
  #rest: Buffer = Buffer.alloc(0);
  #state: 'opening' | 'open' | 'ending' | 'ended' = 'opening';
  #failure: string | undefined;
  #complete = false;
  #errors = '';
  #lastNs = 0;
  #whole = 0;

  private constructor(name: string, filter: string, base: TimeBase | undefined) {
    this.#name = name;
    this.base = SourceBase.of(base);
    const script = fileURLToPath(new URL('./cap-child.js', import.meta.url));
    // When cap aborts, no core file is to be left behind.
    this.#child = spawn('/bin/sh', ['-c', 'ulimit -c 0; exec "$0" "$@"', process.execPath, script, name, filter], {
      stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    });
    this.#pipe = this.#child.stdio[3] as Socket;
    this.#pipe.on('data', (chunk: Buffer) => this.#take(chunk));
    this.#pipe.on('error', () => {});
    this.#child.stderr?.on('data', (text: Buffer) => {
      if (this.#errors.length < ERRORS_LIMIT) this.#errors += text.toString();
    });
    this.#child.on('error', (error: NodeJS.ErrnoException) => {
      this.#failure ??= `it cannot be started, the system says ${error.code ?? error.message}`;
      this.#end();
    });
    this.#child.on('close', (code, signal) => this.#closed(signal ?? `exit code ${code}`));
  }

  /**
   * Begins to capture.
   * @param filter pcap-filter(7); '' takes everything
   * @throws {CaptureFileError} CAPTURE_PERMISSION without the right, CAPTURE_READ where the interface or filter is none
   */
  static async open(name: string, filter: string, base?: TimeBase): Promise<CapSource> {
    const source = new CapSource(name, filter, base);
    const timer = setTimeout(() => {
      source.#failure ??= `it did not begin within ${OPEN_MS / 1000} s`;
      source.#child.kill('SIGKILL');
    }, OPEN_MS);
    while (source.#state === 'opening') await source.#change();
    clearTimeout(timer);
    if (source.interfaces.length > 0) return source;
    const state = source.#failure ?? 'it ended';
    const denied = /permission|not permitted/i.test(state);
    const wish = denied
      ? 'the right to capture (root, or CAP_NET_RAW)'
      : /filter|syntax/i.test(state)
        ? `a filter of pcap-filter(7) in place of "${filter}"`
        : 'an interface that is up';
    throw new CaptureFileError(
      denied ? 'CAPTURE_PERMISSION' : 'CAPTURE_READ',
      `Cannot capture on "${name}": ${wish} is wanted, cap says: ${state}`,
      { path: name, offset: 0 },
    );
  }

  get losses(): readonly SourceLoss[] {
    return this.#log.list;
  }

  readonly malformed = false;

  next(): FrameBatch | undefined {
    const bytes = this.#batches.shift();
    if (bytes === undefined) {
      if (this.#state === 'ended') return undefined;
      this.#frames.count = 0;
      return this.#frames;
    }
    this.#waitingBytes -= bytes.length;
    if (this.#waitingBytes < WAITING_MOST / 2) this.#pipe.resume();
    this.#read(bytes);
    return this.#frames;
  }

  wait(): Promise<void> | undefined {
    return this.#batches.length > 0 || this.#state === 'ended' ? undefined : this.#change();
  }

  stop(): void {
    if (this.#state !== 'open') return;
    this.#state = 'ending';
    this.#pipe.write('.');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), END_MS);
    this.#child.once('close', () => clearTimeout(timer));
  }

  close(): void {
    this.#batches.length = 0;
    if (this.#state !== 'ended') this.#child.kill('SIGKILL');
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#waiters.add(resolve));
  }

  #wake(): void {
    for (const resolve of this.#waiters) resolve();
    this.#waiters.clear();
  }

  #end(): void {
    this.#state = 'ended';
    this.#wake();
  }

  #take(chunk: Buffer): void {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    while (this.#rest.length - at >= CAP_HEADER) {
      const length = this.#rest.readUInt32LE(at + 1);
      if (length > CAP_MESSAGE_LIMIT) {
        this.#child.kill('SIGKILL');
        return;
      }
      if (this.#rest.length - at - CAP_HEADER < length) break;
      this.#message(this.#rest.readUInt8(at), this.#rest.subarray(at + CAP_HEADER, at + CAP_HEADER + length));
      at += CAP_HEADER + length;
    }
    this.#rest = this.#rest.subarray(at);
    this.#wake();
  }

  #message(type: number, payload: Buffer): void {
    if (type === CAP_OPENED) {
      this.interfaces.push({ name: this.#name, linkType: payload.readUInt32LE(0), snapLength: CAP_SNAP_LENGTH });
      this.#state = 'open';
    } else if (type === CAP_FRAMES) {
      this.#batches.push(payload);
      this.#waitingBytes += payload.length;
      if (this.#waitingBytes > WAITING_MOST) this.#pipe.pause();
    } else if (type === CAP_LOST) {
      const count = payload.readUInt32LE(0);
      const detail = `Frames of "${this.#name}" were lost between the process that captures and this one: ${count}`;
      this.#log.add({ source: 'queue', count, exact: true, atNs: this.#lastNs, detail });
    } else if (type === CAP_FAILED) this.#failure = payload.toString('utf8').slice(0, ERRORS_LIMIT);
    else if (type === CAP_ENDED) this.#complete = true;
  }

  #closed(how: string): void {
    if (this.interfaces.length === 0) {
      this.#failure ??= `it ended with ${how}${this.#errors === '' ? '' : `: ${this.#errors.trim().split('\n').at(-1)}`}`;
      this.#end();
      return;
    }
    if (!this.#complete) {
      const detail = `Cannot capture on "${this.#name}" any longer: an interface that is up is wanted, ${interfaceState(this.#name)} (cap ended with ${how})`;
      this.#log.add({ source: 'interface', count: 1, exact: false, atNs: this.#lastNs, detail });
    }
    const whole =
      this.#whole === 0 ? '' : `; ${this.#whole} frames are as long as it can take (${CAP_SNAP_LENGTH} bytes) and may have been longer`;
    this.#log.add({
      source: 'kernel',
      count: 0,
      exact: false,
      atNs: this.#lastNs,
      detail: `How many frames of "${this.#name}" were lost is not known: cap does not tell. Their time stamps are those of the process that got them, not the kernel's${whole}`,
    });
    this.#end();
  }

  #read(bytes: Uint8Array): void {
    const frames = this.#frames;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    frames.bytes = bytes;
    frames.view = view;
    let at = 0;
    let count = 0;
    while (at + CAP_FRAME_HEADER <= bytes.length && count < frames.capacity) {
      const seconds = view.getUint32(at, true);
      const length = Math.min(view.getUint32(at + 8, true), bytes.length - at - CAP_FRAME_HEADER);
      this.base.fix(seconds);
      frames.offset[count] = at + CAP_FRAME_HEADER;
      frames.capturedLength[count] = length;
      frames.wireLength[count] = length;
      frames.timeNs[count] = toNs(this.base, seconds, view.getUint32(at + 4, true));
      frames.interfaceId[count] = 0;
      if (length >= CAP_SNAP_LENGTH) this.#whole++;
      at += CAP_FRAME_HEADER + length;
      count++;
    }
    frames.count = count;
    if (count > 0) this.#lastNs = frames.timeNs[count - 1]!;
  }
}

function interfaceState(name: string): string {
  const folder = `/sys/class/net/${name}`;
  if (!existsSync('/sys/class/net')) return 'it went down or away';
  if (!existsSync(folder)) return 'it went away';
  try {
    return `it is ${readFileSync(`${folder}/operstate`, 'utf8').trim()} now`;
  } catch {
    return 'it went away';
  }
}
