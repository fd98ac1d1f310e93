/** `sidetrace listeners`: what listens in a pod, which process, which role. */

import type { EnvoyConfig } from '../envoy/config.ts';
import { roleOfPort } from '../istio/port-role.ts';
import { isLoopback } from '../net/address.ts';
import type { RecordedWorld } from '../world/build.ts';
import { parseSockets, type Socket } from '../world/sockets.ts';
import { answer, answerFormat } from './answer.ts';
import type { Describe } from './commands.ts';
import { addDestinationOptions, type DestinationOptions, openDestination } from './destination.ts';
import type { ExitCode } from './exit-code.ts';
import { UsageError } from './failure.ts';
import { addFileOptions, namedFiles } from './file-options.ts';
import { addLiveOptions, isLive, type LiveOptions, onePod, withLiveEvidence } from './live-evidence.ts';
import { splitSubject, statsOf } from './subject.ts';
import { textTable } from './text-table.ts';
import { readText, worldName, worldOfFiles, worldOfSubject } from './world-of.ts';

const EXAMPLES = `
Examples:
  sidetrace listeners captures/bookinfo/default/client
  sidetrace listeners --pod default/client                        live, from the daemon of this node
  ss -ntulp | sidetrace listeners -
  sidetrace listeners sockets.txt --config-dump dump.json -o json`;

export interface ListenerRow {
  readonly protocol: string;
  readonly address: string;
  readonly port?: number;
  /** How many sockets share the port (SO_REUSEPORT). */
  readonly sockets: number;
  readonly process?: string;
  readonly pid?: number;
  readonly uid?: number;
  /** Who can reach it: everybody, or the pod itself. */
  readonly reach: 'any' | 'loopback' | 'address';
  readonly role?: string;
  /** Envoy's name for it, when Envoy holds it. */
  readonly listener?: string;
}

export const describeListeners: Describe = (command, finish) => {
  addDestinationOptions(
    command
      .argument('[SUBJECT]', 'BUNDLE/POD, the output of ss -ntulp (or -tunaepH) as a file, or - for standard input')
      .option('-o, --format <FORMAT>', 'text or json', 'text'),
  );
  addFileOptions(command, ['sockets', 'config_dump'], 'Files:');
  addLiveOptions(command)
    .addHelpText('after', EXAMPLES)
    .action(async (subject: string | undefined, options: ListenersOptions) => {
      const files = namedFiles(options as unknown as { readonly [key: string]: unknown });
      if (isLive(options))
        finish(await withLiveEvidence(options, [onePod(options, subject)], ([path]) => listenersOf(worldOf(path, files), options)));
      else finish(listenersOf(worldOf(subject, files), options));
    });
};

type ListenersOptions = DestinationOptions & LiveOptions & { readonly format: string };

function listenersOf(world: RecordedWorld, options: ListenersOptions): ExitCode {
  const format = answerFormat(options.format);
  const texts = world.texts('sockets');
  const newest = texts.at(-1);
  if (newest === undefined) throw new UsageError('Cannot list what listens: sockets are wanted (ss -ntulp), none were given');
  const listing = parseSockets(newest.value, 'sockets');
  const rows = listenerRows(listing.sockets, world.envoy?.configs.at(-1));
  const destination = openDestination(options);
  const value = { subject: worldName(world), readAt: newest.readAt, listeners: rows, unreadLines: listing.unreadLines };
  const problems =
    listing.unreadLines === 0
      ? []
      : [`Cannot read ${listing.unreadLines} of the lines: sockets as ss lists them are wanted, they are none`];
  return answer(destination, format, value, () => table(rows, destination.palette), [...world.problems, ...problems]);
}

function worldOf(subject: string | undefined, files: ReturnType<typeof namedFiles>): RecordedWorld {
  if (subject === undefined) return worldOfFiles(files);
  const isText =
    subject === '-' || (splitSubject(subject).pod === undefined && statsOf(subject)?.isFile() === true && looksLikeText(subject));
  return isText ? worldOfFiles([{ kind: 'sockets', path: subject }, ...files]) : worldOfSubject(subject, files);
}

/** A listing begins with a letter or a blank; archives and packed files do not hold one in their first line. */
function looksLikeText(path: string): boolean {
  const head = readText(path).slice(0, 512);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what tells bytes from text
  return head !== '' && !/[\u0000-\u0008\ufffd]/.test(head) && /\b(LISTEN|UNCONN|ESTAB|Netid|State)\b/.test(readText(path));
}

/** Listening sockets, one row for those that share an address and port, sorted by protocol and port. */
export function listenerRows(sockets: readonly Socket[], config: EnvoyConfig | undefined): ListenerRow[] {
  const rows = new Map<string, ListenerRow>();
  for (const socket of sockets) {
    const listens =
      socket.state === 'LISTEN' || (socket.peer.port === undefined && (socket.state === 'UNCONN' || socket.state === 'UNKNOWN'));
    if (!listens) continue;
    const { protocol, local, wildcard, process, pid, uid } = socket;
    const key = `${protocol} ${local.ip} ${local.port} ${process ?? ''} ${pid ?? ''}`;
    const known = rows.get(key);
    if (known !== undefined) {
      rows.set(key, { ...known, sockets: known.sockets + 1 });
      continue;
    }
    const role = local.port === undefined || (protocol !== 'tcp' && protocol !== 'udp') ? undefined : roleOfPort(local.port, protocol);
    const listener = local.port === undefined || protocol !== 'tcp' ? undefined : envoyListener(config, local.ip, local.port);
    rows.set(key, {
      protocol,
      address: local.ip,
      ...(local.port === undefined ? {} : { port: local.port }),
      sockets: 1,
      ...(process === undefined ? {} : { process }),
      ...(pid === undefined ? {} : { pid }),
      ...(uid === undefined ? {} : { uid }),
      reach: wildcard ? 'any' : isLoopback(local.ip) ? 'loopback' : 'address',
      ...(role === undefined ? {} : { role: role.text }),
      ...(listener === undefined ? {} : { listener }),
    });
  }
  return [...rows.values()].sort((a, b) => (a.protocol === b.protocol ? (a.port ?? 0) - (b.port ?? 0) : a.protocol < b.protocol ? -1 : 1));
}

function envoyListener(config: EnvoyConfig | undefined, ip: string, port: number): string | undefined {
  for (const { value } of config?.listeners ?? [])
    if (
      value.bindToPort &&
      value.addresses.some(
        (address) =>
          address.kind === 'socket' &&
          address.port === port &&
          (address.host === ip || ip === '*' || address.host === '0.0.0.0' || address.host === '::'),
      )
    )
      return value.name;
  return undefined;
}

function table(rows: readonly ListenerRow[], palette: Parameters<typeof textTable>[2]): string {
  const reach = { any: 'everybody', loopback: 'the pod itself', address: 'this address' };
  return textTable(
    ['PROTO', 'ADDRESS', 'PORT', 'SOCKETS', 'PROCESS', 'UID', 'REACHED BY', 'ROLE', 'LISTENER'],
    rows.map((row) => [
      row.protocol,
      row.address,
      row.port === undefined ? '?' : String(row.port),
      String(row.sockets),
      row.process === undefined ? '?' : `${row.process}${row.pid === undefined ? '' : `(${row.pid})`}`,
      row.uid === undefined ? '?' : String(row.uid),
      reach[row.reach],
      row.role ?? 'application',
      row.listener ?? '',
    ]),
    palette,
  );
}
