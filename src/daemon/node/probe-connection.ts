/** Ways to a probe: the Unix socket on which one listens, or a probe of our own that ends with us. */
import { spawn } from 'node:child_process';
import { connect, type Socket } from 'node:net';

export type ProbePlace =
  /** A probe that runs already, beside us. */
  | { readonly socket: string }
  /** A probe that is started for us alone, and ends with the connection (for root on one machine). */
  | { readonly program: string; readonly arguments?: readonly string[] };

const MEBIBYTE = 1024 * 1024;

/** A probe of our own. @param about.ringBudget bytes, of which the probe takes whole MiB, at least one */
export function ownProbe(
  program: string,
  about: { readonly netnsFolder: string; readonly ringBudget: number; readonly processes: boolean },
): ProbePlace {
  const budget = Math.max(1, Math.floor(about.ringBudget / MEBIBYTE));
  return {
    program,
    arguments: ['--netns', about.netnsFolder, '--ring-budget', String(budget), ...(about.processes ? ['--processes'] : [])],
  };
}

/** How people name it. */
export function describeProbe(place: ProbePlace): string {
  return 'socket' in place ? `the probe at "${place.socket}"` : `the probe "${place.program}"`;
}

/** Bytes of a probe's standard error that are passed on before a line must have ended. */
const LONGEST_LINE = 4096;

/**
 * Begins to connect. The socket tells by its events how that went; a probe that cannot be started closes it with an error.
 * @param say takes what a probe of our own prints on standard error, a line at a time
 */
export function connectToProbe(place: ProbePlace, say: (line: string) => void): Socket {
  if ('socket' in place) return connect(place.socket);
  // Node makes a pair of connected Unix sockets of a 'pipe'. The probe reads no environment, and gets none.
  const child = spawn(place.program, ['--fd', '3', ...(place.arguments ?? [])], { stdio: ['ignore', 'ignore', 'pipe', 'pipe'], env: {} });
  const socket = child.stdio[3] as Socket;
  child.on('error', (error) => socket.destroy(error));
  child.on('exit', (code, signal) => {
    // What it said last is still read, up to the end of the stream.
    if (code !== 0) say(`it ended with ${signal === null ? `exit code ${code}` : signal}`);
  });
  let rest = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = (lines.pop() ?? '').slice(0, LONGEST_LINE);
    for (const line of lines) if (line !== '') say(line.slice(0, LONGEST_LINE));
  });
  return socket;
}
