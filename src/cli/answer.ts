/** What the commands that answer a question have in common: `-o text|json`, and one value as the answer. */
import { formatJson } from '../output/escape.ts';
import type { Destination } from './destination.ts';
import { COMPLETE, type ExitCode, MALFORMED } from './exit-code.ts';
import { complain, UsageError } from './failure.ts';

export type AnswerFormat = 'text' | 'json';

/** @throws {UsageError} for a format that is none */
export function answerFormat(text: string): AnswerFormat {
  if (text !== 'text' && text !== 'json') throw new UsageError(`Cannot write the format "${text}": it must be text or json`);
  return text;
}

/** Writes the answer, closes the destination and gives the exit code. `problems` are told on standard error: what could not be read on the way. */
export function answer(
  destination: Destination,
  format: AnswerFormat,
  value: unknown,
  text: () => string,
  problems: readonly string[] = [],
): ExitCode {
  const { writer } = destination;
  writer.text(format === 'json' ? `${formatJson(value, 2)}\n` : text());
  writer.close();
  for (const problem of problems) complain(problem.startsWith('the ') ? `Cannot use ${problem}` : problem);
  if (writer.failure !== undefined) throw writer.failure;
  return problems.length === 0 ? COMPLETE : MALFORMED;
}
