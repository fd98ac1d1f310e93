/** `sidetrace doctor`: can it work here, and what to do where it cannot. */
import type { Palette } from '../output/color.ts';
import { escapeText, formatJson } from '../output/escape.ts';
import { PROBE_PROTOCOL_VERSION } from '../source/probe-protocol.ts';
import { answerFormat } from './answer.ts';
import type { Describe } from './commands.ts';
import { addDestinationOptions, type DestinationOptions, openDestination } from './destination.ts';
import { allChecks, type Check } from './doctor-checks.ts';
import { readMachine } from './doctor-machine.ts';
import { askDaemonState, askProbe } from './doctor-node.ts';
import { COMPLETE, LOST } from './exit-code.ts';
import { addServerOptions, parseServer, type ServerOptions } from './server-options.ts';

const EXAMPLES = `
Examples:
  sidetrace doctor                                      on a node or a laptop, best as root
  sidetrace doctor --probe /run/sidetrace/probe.sock    as the daemon sees it
  sidetrace doctor -o json | jq '.checks[] | select(.status != "ok")'

"failed" is what keeps it from working, "warning" what makes it see less. docs/operations.md explains every check.
Exit codes: 0 nothing failed, 4 something did.`;

interface DoctorOptions extends DestinationOptions, ServerOptions {
  readonly format: string;
  readonly probe?: string;
  readonly probeProgram?: string;
  readonly netnsDir: string;
}

export const describeDoctor: Describe = (command, finish) => {
  addDestinationOptions(
    command
      .option('-o, --format <FORMAT>', 'text or json', 'text')
      .option('--probe <SOCKET>', 'ask the probe that listens here')
      .option('--probe-program <FILE>', 'start this probe and ask it')
      .option('--netns-dir <DIR>', 'where network namespaces are bound', '/run/netns'),
  );
  addServerOptions(command)
    .addHelpText('after', EXAMPLES)
    .action(async (options: DoctorOptions) => {
      const format = answerFormat(options.format);
      const server = parseServer(options);
      const [machine, { probe, envoys }, daemon] = await Promise.all([
        readMachine(options.netnsDir),
        askProbe({
          netnsFolder: options.netnsDir,
          ...(options.probe === undefined ? {} : { socket: options.probe }),
          ...(options.probeProgram === undefined ? {} : { program: options.probeProgram }),
        }),
        askDaemonState(server, options.server !== undefined),
      ]);
      const checks = allChecks({ machine, probe, envoys, daemon, protocol: PROBE_PROTOCOL_VERSION });
      const counts = countsOf(checks);
      const { writer, palette } = openDestination(options);
      writer.text(format === 'json' ? `${formatJson({ ...counts, checks }, 2)}\n` : checksText(checks, counts, palette));
      writer.close();
      finish(counts.failed > 0 ? LOST : COMPLETE);
    });
};

type Counts = { readonly [status in Check['status']]: number };

function countsOf(checks: readonly Check[]): Counts {
  const count = (wanted: Check['status']): number => checks.filter(({ status }) => status === wanted).length;
  return { ok: count('ok'), warning: count('warning'), failed: count('failed') };
}

function checksText(checks: readonly Check[], counts: Counts, palette: Palette): string {
  const paint = { ok: palette.green, warning: palette.yellow, failed: palette.red };
  const width = Math.max(...checks.map(({ check }) => check.length)) + 2;
  let out = '';
  for (const { check, status, is, todo } of checks) {
    out += `${paint[status](status.padEnd(9))}${palette.bold(check.padEnd(width))}${escapeText(is)}\n`;
    if (todo !== undefined) out += `${' '.repeat(9 + width)}${palette.dim('do:')} ${escapeText(todo)}\n`;
  }
  return `${out}\n${counts.ok} ok, ${counts.warning} to be looked at, ${counts.failed} failed\n`;
}
