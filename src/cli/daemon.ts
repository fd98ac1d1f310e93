/** `sidetrace daemon`: follows the pods of a node and streams what it finds. */
import type { DaemonConfig } from '../daemon/config.ts';
import { ConfigError, compareConfigs, readConfig } from '../daemon/config-sources.ts';
import { Daemon } from '../daemon/daemon.ts';
import { keepInspectorShut } from '../daemon/inspector.ts';
import { type DaemonLog, openLog } from '../daemon/log.ts';
import { makeMetrics } from '../daemon/metrics.ts';
import { errorText } from '../net/error-text.ts';
import type { Describe } from './commands.ts';
import { addConfigOptions, configSources } from './config-options.ts';
import { COMPLETE, USAGE } from './exit-code.ts';
import { findProbeProgram } from './probe-program.ts';
import { version } from './version.ts';

const EXAMPLES = `
Examples:
  sidetrace daemon --probe-spawn auto                         on a laptop or a test node, as root: the probe is started, too
  sidetrace daemon --probe-socket /run/sidetrace/probe.sock   as its own user, beside a probe that runs already
  sidetrace daemon --config /etc/sidetrace/config.yaml

Every setting is a key of the file, a variable of the environment (SIDETRACE_…) and a flag: docs/operations.md lists them.
SIGHUP reads the configuration again, SIGTERM ends it within 5 s.`;

/** How long the end may take. */
const STOP_MS = 5000;

export const describeDaemon: Describe = (command, finish) => {
  addConfigOptions(command);
  command.addHelpText('after', EXAMPLES).action(async (options: Readonly<Record<string, unknown>>) => {
    keepInspectorShut();
    const read = () => readConfig(configSources(options, process.env));
    let config: DaemonConfig;
    let warnings: readonly string[];
    try {
      ({ config, warnings } = read());
      config = withProbe(config);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      process.stderr.write(`${error.message}\n`);
      finish(USAGE);
      return;
    }
    const log = openLog({ level: config.log.level, node: config.node });
    for (const detail of warnings) log.warn({ detail }, 'a part of the configuration has no effect');
    finish(await run(config, log, () => withProbe(read().config)));
  });
};

async function run(config: DaemonConfig, log: DaemonLog, again: () => DaemonConfig): Promise<number> {
  let daemon: Daemon;
  try {
    daemon = new Daemon({ config, log, metrics: makeMetrics(), version: version(), environment: process.env });
    await daemon.start();
  } catch (error) {
    log.fatal({ err: error }, 'the daemon cannot begin');
    await log.close();
    process.stderr.write(`${errorText(error)}\n`);
    return USAGE;
  }
  let held = config;
  const reload = () => {
    held = reloaded(held, again, log);
  };
  process.on('SIGHUP', reload);
  await new Promise<void>((resolve) => {
    const end = (signal: NodeJS.Signals) => {
      log.info({ signal }, 'the daemon ends');
      // Asked twice it goes at once.
      for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => process.exit(COMPLETE));
      resolve();
    };
    for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, end);
  });
  process.off('SIGHUP', reload);
  const late = setTimeout(() => {
    log.warn('the daemon did not end in time');
    process.exit(COMPLETE);
  }, STOP_MS);
  late.unref();
  const totals = await daemon.stop();
  log.info({ totals }, 'the daemon has ended');
  await log.close();
  clearTimeout(late);
  return COMPLETE;
}

/** What can change without a restart changes; of the rest is told that it will not. */
function reloaded(held: DaemonConfig, again: () => DaemonConfig, log: DaemonLog): DaemonConfig {
  try {
    const config = again();
    const { reloaded: changed, restart } = compareConfigs(held, config);
    log.setLevel(config.log.level);
    log.info({ changed: changed.map(({ key }) => key) }, 'the configuration was read again');
    if (restart.length > 0) log.warn({ keys: restart.map(({ key }) => key) }, 'some of what changed takes effect only after a restart');
    return { ...held, log: config.log };
  } catch (error) {
    log.error({ err: error }, 'the configuration cannot be read again: the former one holds');
    return held;
  }
}

/** `auto`: the probe that comes with this program. @throws {ConfigError} when there is none */
function withProbe(config: DaemonConfig): DaemonConfig {
  if (config.probe.spawn !== 'auto') return config;
  const program = findProbeProgram();
  if (program === undefined)
    throw new ConfigError(
      'Cannot start the probe (probe.spawn "auto"): native/build/sidetrace-probe is wanted, there is none; ./setup builds it',
    );
  return { ...config, probe: { ...config.probe, spawn: program } };
}
