/**
 * The daemon's log: one JSON object a line on standard output (pino's format). It never waits for its reader: what does not fit into 1 MiB is dropped and counted. The first
 * 25 messages of a kind are written, then one every 30 s with the number of those left out. A kind is a level and a message, so messages are constant sentences and what
 * varies goes into the fields. Nobody passes tokens, header values or payload.
 */
import { type Level, type LevelWithSilent, pino } from 'pino';

const BUFFER_LIMIT = 1024 * 1024;
const FIRST_OF_A_KIND = 25;
const PAUSE_MS = 30_000;
const KIND_LIMIT = 1024;
const TEXT_LIMIT = 2048;
const CLOSE_MS = 500;

export type LogFields = Readonly<Record<string, unknown>>;

/** Called as `log.warn({ netns }, 'the capture failed')` or `log.warn('the capture failed')`. An `Error` belongs into the field `err`. */
export interface LogMethod {
  (message: string): void;
  (fields: LogFields, message: string): void;
}

export interface Log {
  readonly trace: LogMethod;
  readonly debug: LogMethod;
  readonly info: LogMethod;
  readonly warn: LogMethod;
  readonly error: LogMethod;
  readonly fatal: LogMethod;
  /** The same log with a name for the part that speaks, and fields of its own. */
  child(part: string, fields?: LogFields): Log;
}

/** The log that the daemon owns. */
export interface DaemonLog extends Log {
  setLevel(level: LevelWithSilent): void;
  /** Lines that were not written because their reader was too slow. */
  readonly dropped: number;
  /** Messages that were left out because their like had been written often. */
  readonly suppressed: number;
  /** Waits at most half a second for what is still to be written. */
  close(): Promise<void>;
}

/** Where lines go: standard output, or a stand-in for tests. */
export interface LogSink {
  readonly writableLength: number;
  write(line: string): unknown;
}

interface Kind {
  written: number;
  left: number;
  nextMs: number;
}

const levels: readonly Level[] = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'];

/** A pipe as standard output never blocks: touching `process.stdout` makes Node.js set O_NONBLOCK on it. */
export function openLog(options: {
  readonly level: LevelWithSilent;
  readonly node: string;
  readonly sink?: LogSink;
  readonly nowMs?: () => number;
}): DaemonLog {
  const sink = options.sink ?? process.stdout;
  const nowMs = options.nowMs ?? (() => performance.now());
  const totals = { dropped: 0, suppressed: 0, untold: 0 };
  const write = (line: string) => {
    if (sink.writableLength + line.length > BUFFER_LIMIT) {
      totals.dropped += 1;
      totals.untold += 1;
      return;
    }
    sink.write(line);
    if (totals.untold === 0) return;
    const count = totals.untold;
    totals.untold = 0;
    root.warn({ count }, 'lines of this log were dropped: their reader was too slow');
  };
  const root = pino(
    {
      level: options.level,
      base: { node: options.node },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: errorFields },
    },
    { write },
  );
  const kinds = new Map<string, Kind>();

  /** Whether a message may be written; the number of its like that were left out before it. */
  const admit = (kind: string): number | undefined => {
    let known = kinds.get(kind);
    if (known === undefined) {
      // Messages are constant, so there are few; should that fail, the oldest kind begins anew.
      if (kinds.size >= KIND_LIMIT) kinds.delete(kinds.keys().next().value!);
      known = { written: 0, left: 0, nextMs: 0 };
      kinds.set(kind, known);
    }
    const now = nowMs();
    if (known.written >= FIRST_OF_A_KIND && now < known.nextMs) {
      known.left += 1;
      totals.suppressed += 1;
      return undefined;
    }
    known.written += 1;
    known.nextMs = now + PAUSE_MS;
    const { left } = known;
    known.left = 0;
    return left;
  };

  const speak = (own: LogFields): Log => {
    const method =
      (level: Level): LogMethod =>
      (first: string | LogFields, second?: string) => {
        if (!root.isLevelEnabled(level)) return;
        const message = cut(typeof first === 'string' ? first : (second ?? ''));
        const left = admit(`${level} ${message}`);
        if (left === undefined) return;
        const fields = { ...own, ...(typeof first === 'string' ? {} : plainFields(first)), ...(left > 0 ? { leftOut: left } : {}) };
        root[level](fields, message);
      };
    const methods = Object.fromEntries(levels.map((level) => [level, method(level)])) as Record<Level, LogMethod>;
    return { ...methods, child: (part, fields) => speak({ ...own, part, ...plainFields(fields ?? {}) }) };
  };

  return {
    ...speak({}),
    setLevel: (level) => {
      root.level = level;
    },
    get dropped() {
      return totals.dropped;
    },
    get suppressed() {
      return totals.suppressed;
    },
    close: async () => {
      for (const end = performance.now() + CLOSE_MS; sink.writableLength > 0 && performance.now() < end; )
        await new Promise((go) => setTimeout(go, 10));
    },
  };
}

/** Whatever a part passes by mistake, a line stays one line of bounded length. */
function plainFields(fields: LogFields): LogFields {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => {
      if (typeof value === 'string') return [name, cut(value)];
      if (typeof value === 'bigint') return [name, value.toString()];
      if (value instanceof Error) return [name, errorFields(value)];
      if (typeof value === 'object' && value !== null) return [name, bounded(value)];
      return [name, value];
    }),
  );
}

/** A small object as it is, a large one as the beginning of its text. */
function bounded(value: object): unknown {
  const text = JSON.stringify(value, (_key, inner) => (typeof inner === 'bigint' ? inner.toString() : inner));
  return text === undefined || text.length > TEXT_LIMIT ? cut(text ?? '') : JSON.parse(text);
}

function errorFields(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const { code } = error as NodeJS.ErrnoException;
  return { message: cut(error.message), ...(code === undefined ? {} : { code }), stack: cut(error.stack ?? '') };
}

function cut(text: string): string {
  return text.length > TEXT_LIMIT ? `${text.slice(0, TEXT_LIMIT)}…` : text;
}
