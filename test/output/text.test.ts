import assert from 'node:assert/strict';
import { test } from 'node:test';
import { palette, wantsColor } from '../../src/output/color.ts';
import { formatBytes, formatCount } from '../../src/output/quantity.ts';
import { formatDuration, formatStamp, millisecondsBetween } from '../../src/output/time-format.ts';
import type { FindingRecord } from '../../src/record/record.ts';
import { printed } from './sample-options.ts';
import { everything, finding, flowOf, lost, outboundDecision, probe, requestFlows, requestPath, total } from './samples.ts';

test('-o text prints a path as one block: what was asked, then its legs by pod', () => {
  assert.equal(
    printed('text', [...requestFlows, requestPath]),
    `06:22:45.519  GET productpage:9080/productpage → 200 in 13.1 ms
  in default/client on node-a
  ├─ app → proxy       10.244.1.12:58050 → default/productpage:9080 (10.96.141.2) · 13.1 ms
  │    rule      REDIRECT 15001 by nat ISTIO_REDIRECT/1
  │    wire      lo · 412 B ⇄ 5.1 kB · rtt 125 µs
  │    listener  0.0.0.0_9080 · chain (nameless) #0
  │    route     default · virtual host productpage.default.svc.cluster.local:9080
  │    cluster   outbound|9080||productpage.default.svc.cluster.local → 10.244.2.14:9080
  ├─ proxy → upstream  10.244.1.12:35590 → default/productpage-v1-574c45789d-xg4k8:9080 (10.244.2.14) · 12.2 ms
  │    joined    by order, bytes and time · derived
  │    rule      ACCEPT by nat ISTIO_OUTPUT/4
  │    wire      eth0 · 412 B ⇄ 5.1 kB · rtt 125 µs · mutual TLS 1.3
  │    sni       outbound_.9080_._.productpage.default.svc.cluster.local
  in default/productpage-v1-574c45789d-xg4k8 on node-b
  ├─ client → proxy    default/client:35590 (10.244.1.12) → 10.244.2.14:9080
  │    joined    the same connection, seen on the other side · observed
  │    rule      REDIRECT 15006 by nat ISTIO_IN_REDIRECT/1
  │    wire      eth0 · 412 B ⇄ 5.1 kB · rtt 125 µs · mutual TLS 1.3
  │    listener  virtualInbound · chain 0.0.0.0_9080 #7
  │    route     default · virtual host inbound|http|9080
  │    cluster   inbound|9080|| → 10.244.2.14:9080
  └─ proxy → app       127.0.0.6:39217 → 10.244.2.14:9080
       joined    by order, bytes and time · ambiguous, 2 candidates (several-upstreams)
       wire      lo · 412 B ⇄ 5.1 kB · rtt 125 µs

`,
  );
});

test('-o text waits for the flows of a path that comes before them', () => {
  assert.equal(
    printed('text', [requestPath, ...requestFlows, total])
      .split('read ')[0]!
      .split('──')[0],
    printed('text', [...requestFlows, requestPath]).split('──')[0],
  );
});

test('-o text shows the legs of a path whose flows no filter let pass when it is told of them', () => {
  assert.match(printed('text', [requestPath]), /flow fa1 \(not shown\)/);
});

test('--why adds each rule taken, the rejected candidates and every grade', () => {
  const text = printed('text', [...requestFlows, requestPath], { why: true });
  assert.match(text, /nat ISTIO_OUTPUT\/9 {2}-j ISTIO_REDIRECT/);
  assert.match(text, /not virtual host details\.default\.svc\.cluster\.local:9080: earlier-match/);
  assert.match(text, /evidence {2}listener derived, chain derived, route derived, cluster derived, endpoint observed/);
});

test('-o text marks what is not sure, with the reason and the candidates', () => {
  const { cluster: _cluster, endpoint: _endpoint, ...open } = outboundDecision;
  const decision = {
    ...open,
    evidence: { ...outboundDecision.evidence, cluster: 'ambiguous' as const },
    candidates: { cluster: ['outbound|80|v1|a', 'outbound|80|v2|a'] },
    reason: 'weighted' as const,
  };
  const flow = flowOf({
    roles: ['app-to-proxy'],
    rule: { verdict: 'unknown', evidence: 'unavailable', reason: 'owner-unknown', steps: [] },
    envoy: decision,
  });
  const text = printed('text', [flow]);
  assert.match(text, /rule {6}unknown · by a rule that is not known \(unavailable: owner-unknown\)/);
  assert.match(text, /cluster {3}one of outbound\|80\|v1\|a, outbound\|80\|v2\|a \(ambiguous: weighted\)/);
});

