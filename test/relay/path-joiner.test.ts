/** What two nodes tell, each for itself, joined: the same paths as when both are read together. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { TimeBase } from '../../src/net/time.ts';
import type { FlowRecord, PathRecord } from '../../src/record/record.ts';
import { type Arrival, crossings, halvesOf, joined, shape, shifted, toldMs, twoNodes } from './halves.ts';
import { base, flow, into, out, stamp } from './told-parts.ts';

/** In the recording of failures, one request ran into a time-out: its place on the connection is not known, so reading both nodes together leaves it open. Method, path and time tell. */
const OPEN_IN_WHOLE = new Set(['/slow']);

function arrivalsOf(name: string): Arrival[] {
  const { base, a, b } = halvesOf(name);
  return [...a, ...b].map((record) => ({ record, atMs: toldMs(base, record) }));
}

function counted(paths: readonly PathRecord[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const path of paths) counts.set(shape(path), (counts.get(shape(path)) ?? 0) + 1);
  return counts;
}

function unequal(
  whole: readonly PathRecord[],
  merged: readonly PathRecord[],
): { readonly missing: PathRecord[]; readonly extra: PathRecord[] } {
  const [inWhole, inMerged] = [counted(whole), counted(merged)];
  return {
    missing: whole.filter((path) => inMerged.get(shape(path)) !== inWhole.get(shape(path))),
    extra: merged.filter((path) => inMerged.get(shape(path)) !== inWhole.get(shape(path))),
  };
}

for (const name of twoNodes)
  test(`${name}: the halves of both nodes make the paths of the whole, leg for leg and join for join`, () => {
    const { base, whole } = halvesOf(name);
    const { paths } = joined(base, arrivalsOf(name));
    const { missing, extra } = unequal(whole, paths);
    const explained = (path: PathRecord) => name === 'failures' && OPEN_IN_WHOLE.has(path.request?.path ?? '');
    assert.deepEqual([missing.filter((path) => !explained(path)), extra.filter((path) => !explained(path))], [[], []]);
    assert.ok(missing.length <= 2);
    const places = (path: PathRecord) => path.legs.map(({ seq }) => seq);
    for (const path of paths) {
      const same = whole.filter((other) => shape(other) === shape(path));
      const agrees = (other: PathRecord) =>
        places(other).every((seq, i) => seq === undefined || places(path)[i] === undefined || seq === places(path)[i]);
      assert.ok(explained(path) || same.some(agrees), `${path.id} lies where it lies in the whole`);
    }
    assert.equal(new Set(paths.map(({ id }) => id)).size, paths.length, 'each path is told once, under an id of its own');
    assert.ok(paths.every(({ event }, i) => event === 'close' || paths[i]!.event !== 'open'));
  });

test('bookinfo and the failures have what the others need: paths over both nodes, in both directions', () => {
  const over = twoNodes.flatMap((name) => halvesOf(name).whole).filter(({ legs }) => new Set(legs.map(({ node }) => node)).size > 1);
  assert.ok(over.length >= 30, `at least 30 paths over both nodes are wanted, there are ${over.length}`);
  assert.equal(new Set(over.map(({ legs }) => legs[0]!.node)).size, 2);
});

test('a path over two nodes is one record: decisions and times of both, the parent, the request as its client asked it', () => {
  const { base, whole } = halvesOf('bookinfo');
  const { paths } = joined(base, arrivalsOf('bookinfo'));
  const long = paths.filter(({ legs, of }) => legs.length === 4 && of === 'request' && legs[0]!.node !== legs[3]!.node);
  assert.ok(long.length >= 10);
  for (const path of long) {
    const same = whole.find((other) => shape(other) === shape(path) && other.first === path.first)!;
    assert.deepEqual(path.decisions, same.decisions);
    assert.deepEqual(path.latency, same.latency);
    assert.deepEqual(path.request, same.request);
    assert.equal(path.complete, same.complete);
    assert.equal(path.event, 'close');
    assert.deepEqual([path.first, path.last], [same.first, same.last]);
  }
});

