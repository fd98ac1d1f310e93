/** What a daemon answers in JSON. */
import { type DaemonStatus, readStatus } from '../stream/status-shape.ts';
import { askDaemon, readAll } from './daemon-http.ts';
import type { Server } from './server-options.ts';

/** A node with thousands of pods stays far below. */
const ANSWER_LIMIT = 64 * 1024 * 1024;

/** @returns what is wrong with the answer, where it is no status. @throws as `askDaemon` and `readAll`, {SyntaxError} where it is no JSON */
export async function askStatus(server: Server): Promise<DaemonStatus | string> {
  return readStatus(await askJson(server, '/v1/status'));
}

/** The list of namespaces with their pods, of whatever shape. @throws as {@link askStatus} */
export function askPods(server: Server): Promise<unknown> {
  return askJson(server, '/v1/pods');
}

async function askJson(server: Server, path: string): Promise<unknown> {
  return JSON.parse((await readAll(await askDaemon(server, path), ANSWER_LIMIT)).toString('utf8'));
}
