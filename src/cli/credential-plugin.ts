/** Runs a credential plugin: no shell, everything that it prints bounded in length, all of it in time. */
import { spawn } from 'node:child_process';
import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';
import { StringDecoder } from 'node:string_decoder';
import { passOn } from './failure.ts';

/** More of its standard error is not shown. */
const TOLD_BYTES_MAX = 64 * 1024;

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

/** What it prints on standard output; its standard error goes to ours, as it comes. @throws {PluginError} */
export async function runPlugin({ command, args, env, interactive }: PluginCall, limits: PluginLimits): Promise<string> {
  const program = findProgram(command, env.PATH);
  return await new Promise((resolve, reject) => {
    const child = spawn(program, args, { env, stdio: [interactive ? 'inherit' : 'ignore', 'pipe', 'pipe'] });
    const { stdout, stderr } = child;
    if (stdout === null || stderr === null) throw new Error('both were asked for');
    const stop = (state: string): void => {
      clearTimeout(late);
      reject(new PluginError(state));
      child.kill('SIGKILL');
      // What it started may hold them open.
      stdout.destroy();
      stderr.destroy();
    };
    const ms = interactive ? limits.interactiveMs : limits.ms;
    const late = setTimeout(() => stop(`an end within ${ms / 1000} s is wanted, it ran on and was stopped`), ms);
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
    child.on('error', (error: NodeJS.ErrnoException) => {
      clearTimeout(late);
      reject(new PluginError(`a program that can be run is wanted, the system says ${error.code ?? error.message}`));
    });
    child.on('close', (code, signal) => {
      clearTimeout(late);
      if (code === 0) resolve(Buffer.concat(chunks).toString('utf8'));
      else reject(new PluginError(`it must end with 0, it ended ${signal === null ? `with ${code}` : `by ${signal}`}`));
    });
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
