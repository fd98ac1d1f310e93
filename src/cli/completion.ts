/** `sidetrace completion bash|zsh|fish`: a script that the shell reads, made from the commands themselves. */
import type { Command, Option } from 'commander';
import { timeFormats } from '../output/sink.ts';
import { sinks } from '../output/sinks.ts';
import type { Describe } from './commands.ts';
import { type CommandEntry, commands } from './commands.ts';
import { addDestinationOptions, type DestinationOptions, openDestination } from './destination.ts';
import { COMPLETE } from './exit-code.ts';
import { UsageError } from './failure.ts';
import { makeCommand } from './program.ts';

interface Completed {
  readonly name: string;
  readonly summary: string;
  readonly options: readonly Option[];
  /** Words that may stand first. */
  readonly words: readonly string[];
}

const shells: { readonly [shell: string]: (commands: readonly Completed[]) => string } = { bash, zsh, fish };

export const describeCompletion: Describe = (command, finish) => {
  addDestinationOptions(command.argument('<SHELL>', Object.keys(shells).join(', ')))
    .addHelpText(
      'after',
      `
Examples:
  source <(sidetrace completion bash)
  sidetrace completion zsh > "\${fpath[1]}/_sidetrace"
  sidetrace completion fish > ~/.config/fish/completions/sidetrace.fish`,
    )
    .action(async (shell: string, options: DestinationOptions) => {
      const script = Object.hasOwn(shells, shell) ? shells[shell] : undefined;
      if (script === undefined)
        throw new UsageError(`Cannot complete for the shell "${shell}": it must be ${Object.keys(shells).join(', ')}`);
      const { writer } = openDestination(options);
      writer.text(script(await Promise.all(commands.map(completed))));
      writer.close();
      finish(COMPLETE);
    });
};

const firstWords: { readonly [command: string]: readonly string[] } = {
  envoy: ['listeners', 'chains', 'routes', 'clusters', 'endpoints', 'certs', 'stats', 'rejected', 'trace', 'admin'],
  completion: ['bash', 'zsh', 'fish'],
};

async function completed(entry: CommandEntry): Promise<Completed> {
  const command: Command = makeCommand(entry.name);
  (await entry.load())(command, () => {});
  return { name: entry.name, summary: entry.summary, options: command.options, words: firstWords[entry.name] ?? [] };
}

/** Values that an option takes, where there are a few; `files`: a path. */
function valuesOf(command: string, option: Option): readonly string[] | 'files' | 'free' {
  if (!option.required && !option.optional) return [];
  if (option.long === '--format') {
    const records = sinks.map(({ name }) => name);
    return command === 'replay' ? [...records, 'pcapng'] : command === 'show' || command === 'observe' ? records : ['text', 'json'];
  }
  if (option.long === '--time-format') return timeFormats;
  if (option.long === '--color') return ['auto', 'always', 'never'];
  return /<FILES?(\|-)?>|<RECORDING>/.test(option.flags) ? 'files' : 'free';
}

const takesValue = (option: Option): boolean => option.required || option.optional;
const flagsOf = (option: Option): string[] =>
  [option.short, option.long].filter((flag): flag is string => flag !== undefined && flag !== null);

function bash(all: readonly Completed[]): string {
  const cases = all.map(({ name, options, words }) => {
    const flags = [...options.flatMap(flagsOf), '--help', ...words].join(' ');
    const values = options.flatMap((option) => {
      const known = valuesOf(name, option);
      if (known === 'free') return [`        ${flagsOf(option).join('|')}) return ;;`];
      if (known === 'files') return [`        ${flagsOf(option).join('|')}) COMPREPLY=( $(compgen -f -- "$current") ); return ;;`];
      return known.length === 0
        ? []
        : [`        ${flagsOf(option).join('|')}) COMPREPLY=( $(compgen -W "${known.join(' ')}" -- "$current") ); return ;;`];
    });
    return `    ${name})\n      case "$before" in\n${values.join('\n')}\n      esac\n      flags="${flags}" ;;`;
  });
  return `# sidetrace completion for bash
_sidetrace() {
  local current="\${COMP_WORDS[COMP_CWORD]}" before="" command="\${COMP_WORDS[1]:-}" flags=""
  [ "$COMP_CWORD" -gt 0 ] && before="\${COMP_WORDS[COMP_CWORD-1]}"
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=( $(compgen -W "${all.map(({ name }) => name).join(' ')} help --help --version" -- "$current") )
    return
  fi
  case "$command" in
${cases.join('\n')}
    help) flags="${all.map(({ name }) => name).join(' ')}" ;;
  esac
  COMPREPLY=( $(compgen -W "$flags" -- "$current") $(compgen -f -- "$current") )
}
complete -o filenames -F _sidetrace sidetrace
`;
}

/** Within single quotes of zsh's _arguments: quotes, colons and brackets mean something there. */
function zshText(text: string): string {
  return text.replaceAll(/([:[\]\\])/g, '\\$1').replaceAll("'", "'\\''");
}

function zsh(all: readonly Completed[]): string {
  const argument = (command: string, option: Option): string => {
    const known = valuesOf(command, option);
    if (!takesValue(option)) return '';
    if (known === 'files') return ':file:_files';
    return known === 'free' ? ':value: ' : `:value:(${known.join(' ')})`;
  };
  const cases = all.map(({ name, options, words }) => {
    const lines = options.flatMap((option) =>
      flagsOf(option).map((flag) => `        '*${flag}[${zshText(option.description)}]${argument(name, option)}' \\`),
    );
    const first = words.length === 0 ? '' : `        '1:what:(${words.join(' ')})' \\\n`;
    return `    ${name})\n      _arguments -S \\\n${lines.join('\n')}\n${first}        '*:file:_files' ;;`;
  });
  return `#compdef sidetrace
# sidetrace completion for zsh
_sidetrace() {
  local -a subcommands
  subcommands=(
${all.map(({ name, summary }) => `    '${name}:${summary.replaceAll("'", "'\\''")}'`).join('\n')}
  )
  if (( CURRENT == 2 )); then
    _describe 'command' subcommands
    return
  fi
  local command="$words[2]"
  shift words
  (( CURRENT-- ))
  case "$command" in
${cases.join('\n')}
  esac
}
if [ "$funcstack[1]" = "_sidetrace" ]; then
  _sidetrace "$@"
else
  compdef _sidetrace sidetrace
fi
`;
}

function fishText(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}

function fish(all: readonly Completed[]): string {
  const lines = ['# sidetrace completion for fish', 'complete -c sidetrace -n __fish_use_subcommand -f'];
  for (const { name, summary } of all) lines.push(`complete -c sidetrace -n __fish_use_subcommand -a ${name} -d ${fishText(summary)}`);
  for (const { name, options, words } of all) {
    const when = `-n '__fish_seen_subcommand_from ${name}'`;
    if (words.length > 0) lines.push(`complete -c sidetrace ${when} -a ${fishText(words.join(' '))}`);
    for (const option of options) {
      const known = valuesOf(name, option);
      const short = option.short === undefined || option.short === null ? '' : ` -s ${fishText(option.short.slice(1))}`;
      const long = option.long === undefined || option.long === null ? '' : ` -l ${option.long.slice(2)}`;
      const value = !takesValue(option)
        ? ''
        : known === 'files'
          ? ' -r -F'
          : known === 'free'
            ? ' -x'
            : ` -x -a ${fishText((known as readonly string[]).join(' '))}`;
      lines.push(`complete -c sidetrace ${when}${short}${long}${value} -d ${fishText(option.description)}`);
    }
  }
  return `${lines.join('\n')}\n`;
}
