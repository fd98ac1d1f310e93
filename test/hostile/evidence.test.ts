/** Files given beside a capture that are not what they should be: the capture is shown all the same, and a sentence says what could not be used and why. */
import assert from 'node:assert/strict';
import { chmodSync, closeSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { test } from 'node:test';
import { ETHERTYPE, ethernet, ipv4, PROTOCOL, tcp, text } from '../decode/frames.ts';
import { writePcap } from '../source/write-pcap.ts';
import { type Ended, file, full, lossesOf, place, recordsOf, runHostile, sized } from './spawn.ts';

/** What is said of a file of this kind that holds nothing of what it should. */
const kinds: { readonly [flag: string]: RegExp } = {
  '--iptables': /^Cannot use the rules \(iptables-save\) of "capture": Cannot read/,
  '--ip6tables': /^Cannot use the rules \(ip6tables-save\) of "capture": Cannot read/,
  '--nft': /^Cannot use the rules \(nft\) of "capture": Cannot read the nft rules: .*(must|wanted)/,
  '--ip-rule': /^Cannot use the ip-rule of "capture": Cannot read any line of it: a rule such as .* is wanted/,
  '--sockets': /^Cannot use the sockets of "capture": Cannot read .*a row of ss is wanted/,
  '--conntrack': /^Cannot use the conntrack table of "capture": Cannot read any line of it: an entry such as .* is wanted/,
  '--conntrack-events': /^Cannot use the conntrack events of "capture": Cannot read any line of it: an event such as .* is wanted/,
  '--config-dump': /^Cannot use the config_dump of "capture": Cannot read an Envoy config_dump: .* is wanted|levels are read/,
  '--clusters': /^Cannot use the clusters of "capture": Cannot read Envoy's \/clusters: .* is wanted|levels are read/,
  '--listeners': /^Cannot use the listeners of "capture": Cannot read Envoy's \/listeners: .* is wanted|levels are read/,
  '--pods': /^Cannot read "[^"]*" as the output of kubectl get -o json: .* (is wanted|levels are read)/,
  '--services': /^Cannot read "[^"]*" as the output of kubectl get -o json: .* (is wanted|levels are read)/,
  '--endpointslices': /^Cannot read "[^"]*" as the output of kubectl get -o json: .* (is wanted|levels are read)/,
  '--access-log': /^Cannot use the access log of "capture": Cannot read .*is wanted/,
};

/** Together in one run, or by itself each, so that its memory can be measured. */
const groups: readonly (readonly string[])[] = full ? Object.keys(kinds).map((flag) => [flag]) : [Object.keys(kinds)];
const jsonKinds = ['--config-dump', '--clusters', '--listeners', '--pods', '--services', '--endpointslices', '--nft'];
const jsonGroups: readonly (readonly string[])[] = full ? jsonKinds.map((flag) => [flag]) : [jsonKinds];

const A = '10.244.1.5';
const B = '10.96.0.10';

