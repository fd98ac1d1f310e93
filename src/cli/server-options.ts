/** Which daemons, who asks them, and whom we trust: options, environment, addresses. */
import { existsSync, readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { DEFAULT_PORT, parseServerAddress, type ServerAddress, serverAddressText } from '../stream/server-address.ts';
import { complain, InputError, UsageError } from './failure.ts';

export const DEFAULT_SOCKET = '/run/sidetrace/daemon.sock';

/** Servers in one command line. */
const SERVERS_MAX = 256;

export interface AccessOptions {
  readonly tokenFile?: string;
  readonly tlsCaCertFiles?: string;
  readonly tlsClientCertFile?: string;
  readonly tlsClientKeyFile?: string;
  readonly tlsServerName?: string;
  readonly tlsAllowInsecure?: true;
}

export interface ServerOptions extends AccessOptions {
  readonly server?: string;
}

export interface ServersOptions extends AccessOptions {
  readonly server?: readonly string[];
}

const FORMS = 'unix:PATH, ws://HOST:PORT, wss://HOST:PORT or HOST:PORT';
const DEFAULTS = `SIDETRACE_SERVER, else unix:${DEFAULT_SOCKET} where it is, else 127.0.0.1:${DEFAULT_PORT}`;

/** Adds the options that say which daemon, and who asks. */
export function addServerOptions(command: Command): Command {
  return addOptions(command, '--server <ADDRESS>', `${FORMS}; default ${DEFAULTS}`, false);
}

/** The same for several daemons: `--server` may come again. */
export function addServersOptions(command: Command): Command {
  return addOptions(command, '--server <ADDRESS>', `${FORMS}; may be given again for each node; default ${DEFAULTS}`, true);
}

function addOptions(command: Command, flags: string, summary: string, several: boolean): Command {
  const heading = 'Which daemon:';
  const server = command.createOption(flags, summary).helpGroup(heading);
  if (several) server.argParser((value: string, before: readonly string[] | undefined) => [...(before ?? []), value]);
  command.addOption(server);
  const add = (option: string, text: string): void => {
    command.addOption(command.createOption(option, text).helpGroup(heading));
  };
  add('--token-file <FILE>', 'a bearer token for it; else the environment has it in SIDETRACE_TOKEN');
  add('--tls-ca-cert-files <FILES>', 'who signs its certificate (PEM), several with commas between; else whom the system trusts');
  add('--tls-client-cert-file <FILE>', 'our own certificate (PEM)');
  add('--tls-client-key-file <FILE>', 'and its key');
  add('--tls-server-name <NAME>', 'the name that its certificate must have, instead of the host');
  add('--tls-allow-insecure', 'take any certificate: whoever is on the way can read the token and all records');
  return command;
}

export interface Server {
  /** As people call it. */
  readonly name: string;
  readonly address: ServerAddress;
  /** As it was read; `tokenFile` is where to read it again. */
  readonly token?: string;
  readonly tokenFile?: string;
  readonly ca?: Buffer;
  readonly cert?: Buffer;
  readonly key?: Buffer;
  readonly serverName?: string;
  readonly insecure?: true;
}

/** @throws {UsageError} for an address that is none, {InputError} for a file that cannot be read */
export function parseServer(options: ServerOptions, environment: NodeJS.ProcessEnv = process.env): Server {
  const servers = parseServers({ ...options, server: options.server === undefined ? [] : [options.server] }, environment);
  if (servers.length > 1) throw new UsageError(`Cannot ask ${servers.length} daemons at once: one is wanted, SIDETRACE_SERVER names more`);
  return servers[0]!;
}

/** At least one. @throws {UsageError} for an address that is none, {InputError} for a file that cannot be read */
export function parseServers(options: ServersOptions, environment: NodeJS.ProcessEnv = process.env): Server[] {
  const given = (options.server ?? []).length > 0 ? options.server! : (environment.SIDETRACE_SERVER ?? '').split(/[\s,]+/);
  const addresses = given.filter((address) => address !== '');
  if (addresses.length === 0) addresses.push(existsSync(DEFAULT_SOCKET) ? DEFAULT_SOCKET : `127.0.0.1:${DEFAULT_PORT}`);
  checkCount(addresses);
  const access = accessOf(options, environment);
  if (access.insecure)
    complain('--tls-allow-insecure: certificates are not checked, whoever is on the way can read the token and all records');
  const servers = addresses.map((address): Server => ({ ...placeOf(address), ...access }));
  const clear = access.token === undefined ? undefined : servers.find(({ address }) => !isPrivate(address));
  if (clear !== undefined)
    throw new UsageError(`Cannot send a token to "${clear.name}" in the clear: wss:// is wanted, or an address of this machine`);
  return [...new Map(servers.map((server) => [server.name, server])).values()];
}

/** @throws {UsageError} for more daemons than are asked */
export function checkCount({ length }: readonly unknown[]): void {
  if (length > SERVERS_MAX) throw new UsageError(`Cannot ask ${length} daemons: at most ${SERVERS_MAX} are asked`);
}

/** Does nobody on the way read what is sent there? */
function isPrivate(address: ServerAddress): boolean {
  if ('socketPath' in address || address.secure) return true;
  return address.host === 'localhost' || address.host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(address.host);
}

function accessOf(options: AccessOptions, environment: NodeJS.ProcessEnv): Partial<Server> {
  const token = options.tokenFile === undefined ? environment.SIDETRACE_TOKEN : file(options.tokenFile, 'a token').toString('utf8').trim();
  if (token !== undefined && token !== '' && !/^[\x21-\x7e]{1,16384}$/.test(token))
    throw new InputError(
      `Cannot take ${options.tokenFile === undefined ? 'SIDETRACE_TOKEN' : `"${options.tokenFile}"`} as a token: one line of printable characters is wanted`,
    );
  if ((options.tlsClientCertFile === undefined) !== (options.tlsClientKeyFile === undefined))
    throw new UsageError('Cannot show a certificate: --tls-client-cert-file and --tls-client-key-file are wanted together');
  return {
    ...(token === undefined || token === '' ? {} : { token }),
    ...(options.tokenFile === undefined ? {} : { tokenFile: options.tokenFile }),
    ...(options.tlsCaCertFiles === undefined ? {} : { ca: certificates(options.tlsCaCertFiles) }),
    ...(options.tlsClientCertFile === undefined ? {} : { cert: file(options.tlsClientCertFile, 'a certificate') }),
    ...(options.tlsClientKeyFile === undefined ? {} : { key: file(options.tlsClientKeyFile, 'a key') }),
    ...(options.tlsServerName === undefined ? {} : { serverName: options.tlsServerName }),
    ...(options.tlsAllowInsecure === undefined ? {} : { insecure: true }),
  };
}

function placeOf(text: string): Pick<Server, 'name' | 'address'> {
  try {
    const address = parseServerAddress(text);
    return { name: serverAddressText(address), address };
  } catch (error) {
    if (error instanceof TypeError) throw new UsageError(error.message);
    throw error;
  }
}

/** PEM of several files. */
function certificates(paths: string): Buffer {
  return Buffer.concat(paths.split(',').flatMap((path) => [file(path, 'certificates'), Buffer.from('\n')]));
}

function file(path: string, wish: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new InputError(
      `Cannot read "${path}": ${wish} is wanted, the system says ${(cause as NodeJS.ErrnoException).code ?? String(cause)}`,
      { cause },
    );
  }
}