test('the parent of a path is named by the id under which the parent is told', () => {
  const { base, whole } = halvesOf('bookinfo');
  const { paths } = joined(base, arrivalsOf('bookinfo'));
  const ids = new Set(paths.map(({ id }) => id));
  const children = paths.filter(({ parent }) => parent !== undefined);
  assert.equal(children.length, whole.filter(({ parent }) => parent !== undefined).length);
  for (const { id, parent } of children) assert.ok(ids.has(parent!), `the parent ${parent} of ${id} is told`);
});

test('clocks that are an hour apart change nothing, and their offset is found', () => {
  for (const name of ['bookinfo', 'failures', 'port-excluded', 'tproxy'] as const) {
    const { base, a, b } = halvesOf(name);
    const plain = joined(base, arrivalsOf(name));
    for (const aheadNs of [-3_600e9, -1_234_567, 250e6, 29e9]) {
      const arrivals = [
        ...a.map((record) => ({ record, atMs: toldMs(base, record) })),
        // They arrive when they happen, whatever the node's clock says.
        ...b.map((record) => ({ record: shifted(record, base, aheadNs), atMs: toldMs(base, record) })),
      ];
      const { paths, joiner } = joined(base, arrivals);
      assert.deepEqual([...counted(paths)].sort(), [...counted(plain.paths)].sort(), `${name}, clock ahead by ${aheadNs} ns`);
      const offset = joiner.offsets.between('node-a', 'node-b');
      assert.ok(
        offset !== undefined && Math.abs(offset.ns - aheadNs) <= offset.errorNs,
        `${name}: ${JSON.stringify(offset)} holds ${aheadNs}`,
      );
    }
  }
});

test('in whatever order and however late within the wait the records come, the paths are the same', () => {
  const name = 'bookinfo';
  const { base, a, b } = halvesOf(name);
  const wanted = [...counted(joined(base, arrivalsOf(name)).paths)].sort();
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 900 }),
      fc.integer({ min: 0, max: 900 }),
      fc.array(fc.integer({ min: 0, max: 900 }), { minLength: 50, maxLength: 50 }),
      (lateA, lateB, jitter) => {
        const arrivals = [
          ...a.map((record, i) => ({ record, atMs: toldMs(base, record) + lateA + jitter[i % 50]! })),
          ...b.map((record, i) => ({ record, atMs: toldMs(base, record) + lateB + jitter[(i * 7) % 50]! })),
        ];
        assert.deepEqual([...counted(joined(base, arrivals, 4000).paths)].sort(), wanted);
      },
    ),
    { numRuns: 60, seed: 4 },
  );
});

test('whatever is lost on the way, no path crosses to another node that did not in the whole', () => {
  for (const name of ['bookinfo', 'failures', 'tproxy'] as const) {
    const { base, whole } = halvesOf(name);
    const arrivals = arrivalsOf(name);
    const right = new Set(whole.flatMap(crossings));
    // The connection is the same whatever is known of the request: a crossing that ends, or begins, at it is right when the connections are.
    const connections = new Set([...right].map((crossing) => crossing.split(' ').slice(1, 4).join(' ')));
    const pairs = new Map(
      whole.filter(({ of, request }) => of === 'request' && request?.id !== undefined).map((path) => [shape(path), path]),
    );
    assert.ok(pairs.size > 0);
    fc.assert(
      fc.property(fc.array(fc.nat(99), { minLength: 97, maxLength: 97 }), fc.integer({ min: 1, max: 60 }), (dice, share) => {
        const kept = arrivals.filter((_, i) => dice[(i * 31) % 97]! >= share);
        for (const path of joined(base, kept).paths)
          for (const crossing of crossings(path)) {
            assert.ok(connections.has(crossing.split(' ').slice(1, 4).join(' ')), `${crossing} is a connection of the whole`);
            if (path.request?.path !== undefined && OPEN_IN_WHOLE.has(path.request.path)) continue;
            const [before, , , , behind] = crossing.split(' ');
            if (before !== '' && behind !== '') assert.ok(right.has(crossing), `${crossing} of ${path.id} was in the whole`);
          }
      }),
      { numRuns: 60, seed: 5 },
    );
  }
});

