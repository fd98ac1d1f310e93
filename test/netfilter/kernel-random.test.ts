/**
 * The kernel against the evaluator, with random rule sets: all matches and targets that are judged, in every order and negation, not only those that Istio writes.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Family } from '../../src/net/address.ts';
import { parseIptables } from '../../src/netfilter/parse-iptables.ts';
import { parseNft } from '../../src/netfilter/parse-nft.ts';
import { ask, type Subject } from './kernel-compare.ts';
import { KernelLab, labMissing } from './kernel-lab.ts';
import { Chance } from './kernel-packets.ts';
import { randomIptables, randomNft } from './kernel-rules.ts';

const SEED = Number(process.env.SIDETRACE_KERNEL_SEED ?? 20261123);
const SETS = Number(process.env.SIDETRACE_KERNEL_SETS ?? 40);
const PACKETS = Number(process.env.SIDETRACE_KERNEL_RANDOM_PACKETS ?? 150);

const missing = labMissing();

function subjectOf(number: number): { subject: Subject; text: string } {
  const chance = new Chance(SEED * 31 + number);
  const family: Family = chance.next() < 0.6 ? 4 : 6;
  if (number % 2 === 0) {
    const text = randomIptables(chance, family);
    const tool = family === 4 ? 'iptables' : 'ip6tables';
    return {
      text,
      subject: {
        name: `random iptables ${number} v${family}`,
        family,
        listener: true,
        answersPass: false,
        load: (lab) => void lab.feed(text, `${tool}-restore`),
        read: (lab) => [parseIptables(lab.run(`${tool}-save`), { family })],
      },
    };
  }
  const text = randomNft(chance);
  // Every other set is read from its text, the rest from what nft lists.
  const read: Subject['read'] = number % 4 === 1 ? () => [parseNft(text)] : (lab) => [parseNft(lab.run('nft', '-j', 'list', 'ruleset'))];
  return {
    text,
    subject: {
      name: `random nft ${number} v${family}`,
      family,
      listener: true,
      answersPass: false,
      load: (lab) => void lab.feed(text, 'nft', '-f', '-'),
      read,
    },
  };
}

test('the kernel runs the rules that evaluate() names, for random rule sets of both dialects', {
  skip: missing === undefined ? false : `SKIPPED: the kernel cannot be asked: ${missing}`,
  timeout: 900_000,
}, (t) => {
  const kernel = new KernelLab();
  try {
    const total = { packets: 0, decisions: 0, unknown: 0 };
    const wrong: string[] = [];
    const hit = new Set<string>();
    for (let number = 0; number < SETS; number++) {
      const { subject, text } = subjectOf(number);
      let result: ReturnType<typeof ask>;
      try {
        result = ask(kernel, subject, PACKETS, SEED, number, hit);
      } catch (error) {
        const told = error instanceof Error ? error.message.slice(0, 2000) : '';
        throw new Error(
          `The rule set ${subject.name} must load and be read, it does not: ${told}\n${process.env.SIDETRACE_KERNEL_TEXT ? text : ''}`,
        );
      }
      for (const key of ['packets', 'decisions', 'unknown'] as const) total[key] += result[key];
      wrong.push(...result.wrong);
    }
    t.diagnostic(
      `${SETS} random rule sets, ${total.packets} packets, ${total.decisions} decisions compared, ${wrong.length} disagreements, ${total.unknown} unknown, ${hit.size} rules hit`,
    );
    assert.deepEqual(wrong.slice(0, 5), [], `${wrong.length} disagreements`);
    assert.equal(total.unknown, 0, 'everything is known of these packets');
  } finally {
    kernel.close();
  }
});
