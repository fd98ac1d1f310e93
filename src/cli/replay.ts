/** `sidetrace replay`: records in, what became of each connection out. */
import type { Command } from 'commander';
import { selecting } from '../output/filter/filter-sink.ts';
import type { Sink } from '../output/sink.ts';
import { type TimeFormat, timeFormats } from '../output/sink.ts';
import { findSink, sinks } from '../output/sinks.ts';
import type { ReplayEnd, ReplayProgress } from '../pipeline.ts';
import type { Describe } from './commands.ts';
import { addDestinationOptions, type DestinationOptions, openDestination } from './destination.ts';
import { COMPLETE, type ExitCode, INTERRUPTED, LOST, MALFORMED } from './exit-code.ts';
import { complain, UsageError } from './failure.ts';
import { addFileOptions, fileKinds, namedFiles } from './file-options.ts';
import { addFilterOptions, addLimitOptions, type GivenFilters, type LimitOptions, parseLimits } from './filter-options.ts';
import { Interrupt } from './interrupt.ts';
import { podLabels } from './pod-labels.ts';
import { Progress } from './progress.ts';

interface ReplayOptions extends DestinationOptions, LimitOptions {
  readonly format: string;
  readonly why?: true;
  readonly all?: true;
  readonly printNodeName?: true;
  readonly numeric?: true;
  readonly timeFormat: string;
  readonly redact: boolean;
}

const PCAPNG = 'pcapng';

const EXAMPLES = `
Examples:
  sidetrace replay captures/bookinfo                          both nodes of a recording: paths across them
  sidetrace replay node-a.tar.gz node-b.tar.gz -o tree        the walk of each kind of connection
  sidetrace replay captures/bookinfo --pod client --why       every rule step and rejected candidate of one pod's connections
  sidetrace replay captures/bookinfo --not --leg probe --since 5s -o compact
  tcpdump -i any -w - | sidetrace replay - --iptables rules.txt -o json
  sidetrace replay captures/bookinfo --output out.pcapng -o pcapng   for Wireshark: verdicts as comments`;

export const describeReplay: Describe = (command, finish) => {
  const formats = [
    ...sinks.map(({ name, summary }) => `  ${name.padEnd(9)}${summary}`),
    `  ${PCAPNG.padEnd(9)}the packets themselves, with verdicts as comments and names`,
  ];
  addDestinationOptions(
    command
      .argument(
        '<RECORDING...>',
        'bundles (folders, .tar, .tar.gz), folders of bundles, captures (pcap, pcapng, also gzip or zstd), or - for standard input',
      )
      .option('-o, --format <FORMAT>', `one of ${[...sinks.map(({ name }) => name), PCAPNG].join(', ')}`, 'text'),
  )
    .option('--why', 'show every rule that was taken, the rejected candidates and every grade')
    .option('--all', "show what goes on around the application, too: probes, polls of Envoy's admin interface, the control plane (text)")
    .option('--print-node-name', 'show the node of each event (compact, dict, table)')
    .option('--numeric', 'addresses instead of names')
    .option('--time-format <FORMAT>', `time stamps of compact, dict, table: ${timeFormats.join(', ')}`, 'StampMilli')
    .option('--no-redact', 'keep query strings, cookies and authorization headers as they were sent');
  addFileOptions(
    command,
    fileKinds.map(({ kind }) => kind).filter((kind) => kind !== 'certs' && kind !== 'stats'),
  );
  addLimitOptions(command);
  const given = addFilterOptions(command);
  command
    .addHelpText('after', `\nFormats:\n${formats.join('\n')}\n${EXAMPLES}`)
    .action(async (recordings: string[], options: ReplayOptions, self: Command) =>
      finish(await replayCommand(recordings, options, given, self.opts())),
    );
};

async function replayCommand(
  recordings: readonly string[],
  options: ReplayOptions,
  given: GivenFilters,
  named: { readonly [key: string]: unknown },
): Promise<ExitCode> {
  if (given.danglingNot)
    throw new UsageError('Cannot negate the end of the line: --not must stand in front of a filter, nothing follows it');
  if (!(timeFormats as readonly string[]).includes(options.timeFormat))
    throw new UsageError(`Cannot format times as "${options.timeFormat}": it must be one of ${timeFormats.join(', ')}`);
  if (recordings.filter((path) => path === '-').length > 1) throw new UsageError('Cannot read standard input twice: "-" may be given once');
  const limits = parseLimits(options);
  const inputs = { captures: recordings, files: namedFiles(named), redact: options.redact };
  if (options.format === PCAPNG) {
    const { replayToPcapng } = await import('./replay-pcapng.ts');
    return await replayToPcapng(inputs, options, { ...limits, filters: given.filters });
  }
  const format = findSink(options.format);
  if (format === undefined)
    throw new UsageError(
      `Cannot write the format "${options.format}": it must be one of ${[...sinks.map(({ name }) => name), PCAPNG].join(', ')}`,
    );
  const { replay } = await import('../pipeline.ts');
  const destination = openDestination(options);
  const { writer, palette, width, terminal } = destination;
  const sink = selecting(
    format.create(writer, {
      palette,
      width,
      why: options.why ?? false,
      all: options.all ?? false,
      printNodeName: options.printNodeName ?? false,
      numeric: options.numeric ?? false,
      timeFormat: options.timeFormat as TimeFormat,
    }),
    { ...limits, filters: given.filters, labelsOf: podLabels(inputs) },
  );
  const progress = new Progress();
  if (terminal) writer.beforeWrite = () => progress.clear();
  try {
    const ended = await drive(
      replay(inputs, (record) => sink.write(record)),
      sink,
      progress,
      () => writer.closed,
    );
    writer.close();
    if (writer.failure !== undefined) {
      complain(`Cannot write the records: a place with room is wanted, the system says ${writer.failure.code ?? writer.failure.message}`);
      return LOST;
    }
    return exitCode(ended);
  } finally {
    progress.end();
  }
}

/** Between two pieces of work that is given to the rest of the process: signals, the progress bar. */
const TURN_MS = 40;

/**
 * Runs a replay to its end, or until Ctrl-C or the reader's end: then it is told to stop (`next(true)`), so that it still gives its totals.
 */
export async function drive(
  run: Generator<ReplayProgress, ReplayEnd, boolean | undefined>,
  sink: Sink,
  progress: Progress,
  readerGone: () => boolean,
): Promise<ReplayEnd> {
  const interrupt = new Interrupt();
  try {
    let turn = Date.now();
    let step = run.next();
    while (step.done !== true) {
      const { bytesRead, bytesTotal } = step.value;
      if (Date.now() - turn > TURN_MS) {
        progress.update(bytesRead, bytesTotal);
        await new Promise((resolve) => setImmediate(resolve));
        turn = Date.now();
      }
      step = run.next(interrupt.requested || readerGone());
    }
    sink.end();
    return interrupt.requested ? { ...step.value, interrupted: true } : step.value;
  } finally {
    interrupt.release();
  }
}

export function exitCode({ malformed, lost, interrupted }: ReplayEnd): ExitCode {
  if (interrupted) return INTERRUPTED;
  if (malformed) return MALFORMED;
  return lost ? LOST : COMPLETE;
}
