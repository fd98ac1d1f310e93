/** `sidetrace status`: how the daemons are, what they follow, what they miss. */
import { errorText } from '../net/error-text.ts';
import { formatJson } from '../output/escape.ts';
import type { DaemonStatus } from '../stream/status-shape.ts';
import { answerFormat } from './answer.ts';
import type { Describe } from './commands.ts';
import { askStatus } from './daemon-answers.ts';
import { addDestinationOptions, type DestinationOptions, openDestination } from './destination.ts';
import { COMPLETE, type ExitCode, LOST, REFUSED } from './exit-code.ts';
import { complain } from './failure.ts';
import type { Server } from './server-options.ts';
import { addDaemonsOptions, type OpenServersOptions, openServers } from './servers.ts';
import { isTroubled, statusText } from './status-text.ts';

const EXAMPLES = `
Examples:
  sidetrace status
  sidetrace status --server wss://node-a:4280 --server wss://node-b:4280 --token-file token
  sidetrace status -o json | jq '.servers[].status.namespaces[] | select(.state != "capturing")'

Exit codes: 0 all is well, 3 a daemon could not be asked, 4 something was lost, is missing or does not run.`;

interface StatusOptions extends DestinationOptions, OpenServersOptions {
  readonly format: string;
}

interface Asked {
  readonly server: string;
  readonly status?: DaemonStatus;
  readonly fault?: string;
}

export const describeStatus: Describe = (command, finish) => {
  addDestinationOptions(command.option('-o, --format <FORMAT>', 'text or json', 'text'));
  addDaemonsOptions(command)
    .addHelpText('after', EXAMPLES)
    .action(async (options: StatusOptions) => finish(await statusCommand(options)));
};

async function statusCommand(options: StatusOptions): Promise<ExitCode> {
  const format = answerFormat(options.format);
  const opened = await openServers(options);
  const asked = await Promise.all(opened.servers.map(ask)).finally(() => opened.close());
  const { writer, palette } = openDestination(options);
  if (format === 'json') writer.text(`${formatJson({ servers: asked }, 2)}\n`);
  else
    writer.text(
      asked
        .filter(({ status }) => status !== undefined)
        .map(({ server, status }) => statusText(server, status!, palette))
        .join('\n'),
    );
  writer.close();
  for (const { fault } of asked) if (fault !== undefined) complain(fault);
  if (asked.some(({ fault }) => fault !== undefined)) return REFUSED;
  return asked.some(({ status }) => isTroubled(status!)) ? LOST : COMPLETE;
}

async function ask(server: Server): Promise<Asked> {
  const name = server.name;
  try {
    const status = await askStatus(server);
    return typeof status === 'string'
      ? { server: name, fault: `Cannot read the status of "${name}": ${status}` }
      : { server: name, status };
  } catch (error) {
    return { server: name, fault: errorText(error) };
  }
}
