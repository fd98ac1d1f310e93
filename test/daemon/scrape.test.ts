import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeMetrics } from '../../src/daemon/metrics.ts';
import { copyCounters, countRecord } from '../../src/daemon/scrape.ts';

const state = { subscribers: 2, sent: 10, lost: 3, queuedBytes: 5, ringBytes: 6, rejected: { origin: 1 }, ended: { slow: 2 } };
const parts = {
  engine: {
    total: () => ({
      type: 'total' as const,
      packets: 7,
      bytes: 700,
      flows: 4,
      paths: 2,
      findings: 1,
      lost: 0,
      unknown: { 'owner-unknown': 3 },
    }),
    lost: () => new Map([['kernel_ring', 9]]),
  },
  follower: {
    ringBytes: 1024,
    counters: { rulesRead: 5, toolsFailed: 1, conntrackEvents: 8 },
    namespaces: () => [{ status: 'capturing' }, { status: 'capturing' }, { status: 'failed' }, { status: 'gone' }],
  },
  flowsOpen: () => 2,
  link: { hello: { ringBudget: 64 }, losses: 1 },
  server: { state },
  envoys: () => [
    { same: 1, changed: 2, failed: 0, dumpBytes: 10 },
    { same: 3, changed: 0, failed: 1, dumpBytes: 5 },
  ],
  kubernetes: { synced: true, staleSince: '1970-01-01T00:00:10.000000000Z' },
  log: { dropped: 0, suppressed: 4 },
};

test('what the parts count is told; a second scrape tells what is then, not the sum', () => {
  const metrics = makeMetrics();
  for (let i = 0; i < 2; i += 1) copyCounters(metrics, parts, 40_000);
  assert.deepEqual([metrics.packets, metrics.bytes, metrics.flows, metrics.flowsOpen, metrics.unknown['owner-unknown']], [7, 700, 4, 2, 3]);
  assert.deepEqual(metrics.namespaces, { opening: 0, capturing: 2, failed: 1 });
  assert.deepEqual([metrics.lost.kernel_ring, metrics.lost.subscriber_queue, metrics.lost.gap], [9, 3, 0]);
  assert.deepEqual([metrics.probeUp, metrics.probeRestarts, metrics.ringBudgetBytes], [1, 1, 64]);
  assert.deepEqual([metrics.requestsRejected.origin, metrics.subscribersEnded.slow], [1, 2]);
  assert.deepEqual([metrics.envoyPolls, metrics.envoyDumpBytes], [{ same: 4, changed: 2, failed: 1 }, 15]);
  assert.equal(metrics.kubernetesStaleSeconds, 30);
  copyCounters(metrics, { ...parts, link: { hello: undefined, losses: 2 }, kubernetes: undefined }, 0);
  assert.deepEqual([metrics.probeUp, metrics.kubernetesSynced, metrics.kubernetesStaleSeconds], [0, 0, 0]);
});

test('records are counted by type, findings by rule, paths when they end', () => {
  const metrics = makeMetrics();
  const path = { type: 'path', id: 'a', of: 'request', first: '', last: '', legs: [], joins: [] } as const;
  for (const [event, complete] of [
    ['open', false],
    ['close', true],
    ['close', false],
  ] as const)
    countRecord(metrics, { ...path, legs: [], joins: [], event, complete });
  countRecord(metrics, {
    type: 'finding',
    id: 'f',
    rule: 'redirect-loop',
    severity: 'error',
    title: '',
    proof: [],
    fix: '',
    flows: [],
    paths: [],
  });
  assert.deepEqual(metrics.paths, { yes: 1, no: 1 });
  assert.equal(metrics.records.path, 3);
  assert.equal(metrics.findings['redirect-loop'], 1);
});
