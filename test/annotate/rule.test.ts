/** Which rule took a connection, when packets do not tell who sent it: what the rules leave possible, held against what was seen. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Place } from '../../src/annotate/place.ts';
import { RuleJudge, type RuleQuestion, type Seen } from '../../src/annotate/rule.ts';
import { parseIptables } from '../../src/netfilter/parse-iptables.ts';
import { parseNft } from '../../src/netfilter/parse-nft.ts';
import type { RuleSet } from '../../src/netfilter/rule-set.ts';
import type { RuleVerdict } from '../../src/record/record.ts';
import type { RulesHeld } from '../../src/world/world.ts';
import { PEER, POD, SIDECAR } from './worlds.ts';

let generation = 0;

function held(text: string, more: Partial<RulesHeld> = {}): RulesHeld {
  const sets: RuleSet[] = [parseIptables(text, { family: 4 })];
  return { sets, routing: [], readAt: '2026-11-23T06:22:41Z', later: false, generation: generation++, ...more };
}

const OUT: Place = { hook: 'OUTPUT', out: 'eth0', onLoopback: false, sourceIsOurs: true, destinationIsOurs: false };
const LO: Place = { hook: 'OUTPUT', out: 'lo', onLoopback: true, sourceIsOurs: true, destinationIsOurs: true };
const IN: Place = { hook: 'PREROUTING', in: 'eth0', onLoopback: false, sourceIsOurs: false, destinationIsOurs: true };

const outward: RuleQuestion = {
  protocol: 'tcp',
  source: { ip: POD, port: 41_000 },
  destination: { ip: PEER, port: 9080 },
  place: OUT,
  seen: undefined,
  seenBy: 'wire',
  midstream: false,
  sentByProxy: false,
};
const toSelf: RuleQuestion = { ...outward, destination: { ip: POD, port: 9080 }, place: LO };
const inward: RuleQuestion = { ...outward, source: { ip: PEER, port: 41_000 }, destination: { ip: POD, port: 9080 }, place: IN };

const UNTOUCHED: Seen = 'untouched';
const to = (redirectedTo: number): Seen => ({ redirectedTo });

/** `VERDICT port evidence reason: chain index, …` */
function told({ verdict, port, evidence, reason, steps }: RuleVerdict): string {
  const head = [verdict, port, evidence, reason].filter((part) => part !== undefined).join(' ');
  return `${head}: ${steps.map(({ chain, index }) => `${chain} ${index}`).join(', ')}`;
}

const rules = held(SIDECAR);

