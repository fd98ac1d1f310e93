import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BatchLineError, batchAnswer } from '../../src/netfilter/batch.ts';
import { evaluate } from '../../src/netfilter/evaluate.ts';
import { parseIptables } from '../../src/netfilter/parse-iptables.ts';
import { parseNft } from '../../src/netfilter/parse-nft.ts';

const sets = [
  parseIptables(
    '*nat\n-A OUTPUT -p tcp -m owner --uid-owner 1500 -j RETURN\n-A OUTPUT -p tcp --syn -m mark --mark 0 -j REDIRECT --to-ports 15001\nCOMMIT\n',
    { family: 4 },
  ),
];
const packet = {
  hook: 'OUTPUT',
  protocol: 'tcp',
  source: { ip: '10.0.0.1', port: 1 },
  destination: { ip: '10.0.0.2', port: 2 },
  out: 'eth0',
  state: 'NEW',
};
const answer = (changes: object) => batchAnswer(sets, JSON.stringify({ ...packet, ...changes })).rule;

test('no mark means 0, no uid or gid means unknown', () => {
  assert.deepEqual(answer({ uid: 1000, gid: 0 }), {
    verdict: 'REDIRECT',
    port: 15001,
    evidence: 'derived',
    steps: [{ table: 'nat', chain: 'OUTPUT', index: 2, text: '-p tcp --syn -m mark --mark 0 -j REDIRECT --to-ports 15001' }],
  });
  assert.equal(answer({ uid: 1000, mark: 7 }).verdict, 'ACCEPT');
  const unknown = answer({ gid: 1500 });
  assert.deepEqual(
    [unknown.verdict, unknown.evidence, unknown.reason, unknown.undecidedAt?.index],
    ['unknown', 'ambiguous', 'owner-unknown', 1],
  );
  assert.deepEqual(
    unknown.candidates?.map(({ verdict, assuming }) => [verdict, assuming.map(({ answer: uid }) => uid)]),
    [
      ['ACCEPT', [1500]],
      ['REDIRECT', [1000]],
    ],
  );
});

test('a line that is no packet says which field', () => {
  const bad: readonly (readonly [string, RegExp])[] = [
    ['nope', /must be a JSON object, it is "nope"/],
    ['[]', /must be a JSON object/],
    ['{}', /"hook" must be one of PREROUTING, .*, it is absent/],
    [JSON.stringify({ ...packet, protocol: 'quux' }), /"protocol" must be a protocol, it is "quux"/],
    [JSON.stringify({ ...packet, source: { ip: 'x' } }), /"source.ip" must be an IP address, it is "x"/],
    [
      JSON.stringify({ ...packet, destination: { ip: '10.0.0.1', port: 70000 } }),
      /"destination.port" must be a whole number from 0 to 65535, it is 70000/,
    ],
    [JSON.stringify({ ...packet, uid: -1 }), /"uid" must be a whole number/],
    [JSON.stringify({ ...packet, state: 'OLD' }), /"state" must be one of NEW/],
  ];
  for (const [line, message] of bad)
    assert.throws(
      () => batchAnswer(sets, line),
      (error) => error instanceof BatchLineError && message.test(error.message),
    );
  assert.throws(() => answer({ destination: { ip: 'fd00::1', port: 1 } }), /both must be addresses of one family/);
});

test('a verdict depends on what the rules looked at, and on nothing else', () => {
  const query = { hook: 'OUTPUT', protocol: 'udp', source: { ip: '10.0.0.1', port: 1 }, destination: { ip: '10.0.0.2', port: 2 } } as const;
  assert.deepEqual([...evaluate(sets, query).dependsOn].sort(), ['protocol', 'state']);
  assert.ok(evaluate(sets, { ...query, protocol: 'tcp' }).dependsOn.has('owner.uid'));
});

test('two rule sets with rules at one place: their order is not known, so it must not matter', () => {
  const nft = parseNft(
    'table inet n { chain o { type nat hook output priority dstnat; tcp dport 2 counter redirect to :9; tcp dport 3 counter; } }',
  );
  const query = {
    hook: 'OUTPUT',
    protocol: 'tcp',
    tcpFlags: 2,
    source: { ip: '10.0.0.1', port: 1 },
    destination: { ip: '10.0.0.2', port: 2 },
    owner: { uid: 1, gid: 1 },
  } as const;
  const both = evaluate([...sets, nft], query);
  assert.deepEqual(
    [both.verdict, both.reason, both.candidates?.map(({ to }) => to?.port).sort()],
    ['unknown', 'match-needs-state', [15001, 9].sort()],
  );
  assert.equal(evaluate([...sets, nft], { ...query, destination: { ip: '10.0.0.2', port: 4 } }).to?.port, 15001);
});

test("nft's tproxy without a known listener is a question, iptables' is taken by its word", () => {
  const nft = parseNft(
    'table inet m { chain p { type filter hook prerouting priority mangle; meta l4proto tcp tproxy ip to :15006 meta mark set 7 counter accept; } }',
  );
  const query = {
    hook: 'PREROUTING',
    protocol: 'tcp',
    source: { ip: '10.0.0.1', port: 1 },
    destination: { ip: '10.0.0.2', port: 2 },
    in: 'eth0',
  } as const;
  const open = evaluate([nft], query);
  assert.deepEqual(
    [open.verdict, open.candidates?.map(({ verdict, steps }) => [verdict, steps.length])],
    [
      'unknown',
      [
        ['TPROXY', 1],
        ['ACCEPT', 0],
      ],
    ],
  );
  assert.equal(evaluate([nft], { ...query, transparentListener: true }).mark, 7);
  assert.equal(evaluate([nft], { ...query, transparentListener: false }).verdict, 'ACCEPT');
});
