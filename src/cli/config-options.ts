/** The daemon's settings as options of a command: one for each key of the configuration, and `--config`. */
import type { Command } from 'commander';
import { settings } from '../daemon/config.ts';
import type { ConfigSources } from '../daemon/config-sources.ts';

/** What an option's value is called in `--help`, by the beginning of what fits. */
const placeholders: readonly (readonly [string, string])[] = [
  ['true or false', 'yes|no'],
  ['a size', 'SIZE'],
  ['a time', 'TIME'],
  ['a whole number', 'N'],
  ['a list', 'LIST'],
  ['one of', 'WORD'],
];
const placeholder = (wish: string) => placeholders.find(([begin]) => wish.startsWith(begin))?.[1] ?? 'TEXT';

export function addConfigOptions(command: Command): void {
  const add = (flags: string, text: string, heading: string) => {
    const option = command.createOption(flags, text);
    option.helpGroup(heading);
    command.addOption(option);
  };
  add('--config <FILE>', 'the configuration, YAML (default: /etc/sidetrace/config.yaml where there is one)', 'Configuration:');
  for (const { key, flag, description, fallback, wish } of settings) {
    const group = key.split('.')[0]!;
    const told = fallback === '' ? description : `${description} (default: ${fallback})`;
    add(`${flag} <${placeholder(wish)}>`, told, `${group[0]!.toUpperCase()}${group.slice(1)}:`);
  }
}

/** What was given on the command line, for `readConfig`. @param options what commander made of it */
export function configSources(options: Readonly<Record<string, unknown>>, environment: NodeJS.ProcessEnv): ConfigSources {
  const flags: Record<string, string> = {};
  for (const { key, flag } of settings) {
    // As commander names an option's value: `--probe-ring-budget` is `probeRingBudget`.
    const value = options[flag.slice(2).replace(/-([a-z0-9])/g, (_dash, letter: string) => letter.toUpperCase())];
    if (typeof value === 'string') flags[key] = value;
  }
  return { file: typeof options.config === 'string' ? options.config : undefined, environment, flags };
}
