import assert from 'node:assert/strict';
import { test } from 'node:test';
import { explainRuleSet, ruleWords } from '../../src/netfilter/explain.ts';
import { parseIpRules, ruleForMark } from '../../src/netfilter/ip-rule.ts';
import { neverMatches } from '../../src/netfilter/never.ts';
import { marksNamed, ownersNamed } from '../../src/netfilter/owners.ts';
import { parseIptables } from '../../src/netfilter/parse-iptables.ts';
import { parseNft } from '../../src/netfilter/parse-nft.ts';
import { proxyPorts } from '../../src/netfilter/ports.ts';
import type { RuleSet } from '../../src/netfilter/rule-set.ts';

const table = (lines: string, name = 'nat') => parseIptables(`*${name}\n${lines}\nCOMMIT\n`, { family: 4 });
const words = (rule: string, name = 'mangle') => ruleWords(table(`-N X\n-N Y\n-A X ${rule}`, name).tables[0]!.chains[0]!.rules[0]!);

test('each rule is a sentence', () => {
  const sentences: readonly (readonly [rule: string, sentence: string])[] = [
    ['-j RETURN', 'All packets: leave this chain and go on where it was called from'],
    ['-p tcp -m tcp --dport 15008 -j RETURN', 'TCP packets to port 15008: leave this chain and go on where it was called from'],
    [
      '! -d 127.0.0.1/32 -o lo -p tcp ! --dport 15008 -m owner --uid-owner 1337 -j Y',
      'TCP packets to any address but 127.0.0.1, that leave by lo, to any port but 15008, sent by user 1337: ask the rules of Y, then go on here',
    ],
    ['-i eth+ -s 10.0.0.0/8', 'Packets from 10.0.0.0/8, that came in by eth*: only count them'],
    ['-p tcp -m multiport ! --dports 53,15008 -j DROP', 'TCP packets to any port but 53 or 15008: drop them in silence'],
    ['-m conntrack --ctstate INVALID -j DROP', 'Packets that conntrack calls INVALID: drop them in silence'],
    [
      '-p tcp -j TPROXY --on-port 15006 --tproxy-mark 1337',
      'TCP packets: hand them to the local socket on port 15006 as they are, marked 0x539',
    ],
    ['-m mark --mark 0x539/0xfff -j CONNMARK --save-mark', "Packets marked 0x539/0xfff: keep their mark as the connection's"],
    [
      '-m statistic --mode random --probability 0.5 -j ACCEPT',
      'Packets picked by chance (-m statistic --mode random --probability 0.5): let them pass, and ask no further rule of this table',
    ],
    [
      '-m frob --nicate -j QUX',
      'Packets by a condition that sidetrace does not know (-m frob --nicate): do something that sidetrace does not know (QUX)',
    ],
  ];
  for (const [rule, sentence] of sentences) assert.equal(words(rule), sentence);
});

test('a rule set is told table by table, base chains first, with the roles of ports', () => {
  const [nat] = explainRuleSet(table('-N X\n-A X -p tcp -j REDIRECT --to-ports 15006\n-A PREROUTING -p tcp -j X'));
  assert.deepEqual(
    nat!.chains.map(({ name, words: told }) => `${name}: ${told}`),
    ['PREROUTING: asked for packets that come in; what no rule decides is let pass', 'X: called from PREROUTING'],
  );
  assert.equal(
    nat!.chains[1]!.rules[0]!.words,
    'TCP packets: send them to port 15006 of this host itself instead (where the proxy takes what comes in)',
  );
});

const never = (set: RuleSet) =>
  neverMatches(set).map(
    ({ rule, because, by }) => `${rule.chain}/${rule.index} ${because}${by.map(({ chain, index }) => ` ${chain}/${index}`).join('')}`,
  );

test('neverMatches() names what cannot be, and what takes it', () => {
  assert.deepEqual(never(table('-N X\n-A X -j RETURN')), ['X/1 chain-not-reached']);
  assert.deepEqual(never(table('-A OUTPUT -p tcp -j ACCEPT\n-A OUTPUT -p tcp --dport 80 -j RETURN\n-A OUTPUT -p udp -j RETURN')), [
    'OUTPUT/2 taken-earlier OUTPUT/1',
  ]);
  assert.deepEqual(
    never(table('-A OUTPUT -d 10.0.0.0/8 -j RETURN\n-A OUTPUT -d 10.1.0.0/16 -j ACCEPT\n-A OUTPUT -d 11.0.0.0/8 -j ACCEPT')),
    ['OUTPUT/2 taken-earlier OUTPUT/1'],
  );
  // Together two rules may leave nothing for a third.
  assert.deepEqual(
    never(
      table(
        '-A OUTPUT -o lo -m owner --uid-owner 7 -j ACCEPT\n-A OUTPUT -m owner ! --uid-owner 7 -j RETURN\n-A OUTPUT -o lo -j DROP',
        'filter',
      ),
    ),
    ['OUTPUT/3 taken-earlier OUTPUT/1 OUTPUT/2'],
  );
  assert.deepEqual(
    never(
      table(
        '-N X\n-A OUTPUT -p tcp -j X\n-A X -p udp -j RETURN\n-A X -p tcp -m multiport --dports 1,2 -j RETURN\n-A X -p tcp --dport 2 -j ACCEPT',
      ),
    ),
    ['X/1 contradiction', 'X/3 taken-earlier X/2'],
  );
  assert.deepEqual(
    never(table('-N X\n-A OUTPUT -j X\n-A OUTPUT -p tcp -j RETURN\n-A OUTPUT -p udp -j RETURN\n-A X -p tcp -j REDIRECT --to-ports 1')),
    ['OUTPUT/2 taken-earlier X/1'],
  );
  assert.deepEqual(
    never(
      parseNft(
        'table inet t {\n chain p { type filter hook prerouting priority 0; skuid 7 accept; oifname lo accept; oifname != lo counter; }\n}',
      ),
    ),
    ['p/1 contradiction', 'p/2 contradiction'],
  );
});

