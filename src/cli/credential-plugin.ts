/** Runs a credential plugin: no shell, everything that it prints bounded in length, all of it in time. */
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';
import { StringDecoder } from 'node:string_decoder';
import { passOn } from './failure.ts';

/** More of its standard error is not shown. */
const TOLD_BYTES_MAX = 64 * 1024;
/** What it said on standard error is waited for so long after its end. */
const LAST_WORDS_MS = 100;

export interface PluginLimits {
  readonly ms: number;
  /** Where it may ask somebody on the terminal, who may have to sign in elsewhere first. */
  readonly interactiveMs: number;
  /** Of standard output. */
  readonly bytes: number;
}

export const usualLimits: PluginLimits = { ms: 60_000, interactiveMs: 600_000, bytes: 1024 * 1024 };

export interface PluginCall {
  /** An absolute path, or a name that is looked up in PATH. */
  readonly command: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  /** It may read our standard input. */
  readonly interactive: boolean;
}

/** A plugin did not print what it was run for: the wish and the state. */
export class PluginError extends Error {
  override readonly name = 'PluginError';
  /** Is the program not there at all? */
  readonly absent: boolean;

  constructor(message: string, absent = false) {
    super(message);
    this.absent = absent;
  }
}

/**
 * What it prints on standard output; its standard error goes to ours, as it comes. It is over when it has ended and its output has: what it started may hold its standard error for longer.
 *
 * @param signal stops it
 * @throws {PluginError}
 */
export async function runPlugin(
  { command, args, env, interactive }: PluginCall,
  limits: PluginLimits,
  signal?: AbortSignal,
): Promise<string> {
  const program = findProgram(command, process.env.PATH);
  return await new Promise((resolve, reject) => {
    const cannotRun = (error: unknown): void => {
      const { code, message } = error as NodeJS.ErrnoException;
      reject(new PluginError(`a program that can be run is wanted, the system says ${code ?? message}`));
    };
    let child: ChildProcess;
    try {
      child = spawn(program, args, { env, stdio: [interactive ? 'inherit' : 'ignore', 'pipe', 'pipe'] });
    } catch (error) {
      cannotRun(error);
      return;
    }
    child.on('error', cannotRun);
    const { stdout, stderr } = child;
    // Without room for pipes there are none, and the error comes.
    if (!stdout || !stderr) return;
    const kill = (): void => void child.kill('SIGKILL');
    const free = (): void => {
      clearTimeout(late);
      process.off('exit', kill);
      signal?.removeEventListener('abort', ended);
    };
    const stop = (state: string): void => {
      free();
      reject(new PluginError(state));
      kill();
      // What it started may hold them open.
      stdout.destroy();
      stderr.destroy();
    };
    const ended = (): void => stop('it is not waited for any more, and was stopped');
    const ms = interactive ? limits.interactiveMs : limits.ms;
    const late = setTimeout(() => stop(`an end within ${ms / 1000} s is wanted, it ran on and was stopped`), ms);
    process.once('exit', kill);
    signal?.addEventListener('abort', ended);
    const chunks: Buffer[] = [];
    let length = 0;
    stdout.on('data', (chunk: Buffer) => {
      length += chunk.length;
      if (length > limits.bytes) stop(`at most ${limits.bytes} bytes are wanted, it printed more`);
      else chunks.push(chunk);
    });
    const decoder = new StringDecoder('utf8');
    let told = 0;
    stderr.on('data', (chunk: Buffer) => {
      if (told < TOLD_BYTES_MAX) passOn(decoder.write(chunk.subarray(0, TOLD_BYTES_MAX - told)));
      told += chunk.length;
    });
    let wellEnded = false;
    let whole = false;
    const settle = (): void => {
      if (!wellEnded || !whole) return;
      free();
      setTimeout(() => stderr.destroy(), LAST_WORDS_MS);
      resolve(Buffer.concat(chunks).toString('utf8'));
    };
    stdout.on('end', () => {
      whole = true;
      settle();
    });
    child.on('exit', (code, by) => {
      if (code !== 0) stop(`it must end with 0, it ended ${by === null ? `with ${code}` : `by ${by}`}`);
      else {
        wellEnded = true;
        settle();
      }
    });
    if (signal?.aborted === true) ended();
  });
}

/** As Go's exec.LookPath, which client-go uses: nothing relative in PATH counts. @throws {PluginError} */
function findProgram(command: string, path = ''): string {
  if (isAbsolute(command)) {
    if (existsSync(command)) return command;
    throw new PluginError('a program is wanted, there is no such file', true);
  }
  const found = path
    .split(delimiter)
    .filter((folder) => isAbsolute(folder))
    .map((folder) => join(folder, command))
    .find(mayRun);
  if (found === undefined) throw new PluginError('a program in PATH is wanted, there is none of this name', true);
  return found;
}

function mayRun(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}
