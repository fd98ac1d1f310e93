/** Where a daemon is, as people write it. */
export type ServerAddress =
  | { readonly socketPath: string }
  | { readonly host: string; readonly port: number /** TLS */; readonly secure: boolean };

export const DEFAULT_PORT = 4280;

const HOST = /^(?:\[([0-9a-fA-F:.%]+)\]|([A-Za-z0-9._-]{1,253}))(?::(\d{1,5}))?\/?$/;
const schemes: { readonly [scheme: string]: boolean } = { 'ws://': false, 'http://': false, 'wss://': true, 'https://': true };

/**
 * `unix:/path`, `/path`, `ws://host:port`, `wss://host:port` (or http, https), `host:port`; the port is 4280 when none is named. Without a scheme there is no TLS.
 *
 * @throws {TypeError}
 */
export function parseServerAddress(text: string): ServerAddress {
  const path = text.startsWith('unix:') ? text.slice(5).replace(/^\/\/(?=\/)/, '') : text;
  if (path.startsWith('/') && path.length < 108) return { socketPath: path };
  const scheme = Object.keys(schemes).find((one) => text.startsWith(one));
  const match = HOST.exec(text.slice(scheme?.length ?? 0));
  const port = Number(match?.[3] ?? DEFAULT_PORT);
  if (match === null || port === 0 || port > 65_535)
    throw new TypeError(`Cannot find a daemon at "${text}": unix:/path, ws://host:port, wss://host:port or host:port is wanted`);
  return { host: match[1] ?? match[2]!, port, secure: scheme === undefined ? false : schemes[scheme]! };
}

export function serverAddressText(address: ServerAddress): string {
  if ('socketPath' in address) return `unix:${address.socketPath}`;
  const { host, port, secure } = address;
  return `${secure ? 'wss' : 'ws'}://${host.includes(':') ? `[${host}]` : host}:${port}`;
}
