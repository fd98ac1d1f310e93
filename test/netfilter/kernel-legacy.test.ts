/**
 * The kernel's other interface for iptables: no trace tells its rules, but the counters of nat, which count connections, must be the sums of the steps that we predict.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { evaluate } from '../../src/netfilter/evaluate.ts';
import { parseIptables } from '../../src/netfilter/parse-iptables.ts';
import type { RuleSet } from '../../src/netfilter/rule-set.ts';
import { referencePath } from '../reference.ts';
import { ethernetFrame, ipPacket } from './frames.ts';
import { KernelLab, labMissing } from './kernel-lab.ts';
import { attempt, Chance, poolsOf } from './kernel-packets.ts';

const missing =
  labMissing() ?? (spawnSync('sh', ['-c', 'command -v iptables-legacy-restore']).status === 0 ? undefined : 'it needs iptables-legacy');
const skip =
  missing !== undefined
    ? `SKIPPED: the kernel cannot be asked: ${missing}`
    : referencePath('wire') === undefined
      ? 'SKIPPED: the reference data is absent'
      : false;

function natCounters(set: RuleSet): Map<string, number> {
  const counters = new Map<string, number>();
  for (const { name, chains } of set.tables)
    for (const chain of chains)
      for (const rule of chain.rules)
        if (name === 'nat' && chain.name !== 'POSTROUTING') counters.set(`${chain.name} ${rule.index}`, rule.counters?.packets ?? 0);
  return counters;
}

test("iptables-legacy's nat counters are the sums of the predicted steps", { skip, timeout: 300_000 }, (t) => {
  const kernel = new KernelLab();
  try {
    let packets = 0;
    for (const file of ['rules-default.txt', 'rules-dns.txt', 'rules-tproxy.txt', 'rules-ambient.txt']) {
      kernel.clear();
      kernel.feed(readFileSync(`${referencePath('wire')}/${file}`, 'utf8'), 'iptables-legacy-restore');
      const set = parseIptables(kernel.run('iptables-legacy-save', '-c'), { family: 4, variant: 'legacy' });
      const chance = new Chance(99);
      const pools = poolsOf([set], 4, chance);
      const used = new Set<string>();
      const expected = natCounters(set);
      const commands: string[] = [];
      for (let i = 0; i < 400; i++) {
        const one = attempt(pools, 4, chance, 20_000 + i);
        // Only what begins a connection, and is the first to speak of these two ends.
        const ends = [`${one.source.ip}#${one.source.port}`, `${one.destination.ip}#${one.destination.port}`].sort().join();
        if (one.source.port < 20_000 || used.has(ends) || one.flags !== 0x02) continue;
        used.add(ends);
        const { hook, protocol, source, destination, link, owner, mark } = one;
        const way = hook === 'OUTPUT' ? { owner, mark, out: link === 'lo' ? 'lo' : link.name } : { in: link === 'lo' ? 'lo' : link.name };
        const evaluation = evaluate([set], {
          hook,
          protocol,
          source,
          destination,
          state: 'NEW',
          tcpFlags: 2,
          transparentListener: false,
          ...way,
        });
        assert.notEqual(evaluation.verdict, 'unknown');
        for (const step of evaluation.steps)
          if (step.table === 'nat') expected.set(`${step.chain} ${step.index}`, (expected.get(`${step.chain} ${step.index}`) ?? 0) + 1);
        const packet = ipPacket(one);
        commands.push(
          hook === 'OUTPUT' || link === 'lo'
            ? `O 4 ${owner.uid} ${owner.gid} ${mark} ${packet.toString('hex')}`
            : `P ${link.peer} ${ethernetFrame(packet, link.peerMac, link.mac).toString('hex')}`,
        );
      }
      kernel.trace(commands, true);
      packets += commands.length;
      const counted = natCounters(parseIptables(kernel.run('iptables-legacy-save', '-c'), { family: 4 }));
      assert.deepEqual([...counted].sort(), [...expected].sort(), file);
      kernel.feed('*nat\nCOMMIT\n*mangle\nCOMMIT\n*raw\nCOMMIT\n', 'iptables-legacy-restore');
    }
    t.diagnostic(`${packets} packets through 4 rule sets of iptables-legacy: every counter of nat as predicted`);
  } finally {
    kernel.close();
  }
});
