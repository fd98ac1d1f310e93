import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FindingRecord } from '../../src/record/record.ts';
import { needsReference, referencePath } from '../reference.ts';
import { findingsOf, recordsOf, situations } from './replayed.ts';

/** All that is found in each recording, in order, `×2` where two pods or ports have it. A recording that is not named here has no findings. */
const expected: { readonly [situation: string]: readonly string[] } = {
  bookinfo: ['warning upstream-connect-failed', 'info pod-address-dialled'],
  'configuration-change': ['warning denied-by-policy'],
  'external-services': ['warning upstream-connect-failed'],
  failures: [
    'error proxy-not-listening ×2',
    'error application-on-loopback',
    'error nothing-listens ×3',
    'error plaintext-into-strict',
    'error client-policy-against-strict',
    'error no-healthy-endpoint',
    'error undefined-cluster',
    'error no-route',
    'error upstream-timeout',
    'warning proxy-port-dialled ×2',
    'warning fault-injected',
    'warning upstream-connect-failed ×2',
    'info excluded-port ×2',
  ],
  'ipv6-plain-envoy': ['error redirect-loop', 'error nothing-listens'],
  'port-collision': ['info source-port-rewritten', 'info listener-newer-than-connection', 'info pod-address-dialled'],
  'port-excluded': ['error nothing-listens', 'info excluded-port ×2'],
  'proxy-dead': ['error proxy-not-listening ×2'],
  'registry-only': ['error blocked-by-registry ×3'],
  'server-first': ['error waiting-for-first-byte'],
  'strict-plaintext': ['error plaintext-into-strict', 'error foreign-tls', 'info listener-newer-than-connection'],
  tproxy: ['error nothing-listens', 'info pod-address-dialled'],
};

function told(findings: readonly FindingRecord[]): string[] {
  const counts = new Map<string, number>();
  for (const { severity, rule } of findings) counts.set(`${severity} ${rule}`, (counts.get(`${severity} ${rule}`) ?? 0) + 1);
  return [...counts].map(([name, count]) => (count === 1 ? name : `${name} ×${count}`));
}

for (const name of situations)
  test(`captures/${name}: ${expected[name]?.join(', ') ?? 'nothing is wrong'}`, () => {
    assert.deepEqual(told(findingsOf(`captures/${name}`)), expected[name] ?? []);
  });

test('a healthy mesh has no errors', () => {
  assert.deepEqual(
    findingsOf('captures/bookinfo').filter(({ severity }) => severity === 'error'),
    [],
  );
});

test('the reference bundle of a healthy mesh has no errors', needsReference('bundles', 'bookinfo'), () => {
  const errors = findingsOf(referencePath('bundles', 'bookinfo')!).filter(({ severity }) => severity === 'error');
  assert.deepEqual(errors, []);
});

test(
  'the reference bundle of failures shows those of captures/failures that were put into it',
  needsReference('bundles', 'failures'),
  () => {
    const rules = new Set(findingsOf(referencePath('bundles', 'failures')!).map(({ rule }) => rule));
    for (const rule of [
      'application-on-loopback',
      'nothing-listens',
      'plaintext-into-strict',
      'no-healthy-endpoint',
      'undefined-cluster',
      'no-route',
      'fault-injected',
      'excluded-port',
    ])
      assert.ok(rules.has(rule), rule);
  },
);

test('every finding names flows and paths that are there, and the flows name it back', () => {
  for (const name of situations) {
    const records = recordsOf(`captures/${name}`);
    const flows = new Map(records.flatMap((record) => (record.type === 'flow' ? [[record.id, record]] : [])));
    const paths = new Set(records.flatMap((record) => (record.type === 'path' ? [record.id] : [])));
    const findings = findingsOf(`captures/${name}`);
    assert.equal(new Set(findings.map(({ id }) => id)).size, findings.length, 'ids are unique');
    for (const { id, rule, flows: named, paths: on } of findings) {
      for (const flow of named) assert.ok(flows.get(flow)?.findings?.includes(id), `${name} ${rule}: flow ${flow}`);
      for (const path of on) assert.ok(paths.has(path), `${name} ${rule}: path ${path}`);
    }
    const known = new Set(findings.map(({ id }) => id));
    for (const flow of flows.values()) for (const id of flow.findings ?? []) assert.ok(known.has(id));
  }
});

