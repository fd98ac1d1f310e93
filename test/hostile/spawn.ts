/** Runs the command line on hostile input: what it says, how it ends, how long it takes, and the most memory that it held. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { main } from '../cli/run.ts';

/** The sizes of the hostile inputs: small ones unless SIDETRACE_HOSTILE is `full`. */
export const full = process.env.SIDETRACE_HOSTILE === 'full';

export function sized(small: number, large: number): number {
  return full ? large : small;
}

export const MAX_RESIDENT_MIB = 512;
const MAX_MS = full ? 120_000 : 30_000;
/** Both streams are read to their ends; so much of each is kept. */
const KEPT = 8 * 1024 * 1024;

export interface Ended {
  readonly code: number | null;
  readonly signal: string | null;
  readonly out: string;
  readonly err: string;
  readonly outLength: number;
  readonly residentMib: number;
  readonly ms: number;
}

const folder = mkdtempSync(join(tmpdir(), 'sidetrace-hostile-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

const probe = join(folder, 'probe.cjs');
// The high-water mark of this program alone: resourceUsage() counts what the one that started it held, too.
writeFileSync(
  probe,
  `const fs = require('fs');
process.on('exit', () => fs.writeSync(3, /VmHWM:\\s+(\\d+)/.exec(fs.readFileSync('/proc/self/status', 'utf8'))[1]));
`,
);

/** A place for a file of a test, gone when the tests end. */
export function place(name: string): string {
  return join(folder, name);
}

export function file(name: string, content: string | Uint8Array): string {
  const path = place(name);
  writeFileSync(path, content);
  return path;
}

/** Runs it to its end and asserts what holds for every input: no crash, no stack trace, bounded memory and time. @param before a program that runs it */
export async function runHostile(args: readonly string[], stdin?: string | Uint8Array, before: readonly string[] = []): Promise<Ended> {
  const began = performance.now();
  const [program, ...rest] = [...before, process.execPath, '--require', probe, main, ...args] as [string, ...string[]];
  const child = spawn(program, rest, {
    stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
    env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: '' },
    timeout: MAX_MS * 2,
    killSignal: 'SIGKILL',
  });
  child.stdin!.on('error', () => {});
  child.stdin!.end(stdin ?? '');
  const texts = ['', '', ''];
  const lengths = [0, 0, 0];
  [child.stdout!, child.stderr!, child.stdio[3]!].forEach((stream, i) => {
    stream.on('data', (chunk: Buffer) => {
      lengths[i]! += chunk.length;
      if (texts[i]!.length < KEPT) texts[i] += chunk.toString('latin1').slice(0, KEPT - texts[i]!.length);
    });
  });
  const { code, signal } = await new Promise<{ code: number | null; signal: string | null }>((resolve) => {
    child.on('close', (exit, killed) => resolve({ code: exit, signal: killed }));
  });
  const ended = {
    code,
    signal,
    out: Buffer.from(texts[0]!, 'latin1').toString('utf8'),
    err: Buffer.from(texts[1]!, 'latin1').toString('utf8'),
    outLength: lengths[0]!,
    residentMib: Math.round(Number(texts[2]) / 1024),
    ms: Math.round(performance.now() - began),
  };
  const about = `sidetrace ${args.join(' ')}: ${JSON.stringify({ ...ended, out: ended.out.slice(-300), err: ended.err.slice(0, 1500) })}`;
  if (process.env.SIDETRACE_HOSTILE_SAY !== undefined)
    process.stderr.write(
      `${String(ended.code)} ${ended.residentMib} MiB ${ended.ms} ms  ${args.join(' ').slice(0, 150)}\n    ${ended.err.slice(0, 300)}\n    ${ended.out
        .slice(-400)
        .split('\n')
        .filter((line) => /lost|Cannot/.test(line))
        .join('\n    ')}\n`,
    );
  assert.equal(ended.signal, null, about);
  assert.doesNotMatch(ended.err, /^ +at .+[:(]\d+:\d+|fault in sidetrace itself|Error:|node:internal/m, about);
  assert.ok(ended.residentMib > 0 && ended.residentMib <= MAX_RESIDENT_MIB, `at most ${MAX_RESIDENT_MIB} MiB: ${about}`);
  assert.ok(ended.ms <= MAX_MS, `at most ${MAX_MS} ms: ${about}`);
  return ended;
}

/** The records of `-o json`, as far as they were kept. */
export function recordsOf({ out }: Ended): { readonly type: string; readonly [field: string]: unknown }[] {
  return out
    .split('\n')
    .filter((line) => line.endsWith('}'))
    .map((line) => JSON.parse(line) as { type: string });
}

/** The sentences about what was lost or is malformed. */
export function lossesOf(ended: Ended): string[] {
  return recordsOf(ended)
    .filter(({ type }) => type === 'lost')
    .map(({ detail }) => String(detail));
}
