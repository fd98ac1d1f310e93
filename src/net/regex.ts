/**
 * Regular expressions in RE2's syntax, matched against the whole text, in time linear in the text (a set of states is stepped; nothing is tried twice).
 *
 * Only "does it match" is asked, so greediness and groups do not matter. What is not supported compiles to `undefined`: the caller answers unknown.
 * Source: RE2 syntax (google/re2 doc/syntax.txt); Envoy matches with RE2::FullMatch (source/common/common/regex.cc).
 */
import { type Assertion, isWord, type Node, parsePattern, type Test, Unsupported } from './regex-syntax.ts';

const MAX_PATTERN = 4096;
const MAX_PROGRAM = 20_000;

type Instruction = { op: 'char'; test: Test } | { op: 'assert'; what: Assertion } | { op: 'split'; to: number[] } | { op: 'match' };

function emit(node: Node, program: Instruction[]): void {
  if (program.length > MAX_PROGRAM) throw new Unsupported();
  switch (node.op) {
    case 'char':
    case 'assert':
      program.push(node);
      return;
    case 'sequence':
      for (const part of node.nodes) emit(part, program);
      return;
    case 'either': {
      const fork: number[] = [];
      program.push({ op: 'split', to: fork });
      const ends: number[][] = [];
      for (const part of node.nodes) {
        fork.push(program.length);
        emit(part, program);
        const end: number[] = [];
        ends.push(end);
        program.push({ op: 'split', to: end });
      }
      for (const end of ends) end.push(program.length);
      return;
    }
    case 'repeat': {
      for (let i = 0; i < node.min; i++) emit(node.node, program);
      if (node.max === Number.POSITIVE_INFINITY) {
        const start = program.length;
        const fork: number[] = [start + 1];
        program.push({ op: 'split', to: fork });
        emit(node.node, program);
        program.push({ op: 'split', to: [start] });
        fork.push(program.length);
        return;
      }
      const forks: number[][] = [];
      for (let i = node.min; i < node.max; i++) {
        const fork: number[] = [program.length + 1];
        forks.push(fork);
        program.push({ op: 'split', to: fork });
        emit(node.node, program);
      }
      for (const fork of forks) fork.push(program.length);
    }
  }
}

function holds(what: Assertion, previous: number, next: number): boolean {
  switch (what) {
    case 'begin':
      return previous === -1;
    case 'end':
      return next === -1;
    case 'line-begin':
      return previous === -1 || previous === 10;
    case 'line-end':
      return next === -1 || next === 10;
    default: {
      const boundary = (previous !== -1 && isWord(previous)) !== (next !== -1 && isWord(next));
      return boundary === (what === 'word');
    }
  }
}

function run(program: readonly Instruction[], text: string): boolean {
  const points = [...text].map((c) => c.codePointAt(0)!);
  const mark = new Int32Array(program.length).fill(-1);
  let states: number[] = [0];
  for (let i = 0; i <= points.length; i++) {
    const previous = i === 0 ? -1 : points[i - 1]!;
    const next = i === points.length ? -1 : points[i]!;
    const pending = states;
    const following: number[] = [];
    while (pending.length > 0) {
      const at = pending.pop()!;
      if (mark[at] === i) continue;
      mark[at] = i;
      const instruction = program[at]!;
      if (instruction.op === 'match') {
        if (next === -1) return true;
      } else if (instruction.op === 'split') pending.push(...instruction.to);
      else if (instruction.op === 'assert') {
        if (holds(instruction.what, previous, next)) pending.push(at + 1);
      } else if (next !== -1 && instruction.test(next)) following.push(at + 1);
    }
    if (following.length === 0) return false;
    states = following;
  }
  return false;
}

/** A compiled pattern. Matching takes at most `size` steps a character. */
export interface Regex {
  readonly size: number;
  /** Does the pattern match the whole of `text`? */
  matches(text: string): boolean;
}

const compiled = new Map<string, Regex | undefined>();
const MAX_COMPILED = 2000;

/**
 * Compiles a pattern.
 *
 * @returns `undefined` for what is not RE2, uses what we do not support, or would need too large a program
 */
export function compileRegex(pattern: string): Regex | undefined {
  if (compiled.has(pattern)) return compiled.get(pattern);
  if (compiled.size >= MAX_COMPILED) compiled.clear();
  const regex = pattern.length > MAX_PATTERN ? undefined : compile(pattern);
  compiled.set(pattern, regex);
  return regex;
}

function compile(pattern: string): Regex | undefined {
  const program: Instruction[] = [];
  try {
    emit(parsePattern(pattern), program);
    if (program.length > MAX_PROGRAM) return undefined;
  } catch (error) {
    if (error instanceof Unsupported) return undefined;
    throw error;
  }
  program.push({ op: 'match' });
  return { size: program.length, matches: (text) => run(program, text) };
}
