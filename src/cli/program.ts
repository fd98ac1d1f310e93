/** The command line as a whole: the command that was asked for in full, the others by name only. */
import { Command } from 'commander';
import { type CommandEntry, commands } from './commands.ts';
import { version } from './version.ts';

const EXAMPLES = `
Examples:
  sidetrace replay captures/bookinfo                              what became of each connection
  sidetrace replay lo.pcap --iptables rules.txt --config-dump dump.json
  sidetrace show run.msgpack --http-status 5+                     the same of records that were saved
  sidetrace explain bundle/default/client 10.96.0.10:80 --path /  which way a request would go
  sidetrace rules rules.txt                                       what each rule does, in words

"sidetrace COMMAND --help" tells a command's options.
Exit codes: 0 complete, 1 usage, 2 input malformed, 3 refused, 4 complete but something was lost, 130 interrupted.`;

/** Settings that every command shares: errors come back as exceptions, help stays readable. */
function prepare(command: Command): Command {
  return command
    .exitOverride()
    .configureOutput({ outputError: () => {} })
    .configureHelp({ helpWidth: Math.min(process.stdout.columns ?? 120, 160) })
    .showSuggestionAfterError(true)
    .helpOption('-h, --help', 'this help')
    .allowExcessArguments(false);
}

export function makeCommand(name: string): Command {
  return prepare(new Command(name));
}

/**
 * @param wanted the commands to load in full; undefined for all of them
 * @param finish is told the exit code of the command that ran
 */
export async function makeProgram(wanted: readonly string[] | undefined, finish: (code: number) => void): Promise<Command> {
  const program = makeCommand('sidetrace')
    .description('Names the rule, listener, chain, route, cluster and endpoint that served each connection of an Istio pod.')
    .version(version(), '-V, --version', 'the version')
    .usage('COMMAND [options]')
    .helpCommand('help [COMMAND]', "a command's help")
    .addHelpText('after', EXAMPLES);
  for (const entry of commands) program.addCommand(await describe(entry, wanted, finish));
  return program;
}

async function describe(entry: CommandEntry, wanted: readonly string[] | undefined, finish: (code: number) => void): Promise<Command> {
  const command = makeCommand(entry.name).description(entry.summary);
  if (wanted === undefined || wanted.includes(entry.name)) (await entry.load())(command, finish);
  return command;
}
