import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseConntrack } from '../../src/netfilter/conntrack.ts';
import type { ConntrackEntry, Tuple } from '../../src/netfilter/conntrack-entry.ts';
import { formatConntrack } from '../../src/netfilter/conntrack-format.ts';

test('an entry is printed as conntrack -L -o extended,id does', () => {
  const line =
    'ipv4     2 tcp      6 431999 ESTABLISHED src=10.244.1.10 dst=10.96.0.10 sport=43884 dport=80 packets=5 bytes=295 ' +
    'src=127.0.0.1 dst=10.244.1.10 sport=15001 dport=43884 packets=4 bytes=386 [ASSURED] mark=0 zone=1 id=2016965544';
  assert.equal(formatConntrack(parseConntrack(line).entries[0]!), line);
});

const port = fc.nat(65_535);
const small = fc.option(fc.nat(0xffff_ffff), { nil: undefined });
const ends = (family: 4 | 6) =>
  family === 4 ? fc.constantFrom('10.0.0.1', '127.0.0.6', '192.0.2.255') : fc.constantFrom('fd00::1', '::1', 'fe80::a:b');

function tuple(family: 4 | 6, protocol: string): fc.Arbitrary<Tuple> {
  const withPorts = !protocol.startsWith('icmp') && !/^\d/.test(protocol);
  return fc
    .record({ from: ends(family), to: ends(family), sport: port, dport: port, packets: small, bytes: small, id: port })
    .map((one) => ({
      source: { ip: one.from, ...(withPorts ? { port: one.sport } : {}) },
      destination: { ip: one.to, ...(withPorts ? { port: one.dport } : {}) },
      ...(protocol.startsWith('icmp') ? { icmp: { type: 8, code: 0, id: one.id } } : {}),
      ...(one.packets === undefined ? {} : { packets: one.packets }),
      ...(one.bytes === undefined ? {} : { bytes: one.bytes }),
    }));
}

const entry: fc.Arbitrary<ConntrackEntry> = fc
  .tuple(fc.constantFrom(4, 6), fc.constantFrom('tcp', 'udp', 'icmp', 'icmpv6', 'sctp', '115'))
  .chain(([family, protocol]) =>
    fc
      .record(
        {
          original: tuple(family as 4 | 6, protocol),
          reply: tuple(family as 4 | 6, protocol),
          unreplied: fc.boolean(),
          assured: fc.boolean(),
          timeout: fc.nat(432_000),
          zone: port,
          zoneOriginal: port,
          zoneReply: port,
          mark: fc.nat(0xffff_ffff),
          id: fc.nat(0xffff_ffff),
        },
        { requiredKeys: ['original', 'reply', 'unreplied', 'assured', 'timeout'] },
      )
      .map((rest) => ({ family: family as 4 | 6, protocol, ...(protocol === 'tcp' ? { state: 'TIME_WAIT' } : {}), ...rest })),
  );

test('what is printed reads back as the same entry', () => {
  fc.assert(
    fc.property(entry, (one) => {
      assert.deepEqual(parseConntrack(formatConntrack(one)).entries, [one]);
    }),
    { seed: 13, numRuns: 3000 },
  );
});