test('errors come first, and the total counts them all', () => {
  const records = recordsOf('captures/failures');
  const order = records.flatMap((record) => (record.type === 'finding' ? [['error', 'warning', 'info'].indexOf(record.severity)] : []));
  assert.deepEqual(order, [...order].sort());
  const total = records.at(-1);
  assert.ok(total?.type === 'total' && total.findings === order.length && order.length > 10);
});

test('a finding says who, what was seen, and what to do', () => {
  for (const name of situations)
    for (const { rule, title, proof, fix } of findingsOf(`captures/${name}`)) {
      assert.match(title, /\S+ \S+ \S+/, rule);
      assert.ok(fix.length > 20 && proof.length > 0, rule);
      for (const line of [title, ...proof, fix]) assert.doesNotMatch(line, /undefined|NaN|\[object|null/, `${rule}: ${line}`);
      assert.match(proof.join('\n'), /\d+\.\d+\.\d+\.\d+|[0-9a-f]+::/, `${rule}: an address is quoted`);
    }
});

const proofs: readonly (readonly [situation: string, rule: string, quoted: readonly RegExp[]])[] = [
  [
    'failures',
    'application-on-loopback',
    [/127\.0\.0\.6:\d+ > \S+:8080/, /answered with RST/, /only 127\.0\.0\.1:8080 \(node, pid \d+\)/, /Seen 3 times/],
  ],
  [
    'failures',
    'no-healthy-endpoint',
    [
      /GET ghost:8080\/ at \S+ was answered 503/,
      /cluster "outbound\|8080\|\|ghost\.default\.svc\.cluster\.local"/,
      /no endpoint in this cluster/,
    ],
  ],
  ['failures', 'undefined-cluster', [/outbound\|9080\|v9\|reviews/, /outbound\|9080\|v1\|reviews/]],
  [
    'failures',
    'client-policy-against-strict',
    [/neither side sent a byte; closed after 3 s/, /whose configuration says no TLS for this endpoint/, /demands a client certificate/],
  ],
  ['failures', 'upstream-timeout', [/answered 504 by the proxy itself after 30\d ms/]],
  [
    'proxy-dead',
    'proxy-not-listening',
    [/REDIRECT to port 15001 \(observed\)/, /nat ISTIO_REDIRECT rule 1: -p tcp -j REDIRECT --to-ports 15001/],
  ],
  ['port-excluded', 'excluded-port', [/nat ISTIO_OUTPUT rule 1: -p tcp -m tcp --dport 9080 -j RETURN/]],
  ['port-collision', 'source-port-rewritten', [/it comes from port \d+ instead of 40404 \(observed\)/]],
  [
    'server-first',
    'waiting-for-first-byte',
    [/for 3 s neither side sent a byte/, /envoy\.filters\.listener\.tls_inspector/, /the server was seen to speak first/],
  ],
  ['ipv6-plain-envoy', 'redirect-loop', [/> 10\.5\.0\.10:9080.*taken by the proxy/, /REDIRECT to port 15006/]],
  ['strict-plaintext', 'foreign-tls', [/offers the application protocols h2, http\/1\.1, none of Istio's/]],
];

for (const [situation, rule, quoted] of proofs)
  test(`${rule} quotes what was seen in captures/${situation}`, () => {
    const found = findingsOf(`captures/${situation}`).filter((finding) => finding.rule === rule);
    const text = found.flatMap(({ proof }) => proof).join('\n');
    for (const form of quoted) assert.match(text, form);
  });

test('the same failure has the same id without its node, times and order', () => {
  const alone = findingsOf('captures/failures/node-b.tar.gz').find(({ rule }) => rule === 'application-on-loopback');
  const together = findingsOf('captures/failures').find(({ rule }) => rule === 'application-on-loopback');
  assert.ok(alone !== undefined && alone.id === together?.id);
});