test('neverMatches() says nothing where it is not sure', () => {
  const alive = [
    '-A OUTPUT -m limit --limit 1/s -j ACCEPT\n-A OUTPUT -j RETURN',
    '-A OUTPUT -p tcp -m owner --uid-owner 7 -j ACCEPT\n-A OUTPUT -p tcp -m owner --gid-owner 7 -j ACCEPT',
    '-A OUTPUT -d 10.1.0.0/16 -j RETURN\n-A OUTPUT -d 10.0.0.0/8 -j ACCEPT',
    '-A OUTPUT -m mark --mark 1/1 -j RETURN\n-A OUTPUT -m mark --mark 3/3 -j ACCEPT',
    '-A OUTPUT -o eth+ -j RETURN\n-A OUTPUT -o e+ -j ACCEPT',
    '-N X\n-A OUTPUT -j X\n-A OUTPUT -p tcp -j ACCEPT\n-A X -p tcp --dport 1 -j RETURN\n-A X -p tcp -j ACCEPT',
  ];
  for (const lines of alive) assert.deepEqual(never(table(lines)), [], lines);
  // What a rule marks, a later one may find.
  assert.deepEqual(
    never(
      table(
        '-A OUTPUT ! -p udp -m mark --mark 1 -j RETURN\n-A OUTPUT -p tcp -j MARK --set-mark 1\n-A OUTPUT -p tcp -m mark --mark 1 -j ACCEPT',
        'mangle',
      ),
    ),
    [],
  );
});

test('proxyPorts() tells ports by the way that leads to them', () => {
  const set = table(
    '-N IN\n-N OUT\n-A PREROUTING -p tcp -j IN\n-A PREROUTING -i tap0 -j OUT\n-A OUTPUT -o lo -j IN\n-A OUTPUT -p udp --dport 53 -j REDIRECT --to-ports 10053\n-A OUTPUT -j OUT\n-A IN -p tcp -j REDIRECT --to-ports 10006\n-A OUT -p tcp -j REDIRECT --to-ports 10001',
  );
  assert.deepEqual(proxyPorts([set]), { outbound: [10001], inbound: [10006], dns: [10053] });
  // Old rules sent both ways to one port.
  const old = table('-N R\n-A PREROUTING -p tcp -j R\n-A OUTPUT -p tcp -j R\n-A R -p tcp -j REDIRECT --to-ports 15001');
  assert.deepEqual(proxyPorts([old]), { outbound: [15001], inbound: [15001], dns: [] });
});

test('ownersNamed() has one of each class, last one that nobody names', () => {
  const set = table(
    '-A OUTPUT -m owner --uid-owner 1337 -j RETURN\n-A OUTPUT -m owner --uid-owner 1000-1999 -j RETURN\n-A OUTPUT -m owner ! --gid-owner 5 -j RETURN',
  );
  assert.deepEqual(
    ownersNamed([set]).map(({ uid, gid, named }) => `${uid}:${gid} ${named}`),
    ['1000:5 true', '1000:1000 true', '1337:5 true', '1337:1000 true', '1338:5 true', '1338:1000 true', '2000:5 true', '2000:1000 false'],
  );
  assert.deepEqual(ownersNamed([table('-A OUTPUT -j RETURN')]), [{ named: false }]);
  assert.deepEqual(marksNamed([table('-A OUTPUT -m mark --mark 7/0xff -j RETURN')]), [0, 7]);
});

test('ip rule: what a mark selects', () => {
  const rules = parseIpRules(
    '0:\tfrom all lookup local\n32764:\tfrom all fwmark 0x111/0xfff lookup 100\n32765:\tfrom 10.0.0.0/8 fwmark 0x539 iif lo lookup 133\n32766:\tfrom all lookup main\n32767:\tnot from all fwmark 0x1 tos 0x10 lookup 9\n',
  );
  const packet = { source: '10.0.0.1', destination: '10.0.0.2', in: 'lo' };
  assert.equal(rules.length, 5);
  assert.equal((ruleForMark(rules, { ...packet, mark: 0x7111 }) as { table?: string }).table, '100');
  assert.equal((ruleForMark(rules, { ...packet, mark: 0x539 }) as { table?: string }).table, '133');
  assert.equal(ruleForMark(rules, { ...packet, mark: 0x539, source: '11.0.0.1' }), 'unknown');
  assert.equal(ruleForMark(rules, { ...packet, mark: 1 }), undefined);
});
