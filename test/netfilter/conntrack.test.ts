import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseConntrack, parseConntrackEvents } from '../../src/netfilter/conntrack.ts';
import { needsReference, referencePath } from '../reference.ts';

const tuples = {
  family: 4,
  protocol: 'tcp',
  state: 'TIME_WAIT',
  original: { source: { ip: '10.244.1.10', port: 43884 }, destination: { ip: '10.244.1.20', port: 9080 } },
  reply: { source: { ip: '127.0.0.1', port: 15001 }, destination: { ip: '10.244.1.10', port: 43884 } },
  unreplied: false,
  assured: true,
};

const rest = 'src=10.244.1.10 dst=10.244.1.20 sport=43884 dport=9080 src=127.0.0.1 dst=10.244.1.10 sport=15001 dport=43884 [ASSURED]';

const forms: readonly (readonly [name: string, line: string])[] = [
  ['conntrack -L', `tcp      6 117 TIME_WAIT ${rest} mark=0 delta-time=2 use=1`],
  ['conntrack -L -o extended', `ipv4     2 tcp      6 117 TIME_WAIT ${rest} mark=0 delta-time=2 use=1`],
  ['/proc/net/nf_conntrack', `ipv4     2 tcp      6 117 TIME_WAIT ${rest} mark=0 zone=0 delta-time=2 use=2`],
  [
    'conntrack -L -o save',
    '-A -t 117 -u SEEN_REPLY,ASSURED -s 10.244.1.10 -d 10.244.1.20 -g 127.0.0.1 -q 10.244.1.10 -p tcp --sport 43884 --dport 9080 --reply-port-src 15001 --reply-port-dst 43884 --state TIME_WAIT',
  ],
  [
    'conntrack -L -o xml',
    '<?xml version="1.0" encoding="utf-8"?>\n<conntrack>\n<flow><meta direction="original"><layer3 protonum="2" protoname="ipv4"><src>10.244.1.10</src><dst>10.244.1.20</dst></layer3><layer4 protonum="6" protoname="tcp"><sport>43884</sport><dport>9080</dport></layer4></meta><meta direction="reply"><layer3 protonum="2" protoname="ipv4"><src>127.0.0.1</src><dst>10.244.1.10</dst></layer3><layer4 protonum="6" protoname="tcp"><sport>15001</sport><dport>43884</dport></layer4></meta><meta direction="independent"><state>TIME_WAIT</state><timeout>117</timeout><mark>0</mark><use>1</use><id>7</id><assured/></meta></flow>\n</conntrack>\n',
  ],
];

for (const [name, line] of forms)
  test(`parseConntrack() reads ${name}`, () => {
    const { entries, skipped } = parseConntrack(line);
    const [entry] = entries;
    assert.equal(skipped, 0);
    for (const [field, value] of Object.entries(tuples)) assert.deepEqual(entry?.[field as keyof typeof tuples], value, field);
    assert.equal(entry?.timeout, 117);
  });

test('counters, zones, marks, ids and the missing answer', () => {
  const [a, b, c] = parseConntrack(
    [
      'ipv4     2 udp      17 29 src=10.0.0.1 dst=10.0.0.2 sport=37404 dport=53 packets=1 bytes=52 [UNREPLIED] src=127.0.0.1 dst=10.0.0.1 sport=15053 dport=37404 packets=0 bytes=0 mark=273 zone=2 use=1 id=3251889937',
      'ipv6     10 icmpv6   58 29 src=fd00::1 dst=fd00::2 type=128 code=0 id=7 src=fd00::2 dst=fd00::1 type=129 code=0 id=7 mark=0 use=1 id=99',
      'ipv4     2 unknown  112 599 src=10.0.0.1 dst=224.0.0.18 [UNREPLIED] src=224.0.0.18 dst=10.0.0.1 mark=0 zone-orig=3 use=1',
    ].join('\n'),
  ).entries;
  assert.deepEqual(
    [a!.original.packets, a!.original.bytes, a!.reply.packets, a!.unreplied, a!.mark, a!.zone, a!.id],
    [1, 52, 0, true, 273, 2, 3251889937],
  );
  assert.deepEqual(
    [b!.family, b!.protocol, b!.original.icmp, b!.reply.icmp, b!.id],
    [6, 'icmpv6', { type: 128, code: 0, id: 7 }, { type: 129, code: 0, id: 7 }, 99],
  );
  assert.deepEqual([c!.protocol, c!.original.source, c!.zoneOriginal], ['112', { ip: '10.0.0.1' }, 3]);
});