test('two requests that share a connection and are alike stay apart when nothing tells them, with candidates', () => {
  const { base, records } = twins();
  const { paths } = joined(
    base,
    records.map((record) => ({ record, atMs: toldMs(base, record) })),
  );
  const asked = paths.filter(({ legs }) => legs[0]!.flow === 'down');
  assert.equal(asked.length, 2);
  for (const path of asked) {
    assert.equal(path.complete, false);
    assert.deepEqual(
      path.legs.map(({ flow }) => flow),
      ['down', 'up', 'in'],
    );
    assert.deepEqual(path.joins.at(-1), {
      from: 2,
      to: 2,
      by: 'order',
      evidence: 'ambiguous',
      candidates: ['app'],
      reason: 'several-upstreams',
    });
  }
  const served = paths.filter(({ legs }) => legs[0]!.flow === 'up');
  assert.deepEqual(
    served.map(({ legs }) => legs.map(({ flow }) => flow)),
    [
      ['up', 'in', 'app'],
      ['up', 'in', 'app'],
    ],
  );
});

test('… and whichever of them came first, within the wait, leaves nothing surer for the others', () => {
  const { base, records } = twins();
  const ids = ['a0', 'a1', 'b0', 'b1'];
  const orders = (left: readonly string[]): string[][] =>
    left.length === 0 ? [[]] : left.flatMap((id) => orders(left.filter((other) => other !== id)).map((rest) => [id, ...rest]));
  for (const order of orders(ids))
    for (const apartMs of [1, 100, 1900]) {
      const { paths } = joined(
        base,
        records.map((record) => ({ record, atMs: record.type === 'flow' ? 0 : order.indexOf(record.id) * apartMs })),
      );
      assert.deepEqual(
        paths.map(({ legs }) => legs.length),
        [3, 3, 3, 3],
        `${order} each ${apartMs} ms`,
      );
    }
});

test('the sequence number at which they lie tells them apart', () => {
  const { base, records } = twins([700, 900]);
  const { paths } = joined(
    base,
    records.map((record) => ({ record, atMs: toldMs(base, record) })),
  );
  assert.deepEqual(
    paths.map(({ id, legs, joins }) => [id, legs.map(({ flow }) => flow).join(' '), joins[1]?.by, joins[1]?.evidence]),
    [
      ['b0', 'down up in app', 'tuple', 'observed'],
      ['b1', 'down up in app', 'tuple', 'observed'],
    ],
  );
});

test('requests that differ in their sequence numbers are never one, were they the only ones', () => {
  const { base, records } = twins([700, 900]);
  const some = records.filter((record) => record.type === 'flow' || record.id === 'a0' || record.id === 'b1');
  const { paths } = joined(
    base,
    some.map((record) => ({ record, atMs: toldMs(base, record) })),
  );
  assert.deepEqual(paths.map(({ id }) => id).sort(), ['a0', 'b1']);
  assert.equal(paths.find(({ id }) => id === 'a0')?.joins.length, 2);
});

test('one request alone on a connection is joined by what was asked and when, unless something was lost meanwhile', () => {
  const { base, records } = twins();
  const some = records.filter((record) => record.type === 'flow' || record.id === 'a0' || record.id === 'b0');
  const arrivals = some.map((record) => ({ record, atMs: toldMs(base, record) }));
  const [path, ...rest] = joined(base, arrivals).paths;
  assert.deepEqual(rest, []);
  assert.deepEqual(path?.joins[1], { from: 1, to: 2, by: 'order', evidence: 'derived' });
  assert.equal(path?.id, 'b0');
  const lost = {
    type: 'lost',
    source: 'ring',
    scope: { node: 'b' },
    count: 3,
    exact: true,
    total: 3,
    first: stamp(20),
    last: stamp(20),
  } as const;
  const { paths } = joined(base, [...arrivals, { record: lost, atMs: 1 }]);
  assert.deepEqual(paths.map(({ legs }) => legs.length).sort(), [3, 3]);
});