/** One request and its answer. */
const capture = file(
  'good.pcap',
  writePcap({
    records: [
      [A, B, 40000, 80, 0x02, 100, 0, ''],
      [B, A, 80, 40000, 0x12, 500, 101, ''],
      [A, B, 40000, 80, 0x10, 101, 501, ''],
      [A, B, 40000, 80, 0x18, 101, 501, 'GET / HTTP/1.1\r\nHost: b\r\n\r\n'],
      [B, A, 80, 40000, 0x18, 501, 128, 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'],
    ].map(([src, dst, sport, dport, flags, seq, ack, payload], i) => ({
      seconds: 1_790_000_000,
      fraction: i * 1000,
      data: Uint8Array.from(
        ethernet(
          ETHERTYPE.ipv4,
          ipv4(
            { src: src as string, dst: dst as string, protocol: PROTOCOL.tcp },
            tcp(
              { src: sport as number, dst: dport as number, flags: flags as number, seq: seq as number, ack: ack as number },
              text(payload as string),
            ),
          ),
        ),
      ),
    })),
  }),
);

const replay = (...args: string[]): Promise<Ended> => runHostile(['replay', capture, '-o', 'json', ...args]);

function isShown(ended: Ended): void {
  const records = recordsOf(ended);
  assert.equal(records.filter(({ type }) => type === 'flow').length, 1, ended.out);
  assert.equal(records.at(-1)?.type, 'total');
  assert.equal(records.at(-1)?.packets, 5);
}

/** A file of so many bytes made of one text again and again. */
function repeated(name: string, head: string, part: string, tail: string, length: number): string {
  const path = place(name);
  const fd = openSync(path, 'w');
  writeSync(fd, head);
  const block = part.repeat(Math.max(1, Math.floor(65_536 / part.length)));
  for (let written = 0; written < length; written += block.length) writeSync(fd, block);
  writeSync(fd, tail);
  closeSync(fd);
  return path;
}

test('the capture by itself is read to its end', async () => {
  const ended = await replay();
  assert.equal(ended.code, 0, ended.err);
  isShown(ended);
});

const garbage = Uint8Array.from({ length: 200_000 }, (_, i) => (i * 2_654_435_761) >>> 13);

const given = (flags: readonly string[], path: (flag: string) => string): string[] => flags.flatMap((flag) => [flag, path(flag)]);

function isTold(ended: Ended, flags: readonly string[]): void {
  isShown(ended);
  assert.equal(ended.code, 2, ended.out);
  for (const flag of flags)
    assert.ok(
      lossesOf(ended).some((said) => kinds[flag]!.test(said)),
      `${flag} in\n${lossesOf(ended).join('\n')}`,
    );
}

for (const flags of groups) {
  const name = flags.length === 1 ? flags[0]! : 'every kind of file';

  test(`bytes that mean nothing as ${name}: said to be of no use, and the capture is shown`, async () => {
    // Each by its own name: what is wrong with one file is told once.
    isTold(await replay(...given(flags, (flag) => file(`garbage${flag}.bin`, garbage))), flags);
  });

  test(`one line without an end as ${name} is bounded in memory and time`, async () => {
    isTold(await replay(...given(flags, (flag) => repeated(`line${flag}.txt`, '', 'x', '', sized(1, 50) * 1024 * 1024))), flags);
  });

  test(`a file that is not there and a folder as ${name}: told, and the capture is shown`, async () => {
    for (const [make, reason] of [
      [(flag: string) => place(`absent${flag}`), 'ENOENT'],
      [
        (flag: string) => {
          mkdirSync(place(`folder${flag}`), { recursive: true });
          return place(`folder${flag}`);
        },
        'EISDIR',
      ],
    ] as const) {
      const ended = await replay(...given(flags, make));
      isShown(ended);
      assert.equal(ended.code, 2, ended.out);
      for (const flag of flags)
        assert.ok(
          lossesOf(ended).some((said) => /^Cannot (open|read) "/.test(said) && said.includes(`${make(flag)}"`) && said.includes(reason)),
          `${flag} in\n${lossesOf(ended).join('\n')}`,
        );
    }
  });

  test(`an empty file as ${name} does not keep the capture from being shown`, async () => {
    isShown(await replay(...given(flags, () => file('empty.txt', ''))));
  });
}

for (const flags of jsonGroups) {
  const name = flags.length === 1 ? flags[0]! : 'every kind of JSON';

  test(`JSON of another program as ${name}: the wish and the state are told`, async () => {
    isTold(
      await replay(...given(flags, (flag) => file(`other${flag}.json`, '{"some": ["other", {"program": true}], "list": [1, 2, 3]}'))),
      flags,
    );
  });

  test(`JSON that nests without an end as ${name}`, async () => {
    isTold(await replay(...given(flags, (flag) => repeated(`deep${flag}.json`, '{"configs":', '[', '', sized(100_000, 1_000_000)))), flags);
  });

  for (const [what, part] of [
    ['objects', '{},'],
    ['numbers', '1,'],
    ['names', '{"a":1,"b":2},'],
  ] as const)
    test(`JSON of tiny ${what} as ${name} is bounded in memory and time`, async () => {
      const head = '{"apiVersion":"v1","kind":"List","items":[],"configs":[{"@type":"x/ListenersConfigDump","dynamic_listeners":[';
      const path = repeated(`tiny-${what}.json`, head, part, '{}]}],"nftables":[]}', sized(1, 100) * 1024 * 1024);
      isShown(await replay(...given(flags, () => path)));
    });
}

test('a file that may not be read is told', async () => {
  const locked = file('locked.txt', 'x');
  chmodSync(locked, 0);
  // Root may read every file by two capabilities.
  const overrides = '-dac_override,-dac_read_search';
  const before = process.getuid?.() === 0 ? ['setpriv', `--bounding-set=${overrides}`, `--inh-caps=${overrides}`] : [];
  const ended = await runHostile(['replay', capture, '--iptables', locked, '-o', 'json'], undefined, before);
  isShown(ended);
  assert.ok(lossesOf(ended).some((said) => /locked.txt".*EACCES/.test(said)));
});

const lines: { readonly [kind: string]: readonly [head: string, line: string, tail: string] } = {
  '--iptables': ['*nat\n:PREROUTING ACCEPT [0:0]\n', '-A PREROUTING -p tcp -m tcp --dport 81 -j REDIRECT --to-ports 15006\n', 'COMMIT\n'],
  '--sockets': ['', 'tcp LISTEN 0 4096 0.0.0.0:15006 0.0.0.0:* users:(("envoy",pid=32,fd=38)) uid:1337 ino:1 sk:1\n', ''],
  '--conntrack': [
    '',
    'ipv4 2 tcp 6 431999 ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=40000 dport=80 src=10.0.0.2 dst=10.0.0.1 sport=80 dport=40000 [ASSURED] mark=0 use=1 id=7\n',
    '',
  ],
  '--conntrack-events': [
    '',
    '[1790000000.000001]\t    [NEW] ipv4 2 tcp 6 120 SYN_SENT src=10.0.0.1 dst=10.0.0.2 sport=40000 dport=80 [UNREPLIED] src=10.0.0.2 dst=10.0.0.1 sport=80 dport=40000 id=7\n',
    '',
  ],
  '--ip-rule': ['', '32766:\tfrom all lookup main\n', ''],
  '--access-log': [
    '',
    '[2026-09-21T13:33:20.000Z] "GET / HTTP/1.1" 200 - via_upstream - "-" 0 0 1 1 "-" "-" "-" "b" "10.0.0.2:80" outbound|80||b 10.0.0.1:40000 10.96.0.10:80 10.244.1.5:40000 - default\n',
    '',
  ],
};

for (const [kind, [head, line, tail]] of Object.entries(lines))
  test(`the same line again and again as ${kind} is bounded in memory and time`, async () => {
    const ended = await replay(kind, repeated(`same${kind}.txt`, head, line, tail, sized(1, 60) * 1024 * 1024));
    isShown(ended);
  });

test('a rule file of another program is told apart', async () => {
  const pf = file('pf.conf', 'set skip on lo0\nblock return\npass in on egress proto tcp to port 22\n');
  const ended = await replay('--iptables', pf);
  isShown(ended);
  assert.equal(ended.code, 2, ended.out);
});

test('pods, services and slices with the same names, addresses and ids again and again are bounded', async () => {
  const count = sized(2_000, 100_000);
  const items = Array.from({ length: count }, (_, i) =>
    i % 3 === 0
      ? { kind: 'Pod', metadata: { name: 'p', namespace: 'n', uid: 'u' }, status: { podIP: A, podIPs: [{ ip: A }] } }
      : i % 3 === 1
        ? { kind: 'Service', metadata: { name: 's', namespace: 'n' }, spec: { clusterIP: B, ports: [{ port: 80 }] } }
        : {
            kind: 'EndpointSlice',
            metadata: { name: 'e', namespace: 'n', labels: { 'kubernetes.io/service-name': 's' } },
            endpoints: [{ addresses: [A] }],
          },
  );
  isShown(await replay('--pods', file('same.json', JSON.stringify({ apiVersion: 'v1', kind: 'List', items }))));
});

test('conntrack entries with the same tuples and ever another mark are bounded', async () => {
  const count = sized(5_000, 300_000);
  const lines = Array.from(
    { length: count },
    (_, i) =>
      `ipv4 2 tcp 6 100 ESTABLISHED src=${A} dst=${B} sport=40000 dport=80 src=${B} dst=${A} sport=80 dport=40000 mark=${i} zone=${i % 7} id=7`,
  );
  isShown(await replay('--conntrack', file('marks.txt', lines.join('\n'))));
});

test('resources of a configuration with the same name again and again are bounded', async () => {
  const count = sized(3_000, 100_000);
  const many = (item: string): string => `[${new Array<string>(count).fill(item).join(',')}]`;
  const socket = '{"socket_address":{"address":"0.0.0.0","port_value":15001}}';
  const listener = `{"name":"l","active_state":{"listener":{"name":"l","address":${socket},"use_original_dst":true}}}`;
  const dump = `{"configs":[{"@type":"x/ListenersConfigDump","dynamic_listeners":${many(listener)}},{"@type":"x/ClustersConfigDump","dynamic_active_clusters":${many('{"cluster":{"name":"c","type":"EDS"}}')}}]}`;
  const rules = '*nat\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -p tcp -j REDIRECT --to-ports 15001\nCOMMIT\n';
  isShown(await replay('--config-dump', file('names.json', dump), '--iptables', file('redirect.txt', rules)));
});

test('rules put before all others again and again are bounded', async () => {
  const count = sized(5_000, 150_000);
  const iptables = `*nat\n:A - [0:0]\n${'-I A 1 -p tcp -j RETURN\n'.repeat(count)}COMMIT\n`;
  isShown(await replay('--iptables', file('insert.txt', iptables)));
  const command = '{"insert":{"rule":{"family":"ip","table":"t","chain":"c","expr":[{"accept":null}]}}}';
  isShown(await replay('--nft', file('insert.json', `{"nftables":[${new Array<string>(count).fill(command).join(',')}]}`)));
});

test('chains that call each other in a ring, and jumps without an end, are judged', async () => {
  const chains = Array.from({ length: 300 }, (_, i) => `:C${i} - [0:0]`).join('\n');
  const jumps = Array.from({ length: 300 }, (_, i) => `-A C${i} -j C${(i + 1) % 300}\n-A C${i} -j C${(i + 7) % 300}`).join('\n');
  isShown(
    await replay(
      '--iptables',
      file(
        'ring.txt',
        `*nat\n:OUTPUT ACCEPT [0:0]\n:PREROUTING ACCEPT [0:0]\n${chains}\n-A OUTPUT -j C0\n-A PREROUTING -j C0\n${jumps}\nCOMMIT\n`,
      ),
    ),
  );
});

test('a filter by label with pods that cannot be read shows nothing, and says why', async () => {
  const ended = await runHostile([
    'replay',
    capture,
    place('absent.pcap'),
    '--label',
    'app=a',
    '--pods',
    file('pods.txt', 'NAME READY'),
    '-o',
    'json',
  ]);
  assert.equal(ended.code, 2, ended.err);
  assert.ok(lossesOf(ended).some((said) => /pods.txt/.test(said)));
  assert.equal(recordsOf(ended).at(-1)?.type, 'total');
});
