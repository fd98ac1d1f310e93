/** The kernel counts what each nat rule took; so do we. */
import assert from 'node:assert/strict';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { needsReference, referencePath } from '../reference.ts';
import { bundlesOf, replayed } from './replayed.ts';
import { alreadyTracked, type CounterFinding, countersOfIptables, countersOfNft, countRules, readingsOf } from './rule-counters.ts';

test('counters are read from iptables-save -c and from nft -j', () => {
  const text =
    '*mangle\n[9:9] -A OUTPUT -j X\nCOMMIT\n*nat\n:OUTPUT ACCEPT [0:0]\n[3:180] -A OUTPUT -j ISTIO_OUTPUT\n[2:120] -A ISTIO_OUTPUT -j RETURN\n[1:60] -A ISTIO_OUTPUT -j X\nCOMMIT\n';
  assert.deepEqual(
    [...countersOfIptables(text)].map(([rule, { packets }]) => [rule, packets]),
    [
      ['nat OUTPUT 1', 3],
      ['nat ISTIO_OUTPUT 1', 2],
      ['nat ISTIO_OUTPUT 2', 1],
    ],
  );
  const rule = (table: string, chain: string, packets?: number) => ({
    rule: { family: 'inet', table, chain, expr: packets === undefined ? [{ accept: null }] : [{ counter: { packets, bytes: 0 } }] },
  });
  const listed = {
    nftables: [
      rule('istio-proxy-nat', 'output', 4),
      rule('istio-proxy-nat', 'output'),
      rule('istio-proxy-nat', 'output', 5),
      rule('istio-proxy-raw', 'output', 6),
    ],
  };
  assert.deepEqual(
    [...countersOfNft(JSON.stringify(listed))].map(([rule, { packets }]) => [rule, packets]),
    [
      ['istio-proxy-nat output 1', 4],
      ['istio-proxy-nat output 3', 5],
    ],
  );
});

const add = (findings: readonly CounterFinding[], value: (finding: CounterFinding) => number) =>
  findings.reduce((sum, finding) => sum + value(finding), 0);

function compare(recording: string, skip: { skip: string | false }): void {
  test(
    `${recording}: no rule is said to be taken more often than the kernel counted, and those that redirect exactly as often`,
    skip,
    (t) => {
      const { flows } = replayed([recording]);
      const all: CounterFinding[] = [];
      const contradictions: string[] = [];
      for (const bundle of bundlesOf(recording)) {
        for (const entry of bundle.manifest.namespaces) {
          const own = flows.filter((flow) => flow.netns === entry.netns && flow.node === bundle.manifest.node);
          const tracked = alreadyTracked(bundle, entry);
          for (const readings of readingsOf(bundle, entry))
            for (const finding of countRules(readings, own, tracked)) {
              all.push(finding);
              const { rule, redirects, kernel, certain, possible } = finding;
              if (certain > kernel) contradictions.push(`${entry.path} ${rule}: the kernel counted ${kernel}, we say ${certain}`);
              if (redirects && possible < kernel)
                contradictions.push(`${entry.path} ${rule}: the kernel counted ${kernel}, we know of ${possible}`);
            }
        }
        bundle.close();
      }
      const kernel = add(all, (finding) => finding.kernel);
      const explained = add(all, (finding) => Math.min(finding.kernel, finding.possible));
      const off = all.filter((finding) => finding.possible < finding.kernel);
      t.diagnostic(
        `${all.length} rules, ${kernel} hits, ${explained} explained (${((100 * explained) / (kernel || 1)).toFixed(1)} %)` +
          off.map((finding) => `; ${finding.rule}: ${finding.possible} of ${finding.kernel}`).join(''),
      );
      assert.deepEqual(contradictions, []);
      assert.ok(kernel > 0, 'the kernel counted nothing');
    },
  );
}

for (const name of readdirSync('captures').sort()) {
  const recording = join('captures', name);
  // Rules of IPv6 alone are counted by ip6tables.
  if (statSync(recording).isDirectory() && name !== 'ipv6-plain-envoy') compare(recording, { skip: false });
}

for (const name of ['bookinfo', 'failures', 'routing']) {
  const parts = ['bundles', name];
  compare(referencePath(...parts) ?? join(...parts), needsReference(...parts));
}
