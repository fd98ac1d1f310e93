/** What the commands that print records share: options of format and layout, limits and filters, and the way of the records through them to the destination. */
import type { Command } from 'commander';
import { type Selection, selecting } from '../output/filter/filter-sink.ts';
import { type Sink, type SinkFormat, type TimeFormat, timeFormats } from '../output/sink.ts';
import { findSink, sinks } from '../output/sinks.ts';
import type { AnyRecord } from '../record/record.ts';
import { addDestinationOptions, type DestinationOptions, openDestination } from './destination.ts';
import { drive, exitCode, type Live, type RecordRun } from './drive.ts';
import { type ExitCode, LOST } from './exit-code.ts';
import { complain, UsageError } from './failure.ts';
import { type GivenFilters, type LimitOptions, parseLimits } from './filter-options.ts';
import { Progress } from './progress.ts';

export interface RecordOutputOptions extends DestinationOptions, LimitOptions {
  readonly format: string;
  readonly why?: true;
  readonly all?: true;
  readonly printNodeName?: true;
  readonly numeric?: true;
  readonly timeFormat: string;
}

/** A format that is no sink of records, for `--help`. */
export interface OtherFormat {
  readonly name: string;
  readonly summary: string;
}

/** Adds `-o`, `--output`, `--color` and what changes the layouts. */
export function addRecordOptions(command: Command, others: readonly OtherFormat[] = []): void {
  addDestinationOptions(
    command.option('-o, --format <FORMAT>', `one of ${[...sinks, ...others].map(({ name }) => name).join(', ')}`, 'text'),
  )
    .option('--why', 'show every rule that was taken, the rejected candidates and every grade')
    .option('--all', "show what goes on around the application, too: probes, polls of Envoy's admin interface, the control plane (text)")
    .option('--print-node-name', 'show the node of each event (compact, dict, table)')
    .option('--numeric', 'addresses instead of names')
    .option('--time-format <FORMAT>', `time stamps of compact, dict, table: ${timeFormats.join(', ')}`, 'StampMilli');
}

/** The formats as `--help` lists them. */
export function formatHelp(others: readonly OtherFormat[] = []): string {
  return `\nFormats:\n${[...sinks, ...others].map(({ name, summary }) => `  ${name.padEnd(9)}${summary}`).join('\n')}\n`;
}

export interface RecordOutput {
  /** Absent where the format is one of the others. */
  readonly format: SinkFormat | undefined;
  readonly selection: Omit<Selection, 'labelsOf'>;
}

/** @throws {UsageError} for what makes no sense, {FilterError} for a time that is none */
export function parseRecordOptions(options: RecordOutputOptions, given: GivenFilters, others: readonly OtherFormat[] = []): RecordOutput {
  if (given.danglingNot)
    throw new UsageError('Cannot negate the end of the line: --not must stand in front of a filter, nothing follows it');
  if (!(timeFormats as readonly string[]).includes(options.timeFormat))
    throw new UsageError(`Cannot format times as "${options.timeFormat}": it must be one of ${timeFormats.join(', ')}`);
  const selection = { ...parseLimits(options), filters: given.filters };
  const format = findSink(options.format);
  if (format === undefined && !others.some(({ name }) => name === options.format))
    throw new UsageError(
      `Cannot write the format "${options.format}": it must be one of ${[...sinks, ...others].map(({ name }) => name).join(', ')}`,
    );
  return { format, selection };
}

/** Prints the records of a run. */
export async function printRecords(
  format: SinkFormat,
  options: RecordOutputOptions,
  selection: Selection,
  run: (write: (record: AnyRecord) => void, writePlain: Sink['writePlain']) => RecordRun,
  live?: Live,
): Promise<ExitCode> {
  const { writer, palette, width, terminal } = openDestination(options);
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
    selection,
  );
  const progress = new Progress();
  if (terminal) writer.beforeWrite = () => progress.clear();
  try {
    const ended = await drive(
      run((record) => sink.write(record), sink.writePlain?.bind(sink)),
      sink,
      progress,
      () => writer.closed,
      live,
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
