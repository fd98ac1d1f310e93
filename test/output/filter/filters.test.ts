import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type FilterContext, FilterError, globTest } from '../../../src/output/filter/filter.ts';
import { FilterSet } from '../../../src/output/filter/filter-set.ts';
import { filters } from '../../../src/output/filter/filters.ts';
import type { FlowRecord, PathRecord } from '../../../src/record/record.ts';
import { flowOf, probe, question, requestFlows, requestPath } from '../samples.ts';

const [toProxy, upstream, inbound, toApp] = requestFlows as [FlowRecord, FlowRecord, FlowRecord, FlowRecord];
const found = flowOf({ findings: ['n1'] });
const v6 = flowOf({ source: { ip: 'fd00::1', port: 5 }, destination: { ip: 'fd00::2', port: 80 } });
const ping = flowOf({ protocol: 'icmp' });
const snat = flowOf({
  translated: { source: { ip: '10.9.9.9', port: 1 }, destination: { ip: '192.0.2.9', port: 80 }, evidence: 'observed' },
});

const context: FilterContext = {
  labelsOf: (pod) => (pod === 'default/client' ? { app: 'client', version: 'v1' } : undefined),
  findingsOf: (rule) => new Set(rule === 'plain-text' ? ['n1'] : []),
};

/** Filter, value, a flow that passes, one that does not; with a path where it matters. */
const table: [flag: string, value: string, yes: FlowRecord | [FlowRecord, PathRecord], no: FlowRecord | [FlowRecord, PathRecord]][] = [
  ['pod', 'client', toProxy, toApp],
  ['pod', 'default/cli', toProxy, toApp],
  ['from-pod', 'client', toProxy, probe],
  ['to-pod', 'default/client', probe, toProxy],
  ['namespace', 'kube-system', question, toProxy],
  ['from-namespace', 'default', toProxy, toApp],
  ['label', 'app=client', toProxy, toApp],
  ['label', 'app=client,version!=v2,!canary', toProxy, toApp],
  ['from-label', 'version', toProxy, probe],
  ['service', 'productpage', toProxy, upstream],
  ['to-service', 'kube-system/kube', question, toProxy],
  ['workload', 'productpage-v1', upstream, question],
  ['ip', '10.96.0.0/16', toProxy, upstream],
  ['from-ip', '127.0.0.6', toApp, toProxy],
  ['to-ip', 'fd00::/64', v6, toProxy],
  ['snat-ip', '10.9.0.0/16', snat, flowOf()],
  ['port', '9080', toProxy, question],
  ['to-port', '8000-9999', toProxy, probe],
  ['from-port', '58050', toProxy, upstream],
  ['protocol', 'udp', question, toProxy],
  ['protocol', 'icmp', ping, toProxy],
  ['protocol', 'dns', question, toProxy],
  ['protocol', 'http', [toProxy, requestPath], toProxy],
  ['tcp-flags', 'syn,fin', toProxy, flowOf({ tcp: { ...toProxy.tcp!, flags: { toDestination: 'SYN', toSource: 'RST,ACK' } } })],
  ['ip-version', 'v6', v6, toProxy],
  ['ipv4', '', toProxy, v6],
  ['ipv6', '', v6, toProxy],
  ['traffic-direction', 'egress', toProxy, inbound],
  ['verdict', 'REDIRECTED', toProxy, upstream],
  ['verdict', 'REDIRECT', inbound, probe],
  ['verdict', 'error', flowOf({ state: 'refused' }), toProxy],
  ['type', 'trace:to-proxy', toProxy, upstream],
  ['type', 'l7', [toProxy, requestPath], toProxy],
  ['type', 'drop', flowOf({ rule: { verdict: 'DROP', evidence: 'derived', steps: [] } }), toProxy],
  ['state', 'reset', flowOf({ state: 'reset' }), toProxy],
  ['http-method', 'get', [toProxy, requestPath], toProxy],
  ['http-path', '^/product\\w+$', [toProxy, requestPath], [toProxy, { ...requestPath, request: { path: '/' } }]],
  ['http-url', '//productpage:9080/p', [toProxy, requestPath], toProxy],
  ['http-status', '200', [toProxy, requestPath], [toProxy, { ...requestPath, request: { status: 503 } }]],
  ['http-status', '5+', [toProxy, { ...requestPath, request: { status: 503 } }], [toProxy, requestPath]],
  ['http-header', 'x-request-id: d411d171-31ec-456b-95a7-6788e5e732dd', [toProxy, requestPath], toProxy],
  ['fqdn', '*.svc.cluster.local', question, toProxy],
  ['fqdn', 'productpage', [toProxy, requestPath], toProxy],
  ['interface', 'lo', toProxy, upstream],
  ['node-name', 'node-*', toProxy, flowOf({ node: 'other' })],
  ['netns', 'default/client', toProxy, inbound],
  ['uuid', 'fa1', toProxy, upstream],
  ['leg', 'app-to-proxy', toProxy, upstream],
  ['rule', 'ISTIO_OUTPUT/9', toProxy, upstream],
  ['rule', 'nat:ISTIO_*', upstream, toApp],
  ['listener', '0.0.0.0_9080', toProxy, inbound],
  ['chain', '0.0.0.0_*', inbound, upstream],
  ['route', 'default', toProxy, upstream],
  ['virtual-host', 'productpage.*', toProxy, inbound],
  ['cluster', 'outbound|9080||*', toProxy, inbound],
  ['endpoint', '10.244.2.14:9080', toProxy, upstream],
  ['outcome', 'forwarded', toProxy, upstream],
  ['path', 'p1', toProxy, probe],
  ['finding', 'plain-text', found, toProxy],
  ['finding', 'n1', found, toProxy],
];
for (const [flag, value, yes, no] of table)
  test(`--${flag} ${value} tells flows apart`, () => {
    const filter = filters.find(({ name }) => name === flag)!;
    const passes = filter.parse(value);
    const subject = (of: FlowRecord | [FlowRecord, PathRecord]) =>
      Array.isArray(of) ? { flow: of[0], path: of[1] } : { flow: of, path: undefined };
    assert.equal(passes(subject(yes), context), true);
    assert.equal(passes(subject(no), context), false);
  });

