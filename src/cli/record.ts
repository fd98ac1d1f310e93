/** `sidetrace record`: a bundle of what happens now, from a daemon or straight from a probe. */
import { existsSync } from 'node:fs';
import { hostname } from 'node:os';
import type { Command } from 'commander';
import { RecordFailure } from '../daemon/evidence/record-failure.ts';
import { ownProbe } from '../daemon/node/probe-connection.ts';
import type { Describe } from './commands.ts';
import { PROBE_SOCKET } from './doctor-node.ts';
import { durationMs, sizeBytes } from './duration.ts';
import { COMPLETE, type ExitCode, LOST } from './exit-code.ts';
import { complain, UsageError } from './failure.ts';
import { Interrupt } from './interrupt.ts';
import { packBundle, unpackedName } from './pack-bundle.ts';
import { findProbeProgram } from './probe-program.ts';
import type { RecordingRun, RecordWish } from './recording-run.ts';
import { addServerOptions, DEFAULT_SOCKET, parseServer, type ServerOptions } from './server-options.ts';
import { version } from './version.ts';

const EXAMPLES = `
Examples:
  sidetrace record run/ --duration 30s                             from the daemon of this node, else with a probe of our own
  sidetrace record node-a.tar.gz --server https://10.0.0.7:4280 --token-file token --tls-ca-cert-files ca.pem --pod default/client
  sidetrace record ring/ --rotate-size 64MiB --keep 16             the last GiB, until Ctrl-C
  sidetrace record dns/ --probe-program sidetrace-probe --capture-filter 'port 53 or port 15053'
  sidetrace replay run/

OUT is a folder that is absent or empty, or a name that ends with .tar, .tar.gz or .tgz: recorded to a folder of
that name, and packed at the end. Whatever happens to the recorder, what it had a second before can be replayed.`;

interface RecordOptions extends ServerOptions {
  readonly pod?: string[];
  readonly netns?: string[];
  readonly duration?: string;
  readonly rotateSize?: string;
  readonly rotateEvery?: string;
  readonly keep?: string;
  readonly probe?: string;
  readonly probeProgram?: string;
  readonly netnsDir: string;
  readonly captureFilter?: string;
  readonly snaplen?: string;
  readonly ringBudget?: string;
  readonly processes?: true;
  readonly kubeconfig?: string;
  readonly node?: string;
  readonly envoy: boolean;
}

/** bundle.json takes 4096 files of a namespace, readings included. */
const KEEP_MOST = 3000;
const MiB = 1024 * 1024;

export const describeRecord: Describe = (command, finish) => {
  const several = (value: string, before: string[] | undefined): string[] => [...(before ?? []), value];
  command
    .argument('<OUT>', 'the bundle: a folder, or a name that ends with .tar, .tar.gz or .tgz')
    .option('--pod <POD>', 'only pods whose name begins so ([NAMESPACE/]PREFIX); may be given several times', several)
    .option('--netns <NETNS>', 'only the network namespace of this name; may be given several times', several)
    .option('--duration <TIME>', 'end after this time (90s, 5m, 1h); otherwise at Ctrl-C')
    .option('--rotate-size <SIZE>', 'begin a new file of packets when one is so large (64MiB)')
    .option('--rotate-every <TIME>', 'begin a new file of packets when one is so old (10m)')
    .option('--keep <N>', `with either: keep the newest N files of each namespace (${KEEP_MOST} at most)`);
  addProbeOptions(command);
  addServerOptions(command)
    .addHelpText('after', EXAMPLES)
    .action(async (out: string, options: RecordOptions) => finish(await recordCommand(out, options)));
};

function addProbeOptions(command: Command): void {
  const add = (flags: string, text: string, value?: string): void => {
    const option = command.createOption(flags, text);
    option.helpGroup('Straight from a probe:');
    if (value !== undefined) option.default(value);
    command.addOption(option);
  };
  add('--probe <SOCKET>', 'a probe that listens here');
  add('--probe-program <FILE>', 'a probe that is started for the recording (as root)');
  add('--netns-dir <DIR>', 'for that one: where network namespaces are bound', '/run/netns');
  add('--processes', 'for that one: namespaces of processes, too');
  add('--capture-filter <FILTER>', 'capture only this, as pcap-filter(7) says it, with numbers for names (everything)');
  add('--snaplen <BYTES>', 'bytes of each frame; less hides what requests say (65535: whole frames, also large ones)');
  add('--ring-budget <SIZE>', 'kernel memory for the rings of all namespaces together (64MiB)');
  add('--kubeconfig <FILE>', 'whose cluster tells the names of pods and services; without it they have none');
  add('--node <NAME>', 'the name of this node there (the name of this machine)');
  add('--no-envoy', "do not ask Envoy's admin interface");
}