test('what the rules leave possible, and what was seen', () => {
  const table: [title: string, question: RuleQuestion, verdict: string, byNamedOwner: boolean | 'unknown'][] = [
    ['nobody saw what became of it, and the owner decides', outward, 'unknown ambiguous owner-unknown: OUTPUT 1', 'unknown'],
    [
      'it was seen untouched: only an owner that the rules name is spared',
      { ...outward, seen: UNTOUCHED },
      'ACCEPT derived owner-unknown: OUTPUT 1',
      true,
    ],
    [
      'it was seen redirected: no such owner',
      { ...outward, seen: to(15_001) },
      'REDIRECT 15001 derived: OUTPUT 1, ISTIO_OUTPUT 10, ISTIO_REDIRECT 1',
      false,
    ],
    [
      'conntrack saw it',
      { ...outward, seen: to(15_001), seenBy: 'conntrack' },
      'REDIRECT 15001 observed: OUTPUT 1, ISTIO_OUTPUT 10, ISTIO_REDIRECT 1',
      false,
    ],
    [
      'the owner is known',
      { ...outward, owner: { uid: 1000, gid: 1000 } },
      'REDIRECT 15001 derived: OUTPUT 1, ISTIO_OUTPUT 10, ISTIO_REDIRECT 1',
      false,
    ],
    ['the user is known to be the proxy', { ...outward, owner: { uid: 1337 } }, 'ACCEPT derived: OUTPUT 1, ISTIO_OUTPUT 5', true],
    [
      'only the group is known to be the proxy',
      { ...outward, owner: { uid: 0, gid: 1337 } },
      'ACCEPT derived: OUTPUT 1, ISTIO_OUTPUT 8',
      true,
    ],
    [
      'the user is somebody else, the group nobody knows',
      { ...outward, owner: { uid: 1000 } },
      'unknown ambiguous owner-unknown: OUTPUT 1',
      'unknown',
    ],
    [
      'untouched, and the proxy is known to run as 1337',
      { ...outward, seen: UNTOUCHED, proxyOwner: { uid: 1337 } },
      'ACCEPT derived: OUTPUT 1, ISTIO_OUTPUT 5',
      true,
    ],
    [
      'untouched, and the proxy is known to run as root with the group',
      { ...outward, seen: UNTOUCHED, proxyOwner: { uid: 0 } },
      'ACCEPT derived: OUTPUT 1, ISTIO_OUTPUT 8',
      true,
    ],
    [
      'an excluded port: no owner is asked',
      { ...outward, destination: { ip: PEER, port: 3306 } },
      'ACCEPT derived: OUTPUT 1, ISTIO_OUTPUT 1',
      'unknown',
    ],
    [
      'the own address, untouched: not the user of the proxy',
      { ...toSelf, seen: UNTOUCHED },
      'ACCEPT derived: OUTPUT 1, ISTIO_OUTPUT 4',
      'unknown',
    ],
    [
      'the own address, redirected: the proxy',
      { ...toSelf, seen: to(15_006) },
      'REDIRECT 15006 derived: OUTPUT 1, ISTIO_OUTPUT 3, ISTIO_IN_REDIRECT 1',
      true,
    ],
    [
      'the own address, redirected, as whom is known',
      { ...toSelf, seen: to(15_006), proxyOwner: { uid: 1337 } },
      'REDIRECT 15006 derived: OUTPUT 1, ISTIO_OUTPUT 3, ISTIO_IN_REDIRECT 1',
      true,
    ],
    ['a hello of the mesh: the proxy sent it', { ...outward, sentByProxy: true }, 'ACCEPT derived owner-unknown: OUTPUT 1', true],
    ['what comes in has no owner', inward, 'REDIRECT 15006 derived: PREROUTING 1, ISTIO_INBOUND 5, ISTIO_IN_REDIRECT 1', 'unknown'],
    [
      'what comes in to an excluded port',
      { ...inward, destination: { ip: POD, port: 15_021 } },
      'ACCEPT derived: PREROUTING 1, ISTIO_INBOUND 3',
      'unknown',
    ],
    [
      'UDP, untouched',
      { ...outward, protocol: 'udp', destination: { ip: PEER, port: 53 }, seen: UNTOUCHED },
      'ACCEPT derived owner-unknown: OUTPUT 1',
      'unknown',
    ],
  ];
  for (const [title, question, verdict, byNamedOwner] of table) {
    const judgement = new RuleJudge().judge(rules, question);
    assert.deepEqual([told(judgement.record), judgement.byNamedOwner], [verdict, byNamedOwner], title);
  }
});

test('what the rules cannot have done contradicts them; a connection that began before them does not', () => {
  const judge = new RuleJudge();
  assert.equal(told(judge.judge(rules, { ...outward, seen: to(15_099) }).record), 'REDIRECT 15099 observed rules-contradicted: ');
  assert.equal(told(judge.judge(rules, { ...inward, seen: UNTOUCHED }).record), 'ACCEPT observed rules-contradicted: ');
  assert.equal(
    told(judge.judge(rules, { ...inward, seen: UNTOUCHED, midstream: true }).record),
    'ACCEPT observed begun-before-recording: ',
  );
});

test('a redirect to the port that it had anyway leaves the tuple as it was', () => {
  const judgement = new RuleJudge().judge(rules, { ...inward, destination: { ip: POD, port: 15_006 }, seen: UNTOUCHED });
  assert.equal(told(judgement.record), 'REDIRECT 15006 derived: PREROUTING 1, ISTIO_INBOUND 5, ISTIO_IN_REDIRECT 1');
});

