/** What other nodes tell late, wrongly or not at all must make no join surer than it is. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatTime } from '../../src/net/time.ts';
import type { AnyRecord, FlowRecord, PathRecord } from '../../src/record/record.ts';
import { PathJoiner } from '../../src/relay/path-joiner.ts';

const base = { epochSeconds: Date.UTC(2026, 10, 30, 10) / 1000 };
const stamp = (ms: number) => formatTime(base, Math.round(ms * 1e6));

function flow(
  id: string,
  node: string,
  role: FlowRecord['roles'][number],
  first: number,
  last: number,
  isn: number | undefined,
  source = 40_000,
): FlowRecord {
  return {
    type: 'flow',
    id,
    event: 'close',
    state: 'closed',
    node,
    netns: node,
    protocol: 'tcp',
    first: stamp(first),
    last: stamp(last),
    source: { ip: '10.0.0.1', port: source },
    destination: { ip: '10.0.1.1', port: 80 },
    interfaces: ['eth0'],
    roles: [role],
    counters: { toDestination: { packets: 9, bytes: 900 }, toSource: { packets: 9, bytes: 900 } },
    ...(isn === undefined ? { midstream: true as const } : {}),
    tcp: {
      flags: { toDestination: 'SYN', toSource: 'SYN' },
      ...(isn === undefined ? {} : { isn: { toDestination: isn, toSource: 1 }, handshakeMs: 1 }),
      retransmissions: 0,
      outOfOrder: 0,
      zeroWindows: 0,
    },
  } as FlowRecord;
}

function out(
  id: string,
  from: number,
  to: number,
  request: PathRecord['request'] = { method: 'GET', path: '/x', status: 200 },
  seq?: number,
  up = 'up',
): PathRecord {
  return part(
    id,
    'a',
    from,
    to,
    [
      ['down', 'app-to-proxy'],
      [up, 'proxy-to-upstream', seq],
    ],
    request,
  );
}
function into(
  id: string,
  from: number,
  to: number,
  request: PathRecord['request'] = { method: 'GET', path: '/x', status: 200 },
  seq?: number,
  inn = 'in',
): PathRecord {
  return part(
    id,
    'b',
    from,
    to,
    [
      [inn, 'client-to-proxy', seq],
      ['app', 'proxy-to-app'],
    ],
    request,
  );
}
function part(
  id: string,
  node: string,
  from: number,
  to: number,
  legs: readonly (readonly [string, FlowRecord['roles'][number], (number | undefined)?])[],
  request: PathRecord['request'],
): PathRecord {
  return {
    type: 'path',
    id,
    event: 'close',
    of: 'request',
    first: stamp(from),
    last: stamp(to),
    complete: true,
    legs: legs.map(([name, role, seq]) => ({ flow: name, roles: [role], node, netns: node, ...(seq === undefined ? {} : { seq }) })),
    joins: [{ from: 0, to: 1, by: 'order', evidence: 'derived' }],
    request,
  } as PathRecord;
}
const connection = [flow('up', 'a', 'proxy-to-upstream', 1, 9000, 600), flow('in', 'b', 'client-to-proxy', 1.5, 9000, 600)];

function tell(arrivals: readonly (readonly [number, AnyRecord])[]): { paths: PathRecord[]; joiner: PathJoiner } {
  const paths: PathRecord[] = [];
  const joiner = new PathJoiner({ base, waitMs: 2000 }, (record) => {
    if (record.type === 'path') paths.push(record);
  });
  for (const [atMs, record] of arrivals) {
    joiner.tick(atMs);
    joiner.write(record, atMs);
  }
  joiner.end();
  return { paths, joiner };
}
const crossed = (paths: readonly PathRecord[]) =>
  paths.filter(({ legs }) => legs.length === 4).map(({ joins }) => `${joins[1]!.by} ${joins[1]!.evidence}`);
const at0 = (records: readonly AnyRecord[]) => records.map((record) => [0, record] as const);

test('a request of which the path was not read may be the other one', () => {
  // a0 is b1, whose path nobody could read; a1, whose path nobody could read, is b0.
  const { paths } = tell(
    at0([
      ...connection,
      out('a0', 10, 60),
      out('a1', 11, 61, { method: 'GET', status: 200 }),
      into('b0', 15, 50),
      into('b1', 16, 51, { method: 'GET', status: 200 }),
    ]),
  );
  assert.deepEqual(crossed(paths), []);
});

test('a request that the other node answered itself is not the one, answered otherwise, that was mirrored or tried again there', () => {
  const { paths } = tell(
    at0([
      ...connection,
      out('a0', 10, 60, { method: 'GET', path: '/x', status: 429 }),
      into('b0', 15, 50, { method: 'GET', path: '/x', status: 503 }),
    ]),
  );
  assert.deepEqual(crossed(paths), []);
});

test('what is mirrored to where another request goes is not that request', () => {
  const { paths } = tell(
    at0([
      ...connection,
      out('a0', 10, 60, { method: 'GET', authority: 'shop', path: '/x', status: 200 }),
      into('b0', 15, 50, { method: 'GET', authority: 'shop-shadow', path: '/x', status: 200 }),
    ]),
  );
  assert.deepEqual(crossed(paths), []);
});

test('clocks drift: an hour after the handshake they are known less well', () => {
  const hour = 3_600_000;
  // By a's clock b0 lies from 20 to 90 and belongs to a0; b's clock went 50 ms ahead since.
  const { paths } = tell(
    at0([
      ...connection,
      out('a0', hour, hour + 100),
      out('a1', hour + 60, hour + 160),
      into('b0', hour + 20 + 50, hour + 90 + 50),
      into('b1', hour + 65 + 50, hour + 155 + 50),
    ]),
  );
  assert.deepEqual(crossed(paths), []);
});

test('a request that was given up before its server answered tells nothing of clocks', () => {
  const { joiner } = tell(
    at0([
      ...connection,
      out('a0', 1000, 2000, { method: 'GET', path: '/x', status: 504 }, 700),
      into('b0', 1900, 2500, { method: 'GET', path: '/x', status: 200 }, 700),
    ]),
  );
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
  const { paths } = tell(at0([...connection, lost, out('a0', 10, 60), into('b0', 15, 50)]));
  assert.deepEqual(crossed(paths), []);
});

test('the parent of a call that was told long ago does not make it another path', () => {
  const many = Array.from(
    { length: 12_000 },
    (_, i): PathRecord => ({ ...part(`x${i}`, 'a', 20, 30, [[`f${i}`, 'app-to-proxy']], { path: '/' }), joins: [] }),
  );
  const a0 = out('a0', 10, 60, undefined, 700);
  const { paths } = tell([
    ...at0([...connection, a0, into('b0', 15, 50, undefined, 700), ...many]),
    [10_000, { ...a0, event: 'update', parent: 'p' }],
    [20_000, many[0]!],
  ] as (readonly [number, AnyRecord])[]);
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
    const { paths } = tell([...at0(flows), ...at0([into('b0', 11_000, 11_050, undefined, 700)])]);
    assert.deepEqual(
      paths.map(({ legs }) => legs.map(({ flow: id }) => id).join(' ')).filter((legs) => legs.startsWith('up ')),
      [],
    );
  }
});
