import assert from 'node:assert/strict';
import { test } from 'node:test';
import { idOf } from '../../src/record/id.ts';
import { addLoss, type LastLosses } from '../../src/record/lost.ts';
import type { FlowRecord, LostRecord, PathRecord } from '../../src/record/record.ts';
import { Tally } from '../../src/record/tally.ts';

function flow(rule: FlowRecord['rule'], envoy?: FlowRecord['envoy']): FlowRecord {
  return {
    type: 'flow',
    id: '0',
    event: 'close',
    state: 'closed',
    node: 'n',
    netns: 'ns',
    protocol: 'tcp',
    first: '',
    last: '',
    source: { ip: '10.0.0.1' },
    destination: { ip: '10.0.0.2' },
    interfaces: [],
    roles: ['direct'],
    counters: { toDestination: { packets: 1, bytes: 1 }, toSource: { packets: 0, bytes: 0 } },
    ...(rule === undefined ? {} : { rule }),
    ...(envoy === undefined ? {} : { envoy }),
  };
}

test('the total counts records by type, frames, and the reasons of what stayed open', () => {
  const tally = new Tally();
  tally.addFrames(10, 1000);
  tally.addFrames(1, 60);
  tally.add(flow({ verdict: 'unknown', evidence: 'ambiguous', reason: 'owner-unknown', steps: [] }));
  tally.add(
    flow(
      { verdict: 'unknown', evidence: 'unavailable', reason: 'no-rules', steps: [] },
      { outcome: 'unknown', evidence: { listener: 'unavailable' }, reason: 'no-config-dump' },
    ),
  );
  tally.add(flow({ verdict: 'ACCEPT', evidence: 'derived', reason: 'owner-unknown', steps: [] }));
  tally.add(flow(undefined, { outcome: 'forwarded', evidence: { cluster: 'observed' }, reason: 'weighted' }));
  const path: PathRecord = {
    type: 'path',
    id: '1',
    event: 'close',
    of: 'request',
    first: '',
    last: '',
    complete: false,
    legs: [],
    joins: [{ from: 0, to: 0, by: 'order', evidence: 'ambiguous', reason: 'several-upstreams' }],
  };
  tally.add(path);
  tally.add({ type: 'lost', source: 'kernel', scope: { node: 'n' }, count: 5, exact: true, total: 5, first: '', last: '' });
  tally.add({ type: 'finding', id: '2', rule: 'r', severity: 'info', title: '', proof: [], fix: '', flows: [], paths: [] });
  assert.deepEqual(tally.record(), {
    type: 'total',
    packets: 11,
    bytes: 1060,
    flows: 4,
    paths: 1,
    findings: 1,
    lost: 5,
    unknown: { 'no-config-dump': 1, 'no-rules': 1, 'owner-unknown': 1, 'several-upstreams': 1 },
  });
});

test('losses of one source in one scope add up; other sources and scopes do not count to them', () => {
  const base = { epochSeconds: 0 };
  const loss = (source: string, count: number) => ({ source, count, exact: true, atNs: 1.5e9, detail: 'Cannot keep up' });
  const lasts: LastLosses = new Map();
  const before: LostRecord[] = [];
  const lose = (source: string, count: number, scope: LostRecord['scope']) => before.push(addLoss(lasts, loss(source, count), scope, base));
  lose('kernel', 3, { node: 'a', netns: 'x' });
  lose('kernel', 4, { node: 'a', netns: 'x' });
  lose('kernel', 1, { node: 'a', netns: 'y' });
  lose('truncated', 1, { node: 'a', netns: 'x' });
  lose('kernel', 2, { node: 'a', netns: 'x' });
  assert.deepEqual(
    before.map(({ total }) => total),
    [3, 7, 1, 1, 9],
  );
  assert.deepEqual(
    [before[0]?.first, before[0]?.last, before[0]?.detail],
    ['1970-01-01T00:00:01.500000000Z', '1970-01-01T00:00:01.500000000Z', 'Cannot keep up'],
  );
});

test('ids: sixteen digits, the same for the same, and different for what differs a little', () => {
  const ids = new Set<string>();
  for (let port = 0; port < 65_536; port++) ids.add(idOf(`node\nns\n0 tcp 10.0.0.1 ${port} 10.0.0.2 80 2026-11-23T06:22:41.601088000Z`));
  for (let i = 0; i < 65_536; i++)
    ids.add(idOf(`node\nns\n0 tcp 10.0.0.1 41000 10.0.${i >> 8}.${i & 255} 80 2026-11-23T06:22:41.${String(i).padStart(9, '0')}Z`));
  assert.equal(ids.size, 131_072);
  for (const id of ids) assert.match(id, /^[0-9a-f]{16}$/);
  assert.equal(idOf('é\u0000x'), idOf('é\u0000x'));
  assert.notEqual(idOf('a'), idOf('a\u0000'));
});
