/** `sidetrace observe`: what daemons see, as it happens, with the flags of `hubble observe`. */
import type { Command } from 'commander';
import type { Describe } from './commands.ts';
import type { ExitCode } from './exit-code.ts';
import { UsageError } from './failure.ts';
import { addFileOptions, namedFiles } from './file-options.ts';
import { addFilterOptions, type GivenFilters, parseLimits } from './filter-options.ts';
import { type Observation, observe } from './observe-run.ts';
import { podLabels } from './pod-labels.ts';
import { addRecordOptions, formatHelp, parseRecordOptions, type RecordOutputOptions } from './record-output.ts';
import { addDaemonsOptions, type OpenServers, type OpenServersOptions, openServers } from './servers.ts';

const EXAMPLES = `
Examples:
  sidetrace observe                                        the last 20 flows and paths
  sidetrace observe -f --pod default/client --why          what a pod does, as it happens, and why
  sidetrace observe -f --http-status 5+ -o compact
  sidetrace observe --since 5m --not --leg probe -o json
  sidetrace observe -f --server wss://node-a:4280 --server wss://node-b:4280    paths over both nodes in one
  sidetrace observe -f -P --kube-namespace sidetrace       all daemons of a cluster, through its API server

With one daemon, filters are answered there; with several, here, when paths over nodes are complete.
Exit codes: 0 complete, 1 usage, 3 a daemon could not be asked, 4 complete but something was lost, 130 interrupted.`;

/** What `hubble observe` gives when nothing is said. */
const LAST_DEFAULT = 20;
const WINDOW_DEFAULT = '1s';
const WAIT_DEFAULT = '2s';

interface ObserveOptions extends RecordOutputOptions, OpenServersOptions {
  readonly follow?: true;
  readonly join: boolean;
  readonly window: string;
  readonly wait: string;
  readonly quiet?: true;
}

export const describeObserve: Describe = (command, finish) => {
  addDaemonsOptions(command);
  addRecordOptions(command);
  const limit = (flags: string, summary: string): void => {
    command.addOption(command.createOption(flags, summary).helpGroup('Limits:'));
  };
  limit('-f, --follow', 'go on with what comes');
  limit(
    '--last <N>',
    `the last N flows, and the last N paths, of what daemons keep; ${LAST_DEFAULT} when neither this, a time nor -f is given`,
  );
  limit('--first <N>', 'the first N flows, and the first N paths');
  limit('--since <TIME>', 'only what lasts beyond this time: RFC 3339, a date, or a time before now (90s, 5m, 1h43)');
  limit('--until <TIME>', 'only what began before this time');
  const several = (flags: string, summary: string, value?: string): void => {
    const option = command.createOption(flags, summary).helpGroup('Several daemons:');
    command.addOption(value === undefined ? option : option.default(value));
  };
  several('--no-join', "each node's part of a path as it is, and filters answered by the daemons");
  several('--window <TIME>', 'how long what one daemon sends waits for the others, to be in order of time', WINDOW_DEFAULT);
  several('--wait <TIME>', 'how long a part of a path waits for its other parts', WAIT_DEFAULT);
  several('--quiet', 'do not tell when a daemon comes and goes');
  addFileOptions(command, ['pods'], 'Files, for --label with several daemons:');
  const given = addFilterOptions(command);
  command
    .addHelpText('after', `${formatHelp()}${EXAMPLES}`)
    .action(async (options: ObserveOptions, self: Command) => finish(await observeCommand(options, given, self.opts())));
};

async function observeCommand(options: ObserveOptions, given: GivenFilters, named: { readonly [key: string]: unknown }): Promise<ExitCode> {
  const format = parseRecordOptions({ ...options, format: hubbleNames[options.format] ?? options.format }, given).format!;
  const { first, last } = parseLimits(options);
  const follow = options.follow ?? false;
  if (follow && first !== undefined) throw new UsageError('Cannot give --first and --follow together: one of them is wanted');
  if (follow && format.name === 'table')
    throw new UsageError('Cannot write the format "table" with --follow: its columns are measured, "-o compact" is wanted');
  const [windowMs, waitMs] = [milliseconds('--window', options.window), milliseconds('--wait', options.wait)];
  const opened = await openServers(options);
  try {
    return await observe(observationOf(options, given, named, opened, { format, first, last, follow, windowMs, waitMs }));
  } finally {
    opened.close();
  }
}

type Parsed = Pick<Observation, 'format' | 'first' | 'last' | 'follow' | 'windowMs' | 'waitMs'>;

/** @throws {UsageError} for what makes no sense with these daemons */
function observationOf(
  options: ObserveOptions,
  given: GivenFilters,
  named: { readonly [key: string]: unknown },
  { servers }: OpenServers,
  { format, first, last, follow, windowMs, waitMs }: Parsed,
): Observation {
  const files = namedFiles(named);
  const join = options.join && servers.length > 1;
  const byLabel = given.specs.some(({ name }) => name === 'label' || name.endsWith('-label'));
  if (join && byLabel && files.length === 0)
    throw new UsageError(
      'Cannot filter by labels with several daemons: "--pods FILE" is wanted, or --no-join, and each daemon answers for its own',
    );
  const past = last !== undefined || first !== undefined || options.since !== undefined || options.until !== undefined;
  return {
    servers,
    format,
    output: options,
    filters: { set: given.filters, specs: given.specs },
    follow,
    past: past || !follow,
    first,
    last: last ?? (past || follow ? undefined : LAST_DEFAULT),
    since: options.since,
    until: options.until,
    join,
    windowMs,
    waitMs,
    quiet: options.quiet ?? false,
    labelsOf: podLabels({ captures: [], files }),
  };
}

/** Names that users of hubble type. */
const hubbleNames: { readonly [name: string]: string } = { jsonpb: 'hubble', tab: 'table' };

const units: { readonly [unit: string]: number } = { ms: 1, s: 1000, m: 60_000 };
const TIME_MAX_MS = 10 * 60_000;

function milliseconds(flag: string, text: string): number {
  const [, digits, unit] = /^(\d{1,6}(?:\.\d{1,3})?)(ms|s|m)$/.exec(text) ?? [];
  const value = Number(digits) * (units[unit ?? ''] ?? Number.NaN);
  if (!(value <= TIME_MAX_MS)) throw new UsageError(`Cannot take "${text}" for ${flag}: a time of at most 10m is wanted, like 500ms or 2s`);
  return value;
}
