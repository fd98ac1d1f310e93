import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseConntrack } from '../../src/netfilter/conntrack.ts';
import { ConntrackView } from '../../src/world/conntrack-view.ts';

const view = (...lines: string[]) => new ConntrackView(parseConntrack(lines.join('\n')).entries);

const REDIRECTED =
  'ipv4 2 tcp 6 119 TIME_WAIT src=10.0.0.1 dst=10.96.0.5 sport=41000 dport=80 src=127.0.0.1 dst=10.0.0.1 sport=15001 dport=55763 [ASSURED] mark=0 id=1';
const asked = { protocol: 'tcp', source: { ip: '10.0.0.1', port: 41_000 }, destination: { ip: '10.96.0.5', port: 80 } };
const wire = { protocol: 'tcp', source: { ip: '10.0.0.1', port: 55_763 }, destination: { ip: '127.0.0.1', port: 15_001 } };

test('an entry is found by what the opener asked for, and by what the wire shows of it', () => {
  const conntrack = view(REDIRECTED);
  assert.equal(conntrack.size, 1);
  assert.deepEqual(conntrack.byOriginal(asked), conntrack.byReply(wire));
  assert.equal(conntrack.byOriginal(asked).length, 1);
  assert.deepEqual([conntrack.byOriginal(wire), conntrack.byReply(asked)], [[], []]);
  assert.deepEqual(conntrack.byOriginal({ ...asked, protocol: 'udp' }), []);
});

test('the same connection in a dump and in events is one; with another translation, zone or mark it is another', () => {
  assert.equal(view(REDIRECTED, REDIRECTED).byOriginal(asked).length, 1);
  assert.equal(view(REDIRECTED, REDIRECTED.replace('id=1', 'id=2')).byOriginal(asked).length, 1);
  assert.equal(view(REDIRECTED, REDIRECTED.replace('dport=55763', 'dport=55764')).byOriginal(asked).length, 2);
  assert.equal(view(REDIRECTED, REDIRECTED.replace('mark=0', 'mark=273')).byOriginal(asked).length, 2);
  assert.equal(view(REDIRECTED, REDIRECTED.replace('mark=0', 'mark=0 zone=2')).byOriginal(asked).length, 2);
});

test('pings are told apart by their identifier', () => {
  const ping = 'ipv4 2 icmp 1 29 src=10.0.0.1 dst=10.0.0.2 type=8 code=0 id=7 src=10.0.0.2 dst=10.0.0.1 type=0 code=0 id=7 mark=0 id=99';
  const of = (id: number) => ({ protocol: 'icmp', source: { ip: '10.0.0.1', port: id }, destination: { ip: '10.0.0.2', port: id } });
  assert.deepEqual([view(ping).byOriginal(of(7)).length, view(ping).byOriginal(of(8)).length], [1, 0]);
});
