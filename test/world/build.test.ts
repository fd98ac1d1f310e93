/** A world is filled from what was recorded, lazily, and goes on without what cannot be read. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KubeNames } from '../../src/kube/names.ts';
import { parseTimeNs } from '../../src/net/time.ts';
import { RecordedWorld, type WorldFile } from '../../src/world/build.ts';

const BASE = { epochSeconds: 1_700_000_000 };
const at = (second: number) => `2023-11-14T22:14:${String(second).padStart(2, '0')}Z`;
const ns = (second: number) => parseTimeNs(BASE, at(second))!;

interface Given {
  kind: string;
  text: string | undefined;
  second?: number;
  family?: 'ipv4' | 'ipv6';
  name?: string;
}

const reads = new Map<string, number>();

function world(...given: Given[]): RecordedWorld {
  reads.clear();
  const files = given.map(
    ({ kind, text, second, family, name = `${kind} ${second}` }): WorldFile => ({
      kind,
      name,
      ...(family === undefined ? {} : { family }),
      ...(second === undefined ? {} : { readAt: at(second) }),
      read: () => {
        reads.set(kind, (reads.get(kind) ?? 0) + 1);
        return text === undefined ? undefined : Buffer.from(text);
      },
    }),
  );
  return new RecordedWorld({ node: 'node', netns: 'ns', interfaces: [] }, files, new KubeNames(), BASE);
}

const redirect = (port: number, counters = '[0:0]') =>
  `*nat\n:OUTPUT ACCEPT ${counters}\n${counters} -A OUTPUT -p tcp -j REDIRECT --to-ports ${port}\nCOMMIT\n# Completed on ${counters}\n`;
const firstRule = (w: RecordedWorld, second: number, family: 4 | 6 = 4) =>
  w
    .rulesAt(family, ns(second))
    ?.sets.flatMap((set) => set.tables.flatMap((table) => table.chains.flatMap((chain) => chain.rules.map((rule) => rule.text))))[0];

test('rules: the reading that held, by family', () => {
  const w = world(
    { kind: 'iptables-save', text: redirect(15_001), second: 10 },
    { kind: 'iptables-save', text: redirect(15_002), second: 20 },
    { kind: 'ip6tables-save', text: redirect(15_003), second: 10 },
  );
  assert.match(firstRule(w, 15)!, /15001/);
  assert.match(firstRule(w, 25)!, /15002/);
  assert.match(firstRule(w, 15, 6)!, /15003/);
  assert.deepEqual([w.rulesAt(4, ns(5))?.later, w.rulesAt(4, ns(15))?.later], [true, false]);
  assert.match(firstRule(w, 5)!, /15001/);
  assert.notEqual(w.rulesAt(4, ns(15))?.generation, w.rulesAt(4, ns(25))?.generation);
});

test('rules: readings that differ in counters and comments alone are the same rules', () => {
  const w = world(
    { kind: 'iptables-save', text: redirect(15_001), second: 10 },
    { kind: 'iptables-save', text: redirect(15_001, '[7:420]'), second: 20 },
  );
  assert.equal(w.rulesAt(4, ns(15)), w.rulesAt(4, ns(25)));
});

test('rules: an empty reading says that there are none; no reading says nothing', () => {
  const empty = world({ kind: 'iptables-save', text: '', second: 10 });
  assert.deepEqual(empty.rulesAt(4, ns(15))?.sets, []);
  assert.equal(empty.rulesAt(6, ns(15)), undefined);
  assert.equal(world().rulesAt(4, ns(15)), undefined);
  assert.equal(world({ kind: 'iptables-save', text: undefined, second: 10 }).rulesAt(4, ns(15)), undefined);
});

test('rules: what cannot be read is a problem with a sentence, and the reading before it holds on', () => {
  const w = world(
    { kind: 'iptables-save', text: redirect(15_001), second: 10 },
    { kind: 'iptables-save', text: 'apiVersion: v1\nkind: Pod\n', second: 20 },
  );
  assert.match(firstRule(w, 25)!, /15001/);
  assert.equal(w.problems.length, 1);
  assert.match(w.problems[0]!, /iptables-save.*"ns"/);
});

test('rules of both dialects stand beside each other; tables that iptables-nft wrote are not taken twice', () => {
  const nft = JSON.stringify({
    nftables: [
      { metainfo: { json_schema_version: 1 } },
      { table: { family: 'ip', name: 'nat', handle: 1 } },
      { chain: { family: 'ip', table: 'nat', name: 'OUTPUT', type: 'nat', hook: 'output', prio: -100, policy: 'accept' } },
      { rule: { family: 'ip', table: 'nat', chain: 'OUTPUT', expr: [{ xt: { type: 'target', name: 'REDIRECT' } }] } },
      { table: { family: 'inet', name: 'istio-proxy-nat', handle: 2 } },
      { chain: { family: 'inet', table: 'istio-proxy-nat', name: 'output', type: 'nat', hook: 'output', prio: -100, policy: 'accept' } },
      { rule: { family: 'inet', table: 'istio-proxy-nat', chain: 'output', expr: [{ accept: null }] } },
    ],
  });
  const tables = (w: RecordedWorld, family: 4 | 6) => w.rulesAt(family, ns(15))?.sets.flatMap((set) => set.tables.map(({ name }) => name));
  const w = world({ kind: 'iptables-save', text: redirect(15_001), second: 10 }, { kind: 'nft', text: nft, second: 10 });
  assert.deepEqual(tables(w, 4)?.filter((name) => name === 'nat').length, 1);
  assert.ok(tables(w, 4)?.includes('istio-proxy-nat'));
  assert.ok(tables(w, 6)?.includes('istio-proxy-nat'));
});

test('policy routing is that of the moment', () => {
  const w = world(
    { kind: 'iptables-save', text: redirect(15_001), second: 10 },
    { kind: 'ip-rule', text: '0:\tfrom all lookup local\n', second: 10, family: 'ipv4' },
    { kind: 'ip-rule', text: '0:\tfrom all lookup local\n32765:\tfrom all fwmark 0x539 lookup 133\n', second: 20, family: 'ipv4' },
  );
  assert.deepEqual([w.rulesAt(4, ns(15))?.routing.length, w.rulesAt(4, ns(25))?.routing.length], [1, 2]);
});

test('conntrack: dumps and events together; nothing recorded is undefined', () => {
  const entry =
    'ipv4 2 tcp 6 119 TIME_WAIT src=10.0.0.1 dst=10.96.0.5 sport=41000 dport=80 src=127.0.0.1 dst=10.0.0.1 sport=15001 dport=41000 [ASSURED] mark=0 id=1';
  const w = world(
    { kind: 'conntrack', text: entry, second: 10 },
    { kind: 'conntrack-events', text: `[1795363120.176329]\t    [NEW] ${entry.replaceAll('41000', '41001')}\n`, second: 10 },
  );
  assert.equal(w.conntrack?.size, 2);
  assert.equal(world({ kind: 'conntrack', text: '', second: 10 }).conntrack?.size, 0);
  assert.equal(world().conntrack, undefined);
});

test('sockets and configurations that are none are problems; the others are read', () => {
  const w = world(
    { kind: 'config_dump', text: '{"not": "a dump"}', second: 10 },
    {
      kind: 'config_dump',
      text: JSON.stringify({ configs: [{ '@type': 'type.googleapis.com/envoy.admin.v3.BootstrapConfigDump', bootstrap: {} }] }),
      second: 20,
    },
    { kind: 'config_dump', text: '{"configs": [', second: 30 },
    { kind: 'sockets', text: 'tcp LISTEN 0 0 0.0.0.0:80 0.0.0.0:*\n', second: 10 },
  );
  assert.equal(w.envoy?.configs.length, 1);
  assert.equal(w.problems.length, 2);
  assert.equal([...w.sockets!.listeners()].length, 1);
  assert.equal(world().envoy, undefined);
  assert.equal(world().sockets, undefined);
});

test('nothing is read before it is asked for, and nothing twice', () => {
  const w = world({ kind: 'iptables-save', text: redirect(15_001), second: 10 }, { kind: 'sockets', text: '', second: 10 });
  assert.deepEqual([...reads], []);
  for (let i = 0; i < 3; i++) w.rulesAt(4, ns(15));
  assert.deepEqual([...reads], [['iptables-save', 1]]);
  for (let i = 0; i < 3; i++) assert.ok(w.sockets !== undefined);
  assert.deepEqual(
    [...reads],
    [
      ['iptables-save', 1],
      ['sockets', 1],
    ],
  );
});

test('the addresses of the namespace are those of its interfaces, in canonical text, without loopback', () => {
  const interfaces = [
    { index: 1, name: 'lo', addresses: ['127.0.0.1', '::1'] },
    { index: 2, name: 'eth0', addresses: ['10.0.0.1', 'FD00:0:0::10', 'fe80::1%eth0'] },
  ];
  const w = new RecordedWorld({ node: 'n', netns: 'ns', interfaces }, [], new KubeNames(), BASE, ['10.0.0.9']);
  assert.deepEqual([...w.addresses].sort(), ['10.0.0.1', '10.0.0.9', 'fd00::10', 'fe80::1']);
});
