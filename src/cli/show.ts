/** `sidetrace show`: records that were saved before, in any format, with all filters. */
import type { Command } from 'commander';
import type { Describe } from './commands.ts';
import type { ExitCode } from './exit-code.ts';
import { complain, UsageError } from './failure.ts';
import { addFileOptions, namedFiles } from './file-options.ts';
import { addFilterOptions, addLimitOptions, type GivenFilters } from './filter-options.ts';
import { podLabels } from './pod-labels.ts';
import { addRecordOptions, formatHelp, parseRecordOptions, printRecords, type RecordOutputOptions } from './record-output.ts';

const EXAMPLES = `
Examples:
  sidetrace replay captures/bookinfo -o msgpack --output run.msgpack     once
  sidetrace show run.msgpack                                             then as often as there are questions
  sidetrace show run.msgpack --http-status 5+ --why
  sidetrace show run.msgpack --last 20 -o compact
  sidetrace replay captures/bookinfo -o json | sidetrace show - -o tree`;

export const describeShow: Describe = (command, finish) => {
  command.argument('<FILE>', 'records of "replay -o msgpack" or "replay -o json", also within gzip or zstd, or - for standard input');
  addRecordOptions(command);
  addFileOptions(command, ['pods'], 'Files beside the records:');
  addLimitOptions(command);
  const given = addFilterOptions(command);
  command
    .addHelpText('after', `${formatHelp()}${EXAMPLES}`)
    .action(async (path: string, options: RecordOutputOptions, self: Command) =>
      finish(await showCommand(path, options, given, self.opts())),
    );
};

async function showCommand(
  path: string,
  options: RecordOutputOptions,
  given: GivenFilters,
  named: { readonly [key: string]: unknown },
): Promise<ExitCode> {
  if (options.format === 'pcapng')
    throw new UsageError(
      'Cannot write the format "pcapng" here: it holds packets, and saved records have none; "sidetrace replay" writes it',
    );
  const { format, selection } = parseRecordOptions(options, given);
  const files = namedFiles(named);
  const labelsOf = files.length > 0 ? podLabels({ captures: [], files }) : noLabels;
  const { SavedRecords } = await import('./saved-records.ts');
  const saved = new SavedRecords(path);
  const code = await printRecords(format!, options, { ...selection, labelsOf }, (write) => saved.read(write));
  for (const sentence of saved.problems.sentences) complain(sentence);
  return code;
}

function noLabels(): never {
  throw new UsageError('Cannot filter by labels: saved records hold none, "--pods FILE" is wanted beside them');
}
