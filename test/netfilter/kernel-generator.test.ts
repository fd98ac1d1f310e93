/**
 * The kernel against the evaluator, with rule sets that Istio's own generator writes for random arguments (`pilot-agent istio-iptables`), in both dialects. Needs the lab's pilot-agent.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIptables } from '../../src/netfilter/parse-iptables.ts';
import { parseNft } from '../../src/netfilter/parse-nft.ts';
import { labProgram, needsLabPrograms } from '../lab-programs.ts';
import { ask, type Subject } from './kernel-compare.ts';
import { KernelLab, labMissing } from './kernel-lab.ts';
import { Chance } from './kernel-packets.ts';

const SEED = Number(process.env.SIDETRACE_KERNEL_SEED ?? 20261123);
const SETS = Number(process.env.SIDETRACE_KERNEL_SETS ?? 24);
const PACKETS = Number(process.env.SIDETRACE_KERNEL_RANDOM_PACKETS ?? 200);
const agent = labProgram('pilot-agent');

function argumentsOf(chance: Chance, native: boolean): string[] {
  const args = [
    '-p',
    '15001',
    '-z',
    '15006',
    '-u',
    chance.pick(['1337', '1337', '2000', '1337,1500']),
    '-g',
    chance.pick(['1337', '1337', '2100']),
  ];
  args.push('-m', chance.pick(['REDIRECT', 'REDIRECT', 'TPROXY']));
  args.push(
    '-i',
    chance.pick(['*', '*', '10.96.0.0/12', '10.96.0.0/12,192.0.2.0/24', '']),
    '-x',
    chance.pick(['', '', '10.1.0.0/16', '192.0.2.0/25,10.100.7.0/24']),
  );
  args.push('-b', chance.pick(['*', '*', '9080,8080', '']), '-d', chance.pick(['15090,15021,15020', '22,15090,9443']));
  if (chance.next() < 0.4) args.push('-o', chance.pick(['3306', '15020,6379', '9090,9080']));
  if (chance.next() < 0.3) args.push('-q', chance.pick(['32000', '8443,4317']));
  if (chance.next() < 0.2) args.push('-c', chance.pick(['eth2', 'not-istio-nic']));
  if (chance.next() < 0.3) args.push('--redirect-dns', ...(chance.next() < 0.5 ? ['--capture-all-dns'] : []));
  if (chance.next() < 0.25) args.push('--drop-invalid');
  if (chance.next() < 0.2 && !native) args.push('-k', 'eth1');
  if (native) args.push('--native-nftables');
  return args;
}

const missing = labMissing();

test('the kernel runs the rules that evaluate() names, for what the generator writes', {
  skip: missing === undefined ? needsLabPrograms('pilot-agent').skip : `SKIPPED: the kernel cannot be asked: ${missing}`,
  timeout: 900_000,
}, (t) => {
  const total = { packets: 0, decisions: 0, unknown: 0 };
  const wrong: string[] = [];
  const hit = new Set<string>();
  for (let number = 0; number < SETS; number++) {
    const chance = new Chance(SEED * 17 + number);
    const native = number % 3 === 0;
    const args = argumentsOf(chance, native);
    const subject: Subject = {
      name: args.join(' '),
      family: 4,
      // Odd ones are asked without a listener, which matters to TPROXY.
      listener: number % 2 === 0,
      answersPass: true,
      load: (lab) => {
        lab.run(agent, 'istio-iptables', ...args);
        // Where a mark is routed is another matter: packets leave as they do without it.
        if (lab.run('ip', 'rule').includes('fwmark')) lab.run('ip', 'rule', 'del', 'lookup', '133');
      },
      read: (lab) => [
        native ? parseNft(lab.run('nft', '-j', 'list', 'ruleset')) : parseIptables(lab.run('iptables-save', '-c'), { family: 4 }),
      ],
    };
    // The generator looks for rules that are there already: each set has a namespace of its own.
    const kernel = new KernelLab();
    try {
      const result = ask(kernel, subject, PACKETS, SEED, number, hit);
      for (const key of ['packets', 'decisions', 'unknown'] as const) total[key] += result[key];
      wrong.push(...result.wrong);
    } finally {
      kernel.close();
    }
  }
  t.diagnostic(
    `${SETS} generated rule sets, ${total.packets} packets, ${total.decisions} decisions compared, ${wrong.length} disagreements, ${total.unknown} unknown, ${hit.size} rules hit`,
  );
  assert.deepEqual(wrong.slice(0, 5), [], `${wrong.length} disagreements`);
  assert.equal(total.unknown, 0, 'everything is known of these packets');
});
