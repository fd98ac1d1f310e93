import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FilterSet } from '../../src/output/filter/filter-set.ts';
import { selecting } from '../../src/output/filter/filter-sink.ts';
import { filters as known } from '../../src/output/filter/filters.ts';
import { parseMoment, TimeWindow } from '../../src/output/filter/time-window.ts';
import type { AnyRecord } from '../../src/record/record.ts';
import { bounds, type FilterSpec, type Subscription } from '../../src/stream/protocol.ts';
import { printed } from '../output/sample-options.ts';
import { flowOf, requestFlows, requestPath } from '../output/samples.ts';
import { gather, isLive, running } from './live.ts';
import { meshRecords, random } from './world.ts';

const lines = (records: readonly AnyRecord[]): string[] =>
  printed('json', records)
    .split('\n')
    .filter((line) => line !== '')
    .sort();

/** What replay lets pass of the same records with the same filters. */
function replayed(records: readonly AnyRecord[], { filter = [], since, until }: Subscription): AnyRecord[] {
  const filters = new FilterSet();
  for (const { name, value = '', negated = false } of filter) filters.add(known.find((one) => one.name === name)!, value, negated);
  const passed: AnyRecord[] = [];
  const window = new TimeWindow(since === undefined ? undefined : parseMoment(since), until === undefined ? undefined : parseMoment(until));
  const sink = selecting({ write: (record) => void passed.push(record), end() {} }, { filters, window, labelsOf: () => undefined });
  for (const record of records) sink.write(record);
  sink.end();
  return passed;
}

const choices: FilterSpec[] = [
  { name: 'pod', value: 'client' },
  { name: 'pod', value: 'shop/reviews' },
  { name: 'from-namespace', value: 'shop' },
  { name: 'to-service', value: 'default/productpage' },
  { name: 'port', value: '9080' },
  { name: 'protocol', value: 'udp' },
  { name: 'protocol', value: 'http' },
  { name: 'ip', value: '10.244.0.0/16' },
  { name: 'leg', value: 'app-to-proxy' },
  { name: 'http-status', value: '4+' },
  { name: 'http-status', value: '503' },
  { name: 'http-method', value: 'post' },
  { name: 'http-path', value: '^/product(page)?$' },
  { name: 'cluster', value: 'outbound|80|*' },
  { name: 'finding', value: 'no-route' },
  { name: 'ipv4' },
  { name: 'verdict', value: 'REDIRECT' },
];

test('filters in the daemon let pass what filters of replay let pass, of the past and of what comes', async (t) => {
  const { server, path } = await running(t, { holdMs: 3000, limits: { perUser: 100 } });
  const records = meshRecords(120, 7);
  const next = random(11);
  const subscriptions: Subscription[] = choices.map((one) => ({ filter: [one] }));
  for (let i = 0; i < 24; i++) {
    const filter = Array.from({ length: 1 + Math.floor(next() * 3) }, () => ({
      ...choices[Math.floor(next() * choices.length)]!,
      ...(next() < 0.25 ? { negated: true } : {}),
    }));
    subscriptions.push({ filter });
  }
  subscriptions.push({ since: '2026-11-23T06:22:40Z' }, { since: '2026-11-23T06:22:40Z', until: '2026-11-23T06:23:10Z' });
  subscriptions.push({ filter: [{ name: 'http-status', value: '503' }], since: '2026-11-23T06:22:40Z', until: '2026-11-23T06:23:10Z' });
  const live = subscriptions
    .filter(({ until }) => until === undefined)
    .map((subscription) => ({ subscription, got: gather(t, path, subscription) }));
  for (const { got } of live) await got.until(isLive);
  // Paths, flows and findings in any order, in pieces that do not come at once.
  const shuffled = records.map((record) => ({ record, at: next() })).sort((a, b) => a.at - b.at);
  for (let at = 0; at < shuffled.length; at += 25) {
    server.publish(shuffled.slice(at, at + 25).map(({ record }) => record));
    await new Promise((resolve) => setTimeout(resolve, 3));
  }
  for (const subscription of subscriptions) {
    const past = gather(t, path, { ...subscription, follow: false });
    await past.end;
    assert.deepEqual(lines(past.records), lines(replayed(records, subscription)), JSON.stringify(subscription));
  }
  for (const { subscription, got } of live) {
    if (subscription.since !== undefined) continue;
    const wanted = replayed(records, subscription);
    await got.until(({ records: { length } }) => length >= wanted.length, `live ${JSON.stringify(subscription)}: ${wanted.length} records`);
    assert.deepEqual(lines(got.records), lines(wanted), `live ${JSON.stringify(subscription)}`);
    assert.deepEqual(got.lost, []);
  }
});

