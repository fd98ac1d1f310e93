import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { evaluate } from '../../src/netfilter/evaluate.ts';
import type { OwnerMatch } from '../../src/netfilter/match/owner.ts';
import { parseIptables } from '../../src/netfilter/parse-iptables.ts';
import type { Part, RuleSet } from '../../src/netfilter/rule-set.ts';
import { referencePath } from '../reference.ts';
import { KernelLab, labMissing } from './kernel-lab.ts';

const numeric = `$ iptables -t nat -L -n -v --line-numbers
Chain PREROUTING (policy ACCEPT 0 packets, 0 bytes)
num   pkts bytes target     prot opt in     out     source               destination
1       12K  720K ISTIO_INBOUND  6    --  *      *       0.0.0.0/0            0.0.0.0/0

Chain OUTPUT (policy ACCEPT 0 packets, 0 bytes)
num   pkts bytes target     prot opt in     out     source               destination
1        5   300 ISTIO_OUTPUT  0    --  *      *       0.0.0.0/0            0.0.0.0/0

Chain ISTIO_INBOUND (1 references)
num   pkts bytes target     prot opt in     out     source               destination
1        0     0 REDIRECT   6    --  *      *       0.0.0.0/0            0.0.0.0/0            tcp dpt:!15008 redir ports 15006

Chain ISTIO_OUTPUT (1 references)
num   pkts bytes target     prot opt in     out     source               destination
1        0     0 RETURN     0    --  *      lo      127.0.0.6            0.0.0.0/0
2        0     0            6    --  *      lo      0.0.0.0/0           !127.0.0.1            multiport dports  !53,15008 owner UID match 1500
3        0     0 RETURN     0    --  *      *       0.0.0.0/0            0.0.0.0/0            ! owner UID match 1500 /* not the proxy */
4        0     0 REDIRECT   6    --  *      *       0.0.0.0/0            0.0.0.0/0            redir ports 15001
`;

const query = {
  hook: 'OUTPUT',
  protocol: 'tcp',
  source: { ip: '10.0.0.5', port: 1 },
  destination: { ip: '10.9.9.9', port: 80 },
  out: 'eth0',
  owner: { uid: 1500, gid: 0 },
} as const;

test('a listing with -v shows everything: it is read like iptables-save', () => {
  const set = parseIptables(numeric);
  assert.deepEqual([set.lossy, set.warnings, set.tables[0]!.name], [false, [], 'nat']);
  assert.deepEqual(set.tables[0]!.chains[0]!.rules[0]!.counters, { packets: 12_000, bytes: 720_000 });
  assert.equal(set.tables[0]!.chains[3]!.rules[2]!.comment, 'not the proxy');
  assert.equal(set.tables[0]!.chains[3]!.rules[1]!.target, undefined);
  const evaluation = evaluate([set], query);
  assert.deepEqual(
    [evaluation.verdict, evaluation.to?.port, evaluation.steps.map(({ chain, index }) => `${chain}/${index}`)],
    ['REDIRECT', 15001, ['OUTPUT/1', 'ISTIO_OUTPUT/4']],
  );
});

test('a listing without -v hides interfaces: what hangs on them is unknown, and why', () => {
  const set = parseIptables(`Chain OUTPUT (policy ACCEPT)
target     prot opt source               destination
RETURN     all  --  127.0.0.6            anywhere
REDIRECT   tcp  --  anywhere            !localhost            tcp dpt:domain redir ports 15053

Chain POSTROUTING (policy ACCEPT)
target     prot opt source               destination
`);
  assert.equal(set.lossy, true);
  const evaluation = evaluate([set], { ...query, destination: { ip: '10.9.9.9', port: 53 } });
  assert.deepEqual([evaluation.verdict, evaluation.reason], ['unknown', 'rules-lossy']);
  // The source settles the first rule, the port the second: nothing hidden matters.
  assert.equal(evaluate([set], query).verdict, 'ACCEPT');
});

test('a host name is not an address', () => {
  const set = parseIptables(`Chain OUTPUT (policy ACCEPT 0 packets, 0 bytes)
 pkts bytes target     prot opt in     out     source               destination
    0     0 DROP       all  --  any    any     anywhere             db.example.org
`);
  assert.equal(set.lossy, true);
  assert.equal(evaluate([set], query).verdict, 'unknown');
});