const wrong: [flag: string, value: string][] = [
  ['ip', 'ten.example'],
  ['ip', '10.0.0.0/33'],
  ['port', '70000'],
  ['port', '90-80'],
  ['port', 'http'],
  ['protocol', 'a b'],
  ['tcp-flags', 'syn,xyz'],
  ['ip-version', 'v5'],
  ['verdict', 'MAYBE'],
  ['type', 'trace:nowhere'],
  ['type', 'l8'],
  ['state', 'happy'],
  ['http-path', '('],
  ['http-path', '(a)\\1'],
  ['http-path', '(?=a)a'],
  ['http-path', '((a{1,50}){1,50}){1,50}'],
  ['http-path', 'a'.repeat(1001)],
  ['http-status', '20'],
  ['http-header', 'cookie:a'],
  ['label', 'a=b=c'],
  ['leg', 'sideways'],
  ['rule', '/4'],
  ['outcome', 'fine'],
  ['traffic-direction', 'up'],
];
for (const [flag, value] of wrong)
  test(`--${flag} ${value.slice(0, 20)} is refused with a sentence that says what is wanted`, () =>
    assert.throws(
      () => filters.find(({ name }) => name === flag)!.parse(value),
      (error: Error) => error instanceof FilterError && /^Cannot filter by /.test(error.message) && /must be|at most/.test(error.message),
    ));

test('the list has a test for every filter, and no name twice', () => {
  const names = filters.map(({ name }) => name);
  assert.equal(new Set(names).size, names.length);
  const tried = new Set(table.map(([flag]) => flag.replace(/^(from|to)-/, '')));
  assert.deepEqual(
    names.filter((name) => !tried.has(name.replace(/^(from|to)-/, ''))),
    [],
  );
});

test('the same filter twice means either, different ones mean both, --not the opposite', () => {
  const set = new FilterSet();
  const add = (flag: string, value: string, negated = false): void => set.add(filters.find(({ name }) => name === flag)!, value, negated);
  add('leg', 'app-to-proxy');
  add('leg', 'proxy-to-upstream');
  add('namespace', 'default');
  add('to-service', 'productpage', true);
  const passes = (flow: FlowRecord): boolean => set.passes({ flow, path: undefined }, context);
  assert.deepEqual([toProxy, upstream, inbound].map(passes), [false, true, false]);
});

test('globTest() takes * for any run of characters, and stays quick on hostile ones', () => {
  assert.equal(globTest('a*c')('abbbc'), true);
  assert.equal(globTest('a*c')('ab'), false);
  assert.equal(globTest('*')(''), true);
  assert.equal(globTest('a*a')('a'), false);
  assert.equal(globTest('*b*')('abc'), true);
  assert.equal(globTest('a*b*b')('ab'), false);
  const begun = performance.now();
  assert.equal(globTest('*a'.repeat(200))(`${'a'.repeat(100_000)}b`), false);
  assert.ok(performance.now() - begun < 500);
});
