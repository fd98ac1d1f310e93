/** GET requests to a daemon, and answers of bounded length. The stream itself is not asked for here. */
import { type IncomingMessage, request as plainRequest } from 'node:http';
import { request as tlsRequest } from 'node:https';
import type { ConnectionOptions } from 'node:tls';
import { serverAddressText } from '../stream/server-address.ts';
import { InputError } from './failure.ts';
import type { Server } from './server-options.ts';

const ANSWER_MS = 30_000;
const FAULT_LIMIT = 4096;

/** The answer was no: 401, 403, 404, 503, … */
export class DaemonRefusal extends InputError {
  override readonly name = 'DaemonRefusal';
  readonly code = 'DAEMON_REFUSED';
  readonly status: number;
  constructor(message: string, status: number) {
    super(message);
    this.status = status;
  }
}

/**
 * Asks for a path and gives the answer as a stream, once it has begun with 200.
 * @param about.signal ends it; without one an answer has 30 s to begin
 * @throws {DaemonRefusal} with another status; {Error} with the system's code as cause where nobody answers
 */
export function askDaemon(server: Server, path: string, about: { readonly signal?: AbortSignal } = {}): Promise<IncomingMessage> {
  const cannot = (state: string): string => `Cannot ask the daemon at "${server.name}" for "${path}": ${state}`;
  return new Promise((resolve, reject) => {
    const { address } = server;
    const secure = !('socketPath' in address) && address.secure;
    const to = 'socketPath' in address ? address : { host: address.host, port: address.port, ...(secure ? tlsOptions(server) : {}) };
    const asked = (secure ? tlsRequest : plainRequest)({
      ...to,
      path,
      method: 'GET',
      agent: false,
      headers: {
        host: 'socketPath' in address ? 'localhost' : serverAddressText(address).replace(/^wss?:\/\//, ''),
        ...(server.token === undefined ? {} : { authorization: `Bearer ${server.token}` }),
      },
      ...(about.signal === undefined ? {} : { signal: about.signal }),
    });
    asked.setTimeout(ANSWER_MS, () => asked.destroy(Object.assign(new Error('no answer'), { code: 'ETIMEDOUT', syscall: 'connect' })));
    asked.on('error', (cause: NodeJS.ErrnoException) => {
      reject(Object.assign(new InputError(cannot(`an answer is wanted, the system says ${cause.code ?? cause.message}`), { cause })));
    });
    asked.on('response', (answer) => {
      asked.setTimeout(0);
      if (answer.statusCode === 200) {
        resolve(answer);
        return;
      }
      readAll(answer, FAULT_LIMIT).then(
        (body) => {
          const said = refusalText(body.toString('utf8').trim());
          reject(
            new DaemonRefusal(
              cannot(`200 is wanted, it answers ${answer.statusCode}${said === '' ? '' : `: ${said.slice(0, 500)}`}`),
              answer.statusCode ?? 0,
            ),
          );
        },
        () => reject(new DaemonRefusal(cannot(`200 is wanted, it answers ${answer.statusCode}`), answer.statusCode ?? 0)),
      );
    });
    asked.end();
  });
}

/** For node:tls. */
export function tlsOptions({ ca, cert, key, serverName, insecure }: Server): ConnectionOptions {
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(serverName === undefined ? {} : { servername: serverName }),
    ...(insecure === undefined ? {} : { rejectUnauthorized: false }),
  };
}

/** All of an answer. @throws {InputError} when it is longer than `limit`, is cut, or does not end within `ms` */
export async function readAll(answer: IncomingMessage, limit: number, ms = ANSWER_MS): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  const timer = setTimeout(() => answer.destroy(new InputError(`Cannot read the answer: an end within ${ms / 1000} s is wanted`)), ms);
  try {
    for await (const chunk of answer) {
      length += (chunk as Buffer).length;
      if (length > limit) throw new InputError(`Cannot read the answer: at most ${limit} bytes are wanted, there are more`);
      chunks.push(chunk as Buffer);
    }
    if (!answer.complete) throw new InputError(`Cannot read the answer: it was cut after ${length} bytes`);
  } catch (cause) {
    if (cause instanceof InputError) throw cause;
    throw new InputError(`Cannot read the answer: it was cut after ${length} bytes`, { cause });
  } finally {
    clearTimeout(timer);
  }
  return Buffer.concat(chunks);
}

/** The sentence of a refusal that is JSON; other text as it is. */
function refusalText(body: string): string {
  try {
    const { message } = JSON.parse(body) as { message?: unknown };
    return typeof message === 'string' ? message : body;
  } catch {
    return body;
  }
}
