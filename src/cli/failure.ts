/** What goes wrong on the command line, told in one or two sentences on standard error: the act, the value in quotes, the wish, the present state. */
import { writeSync } from 'node:fs';
import { CommanderError } from 'commander';
import { escapeText } from '../output/escape.ts';
import { FilterError } from '../output/filter/filter.ts';
import { COMPLETE, type ExitCode, MALFORMED, REFUSED, USAGE } from './exit-code.ts';

/** A mistake in the arguments. */
export class UsageError extends Error {}

/** An input that cannot be used. */
export class InputError extends Error {}

const refusals: ReadonlySet<string | undefined> = new Set([
  'EACCES',
  'EPERM',
  'ECONNREFUSED',
  'ECONNRESET',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'CAPTURE_PERMISSION',
  'DAEMON_REFUSED',
]);

/** The code of the system call behind an error, at whatever depth. */
function systemCode(error: unknown, depth = 0): string | undefined {
  if (!(error instanceof Error) || depth > 5) return undefined;
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (typeof code === 'string' && syscall !== undefined) return code;
  return systemCode(error.cause, depth + 1) ?? (typeof code === 'string' ? code : undefined);
}

/** The exit code that an error stands for. Parsers throw a SyntaxError for an input that they cannot read. */
export function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof CommanderError) return error.exitCode === 0 ? COMPLETE : USAGE;
  if (error instanceof UsageError || error instanceof FilterError) return USAGE;
  if (refusals.has(systemCode(error))) return REFUSED;
  return MALFORMED;
}

/** One line on standard error, safe for a terminal. */
export function complain(message: string): void {
  passOn(`sidetrace: ${message}\n`);
}

/** Text of others to standard error, its lines as they are and safe for a terminal. A standard error that is closed is not worth failing for. */
export function passOn(text: string): void {
  try {
    writeSync(2, text.split(/\r?\n/).map(escapeText).join('\n'));
  } catch {
    // nobody is listening
  }
}

/** The system's own errors in our words. */
function sentence(error: Error): string {
  const { code, syscall, path } = error as NodeJS.ErrnoException;
  if (code === undefined || syscall === undefined || path === undefined || !error.message.startsWith(code)) return error.message;
  return `Cannot ${syscall} "${path}": a file that may be read is wanted, the system says ${code}`;
}

/** Tells an error and gives the exit code. An error that no input explains is a fault of ours: it shows where it happened. */
export function fail(error: unknown): ExitCode {
  const code = exitCodeOf(error);
  if (error instanceof CommanderError) {
    if (code !== COMPLETE && error.code !== 'commander.help') complain(error.message.replace(/^error: /, ''));
    return code;
  }
  if (error instanceof Error) {
    const known =
      error instanceof UsageError ||
      error instanceof InputError ||
      error instanceof FilterError ||
      error instanceof SyntaxError ||
      systemCode(error) !== undefined;
    complain(known ? sentence(error) : `a fault in sidetrace itself, please report it: ${error.stack ?? error.message}`);
  } else complain(String(error));
  return code;
}
