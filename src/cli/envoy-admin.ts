/** `sidetrace envoy admin PATH`: what a live Envoy's admin interface answers, unchanged but for secrets, which the daemon hides. */

import { escapeText } from '../output/escape.ts';
import { askDaemon, readAll } from './daemon-http.ts';
import { type DestinationOptions, openDestination } from './destination.ts';
import { COMPLETE, type ExitCode } from './exit-code.ts';
import { UsageError } from './failure.ts';
import { type LiveOptions, livePath, onePod } from './live-evidence.ts';
import { parseServer } from './server-options.ts';

const ANSWER_LIMIT = 512 * 1024 * 1024;
const ANSWER_MS = 120_000;

export async function askAdmin(words: readonly string[], options: DestinationOptions & LiveOptions): Promise<ExitCode> {
  if (words.length !== 1)
    throw new UsageError(
      `Cannot ask Envoy for ${words.length === 0 ? 'nothing' : `"${words.join(' ')}"`}: one path is wanted (help, ready, certs, stats?filter=REGEX, …)`,
    );
  const pod = onePod(options, undefined);
  const server = parseServer(options);
  const [path = '', query] = words[0]!.replace(/^\//, '').split(/\?(.*)/s);
  const route = `${await livePath(server, pod)}/envoy/${path.split('/').map(encodeURIComponent).join('/')}${query === undefined ? '' : `?${query}`}`;
  const body = await readAll(await askDaemon(server, route), ANSWER_LIMIT, ANSWER_MS);
  const destination = openDestination(options);
  // What a pod says is not to be trusted with a terminal; a file gets it as it is.
  if (destination.terminal) destination.writer.text(body.toString('utf8').split('\n').map(escapeText).join('\n'));
  else destination.writer.bytes(body);
  destination.writer.close();
  return COMPLETE;
}