test('without rules, without a hook', () => {
  const judge = new RuleJudge();
  assert.equal(told(judge.judge(undefined, outward).record), 'unknown unavailable no-rules: ');
  assert.equal(told(judge.judge(undefined, { ...outward, seen: UNTOUCHED }).record), 'ACCEPT observed no-rules: ');
  assert.equal(told(judge.judge(undefined, { ...outward, seen: to(15_001) }).record), 'REDIRECT 15001 observed no-rules: ');
  const nowhere: Place = { hook: undefined, onLoopback: false, sourceIsOurs: false, destinationIsOurs: false };
  assert.equal(told(judge.judge(rules, { ...outward, place: nowhere }).record), 'unknown unavailable interface-unknown: ');
});

test('weaker grounds give weaker grades: rules read later, a lossy listing, the middle of a connection', () => {
  const late = held(SIDECAR, { later: true });
  const judge = new RuleJudge();
  assert.equal(
    told(judge.judge(late, inward).record),
    'REDIRECT 15006 ambiguous rules-newer-than-connection: PREROUTING 1, ISTIO_INBOUND 5, ISTIO_IN_REDIRECT 1',
  );
  assert.match(told(judge.judge(late, { ...outward, seen: to(15_001) }).record), /^REDIRECT 15001 derived rules-newer-than-connection: /);
  assert.match(told(judge.judge(rules, { ...inward, midstream: true }).record), /^REDIRECT 15006 ambiguous begun-before-recording: /);
  assert.match(
    told(judge.judge(rules, { ...outward, seen: to(15_001), seenBy: 'conntrack', midstream: true }).record),
    /^REDIRECT 15001 observed begun-before-recording: /,
  );
  const listing = `Chain PREROUTING (policy ACCEPT)
target     prot opt source               destination
REDIRECT   tcp  --  0.0.0.0/0            0.0.0.0/0            redir ports 15006

Chain POSTROUTING (policy ACCEPT)
target     prot opt source               destination
`;
  const lossy = held(listing);
  assert.equal(lossy.sets[0]!.lossy, true, 'it shows no interfaces');
  assert.equal(told(judge.judge(lossy, inward).record), 'unknown ambiguous rules-lossy: ');
  assert.match(
    told(judge.judge(lossy, { ...inward, seen: to(15_006), seenBy: 'conntrack' }).record),
    /^REDIRECT 15006 observed rules-lossy: PREROUTING 1$/,
  );
});

test('TPROXY leaves no trace: untouched may be TPROXY or ACCEPT, and the rules say which', () => {
  const tproxy = held(`*mangle
:PREROUTING ACCEPT [0:0]
-A PREROUTING -s 192.0.2.0/24 -p tcp -j RETURN
-A PREROUTING -p tcp -j TPROXY --on-port 15006 --on-ip 0.0.0.0 --tproxy-mark 0x539/0xffffffff
COMMIT
`);
  const judge = new RuleJudge();
  assert.equal(told(judge.judge(tproxy, { ...inward, seen: UNTOUCHED }).record), 'TPROXY 15006 derived: PREROUTING 2');
  assert.equal(
    told(judge.judge(tproxy, { ...inward, source: { ip: '192.0.2.7', port: 1 }, seen: UNTOUCHED }).record),
    'ACCEPT derived: PREROUTING 1',
  );
});

test("nft's tproxy takes only where somebody listens: known, or one of two answers; iptables' never lets the packet go on", () => {
  const nft = parseNft(
    'table inet m { chain p { type filter hook prerouting priority mangle; meta l4proto tcp tproxy ip to :15006 meta mark set 1337 counter accept; } }',
  );
  const native: RulesHeld = { ...held(''), sets: [nft] };
  const judge = new RuleJudge();
  assert.equal(told(judge.judge(native, { ...inward, seen: UNTOUCHED, transparentListener: true }).record), 'TPROXY 15006 derived: p 1');
  assert.equal(told(judge.judge(native, { ...inward, seen: UNTOUCHED }).record), 'unknown ambiguous match-needs-state: ');
  const tproxy = held('*mangle\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp -j TPROXY --on-port 15006\nCOMMIT\n');
  assert.equal(told(judge.judge(tproxy, inward).record), 'TPROXY 15006 derived: PREROUTING 1');
});