test('-o text prints a flow without a path, a finding, a loss and the summary', () => {
  const text = printed('text', [probe, lost, finding, total]);
  assert.match(text, /^06:22:45\.519 {2}probe in default\/client {2}tcp 10\.244\.1\.1:51000 → 10\.244\.1\.12:15021/);
  assert.match(text, /\n06:22:46\.000 {2}lost at least 3 \(truncated\) in cni-client on node-a: Cannot read packet 17/);
  assert.match(text, /\n\n✗ error {2}plain-text-into-strict\n {4}Plain text was sent/);
  assert.match(text, /read {6}1,234 packets, 1\.2 MB · 6 flows · 1 path · 3 lost\n/);
  assert.match(text, /unknown {3}owner-unknown 2, no-upstream-seen 1\n/);
  assert.match(text, /findings {2}error 1\n/);
});

test('-o text folds what goes on around the application, unless --all', () => {
  const text = printed('text', [probe, requestFlows[0]!, total], { all: false });
  assert.doesNotMatch(text, /15021/);
  assert.match(text, /not shown probe 1 \(--all shows them\)/);
  assert.match(printed('text', [{ ...probe, state: 'refused' }], { all: false }), /15021 · refused/);
});

test('-o text says what went wrong in red, and nothing else changes with colours', () => {
  const colored = printed('text', everything, { palette: palette(true) });
  // biome-ignore lint/suspicious/noControlCharactersInRegex: colours are control sequences
  assert.equal(colored.replaceAll(/\u001b\[\d+m/g, ''), printed('text', everything));
});

const colors: [wish: 'auto' | 'always' | 'never', environment: { [name: string]: string }, terminal: boolean, colored: boolean][] = [
  ['auto', {}, true, true],
  ['auto', {}, false, false],
  ['auto', { NO_COLOR: '1' }, true, false],
  ['auto', { NO_COLOR: '' }, true, true],
  ['auto', { FORCE_COLOR: '1' }, false, true],
  ['auto', { FORCE_COLOR: '0' }, true, false],
  ['auto', { FORCE_COLOR: '1', NO_COLOR: '1' }, false, true],
  ['auto', { TERM: 'dumb' }, true, false],
  ['always', { NO_COLOR: '1' }, false, true],
  ['never', { FORCE_COLOR: '1' }, true, false],
];
for (const [wish, environment, terminal, colored] of colors)
  test(`--color ${wish} with ${JSON.stringify(environment)} ${terminal ? 'on a terminal' : 'on a pipe'} is ${colored ? 'coloured' : 'plain'}`, () =>
    assert.equal(wantsColor(wish, environment, terminal), colored));

test('time stamps have the forms that Hubble prints', () => {
  const time = '2026-11-03T06:02:45.519000000Z';
  assert.equal(formatStamp(time, 'StampMilli'), 'Nov  3 06:02:45.519');
  assert.equal(formatStamp(time, 'RFC3339'), '2026-11-03T06:02:45Z');
  assert.equal(formatStamp(time, 'RFC3339Milli'), '2026-11-03T06:02:45.519Z');
  assert.equal(formatStamp('2026-11-03T06:02:45.000000000Z', 'RFC3339Nano'), '2026-11-03T06:02:45Z');
  assert.equal(formatStamp(time, 'RFC3339Nano'), '2026-11-03T06:02:45.519Z');
  assert.equal(formatStamp(time, 'RFC1123Z'), 'Tue, 03 Nov 2026 06:02:45 +0000');
});

test('durations, bytes and counts are short', () => {
  assert.deepEqual([0.0004, 0.12, 1.234, 13.1, 245.4, 2400, 185_000].map(formatDuration), [
    '0 µs',
    '120 µs',
    '1.23 ms',
    '13.1 ms',
    '245 ms',
    '2.40 s',
    '3m 05s',
  ]);
  assert.deepEqual([0, 999, 1000, 9_949, 15_000, 999_499, 999_600, 2.5e12].map(formatBytes), [
    '0 B',
    '999 B',
    '1.0 kB',
    '9.9 kB',
    '15 kB',
    '999 kB',
    '1.0 MB',
    '2.5 TB',
  ]);
  assert.deepEqual([0, 999, 1000, 1_234_567].map(formatCount), ['0', '999', '1,000', '1,234,567']);
  assert.equal(millisecondsBetween('2026-11-23T06:22:59.999999999Z', '2026-11-23T06:23:00.000000001Z').toFixed(6), '0.000002');
});

test('-o text breaks long sentences and lists at the width of the terminal, between words', () => {
  const long: FindingRecord = { ...finding, title: 'Word '.repeat(40).trim(), proof: ['seen it '.repeat(40).trim()], fix: 'x'.repeat(200) };
  const flows = requestFlows.map((flow, i) =>
    flowOf({ ...flow, id: `f${i}`, roles: [(['hbone', 'telemetry', 'control', 'loopback'] as const)[i]!] }),
  );
  const out = printed('text', [...flows, long, total], { width: 60 });
  const lines = out.slice(out.indexOf('✗ error')).split('\n');
  for (const line of lines) assert.ok([...line].length <= 60 || line.includes('x'.repeat(200)) || /^read |^─/.test(line), line);
  assert.equal(lines.join(' ').match(/Word/g)!.length, 40);
  assert.equal(lines.join(' ').match(/seen it/g)!.length, 40);
  assert.match(out, /\nlegs {6}[^\n]*,\n {10}\S/);
});
