/** Where a command writes: standard output, or the file of `--output`; with colours or without. */
import { openSync } from 'node:fs';
import type { Command } from 'commander';
import { type ColorWish, type Palette, palette, wantsColor } from '../output/color.ts';
import { FileWriter } from '../output/writer.ts';
import { InputError, UsageError } from './failure.ts';

export interface DestinationOptions {
  readonly output?: string;
  readonly color: string;
}

export interface Destination {
  readonly writer: FileWriter;
  readonly palette: Palette;
  /** Columns of the terminal, 100 where there is none. */
  readonly width: number;
  /** Standard output is a terminal, and is written to. */
  readonly terminal: boolean;
}

export function addDestinationOptions(command: Command): Command {
  return command
    .option('--output <FILE>', 'write to this file instead of standard output')
    .option('--color <WHEN>', 'colours: auto, always or never', 'auto');
}

const wishes: readonly string[] = ['auto', 'always', 'never'];

/** @throws {UsageError} for a colour that is none, {InputError} when the file cannot be written */
export function openDestination({ output, color }: DestinationOptions): Destination {
  if (!wishes.includes(color)) throw new UsageError(`Cannot colour "${color}": it must be ${wishes.join(', ')}`);
  const terminal = output === undefined && process.stdout.isTTY === true;
  const colors = palette(wantsColor(color as ColorWish, process.env, terminal));
  const width = terminal ? (process.stdout.columns ?? 100) : 100;
  if (output === undefined) return { writer: new FileWriter(1), palette: colors, width, terminal };
  try {
    return { writer: new FileWriter(openSync(output, 'w'), { owned: true }), palette: colors, width, terminal };
  } catch (cause) {
    throw new InputError(
      `Cannot write to "${output}": a file that may be written is wanted, the system says ${(cause as NodeJS.ErrnoException).code ?? String(cause)}`,
      { cause },
    );
  }
}