test('several users and groups of the proxy: each may be the sender, and a user that the rules merely mention does not make a proxy of the application', () => {
  const two = held(`*nat
:OUTPUT ACCEPT [0:0]
-A OUTPUT -p tcp -m owner --uid-owner 5 -m tcp --dport 99 -j RETURN
-A OUTPUT -m owner --uid-owner 1337 -j RETURN
-A OUTPUT -m owner --uid-owner 1500 -j RETURN
-A OUTPUT -p tcp -j REDIRECT --to-ports 15001
COMMIT
`);
  const judge = new RuleJudge();
  const redirected = judge.judge(two, { ...outward, seen: to(15_001) });
  assert.equal(told(redirected.record), 'REDIRECT 15001 derived: OUTPUT 4');
  assert.equal(redirected.byNamedOwner, 'unknown', 'user 5 is named, and is redirected as everybody is');
  const spared = judge.judge(two, { ...outward, seen: UNTOUCHED });
  assert.equal(told(spared.record), 'ACCEPT derived owner-unknown: ');
  assert.equal(spared.byNamedOwner, true);
  assert.equal(told(judge.judge(two, { ...outward, seen: UNTOUCHED, proxyOwner: { uid: 1500 } }).record), 'ACCEPT derived: OUTPUT 3');
});

test('steps are told table by table: what a mark decides in mangle does not hide what nat did', () => {
  const marked = held(`*mangle
:OUTPUT ACCEPT [0:0]
-A OUTPUT -m mark --mark 0x539 -j RETURN
COMMIT
*nat
:OUTPUT ACCEPT [0:0]
-A OUTPUT -p tcp -j REDIRECT --to-ports 15001
COMMIT
`);
  assert.equal(
    told(new RuleJudge().judge(marked, { ...outward, seen: to(15_001) }).record),
    'REDIRECT 15001 derived mark-unknown: OUTPUT 1',
  );
});

test('verdicts are kept by everything that rules look at: the same judge never mixes two questions up', () => {
  const judge = new RuleJudge();
  const bySource = held('*nat\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -p tcp -m tcp --sport 1000:2000 -j REDIRECT --to-ports 15001\nCOMMIT\n');
  for (let i = 0; i < 2; i++) {
    assert.equal(judge.judge(bySource, { ...outward, source: { ip: POD, port: 1500 } }).record.verdict, 'REDIRECT');
    assert.equal(judge.judge(bySource, { ...outward, source: { ip: POD, port: 41_000 } }).record.verdict, 'ACCEPT');
    assert.equal(judge.judge(rules, { ...outward, owner: { uid: 1337 } }).record.verdict, 'ACCEPT');
    assert.equal(judge.judge(rules, { ...outward, owner: { uid: 1000, gid: 5 } }).record.verdict, 'REDIRECT');
    assert.equal(judge.judge(rules, inward).record.port, 15_006);
    assert.equal(judge.judge(rules, { ...inward, place: { ...IN, in: 'eth1' } }).record.port, 15_006);
  }
});

test('rules that name more owners than can be tried are judged without telling them apart', () => {
  const many = held(
    `*nat\n:OUTPUT ACCEPT [0:0]\n${Array.from({ length: 300 }, (_, i) => `-A OUTPUT -m owner --uid-owner ${2000 + i} -j RETURN\n`).join('')}-A OUTPUT -p tcp -j REDIRECT --to-ports 15001\nCOMMIT\n`,
  );
  const judgement = new RuleJudge().judge(many, { ...outward, seen: to(15_001) });
  assert.equal(judgement.record.verdict, 'REDIRECT');
  assert.equal(judgement.byNamedOwner, 'unknown');
});
