#!/usr/bin/env node
/** The command `sidetrace`. Loads only what the command asked for needs, and turns every error into a sentence and an exit code. */
import { COMPLETE } from './exit-code.ts';
import { fail } from './failure.ts';
import { makeProgram } from './program.ts';

// Programs that read our standard output may go away early; whoever still writes to the stream object gets no exception for it.
process.stdout.on('error', () => {});
process.stderr.on('error', () => {});

async function main(args: readonly string[]): Promise<number> {
  let code: number = COMPLETE;
  const words = args.filter((arg) => !arg.startsWith('-'));
  const wanted = words[0] === 'help' ? words.slice(1, 2) : words.slice(0, 1);
  try {
    const program = await makeProgram(wanted, (ended) => {
      code = ended;
    });
    if (args.length === 0) program.outputHelp();
    else await program.parseAsync(args, { from: 'user' });
    return code;
  } catch (error) {
    return fail(error);
  }
}

process.exitCode = await main(process.argv.slice(2));
