/** One GET from Envoy's admin interface, over a connection that somebody else makes. */
import { request } from 'node:http';
import type { Duplex } from 'node:stream';

const ANSWER_LIMIT = 512 * 1024 * 1024;
const ADMIN_PORT = 15_000;
const QUIET_MS = 20_000;

/** @throws {Error} when nobody answers, or with too much, or nothing comes for 20 s */
export async function adminGet(
  open: (port: number) => Promise<Duplex>,
  path: string,
): Promise<{ readonly status: number; readonly body: Uint8Array }> {
  const connection = await open(ADMIN_PORT);
  return await new Promise((resolve, reject) => {
    const fail = (state: string): void => {
      connection.destroy();
      reject(new Error(`Cannot ask Envoy for "${path}": ${state}`));
    };
    let quiet: NodeJS.Timeout | undefined;
    const heard = (): void => {
      clearTimeout(quiet);
      quiet = setTimeout(() => fail(`an answer is wanted, nothing came for ${QUIET_MS / 1000} s`), QUIET_MS);
    };
    heard();
    const asked = request({
      createConnection: () => connection,
      path,
      method: 'GET',
      headers: { host: 'localhost', connection: 'close' },
    });
    asked.on('error', (error: NodeJS.ErrnoException) => {
      clearTimeout(quiet);
      fail(`an answer is wanted, it ended with ${error.code ?? error.message}`);
    });
    asked.on('response', (answer) => {
      const chunks: Buffer[] = [];
      let length = 0;
      answer.on('data', (chunk: Buffer) => {
        heard();
        length += chunk.length;
        if (length > ANSWER_LIMIT) {
          clearTimeout(quiet);
          fail(`at most ${ANSWER_LIMIT} bytes are wanted, there are more`);
        } else chunks.push(chunk);
      });
      answer.on('close', () => {
        clearTimeout(quiet);
        connection.destroy();
        if (answer.complete) resolve({ status: answer.statusCode ?? 0, body: Buffer.concat(chunks) });
        else reject(new Error(`Cannot ask Envoy for "${path}": it was cut after ${length} bytes`));
      });
      answer.on('error', () => {});
    });
    asked.end();
  });
}