/** Where it comes from: what was named; else the daemon of this node where there is one, else a probe. @throws {UsageError} when there is neither */
function chosen(options: RecordOptions): 'server' | 'probe' {
  const probe = options.probe !== undefined || options.probeProgram !== undefined;
  if (options.server !== undefined && probe)
    throw new UsageError('Cannot record from a daemon and a probe together: give --server, or --probe or --probe-program');
  if (options.server !== undefined) return 'server';
  if (probe) return 'probe';
  if (existsSync(DEFAULT_SOCKET)) return 'server';
  if (existsSync(PROBE_SOCKET) || (process.getuid?.() === 0 && findProbeProgram() !== undefined)) return 'probe';
  throw new UsageError(
    `Cannot record: a daemon (--server, or one at ${DEFAULT_SOCKET}) or a probe (--probe SOCKET, --probe-program FILE as root) is wanted, none is there. "sidetrace doctor" tells more`,
  );
}

function wishOf(out: string, options: RecordOptions): RecordWish {
  const keep = options.keep === undefined ? KEEP_MOST : Number(options.keep);
  if (!(Number.isInteger(keep) && keep >= 1 && keep <= KEEP_MOST))
    throw new UsageError(`Cannot keep "${options.keep}" files: a number from 1 to ${KEEP_MOST} is wanted`);
  const bytes = options.rotateSize === undefined ? undefined : sizeBytes('--rotate-size', options.rotateSize, 64 * 1024);
  const ms = options.rotateEvery === undefined ? undefined : durationMs('--rotate-every', options.rotateEvery);
  if (options.keep !== undefined && bytes === undefined && ms === undefined)
    throw new UsageError('Cannot keep some files of one: --keep wants --rotate-size or --rotate-every beside it');
  const folder = (unpackedName(out) ?? out).replace(/(?<=.)\/+$/, '');
  if (unpackedName(out) !== undefined && existsSync(out))
    throw new UsageError(`Cannot record to "${out}": a name that is free is wanted, it is there`);
  return {
    folder,
    pods: options.pod ?? [],
    netns: options.netns ?? [],
    rotation: { bytes, ms, keep },
    version: version(),
  };
}

/** A recording that has begun. */
export interface BegunRecording {
  readonly run: RecordingRun;
  /** Frames that were not recorded since somebody was too slow. */
  lost(): number;
  stop(): Promise<void>;
}

async function recordCommand(out: string, options: RecordOptions): Promise<ExitCode> {
  const from = chosen(options);
  const wish = wishOf(out, options);
  const duration = options.duration === undefined ? undefined : durationMs('--duration', options.duration);
  const interrupt = new Interrupt();
  let recording: BegunRecording;
  try {
    recording = await begin(from, wish, options);
  } catch (error) {
    if (!(error instanceof RecordFailure)) throw error;
    complain(error.message);
    return LOST;
  }
  if (process.stderr.isTTY === true)
    complain(
      `recording to "${wish.folder}" until ${options.duration === undefined ? 'Ctrl-C' : `${options.duration} have passed, or Ctrl-C`}`,
    );
  await Promise.race([
    recording.run.failed,
    interrupt.asked,
    ...(duration === undefined ? [] : [new Promise((resolve) => setTimeout(resolve, duration))]),
  ]);
  await recording.stop();
  const { whole } = recording.run.end();
  interrupt.release();
  const { bundle } = recording.run;
  const lost = recording.lost();
  const { written } = bundle.totals;
  let place = wish.folder;
  let packed = true;
  if (unpackedName(out) !== undefined && whole)
    try {
      await packBundle(wish.folder, out);
      place = out;
    } catch (error) {
      packed = false;
      complain(`${(error as Error).message}. The recording stays in "${wish.folder}"`);
    }
  const told = bundle.losses.length > 0;
  process.stdout.write(
    `recorded ${written} packets of ${bundle.namespaces.length} namespaces to ${place}${lost > 0 ? `, lost ${lost}` : ''}\n`,
  );
  return whole && packed && lost === 0 && !told ? COMPLETE : LOST;
}

async function begin(from: 'server' | 'probe', wish: RecordWish, options: RecordOptions): Promise<BegunRecording> {
  if (from === 'server') {
    const own = (['captureFilter', 'snaplen', 'ringBudget', 'processes', 'kubeconfig', 'node'] as const).filter(
      (name) => options[name] !== undefined,
    );
    if (own.length > 0)
      throw new UsageError(
        `Cannot give a daemon the settings of a capture (${own.map((name) => `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`).join(', ')}): its captures are shared. With --probe or --probe-program they are ours`,
      );
    const { recordFromServer } = await import('./record-server.ts');
    return await recordFromServer(parseServer(options), wish);
  }
  const { recordFromProbe } = await import('./record-probe.ts');
  const ringBudget = options.ringBudget === undefined ? 64 * MiB : sizeBytes('--ring-budget', options.ringBudget, MiB);
  return await recordFromProbe(
    options.probe !== undefined
      ? { socket: options.probe }
      : options.probeProgram === undefined && existsSync(PROBE_SOCKET)
        ? { socket: PROBE_SOCKET }
        : ownProbe(options.probeProgram ?? findProbeProgram()!, {
            netnsFolder: options.netnsDir,
            ringBudget,
            processes: options.processes === true,
          }),
    wish,
    {
      filter: options.captureFilter ?? '',
      snapLength: options.snaplen === undefined ? 65_535 : sizeBytes('--snaplen', options.snaplen, 64),
      ringBudget,
      envoy: options.envoy,
      node: options.node ?? hostname(),
      kubeconfig: options.kubeconfig,
    },
  );
}
