/** What one subscriber wants of the records, checked and ready to use. */
import { formatEpochMs } from '../net/time.ts';
import { FilterError } from '../output/filter/filter.ts';
import { FilterSet } from '../output/filter/filter-set.ts';
import { filters as knownFilters } from '../output/filter/filters.ts';
import { parseMoment, TimeWindow } from '../output/filter/time-window.ts';
import type { AnyRecord } from '../record/record.ts';
import { bounds, type FilterSpec, type SubscribeMessage } from './protocol.ts';

/** What a client asked for means nothing; the message says what was wanted. */
export class SubscribeError extends TypeError {}

export interface Selection {
  /** Equal for subscriptions that want the same of what is still to come. */
  readonly key: string;
  /** Everything is wanted: nothing has to be looked at. */
  readonly all: boolean;
  readonly types: ReadonlySet<AnyRecord['type']> | undefined;
  readonly filters: FilterSet;
  readonly window: TimeWindow;
  /** Whether flows of paths are sent even if they do not pass. */
  readonly context: boolean;
}

const byName = new Map(knownFilters.map((filter) => [filter.name, filter]));

/** @throws {SubscribeError} */
export function parseFilters(specs: readonly FilterSpec[]): FilterSet {
  const length = specs.reduce((sum, { name, value }) => sum + name.length + (value?.length ?? 0), 0);
  if (specs.length > bounds.filters) throw new SubscribeError(`Cannot use ${specs.length} filters: at most ${bounds.filters} are taken`);
  if (length > bounds.filterText)
    throw new SubscribeError(`Cannot use filters of ${length} characters: at most ${bounds.filterText} are taken in all`);
  const patterns = specs.filter(({ name }) => name === 'http-path' || name === 'http-url').length;
  if (patterns > bounds.patterns)
    throw new SubscribeError(`Cannot use ${patterns} filters with patterns: at most ${bounds.patterns} are taken`);
  const set = new FilterSet();
  specs.forEach(({ name, value = '', negated = false }, i) => {
    const filter = byName.get(name);
    if (filter === undefined)
      throw new SubscribeError(`Cannot use filter ${i + 1} of ${specs.length}: "${name}" is no filter of this daemon`);
    try {
      set.add(filter, value, negated);
    } catch (error) {
      if (error instanceof FilterError) throw new SubscribeError(`Cannot use filter ${i + 1} of ${specs.length}: ${error.message}`);
      throw error;
    }
  });
  return set;
}

/**
 * What was asked for, of the past and of what is to come.
 *
 * @param now RFC 3339, by the daemon's clock: what times like `5m` count from
 * @throws {SubscribeError}
 */
export function parseSelection(message: SubscribeMessage, now: string): { past: Selection; live: Selection; until: string | undefined } {
  const specs = message.filter ?? [];
  const filters = parseFilters(specs);
  const types = message.types === undefined ? undefined : new Set(message.types);
  const context = message.context ?? false;
  const since = momentText(message.since, 'since', now);
  const until = momentText(message.until, 'until', now);
  const selection = (from: string | undefined): Selection => {
    const window = new TimeWindow(from === undefined ? undefined : parseMoment(from), until === undefined ? undefined : parseMoment(until));
    return {
      key: JSON.stringify([
        specs.map(({ name, value, negated }) => [name, value, negated]),
        [...(types ?? [])].sort(),
        context,
        from,
        until,
      ]),
      all: filters.empty && types === undefined && window.empty && !context,
      types,
      filters,
      window,
      context,
    };
  };
  const past = selection(since);
  return { past, live: since === undefined || since > now ? past : selection(undefined), until };
}

/** @throws {SubscribeError} */
function momentText(text: string | undefined, key: string, now: string): string | undefined {
  if (text === undefined) return undefined;
  try {
    const moment = parseMoment(text);
    if (moment.kind === 'at') return moment.time;
    return settledText(text, now);
  } catch (error) {
    if (error instanceof FilterError) throw new SubscribeError(`Cannot use "${key}": ${error.message}`);
    throw error;
  }
}

/** A time before now, or one without its year, in the form of the records. */
function settledText(text: string, now: string): string {
  const moment = parseMoment(text);
  if (moment.kind === 'before-end') return formatEpochMs(Date.parse(now) - moment.milliseconds);
  if (moment.kind === 'at') return moment.time;
  const inYear = parseMoment(`${now.slice(0, 4)}-${moment.rest}`);
  if (inYear.kind !== 'at') throw new SubscribeError(`Cannot use the time "${text}": it must be a time of the year ${now.slice(0, 4)}`);
  return inYear.time;
}
