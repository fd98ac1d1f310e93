/** What may be asked of Envoy: only what reads. Source: Envoy's administration interface, /help of 1.40. */
export const adminPaths: readonly string[] = [
  '/certs',
  '/clusters',
  '/config_dump',
  '/help',
  '/hot_restart_version',
  '/init_dump',
  '/listeners',
  '/memory',
  '/ready',
  '/runtime',
  '/server_info',
  '/stats',
  '/stats/prometheus',
  '/stats/recentlookups',
];

const MAX_LENGTH = 1024;

export class AdminPathError extends Error {
  override readonly name = 'AdminPathError';
}

/**
 * The path as it is sent, with its query.
 *
 * @param path with or without the slash at its beginning
 * @throws {AdminPathError} when it is none that reads
 */
export function checkAdminPath(path: string): string {
  const given = path.startsWith('/') ? path : `/${path}`;
  const shown = JSON.stringify(path.slice(0, 100));
  if (given.length > MAX_LENGTH)
    throw new AdminPathError(`Cannot ask Envoy for ${shown}: at most ${MAX_LENGTH} characters are wanted, it has ${given.length}`);
  if (!/^[\x21-\x22\x24-\x7e]+$/.test(given))
    throw new AdminPathError(`Cannot ask Envoy for ${shown}: printable ASCII without spaces and # is wanted`);
  const bare = given.split('?', 1)[0]!;
  if (!adminPaths.includes(bare)) throw new AdminPathError(`Cannot ask Envoy for ${shown}: one of ${adminPaths.join(', ')} is wanted`);
  return given;
}