const missing = labMissing() ?? (referencePath('wire') === undefined ? 'the reference data is absent' : undefined);

/** Matches stand in another order in a listing, and it does not tell one owner match of two options from two matches of one, which mean the same. */
function meaning(set: RuleSet): unknown {
  return set.tables.map(({ name, chains }) => ({
    name,
    chains: chains
      .map((chain) => ({
        name: chain.name,
        policy: chain.policy,
        rules: chain.rules.map(({ parts, comment }) => ({ comment, parts: parts.flatMap(meaningOf).sort() })),
      }))
      .sort((a, b) => (a.name < b.name ? -1 : 1)),
  }));
}

function meaningOf(part: Part): string[] {
  const parts = part.part === 'match' && part.match.kind === 'owner' ? (part.match as OwnerMatch).options : [part];
  return parts.map((one) => JSON.stringify(one, (key, value: unknown) => (key === 'text' ? undefined : value)));
}

const torture = `*nat
-N foo
-A OUTPUT -p tcp ! --dport 80:90 -j DNAT --to-destination 1.2.3.4:80
-A OUTPUT -p tcp -m multiport --ports 1,2:4 -m comment --comment "so it is" -j REDIRECT --to-ports 9
-A OUTPUT ! -p tcp -m addrtype ! --dst-type LOCAL -m iprange --src-range 1.1.1.1-1.1.1.9 -j RETURN
-A OUTPUT -p tcp -m connmark ! --mark 1/2 -g foo
-A OUTPUT -m owner ! --uid-owner 1-5 --gid-owner 7 -m mark ! --mark 7
-A OUTPUT -m conntrack ! --ctstate NEW,INVALID -m state --state NEW -p icmp --icmp-type 8 -j ACCEPT
-A POSTROUTING ! -o lo -s 10.0.0.0/8 ! -d 10.1.0.0/16 -j MASQUERADE
COMMIT
*mangle
-A PREROUTING -j MARK --set-mark 1/3
-A PREROUTING -j MARK --or-mark 1
-A PREROUTING -j MARK --and-mark 7
-A PREROUTING -j CONNMARK --set-mark 1/3
-A PREROUTING -j CONNMARK --save-mark --mask 0xff
-A PREROUTING -j CONNMARK --restore-mark
-A PREROUTING -p udp -j TPROXY --on-port 15 --on-ip 127.0.0.1
COMMIT
*raw
-A PREROUTING -j CT --notrack
-A PREROUTING -p udp --sport 53 -j CT --zone 3
COMMIT
`;

test('iptables -L -n -v and iptables-save of the same rules mean the same', {
  skip: missing === undefined ? false : `SKIPPED: ${missing}`,
}, () => {
  const lab = new KernelLab();
  try {
    const files = ['rules-default.txt', 'rules-dns.txt', 'rules-tproxy.txt', 'rules-ambient.txt'].map((file) =>
      readFileSync(`${referencePath('wire')}/${file}`, 'utf8'),
    );
    for (const input of [...files, torture])
      for (const tool of ['iptables', 'iptables-legacy']) {
        lab.feed(input, `${tool}-restore`);
        const saved = parseIptables(lab.run(`${tool}-save`), { family: 4 });
        for (const table of saved.tables) {
          const listed = parseIptables(lab.run(tool, '-t', table.name, '-L', '-n', '-v'), { family: 4 });
          assert.deepEqual(listed.warnings, [], `${tool} ${table.name}`);
          assert.deepEqual(meaning(listed), meaning({ ...saved, tables: [table] }), `${tool} -t ${table.name}`);
          const named = parseIptables(lab.run(tool, '-t', table.name, '-S').replace(/^/gm, ''), { family: 4 });
          assert.equal(
            named.tables.flatMap(({ chains }) => chains).flatMap(({ rules }) => rules).length,
            table.chains.flatMap(({ rules }) => rules).length,
          );
        }
        lab.feed('*nat\nCOMMIT\n*mangle\nCOMMIT\n*raw\nCOMMIT\n', `${tool}-restore`);
      }
  } finally {
    lab.close();
  }
});
