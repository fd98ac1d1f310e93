/**
 * The kernel against the evaluator: every reference rule set is loaded into a namespace, random packets are sent through it, and the rules that the kernel's trace names must be the steps that we predict,
 * for the packet itself, for its way back in over lo, for the kernel's own answer to it, and for later packets of the connection.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { test } from 'node:test';
import type { Family } from '../../src/net/address.ts';
import { parseIptables } from '../../src/netfilter/parse-iptables.ts';
import { parseNft } from '../../src/netfilter/parse-nft.ts';
import { referencePath } from '../reference.ts';
import { ask, type Subject, unhit } from './kernel-compare.ts';
import { KernelLab, labMissing } from './kernel-lab.ts';

const SEED = Number(process.env.SIDETRACE_KERNEL_SEED ?? 20261123);
const WANTED = Number(process.env.SIDETRACE_KERNEL_PACKETS ?? 24_000);

/** The restore input of one family of a reference file, as text. */
function restoreInput(text: string, family: Family): string {
  const blocks: string[] = [];
  const seen = new Set<string>();
  let mine: Family = 4;
  let current = '';
  for (const line of text.split('\n')) {
    if (/^ip6?tables-save/.test(line)) continue;
    const table = /^\*\s*(\w+)/.exec(line)?.[1];
    if (table !== undefined) {
      if (seen.has(table)) {
        mine = 6;
        seen.clear();
      }
      seen.add(table);
      current = '';
    }
    current += `${line}\n`;
    if (line === 'COMMIT' && mine === family) blocks.push(current);
  }
  return blocks.join('');
}

function subjects(): Subject[] {
  const found: Subject[] = [];
  const iptables = (path: string, families: readonly Family[]) => {
    const text = readFileSync(path, 'utf8');
    for (const family of families) {
      const input = family === 6 && families.length === 1 ? text : restoreInput(text, family);
      if (input.trim() === '') continue;
      const tool = family === 4 ? 'iptables' : 'ip6tables';
      const listeners = input.includes('TPROXY') ? [false, true] : [true];
      for (const listener of listeners)
        found.push({
          name: `iptables/${basename(path)} v${family}${listener ? '' : ', nobody listens'}`,
          family,
          listener,
          answersPass: true,
          load: (lab) => void lab.feed(input, `${tool}-restore`, '--noflush'),
          read: (lab) => [parseIptables(lab.run(`${tool}-save`, '-c'), { family })],
        });
    }
  };
  const nft = (path: string) => {
    const text = readFileSync(path, 'utf8');
    for (const family of [4, 6] as const)
      for (const listener of text.includes('tproxy') ? [false, true] : [true])
        found.push({
          name: `nftables/${basename(path)} v${family}${listener ? '' : ', nobody listens'}`,
          family,
          listener,
          answersPass: true,
          load: (lab) => void lab.feed(text, 'nft', '-f', '-'),
          read: (lab) => [parseNft(lab.run('nft', '-j', 'list', 'ruleset'))],
        });
  };
  for (const folder of ['iptables', 'nftables'] as const) {
    const path = referencePath(folder);
    if (path === undefined) continue;
    for (const file of readdirSync(path).sort()) folder === 'iptables' ? iptables(`${path}/${file}`, [4, 6]) : nft(`${path}/${file}`);
  }
  const wire = referencePath('wire');
  if (wire !== undefined)
    for (const file of readdirSync(wire).filter((name) => name.startsWith('rules')))
      file === 'rules-nft.txt' ? nft(`${wire}/${file}`) : iptables(`${wire}/${file}`, file === 'rules6.txt' ? [6] : [4]);
  return found;
}

const lab = { missing: labMissing(), reference: referencePath('iptables') };
const skip =
  lab.missing !== undefined
    ? `SKIPPED: the kernel cannot be asked: ${lab.missing}`
    : lab.reference === undefined
      ? 'SKIPPED: the reference data is absent'
      : false;

test('the kernel runs the rules that evaluate() names, for random packets through every reference rule set', {
  skip,
  timeout: 900_000,
}, (t) => {
  const kernel = new KernelLab();
  try {
    const all = subjects();
    const each = Math.ceil(WANTED / all.length);
    const total = { packets: 0, decisions: 0, unknown: 0, ways: 0, destinations: 0, rules: 0, never: 0 };
    const hit = new Set<string>();
    const wrong: string[] = [];
    for (const [number, subject] of all.entries()) {
      const result = ask(kernel, subject, each, SEED, number, hit);
      for (const key of ['packets', 'decisions', 'unknown', 'ways', 'destinations', 'rules', 'never'] as const) total[key] += result[key];
      wrong.push(...result.wrong);
    }
    t.diagnostic(
      `${all.length} rule sets, ${total.packets} packets, ${total.decisions} decisions compared, ${total.destinations} destinations compared, ${wrong.length} disagreements, ${total.unknown} unknown, ${total.ways} packets without a trace, ${hit.size} of ${total.rules} rules hit, ${total.never} can never be`,
    );
    for (const rule of unhit) t.diagnostic(`not hit: ${rule}`);
    assert.deepEqual(wrong.slice(0, 5), [], `${wrong.length} disagreements`);
    assert.equal(total.unknown, 0, 'everything is known of these packets');
    assert.ok(total.decisions >= WANTED * 0.9, `at least ${WANTED * 0.9} decisions must have been compared, there were ${total.decisions}`);
  } finally {
    kernel.close();
  }
});
