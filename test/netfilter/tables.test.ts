/**
 * Runs the tables of this folder (`*.t`): rules, then packets with what becomes of them and by which rules.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { evaluate } from '../../src/netfilter/evaluate.ts';
import type { ConnectionState, PacketQuery } from '../../src/netfilter/packet-query.ts';
import { parseIptables } from '../../src/netfilter/parse-iptables.ts';
import { parseNft } from '../../src/netfilter/parse-nft.ts';
import type { Hook, RuleSet } from '../../src/netfilter/rule-set.ts';

const folder = 'test/netfilter';

interface Row {
  readonly line: number;
  readonly text: string;
  readonly rules: RuleSet;
}

function readTable(text: string): Row[] {
  const rows: Row[] = [];
  let rules: RuleSet | undefined;
  let collecting: { head: string; lines: string[] } | undefined;
  for (const [i, line] of text.split('\n').entries()) {
    if (collecting !== undefined) {
      if (line === 'end') {
        const source = collecting.lines.join('\n');
        rules = collecting.head.startsWith('rules nft')
          ? parseNft(source)
          : parseIptables(source, { family: collecting.head.endsWith('6') ? 6 : 4 });
        collecting = undefined;
      } else collecting.lines.push(line);
    } else if (line.startsWith('rules ')) collecting = { head: line, lines: [] };
    else if (line.trim() !== '' && !line.startsWith('#')) rows.push({ line: i + 1, text: line, rules: rules! });
  }
  return rows;
}

function endOf(text: string): { ip: string; port: number } {
  const colon = text.lastIndexOf(':');
  return { ip: text.slice(0, colon), port: Number(text.slice(colon + 1)) };
}

function queryOf(words: readonly string[]): PacketQuery {
  const arrow = words.indexOf('>');
  const query: PacketQuery = {
    hook: words[0] as Hook,
    protocol: words[arrow - 2]!,
    source: endOf(words[arrow - 1]!),
    destination: endOf(words[arrow + 1]!),
  };
  for (const word of words.slice(1, arrow - 2)) {
    const [name, value] = word.split('=') as [string, string];
    if (name === 'in' || name === 'out') query[name] = value;
    else if (name === 'owner')
      query.owner = value === 'none' ? 'none' : { uid: Number(value.split(':')[0]), gid: Number(value.split(':')[1] ?? value) };
    else if (name === 'mark' || name === 'connmark') query[name] = value === 'unknown' ? 'unknown' : Number(value);
    else if (name === 'state') query.state = value as ConnectionState | 'unknown';
    else if (name === 'flags') query.tcpFlags = Number(value);
    else if (name === 'local') query.localAddress = value;
    else if (name === 'listener') query.transparentListener = value === 'yes';
    else throw new Error(`What is "${word}"?`);
  }
  return query;
}

function check({ text, rules }: Row): void {
  const [packet, result] = text.split(' = ') as [string, string];
  const [verdict, path] = result.split(';').map((part) => part.trim()) as [string, string];
  const evaluation = evaluate([rules], queryOf(packet.trim().split(/\s+/)));
  const said: string[] = [evaluation.verdict];
  if (evaluation.verdict === 'unknown') said.push(evaluation.reason ?? '');
  if (evaluation.to !== undefined) said.push(`${evaluation.to.ip ?? '?'}:${evaluation.to.port ?? '?'}`);
  for (const word of verdict.split(/\s+/).slice(1)) {
    const name = word.split('=')[0];
    if (name === 'mark' || name === 'connmark')
      said.push(`${name}=${evaluation[name] === 'unknown' ? 'unknown' : `0x${evaluation[name].toString(16)}`}`);
    else if (name === 'zone') said.push(`zone=${evaluation.zone}`);
    else if (name === 'untracked') said.push(evaluation.untracked === true ? 'untracked' : 'tracked');
  }
  assert.equal(said.join(' '), verdict);
  const wanted = path === '' ? [] : path.split(/\s+/);
  const steps = evaluation.steps.map((step) => ({
    full: `${step.table}:${step.chain}/${step.index}`,
    short: `${step.chain}/${step.index}`,
  }));
  const at = evaluation.undecidedAt;
  if (at !== undefined) steps.push({ full: `${at.table}:${at.chain}/${at.index}?`, short: `${at.chain}/${at.index}?` });
  assert.deepEqual(
    steps.map(({ full, short }, i) => (wanted[i]?.includes(':') ? full : short)),
    wanted,
  );
}

for (const name of readdirSync(folder)
  .filter((file) => file.endsWith('.t'))
  .sort())
  test(`evaluate() agrees with ${folder}/${name}`, async (t) => {
    const rows = readTable(readFileSync(`${folder}/${name}`, 'utf8'));
    assert.ok(rows.length > 0, 'a table must have rows');
    for (const row of rows) await t.test(`line ${row.line}: ${row.text.replace(/\s+/g, ' ')}`, () => check(row));
  });