test('the last so many of each type are sent, with and without filters', async (t) => {
  const { server, path } = await running(t);
  const records = meshRecords(200, 3);
  for (let at = 0; at < records.length; at += 40) {
    server.publish(records.slice(at, at + 40));
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const all = gather(t, path, { follow: false });
  await all.end;
  assert.deepEqual(lines(all.records), lines(records));
  const ofType = (list: readonly AnyRecord[], type: string): AnyRecord[] => list.filter((record) => record.type === type);
  for (const filter of [undefined, [{ name: 'http-status', value: '200' }], [{ name: 'port', value: '80' }]]) {
    const whole = gather(t, path, { follow: false, ...(filter === undefined ? {} : { filter }) });
    await whole.end;
    for (const last of [0, 1, 7, 100_000]) {
      const got = gather(t, path, { follow: false, last, ...(filter === undefined ? {} : { filter }) });
      await got.end;
      for (const type of ['flow', 'path', 'finding'])
        assert.deepEqual(ofType(got.records, type), last === 0 ? [] : ofType(whole.records, type).slice(-last), `${last} of ${type}`);
    }
  }
  const types = gather(t, path, { follow: false, last: 5, types: ['path'] });
  await types.end;
  assert.deepEqual(ofType(types.records, 'path'), ofType(all.records, 'path').slice(-5));
  assert.equal(types.records.length, 6, 'a loss behind them comes, too');
});

test('flows of a path that passes come with it where they are asked for', async (t) => {
  const { server, path } = await running(t);
  const [first, second] = [
    gather(t, path, { filter: [{ name: 'from-ip', value: '127.0.0.6' }], context: true }),
    gather(t, path, { filter: [{ name: 'from-ip', value: '127.0.0.6' }] }),
  ];
  await Promise.all([first.until(isLive), second.until(isLive)]);
  server.publish([...requestFlows, flowOf(), requestPath]);
  await Promise.all([first, second].map((one) => one.until(({ records }) => records.length === 2)));
  assert.deepEqual(
    first.records.map((record) => (record as { id: string }).id),
    ['fb2', 'p1'],
  );
  assert.deepEqual(
    first.context.map(({ id }) => id),
    ['fa1', 'fa2', 'fb1'],
  );
  assert.deepEqual(second.context, []);
  // Who comes later has seen none of them.
  const late = gather(t, path, { context: true });
  await late.until(isLive);
  server.publish([{ ...requestPath, event: 'update' }]);
  await late.until(({ records }) => records.length === 1);
  assert.deepEqual(
    late.context.map(({ id }) => id),
    ['fa1', 'fa2', 'fb1', 'fb2'],
  );
});

const refused: [what: string, subscription: object, says: RegExp][] = [
  ['a filter that is none', { filter: [{ name: 'colour', value: 'red' }] }, /filter 1 of 1: "colour" is no filter/],
  ['a value that is none', { filter: [{ name: 'ipv4' }, { name: 'ip', value: 'x' }] }, /filter 2 of 2: .*address "x"/],
  ['too many filters', { filter: Array.from({ length: bounds.filters + 1 }, () => ({ name: 'ipv4' })) }, /"filter" must be <=64/],
  [
    'too long filters',
    { filter: [1, 2].map(() => ({ name: 'pod', value: 'a'.repeat(bounds.filterText - 10) })) },
    /at most 4096 are taken in all/,
  ],
  ['look-around', { filter: [{ name: 'http-path', value: '(?=a)a' }] }, /syntax of RE2/],
  [
    'a pattern that would backtrack',
    { filter: [{ name: 'http-path', value: '((a{1,60}){1,60}){1,60}$' }] },
    /must be simpler|syntax of RE2/,
  ],
  ['a time that is none', { since: 'yesterday' }, /"since": Cannot read the time "yesterday"/],
  ['a type that is none', { types: ['packet'] }, /"types.0" must be/],
  ['no types', { types: [] }, /"types" must be >=1/],
  ['too many', { last: 1e9 }, /"last" must be <=100000/],
  ['a record of the future', { resume: { boot: 'BOOT', seq: 5 } }, /Cannot resume behind record 5/],
  ['a field that nobody knows', { tail: true }, /"tail" must be never/],
];

for (const [what, subscription, says] of refused)
  test(`${what} is refused, with what was wanted`, async (t) => {
    const { path } = await running(t, { boot: 'BOOT' });
    await assert.rejects(gather(t, path, subscription as Subscription).end, (error: Error) => {
      assert.match(error.message, says);
      return true;
    });
  });

test('100,000 random filters are read in 5 ms each at most, and never stop the daemon', () => {
  const next = random(5);
  const letters = '()[]{}*+?|.\\^$abc019-,:<>=!é/'.split('');
  let slowest = 0;
  for (let i = 0; i < 100_000; i++) {
    const filter = known[Math.floor(next() * known.length)]!;
    const value = Array.from({ length: Math.floor(next() * 24) }, () => letters[Math.floor(next() * letters.length)]).join('');
    const set = new FilterSet();
    const begun = performance.now();
    try {
      set.add(filter, value, next() < 0.5);
      for (const flow of requestFlows) set.passes({ flow, path: requestPath }, { labelsOf: () => undefined, findingsOf: () => new Set() });
    } catch (error) {
      assert.ok(error instanceof TypeError, String(error));
    }
    // The machine itself may pause once in a while.
    if (i > 1000) slowest = Math.max(slowest, performance.now() - begun);
  }
  assert.ok(slowest < 100, `the slowest took ${slowest} ms`);
});
