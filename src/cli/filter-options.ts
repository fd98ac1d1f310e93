/** The filter flags, in the order in which they stand on the command line: `--not` belongs to the next one. */
import type { Command } from 'commander';
import type { Filter } from '../output/filter/filter.ts';
import { FilterSet } from '../output/filter/filter-set.ts';
import { filters } from '../output/filter/filters.ts';
import { parseMoment, TimeWindow } from '../output/filter/time-window.ts';
import { UsageError } from './failure.ts';

const HEADING = 'Filters (the same one twice: either; different ones: both):';

export interface GivenFilters {
  readonly filters: FilterSet;
  /** The same as they were given, for a daemon. */
  readonly specs: readonly GivenFilter[];
  /** `--not` stands at the end, in front of nothing. */
  readonly danglingNot: boolean;
}

export interface GivenFilter {
  readonly name: string;
  readonly value: string;
  readonly negated: boolean;
}

/** Adds a flag for every filter; what is given gathers in the result while the command line is read. */
export function addFilterOptions(command: Command): GivenFilters {
  const set = new FilterSet();
  const specs: GivenFilter[] = [];
  let negated = false;
  const take = (filter: Filter, value: string): void => {
    set.add(filter, value, negated);
    specs.push({ name: filter.name, value, negated });
    negated = false;
  };
  command.addOption(command.createOption('--not', 'the next filter must not match').helpGroup(HEADING));
  command.on('option:not', () => {
    negated = true;
  });
  for (const filter of filters) {
    const short = filter.short === undefined ? '' : `-${filter.short}, `;
    const option = command
      .createOption(`${short}--${filter.name}${filter.value === undefined ? '' : ` <${filter.value}>`}`, filter.summary)
      .helpGroup(HEADING);
    if (filter.value === undefined) command.on(`option:${filter.name}`, () => take(filter, ''));
    else
      option.argParser((value: string) => {
        take(filter, value);
        return value;
      });
    command.addOption(option);
  }
  return {
    filters: set,
    specs,
    get danglingNot() {
      return negated;
    },
  };
}

const LIMITS = 'Limits:';

export function addLimitOptions(command: Command): void {
  const add = (flags: string, summary: string): void => {
    command.addOption(command.createOption(flags, summary).helpGroup(LIMITS));
  };
  add('--since <TIME>', 'only what lasts beyond this time: RFC 3339, a date, or a time before the end of the recording (90s, 5m, 1h43)');
  add('--until <TIME>', 'only what began before this time');
  add('--first <N>', 'the first N flows, and the first N paths');
  add('--last <N>', 'the last N flows, and the last N paths');
}

export interface LimitOptions {
  readonly since?: string;
  readonly until?: string;
  readonly first?: string;
  readonly last?: string;
}

export interface Limits {
  readonly window: TimeWindow;
  readonly first?: number;
  readonly last?: number;
}

/** @throws {UsageError} for a number that is none, or both ends; {FilterError} for a time that is none */
export function parseLimits({ since, until, first, last }: LimitOptions): Limits {
  if (first !== undefined && last !== undefined) throw new UsageError('Cannot give --first and --last together: one of them is wanted');
  const count = (flag: string, text: string): number => {
    if (!/^\d{1,9}$/.test(text)) throw new UsageError(`Cannot take "${text}" for ${flag}: a whole number is wanted`);
    return Number(text);
  };
  return {
    window: new TimeWindow(since === undefined ? undefined : parseMoment(since), until === undefined ? undefined : parseMoment(until)),
    ...(first === undefined ? {} : { first: count('--first', first) }),
    ...(last === undefined ? {} : { last: count('--last', last) }),
  };
}
