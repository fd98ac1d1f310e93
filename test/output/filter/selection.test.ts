import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FilterSet } from '../../../src/output/filter/filter-set.ts';
import { type Selection, selecting } from '../../../src/output/filter/filter-sink.ts';
import { filters } from '../../../src/output/filter/filters.ts';
import { parseMoment, TimeWindow } from '../../../src/output/filter/time-window.ts';
import type { AnyRecord } from '../../../src/record/record.ts';
import { everything, flowOf, requestFlows, requestPath, total } from '../samples.ts';

function select(
  records: readonly AnyRecord[],
  flags: readonly (readonly [flag: string, value: string, negated?: boolean])[],
  limits: Partial<Selection> = {},
): { passed: string[]; context: string[] } {
  const set = new FilterSet();
  for (const [flag, value, negated] of flags) set.add(filters.find(({ name }) => name === flag)!, value, negated ?? false);
  const passed: string[] = [];
  const context: string[] = [];
  const name = (record: AnyRecord): string => ('id' in record ? record.id : record.type);
  const sink = selecting(
    {
      write: (record) => {
        passed.push(name(record));
      },
      context: (flow) => {
        context.push(flow.id);
      },
      end: () => {
        passed.push('end');
      },
    },
    { filters: set, window: new TimeWindow(undefined, undefined), labelsOf: () => undefined, ...limits },
  );
  for (const record of records) sink.write(record);
  sink.end();
  return { passed, context };
}

test('without filters everything passes, in order', () => {
  assert.deepEqual(select(everything, []).passed, ['fa1', 'fa2', 'fb1', 'fb2', 'p1', 'fa3', 'fa4', 'lost', 'n1', 'total', 'end']);
});

test('a path passes if one of its flows does; its other flows go along as context; losses and the total stay', () => {
  assert.deepEqual(select(everything, [['leg', 'app-to-proxy']]), {
    passed: ['fa1', 'p1', 'lost', 'total', 'end'],
    context: ['fa2', 'fb1', 'fb2'],
  });
});

test('a path that comes before its flows waits for them', () => {
  assert.deepEqual(select([requestPath, ...requestFlows, total], [['leg', 'proxy-to-app']]).passed, ['fb2', 'p1', 'total', 'end']);
});

test('a finding passes with one of its flows', () => {
  assert.deepEqual(select(everything, [['leg', 'client-to-proxy']]).passed, ['fb1', 'p1', 'lost', 'n1', 'total', 'end']);
});

test('a filter on requests lets the flows of the matching requests pass, and only those paths', () => {
  const failed = { ...requestPath, id: 'p2', request: { status: 503 }, legs: [requestPath.legs[0]!], joins: [] };
  const flows = requestFlows.map((flow) => (flow.id === 'fa1' ? { ...flow, paths: ['p1', 'p2'] } : flow));
  assert.deepEqual(select([...flows, requestPath, failed, total], [['http-status', '5+']]).passed, ['fa1', 'p2', 'total', 'end']);
  assert.deepEqual(select([...flows, requestPath, failed, total], [['http-status', '5+', true]]).passed, [
    'fa1',
    'fa2',
    'fb1',
    'fb2',
    'p1',
    'total',
    'end',
  ]);
});

const at = (second: number): string => `2026-11-23T06:22:${second}.000000000Z`;
const minute = [10, 20, 30, 40, 50].map((second) => flowOf({ id: `s${second}`, first: at(second), last: at(second + 1) }));

const windows: [since: string | undefined, until: string | undefined, passed: string[]][] = [
  ['2026-11-23T06:22:31Z', undefined, ['s30', 's40', 's50']],
  ['2026-11-23T06:22:31.000000001Z', undefined, ['s40', 's50']],
  [undefined, '2026-11-23T06:22:20Z', ['s10', 's20']],
  ['15s', undefined, ['s40', 's50']],
  ['30s', '20s', ['s20', 's30']],
  ['2026-11-23', undefined, ['s10', 's20', 's30', 's40', 's50']],
  ['2026-11-24', undefined, []],
  ['Nov 23 06:22:41.000', undefined, ['s40', 's50']],
  ['2026-11-23T08:22+02:00', '2026-11-23T08:22:21+02:00', ['s10', 's20']],
  ['Mon, 23 Nov 2026 06:22:45 +0000', undefined, ['s50']],
];
for (const [since, until, passed] of windows)
  test(`--since ${since} --until ${until} lets pass what touches it`, () => {
    const moment = (text: string | undefined) => (text === undefined ? undefined : parseMoment(text));
    const window = new TimeWindow(moment(since), moment(until));
    assert.deepEqual(select([...minute, total], [], { window }).passed.slice(0, -2), passed);
  });

test('parseMoment() reads times before the end', () => {
  assert.deepEqual(
    ['3s', '4m', '1h43', '1h43m', '1.5s', '250ms', '2d'].map(parseMoment),
    [3000, 240_000, 6_180_000, 6_180_000, 1500, 250, 172_800_000].map((milliseconds) => ({ kind: 'before-end', milliseconds })),
  );
  for (const text of ['', 'soon', '5', '5x', '2026-13-45', '-5m', 'Foo 23 06:22:41'])
    assert.throws(() => parseMoment(text), /Cannot read the time/);
});

test('--first and --last count flows, and paths', () => {
  assert.deepEqual(select([...minute, total], [], { first: 2 }).passed, ['s10', 's20', 'total', 'end']);
  assert.deepEqual(select([...minute, total], [], { last: 2 }).passed, ['s40', 's50', 'total', 'end']);
  assert.deepEqual(select([...requestFlows, requestPath, total], [], { last: 1 }), {
    passed: ['fb2', 'p1', 'total', 'end'],
    context: ['fa1', 'fa2', 'fb1'],
  });
});