test('a request that does not lie within the other in time is another one, were it the only one', () => {
  const { base, records } = twins();
  const some = records.filter((record) => record.type === 'flow' || record.id === 'a0' || record.id === 'b0');
  for (const [from, to] of [
    [70, 80],
    [5, 50],
    [15, 75],
  ] as const) {
    const moved = some.map((record) => (record.id === 'b0' ? { ...record, first: stamp(from), last: stamp(to) } : record));
    const { paths } = joined(
      base,
      moved.map((record) => ({ record, atMs: toldMs(base, record) })),
    );
    assert.deepEqual(paths.map(({ legs }) => legs.length).sort(), [3, 3], `${from} to ${to} ms is not within 10 to 60 ms`);
  }
});

test('connections of one port with different initial sequence numbers are different ones', () => {
  const { base, records } = twins([700, 900]);
  const other = records.map((record) =>
    record.type === 'flow' && record.id === 'in'
      ? { ...record, tcp: { ...record.tcp!, isn: { toDestination: 601, toSource: 1 } } }
      : record,
  );
  const { paths, joiner } = joined(
    base,
    other.map((record) => ({ record, atMs: toldMs(base, record) })),
  );
  assert.deepEqual(paths.map(({ id, legs }) => `${id} ${legs.length}`).sort(), ['a0 2', 'a1 2', 'b0 2', 'b1 2']);
  assert.equal(joiner.offsets.between('a', 'b'), undefined);
});

test('connections whose handshake one side did not see are one when tuple and time are the same, and graded so', () => {
  const { base, records } = twins([700, 900]);
  const midstream = records.map((record) => {
    if (record.type !== 'flow' || record.id !== 'in') return record;
    const { isn: _, handshakeMs: __, ...tcp } = record.tcp!;
    return { ...record, midstream: true as const, tcp };
  });
  const tell = (some: readonly (FlowRecord | PathRecord)[]) =>
    joined(
      base,
      some.map((record) => ({ record, atMs: record.type === 'flow' ? 0 : toldMs(base, record) })),
    ).paths;
  assert.deepEqual(
    tell(midstream).map(({ legs, joins }) => [legs.length, joins[1]?.by, joins[1]?.evidence]),
    [
      [4, 'tuple', 'derived'],
      [4, 'tuple', 'derived'],
    ],
  );
  const long = (record: FlowRecord | PathRecord) =>
    record.id === 'in' ? { ...record, first: stamp(100_000), last: stamp(100_100) } : record;
  assert.deepEqual(
    tell(midstream.map(long)).map(({ legs }) => legs.length),
    [2, 2, 2, 2],
  );
});

test('a part whose other node is silent goes after the wait as far as it is known, and no sooner', () => {
  const { base, records } = twins([700, 900]);
  const told: string[] = [];
  const some = records.filter((record) => (record.type === 'flow' ? record.node === 'a' : record.id === 'a0'));
  const { joiner } = joined(base, []);
  assert.equal(joiner.offsets.between('a', 'b'), undefined);
  const arrivals = some.map((record) => ({ record, atMs: 0 }));
  const { paths } = joined(base, [...arrivals, { record: { ...(records[0] as FlowRecord), id: 'late' }, atMs: 1999 }]);
  told.push(...paths.map(({ id }) => id));
  assert.deepEqual(told, ['a0']);
  assert.deepEqual(
    paths[0]?.legs.map(({ flow }) => flow),
    ['down', 'up'],
  );
});

/** Two requests at once on one HTTP/2 connection from node a to node b; `seqs`: where they lie on it. */
function twins(seqs: readonly number[] = []): { readonly base: TimeBase; readonly records: (FlowRecord | PathRecord)[] } {
  const connection = [flow('up', 'a', 'proxy-to-upstream', 1, 100, 600), flow('in', 'b', 'client-to-proxy', 1.5, 100, 600)];
  const requests = [0, 1].flatMap((i) => [
    out(`a${i}`, 10 + i, 60 + i, undefined, seqs[i]),
    into(`b${i}`, 15 + i, 50 + i, undefined, seqs[i]),
  ]);
  return { base, records: [...connection, ...requests] };
}
