/** What other nodes tell late, wrongly or not at all must make no join surer than it is. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AnyRecord, PathRecord } from '../../src/record/record.ts';
import { joined } from './halves.ts';
import { base, flow, into, out, part, stamp } from './told-parts.ts';

const connection = [flow('up', 'a', 'proxy-to-upstream', 1, 9000, 600), flow('in', 'b', 'client-to-proxy', 1.5, 9000, 600)];

const crossed = (paths: readonly PathRecord[]) =>
  paths.filter(({ legs }) => legs.length === 4).map(({ joins }) => `${joins[1]!.by} ${joins[1]!.evidence}`);
const tell = (records: readonly AnyRecord[]) =>
  joined(
    base,
    records.map((record) => ({ record, atMs: 0 })),
  );

test('a request of which the path was not read may be the other one', () => {
  // a0 is b1, whose path nobody could read; a1, whose path nobody could read, is b0.
  const { paths } = tell([
    ...connection,
    out('a0', 10, 60),
    out('a1', 11, 61, { method: 'GET', status: 200 }),
    into('b0', 15, 50),
    into('b1', 16, 51, { method: 'GET', status: 200 }),
  ]);
  assert.deepEqual(crossed(paths), []);
});

test('a request that the other node answered itself is not the one, answered otherwise, that was mirrored or tried again there', () => {
  const { paths } = tell([
    ...connection,
    out('a0', 10, 60, { method: 'GET', path: '/x', status: 429 }),
    into('b0', 15, 50, { method: 'GET', path: '/x', status: 503 }),
  ]);
  assert.deepEqual(crossed(paths), []);
});

test('what is mirrored to where another request goes is not that request', () => {
  const { paths } = tell([
    ...connection,
    out('a0', 10, 60, { method: 'GET', authority: 'shop', path: '/x', status: 200 }),
    into('b0', 15, 50, { method: 'GET', authority: 'shop-shadow', path: '/x', status: 200 }),
  ]);
  assert.deepEqual(crossed(paths), []);
});

test('clocks drift: an hour after the handshake they are known less well', () => {
  const hour = 3_600_000;
  // By a's clock b0 lies from 20 to 90 and belongs to a0; b's clock went 50 ms ahead since.
  const { paths } = tell([
    ...connection,
    out('a0', hour, hour + 100),
    out('a1', hour + 60, hour + 160),
    into('b0', hour + 20 + 50, hour + 90 + 50),
    into('b1', hour + 65 + 50, hour + 155 + 50),
  ]);
  assert.deepEqual(crossed(paths), []);
});

test('a request that was given up before its server answered tells nothing of clocks', () => {
  const { joiner } = tell([
    ...connection,
    out('a0', 1000, 2000, { method: 'GET', path: '/x', status: 504 }, 700),
    into('b0', 1900, 2500, { method: 'GET', path: '/x', status: 200 }, 700),
  ]);
  const offset = joiner.offsets.between('a', 'b')!;
  assert.ok(Math.abs(offset.ns) <= offset.errorNs, JSON.stringify(offset));
});

test('what a subscriber lost was told after it happened', () => {
  const lost = {
    type: 'lost',
    source: 'subscriber_queue',
    scope: { node: 'b', subscriber: 's' },
    count: 1,
    exact: true,
    total: 1,
    first: stamp(500),
    last: stamp(600),
  } as const;
  // a1 is another request of the same time, b1 was lost; a0 was answered by b's proxy.
  const { paths } = tell([...connection, lost, out('a0', 10, 60), into('b0', 15, 50)]);
  assert.deepEqual(crossed(paths), []);
});

test('the parent of a call that was told long ago does not make it another path', () => {
  const many = Array.from(
    { length: 12_000 },
    (_, i): PathRecord => ({ ...part(`x${i}`, 'a', 20, 30, [[`f${i}`, 'app-to-proxy']], { path: '/' }), joins: [] }),
  );
  const a0 = out('a0', 10, 60, undefined, 700);
  const atOnce = [...connection, a0, into('b0', 15, 50, undefined, 700), ...many].map((record) => ({ record, atMs: 0 }));
  const late: PathRecord = { ...a0, event: 'update', parent: 'p' };
  const { paths } = joined(base, [...atOnce, { record: late, atMs: 10_000 }, { record: many[0]!, atMs: 20_000 }]);
  assert.deepEqual(
    paths.filter(({ legs }) => legs.some(({ flow: id }) => id === 'up')).map(({ id, event, legs }) => `${id} ${event} ${legs.length}`),
    ['b0 close 4'],
  );
});

test('a port that is used again: a connection whose handshake was not seen is that of the two that was there then', () => {
  const [first, second] = [flow('up', 'a', 'proxy-to-upstream', 1, 1000, 600), flow('up2', 'a', 'proxy-to-upstream', 10_000, 12_000, 900)];
  const arrived = flow('in', 'b', 'client-to-proxy', 10_100, 12_000, undefined);
  for (const flows of [
    [first, arrived, second],
    [first, second, arrived],
  ]) {
    const { paths } = tell([...flows, into('b0', 11_000, 11_050, undefined, 700)]);
    assert.deepEqual(
      paths.map(({ legs }) => legs.map(({ flow: id }) => id).join(' ')).filter((legs) => legs.startsWith('up ')),
      [],
    );
  }
});
