import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { csvColumns, csvField } from '../../src/output/csv.ts';
import { eventsOfFlow } from '../../src/output/hubble-event.ts';
import type { FlowRecord } from '../../src/record/record.ts';
import { labProgram, needsLabPrograms } from '../lab-programs.ts';
import { printed } from './sample-options.ts';
import { everything, finding, flowOf, lost, probe, question, requestFlows, requestPath, total } from './samples.ts';

test('-o compact prints a line an event: TIME: SOURCE (…) ARROW DESTINATION (…) TYPE VERDICT (SUMMARY)', () => {
  assert.equal(
    printed('compact', [requestFlows[0]!]),
    'Nov 23 06:22:45.519: default/client:58050 (10.244.1.12) -> default/productpage:9080 (10.96.141.2) to-proxy REDIRECTED ' +
      '(TCP Flags: SYN, ACK, FIN, PSH; closed; REDIRECT 15001 by ISTIO_REDIRECT/1; cluster outbound|9080||productpage.default.svc.cluster.local)\n',
  );
});

test('-o compact swaps the sides of an answer, so that the client stays on the left', () => {
  const lines = printed('compact', [...requestFlows, requestPath]).split('\n');
  assert.match(
    lines[4]!,
    /default\/client:58050 \S+ -> default\/productpage:9080 \S+ http-request FORWARDED \(HTTP GET http:\/\/productpage:9080\/productpage;/,
  );
  assert.match(
    lines[5]!,
    /^Nov 23 06:22:45\.532: default\/client:58050 \S+ <- default\/productpage:9080 \S+ http-response FORWARDED \(HTTP 200 13\.1 ms \(GET /,
  );
});

test('-o compact says <> where the opener is not known, and addresses with --numeric', () => {
  assert.match(
    printed('compact', [flowOf({ midstream: true })]),
    /10\.244\.1\.12:40000 \(unknown\) <> 192\.0\.2\.9:80 \(unknown\) to-stack FORWARDED/,
  );
  assert.match(
    printed('compact', [requestFlows[0]!], { numeric: true }),
    /: 10\.244\.1\.12:58050 \(unknown\) -> 10\.96\.141\.2:9080 \(unknown\)/,
  );
  assert.match(printed('compact', [flowOf({ source: { ip: 'fd00::1', port: 5 } })]), /: \[fd00::1\]:5 \(unknown\) -> /);
  assert.match(printed('compact', [probe], { printNodeName: true }), /^Nov 23 06:22:45\.519 \[node-a\]: /);
});

test('-o compact prints lost events in order with the flows', () => {
  assert.equal(
    printed('compact', [lost]),
    'Nov 23 06:22:46.000 EVENTS LOST: truncated 3 (first: Nov 23 06:22:46.000, last: Nov 23 06:22:46.000)\n',
  );
});

test('-o dict aligns its keys, with a line between records and none behind the last', () => {
  assert.equal(
    printed('dict', [question]).split('------------\n')[0],
    '  TIMESTAMP: Nov 23 06:22:45.519\n     SOURCE: default/client:45678\nDESTINATION: kube-system/kube-dns:53\n       TYPE: to-stack\n    VERDICT: FORWARDED\n    SUMMARY: UDP; closed\n',
  );
  assert.doesNotMatch(printed('dict', [question]), /------------\n$/);
});

test('-o table has one header and columns three spaces apart', () => {
  const [header, first] = printed('table', [requestFlows[0]!]).split('\n');
  assert.equal(header, 'TIMESTAMP             SOURCE                 DESTINATION                TYPE       VERDICT      SUMMARY');
  assert.ok(first!.startsWith('Nov 23 06:22:45.519   default/client:58050   default/productpage:9080   to-proxy   REDIRECTED   TCP Flags'));
});

const views: [what: string, flow: FlowRecord, type: string, verdict: string, direction: string | undefined][] = [
  ['what goes to the proxy', requestFlows[0]!, 'to-proxy', 'REDIRECTED', 'EGRESS'],
  ["the proxy's own connection", requestFlows[1]!, 'from-proxy', 'FORWARDED', 'EGRESS'],
  ['what comes in to the proxy', requestFlows[2]!, 'to-proxy', 'REDIRECTED', 'INGRESS'],
  ['a probe', probe, 'to-endpoint', 'FORWARDED', 'INGRESS'],
  ['a refused connection', flowOf({ state: 'refused' }), 'to-stack', 'ERROR', undefined],
  ['a dropped one', flowOf({ rule: { verdict: 'DROP', evidence: 'derived', steps: [] } }), 'drop', 'DROPPED', undefined],
  [
    'a translated one',
    flowOf({ rule: { verdict: 'DNAT', port: 53, evidence: 'derived', steps: [] } }),
    'to-stack',
    'TRANSLATED',
    undefined,
  ],
];
for (const [what, flow, type, verdict, direction] of views)
  test(`Hubble's view of ${what}: ${type} ${verdict}`, () => {
    const [event] = eventsOfFlow(flow);
    assert.deepEqual([event!.type, event!.verdict, event!.direction], [type, verdict, direction]);
  });

const hubbleClient = labProgram('hubble');
const needsHubble = needsLabPrograms('hubble');

function readByHubble(text: string, ...flags: string[]): { out: string[]; folder: string } {
  const folder = mkdtempSync(join(tmpdir(), 'sidetrace-hubble-'));
  try {
    writeFileSync(join(folder, 'flows.jsonl'), text);
    // Warnings of the client go to its standard error: it must have none.
    const out = execFileSync(
      '/bin/sh',
      ['-c', '"$0" observe --input-file "$1" "$@" 2>&1', hubbleClient, join(folder, 'flows.jsonl'), ...flags],
      { encoding: 'utf8' },
    );
    return { out: out.split('\n').filter((line) => line !== ''), folder };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("Hubble's own client reads -o hubble without a warning and prints what we print", needsHubble, () => {
  const records = [...requestFlows, requestPath, probe, question];
  const { out } = readByHubble(printed('hubble', records), '-o', 'compact', '--all');
  const withoutIdentity = (line: string): string => line.replaceAll(/ \((?:unknown|[\d.]+|world)\)/g, '');
  assert.deepEqual(
    out.map(withoutIdentity),
    printed('compact', records)
      .split('\n')
      .filter((line) => line !== '')
      .map(withoutIdentity),
  );
});

test("Hubble's own filters work on -o hubble", needsHubble, () => {
  const text = printed('hubble', everything);
  assert.equal(
    readByHubble(text, '--verdict', 'REDIRECTED', '-t', 'trace:to-proxy', '-o', 'compact').out.filter((line) => line.includes('to-proxy'))
      .length,
    2,
  );
  assert.equal(readByHubble(text, '--http-status', '200', '-o', 'compact').out.filter((line) => line.includes('http-response')).length, 1);
  const jsons = readByHubble(text, '-o', 'json').out.map((line) => JSON.parse(line));
  assert.equal(jsons.filter(({ lost_events }) => lost_events !== undefined).length, 1);
  assert.equal(jsons[0].flow.extensions.value.rule.steps[2].chain, 'ISTIO_REDIRECT');
});

test("a line of -o hubble stays below the 64 KiB that Hubble's reader takes", () => {
  const rule = { ...requestFlows[0]!.rule!, steps: new Array(2000).fill(requestFlows[0]!.rule!.steps[0]) };
  const line = printed('hubble', [{ ...requestFlows[0]!, rule }]);
  assert.ok(Buffer.byteLength(line) < 65_536);
  assert.equal(JSON.parse(line).flow.uuid, 'fa1');
});

const fields: [value: string | number | undefined, field: string][] = [
  ['plain', 'plain'],
  [undefined, ''],
  [-1.5, '-1.5'],
  ['a,b', '"a,b"'],
  ['say "hi"', '"say ""hi"""'],
  ["=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"],
  ['@SUM(1)', "'@SUM(1)"],
  ['-2+3', "'-2+3"],
  ['+1,2', '"\'+1,2"'],
  ['\tx', "'\\u{9}x"],
  ['a\nb', 'a\\u{a}b'],
  [' padded ', '" padded "'],
];
for (const [value, field] of fields) test(`csvField(${JSON.stringify(value)}) is ${field}`, () => assert.equal(csvField(value), field));

test('-o csv has a header, a line for each flow ended by CRLF, and as many fields in each', () => {
  const lines = printed('csv', everything).split('\r\n');
  assert.equal(lines.pop(), '');
  assert.equal(lines.length, 1 + everything.filter(({ type }) => type === 'flow').length);
  for (const line of lines) assert.equal(line.replaceAll(/"(?:[^"]|"")*"/g, 'quoted').split(',').length, csvColumns.length);
});

test('-o tree merges the walks and counts connections above, requests below the chain', () => {
  const second = { ...requestPath, id: 'p2', legs: [requestPath.legs[0]!], joins: [], decisions: [requestPath.decisions![0]!] };
  const flows = requestFlows.map((flow) => ({ ...flow, paths: flow.id === 'fa1' ? ['p1', 'p2'] : ['p1'] }));
  assert.equal(
    printed('tree', [...flows, second, requestPath, { ...flows[0]!, id: 'again', paths: [] }]).split('client → proxy')[0],
    [
      'app → proxy  2',
      '└─ OUTPUT → ISTIO_OUTPUT → ISTIO_REDIRECT → 15001  2',
      '   └─ listener 0.0.0.0_9080  2',
      '      └─ chain (nameless)  2',
      '         └─ route default  2',
      '            └─ cluster outbound|9080||productpage.default.svc.cluster.local  2',
      '',
    ].join('\n'),
  );
});

test('every format takes every record, in any order', () => {
  for (const format of ['text', 'tree', 'compact', 'dict', 'table', 'json', 'hubble', 'csv', 'msgpack'])
    for (const records of [[], everything, [...everything].reverse(), [requestPath, finding, total]])
      assert.doesNotThrow(() => printed(format, records, { why: true }));
});