test('lines that are no entries are counted, those that the tool says are not', () => {
  const table = parseConntrack(
    `# comment\n\nnonsense\n${forms[0]![1]}\ntcp 6 src=1 dst=2\nconntrack v1.4.7 (conntrack-tools): 1 flow entries have been shown.\n`,
  );
  assert.deepEqual([table.entries.length, table.skipped], [1, 2]);
});

test('events have a type and the time of reading', () => {
  const { events, skipped } = parseConntrackEvents(
    '[1795362678.274559]\t    [NEW] ipv4     2 tcp      6 120 SYN_SENT src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 [UNREPLIED] src=127.0.0.1 dst=10.0.0.1 sport=15001 dport=1 id=5\n' +
      ' [UPDATE] tcp      6 60 src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 src=127.0.0.1 dst=10.0.0.1 sport=15001 dport=1 mark=273\n' +
      '[1795362678.3]\t[DESTROY] ipv4     2 tcp      6 120 CLOSE src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 packets=1 bytes=60 [UNREPLIED] src=127.0.0.1 dst=10.0.0.1 sport=15001 dport=1 packets=1 bytes=40 delta-time=0 id=5\n' +
      'garbage\n',
  );
  assert.deepEqual(
    events.map(({ type }) => type),
    ['NEW', 'UPDATE', 'DESTROY'],
  );
  assert.deepEqual(
    events.map(({ at }) => at),
    [{ seconds: 1795362678, nanoseconds: 274559000 }, undefined, { seconds: 1795362678, nanoseconds: 300000000 }],
  );
  assert.deepEqual([events[1]!.entry.state, events[1]!.entry.mark, events[2]!.entry.ageSeconds, skipped], [undefined, 273, 0, 1]);
});

test('every recorded table and event of the reference is read to the last line', needsReference('wire'), () => {
  let entries = 0;
  const folder = referencePath('wire')!;
  for (const name of readdirSync(folder)) {
    if (name.endsWith('.txt')) continue;
    const table = parseConntrack(readFileSync(`${folder}/${name}/ctL.txt`, 'utf8'));
    const events = parseConntrackEvents(readFileSync(`${folder}/${name}/ctE.txt`, 'utf8'));
    assert.deepEqual([table.skipped, events.skipped], [0, 0], name);
    entries += table.entries.length + events.events.length;
  }
  assert.ok(entries > 50, `${entries} entries`);
});

test('random lines are never a crash', () => {
  const words = [
    'tcp',
    '6',
    '117',
    'TIME_WAIT',
    'src=10.0.0.1',
    'dst=10.0.0.2',
    'sport=1',
    'dport=x',
    '[UNREPLIED]',
    'src=',
    'zone=z',
    'id=9',
    'ipv4',
    '2',
    '[NEW]',
    '[1.5]',
    '\n',
    '-A',
    '-s',
    '<flow',
    '</flow>',
    '<?xml',
    'mark=-1',
  ];
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...words), { maxLength: 50 }), (parts) => {
      for (const { entries } of [
        parseConntrack(parts.join(' ')),
        { entries: parseConntrackEvents(parts.join(' ')).events.map(({ entry }) => entry) },
      ])
        for (const entry of entries)
          assert.ok(entry.original.source.ip !== '' && (entry.mark === undefined || Number.isFinite(entry.mark)));
    }),
    { seed: 2, numRuns: 5000 },
  );
});
