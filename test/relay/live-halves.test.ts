/** What two daemons tell as it happens, each for its node, joined: the same paths as one daemon tells that sees both. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AnyRecord, PathRecord } from '../../src/record/record.ts';
import { Tail } from '../../src/relay/tail.ts';
import { watch } from '../daemon/engine/watched-recording.ts';
import { type Arrival, joined, shape } from './halves.ts';

const LINGER_S = 8;

interface Told {
  readonly node: string;
  readonly record: AnyRecord;
  readonly atMs: number;
}

function toldBy(name: string, node: string): Told[] {
  const told: Told[] = [];
  watch(`captures/${name}/${node}.tar.gz`, {
    linger: LINGER_S,
    told: (record, atMs) => {
      if (record.type !== 'total') told.push({ node, record, atMs });
    },
  });
  return told;
}

/** The newest state of each path. */
function newest(records: readonly AnyRecord[]): PathRecord[] {
  const paths = records.filter((record) => record.type === 'path');
  return [...new Map(paths.map((path) => [path.id, path])).values()];
}

/** One request of the failures ran into a time-out: together its place on the connection is not known, apart method, path and time tell it (path-joiner.test.ts). */
const comparable = (paths: readonly PathRecord[]): PathRecord[] => paths.filter(({ request }) => request?.path !== '/slow');
const shapes = (paths: readonly PathRecord[]): string[] => comparable(paths).map(shape).sort();

for (const name of ['bookinfo', 'failures', 'port-excluded', 'server-first', 'tproxy'] as const) {
  const told = [...toldBy(name, 'node-a'), ...toldBy(name, 'node-b')].sort((a, b) => a.atMs - b.atMs);
  const whole = newest(watch(`captures/${name}`, { linger: LINGER_S }));

  test(`${name}, as it happens: the paths of two daemons are those of one that sees both nodes`, () => {
    const arrivals: Arrival[] = told;
    const { paths } = joined({ epochSeconds: Math.floor(told[0]!.atMs / 1000) }, arrivals);
    assert.deepEqual(shapes(newest(paths)), shapes(whole));
    assert.ok(newest(paths).filter(({ complete }) => complete).length >= whole.filter(({ complete }) => complete).length - 1);
    assert.equal(
      newest(paths).filter(({ parent }) => parent !== undefined).length,
      whole.filter(({ parent }) => parent !== undefined).length,
    );
  });

  // A connection of the failures is told as open before it is known whose it is; all at once that is told before the other node is heard.
  if (name !== 'failures')
    test(`${name}, all at once from what daemons kept: the same`, () => {
      for (const order of [
        ['node-a', 'node-b'],
        ['node-b', 'node-a'],
      ] as const) {
        const out: AnyRecord[] = [];
        const tail = new Tail(
          { windowMs: 1000, waitMs: 2000, join: true, past: true },
          { write: (record) => out.push(record), context: () => {} },
        );
        for (const node of order) tail.up(node, node);
        // First all that the one kept, then all of the other, within some milliseconds.
        order.forEach((node, i) => {
          for (const { record } of told.filter((one) => one.node === node)) tail.record(node, record, i * 20);
        });
        tail.end(60);
        assert.deepEqual(shapes(newest(out)), shapes(whole), order.join());
      }
    });

  test(`${name}: a daemon that falls silent does not keep the other's paths back`, () => {
    const out: AnyRecord[] = [];
    let latestMs = 0;
    const tail = new Tail(
      { windowMs: 1000, waitMs: 2000, join: true, past: false },
      { write: (record) => out.push(record), context: () => {} },
    );
    tail.up('a', 'node-a');
    tail.up('b', 'node-b');
    const own = told.filter(({ node }) => node === 'node-a');
    const first = own[0]!.atMs;
    for (const { record, atMs } of own) {
      tail.record('a', record, atMs - first);
      latestMs = atMs - first;
    }
    // The window, and the wait behind it.
    tail.tick(latestMs + 1000);
    tail.tick(latestMs + 3001);
    const ids = new Set(own.flatMap(({ record }) => (record.type === 'path' ? [record.id] : [])));
    assert.equal(newest(out).length, ids.size);
    assert.equal(out.filter(({ type }) => type === 'flow').length, own.filter(({ record }) => record.type === 'flow').length);
  });
}
