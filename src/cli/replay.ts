/** `sidetrace replay`: records in, what became of each connection out. */
import type { Command } from 'commander';
import type { Describe } from './commands.ts';
import type { ExitCode } from './exit-code.ts';
import { UsageError } from './failure.ts';
import { addFileOptions, fileKinds, namedFiles } from './file-options.ts';
import { addFilterOptions, addLimitOptions, type GivenFilters } from './filter-options.ts';
import { podLabels } from './pod-labels.ts';
import {
  addRecordOptions,
  formatHelp,
  type OtherFormat,
  parseRecordOptions,
  printRecords,
  type RecordOutputOptions,
} from './record-output.ts';

interface ReplayOptions extends RecordOutputOptions {
  readonly redact: boolean;
  readonly requests?: true;
  readonly live?: string;
  readonly captureFilter?: string;
  readonly duration?: string;
}

const pcapng: OtherFormat = { name: 'pcapng', summary: 'the packets themselves, with verdicts as comments and names' };

const EXAMPLES = `
Examples:
  sidetrace replay captures/bookinfo                          both nodes of a recording: paths across them
  sidetrace replay node-a.tar.gz node-b.tar.gz -o tree        the walk of each kind of connection
  sidetrace replay captures/bookinfo --pod client --why       with every rule step and rejected candidate
  sidetrace replay captures/bookinfo --not --leg probe --since 5s -o compact
  sidetrace replay web.pcap --requests                        the requests of a capture that nothing else is known of
  sidetrace replay --live eth0 --duration 30s                 an interface of this machine, without a probe
  tcpdump -i any -w - | sidetrace replay - --iptables rules.txt -o json
  sidetrace replay captures/bookinfo --output out.pcapng -o pcapng   for Wireshark: verdicts as comments`;

export const describeReplay: Describe = (command, finish) => {
  command.argument(
    '[RECORDING...]',
    'bundles (folders, .tar, .tar.gz), folders of bundles, captures (pcap, pcapng, also gzip or zstd), or - for standard input',
  );
  addRecordOptions(command, [pcapng]);
  command
    .option('--requests', 'read requests also in a capture about which nothing tells of a proxy')
    .option('--live <INTERFACE>', 'in place of a recording: what passes this interface, until Ctrl-C or --duration (with the package cap)')
    .option('--capture-filter <FILTER>', 'with --live: capture only this, as pcap-filter(7) says it')
    .option('--duration <TIME>', 'with --live: end after this time (90s, 5m, 1h)')
    .option('--no-redact', 'keep query strings, cookies and authorization headers as they were sent');
  addFileOptions(
    command,
    fileKinds.map(({ kind }) => kind).filter((kind) => kind !== 'certs' && kind !== 'stats'),
  );
  addLimitOptions(command);
  const given = addFilterOptions(command);
  command
    .addHelpText('after', `${formatHelp([pcapng])}${EXAMPLES}`)
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
  const { format, selection } = parseRecordOptions(options, given, [pcapng]);
  if (recordings.filter((path) => path === '-').length > 1) throw new UsageError('Cannot read standard input twice: "-" may be given once');
  if (options.live === undefined) {
    if (recordings.length === 0) throw new UsageError('Cannot replay nothing: a RECORDING or --live INTERFACE is wanted, none is given');
    if (options.captureFilter !== undefined || options.duration !== undefined)
      throw new UsageError('Cannot filter or end a capture that is made already: --capture-filter and --duration belong to --live');
  }
  const inputs = { captures: recordings, files: namedFiles(named), redact: options.redact, requests: options.requests ?? false };
  if (options.live !== undefined) {
    if (recordings.length > 0) throw new UsageError('Cannot replay a recording and an interface together: give one of them');
    if (format === undefined)
      throw new UsageError('Cannot write packets of an interface: -o pcapng reads its input twice; tcpdump -w keeps them');
    const { openLive } = await import('./replay-live.ts');
    const source = await openLive(options.live, options.captureFilter ?? '', options.duration);
    const { replay } = await import('../pipeline.ts');
    return await printRecords(
      format,
      options,
      { ...selection, labelsOf: podLabels(inputs) },
      (write, writePlain) => replay({ ...inputs, source }, write, writePlain),
      source,
    );
  }
  if (format === undefined) {
    const { replayToPcapng } = await import('./replay-pcapng.ts');
    return await replayToPcapng(inputs, options, selection);
  }
  const { replay } = await import('../pipeline.ts');
  return await printRecords(format, options, { ...selection, labelsOf: podLabels(inputs) }, (write, writePlain) =>
    replay(inputs, write, writePlain),
  );
}
